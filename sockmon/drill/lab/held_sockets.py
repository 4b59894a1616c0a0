"""What a condition's context manager holds, once the kernel shows that it exists."""

import socket
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sockmon.drill.lab.addresses import Direction, TcpState
from sockmon.drill.lab.netns import NetNs
from sockmon.drill.lab.sockets import Connections
from sockmon.drill.lab.wait_until import eventually

# The client has shut down its sending side, and the server has not closed.
HALF_CLOSED = {Direction.INBOUND: TcpState.CLOSE_WAIT, Direction.OUTBOUND: TcpState.FIN_WAIT2}


@dataclass(frozen=True, slots=True)
class Held:
    """Sockets that are in `state` as long as the context manager that made them is open."""

    netns: NetNs
    direction: Direction
    state: TcpState
    ports: tuple[
        int, ...
    ]  # the service's: local in direction inbound, remote in direction outbound
    expected: Mapping[
        tuple[Direction, TcpState], int
    ]  # all sockets of these ports in the namespace
    sockets: tuple[socket.socket, ...] = ()  # those in `state`; none when only the kernel has them
    peers: tuple[socket.socket, ...] = ()  # their other ends, where those are sockets of ours

    @property
    def port(self) -> int:
        """The service's port, if there is one."""
        (port,) = self.ports
        return port

    @property
    def count(self) -> int:
        """How many sockets are in `state`."""
        return self.expected[self.direction, self.state]


def held_connections(
    netns: NetNs, made: Connections, direction: Direction, states: Mapping[Direction, TcpState]
) -> Held:
    """Return the ends in `direction`, once all ends in the namespace are in their `states`."""
    ends = {Direction.INBOUND: made.servers, Direction.OUTBOUND: made.clients}
    (peer,) = set(Direction) - {direction}
    return settled(
        Held(
            netns,
            direction,
            states[direction],
            (made.port,),
            {(Direction.INBOUND, TcpState.LISTEN): 1}
            | {(end, state): len(ends[end]) for end, state in states.items()},
            sockets=_still_open(ends[direction]),
            peers=_still_open(ends[peer]),
        )
    )


def settled(held: Held) -> Held:
    """Return `held` once the kernel agrees: a segment may still be on its way through loopback."""
    eventually(lambda: census(held.netns, held.ports), until=Counter(held.expected).__eq__)
    return held


def census(netns: NetNs, ports: tuple[int, ...]) -> Counter[tuple[Direction, TcpState]]:
    """Count the sockets of these service ports by direction and state, from /proc/net/tcp{,6}."""
    tables = netns.call(
        lambda: [Path("/proc/thread-self/net", name).read_text() for name in ("tcp", "tcp6")]
    )
    counted: Counter[tuple[Direction, TcpState]] = Counter()
    for line in (line for table in tables for line in table.splitlines()[1:]):
        _, local, remote, state = line.split(maxsplit=4)[:4]
        if _port(local) in ports:
            counted[Direction.INBOUND, TcpState(int(state, 16))] += 1
        elif _port(remote) in ports:
            counted[Direction.OUTBOUND, TcpState(int(state, 16))] += 1
    return counted


def _port(address: str) -> int:
    return int(address.rpartition(":")[2], 16)


def _still_open(sockets: tuple[socket.socket, ...]) -> tuple[socket.socket, ...]:
    return tuple(sock for sock in sockets if sock.fileno() != -1)
