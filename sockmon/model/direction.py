"""Which port a TCP socket is counted under: the one rule behind every per-port figure.

1. Its local port is listened on, or was while sockmon watched and its sockets live: it belongs to
   that listener.
2. Else its local port lies outside ip_local_port_range and its remote port inside: its listener
   has gone; the same as 1.
3. Else it is a client's: it belongs to the remote port.
"""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sockmon.model.limits import PORTS, PortRange
from sockmon.model.states import TcpState
from sockmon.model.table import Column, SocketTable

Direction = Literal["inbound", "outbound"]
DIRECTIONS: tuple[Direction, ...] = ("inbound", "outbound")

PortMask = NDArray[np.bool_]


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


def _listening(table: SocketTable) -> PortMask:
    ports = no_ports()
    ports[table.local_port[np.flatnonzero(table.state == TcpState.LISTEN)]] = True
    return ports


@dataclass(frozen=True, slots=True)
class Directions:
    """One row a socket, in the table's order: whether a listener's, and its port."""

    is_inbound: Column
    port: Column


def directions(table: SocketTable, listened: Listened, port_range: PortRange) -> Directions:
    """Apply the rule to every socket of the table."""
    ephemeral = port_range.inside()
    is_inbound = listened.ports[table.local_port]
    is_inbound |= ~ephemeral[table.local_port] & ephemeral[table.remote_port]
    return Directions(is_inbound, np.where(is_inbound, table.local_port, table.remote_port))
