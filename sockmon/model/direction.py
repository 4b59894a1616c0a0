"""Which port a TCP socket is counted under: the one rule behind every per-port figure.

1. Its local port is listened on, or was while sockmon watched and its sockets live: inbound.
2. Else, both ports being inside ip_local_port_range, the end that several sockets share is the
   service's: a remote address and port that sockets with different local ports share is outbound, a
   local port that sockets with different remote ends share is inbound; what more share, decides.
   connect() gives one local port to connections with different remote ends too, by chance: only a
   local port that more share than chance explains is a service's. Of several TCP sockets that share
   neither end, as FTP's data connections, parity tells: connect() takes ports of the parity of the
   range's first port until that half is full, bind() to port 0 the others first; so the end that
   has more of the others has listened (net/ipv4/inet_hashtables.c, __inet_hash_connect();
   inet_connection_sock.c, inet_csk_find_open_port(); since Linux 4.2).
3. Else its local port lies outside the range and its remote port inside: its listener has gone,
   inbound. Any other is outbound.

An inbound socket is counted under its local port, an outbound one under its remote port.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sockmon.model.distinct import kinds
from sockmon.model.limits import PORTS, PortRange
from sockmon.model.states import TcpState
from sockmon.model.table import Column, SocketTable

Direction = Literal["inbound", "outbound"]
DIRECTIONS: tuple[Direction, ...] = ("inbound", "outbound")

PortMask = NDArray[np.bool_]

#: Parity decides for so many sockets or more; of fewer, each may have the other one by chance.
_ALIKE = 8


def no_ports() -> PortMask:
    """Return a mask over all ports with none in it."""
    return np.zeros(PORTS, np.bool_)


@dataclass(frozen=True, slots=True)
class Listened:
    """Ports listened on now or earlier, as far as sockets on them still live.

    bits: a mask over all ports, packed, since each namespace keeps one.
    """

    bits: NDArray[np.uint8] = field(default_factory=lambda: np.zeros(PORTS // 8, np.uint8))

    @property
    def ports(self) -> PortMask:
        """The mask."""
        return np.unpackbits(self.bits).view(np.bool_)

    def seen(self, table: SocketTable) -> "Listened":
        """Return what is remembered after one more poll of all sockets."""
        in_use = no_ports()
        in_use[table.local_port] = True
        return Listened(np.packbits(_listening(table) | self.ports & in_use))

    def seen_in_part(self, table: SocketTable) -> "Listened":
        """Return what is remembered after a poll of some, listeners among them."""
        return Listened(np.packbits(_listening(table) | self.ports))

    def to_record(self) -> list[int]:
        """Return the ports, for JSON."""
        return np.flatnonzero(self.ports).tolist()

    @staticmethod
    def from_record(record: Iterable[int]) -> "Listened":
        """Take up what to_record() returned; raises TypeError, ValueError or IndexError."""
        ports = no_ports()
        ports[[int(port) for port in record]] = True
        return Listened(np.packbits(ports))


def _listening(table: SocketTable) -> PortMask:
    ports = no_ports()
    ports[table.local_port[np.flatnonzero(table.state == TcpState.LISTEN)]] = True
    return ports


@dataclass(frozen=True, slots=True)
class Directions:
    """One row a socket, in the table's order: whether a listener's, and its port."""

    is_inbound: Column
    port: Column


def directions(
    table: SocketTable, listened: Listened, port_range: PortRange, *, parity: bool = True
) -> Directions:
    """Apply the rule to every socket of the table. parity: whether it tells, which UDP's does not.

    Sockets of a cgroup with the same two addresses are judged by it as one, from _ALIKE on.
    """
    ephemeral = port_range.inside()
    is_inbound = listened.ports[table.local_port]
    local_inside, remote_inside = ephemeral[table.local_port], ephemeral[table.remote_port]
    unclear = np.flatnonzero(~is_inbound & local_inside & remote_inside)
    is_inbound |= ~local_inside & remote_inside
    if unclear.size:
        is_inbound[unclear] = _of_a_service(table, unclear, port_range, parity=parity)
    return Directions(is_inbound, np.where(is_inbound, table.local_port, table.remote_port))


def _of_a_service(
    table: SocketTable, rows: NDArray[np.intp], port_range: PortRange, *, parity: bool
) -> NDArray[np.bool_]:
    """Mask over the rows: those whose local end more sockets share than their remote end.

    Where nobody shares either, those whose local end has more ports that bind() chose.
    """
    local = table.local_port[rows]
    end = kinds(*table.remote_ends(rows)).which
    # Each pair of a local port and a remote end counts once, however many sockets have it.
    pairs = kinds(local, end).rows
    callers = np.bincount(end[pairs])[end]
    clients = np.bincount(local[pairs], minlength=PORTS)[local]
    found: NDArray[np.bool_] = clients > callers
    found &= clients >= _more_than_chance(pairs.size, port_range)
    alone = np.flatnonzero(~found & (callers == 1)) if parity else np.empty(0, np.intp)
    if alone.size >= _ALIKE:
        found[alone] = _accepted_by_parity(table, rows[alone], port_range)
    return found


def _accepted_by_parity(
    table: SocketTable, rows: NDArray[np.intp], port_range: PortRange
) -> NDArray[np.bool_]:
    """Mask over the rows: those that were accepted, as the parity of their two ports tells."""
    chosen_by_bind = [
        ((port - port_range.low) & 1).astype(np.int64)
        for port in (table.local_port[rows], table.remote_port[rows])
    ]
    ends = (*table.addresses(table.local, rows), *table.addresses(table.remote, rows))
    alike = kinds(table.cgroup_id[rows], *ends)
    local, remote = (np.bincount(alike.which, weights=mine)[alike.which] for mine in chosen_by_bind)
    # Both ends of these connections may be here, and of one cgroup: then each row tells by itself.
    accepted = (local > remote) | ((local == remote) & (chosen_by_bind[0] > chosen_by_bind[1]))
    judged: NDArray[np.bool_] = accepted & (alike.counts()[alike.which] >= _ALIKE)
    return judged


def _more_than_chance(connections: int, port_range: PortRange) -> int:
    """How many of so many outbound connections do not get the same local port by chance.

    So many get one in less than 1 of 100 tables: connect() starts at a random port for each remote
    end, and takes every second port first (net/ipv4/inet_hashtables.c, since 4.2).
    """
    ports = max((port_range.high - port_range.low + 1) // 2, 1)
    share, expected = 1, float(connections)
    while share < 2 or expected >= 0.01:
        expected *= (connections - share) / ((share + 1) * ports)
        share += 1
    return share
