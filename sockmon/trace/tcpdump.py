"""Segments in tcpdump's form, as `tcpdump -nS` prints them. Pure.

print-tcp.c and print-ip.c of tcpdump 4.99. TCP options are not printed: they are not kept.
"""

from collections.abc import Iterator

from sockmon.model.segments import (
    ACK,
    CWR,
    ECE,
    FIN,
    PUSH,
    RST,
    SYN,
    URGENT,
    Segment,
    Segments,
    host_of,
    port_of,
)
from sockmon.trace.when import clock_time

_LETTERS = (
    (FIN, "F"),
    (SYN, "S"),
    (RST, "R"),
    (PUSH, "P"),
    (ACK, "."),
    (URGENT, "U"),
    (ECE, "E"),
    (CWR, "W"),
)


def tcpdump_lines(segments: Segments, *, dated: bool = False) -> Iterator[str]:
    """Return a line for each segment. dated: with the date, as -tttt prints it."""
    return (_line(segment, dated=dated) for segment in segments)


def _line(segment: Segment, *, dated: bool) -> str:
    source, destination = host_of(segment.source), host_of(segment.destination)
    family = "IP6" if ":" in source else "IP"
    flags = "".join(letter for bit, letter in _LETTERS if segment.flags & bit) or "none"
    parts = [f"Flags [{flags}]"]
    if segment.payload:
        parts.append(f"seq {segment.seq}:{segment.seq + segment.payload & 0xFFFFFFFF}")
    elif segment.flags & (SYN | FIN | RST):
        parts.append(f"seq {segment.seq}")
    if segment.flags & ACK:
        parts.append(f"ack {segment.ack}")
    parts += [f"win {segment.window}", f"length {segment.payload}"]
    time = clock_time(segment.time, dated=dated)
    ends = f"{source}.{port_of(segment.source)} > {destination}.{port_of(segment.destination)}"
    return f"{time} {family} {ends}: {', '.join(parts)}"
