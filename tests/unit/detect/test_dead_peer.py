"""Established connections whose peer does not answer any more."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from sockmon.model.ages import LastHeard
from sockmon.model.detector_input import DetectorInput
from sockmon.model.finding import Subject
from sockmon.model.states import TcpState
from tests.unit.detect.builders import (
    UNKNOWN,
    Sock,
    accepted,
    advises,
    commands,
    facts,
    group_of,
    has_hysteresis,
    judge,
    owned,
    remembering,
    sight,
    value,
)

JUDGE = judge("dead_peer")
DEAD = Sock(timer=1, retransmits=5, send_queue=700)


def dead(count: float, alive: float | None = None, **others: Any) -> DetectorInput:
    """So many dead ones, a quarter of the group unless said otherwise."""
    well = Sock(local_port=50_000).times(int(3 * count if alive is None else alive))
    return sight(replace(DEAD, **others).times(int(count)) + well)


def test_its_limits() -> None:
    assert JUDGE.all(dead(4)) == []
    assert JUDGE.severity(dead(5)) == "warning"
    assert JUDGE.severity(dead(50)) == "critical"


def test_its_hysteresis() -> None:
    wider = judge("dead_peer", warning_sockets=10, critical_sockets=100)
    has_hysteresis(wider, dead, (10, 9, 8), (100, 90, 89))


class TestShare:
    def test_a_few_of_many_are_a_normal_day(self) -> None:
        assert JUDGE.all(dead(60, alive=2940)) == []
        assert JUDGE.severity(dead(60, alive=1000)) == "critical"

    def test_all_of_a_few_are_an_outage(self) -> None:
        found = JUDGE.one(dead(4, alive=0))
        assert found.severity == "critical"
        assert found.summary.startswith("4 of 4 established connections")
        assert JUDGE.all(dead(2, alive=0)) == []
        assert JUDGE.severity(dead(3, alive=3)) == "critical"
        assert JUDGE.all(dead(3, alive=4)) == []


class TestPeerThatAnswersOnOthers:
    """NAT or a firewall has forgotten idle connections; those that were made since work."""

    def seen(self, heard_ms: int, **others: Any) -> DetectorInput:
        data = dead(8, alive=4, **{"retransmits": 10, "send_queue": 70, **others})
        told = np.full(len(data.table.cookie), heard_ms)
        return owned(replace(data, heard=LastHeard.of(data.table.cookie, told, told, told)))

    def test_is_alive(self) -> None:
        found = JUDGE.one(self.seen(100))
        assert found.summary.endswith(", while their peer answers on 4 others (10.0.0.2)")
        assert found.advice[0].text.startswith("10.0.0.2 is alive: it has answered on 4 other")
        assert not advises(found, "lost power")

    def test_is_asked_after_five_tries(self) -> None:
        for tries, ports in ((5, [(False, 443)]), (4, [])):
            data = dead(8, alive=4, retransmits=tries)
            assert data.queues.doubtful(data.table, data.now, 8) == ports

    def test_but_not_if_that_was_before(self) -> None:
        assert "their peers seem gone" in JUDGE.one(self.seen(10_000_000)).summary

    def test_nor_if_large_data_may_be_what_is_lost(self) -> None:
        assert "their peers seem gone" in JUDGE.one(self.seen(100, send_queue=20_000)).summary

    def test_clients_may_share_an_address(self) -> None:
        gone = accepted(TcpState.ESTABLISHED, timer=1, retransmits=10, send_queue=700).times(8)
        well = accepted(TcpState.ESTABLISHED, timer=0).times(12)[8:]
        data = sight([*gone, *well])
        told = np.full(len(data.table.cookie), 100)
        data = replace(data, heard=LastHeard.of(data.table.cookie, told, told, told))
        assert "their peers seem gone" in JUDGE.one(data).summary


class TestKeepalive:
    def test_probes_without_an_answer_are_enough(self) -> None:
        silent = {"timer": 2, "send_queue": 0, "retransmits": 3}
        found = JUDGE.one(dead(20, alive=0, **silent))
        assert found.summary == (
            "20 of 20 established connections made to port 443 are dead: their peers have not "
            "answered up to 3 keepalive probes (10.0.0.2)"
        )
        again = JUDGE.one(remembering(dead(20, alive=0, **silent), found, "critical", *[20] * 7))
        assert value(again, "unanswered_for") == 35.0
        assert again.summary.endswith("up to 3 keepalive probes for 35s (10.0.0.2)")
        assert advises(found, "TCP_KEEPCNT")
        assert not advises(found, "tcp_retries2")
        assert JUDGE.all(dead(20, alive=0, timer=2, send_queue=0, retransmits=2)) == []


def test_probes_without_an_answer_count_too() -> None:
    assert value(JUDGE.one(dead(5, timer=4)), "probing") == 5


@pytest.mark.parametrize(
    "alive",
    [
        {"retransmits": 4},  # a lossy path
        {"timer": 4, "retransmits": 1},  # its window is closed, and it answers probes
        {"timer": 2, "send_queue": 0, "retransmits": 2},  # a probe or two may be lost
        {"timer": 0},
        {"send_queue": 0},
        {"state": TcpState.SYN_SENT},
    ],
)
def test_what_may_be_alive_is_no_finding(alive: dict[str, Any]) -> None:
    assert JUDGE.all(dead(500, alive=0, **alive)) == []


def test_it_needs_no_limit_of_the_host() -> None:
    assert JUDGE.severity(sight(DEAD.times(5), UNKNOWN)) == "critical"


def test_it_tells_peers_tries_and_keepalive() -> None:
    answered = accepted(TcpState.ESTABLISHED, timer=1, retransmits=9, send_queue=700)
    seen = owned(
        sight(
            [
                *answered.times(5),
                *accepted(TcpState.ESTABLISHED, timer=4, retransmits=6, send_queue=1).times(2),
                *accepted(TcpState.ESTABLISHED, timer=2).times(3),
                *accepted(TcpState.ESTABLISHED).times(4),
                *accepted(TcpState.ESTABLISHED, cgroup_id=9).times(8),
                *accepted(TcpState.ESTABLISHED, port=80).times(8),
            ]
        )
    )
    found = JUDGE.one(seen)
    assert found.subject == Subject("inbound", 443, "shop.service")
    assert (found.value, found.limit) == (7, 5)
    assert facts(found) == {
        "peers": {"10.0.0.2": "7 sockets"},
        "most_retransmits": "9 count",
        "retransmitting": "5 sockets",
        "keepalive_unanswered": "0 sockets",
        "probing": "2 sockets",
        "unacknowledged": "3502 bytes",
        "unanswered_for": "204.6 seconds",  # as the timeouts that have passed say
        "idle_connections": "7 sockets",
        "idle_connections_with_keepalive": "3 sockets",
    }
    assert group_of(found)[:2] == ("inbound", 443)
    assert len(found.inodes) == 7
    assert advises(found, "TCP_USER_TIMEOUT")
    assert advises(found, "2 are probing")
    assert advises(found, "Of its 7 idle connections only 3 have keepalive")
    assert "ss -tnpoi state established '( sport = :443 )'" in commands(found)
    assert " get no answer for 3m25s after up to 9 tries" in found.summary


def test_keepalive_on_all_needs_no_advice() -> None:
    found = JUDGE.one(sight(DEAD.times(5) + Sock(timer=2, local_port=41000).times(3)))
    assert not advises(found, "idle connections")
    assert not advises(found, "probing")


class TestOfLostHosts:
    """A host is lost with few connections to each of several ports."""

    def test_are_one_finding(self) -> None:
        socks = [sock for port in (5432, 6379) for sock in DEAD.times(2, remote_port=port)]
        alive = Sock(remote="10.0.0.3", remote_port=6379).times(9)
        found = JUDGE.one(owned(sight([*socks, *alive])))
        assert (found.severity, found.subject) == (
            "critical", Subject("outbound", None, "shop.service"),
        )  # fmt: skip
        assert "4 of 4 established connections made to 2 ports of 10.0.0.2" in found.summary
        assert facts(found)["ports"] == {
            "outbound port 5432": "2 sockets", "outbound port 6379": "2 sockets",
        }  # fmt: skip

    def test_a_browser_that_vanished_is_none(self) -> None:
        socks = [
            sock
            for port in (80, 443)
            for sock in accepted(TcpState.ESTABLISHED, port, timer=1, retransmits=9, send_queue=1)
            .times(2)
        ]  # fmt: skip
        alive = accepted(TcpState.ESTABLISHED, 443, remote="10.0.0.3").times(9)
        alive += accepted(TcpState.ESTABLISHED, 80, remote="10.0.0.3").times(9)
        assert JUDGE.all(sight([*socks, *alive])) == []

    def test_of_which_half_lives_on_is_none(self) -> None:
        socks = [sock for port in (5432, 6379) for sock in DEAD.times(2, remote_port=port)]
        assert JUDGE.all(sight([*socks, *Sock(remote_port=80).times(4)])) == []
