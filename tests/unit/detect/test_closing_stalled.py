"""Sockets that cannot finish closing, because nothing is acknowledged."""

from typing import Any

import pytest

from sockmon.model.detector_input import DetectorInput
from sockmon.model.finding import Subject
from sockmon.model.states import TcpState
from tests.unit.detect.builders import (
    UNKNOWN,
    accepted,
    advises,
    commands,
    facts,
    has_hysteresis,
    judge,
    owned,
    sight,
)

JUDGE = judge("closing_stalled")
CLOSING = (TcpState.LAST_ACK, TcpState.FIN_WAIT1, TcpState.CLOSING)


def closing(count: float, state: TcpState = TcpState.LAST_ACK, **others: Any) -> DetectorInput:
    made: dict[str, Any] = {"age": 60.0, "inode": 0, "timer": 1, "retransmits": 6, **others}
    return sight(accepted(state, **made).times(int(count)))


@pytest.mark.parametrize("state", CLOSING)
def test_its_limits_and_hysteresis(state: TcpState) -> None:
    has_hysteresis(JUDGE, lambda count: closing(count, state), (10, 9, 8), (100, 90, 89))


def test_the_states_add_up() -> None:
    socks = [
        sock
        for n, state in enumerate(CLOSING)
        for sock in accepted(state, age=70.0, inode=0, cgroup_id=7).times(4, local=f"10.0.0.{n}")
    ]
    assert JUDGE.one(sight(socks)).value == 12


def test_the_young_are_no_finding() -> None:
    assert JUDGE.all(closing(5000, age=59.9)) == []


def test_a_send_queue_that_moves_is_a_slow_reader_and_no_finding() -> None:
    assert JUDGE.all(closing(500, TcpState.FIN_WAIT1, age=900.0, silent=5.0)) == []


@pytest.mark.parametrize("state", [state for state in TcpState if state not in CLOSING])
def test_other_states_do_not_count(state: TcpState) -> None:
    assert JUDGE.all(closing(500, state, age=900.0)) == []


def test_it_needs_no_limit_of_the_host() -> None:
    assert JUDGE.severity(sight(accepted(TcpState.LAST_ACK, age=99.0).times(10), UNKNOWN))


def test_it_tells_retransmits_and_peers() -> None:
    socks = [
        *accepted(TcpState.LAST_ACK, age=99.0, timer=1, retransmits=7, inode=0).times(9),
        *accepted(
            TcpState.FIN_WAIT1, age=61.0, timer=4, retransmits=2, send_queue=50, remote="10.7.7.7"
        ).times(2),
    ]
    found = JUDGE.one(owned(sight(socks)))
    assert found.subject == Subject("inbound", 443, "shop.service")
    assert facts(found) == {
        "oldest": "99.0 seconds",
        "by_state": {"LAST_ACK": "9 sockets", "FIN_WAIT1": "2 sockets"},
        "retransmitting": "9 sockets",
        "probing_a_closed_window": "2 sockets",
        "most_retransmits": "7 count",
        "still_held_by_a_process": "2 sockets",
        "unacknowledged": "100 bytes",
        "peers": {"10.0.0.2": "9 sockets", "10.7.7.7": "2 sockets"},
    }
    assert len(found.inodes) == 2
    assert "are gone" in found.advice[0].text
    assert advises(found, "2 are still held by a process")
    assert commands(found) == [
        "ip route get 10.0.0.2 from 10.0.0.1",
        "ping -c 3 -I 10.0.0.1 10.0.0.2",
        "ss -tnpo state last-ack state fin-wait-1 state closing '( sport = :443 )'",
    ]


def test_peers_that_do_not_read_are_not_said_to_be_gone() -> None:
    found = JUDGE.one(closing(10, TcpState.FIN_WAIT1, timer=4, retransmits=0, send_queue=9))
    assert "do not read" in found.advice[0].text
