"""Established connections whose peer does not answer any more."""

from dataclasses import replace
from typing import Any

import pytest

from sockmon.model.detector_input import DetectorInput
from sockmon.model.finding import Subject
from sockmon.model.states import TcpState
from tests.unit.detect.builders import (
    CGROUP,
    UNKNOWN,
    Sock,
    accepted,
    group_of,
    has_hysteresis,
    judge,
    owned,
    remembering,
    sight,
)

JUDGE = judge("dead_peer")
DEAD = Sock(timer=1, retransmits=5, send_queue=700)


def dead(count: float, **others: Any) -> DetectorInput:
    return sight(replace(DEAD, **others).times(int(count)))


def test_its_limits() -> None:
    assert JUDGE.all(dead(4)) == []
    assert JUDGE.severity(dead(5)) == "warning"
    assert JUDGE.severity(dead(50)) == "critical"


def test_its_hysteresis() -> None:
    wider = judge("dead_peer", warning_sockets=10, critical_sockets=100)
    has_hysteresis(wider, dead, (10, 9, 8), (100, 90, 89))


def test_probes_without_an_answer_count_too() -> None:
    assert JUDGE.one(dead(5, timer=4)).evidence["probing"] == 5


@pytest.mark.parametrize(
    "alive",
    [
        {"retransmits": 4},  # a lossy path
        {"timer": 4, "retransmits": 1},  # its window is closed, and it answers probes
        {"timer": 2, "send_queue": 0},  # keepalive probes: nothing is owed to it
        {"timer": 0},
        {"send_queue": 0},
        {"state": TcpState.CLOSE_WAIT},
        {"state": TcpState.SYN_SENT},
    ],
)
def test_what_may_be_alive_is_no_finding(alive: dict[str, Any]) -> None:
    assert JUDGE.all(dead(500, **alive)) == []


def test_it_needs_no_limit_of_the_host() -> None:
    assert JUDGE.severity(sight(DEAD.times(5), UNKNOWN)) == "warning"


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
    assert found.evidence == {
        "peers": [{"address": "10.0.0.2", "sockets": 7}],
        "retransmits_most": 9,
        "retransmitting": 5,
        "probing": 2,
        "unacknowledged_bytes": 3502,
        "observed_seconds": 0.0,
        "keepalive": {"idle_sockets": 7, "of_them_set": 3},
    }
    assert group_of(found) == ("inbound", 443, CGROUP)
    assert len(found.inodes) == 7
    text = "\n".join(found.advice)
    assert "TCP_USER_TIMEOUT" in text
    assert "2 are probing" in text
    assert "Of its 7 idle connections only 3 have keepalive" in text
    assert "ss -tnpoi state established '( sport = :443 )'" in text
    again = JUDGE.one(remembering(seen, found, "warning", 7, 7, 7))
    assert again.evidence["observed_seconds"] == 15.0


def test_keepalive_on_all_needs_no_advice() -> None:
    found = JUDGE.one(sight(DEAD.times(5) + Sock(timer=2, local_port=41000).times(3)))
    assert not any("idle connections" in line or "probing" in line for line in found.advice)
