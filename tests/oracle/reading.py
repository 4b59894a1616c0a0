"""What a capture holds, in one form, as tshark reads it and as sockmon does."""

import json
import subprocess
from pathlib import Path
from typing import NamedTuple

from sockmon.kernel.packets.files import open_capture
from sockmon.kernel.packets.headers import decode
from sockmon.model.segments import Segment, end_text
from sockmon.trace.connection import Connection
from sockmon.trace.tracker import Tracker

_FIELDS = (
    *("frame.time_epoch", "ip.src", "ipv6.src", "tcp.srcport", "ip.dst", "ipv6.dst", "tcp.dstport"),
    *("tcp.flags", "tcp.seq_raw", "tcp.ack_raw", "tcp.len", "tcp.window_size_value"),
    *("tcp.stream", "tcp.completeness"),
)
#: Of Wireshark's tcp.completeness, by the letters of Zeek's history.
_BITS = {"s": 1, "h": 2, "a": 4, "d": 8, "f": 16, "r": 32}


class Reading(NamedTuple):
    """segments: time, ends, flags, numbers, bytes, window. connections: both ends, and what each
    has of SYN 1, SYN-ACK 2, ACK 4, data 8, FIN 16, RST 32.
    """

    segments: list[list[object]]
    connections: list[list[object]]

    def text(self) -> str:
        """As it is kept: a line for each."""
        parts = (
            f'"{name}": [\n' + ",\n".join(map(json.dumps, rows)) + "\n]"
            for name, rows in self._asdict().items()
        )
        return "{" + ",\n".join(parts) + "}\n"


def kept(file: Path) -> Reading:
    return Reading(**json.loads(file.read_text()))


def by_tshark(file: Path) -> Reading:
    """-2: completeness is known only at the end; without reassembly and relative numbers."""
    fields = [part for name in _FIELDS for part in ("-e", name)]
    options = ("-o", "tcp.desegment_tcp_streams:FALSE", "-o", "ip.defragment:FALSE")
    argv = ["tshark", "-2", "-n", "-r", str(file), *options, "-T", "fields", *fields]
    printed = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    segments: list[list[object]] = []
    streams: dict[int, list[object]] = {}
    for line in printed.splitlines():
        time, source4, source6, sport, to4, to6, dport, flags, *numbers = line.split("\t")
        source, to = _end(source4 or source6, sport), _end(to4 or to6, dport)
        seq, ack, size, window, stream, complete = map(int, numbers)
        seconds, fraction = time.split(".")
        nanoseconds = int(seconds) * 1_000_000_000 + int(fraction.ljust(9, "0"))
        segments.append([nanoseconds, source, to, int(flags, 16) & 0xFF, seq, ack, size, window])
        streams[stream] = [*sorted((source, to)), complete]
    return Reading(segments, [streams[number] for number in sorted(streams)])


def _end(address: str, port: str) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def by_sockmon(file: Path) -> Reading:
    tracker = Tracker()
    segments: list[Segment] = []
    with open_capture(str(file)) as capture:
        for packets in capture.packets():
            segments += decode(packets).segments
    connections = [*tracker.take(segments), *tracker.finish()]
    connections.sort(key=lambda one: one.first_at)
    return Reading(
        [[s.time, end_text(s.source), end_text(s.destination), *s[4:9]] for s in segments],
        [[*sorted(map(end_text, one.names)), completeness(one)] for one in connections],
    )


def completeness(one: Connection) -> int:
    """Wireshark's number, from Zeek's history, which has no letter for data with a SYN."""
    history = one.history.lower()
    if any(end.sent for end in one.ends):
        history += "d"
    if history == "sr":
        history += "a"  # to tshark, a reset with the flag ACK completes the handshake
    return sum(bit for letter, bit in _BITS.items() if letter in history)
