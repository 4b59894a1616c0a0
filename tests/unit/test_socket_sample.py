"""What is kept of a poll's sockets: any part of them is counted as one by one."""

import ipaddress
from collections import Counter
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sockmon.model.ages import AGE_BOUNDS, NO_AGES, NOTHING_HEARD, Aged
from sockmon.model.direction import Listened, directions
from sockmon.model.limits import PortRange
from sockmon.model.socket_sample import SAMPLED, SocketSample
from sockmon.model.states import TcpState
from sockmon.model.udp import UdpPort, udp_ports
from tests.unit.strategies import Socket, sockets, table

RANGE = PortRange(32768, 60999)
NAMES = {1: "a.service", 2: "b.service", 3: "a.service", 4: None}


def sampled(those: list[Socket], cgroups: list[int], aged: Aged = NO_AGES) -> SocketSample:
    its = table(those)
    its.cgroup_id[:] = cgroups
    found = directions(its, Listened().seen(its), RANGE)
    return SocketSample.of(its, found, aged, 100.0, NAMES)


def counted(parts: Any) -> Counter[Any]:
    return Counter({key: sum(states.values()) for key, states in parts})


@given(st.lists(st.tuples(sockets(), st.integers(0, 5)), max_size=30))
def test_every_part_is_counted_as_one_by_one(those: list[tuple[Socket, int]]) -> None:
    only = [socket for socket, _ in those]
    sample = sampled(only, [cgroup for _, cgroup in those])
    rows = sample.rows()
    assert sample.one_in == 1
    assert sample.states(rows) == Counter(socket.state for socket in only)
    peers = counted((str(at), sample.states(part)) for at, part in sample.by_peer(rows, 99))
    talking = [socket for socket in only if socket.state is not TcpState.LISTEN]
    assert peers == Counter(str(ipaddress.ip_address(socket.remote)) for socket in talking)
    owners = counted((name, sample.states(part)) for name, part in sample.by_owner(rows, 99))
    named = (NAMES.get(cgroup) for _, cgroup in those)
    assert owners == Counter(name for name in named if name is not None)
    ports = [(direction, port, part) for direction, port, part in sample.by_port(rows, 99)]
    assert sum(part.size for *_, part in ports) == len(only)
    for direction, port, part in ports:
        assert sorted(part) == sorted(sample.rows(direction, port))
    for address, part in sample.by_peer(rows, 99):
        those_of_peer = sample.rows(peer=address)
        assert set(part) == {row for row in those_of_peer if sample.state[row] != TcpState.LISTEN}
    for name, part in sample.by_owner(rows, 99):
        assert sorted(part) == sorted(sample.rows(owner=name))


def test_the_largest_come_first_and_no_more_than_asked_for() -> None:
    those = [Socket(remote=f"192.0.2.{n}") for n in range(1, 9) for _ in range(n)]
    sample = sampled(those, [0] * len(those))
    found = [str(address) for address, _ in sample.by_peer(sample.rows(), 3)]
    assert found == ["192.0.2.8", "192.0.2.7", "192.0.2.6"]


def test_a_large_table_is_kept_in_part_and_its_figures_are_estimates() -> None:
    waiting, open_ = Socket(TcpState.TIME_WAIT), Socket(TcpState.ESTABLISHED)
    those = [waiting, open_, open_, open_] * SAMPLED
    sample = sampled(those, [0] * len(those))
    assert sample.state.size <= SAMPLED
    assert sample.state.size * sample.one_in >= len(those)
    assert sum(sample.states(sample.rows()).values()) == len(those)


def test_ages_are_counted_where_they_are_known() -> None:
    those = [Socket(TcpState.CLOSE_WAIT), Socket(TcpState.ESTABLISHED)]
    aged = Aged.seen(NO_AGES, table(those), NOTHING_HEARD, 63.0)
    sample = sampled(those, [0, 0], aged)
    (counts,) = sample.ages(sample.rows()).values()
    assert list(sample.ages(sample.rows())) == [TcpState.CLOSE_WAIT]
    place = sum(bound < 100.0 - 63.0 for bound in AGE_BOUNDS)
    assert [at for at, n in enumerate(counts) if n] == [place]


def test_udp_ports_that_dropped_come_first() -> None:
    its = table([Socket(local_port=port) for port in (53, 53, 514, 123)])
    its.drops[:] = np.array([0, 0, 7, 0], np.uint64)
    its.receive_queue[:] = [10, 20, 0, 0]
    expected = (UdpPort(514, 1, 0, 7), UdpPort(53, 2, 30, 0), UdpPort(123, 1, 0, 0))
    assert udp_ports(its, 9) == expected
    assert udp_ports(its, 1) == expected[:1]
    assert udp_ports(table([]), 9) == ()
    its.cgroup_id[:] = [70, 71, 71, 0]
    syslog, dns, ntp = udp_ports(its, 9)
    assert (syslog.cgroups, dns.cgroups, ntp.cgroups) == (((71, 1),), ((70, 1), (71, 1)), ())
    assert dns.named({70: "dns.service", 71: "dns.service"}).owners == (("dns.service", 2),)
    assert dns.named({70: None}).owners == ()
