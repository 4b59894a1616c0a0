"""The pcap format: a header, and then packets. Read and written. Pure.

https://www.tcpdump.org/manpages/pcap-savefile.5.html
"""

import struct

import numpy as np

from sockmon.kernel.packets.batch import LONGEST_PACKET, Batch, CaptureError
from sockmon.kernel.packets.headers import RAW, Packets

#: The first four bytes -> byte order and nanoseconds in a unit of time.
PCAP_MAGICS = {
    b"\xd4\xc3\xb2\xa1": ("<", 1000),
    b"\xa1\xb2\xc3\xd4": (">", 1000),
    b"\x4d\x3c\xb2\xa1": ("<", 1),
    b"\xa1\xb2\x3c\x4d": (">", 1),
}
_FILE_HEADER = 24
_LINK_BITS = 0x0FFFFFFF  # the others: length of a checksum after each frame
_NANOSECONDS = b"\x4d\x3c\xb2\xa1"
_WRITTEN = struct.Struct("<4I")


class Pcap:
    """Reads the packets of a pcap file. dropped: always 0, the format does not say."""

    dropped = 0

    def __init__(self) -> None:
        self._record: struct.Struct | None = None
        self._scale = self._link = 0

    def take(self, data: bytes, at: int, batch: Batch) -> int:
        """Add the whole packets to the batch; see capture."""
        used = 0
        if self._record is None:
            order, self._scale = PCAP_MAGICS[data[:4]]
            (link,) = struct.unpack_from(order + "I", data, 20)
            self._link = link & _LINK_BITS
            self._record = struct.Struct(order + "4I")
            used = _FILE_HEADER
        try:
            return self._packets(data, used, at, batch)
        finally:
            count = len(batch.start)
            batch.link, batch.device = [self._link] * count, [0] * count

    def _packets(self, data: bytes, used: int, at: int, batch: Batch) -> int:
        assert self._record is not None
        unpack, size, scale = self._record.unpack_from, len(data), self._scale
        while used + 16 <= size:
            seconds, fraction, captured, length = unpack(data, used)
            start = used + 16
            if captured > LONGEST_PACKET:
                raise CaptureError(f"damaged: a packet of {captured} bytes at byte {at + used}")
            if not length and not seconds:
                raise CaptureError(f"only zeros from byte {at + used}: not written to its end")
            if start + captured > size:
                break
            used = start + captured
            batch.start.append(start)
            batch.end.append(used)
            batch.length.append(length)
            batch.time.append(seconds * 1_000_000_000 + fraction * scale)
        return used


def pcap_header(longest: int = 65535) -> bytes:
    """Return the beginning of a file of IP packets, with nanoseconds."""
    return _NANOSECONDS + struct.pack("<HHiIII", 2, 4, 0, 0, longest, RAW)


def pcap_packets(packets: Packets) -> bytes:
    """Return packets (from the IP header on, see headers.Decoded) as the rest of such a file."""
    octets, parts = packets.octets, []
    captured = np.minimum(packets.end - packets.start, packets.length)
    seconds, fraction = np.divmod(packets.time, 1_000_000_000)
    columns = (packets.start, captured, packets.length, seconds, fraction)
    for start, size, length, second, nano in zip(*(c.tolist() for c in columns), strict=True):
        parts.append(_WRITTEN.pack(second & 0xFFFFFFFF, nano, size, length))
        parts.append(octets[start : start + size].tobytes())
    return b"".join(parts)
