"""UDP sockets by port: servers by their own, clients by the remote one, no ephemeral port."""

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sockmon.model.counts import PortGroup
from sockmon.model.limits import PortRange
from sockmon.model.states import TcpState
from sockmon.model.udp import Udp
from sockmon.poll.udp_groups import UdpGroups
from tests.unit.detect.builders import Sock, table_of

RANGE = PortRange(32768, 60999)
SERVER, CLIENT = TcpState.CLOSE, TcpState.ESTABLISHED
TOP = 5

Shown = dict[tuple[str, int | None], dict[str, int]]


def server(port: int, waiting: int = 0) -> Sock:
    return Sock(SERVER, local_port=port, remote_port=0, receive_queue=waiting)


def client(remote_port: int, local_port: int = 40_000) -> Sock:
    return Sock(CLIENT, local_port=local_port, remote_port=remote_port)


def groups(*socks: Sock, before: UdpGroups | None = None, now: float = 0.0) -> UdpGroups:
    return (before or UdpGroups()).seen(table_of(socks), RANGE, now, TOP, (51_820,))


def shown(found: tuple[PortGroup, ...]) -> Shown:
    return {
        (its.key.direction, its.key.port): {s.label: n for s, n in its.states.items()}
        for its in found
    }


def test_servers_and_clients() -> None:
    socks = [server(53), server(53), client(53), client(53, 40_001), server(40_010), client(41_000)]
    # A server that connects a socket to one of its clients goes on serving its port.
    socks += [client(50_000, local_port=53), server(51_820, waiting=900)]
    found = groups(*socks).groups
    assert shown(found) == {
        ("inbound", 53): {"close": 2, "established": 1},
        ("outbound", 53): {"established": 2},
        ("inbound", 51_820): {"close": 1},
        ("inbound", None): {"close": 1},
        ("outbound", None): {"established": 1},
    }
    waiting = {its.key.port: its.receive_queue for its in found if its.receive_queue}
    assert waiting == {51_820: 900}


def test_a_port_comes_down_to_zero_and_ends_after_ten_minutes() -> None:
    first = groups(server(53))
    gone = groups(before=first, now=5.0)
    assert shown(gone.groups) == {("inbound", 53): {"close": 0}}
    assert groups(before=gone, now=700.0).groups == ()
    assert groups() == UdpGroups()


def test_what_was_dropped_stays_when_its_socket_is_closed() -> None:
    def seen(udp: Udp, now: float, **drops: int) -> Udp:
        socks = [
            Sock(SERVER, local_port=int(port[1:]), inode=int(port[1:]), drops=n)
            for port, n in drops.items()
        ]
        return udp.seen(table_of(socks), now, 300.0)

    udp = seen(Udp(), 0.0, p53=7, p40000=0)
    assert udp.since_first == {}, "what was dropped before the daemon began"
    udp = seen(udp, 5.0, p53=9, p40000=4)
    udp = seen(udp, 10.0, p53=9)
    udp = seen(udp, 15.0, p53=10, p40000=1)
    assert udp.since_first == {53: 3, 40_000: 5}


@given(
    st.lists(
        st.builds(
            Sock,
            state=st.sampled_from([SERVER, CLIENT]),
            local_port=st.integers(0, 65535),
            remote_port=st.integers(0, 65535),
        ),
        max_size=30,
    )
)
def test_each_socket_is_counted_once_and_no_ephemeral_port_of_one_or_two_has_a_name(
    socks: list[Sock],
) -> None:
    found = groups(*socks).groups
    for state in (SERVER, CLIENT):
        counted = sum(its.states.get(state, 0) for its in found)
        assert counted == sum(sock.state == state for sock in socks)
    for its in found:
        port = its.key.port
        if port is not None and port != 51_820 and RANGE.low <= port <= RANGE.high:
            assert sum(its.states.values()) >= 3


def test_a_port_that_is_held_for_minutes_is_a_services() -> None:
    server = Sock(SERVER, local_port=51_820)
    held = Udp()
    for n in range(61):
        table = table_of([server, Sock(SERVER, local_port=40_000 + n)])
        held = held.seen(replace(table, cookie=np.array([1, 100 + n], np.uint64)), 5.0 * n, 300.0)
        assert held.held.services(5.0 * n) == ({51_820} if n == 60 else set())
