"""IP and TCP headers in a buffer -> Segments; for the ring and for files. Pure.

Link types: https://www.tcpdump.org/linktypes.html. EtherTypes and IP protocols are IANA's.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, fields

import numpy as np
from numpy.typing import NDArray

from sockmon.model.segments import Segments, ends

Octets = NDArray[np.uint8]
Offsets = NDArray[np.int64]

NULL, ETHERNET, RAW, LOOP, LINUX_SLL, IPV4, IPV6, LINUX_SLL2 = 0, 1, 101, 108, 113, 228, 229, 276
_OPENBSD_RAW, _FREEBSD_RAW = 12, 14

_IPV4_TYPE, _IPV6_TYPE = 0x0800, 0x86DD
_VLAN_TYPES = (0x8100, 0x88A8, 0x9100)
_MOST_TAGS = 3
#: MPLS, PPPoE, provider backbone bridges, FabricPath.
_TUNNEL_TYPES = (0x8847, 0x8848, 0x8864, 0x88E7, 0x8903)
#: IPv4 and IPv6 in IP, GRE, ESP, EtherIP, MPLS in IP.
_TUNNEL_PROTOCOLS = (4, 41, 47, 50, 97, 137)
#: VXLAN, Geneve, GTP-U, Teredo.
_TUNNEL_PORTS = (4789, 6081, 2152, 3544)
_TCP, _UDP, _FRAGMENT, _AUTHENTICATION = 6, 17, 44, 51
#: IPv6 extension headers: hop-by-hop, routing, destination options, and the two above.
_EXTENSIONS = (0, 43, 60, _FRAGMENT, _AUTHENTICATION)
_MOST_EXTENSIONS = 6

_OUTGOING = 4  # PACKET_OUTGOING, linux/if_packet.h
_TCP_NEEDED = 16  # bytes of a TCP header, up to its window


@dataclass(frozen=True, slots=True)
class Packets:
    """Packets in one buffer. start, end: where the captured bytes begin and end in `octets`.

    length: of the whole packet, which may not have been captured as a whole. link: its link type.
    device: a number for where it was captured. time: nanoseconds since 1970.
    """

    octets: Octets
    start: Offsets
    end: Offsets
    length: Offsets
    time: NDArray[np.int64]
    link: Offsets
    device: Offsets

    def take(self, rows: NDArray[np.intp] | NDArray[np.bool_]) -> "Packets":
        """Return some of the packets, in the same buffer."""
        columns = (getattr(self, column.name)[rows] for column in fields(self)[1:])
        return Packets(self.octets, *columns)


@dataclass(slots=True)
class Skipped:
    """Packets that are no TCP segments, or none that can be read.

    short: too little of them was captured. fragments: later parts of an IP packet. links: by link
    types that are not known.
    """

    other: int = 0
    tunnels: int = 0
    fragments: int = 0
    short: int = 0
    links: Counter[int] = field(default_factory=Counter)

    def add(self, more: "Skipped") -> None:
        """Count those of another buffer too."""
        self.other += more.other
        self.tunnels += more.tunnels
        self.fragments += more.fragments
        self.short += more.short
        self.links += more.links


@dataclass(frozen=True, slots=True)
class Decoded:
    """segments: the TCP segments. ip: for each, its packet from the IP header on."""

    segments: Segments
    ip: Packets
    skipped: Skipped


@dataclass(slots=True)
class _Headers:
    """Where the headers of some packets are. row: each one's number in Packets.

    kind: EtherType. ip: where the IP header is.
    """

    row: NDArray[np.intp]
    kind: NDArray[np.uint16]
    ip: Offsets
    device: Offsets

    def keep(self, chosen: NDArray[np.bool_]) -> "_Headers":
        return _Headers(self.row[chosen], self.kind[chosen], self.ip[chosen], self.device[chosen])


def decode(packets: Packets) -> Decoded:
    """Return the TCP segments among packets, and what the others are."""
    skipped = Skipped()
    octets, end = packets.octets, packets.end
    headers = _network_headers(packets, skipped)
    headers = headers.keep(_is_ip(octets, headers, end[headers.row], skipped))
    limit = end[headers.row]
    is_6 = headers.kind == _IPV6_TYPE
    protocol, at, is_later = _transport(octets, headers.ip, limit, is_6)
    tunnels = _tunnels(octets, protocol, at, limit)
    is_tcp = (protocol == _TCP) & ~is_later
    has_header = at + _TCP_NEEDED <= limit
    skipped.fragments += int(is_later.sum())
    skipped.tunnels += int((tunnels & ~is_later).sum())
    skipped.other += int((~is_tcp & ~is_later & ~tunnels).sum())
    skipped.short += int((is_tcp & ~has_header).sum())
    chosen = is_tcp & has_header
    headers, at, is_6 = headers.keep(chosen), at[chosen], is_6[chosen]
    mine = packets.take(headers.row)
    length = _ip_length(octets, headers.ip, is_6, mine)
    segments = _segments(octets, headers, at, is_6, (mine.time, length))
    ip = Packets(
        octets, headers.ip, mine.end, length, mine.time, np.full(len(at), RAW), headers.device
    )
    return Decoded(segments, ip, skipped)


def _network_headers(packets: Packets, skipped: Skipped) -> _Headers:
    parts = []
    for link in np.unique(packets.link).tolist():
        rows = np.flatnonzero(packets.link == link)
        found = _LINKS.get(link)
        if found is None:
            skipped.links[link] += rows.size
            continue
        size, locate = found
        is_whole = packets.start[rows] + size <= packets.end[rows]
        skipped.short += int((~is_whole).sum())
        rows = rows[is_whole]
        start = packets.start[rows]
        kind, side = locate(packets.octets, start)
        device = (packets.device[rows] << 33) + side
        headers = _Headers(rows, kind, start + size, device)
        parts.append(_untagged(packets.octets, headers, packets.end[rows]))
    if not parts:
        nothing = np.empty(0, np.int64)
        return _Headers(np.empty(0, np.intp), np.empty(0, np.uint16), nothing, nothing)
    if len(parts) == 1:
        return parts[0]
    row = np.concatenate([part.row for part in parts])
    order = np.argsort(row)
    kind, ip, device = (
        np.concatenate([getattr(part, name) for part in parts])[order]
        for name in ("kind", "ip", "device")
    )
    return _Headers(row[order], kind, ip, device)


def _ethernet(octets: Octets, start: Offsets) -> tuple[NDArray[np.uint16], Offsets]:
    return _be16(octets, start + 12), np.zeros(len(start), np.int64)


def _bare(octets: Octets, at: Offsets) -> tuple[NDArray[np.uint16], Offsets]:
    version = octets[np.minimum(at, len(octets) - 1)] >> 4
    kind = np.where(version == 6, _IPV6_TYPE, _IPV4_TYPE).astype(np.uint16)
    return kind, np.zeros(len(at), np.int64)


def _after_family(octets: Octets, start: Offsets) -> tuple[NDArray[np.uint16], Offsets]:
    return _bare(octets, start + 4)


def _sll(octets: Octets, start: Offsets) -> tuple[NDArray[np.uint16], Offsets]:
    is_outgoing = _be16(octets, start) == _OUTGOING
    return _be16(octets, start + 14), is_outgoing.astype(np.int64)


def _sll2(octets: Octets, start: Offsets) -> tuple[NDArray[np.uint16], Offsets]:
    is_outgoing = octets[start + 10] == _OUTGOING
    index = _be32(octets, start + 4).astype(np.int64)
    return _be16(octets, start), (index << 1) | is_outgoing


#: Link type -> bytes before the IP header, and what reads its EtherType and the device.
_LINKS: dict[int, tuple[int, Callable[[Octets, Offsets], tuple[NDArray[np.uint16], Offsets]]]] = {
    ETHERNET: (14, _ethernet),
    LINUX_SLL: (16, _sll),
    LINUX_SLL2: (20, _sll2),
    NULL: (4, _after_family),
    LOOP: (4, _after_family),
    RAW: (0, _bare),
    _OPENBSD_RAW: (0, _bare),
    _FREEBSD_RAW: (0, _bare),
    IPV4: (0, _bare),
    IPV6: (0, _bare),
}


def _untagged(octets: Octets, headers: _Headers, end: Offsets) -> _Headers:
    """Go over VLAN tags."""
    for _ in range(_MOST_TAGS):
        rows = np.flatnonzero(np.isin(headers.kind, _VLAN_TYPES) & (headers.ip + 4 <= end))
        if not rows.size:
            break
        headers.kind[rows] = _be16(octets, headers.ip[rows] + 2)
        headers.ip[rows] += 4
    return headers


def _is_ip(octets: Octets, headers: _Headers, end: Offsets, skipped: Skipped) -> NDArray[np.bool_]:
    """Return which packets have a whole IP header."""
    is_4, is_6 = headers.kind == _IPV4_TYPE, headers.kind == _IPV6_TYPE
    tunnels = np.isin(headers.kind, _TUNNEL_TYPES)
    has_header = headers.ip + np.where(is_6, 40, 20) <= end
    version = octets[np.where(has_header, headers.ip, 0)] if len(octets) else np.zeros(0, np.uint8)
    is_right = (is_4 & (version >> 4 == 4) & (version & 15 >= 5)) | (is_6 & (version >> 4 == 6))
    skipped.tunnels += int(tunnels.sum())
    skipped.short += int(((is_4 | is_6) & ~has_header).sum())
    skipped.other += int((~(is_4 | is_6) & ~tunnels).sum())
    skipped.other += int(((is_4 | is_6) & has_header & ~is_right).sum())
    is_whole: NDArray[np.bool_] = has_header & is_right
    return is_whole


def _transport(
    octets: Octets, ip: Offsets, end: Offsets, is_6: NDArray[np.bool_]
) -> tuple[Octets, Offsets, NDArray[np.bool_]]:
    """Return the protocol, where its header is, and whether the packet is a later fragment."""
    protocol = octets[ip + np.where(is_6, 6, 9)]
    at = ip + np.where(is_6, 40, (octets[ip] & 15).astype(np.int64) << 2)
    is_later = ~is_6 & (_be16(octets, ip + 6) & 0x1FFF > 0)
    for _ in range(_MOST_EXTENSIONS):
        rows = np.flatnonzero(is_6 & np.isin(protocol, _EXTENSIONS) & (at + 8 <= end) & ~is_later)
        if not rows.size:
            break
        its, where = protocol[rows], at[rows]
        length = octets[where + 1].astype(np.int64)
        size = np.where(its == _AUTHENTICATION, (length + 2) << 2, (length + 1) << 3)
        is_fragment = its == _FRAGMENT
        is_later[rows] = is_fragment & (_be16(octets, where + 2) & 0xFFF8 > 0)
        protocol[rows] = octets[where]
        at[rows] += np.where(is_fragment, 8, size)
    return protocol, at, is_later


def _tunnels(octets: Octets, protocol: Octets, at: Offsets, end: Offsets) -> NDArray[np.bool_]:
    tunnels = np.isin(protocol, _TUNNEL_PROTOCOLS)
    datagrams = np.flatnonzero((protocol == _UDP) & (at + 4 <= end))
    if datagrams.size:
        tunnels[datagrams] = np.isin(_be16(octets, at[datagrams] + 2), _TUNNEL_PORTS)
    return tunnels


def _ip_length(octets: Octets, ip: Offsets, is_6: NDArray[np.bool_], packets: Packets) -> Offsets:
    """Return the length of IP packets; it is 0 in the header of what a device has yet to cut."""
    stated = np.where(is_6, _be16(octets, ip + 4).astype(np.int64) + 40, _be16(octets, ip + 2))
    has_length = stated != np.where(is_6, 40, 0)
    return np.where(has_length, stated, packets.start + packets.length - ip)


def _segments(
    octets: Octets,
    headers: _Headers,
    tcp: Offsets,
    is_6: NDArray[np.bool_],
    known: tuple[NDArray[np.int64], Offsets],
) -> Segments:
    time, length = known
    header_bytes = (octets[tcp + 12] >> 4).astype(np.int64) << 2
    payload = np.maximum(length - (tcp - headers.ip) - np.maximum(header_bytes, 20), 0)
    source, destination = _addresses(octets, headers.ip, is_6)
    return Segments(
        time,
        headers.device,
        ends(source, octets[tcp[:, None] + np.arange(2)]),
        ends(destination, octets[tcp[:, None] + np.arange(2, 4)]),
        octets[tcp + 13],
        _be32(octets, tcp + 4),
        _be32(octets, tcp + 8),
        payload.astype(np.uint32),
        _be16(octets, tcp + 14),
    )


def _addresses(octets: Octets, ip: Offsets, is_6: NDArray[np.bool_]) -> tuple[Octets, Octets]:
    """Return source and destination, 16 bytes each."""
    both = np.zeros((2, len(ip), 16), np.uint8)
    for rows, first, size in (
        (np.flatnonzero(~is_6), 12, 4),
        (np.flatnonzero(is_6), 8, 16),
    ):
        if rows.size:
            if size == 4:
                both[:, rows, 10:12] = 0xFF
            for side in (0, 1):
                at = first + side * size
                both[side, rows, 16 - size :] = octets[ip[rows, None] + np.arange(at, at + size)]
    return both[0], both[1]


def _be16(octets: Octets, at: Offsets) -> NDArray[np.uint16]:
    return (octets[at].astype(np.uint16) << np.uint16(8)) | octets[at + 1]


def _be32(octets: Octets, at: Offsets) -> NDArray[np.uint32]:
    high, low = _be16(octets, at), _be16(octets, at + 2)
    return (high.astype(np.uint32) << np.uint32(16)) | low
