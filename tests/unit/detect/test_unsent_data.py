"""Data that the peers do not take, because their applications do not read."""

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
    becomes,
    facts,
    group_of,
    has_hysteresis,
    judge,
    owned,
    sight,
)

JUDGE = judge("unsent_data")
#: Timer 4 probes a closed window; each probe was answered, so no retransmits are counted.
UNSENT = accepted(TcpState.ESTABLISHED, send_queue=100, timer=4)


def unsent(count: float, waited: float = 60.0, **others: Any) -> DetectorInput:
    return sight(replace(UNSENT, **others).times(int(count)), waited=waited)


def test_its_limits_and_hysteresis() -> None:
    has_hysteresis(JUDGE, unsent, (10, 9, 8), (100, 90, 89))


@pytest.mark.parametrize(
    "no_trouble",
    [
        {"waited": 59.9},
        {"send_queue": 0},
        {"timer": 1},  # not acknowledged: the peer or the path may be gone
        {"retransmits": 1},  # a probe without an answer, so far
        {"state": TcpState.FIN_WAIT1},
    ],
)
def test_what_is_no_finding(no_trouble: dict[str, Any]) -> None:
    assert JUDGE.all(unsent(500, **no_trouble)) == []


def test_a_slow_reader_takes_some() -> None:
    assert JUDGE.all(becomes(unsent(500, send_queue=101), unsent(500))) == []


def test_it_needs_no_limit_of_the_host() -> None:
    assert JUDGE.severity(sight(UNSENT.times(10), UNKNOWN, waited=60.0)) == "warning"


def test_it_tells_whose_peers_how_much_and_for_how_long() -> None:
    found = JUDGE.one(owned(unsent(12)))
    assert found.subject == Subject("inbound", 443, "shop.service")
    assert (found.value, found.limit) == (12, 10)
    assert found.summary == (
        "the peers of 12 connections accepted on port 443 do not read: their windows are closed "
        "(the longest for 1m), and 1.2 KiB of shop.service wait"
    )
    assert facts(found) == {
        "longest": "60.0 seconds",
        "unsent": "1200 bytes",
        "peers": {"10.0.0.2": "12 sockets"},
    }
    assert group_of(found)[:2] == ("inbound", 443)
    assert [advice.command for advice in found.advice if advice.command] == [
        Command("ss -tnpm state established '( dport = :443 )'", "peer"),
        Command("ss -tnpom state established '( sport = :443 )'"),
    ]


def test_peers_on_this_host_are_named() -> None:
    here = replace(UNSENT, remote="10.0.0.1").times(12)
    there = [
        Sock(local_port=sock.remote_port, receive_queue=9, cgroup_id=9, inode=700 + n)
        for n, sock in enumerate(here)
    ]
    ends = [replace(end, remote="10.0.0.1") for end in there]
    found = JUDGE.one(owned(sight([*here, *ends], waited=60.0)))
    assert found.summary.endswith("; the peers are shop.service on this host")
    assert facts(found)["other_ends_on_this_host"] == "12 sockets"
    ((readers, inodes),) = found.others
    assert (readers[:2], len(inodes)) == (("outbound", 443), 12)
    assert found.advice[1].command == Command("ss -tnpm state established '( dport = :443 )'")


def outbound(count: int, healthy: int = 0, waited: float = 120.0) -> DetectorInput:
    """So many connections to one port whose windows are closed, and so many others."""
    made = Sock(TcpState.ESTABLISHED, local_port=40_000, remote_port=5432, send_queue=100, timer=4)
    well = replace(made, send_queue=0, timer=0, local_port=50_000)
    return sight([*made.times(count), *well.times(healthy)], waited=waited)


def test_most_of_few_that_this_host_has_made_are_an_outage() -> None:
    found = JUDGE.one(owned(outbound(4, 1)))
    assert (found.severity, found.note, found.value, found.limit) == ("warning", False, 4, 3)
    assert found.summary.startswith("the peers of 4 of 5 connections made to port 5432 do not read")
    assert JUDGE.all(outbound(4, 5)) == []
    assert JUDGE.all(outbound(4, 1, 119.9)) == []


def test_few_may_be_found_sooner_than_many() -> None:
    hasty = judge("unsent_data", few_stalled_after=30.0, stalled_after=60.0)
    assert hasty.one(owned(outbound(4, 1, 40.0))).value == 4


def test_one_that_this_host_has_made_is_only_noted() -> None:
    found = JUDGE.one(owned(outbound(1)))
    assert found.note
    assert found.summary == (
        "the peer of 1 of 1 connections made to port 5432 does not read: its window is closed (for "
        "2m), and 100 B of shop.service wait"
    )


def test_few_that_were_accepted_are_no_news() -> None:
    assert JUDGE.all(unsent(9, 3600.0)) == []


def test_it_is_asked_how_much_a_peer_has_taken_that_this_host_has_called() -> None:
    def asked(seen: DetectorInput) -> list[tuple[bool, int]]:
        return seen.queues.doubtful(seen.table, seen.now, 8)

    assert asked(outbound(1)) == [(False, 5432)]
    assert asked(outbound(1, waited=9.0)) == asked(unsent(2)) == []
