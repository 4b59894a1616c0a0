"""TCP segments as NumPy columns, and the arithmetic of their sequence numbers (RFC 9293, 3.4)."""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import lru_cache
from ipaddress import IPv6Address
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

FIN, SYN, RST, PUSH, ACK, URGENT, ECE, CWR = 1, 2, 4, 8, 16, 32, 64, 128

#: Sequence numbers are 32 bits wide.
NUMBERS = 0xFFFFFFFF
#: An end of a connection: 16 bytes of address (IPv4 is mapped into IPv6) and 2 of port.
END_BYTES = 18
_END = np.dtype(f"V{END_BYTES}")
_MAPPED = bytes(10) + b"\xff\xff"


class Segment(NamedTuple):
    """One TCP segment. time: nanoseconds since 1970. payload: bytes of data, by the IP header.

    device: where it was seen; the same packet may be seen on several.
    """

    time: int
    device: int
    source: bytes
    destination: bytes
    flags: int
    seq: int
    ack: int
    payload: int
    window: int


@dataclass(frozen=True, slots=True)
class Segments:
    """Segments as columns, one row each, in the order in which they were seen."""

    time: NDArray[np.int64]
    device: NDArray[np.int64]
    source: NDArray[np.void]
    destination: NDArray[np.void]
    flags: NDArray[np.uint8]
    seq: NDArray[np.uint32]
    ack: NDArray[np.uint32]
    payload: NDArray[np.uint32]
    window: NDArray[np.uint16]

    def __len__(self) -> int:
        return len(self.time)

    def __iter__(self) -> Iterator[Segment]:
        return map(
            Segment._make, zip(*(column.tolist() for column in self._columns()), strict=True)
        )

    def take(self, rows: NDArray[np.intp] | NDArray[np.bool_]) -> "Segments":
        """Return some of the rows."""
        return Segments(*(column[rows] for column in self._columns()))

    def and_then(self, more: "Segments") -> "Segments":
        """Return these and those that were seen after them."""
        names = [column.name for column in fields(self)]
        return Segments(
            *(np.concatenate((getattr(self, name), getattr(more, name))) for name in names)
        )

    def _columns(self) -> Iterator[Any]:
        return (getattr(self, field.name) for field in fields(self))

    def concerning(self, ports: frozenset[int], hosts: frozenset[bytes]) -> NDArray[np.bool_]:
        """Return which rows have one of the ports at either end, and one of the hosts.

        hosts: 16 bytes each. An empty set stands for all.
        """
        chosen = np.ones(len(self), np.bool_)
        source, destination = _octets(self.source), _octets(self.destination)
        if ports:
            wanted = np.array(sorted(ports))
            chosen &= np.isin(_ports(source), wanted) | np.isin(_ports(destination), wanted)
        if hosts:
            either = np.zeros(len(self), np.bool_)
            for host in hosts:
                pattern = np.frombuffer(host, np.uint8)
                either |= (source[:, :16] == pattern).all(axis=1)
                either |= (destination[:, :16] == pattern).all(axis=1)
            chosen &= either
        return chosen


def ends(addresses: NDArray[np.uint8], ports: NDArray[np.uint8]) -> NDArray[np.void]:
    """Join (n, 16) bytes of addresses and (n, 2) of ports into ends."""
    joined = np.concatenate([addresses, ports], axis=1)
    return np.ascontiguousarray(joined).view(_END).ravel()


def _octets(column: NDArray[np.void]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(column).view(np.uint8).reshape(len(column), END_BYTES)


def _ports(octets: NDArray[np.uint8]) -> NDArray[np.uint16]:
    return (octets[:, 16].astype(np.uint16) << np.uint16(8)) | octets[:, 17]


def port_of_all(column: NDArray[np.void]) -> NDArray[np.uint16]:
    """Return the ports of a column of ends."""
    return _ports(_octets(column))


def port_of(end: bytes) -> int:
    """Return the port of an end."""
    return int.from_bytes(end[16:], "big")


def host_of(end: bytes) -> str:
    """Return the address of an end as text."""
    return _address_text(end[:16])


@lru_cache(maxsize=4096)
def _address_text(octets: bytes) -> str:
    if octets.startswith(_MAPPED):
        return ".".join(map(str, octets[12:]))
    return str(IPv6Address(octets))


def end_text(end: bytes) -> str:
    """Return an end as text: 127.0.0.1:80, [::1]:80."""
    host = host_of(end)
    return f"[{host}]:{port_of(end)}" if ":" in host else f"{host}:{port_of(end)}"


def is_after(number: int, other: int) -> bool:
    """Return whether a sequence number is later than another, modulo 2^32."""
    return 0 < (number - other) & NUMBERS < 0x80000000
