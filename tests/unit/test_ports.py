"""Ephemeral ports run out for each (source, destination, destination port) by itself."""

import ipaddress
import itertools
import math
import statistics
import tracemalloc
from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from sockmon.model.direction import Listened, directions
from sockmon.model.limits import PortRange, TimeWaitReuse
from sockmon.model.ports import (
    Destination,
    EphemeralPorts,
    PortForecast,
    PortUse,
    ephemeral_ports,
    reusable,
    robust_slope,
    soonest,
)
from sockmon.model.states import TcpState
from tests.unit import naive
from tests.unit.strategies import Socket, port_ranges, socket_lists, table

TEN = PortRange(40000, 40009)
LOOPBACK = "127.0.0.1"
SOURCE, TARGET = "10.0.0.1", "10.0.0.2"


def use(
    sockets: Iterable[Socket], ports: PortRange = TEN, reuse: TimeWaitReuse | None = None
) -> EphemeralPorts:
    made = table(sockets)
    return ephemeral_ports(made, directions(made, Listened().seen(made), ports), ports, reuse)


def clients(count: int, first: int = 40000, **others: Any) -> list[Socket]:
    """Connections from so many ports to one destination."""
    base = Socket(local=SOURCE, remote=TARGET, remote_port=443)._replace(**others)
    return [base._replace(local_port=first + n) for n in range(count)]


def destination(source: str = SOURCE, target: str = TARGET, port: int = 443) -> Destination:
    return Destination(ipaddress.ip_address(source), ipaddress.ip_address(target), port)


class TestPortsInUse:
    def test_are_counted_for_each_destination(self) -> None:
        found = use(clients(10) + clients(10, remote="10.0.0.3"))
        assert (found.usable, found.used_max) == (10, 10)
        assert {(u.destination, u.used) for u in found.busiest} == {
            (destination(), 10),
            (destination(target="10.0.0.3"), 10),
        }

    @pytest.mark.parametrize(
        "other", [{"local": "10.0.0.9"}, {"remote": "10.0.0.9"}, {"remote_port": 80}]
    )
    def test_towards_another_source_address_or_port_are_others(self, other: dict[str, Any]) -> None:
        found = use(clients(3) + clients(2, **other))
        assert [u.used for u in found.busiest] == [3, 2]

    def test_are_told_by_the_states_that_hold_them(self) -> None:
        (found,) = use(
            clients(2) + clients(3, 40002, state=TcpState.TIME_WAIT, timer=3, expires=60_000)
        ).busiest
        states = {TcpState.ESTABLISHED: 2, TcpState.TIME_WAIT: 3}
        assert found == PortUse(destination(), 5, states, level=2 + 6 * 3)  # 3 in ten seconds

    def test_of_ipv6_and_ipv4_are_apart(self) -> None:
        sixth = clients(3, family=6, local="fd00::1", remote="fd00::2")
        found = use(clients(2) + sixth)
        assert [u.destination for u in found.busiest] == [
            destination("fd00::1", "fd00::2"),
            destination(),
        ]

    @pytest.mark.parametrize("word", range(8))
    def test_of_ipv6_depend_on_every_part_of_the_address(self, word: int) -> None:
        parts = [0x2001, 0xDB8, 1, 2, 3, 4, 5, 6]
        parts[word] += 1
        another = ":".join(f"{part:x}" for part in parts)
        for end in ("local", "remote"):
            both: dict[str, Any] = {
                "family": 6,
                "local": "2001:db8:1:2:3:4:5:6",
                "remote": "2001:db8:1:2:3:4:5:6",
            }
            found = use(clients(2, **both) + clients(1, **{**both, end: another}))
            assert [u.used for u in found.busiest] == [2, 1]

    def test_outside_the_range_are_not_the_kernels_to_give(self) -> None:
        assert use(clients(5, 20000)).busiest == ()
        assert use(clients(12, 39999)).used_max == 10

    def test_of_a_listener_are_not_a_clients(self) -> None:
        served = [Socket(local_port=8080, remote_port=40000 + n) for n in range(5)]
        found = use(served)
        assert (found.busiest, found.used_max, found.bound) == ((), 0, 0)

    def test_are_told_apart_for_a_thousand_destinations(self) -> None:
        """They are grouped by a number made of both addresses and the port: none may be lost."""
        sockets = [
            Socket(local=f"10.0.{n}.{m}", remote=f"10.0.{m}.{n}", remote_port=port)
            for n in range(16)
            for m in range(16)
            for port in (80, 81, 10 * 256, 65535)
        ]
        spread = [s._replace(local_port=40000 + n % 10) for n, s in enumerate(sockets)]
        assert {u.used for u in use(spread).busiest} == {1}

    def test_are_named_for_the_eight_busiest_alone(self) -> None:
        sockets = [socket for n in range(10) for socket in clients(n + 1, remote=f"10.0.1.{n}")]
        assert [u.used for u in use(sockets).busiest] == [10, 9, 8, 7, 6, 5, 4, 3]

    def test_are_none_without_sockets(self) -> None:
        assert use([]) == EphemeralPorts(usable=10, reserved=0, bound=0, busiest=())

    @given(socket_lists, port_ranges, st.sampled_from([None, TimeWaitReuse(1), TimeWaitReuse(2)]))
    def test_agree_with_counting_one_by_one(
        self, sockets: list[Socket], ports: PortRange, reuse: TimeWaitReuse | None
    ) -> None:
        found = use(sockets, ports, reuse)
        choosable = set(range(ports.low, ports.high + 1))
        for first, last in ports.reserved:
            choosable -= set(range(first, last + 1))
        listened = naive.listened(sockets)
        served = [s for s in sockets if naive.group(s, listened, ports, sockets)[0] == "inbound"]
        bound = {s.local_port for s in served} | {
            s.local_port for s in sockets if s.state is TcpState.CLOSE
        }
        usable = choosable - bound
        assert found.reserved == ports.high - ports.low + 1 - len(choosable)
        assert found.bound == len(choosable & bound)
        assert found.usable == len(usable)
        holders = defaultdict(list)
        for socket, free in zip(sockets, taken_over(reuse, *sockets), strict=True):
            if socket.local_port in usable and socket not in served and not free:
                holders[socket.local, socket.remote, socket.remote_port].append(socket)
        assume(len(holders) <= 8)
        assert {u.destination: (u.used, dict(u.states)) for u in found.busiest} == {
            destination(*where): (
                len({s.local_port for s in those}),
                dict(Counter(s.state for s in those)),
            )
            for where, those in holders.items()
        }
        used = [u.used for u in found.busiest]
        assert used == sorted(used, reverse=True)
        assert found.used_max == max(used, default=0)


