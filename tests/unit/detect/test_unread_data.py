"""Data that came in and that nobody reads."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from sockmon.model.ages import LastHeard
from sockmon.model.detector_input import DetectorInput
from sockmon.model.finding import Subject
from sockmon.model.states import TcpState
from tests.unit.detect.builders import (
    NOW,
    UNKNOWN,
    Sock,
    accepted,
    advises,
    becomes,
    commands,
    facts,
    group_of,
    has_hysteresis,
    judge,
    listening,
    owned,
    sight,
)

JUDGE = judge("unread_data")
UNREAD = accepted(TcpState.ESTABLISHED, receive_queue=100)


def unread(count: float, waited: float = 60.0, **others: Any) -> DetectorInput:
    return sight(replace(UNREAD, **others).times(int(count)), waited=waited)


def test_its_limits_and_hysteresis() -> None:
    has_hysteresis(JUDGE, unread, (10, 9, 8), (100, 90, 89))


@pytest.mark.parametrize(
    "no_trouble",
    [
        {"waited": 59.9},
        {"receive_queue": 0},
        {"inode": 0},  # waits to be accepted
        {"state": TcpState.CLOSE_WAIT},
        {"state": TcpState.FIN_WAIT2},
    ],
)
def test_what_is_no_finding(no_trouble: dict[str, Any]) -> None:
    assert JUDGE.all(unread(500, **no_trouble)) == []


def heard(before: DetectorInput, read: int) -> DetectorInput:
    """The same, tcp_info having told that each of the applications has read so much."""
    told = np.full(len(before.table), read)
    nothing = np.zeros(len(before.table), np.uint32)
    info = LastHeard.of(before.table.cookie, nothing, nothing, nothing, told, told)
    return replace(before, queues=before.queues.seen(before.table, info, before.now))


def test_a_queue_that_is_as_long_as_before_may_have_been_read() -> None:
    """A slow reader: what it takes comes in again before the next poll."""
    seen = replace(unread(20), now=NOW)
    stands = heard(heard(seen, 5), 5)
    assert JUDGE.severity(stands) == "warning"
    assert JUDGE.all(heard(stands, 6)) == []
    assert JUDGE.all(heard(heard(stands, -1), 6)) == []


def test_it_is_asked_how_much_was_read_of_what_seems_to_stand_still() -> None:
    def asked(count: int, waited: float, *others: Sock) -> list[tuple[bool, int]]:
        seen = sight([*UNREAD.times(count), *others], waited=waited)
        return seen.queues.doubtful(seen.table, seen.now, 8)

    assert asked(3, 10.0, listening()) == [(True, 443)]
    assert asked(3, 10.0) == [(True, 443)]  # nobody listens any more
    assert asked(2, 10.0) == asked(3, 9.0) == []


def test_whether_a_server_that_does_not_accept_is_alive_is_asked_too() -> None:
    waits = accepted(TcpState.ESTABLISHED, inode=0)
    for waited, ports in ((10.0, [(True, 443)]), (9.0, [])):
        seen = sight([listening(), waits], waited=waited)
        assert seen.queues.doubtful(seen.table, seen.now, 8) == ports


def test_a_queue_that_becomes_shorter_is_read() -> None:
    before = unread(500, receive_queue=101)
    assert JUDGE.all(becomes(before, unread(500))) == []
    assert JUDGE.severity(becomes(before, unread(500, receive_queue=102))) == "critical"


def test_a_server_that_serves_others_is_alive_and_not_restarted_first() -> None:
    """A broker that reads nothing from publishers, at its memory limit, and serves consumers."""
    others = accepted(TcpState.ESTABLISHED, inode=2000).times(5)
    socks = [*UNREAD.times(12), *(replace(s, remote_port=51_000 + n) for n, s in enumerate(others))]
    seen = owned(sight(socks, waited=100.0))
    just = np.full(len(seen.table), 2000)
    alive = LastHeard.of(seen.table.cookie[-5:], just[-5:], just[-5:], just[-5:])
    found = JUDGE.one(replace(seen, heard=alive))
    assert found.summary.endswith("wait; it still serves 5 others")
    assert found.advice[0].text.startswith("Do not restart shop.service before you have looked")
    assert found.advice[2].text.startswith("Restart")
    assert found.advice[2].purpose == "fix"
    assert JUDGE.one(seen).advice[0].text.startswith("Restart shop.service")


def test_it_needs_no_limit_of_the_host() -> None:
    assert JUDGE.severity(sight(UNREAD.times(10), UNKNOWN, waited=60.0)) == "warning"


def test_it_tells_who_how_much_and_for_how_long() -> None:
    socks = [*UNREAD.times(13), *accepted(TcpState.ESTABLISHED, remote="10.7.7.7").times(3)]
    found = JUDGE.one(owned(sight(socks, waited=125.0)))
    assert found.subject == Subject("inbound", 443, "shop.service")
    assert (found.value, found.limit) == (13, 10)
    assert found.summary == (
        "shop.service has not read from 13 connections accepted on port 443 for 2m5s: 1.3 KiB wait"
    )
    assert facts(found) == {
        "longest": "125.0 seconds",
        "unread": "1300 bytes",
        "connections_of_the_group": "16 sockets",
        "peers": {"10.0.0.2": "13 sockets"},
    }
    assert group_of(found)[:2] == ("inbound", 443)
    assert len(found.inodes) == 13
    assert advises(found, "shop.service has these connections and does not read")
    assert commands(found) == [
        "systemctl restart shop.service",
        "ss -tnpom state established '( sport = :443 )'",
    ]


def test_chinese_has_a_space_between_a_word_and_a_number() -> None:
    assert "没有读取 443 端口接受的 12 个连接" in JUDGE.one(unread(12)).summary.zh
