"""Conntrack entries against nf_conntrack_max."""

from dataclasses import replace

import pytest

from sockmon.model.detector_input import DetectorInput
from sockmon.model.finding import Command, Subject
from sockmon.model.limits import Sockstat
from sockmon.model.listeners import DropWindow
from tests.unit.detect.builders import (
    LIMITS,
    NOW,
    UNKNOWN,
    advises,
    facts,
    has_hysteresis,
    judge,
    remembering,
    sight,
)

JUDGE = judge("conntrack_pressure")


def entries(count: float, most: int | None = 1000) -> DetectorInput:
    limits = replace(LIMITS, conntrack_entries=int(count), conntrack_limit=most)
    return sight((), replace(limits, sockstat=Sockstat(100, 20, 0, 0)))


def test_its_limits_and_hysteresis() -> None:
    has_hysteresis(JUDGE, entries, (750, 675, 674), (900, 810, 809))


@pytest.mark.parametrize("most", [None, 0])
def test_without_a_limit_there_is_no_finding(most: int | None) -> None:
    assert JUDGE.all(entries(1_000_000, most)) == []


def test_without_conntrack_there_is_no_finding() -> None:
    assert JUDGE.all(sight((), UNKNOWN)) == []
    assert JUDGE.all(sight((), replace(LIMITS, conntrack_entries=None))) == []


def test_it_tells_how_full_and_whose() -> None:
    found = JUDGE.one(entries(760))
    assert (found.subject, found.value, found.limit) == (Subject(), 0.76, 0.75)
    assert facts(found) == {
        "entries": "760 count",
        "entries_limit": "1000 count",
        "tcp_sockets_here": "120 sockets",
    }
    assert found.summary == "the conntrack table is 76 % full (760 of 1000 entries)"
    assert found.advice[0].command == Command(
        "sysctl -w net.netfilter.nf_conntrack_max=2000", "here", "changes"
    )


def dropped(
    *polls: dict[str, int], count: float = 100, most: int | None = 1000, every: float = 5.0
) -> DetectorInput:
    """The same, each of the last polls having seen these packets dropped."""
    window: DropWindow[str] = DropWindow().seen(NOW - 300, {}, 0, 300)
    for n, rose in enumerate(polls):
        at = NOW - every * (len(polls) - 1 - n)
        window = window.seen(at, rose, sum(rose.values()), 300)
    return replace(entries(count, most), conntrack_window=window)


class TestDrops:
    def test_of_a_full_table_are_critical_even_when_it_is_so_no_more(self) -> None:
        found = JUDGE.one(dropped({"drop": 6}, {"drop": 3, "early_drop": 1}))
        assert (found.severity, found.value, found.limit) == ("critical", 10, 10)
        assert found.summary == (
            "the conntrack table was full: 10 packets were dropped, or entries removed for them, "
            "in the last 5m"
        )
        assert facts(found)["dropped"] == {"drop": "9 count", "early_drop": "1 count"}
        assert advises(found, "nf_conntrack_max=2000")
        assert not advises(found, "insert_failed: two packets")

    def test_of_packets_that_raced_are_a_warning(self) -> None:
        found = JUDGE.one(dropped({"insert_failed": 6}, {"insert_failed": 4}))
        assert found.severity == "warning"
        assert found.summary == (
            "conntrack dropped 10 packets in the last 5m because another connection had the same "
            "entry"
        )
        assert advises(found, "insert_failed: two packets")
        assert not advises(found, "nf_conntrack_max=")

    def test_of_both_are_told_apart(self) -> None:
        found = JUDGE.one(dropped({"insert_failed": 6, "drop": 6}, {"drop": 4}, count=950))
        assert found.severity == "critical"
        assert (found.value, found.limit) == (0.95, 0.75)
        assert found.summary == (
            "the conntrack table is 95 % full (950 of 1000 entries); the conntrack table was full: "
            "4 packets were dropped, or entries removed for them, in the last 5m; conntrack "
            "dropped 6 packets in the last 5m because another connection had the same entry"
        )

    def test_that_are_few_or_came_at_once_are_none(self) -> None:
        assert JUDGE.all(dropped({"drop": 5}, {"drop": 4})) == []
        assert JUDGE.all(dropped({"drop": 500})) == []
        assert JUDGE.all(dropped({"drop": 500}, {"drop": 500}, every=301.0)) == []

    def test_beside_a_fuller_table_show_how_full_it_is(self) -> None:
        found = JUDGE.one(dropped({"drop": 2}, {"drop": 2}, count=760))
        assert found.severity == "warning"
        assert found.summary == "the conntrack table is 76 % full (760 of 1000 entries)"
        assert facts(found)["dropped"] == {"drop": "4 count"}

    def test_lower_the_threshold_once_found(self) -> None:
        finding = JUDGE.one(dropped({"drop": 6}, {"drop": 4}))
        keeps = remembering(dropped({"drop": 5}, {"drop": 4}), finding, "critical")
        assert JUDGE.severity(keeps) == "critical"
        ends = remembering(dropped({"drop": 4}, {"drop": 4}), finding, "critical")
        assert JUDGE.all(ends) == []

    def test_what_raced_is_counted_as_dropped_too_and_the_table_was_not_full(self) -> None:
        raced = dropped({"drop": 6, "insert_failed": 6}, {"drop": 4, "insert_failed": 4})
        found = JUDGE.one(raced)
        assert (found.severity, found.value) == ("warning", 10)
        assert "was full" not in found.summary
        assert advises(found, "SNAT has no source port left")

    @pytest.mark.parametrize("most", [None, 0])
    def test_need_no_limit(self, most: int | None) -> None:
        found = JUDGE.one(dropped({"drop": 10}, {"insert_failed": 4}, most=most))
        assert not advises(found, "sysctl")
        for advice in found.advice:
            assert advice.text


def test_sockets_that_are_not_known_are_left_out() -> None:
    seen = entries(760)
    found = JUDGE.one(replace(seen, limits=replace(seen.limits, sockstat=None)))
    assert "tcp_sockets_here" not in found.evidence
