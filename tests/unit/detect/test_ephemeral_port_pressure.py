"""Ports run out for each destination, and the worst of each destination port is told of."""

import ipaddress
import math
from dataclasses import replace
from typing import Any

import pytest

from sockmon.language import Text
from sockmon.model.detector_input import DetectorInput, PreviousFinding
from sockmon.model.finding import Deadline, Subject
from sockmon.model.limits import KernelLimits, PortRange, TimeWaitReuse
from sockmon.model.owner import Owner
from sockmon.model.ports import BoundBeforeConnect
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
    listening,
    looked_up,
    owned,
    remembering,
    sight,
    texts,
    value,
)

JUDGE = judge("ephemeral_port_pressure")
HUNDRED = replace(LIMITS, port_range=PortRange(40000, 40099))


def uses(
    count: float,
    limits: KernelLimits = HUNDRED,
    state: TcpState = TcpState.ESTABLISHED,
    **others: Any,
) -> DetectorInput:
    more = {name: others.pop(name) for name in ("inode", "timer", "expires") if name in others}
    socks = Sock(state, remote="10.9.9.9", remote_port=8080, **more).times(int(count))
    return sight(socks, limits, **others)


def test_its_limits_and_hysteresis() -> None:
    has_hysteresis(JUDGE, uses, (70, 63, 62), (90, 81, 80))


def test_many_connections_to_many_destinations_are_no_finding() -> None:
    socks = [
        sock for n in range(20) for sock in Sock(remote=f"10.1.0.{n}", remote_port=8080).times(60)
    ]
    assert JUDGE.all(sight(socks, HUNDRED)) == []


def test_many_time_wait_of_a_listener_are_no_finding() -> None:
    closed = Sock(TcpState.TIME_WAIT, local_port=40005, inode=0, timer=3, expires=50_000)
    socks = [closed.times(1, remote_port=20000 + n)[0] for n in range(500)]
    assert JUDGE.all(sight([listening(40005), *socks], HUNDRED)) == []


def test_unknown_is_no_finding() -> None:
    assert JUDGE.all(uses(100, UNKNOWN)) == []


def test_ports_that_are_all_held_by_bind_are_critical() -> None:
    found = JUDGE.one(uses(100, state=TcpState.CLOSE))
    assert (found.severity, found.subject, found.value) == ("critical", Subject("outbound"), 1.0)
    assert facts(found) == {
        "range": "40000-40099 text",
        "usable": "0 count",
        "reserved": "0 count",
        "held_by_bind": "100 count",
    }
    assert "bind() holds all 100" in found.summary


def test_when_bind_holds_every_port_that_is_all_that_is_said() -> None:
    seen = uses(70)
    source = BoundBeforeConnect(ipaddress.ip_address("10.0.0.1"), 100)
    none_left = replace(seen.ephemeral, usable=0, bound=100, bound_before_connect=(source,))
    found = JUDGE.one(replace(seen, ephemeral=none_left))
    assert found.summary == "no local port is left for any destination: bind() holds all 100"


def test_a_range_that_is_all_reserved_is_somebodys_wish() -> None:
    none_left = replace(LIMITS, port_range=PortRange(40000, 40099, ((40000, 40099),)))
    assert JUDGE.all(uses(50, none_left)) == []