class TestPortsNobodyMayChoose:
    def test_reserved_ones_are_subtracted(self) -> None:
        reserved = PortRange(40000, 40009, ((39990, 40001), (40005, 40005), (40009, 50000)))
        found = use(clients(10), reserved)
        assert (found.reserved, found.usable, found.used_max) == (4, 6, 6)

    def test_bound_ones_are_subtracted_for_every_destination(self) -> None:
        bound = [Socket(TcpState.CLOSE, local_port=40000 + n, remote_port=0) for n in (1, 2)]
        found = use(clients(10) + bound)
        assert (found.bound, found.usable, found.used_max) == (2, 8, 8)

    def test_those_of_listeners_are_bound_with_all_their_connections(self) -> None:
        listener = Socket(TcpState.LISTEN, local_port=40003, remote_port=0)
        served = [Socket(local_port=40003, remote_port=n) for n in (1, 2, 3)]
        found = use([listener, *served, *clients(2, 40008)])
        assert (found.bound, found.usable, found.used_max) == (1, 9, 2)

    def test_reserved_and_bound_ones_count_as_reserved(self) -> None:
        listener = Socket(TcpState.LISTEN, local_port=40003, remote_port=0)
        found = use([listener], PortRange(40000, 40009, ((40003, 40003),)))
        assert (found.reserved, found.bound, found.usable) == (1, 0, 9)

    def test_bound_ones_outside_the_range_cost_nothing(self) -> None:
        outside = Socket(TcpState.CLOSE, local_port=80, remote_port=0)
        found = use([outside])
        assert (found.bound, found.usable) == (0, 10)


def time_wait(expires: int = 1000, **others: Any) -> Socket:
    return Socket(TcpState.TIME_WAIT, timer=3, expires=expires)._replace(**others)


def taken_over(reuse: TimeWaitReuse | None, *sockets: Socket) -> list[bool]:
    found: list[bool] = reusable(table(sockets), np.arange(len(sockets)), reuse).tolist()
    return found


