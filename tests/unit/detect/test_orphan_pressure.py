"""Orphans count against tcp_max_orphans, of which the kernel punishes a quarter."""

from dataclasses import replace

import pytest

from sockmon.model.detector_input import DetectorInput
from sockmon.model.finding import Subject
from sockmon.model.limits import Sockstat
from sockmon.model.states import TcpState
from tests.unit.detect.builders import (
    LIMITS,
    UNKNOWN,
    accepted,
    advises,
    facts,
    has_hysteresis,
    judge,
    sight,
)

JUDGE = judge("orphan_pressure")


def orphans(count: float, most: int | None = 1000) -> DetectorInput:
    limits = replace(LIMITS, sockstat=Sockstat(9, 0, int(count), 0), orphan_limit=most)
    socks = [
        *accepted(TcpState.FIN_WAIT1, inode=0, send_queue=1000, timer=1).times(3),
        *accepted(TcpState.FIN_WAIT2, inode=0, timer=2).times(2),
        *accepted(TcpState.FIN_WAIT2, inode=0, timer=3).times(4),  # time-wait sockets
        *accepted(TcpState.LAST_ACK).times(5),  # a process holds these
    ]
    return sight(socks, limits, events={"TCPAbortOnMemory": 0.5})


def test_its_limits_and_hysteresis() -> None:
    has_hysteresis(JUDGE, orphans, (250, 225, 224), (500, 450, 449))


@pytest.mark.parametrize("limits", [UNKNOWN, replace(LIMITS, sockstat=None)])
def test_unknown_is_no_finding(limits: object) -> None:
    assert JUDGE.all(sight((), limits)) == []  # type: ignore[arg-type]


def test_a_child_namespace_has_no_bound_of_its_own() -> None:
    assert JUDGE.all(orphans(5000, None)) == []


def test_a_bound_of_zero_does_not_divide() -> None:
    assert JUDGE.all(orphans(0, 0)) == []


def test_evidence_holds_orphans_alone() -> None:
    found = JUDGE.one(orphans(300))
    assert (found.subject, found.value, found.limit) == (Subject(), 0.3, 0.25)
    assert facts(found) == {
        "orphans": "300 sockets",
        "orphans_limit": "1000 sockets",
        "by_state_here": {"FIN_WAIT1": "3 sockets", "FIN_WAIT2": "2 sockets"},
        "unacknowledged_here": "3000 bytes",
        "peers": {"10.0.0.2": "5 sockets"},
        "events": {"TCPAbortOnMemory": "0.5 per_second"},
    }
    assert advises(found, "tcp_max_orphans = 1000")
