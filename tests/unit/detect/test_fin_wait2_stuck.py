"""FIN_WAIT2 that outlives tcp_fin_timeout because a process still holds it."""

from dataclasses import replace
from typing import Any

import pytest

from sockmon.model.detector_input import DetectorInput
from sockmon.model.finding import Command, Subject
from sockmon.model.states import TcpState
from tests.unit.detect.builders import (
    UNKNOWN,
    Sock,
    accepted,
    advises,
    facts,
    group_of,
    has_hysteresis,
    judge,
    looked_up,
    owned,
    sight,
)

JUDGE = judge("fin_wait2_stuck")


def stuck(count: float, age: float = 61.0, **others: Any) -> DetectorInput:
    return sight(Sock(TcpState.FIN_WAIT2, age=age, **others).times(int(count)))


def test_its_limits_and_hysteresis() -> None:
    has_hysteresis(JUDGE, stuck, (10, 9, 8), (100, 90, 89))


def test_those_younger_than_the_timeout_are_no_finding() -> None:
    assert JUDGE.all(stuck(500, age=60.0)) == []


def test_those_without_an_owner_are_the_kernels_to_end() -> None:
    assert JUDGE.all(stuck(500, age=600.0, inode=0, timer=3)) == []
    assert JUDGE.all(stuck(500, age=600.0, inode=0, timer=2)) == []


def test_a_half_close_in_use_is_no_finding() -> None:
    assert JUDGE.all(stuck(500, age=3600.0, received=60.0)) == []
    assert JUDGE.severity(stuck(10, age=3600.0, received=60.1)) == "warning"


def test_other_states_do_not_count() -> None:
    others = [Sock(state, age=600.0) for state in TcpState if state is not TcpState.FIN_WAIT2]
    assert JUDGE.all(sight([sock for other in others for sock in other.times(20)])) == []


def test_owners_are_judged_apart() -> None:
    socks = [
        sock
        for n in range(5)
        for sock in Sock(
            TcpState.FIN_WAIT2, age=99.0, cgroup_id=n, local_port=40000 + 100 * n
        ).times(9)
    ]
    units = {n: f"unit-{n}.service" for n in range(5)}
    assert JUDGE.all(looked_up(sight(socks), {}, units)) == []


class TestAnAnswerThatIsDue:
    """The other ends are on this host, in CLOSE_WAIT."""

    @pytest.mark.parametrize(
        ("there", "found"),
        [
            ({}, None),
            ({"receive_queue": 1, "has_read": True}, None),  # all but the end of file is read
            ({"receive_queue": 1}, "warning"),  # there was nothing but the end of file
            ({"receive_queue": 9, "has_read": True}, "warning"),  # it has not read the request
            ({"inode": 0}, "warning"),  # it has not accepted the connection
            ({"state": TcpState.ESTABLISHED}, "warning"),
        ],
    )
    def test_is_no_trouble(self, there: dict[str, Any], found: str | None) -> None:
        here = Sock(TcpState.FIN_WAIT2, age=999.0, remote="10.0.0.1").times(12)
        ends = [
            replace(
                accepted(TcpState.CLOSE_WAIT, inode=700 + n, remote="10.0.0.1", age=999.0),
                remote_port=sock.local_port,
            )
            for n, sock in enumerate(here)
        ]
        ends = [replace(end, **there) for end in ends]
        assert JUDGE.severity(sight([*here, *ends])) == found


def test_without_the_setting_nothing_is_said() -> None:
    assert JUDGE.all(sight(Sock(TcpState.FIN_WAIT2, age=999.0).times(50), UNKNOWN)) == []


def test_it_tells_the_peers_that_do_not_close() -> None:
    socks = [
        *accepted(TcpState.FIN_WAIT2, age=70.0, receive_queue=10).times(10),
        *accepted(TcpState.FIN_WAIT2, age=125.0, remote="10.7.7.7").times(2),
    ]
    found = JUDGE.one(owned(sight(socks)))
    assert found.subject == Subject("inbound", 443, "shop.service")
    assert (found.value, found.limit) == (12, 10)
    assert found.summary == (
        "12 connections that shop.service has ended are kept open by their peers "
        "(accepted on port 443; the oldest for 2m5s)"
    )
    assert facts(found) == {
        "oldest": "125.0 seconds",
        "tcp_fin_timeout": "60 seconds",
        "unread": "100 bytes",
        "peers": {"10.0.0.2": "10 sockets", "10.7.7.7": "2 sockets"},
    }
    assert group_of(found)[:2] == ("inbound", 443)
    assert len(found.inodes) == 12
    assert advises(found, "tcp_fin_timeout = 60 s")
    assert [advice.command for advice in found.advice if advice.command] == [
        Command("ss -tnpo state close-wait '( dport = :443 )'", "peer"),
        Command("ss -tnpo state fin-wait-2 '( sport = :443 )'", "namespace"),
    ]


def test_ends_on_this_host_are_looked_at_here() -> None:
    found = JUDGE.one(stuck(10, remote="127.0.0.1"))
    assert advises(found, "on this host they are in CLOSE_WAIT")
    assert [advice.command.where for advice in found.advice if advice.command] == ["namespace"] * 2