def test_only_the_rows_asked_about_are_judged() -> None:
    sockets = [time_wait(), Socket(), time_wait(60_000), time_wait()]
    rows = np.array([3, 1, 2])
    assert reusable(table(sockets), rows, TimeWaitReuse(1)).tolist() == [True, False, False]


class TestTimeWait:
    lan = time_wait()
    loopback = time_wait(local=LOOPBACK, remote=LOOPBACK)

    def test_holds_its_port_in_mode_0_or_when_the_mode_is_unknown(self) -> None:
        for reuse in (TimeWaitReuse(0), None):
            assert taken_over(reuse, self.lan, self.loopback) == [False, False]

    def test_gives_its_port_up_in_mode_1(self) -> None:
        assert taken_over(TimeWaitReuse(1), self.lan, self.loopback) == [True, True]

    def test_gives_its_port_up_on_loopback_alone_in_mode_2(self) -> None:
        assert taken_over(TimeWaitReuse(2), self.lan, self.loopback) == [False, True]

    @pytest.mark.parametrize(
        ("family", "local", "remote", "is_loopback"),
        [
            (4, "127.1.2.3", "10.0.0.1", True),
            (4, "10.0.0.1", "127.255.255.255", True),
            (4, "126.0.0.127", "128.0.0.127", False),
            (6, "::1", "::1", True),
            (6, "fd00::1", "::1", True),
            (6, "fd00::1", "::2", False),
            (6, "1::1", "fd00::1", False),
            (6, "0:1::1", "0:0:1::1", False),
            (6, "::1:0:1", "::100", False),
            (6, "7f00::1", "fd00::1", False),
        ],
    )
    def test_is_on_loopback_at_either_end(
        self,
        family: int,
        local: str,
        remote: str,
        is_loopback: bool,  # noqa: FBT001 - a parameter
    ) -> None:
        socket = time_wait(family=family, local=local, remote=remote)
        assert taken_over(TimeWaitReuse(2), socket, self.loopback) == [is_loopback, True]

    def test_gives_its_port_up_after_the_delay(self) -> None:
        """Its age is what is missing of 60 seconds."""
        ages = [time_wait(60_000 - age) for age in (0, 999, 1000, 1001, 59_999)]
        assert taken_over(TimeWaitReuse(1), *ages) == [False, False, False, True, True]
        slower = TimeWaitReuse(1, delay_ms=30_000)
        assert taken_over(slower, *ages) == [False, False, False, False, True]

    @pytest.mark.parametrize("mode", [1, 2])
    def test_holds_its_port_without_timestamps(self, mode: int) -> None:
        assert taken_over(TimeWaitReuse(mode, timestamps=False), self.loopback) == [False]

    @pytest.mark.parametrize("state", [state for state in TcpState if state != TcpState.TIME_WAIT])
    def test_alone_gives_its_port_up(self, state: TcpState) -> None:
        assert taken_over(TimeWaitReuse(1), self.lan._replace(state=state)) == [False]

    def test_that_gives_its_port_up_does_not_count_as_a_holder(self) -> None:
        waiting = clients(10, state=TcpState.TIME_WAIT, timer=3, expires=1000)
        assert use(waiting, reuse=TimeWaitReuse(0)).used_max == 10
        assert use(waiting, reuse=TimeWaitReuse(1)).used_max == 0
        assert use(waiting, reuse=TimeWaitReuse(2)).used_max == 10


def forecast(*uses: int, interval: float = 5.0, usable: int = 1000, target: str = TARGET) -> float:
    """The forecast after polls that saw so many ports in use."""
    memory = PortForecast()
    for poll, used in enumerate(uses):
        memory = memory.seen(ports_used((target, used)), 1000 + poll * interval)
    return soonest(memory.exhaustion(usable), usable)


def ports_used(*uses: tuple[str, int]) -> EphemeralPorts:
    busiest = tuple(PortUse(destination(target=target), used, {}) for target, used in uses)
    return EphemeralPorts(usable=1000, reserved=0, bound=0, busiest=busiest)


