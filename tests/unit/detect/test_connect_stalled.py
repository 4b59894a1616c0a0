"""Connects that nobody answers, by destination."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from sockmon.model.connection_events import COLUMNS, EventCounts, RecentEvents, column
from sockmon.model.connects import Connects
from sockmon.model.detector_input import DetectorInput
from sockmon.model.direction import Direction
from sockmon.model.finding import Command, Subject
from sockmon.model.limits import NOT_RESENT, SYNS_RESENT
from sockmon.model.listeners import DropWindow
from sockmon.model.states import TcpState
from tests.unit.detect.builders import (
    LIMITS,
    NOW,
    UNKNOWN,
    Sock,
    advises,
    commands,
    facts,
    group_of,
    has_hysteresis,
    judge,
    owned,
    sight,
    table_of,
)

JUDGE = judge("connect_stalled")
STALLED = Sock(TcpState.SYN_SENT, timer=1, retransmits=2, expires=3500, remote="10.9.9.9")


def stalled(count: float, **others: Any) -> DetectorInput:
    return sight(STALLED.times(int(count), **others))


def test_its_limits() -> None:
    assert JUDGE.all(stalled(4)) == []
    assert JUDGE.severity(stalled(5)) == "warning"
    assert JUDGE.severity(stalled(50)) == "critical"


def test_its_hysteresis() -> None:
    wider = judge("connect_stalled", warning_sockets=10, critical_sockets=100)
    has_hysteresis(wider, stalled, (10, 9, 8), (100, 90, 89))


def test_one_retransmit_is_a_lost_packet_and_no_finding() -> None:
    assert JUDGE.all(stalled(100, retransmits=1)) == []


def test_other_states_do_not_count() -> None:
    assert JUDGE.all(stalled(100, state=TcpState.ESTABLISHED)) == []
    assert JUDGE.all(stalled(100, state=TcpState.SYN_RECV)) == []


def test_many_destinations_of_few_each_are_no_finding() -> None:
    """A crawler: others answer."""
    socks = [sock for n in range(30) for sock in replace(STALLED, remote=f"10.1.0.{n}").times(4)]
    assert JUDGE.all(sight([*socks, Sock(TcpState.TIME_WAIT, remote="10.2.0.1")])) == []


def test_several_destinations_of_which_none_answers_count_together() -> None:
    """A wrong gateway, at the first look."""
    socks = [replace(STALLED, remote=f"10.1.0.{n}") for n in range(5)]
    found = JUDGE.one(sight(socks))
    assert found.value == 5
    assert "5 addresses do not answer at port 443, and none does" in found.summary
    assert "in common" in found.advice[0].text
    assert JUDGE.all(sight(socks[:2] * 4)) == []


def test_syns_that_this_host_does_not_send_are_its_own_firewalls() -> None:
    def resent(failed: int) -> DetectorInput:
        counts = {SYNS_RESENT: 10, NOT_RESENT: failed}
        window: DropWindow[str] = DropWindow()
        return replace(stalled(5), resent_window=window.seen(NOW, counts, 10, 60.0))

    found = JUDGE.one(resent(10))
    assert found.actor == "This host: its firewall or conntrack"
    assert "10 of 10 SYNs" in found.advice[0].text
    assert JUDGE.one(resent(5)).actor is None
    conntrack = resent(10).resent_window.seen(NOW, {"drop": 3}, 3, 60.0)
    full = JUDGE.one(replace(resent(10), conntrack_window=conntrack))
    assert "conntrack of this host drops" in full.advice[0].text
    assert not any("chain OUTPUT" in advice.text for advice in full.advice)


def test_the_ports_with_most_attempts_come_first() -> None:
    socks = STALLED.times(6, remote_port=25) + STALLED.times(70)
    ports = [found.subject.port for found in JUDGE.all(sight(socks))]
    assert ports == [STALLED.remote_port, 25]


def test_each_port_is_a_finding_of_its_own() -> None:
    socks = STALLED.times(6) + STALLED.times(7, remote_port=25)
    assert {found.subject for found in JUDGE.all(sight(socks))} == {
        Subject("outbound", 443),
        Subject("outbound", 25),
    }


def test_what_could_not_be_read_is_left_out() -> None:
    found = JUDGE.one(sight(STALLED.times(5), UNKNOWN))
    assert "syn_retries" not in found.evidence
    assert not advises(found, "tcp_syn_retries")


def test_it_tells_destinations_tries_and_when_it_ends() -> None:
    limits = replace(
        LIMITS,
        settings=replace(LIMITS.settings, syn_retries=5, syn_linear_timeouts=0),  # type: ignore[type-var]
    )
    socks = [
        *STALLED.times(5),
        *STALLED.times(1, local_port=41000, retransmits=4, expires=2000),
        *STALLED.times(1, local_port=41001, retransmits=4, expires=9000),
        *replace(STALLED, remote="10.9.9.8", local_port=42000).times(2, inode=0),
    ]
    found = JUDGE.one(owned(sight(socks, limits)))
    assert (found.subject, found.value, found.limit) == (Subject("outbound", 443), 7, 5)
    assert facts(found) == {
        "destinations": {"10.9.9.9": "7 sockets", "10.9.9.8": "2 sockets"},
        "waiting": "9 sockets",
        "most_tries": "4 count",
        "fewest_tries": "2 count",
        "syn_retries": "5 count",
        "syn_linear_timeouts": "0 count",
        "first_gives_up_in": f"{2.0 + 32} seconds",
    }
    assert group_of(found)[:2] == ("outbound", 443)
    assert len(found.inodes) == 7
    assert advises(found, "gives up after 1m3s (net.ipv4.tcp_syn_retries = 5)")
    assert "ss -tnpo state syn-sent '( dport = :443 )'" in commands(found)
    there = {advice.command for advice in found.advice if advice.command}
    assert Command("ss -tln '( sport = :443 )'", "peer") in there


@pytest.mark.parametrize("address", ["10.9.9.9", "fd00::9"])
def test_both_families_are_told(address: str) -> None:
    family = 6 if ":" in address else 4
    found = JUDGE.one(
        stalled(5, remote=address, family=family, local="::1" if family == 6 else "10.0.0.1")
    )
    assert address in found.summary


@pytest.mark.parametrize("remote", ["127.0.0.1", "10.0.0.1"])
def test_an_address_of_this_host_is_looked_at_here(remote: str) -> None:
    found = JUDGE.one(stalled(5, remote=remote))
    assert advises(found, f"{remote} is an address of this host")
    assert not advises(found, "traceroute")
    assert not advises(found, "the path is down")
    places = {advice.command.where for advice in found.advice if advice.command}
    assert "peer" not in places


def test_any_other_address_is_looked_at_there() -> None:
    found = JUDGE.one(stalled(5))
    assert Command("ss -tln '( sport = :443 )'", "peer") in [a.command for a in found.advice]
    assert advises(found, "ip route get 10.9.9.9 from 10.0.0.1")
    assert advises(found, "traceroute -n -T -s 10.0.0.1 -p 443 10.9.9.9")


class TestOverSeveralPolls:
    """One poll every five seconds; attempts are new ones each time."""

    def seen(self, *polls: Sequence[Sock]) -> DetectorInput:
        connects = Connects()
        for number, socks in enumerate(polls, 1):
            at = NOW - 5.0 * (len(polls) - number)
            table = table_of(socks)
            cookies = [hash((sock.remote, sock.local_port)) % 2**63 for sock in socks]
            table = replace(table, cookie=np.array(cookies, np.uint64))
            connects = connects.seen(table, at, whole=True)
        return replace(sight(polls[-1]), connects=connects)

    def calls(self, turn: int, hosts: int, **others: Any) -> list[Sock]:
        young: dict[str, Any] = {"timer": 1, "expires": 300, "retransmits": 0, **others}
        return [
            replace(STALLED, remote=f"10.9.9.{n}", local_port=40_000 + 256 * turn + n, **young)
            for n in range(hosts)
        ]

    def test_addresses_of_a_port_that_fail_are_one_trouble(self) -> None:
        found = JUDGE.one(self.seen(*(self.calls(turn, 4) for turn in range(8))))
        assert found.severity == "critical"
        assert found.summary == (
            "nothing answers at 4 addresses, port 443 (10.9.9.0, 10.9.9.1 and 2 more): every "
            "connect fails; 4 are under way, 32 were seen in 35s, none was established"
        )
        assert commands(found)[0] == "ip route; ip neigh"

    def test_a_client_that_pauses_between_attempts_is_told_of_in_between(self) -> None:
        turns = [self.calls(turn, 1) if turn % 3 == 0 else [] for turn in range(18)]
        found = JUDGE.one(self.seen(*turns))
        assert found.summary == (
            "nothing answers at 10.9.9.0 port 443: every connect fails; 6 were seen in 1m15s, none "
            "was established"
        )
        assert JUDGE.all(self.seen(*turns, [], [])) == [], "it has paused for longer than ever"

    def test_attempts_that_are_always_young_may_have_been_answered(self) -> None:
        """Health checks of a place 200 ms away: SYN, SYN-ACK, RST."""
        polls = [self.calls(turn, 1, expires=850) for turn in range(20)]
        assert JUDGE.all(self.seen(*polls)) == []

    def test_a_crawler_calls_dead_hosts_among_many(self) -> None:
        def poll(turn: int) -> list[Sock]:
            alive = Sock(local_port=50_000 + turn, inode=70_000 + turn, remote=f"10.8.8.{turn}")
            return [alive, *self.calls(turn, 20)]

        assert JUDGE.all(self.seen(*map(poll, range(24)))) == []

    def test_ports_called_seldom_are_one_trouble_if_none_answers(self) -> None:
        polls = [self.calls(turn, 1, remote_port=5000 + turn % 4) for turn in range(13)]
        found = JUDGE.one(self.seen(*polls))
        assert (found.severity, found.subject) == ("critical", Subject("outbound"))
        assert found.summary == (
            "nothing answers at 4 ports of 10.9.9.0: every connect fails; 1 is under way, 13 were "
            "seen in 1m, none was established"
        )

    def test_one_that_tries_again_and_again_for_a_minute_is_told_of(self) -> None:
        """A replica with a timeout of 30 s; a proxy that leaves a dead upstream out for a while."""
        patient = [self.calls(turn // 6, 1, retransmits=turn % 6) for turn in range(13)]
        assert JUDGE.all(self.seen(*patient[:12])) == []
        found = JUDGE.one(self.seen(*patient))
        assert (found.severity, found.subject.port) == ("warning", 443)
        assert found.summary == (
            "nothing answers at 10.9.9.0 port 443: every connect fails; 1 is under way, 3 were "
            "seen in 1m, none was established"
        )
        hasty = [self.calls(turn, 1) if turn % 8 == 0 else [] for turn in range(17)]
        assert JUDGE.severity(self.seen(*hasty)) == "warning"
        once = [self.calls(0, 1, retransmits=5) for _ in range(13)]
        assert JUDGE.all(self.seen(*once)) == []

    def test_so_is_no_crawler_that_tries_again(self) -> None:
        def poll(turn: int) -> list[Sock]:
            alive = Sock(local_port=50_000 + turn, inode=70_000 + turn, remote=f"10.8.8.{turn}")
            return [alive, *self.calls(turn // 6, 1, retransmits=turn % 6)]

        assert JUDGE.all(self.seen(*map(poll, range(14)))) == []

    def test_none_fails_before_an_attempt_has_ended(self) -> None:
        """A slow way: at a look of two seconds nothing more is known."""
        under_way = [sock for turn in range(20) for sock in self.calls(turn, 1, retransmits=1)]
        found = JUDGE.one(self.seen(under_way, under_way))
        assert found.summary == (
            "nothing answers at 10.9.9.0 port 443: 20 connects are under way, none was answered in "
            "5s"
        )

    def test_a_place_that_is_reached_meanwhile_answers_late(self) -> None:
        late = STALLED.times(6)
        through = Sock(local_port=50_000, remote="10.9.9.9", inode=70_000)
        found = JUDGE.one(self.seen(late, [*late, through]))
        assert found.severity == "warning"
        assert found.summary == (
            "10.9.9.9 answers at port 443 late, or not each time: 6 connections wait after up to 2 "
            "retransmitted SYNs, while others were established"
        )


def called(polls: int = 2, calls: int = 6) -> DetectorInput:
    """New attempts at every poll, and nothing else of their destination."""
    connects, each = Connects(), replace(STALLED, remote_port=5432, retransmits=0, expires=300)
    for poll in range(polls):
        seen = sight(each.times(calls))
        cookies = np.arange(calls, dtype=np.uint64) + np.uint64(100 * poll)
        table = replace(seen.table, cookie=cookies)
        connects = connects.seen(table, NOW + 5 * poll, whole=True)
    return replace(seen, connects=connects, now=NOW + 5 * polls)


def counted(opened: float, failed: float) -> RecentEvents:
    values = [0] * COLUMNS
    values[column("opened")], values[column("failed_timed_out")] = 900, 7
    place: tuple[Direction, int] = ("outbound", 5432)
    counts = {place: EventCounts(tuple(values))}
    return RecentEvents(300.0, counts, frozenset(counts), {}, {place: opened}, {place: failed})


def test_a_busy_second_is_no_dead_destination_where_connects_are_counted() -> None:
    """A long way, many connects, each closed between two polls: none of them failed."""
    assert "every connect fails" in JUDGE.one(called()).summary
    assert JUDGE.all(replace(called(), events=counted(NOW + 5, -np.inf))) == []
    assert JUDGE.all(replace(called(), events=counted(NOW + 5, NOW))) == []


@pytest.mark.parametrize(
    ("opened", "failed"), [(NOW, -np.inf), (-np.inf, -np.inf), (NOW + 5, NOW + 5)]
)
def test_what_fails_or_opened_before_it_proves_nothing(opened: float, failed: float) -> None:
    finding = JUDGE.one(replace(called(), events=counted(opened, failed)))
    assert "every connect fails" in finding.summary
    assert facts(finding)["opened"] == "900 count"
    assert facts(finding)["failed"] == {"timed_out": "7 count"}
    elsewhere = replace(counted(NOW + 5, -np.inf), last_opened={("outbound", 443): NOW + 5})
    assert JUDGE.all(replace(called(), events=elsewhere))


def test_unanswered_retransmits_are_stalls_whatever_else_opened() -> None:
    assert JUDGE.severity(replace(stalled(5), events=counted(NOW + 5, -np.inf))) == "warning"
