"""TCP segments in IP packets, to bytes and back: as much as a peer played by hand needs."""

import socket
import struct
from dataclasses import dataclass
from enum import IntFlag
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Self

_IPV4 = struct.Struct("!BBHHHBBH4s4s")
_IPV6 = struct.Struct("!IHBB16s16s")
_TCP = struct.Struct("!HHIIBBHHH")
_CHECKSUM = slice(16, 18)  # of the TCP header

_DONT_FRAGMENT = 0x4000
_HOPS = 64
_WINDOW = 65535


class TcpFlag(IntFlag):
    """The flags of a segment."""

    FIN = 1
    SYN = 2
    RST = 4
    ACK = 16


@dataclass(frozen=True, slots=True)
class Segment:
    """One segment without data."""

    source: IPv4Address | IPv6Address
    source_port: int
    destination: IPv4Address | IPv6Address
    destination_port: int
    seq: int
    ack: int
    flags: TcpFlag

    def to_packet(self) -> bytes:
        """The IP packet that carries this segment."""
        header = bytearray(
            _TCP.pack(
                self.source_port,
                self.destination_port,
                self.seq,
                self.ack,
                _TCP.size // 4 << 4,
                self.flags,
                _WINDOW,
                0,
                0,
            )
        )
        # IPv4's pseudo-header has the same words as IPv6's, so one sum serves both.
        pseudo = struct.pack("!II", len(header), socket.IPPROTO_TCP)
        addresses = self.source.packed + self.destination.packed
        header[_CHECKSUM] = checksum(addresses + pseudo + header)
        return self._ip_header(len(header)) + header

    def _ip_header(self, length: int) -> bytes:
        addresses = (self.source.packed, self.destination.packed)
        if self.source.version == 6:
            return _IPV6.pack(6 << 28, length, socket.IPPROTO_TCP, _HOPS, *addresses)
        before = (0x45, 0, _IPV4.size + length, 0, _DONT_FRAGMENT, _HOPS, socket.IPPROTO_TCP)
        (summed,) = struct.unpack("!H", checksum(_IPV4.pack(*before, 0, *addresses)))
        return _IPV4.pack(*before, summed, *addresses)

    @classmethod
    def from_packet(cls, packet: bytes) -> Self | None:
        """The segment that an IP packet carries; None when it carries something else."""
        if packet[0] >> 4 == 6:
            _, _, protocol, _, source, destination = _IPV6.unpack_from(packet)
            tcp = _IPV6.size
        else:
            protocol, _, source, destination = _IPV4.unpack_from(packet)[-4:]
            tcp = (packet[0] & 0xF) * 4
        if protocol != socket.IPPROTO_TCP:
            return None
        source_port, destination_port, seq, ack, _, flags, *_ = _TCP.unpack_from(packet, tcp)
        return cls(
            ip_address(source),
            source_port,
            ip_address(destination),
            destination_port,
            seq,
            ack,
            TcpFlag(flags),
        )


def checksum(data: bytes) -> bytes:
    """The Internet checksum (RFC 1071) of an even number of bytes."""
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return struct.pack("!H", ~total & 0xFFFF)
