"""How conditions are described: states, directions, and the three ways to write an address."""

import socket
from dataclasses import dataclass
from enum import StrEnum

from sockmon.model.states import TcpState

__all__ = ["LOOPBACK", "AddressKind", "Direction", "Host", "TcpState"]


class Direction(StrEnum):
    """Which end of a connection a socket is: the service's, or its client's."""

    INBOUND = "inbound"  # the service's port is the local one
    OUTBOUND = "outbound"  # the service's port is the remote one


class AddressKind(StrEnum):
    """How a program writes addresses, which decides the address family of its sockets."""

    IPV4 = "ipv4"
    IPV6 = "ipv6"
    MAPPED = "mapped"  # IPv4 packets of an AF_INET6 dual-stack socket

    @property
    def family(self) -> socket.AddressFamily:
        """The address family of a socket that uses this kind."""
        return socket.AF_INET if self is AddressKind.IPV4 else socket.AF_INET6


@dataclass(frozen=True, slots=True)
class Host:
    """One host's two addresses."""

    ipv4: str
    ipv6: str

    def address(self, kind: AddressKind) -> str:
        """The address as a program of this kind writes it."""
        return f"::ffff:{self.ipv4}" if kind is AddressKind.MAPPED else self.on_wire(kind)

    def on_wire(self, kind: AddressKind) -> str:
        """The address as this kind's packets carry it."""
        return self.ipv6 if kind is AddressKind.IPV6 else self.ipv4


LOOPBACK = Host("127.0.0.1", "::1")
