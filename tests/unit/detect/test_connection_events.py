"""The detectors that judge what the kernel has counted between polls."""

from dataclasses import replace

import pytest

from sockmon.detect import connect_failures, slow_close
from sockmon.model.connection_events import BOUNDS, COLUMNS, EventCounts, RecentEvents, column
from sockmon.model.detector_input import DetectorInput
from sockmon.model.direction import Direction
from sockmon.poll.passing_ports import is_passing
from tests.unit.detect.builders import sight

FAILURES = connect_failures.Thresholds()
CLOSES = slow_close.Thresholds()


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
