"""What a condition's context manager holds, and the kernel's word that it exists."""

import socket
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sockmon.drill.lab.addresses import Role, TcpState
from sockmon.drill.lab.netns import NetNs
from sockmon.drill.lab.sockets import Connections
from sockmon.drill.lab.wait_until import eventually

# The client has shut down its sending side, and the server has not closed.
HALF_CLOSED = {Role.LISTENER: TcpState.CLOSE_WAIT, Role.REMOTE: TcpState.FIN_WAIT2}


@dataclass(frozen=True, slots=True)
class Held:
    """Sockets that are in `state` as long as the context manager that made them is open."""

    netns: NetNs
    role: Role
    state: TcpState
    ports: tuple[int, ...]  # the service's: local in role listener, remote in role remote
    expected: Mapping[tuple[Role, TcpState], int]  # all sockets of these ports in the namespace
    sockets: tuple[socket.socket, ...] = ()  # those in `state`; none when only the kernel has them
    peers: tuple[socket.socket, ...] = ()  # their other ends, where those are sockets of ours

    @property
    def port(self) -> int:
        """The service's port, where there is one."""
        (port,) = self.ports
        return port

    @property
    def count(self) -> int:
        """How many sockets are in `state`."""
        return self.expected[self.role, self.state]


def held_connections(
    netns: NetNs, made: Connections, role: Role, states: Mapping[Role, TcpState]
) -> Held:
    """The ends that play `role`, once all ends in the namespace are in their `states`."""
    ends = {Role.LISTENER: made.servers, Role.REMOTE: made.clients}
    (peer,) = set(Role) - {role}
    return settled(
        Held(
            netns,
            role,
            states[role],
            (made.port,),
            {(Role.LISTENER, TcpState.LISTEN): 1}
            | {(end, state): len(ends[end]) for end, state in states.items()},
            sockets=_still_open(ends[role]),
            peers=_still_open(ends[peer]),
        )
    )


def settled(held: Held) -> Held:
    """Return `held` once the kernel agrees: a segment may still be on its way through loopback."""
    eventually(lambda: census(held.netns, held.ports), until=Counter(held.expected).__eq__)
    return held


def census(netns: NetNs, ports: tuple[int, ...]) -> Counter[tuple[Role, TcpState]]:
    """Count the sockets of these service ports by role and state, from /proc/net/tcp and tcp6."""
    tables = netns.call(
        lambda: [Path("/proc/thread-self/net", name).read_text() for name in ("tcp", "tcp6")]
    )
    counted: Counter[tuple[Role, TcpState]] = Counter()
    for line in (line for table in tables for line in table.splitlines()[1:]):
        _, local, remote, state = line.split(maxsplit=4)[:4]
        if _port(local) in ports:
            counted[Role.LISTENER, TcpState(int(state, 16))] += 1
        elif _port(remote) in ports:
            counted[Role.REMOTE, TcpState(int(state, 16))] += 1
    return counted


def _port(address: str) -> int:
    return int(address.rpartition(":")[2], 16)


def _still_open(sockets: tuple[socket.socket, ...]) -> tuple[socket.socket, ...]:
    return tuple(sock for sock in sockets if sock.fileno() != -1)