class TestForecast:
    def test_is_when_a_steady_growth_reaches_the_last_port(self) -> None:
        uses = range(100, 200, 10)  # 2 a second; 1000 - 190 are left
        assert forecast(*uses) == pytest.approx(810 / 2)

    def test_is_infinite_when_use_is_not_growing(self) -> None:
        assert forecast(*[500] * 20) == math.inf
        assert forecast(*range(900, 100, -10)) == math.inf
        assert forecast(*[500, 501, 500, 499] * 5) == math.inf
        assert soonest(PortForecast().exhaustion(1000), 1000) == math.inf

    def test_is_nothing_when_no_port_is_left(self) -> None:
        assert forecast(1000) == 0
        assert forecast(*[1000] * 20) == 0
        assert forecast(1001) == 0
        assert forecast(999) == math.inf

    def test_is_nothing_when_there_never_was_a_port(self) -> None:
        """All of the range reserved or bound: then nobody holds one, and connect() fails."""
        everything = use([], PortRange(40000, 40009, ((40000, 40009),)))
        memory = PortForecast().seen(everything, 1000.0)
        assert everything.usable == 0
        assert soonest(memory.exhaustion(everything.usable), everything.usable) == 0

    @pytest.mark.parametrize("at", [0, 5, 18, 19])
    def test_is_not_turned_by_one_burst(self, at: int) -> None:
        flat = [100] * 20
        flat[at] = 900
        assert forecast(*flat) == math.inf

    def test_of_a_growth_is_not_turned_by_one_burst(self) -> None:
        uses = list(range(100, 300, 10))
        uses[7] = 950
        assert forecast(*uses) == pytest.approx((1000 - 290) / 2, rel=0.1)

    def test_needs_six_polls(self) -> None:
        assert forecast(*range(100, 150, 10)) == math.inf
        assert forecast(*range(100, 160, 10)) < math.inf

    def test_looks_no_further_than_a_day(self) -> None:
        slow = [100, 101, 102, 103, 104, 105]
        assert forecast(*slow, interval=90.0) == pytest.approx(895 * 90)
        assert forecast(*slow, interval=100.0) == math.inf

    def test_is_of_the_destination_that_is_full_first(self) -> None:
        memory = PortForecast()
        for poll in range(10):
            both = ports_used(("10.0.0.8", 500 + poll), ("10.0.0.9", 100 + 50 * poll))
            memory = memory.seen(both, 5.0 * poll)
        assert soonest(memory.exhaustion(1000), 1000) == pytest.approx((1000 - 550) / 10)

    def test_forgets_destinations_that_are_no_longer_busy(self) -> None:
        memory = PortForecast()
        for poll in range(10):
            memory = memory.seen(ports_used(("10.0.0.8", 100 * poll)), 5.0 * poll)
        assert soonest(memory.exhaustion(1000), 1000) < math.inf
        memory = memory.seen(ports_used(("10.0.0.9", 1)), 50.0)
        assert memory.samples.keys() == {destination(target="10.0.0.9")}
        assert soonest(memory.exhaustion(1000), 1000) == math.inf

    def test_remembers_no_more_than_sixty_polls(self) -> None:
        memory = PortForecast()
        for poll in range(100):
            memory = memory.seen(ports_used((TARGET, poll)), float(poll))
        (samples,) = memory.samples.values()
        assert samples == tuple((float(poll), poll) for poll in range(40, 100))

    def test_knows_no_slope_in_one_moment(self) -> None:
        assert robust_slope(((1.0, 5),)) == 0
        assert robust_slope(((1.0, 5), (1.0, 500))) == 0

    @given(
        st.integers(0, 1000),
        st.integers(-20, 20),
        st.floats(0.1, 3600),
        st.integers(2, 1000),
        st.floats(0, 1e6),
    )
    def test_slope_of_a_straight_line_is_its_own(
        self, start: int, rise: int, interval: float, count: int, begun: float
    ) -> None:
        line = tuple((begun + n * interval, start + n * rise) for n in range(count))
        assert robust_slope(line) == pytest.approx(rise / interval, rel=1e-4, abs=1e-9)

    @given(st.lists(st.integers(-9, 9), min_size=2, max_size=60))
    def test_slope_is_the_median_of_the_slopes_of_all_pairs(self, values: list[int]) -> None:
        pairs = itertools.combinations(enumerate(values), 2)
        slopes = [(later - earlier) / (at - since) for (since, earlier), (at, later) in pairs]
        assert robust_slope(tuple(enumerate(values))) == pytest.approx(statistics.median(slopes))

    def test_slope_of_very_many_samples_takes_little_memory(self) -> None:
        """All pairs of 3,000 samples took 200 MB."""
        samples = tuple((float(n), float(n + n % 7)) for n in range(3000))
        tracemalloc.start()
        try:
            assert robust_slope(samples) == pytest.approx(1, abs=0.01)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 5e6