class TestTheForecast:
    def test_is_critical_from_half_of_the_ports_on(self) -> None:
        assert JUDGE.severity(uses(50, exhaustion_seconds=599.0)) == "critical"
        assert JUDGE.severity(uses(70, exhaustion_seconds=599.0)) == "critical"

    def test_does_not_cry_wolf_at_a_start(self) -> None:
        assert JUDGE.all(uses(49, exhaustion_seconds=10.0)) == []

    def test_that_is_far_off_is_no_finding(self) -> None:
        assert JUDGE.all(uses(50, exhaustion_seconds=600.0)) == []
        assert JUDGE.severity(uses(70, exhaustion_seconds=600.0)) == "warning"

    def test_lets_go_only_well_behind_its_limits(self) -> None:
        finding = JUDGE.one(uses(50, exhaustion_seconds=599.0))
        for used, seconds, expected in (
            (45, 660.0, "critical"),
            (44, 60.0, None),
            (50, 667.0, None),
        ):
            seen = remembering(uses(used, exhaustion_seconds=seconds), finding, "critical")
            assert JUDGE.severity(seen) == expected, (used, seconds)

    def test_belongs_to_its_own_destination(self) -> None:
        socks = Sock(remote_port=8080).times(60) + Sock(remote_port=9090).times(55)
        seen = sight(socks, HUNDRED, exhaustion_seconds=60.0)
        only = {to: left for to, left in seen.exhaustion.items() if to.port == 9090}
        found = JUDGE.one(replace(seen, exhaustion=only))
        assert (found.subject.port, found.severity) == (9090, "critical")

    def test_of_the_soonest_makes_it_the_worst_of_its_port(self) -> None:
        socks = Sock(remote="10.0.0.8").times(80) + Sock(remote="10.0.0.9").times(75)
        seen = sight(socks, HUNDRED, exhaustion_seconds=60.0)
        only = {to: left for to, left in seen.exhaustion.items() if str(to.address) == "10.0.0.9"}
        found = JUDGE.one(replace(seen, exhaustion=only))
        assert value(found, "destination") == "10.0.0.9"
        assert found.summary.endswith("; destinations of this port over the threshold: 2")

    @pytest.mark.parametrize(("seconds", "told"), [(math.inf, None), (90.4, 90.4), (0.0, 0.0)])
    def test_is_a_deadline_when_there_is_one(self, seconds: float, told: float | None) -> None:
        found = JUDGE.one(uses(95, exhaustion_seconds=seconds))
        deadline = None if told is None else Deadline(Text("local ports run out"), told)
        assert found.deadline == deadline
        assert ("all in about 1m30s" in found.summary) == (told == 90.4)


class TestOfSeveralDestinations:
    def test_one_port_gives_one_finding_the_worst(self) -> None:
        socks = Sock(remote="10.0.0.8").times(75) + Sock(remote="10.0.0.9").times(95)
        found = JUDGE.one(sight(socks, HUNDRED))
        assert (found.severity, found.value) == ("critical", 0.95)
        assert value(found, "destination") == "10.0.0.9"

    def test_each_port_has_its_own_whichever_is_worse_at_the_moment(self) -> None:
        for first, second in ((80, 81), (81, 80)):
            socks = Sock(remote_port=8080).times(first) + Sock(remote_port=9090).times(second)
            found = JUDGE.all(sight(socks, HUNDRED))
            assert {each.subject for each in found} == {
                Subject("outbound", 8080),
                Subject("outbound", 9090),
            }


class TestEvidence:
    def test_is_the_tuple_its_states_and_what_is_left(self) -> None:
        limits = replace(LIMITS, port_range=PortRange(40000, 40099, ((40090, 40099),)))
        socks = [
            *Sock(local_port=40000, remote="10.9.9.9").times(20),
            *Sock(
                TcpState.TIME_WAIT,
                local_port=40020,
                remote="10.9.9.9",
                inode=0,
                cgroup_id=0,
                timer=3,
                expires=9000,
            ).times(50),
            listening(40089),
        ]
        found = JUDGE.one(sight(socks, limits))
        assert facts(found) == {
            "source": "10.0.0.1 text",
            "destination": "10.9.9.9 text",
            "destination_port": "443 port",
            "used": "70 count",
            "usable": "89 count",
            "reserved": "10 count",
            "held_by_bind": "1 count",
            "by_state": {"TIME_WAIT": "50 sockets", "ESTABLISHED": "20 sockets"},
            "range": "40000-40099 text",
            "tcp_tw_reuse": "2 count",
        }
        assert found.summary == (
            "connections from 10.0.0.1 to 10.9.9.9:443 use 79 % of the local ports (70 of 89)"
        )
        assert group_of(found)[:2] == ("outbound", 443)
        assert len(found.inodes) == 20
        for text in (
            "EADDRNOTAVAIL",
            "Most are in TIME_WAIT",
            "tcp_tw_reuse is 2 (loopback only)",
            "ip_local_port_range is 40000 40099: widen it",
            "keep the ports that this host listens on out of the wider range",
        ):
            assert advises(found, text), text
        assert commands(found) == [
            "sysctl -w net.ipv4.tcp_tw_reuse=1",
            "sysctl -w net.ipv4.ip_local_reserved_ports=40090-40099,40089",
            "sysctl -w net.ipv4.ip_local_port_range='1024 65535'",
            "ss -tanpo 'src 10.0.0.1 and dst 10.9.9.9:443'",
        ]

    def test_of_ipv6_has_brackets_where_a_port_follows(self) -> None:
        sock = Sock(family=6, local="fd00::1", remote="fd00::2")
        found = JUDGE.one(sight(sock.times(80) + Sock().times(5), HUNDRED))
        assert "to [fd00::2]:443 use" in found.summary
        assert commands(found)[-1].endswith("'src [fd00::1] and dst [fd00::2]:443'")
        assert len(found.inodes) == 80

    def test_without_a_process_names_no_group(self) -> None:
        closed = Sock(TcpState.TIME_WAIT, inode=0, timer=3, expires=9000)
        found = JUDGE.one(sight(closed.times(80), HUNDRED))
        assert (found.group, found.inodes) == (None, ())


