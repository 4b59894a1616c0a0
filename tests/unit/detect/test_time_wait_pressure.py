"""TIME_WAIT is a finding where the kernel's bound on it is near, and nowhere else."""

from dataclasses import replace
from typing import Any

import pytest

from sockmon.model.detector_input import DetectorInput
from sockmon.model.finding import Command, Subject
from sockmon.model.limits import Sockstat, TimeWaitReuse
from sockmon.model.states import TcpState
from tests.unit.detect.builders import (
    LIMITS,
    UNKNOWN,
    Sock,
    accepted,
    advises,
    commands,
    facts,
    has_hysteresis,
    judge,
    sight,
    value,
)

JUDGE = judge("time_wait_pressure")
OVERFLOW = {"TW": 90.0, "TCPTimeWaitOverflow": 2.5}


def buckets(used: float, most: int | None = 1000, **others: object) -> DetectorInput:
    limits = replace(LIMITS, sockstat=Sockstat(9, int(used), 0, 0), time_wait_limit=most)
    socks = [
        *accepted(TcpState.TIME_WAIT, timer=3, inode=0, cgroup_id=0).times(30),
        *Sock(TcpState.TIME_WAIT, timer=3, inode=0, cgroup_id=0, remote_port=8080).times(20),
    ]
    return sight(socks, limits, **others)  # type: ignore[arg-type]


def test_its_limits_and_hysteresis() -> None:
    has_hysteresis(JUDGE, buckets, (800, 721, 719), (950, 855, 854))


def test_below_the_limit_however_many_there_are_is_no_finding() -> None:
    assert JUDGE.all(buckets(200_000, 262_144)) == []


def test_an_overflow_is_critical_whatever_the_level_at_the_moment() -> None:
    found = JUDGE.one(buckets(100, events=OVERFLOW))
    assert found.severity == "critical"
    assert "2.5 a second find none" in found.summary


def test_no_overflow_leaves_the_severity_alone() -> None:
    assert JUDGE.severity(buckets(800, events={"TCPTimeWaitOverflow": 0.0})) == "warning"


class TestUnclosed:
    """Buckets that orphaned FIN_WAIT2 sockets take up."""

    ORPHANS = Sock(TcpState.FIN_WAIT2, timer=3, inode=0, cgroup_id=0, remote="10.7.7.7")

    def full(self, orphans: int, **others: Any) -> DetectorInput:
        limits = replace(LIMITS, sockstat=Sockstat(9, 800, 0, 0), time_wait_limit=1000)
        socks = Sock(TcpState.TIME_WAIT, timer=3, inode=0, cgroup_id=0).times(800 - orphans)
        return sight([*replace(self.ORPHANS, **others).times(orphans), *socks], limits)

    def test_are_told_apart_with_the_peers_that_do_not_close(self) -> None:
        found = JUDGE.one(self.full(500))
        assert found.summary == (
            "80 % of the time-wait buckets are in use (800 of 1000); 500 of them are in FIN_WAIT2: "
            "their peers, 500 times 10.7.7.7, do not close what this host has closed"
        )
        assert facts(found)["fin_wait2"] == "500 sockets"
        assert facts(found)["peers_that_do_not_close"] == {"10.7.7.7": "500 sockets"}
        assert commands(found)[0] == "sysctl -w net.ipv4.tcp_fin_timeout=15"
        look = Command("ss -tnpo state close-wait '( sport = :443 )'", "peer")
        assert look in [advice.command for advice in found.advice]

    def test_are_looked_at_here_if_the_peers_are(self) -> None:
        found = JUDGE.one(self.full(500, remote="127.0.0.1"))
        assert "peer" not in [advice.command.where for advice in found.advice if advice.command]

    def test_that_are_few_are_only_evidence(self) -> None:
        found = JUDGE.one(self.full(300))
        assert "FIN_WAIT2" not in found.summary
        assert facts(found)["fin_wait2"] == "300 sockets"
        assert not advises(found, "tcp_fin_timeout")

    def test_that_a_process_holds_take_up_none(self) -> None:
        found = JUDGE.one(self.full(500, timer=0, inode=5))
        assert "fin_wait2" not in found.evidence


@pytest.mark.parametrize("most", [None, -1])
def test_without_a_bound_there_is_no_finding(most: int | None) -> None:
    assert JUDGE.all(buckets(2000, most, events=OVERFLOW)) == []


def test_a_bound_of_none_at_all_does_not_divide() -> None:
    assert JUDGE.all(buckets(0, 0)) == []
    assert JUDGE.severity(buckets(0, 0, events=OVERFLOW)) == "critical"


def test_nothing_known_is_no_finding() -> None:
    assert JUDGE.all(sight((), UNKNOWN, events=OVERFLOW)) == []


def test_it_says_who_closes_first() -> None:
    found = JUDGE.one(buckets(810, events={"TW": 90.0}))
    assert (found.subject, found.value, found.limit) == (Subject(), 0.81, 0.8)
    assert facts(found) == {
        "buckets": "810 sockets",
        "buckets_limit": "1000 sockets",
        "by_direction": {"inbound": "30 sockets", "outbound": "20 sockets"},
        "top": {"inbound port 443": "30 sockets", "outbound port 8080": "20 sockets"},
        "events": {"TW": "90.0 per_second"},
        "tcp_tw_reuse": "2 count",
    }
    for text in (
        "30 are of accepted connections, most of port 443: this host closes first",
        "tcp_max_tw_buckets = 1000",
        "tcp_tw_reuse is 2 here",
    ):
        assert advises(found, text), text
    assert commands(found) == [
        "sysctl -w net.ipv4.tcp_max_tw_buckets=2000",
        "ss -tan state time-wait '( sport = :443 )'",
    ]


def test_without_sockets_to_show_it_still_tells() -> None:
    limits = replace(LIMITS, sockstat=Sockstat(9, 900, 0, 0), time_wait_limit=1000)
    found = JUDGE.one(sight((), limits))
    assert facts(found)["top"] == {}
    assert not advises(found, "tcp_tw_reuse")


def test_reuse_is_told_as_it_is_set() -> None:
    seen = buckets(900)
    always = replace(seen, limits=replace(seen.limits, time_wait_reuse=TimeWaitReuse(1)))
    assert value(JUDGE.one(always), "tcp_tw_reuse") == 1
    unknown = replace(seen, limits=replace(seen.limits, time_wait_reuse=None))
    assert "tcp_tw_reuse" not in JUDGE.one(unknown).evidence
