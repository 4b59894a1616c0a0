"""Segments, packets and capture files for the tests of trace, made by hand."""

import ipaddress
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from sockmon.kernel.packets.capture import Capture
from sockmon.kernel.packets.headers import Decoded, decode
from sockmon.model import segments as tcp
from sockmon.model.segments import Segment
from sockmon.trace.connection import Connection
from sockmon.trace.tracker import Tracker

START = 1_700_000_000_000_000_000
MICROSECOND, MILLISECOND, SECOND = 1_000, 1_000_000, 1_000_000_000

FLAGS = {
    "S": tcp.SYN,
    "S.": tcp.SYN | tcp.ACK,
    ".": tcp.ACK,
    "P.": tcp.PUSH | tcp.ACK,
    "F.": tcp.FIN | tcp.ACK,
    "R": tcp.RST,
    "R.": tcp.RST | tcp.ACK,
}


def end(address: str, port: int) -> bytes:
    packed = ipaddress.ip_address(address).packed
    mapped = bytes(10) + b"\xff\xff" + packed if len(packed) == 4 else packed
    return mapped + port.to_bytes(2, "big")


CLIENT, SERVER = end("10.0.0.1", 40000), end("10.0.0.2", 80)


@dataclass(slots=True)
class Talk:
    """Two ends that talk. Their sequence numbers begin at `client` and `server`."""

    client: int = 1000
    server: int = 9000
    ends: tuple[bytes, bytes] = (CLIENT, SERVER)
    now: int = START
    next: list[int] = field(init=False)
    known: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self.next = [self.client, self.server]
        self.known = [0, 0]  # what each end acknowledges

    def say(self, side: str, flags: str, size: int = 0, after: int = 10 * MICROSECOND) -> Segment:
        """One segment of the client (c) or the server (s); it arrives at once."""
        me = "cs".index(side)
        segment = self.unheard(side, flags, size, after)
        self.hear(1 - me)
        return segment

    def unheard(
        self, side: str, flags: str, size: int = 0, after: int = 10 * MICROSECOND
    ) -> Segment:
        """One segment that the other end does not know of before hear()."""
        me = "cs".index(side)
        self.now += after
        bits = FLAGS[flags]
        made = Segment(
            self.now,
            0,
            self.ends[me],
            self.ends[1 - me],
            bits,
            self.next[me] & 0xFFFFFFFF,
            self.known[me] & 0xFFFFFFFF if bits & tcp.ACK else 0,
            size,
            65535,
        )
        self.next[me] += size + bool(bits & (tcp.SYN | tcp.FIN))
        return made

    def hear(self, me: int) -> None:
        """Let an end know everything that the other one has sent."""
        self.known[me] = self.next[1 - me]

    def handshake(self) -> list[Segment]:
        return [self.say("c", "S"), self.say("s", "S."), self.say("c", ".")]


def track(*segments: Segment, tracker: Tracker | None = None) -> list[Connection]:
    """All connections of the segments, in the order in which they end."""
    tracker = tracker or Tracker()
    return [*tracker.take(segments), *tracker.finish()]


def ip_packet(segment: Segment, *, options: bytes = b"", ip_options: bytes = b"") -> bytes:
    """The segment as an IP packet, with zeros for data, and checksums of 0."""
    offset = 5 + len(options) // 4
    header = struct.pack(
        "!HHIIBBHHH",
        tcp.port_of(segment.source),
        tcp.port_of(segment.destination),
        segment.seq,
        segment.ack,
        offset << 4,
        segment.flags,
        segment.window,
        0,
        0,
    )
    body = header + options + bytes(segment.payload)
    if segment.source[:12] == bytes(10) + b"\xff\xff":
        first = 0x45 + len(ip_options) // 4
        length = 20 + len(ip_options) + len(body)
        fixed = struct.pack("!BBHHHBBH", first, 0, length, 0, 0, 64, 6, 0)
        return fixed + segment.source[12:16] + segment.destination[12:16] + ip_options + body
    fixed = struct.pack("!IHBB", 6 << 28, len(body), 6, 64)
    return fixed + segment.source[:16] + segment.destination[:16] + body


def pcap(
    packets: Sequence[tuple[int, bytes]],
    link: int,
    *,
    order: str = "<",
    nanoseconds: bool = False,
    snaplen: int = 65535,
) -> bytes:
    """A pcap file. packets: time and bytes."""
    magic = 0xA1B23C4D if nanoseconds else 0xA1B2C3D4
    made = struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, snaplen, link)
    for time, packet in packets:
        made += record(time, packet, order=order, nanoseconds=nanoseconds, snaplen=snaplen)
    return made


def record(
    time: int,
    packet: bytes,
    *,
    order: str = "<",
    nanoseconds: bool = True,
    snaplen: int = 65535,
) -> bytes:
    """One packet of a pcap file."""
    seconds, left = divmod(time, SECOND)
    kept = packet[:snaplen]
    fraction = left if nanoseconds else left // 1000
    return struct.pack(order + "IIII", seconds, fraction, len(kept), len(packet)) + kept


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    body += bytes(-len(body) % 4)
    length = struct.pack(order + "I", len(body) + 12)
    return struct.pack(order + "I", kind) + length + body + length


def section(order: str = "<") -> bytes:
    return block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1), order)


def interface(link: int, options: bytes = b"", order: str = "<") -> bytes:
    return block(1, struct.pack(order + "HHI", link, 0, 0) + options, order)


def enhanced(time: int, packet: bytes, order: str = "<", number: int = 0) -> bytes:
    """A packet block, its time in nanoseconds."""
    sizes = (time >> 32, time & 0xFFFFFFFF, len(packet), len(packet))
    return block(6, struct.pack(order + "5I", number, *sizes) + packet, order)


def resolution(power: int, order: str = "<") -> bytes:
    """The option that says how long a unit of time is."""
    return struct.pack(order + "HHB3x", 9, 1, power)


def pcapng(
    packets: Sequence[tuple[int, bytes]], link: int, *, order: str = "<", nanoseconds: bool = True
) -> bytes:
    """A pcapng file."""
    parts = [section(order), interface(link, resolution(9 if nanoseconds else 6, order), order)]
    parts += [enhanced(time, packet, order) for time, packet in packets]
    return b"".join(parts)


class Chunks:
    """Reads bytes at most `size` at a time."""

    def __init__(self, data: bytes, size: int) -> None:
        self._data = data
        self._size = size

    def __call__(self, wanted: int) -> bytes:
        size = min(self._size, wanted)
        chunk, self._data = self._data[:size], self._data[size:]
        return chunk


def decoded(data: bytes, size: int = 1 << 30) -> Iterator[Decoded]:
    """What a capture holds, read in chunks of a size; raises CaptureError."""
    return map(decode, Capture(Chunks(data, size)).packets())


def segments_of(data: bytes, size: int = 1 << 30) -> list[Segment]:
    return [segment for part in decoded(data, size) for segment in part.segments]