@pytest.mark.parametrize(
    ("state", "told"),
    [
        (TcpState.ESTABLISHED, "Most are ESTABLISHED"),
        (TcpState.CLOSE_WAIT, "does not close what its peer has closed"),
        (TcpState.SYN_SENT, "nobody answers at port 443"),
        (TcpState.FIN_WAIT2, "Most are in FIN_WAIT2: the destination does not end its side"),
    ],
)
def test_advice_follows_the_state_most_are_in(state: TcpState, told: str) -> None:
    found = JUDGE.one(sight(Sock(state).times(80), HUNDRED))
    assert advises(found, told)
    assert not advises(found, "tw_reuse")


@pytest.mark.parametrize(
    ("reuse", "told"),
    [
        (TimeWaitReuse(0), "tcp_tw_reuse is 0 (never)"),
        (TimeWaitReuse(1), "tcp_tw_reuse is 1: ports older than 1000 ms"),
        (TimeWaitReuse(1, timestamps=False), "tcp_timestamps is off"),
        (None, None),
    ],
)
def test_advice_knows_this_hosts_reuse(reuse: TimeWaitReuse | None, told: str | None) -> None:
    closed = Sock(TcpState.TIME_WAIT, inode=0, timer=3, expires=59_900)
    found = JUDGE.one(sight(closed.times(80), replace(HUNDRED, time_wait_reuse=reuse)))
    lines = [line for line in texts(found) if "tcp_tw_reuse" in line or "timestamps" in line]
    assert len(lines) == (told is not None)
    assert all(told is not None and told in line for line in lines)


def test_who_holds_the_ports_comes_first_and_is_remembered() -> None:
    found = JUDGE.one(owned(uses(80)))
    assert found.summary.startswith("shop.service: connections from 10.0.0.1 to 10.9.9.9:8080 use")
    closed = uses(80, state=TcpState.TIME_WAIT, inode=0, timer=3, expires=59_900)
    before = PreviousFinding("warning", ((NOW - 5, 0.8),), Owner("shop.service", "shop.service"))
    seen = JUDGE.one(replace(closed, past={found.key: before}))
    assert seen.summary == found.summary
    assert seen.owner == before.owner
    gone = JUDGE.one(replace(looked_up(uses(80), {}), past={found.key: before}))
    assert (gone.summary, gone.owner) == (found.summary, before.owner), "it closed them too soon"


def test_what_nobody_lets_go_of_is_not_mended_by_more_ports() -> None:
    for state in (TcpState.CLOSE_WAIT, TcpState.SYN_SENT):
        found = JUDGE.one(sight(Sock(state).times(80), HUNDRED))
        assert found.advice[0].text.startswith(f"Most are in {state.name}")


def test_the_widest_range_cannot_be_widened() -> None:
    socks = [replace(Sock(), local_port=port) for port in range(1024, 60_000)]
    found = JUDGE.one(sight(socks, replace(LIMITS, port_range=PortRange(1024, 65535))))
    assert "cannot be wider" in found.advice[0].text
    assert not advises(found, "sysctl -w net.ipv4.ip_local_port_range")


def test_a_block_of_ports_that_is_used_up_is_a_note() -> None:
    found = JUDGE.one(uses(60, LIMITS))
    assert found.note
    assert found.summary.endswith(
        "they are those from 40000 to 40059, and no other: if the program is kept to these "
        "(IP_LOCAL_PORT_RANGE), its next connect() fails with EADDRNOTAVAIL"
    )
    spread = [sock for n in range(60) for sock in Sock(local_port=40_000 + 2 * n).times(1)]
    assert JUDGE.all(sight(spread, LIMITS)) == [], "as connect() chooses them"
