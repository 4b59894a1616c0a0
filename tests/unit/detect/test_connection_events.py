"""The detectors that judge what the kernel has counted between polls."""

from dataclasses import replace

import pytest

from sockmon.detect import connect_failures, reset_burst, slow_close
from sockmon.model.connection_events import (
    BOUNDS,
    COLUMNS,
    Endings,
    EventCounts,
    RecentEvents,
    column,
)
from sockmon.model.detector_input import DetectorInput, PreviousFinding
from sockmon.model.direction import Direction
from sockmon.poll.passing_ports import is_passing
from tests.unit.detect.builders import sight

FAILURES = connect_failures.Thresholds()
CLOSES = slow_close.Thresholds()
RESETS = reset_burst.Thresholds()


def counted(**columns: int) -> EventCounts:
    values = [0] * COLUMNS
    for name, number in columns.items():
        values[column(name)] = number
    return EventCounts(tuple(values))


def waited(*buckets: tuple[float, int]) -> EventCounts:
    """Closes by the upper bound of their time."""
    values = [0] * COLUMNS
    for bound, number in buckets:
        values[column("close_wait") + 1 + BOUNDS.index(bound)] = number
    return EventCounts(tuple(values))


def seen(
    direction: Direction, port: int, counts: EventCounts, *, now: bool = True
) -> DetectorInput:
    latest = frozenset({(direction, port)} if now else ())
    events = RecentEvents(300.0, {(direction, port): counts}, latest)
    return replace(sight(), events=events)


def failing(counts: EventCounts, direction: Direction = "outbound") -> list[str]:
    data = seen(direction, 5432, counts)
    return [finding.severity for finding in connect_failures.find(data, FAILURES)]


def test_a_share_of_failures_is_a_finding_that_says_why() -> None:
    data = seen("outbound", 5432, counted(opened=60, failed_refused=30, failed_timed_out=10))
    (finding,) = connect_failures.find(data, FAILURES)
    assert finding.severity == "warning"
    assert finding.value == 0.4
    assert (
        finding.summary
        == "40 % of the connections to port 5432 failed in the last 5m: 40, most of them refused"
    )
    assert finding.advice[0].text.startswith("Refused: nobody listens")


@pytest.mark.parametrize(
    ("counts", "severities"),
    [
        (counted(failed_refused=20), ["critical"]),
        (counted(failed_refused=19), []),
        (counted(opened=181, failed_refused=20), []),
        (counted(opened=180, failed_refused=20), ["warning"]),
        (counted(failed_abandoned=500, opened=1), []),
        (counted(failed_no_port=20), ["critical"]),
    ],
)
def test_few_failures_and_those_that_clients_give_up_are_none(
    counts: EventCounts, severities: list[str]
) -> None:
    assert failing(counts) == severities


def test_what_failed_minutes_ago_and_ports_that_nobody_chose_are_none() -> None:
    counts = counted(failed_refused=100)
    assert not list(connect_failures.find(seen("outbound", 5432, counts, now=False), FAILURES))
    few = replace(FAILURES, least_failures=1)
    assert not list(connect_failures.find(seen("outbound", 45432, counted(failed_reset=2)), few))
    assert not list(connect_failures.find(sight(), FAILURES))
    assert failing(counts, "inbound") == []


@pytest.mark.parametrize(
    ("counts", "severities"),
    [
        (waited((0.001, 98), (30.0, 2)), ["warning"]),
        (waited((0.001, 100), (30.0, 1)), []),
        (waited((0.04, 10), (300.0, 10)), ["critical"]),
        (waited((5.0, 100)), []),
        (waited((300.0, 19)), []),
        (waited(), []),
    ],
)
def test_the_99th_percentile_of_closes_is_judged(
    counts: EventCounts, severities: list[str]
) -> None:
    found = list(slow_close.find(seen("inbound", 8080, counts), CLOSES))
    assert [finding.severity for finding in found] == severities


def test_a_slow_close_says_how_slow() -> None:
    (finding,) = slow_close.find(seen("inbound", 8080, waited((0.001, 90), (30.0, 10))), CLOSES)
    assert finding.value == 5.0
    assert (
        finding.summary
        == "1 of 100 connections of port 8080 is closed more than 5s after its peer "
        "has closed (100 closes in the last 5m)"
    )
    assert finding.evidence["time_to_close"]


