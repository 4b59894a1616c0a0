"""Conntrack entries against nf_conntrack_max."""

from dataclasses import replace

import pytest

from sockmon.model.detector_input import DetectorInput
from sockmon.model.finding import Command, Subject
from sockmon.model.limits import Sockstat
from tests.unit.detect.builders import LIMITS, UNKNOWN, facts, has_hysteresis, judge, sight

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


def test_sockets_that_are_not_known_are_left_out() -> None:
    seen = entries(760)
    found = JUDGE.one(replace(seen, limits=replace(seen.limits, sockstat=None)))
    assert "tcp_sockets_here" not in found.evidence