def test_the_ports_with_most_events_come_first() -> None:
    few, many = counted(failed_refused=20), counted(failed_refused=900)
    places: dict[tuple[Direction, int], EventCounts] = {
        ("outbound", 25): few,
        ("outbound", 80): many,
    }
    data = replace(sight(), events=RecentEvents(300.0, places, frozenset(places)))
    assert [f.subject.port for f in connect_failures.find(data, FAILURES)] == [80, 25]
    places = {("inbound", 25): waited((60.0, 30)), ("inbound", 80): waited((60.0, 90))}
    data = replace(sight(), events=RecentEvents(300.0, places, frozenset(places)))
    assert [f.subject.port for f in slow_close.find(data, CLOSES)] == [80, 25]


def test_a_service_inside_the_ephemeral_range_is_told_with_its_port() -> None:
    """gRPC's 50051: those that are refused are in no table, and share the port all the same."""
    data = seen("outbound", 50051, counted(failed_refused=100))
    (failing,) = connect_failures.find(data, FAILURES)
    slow = seen("inbound", 50051, waited((60.0, 30)))
    (closing,) = slow_close.find(slow, CLOSES)
    assert not is_passing(failing, data)
    assert not is_passing(closing, slow)


def resetting(ends: Endings, direction: Direction = "inbound", port: int = 8080) -> DetectorInput:
    counts = counted(opened=ends.ended, aborted_here=ends.reset)
    places = {(direction, port): counts}
    events = RecentEvents(300.0, places, frozenset(places), {(direction, port): ends})
    return replace(sight(), events=events)


@pytest.mark.parametrize(
    ("ends", "found"),
    [
        (Endings(50, 20, 1000, 0), True),
        (Endings(50, 20, 1000, 79), True),
        (Endings(50, 20, 1000, 81), False),  # not five times the usual
        (Endings(50, 19, 1000, 0), False),
        (Endings(101, 20, 1000, 0), False),
        (Endings(50, 50, 1000, 1000), False),  # SO_LINGER 0, always
        (Endings(50, 50, 19, 0), False),  # nobody knows what is usual
        (Endings(50, 50, 0, 0), False),
    ],
)
def test_only_resets_beyond_what_is_usual_are_a_burst(ends: Endings, *, found: bool) -> None:
    assert bool(list(reset_burst.find(resetting(ends), RESETS))) == found


def test_a_burst_that_goes_on_stays_one() -> None:
    (begun,) = reset_burst.find(resetting(Endings(50, 50, 1000, 0)), RESETS)
    used_to_it = resetting(Endings(50, 50, 1000, 900))
    assert not list(reset_burst.find(used_to_it, RESETS))
    past = {begun.key: PreviousFinding("warning", ((0.0, 1.0),))}
    (goes_on,) = reset_burst.find(replace(used_to_it, past=past), RESETS)
    assert goes_on.severity == "warning"
    over = replace(resetting(Endings(150, 20, 1000, 900)), past=past)
    assert not list(reset_burst.find(over, RESETS))


def test_a_burst_says_which_end_aborted_and_what_is_not_known() -> None:
    (here,) = reset_burst.find(resetting(Endings(50, 40, 1000, 10)), RESETS)
    assert here.summary == (
        "this host has reset 40 open connections of port 8080 in the last 1m: 80 % of those that "
        "ended, 1 % before"
    )
    assert "why is not known" in here.advice[0].text
    (there,) = reset_burst.find(resetting(Endings(50, 40, 1000, 10), "outbound", 5432), RESETS)
    assert there.summary.startswith("the other end has reset 40 open connections to port 5432")
    assert "Who sent them is not known" in there.advice[0].text
    assert not list(reset_burst.find(sight(), RESETS))


def test_the_port_with_most_resets_comes_first() -> None:
    few, many = Endings(30, 30, 100, 0), Endings(90, 90, 100, 0)
    places: dict[tuple[Direction, int], Endings] = {("inbound", 25): few, ("inbound", 80): many}
    counts = dict.fromkeys(places, counted(aborted_here=90))
    data = replace(sight(), events=RecentEvents(300.0, counts, frozenset(), places))
    assert [f.subject.port for f in reset_burst.find(data, RESETS)] == [80, 25]
