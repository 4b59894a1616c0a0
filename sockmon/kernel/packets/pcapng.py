"""The pcapng format: blocks, of which some are packets. Pure.

https://www.ietf.org/archive/id/draft-ietf-opsawg-pcapng-02.html
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from sockmon.kernel.packets.batch import LONGEST_PACKET, Batch, CaptureError

SECTION_HEADER = b"\x0a\x0d\x0d\x0a"
_SECTION, _INTERFACE, _OLD_PACKET, _SIMPLE_PACKET, _STATISTICS, _PACKET = 0x0A0D0D0A, 1, 2, 3, 5, 6
_BYTE_ORDERS = {b"\x4d\x3c\x2b\x1a": "<", b"\x1a\x2b\x3c\x4d": ">"}
_LONGEST_BLOCK = LONGEST_PACKET + 4096
_END_OF_OPTIONS, _TIME_RESOLUTION, _TIME_OFFSET = 0, 9, 14
_DROPPED_BY_INTERFACE, _DROPPED_BY_SYSTEM = 5, 7
_SECOND = 1_000_000_000


@dataclass(frozen=True, slots=True)
class _Interface:
    """A unit of time is numerator/denominator nanoseconds; offset: nanoseconds."""

    link: int
    longest: int
    numerator: int = 1000
    denominator: int = 1
    offset: int = 0

    def time(self, high: int, low: int) -> int:
        return (high << 32 | low) * self.numerator // self.denominator + self.offset


class PcapNg:
    """Reads the packets of a pcapng file. dropped: by its interface statistics."""

    def __init__(self) -> None:
        self.dropped = 0
        self._order = "<"
        self._interfaces: list[_Interface] = []
        self._earlier = 0  # interfaces of the sections before
        self._lost: dict[int, int] = {}
        self._last_time = 0

    def take(self, data: bytes, at: int, batch: Batch) -> int:
        """Add the whole packets to the batch; see capture."""
        used, size = 0, len(data)
        while used + 12 <= size:
            if data[used : used + 4] == SECTION_HEADER:
                self._new_section(data, used, at)
            kind, length = struct.unpack_from(self._order + "II", data, used)
            if length < 12 or length & 3 or length > _LONGEST_BLOCK:
                raise CaptureError(f"damaged: a block of {length} bytes at byte {at + used}")
            if used + length > size:
                break
            try:
                self._block(kind, data, (used + 8, used + length - 4), batch)
            except (struct.error, IndexError):
                raise CaptureError(
                    f"damaged: a block that contradicts itself at byte {at + used}"
                ) from None
            used += length
        return used

    def _new_section(self, data: bytes, used: int, at: int) -> None:
        order = _BYTE_ORDERS.get(data[used + 8 : used + 12])
        if order is None:
            raise CaptureError(f"damaged: a section of no byte order at byte {at + used}")
        self._order = order
        self._earlier += len(self._interfaces)
        self._interfaces = []

    def _block(self, kind: int, data: bytes, body: tuple[int, int], batch: Batch) -> None:
        begin, end = body
        if kind == _PACKET:
            fields = struct.unpack_from(self._order + "5I", data, begin)
            self._packet(fields, (begin + 20, end), batch)
        elif kind == _INTERFACE:
            self._interfaces.append(self._interface(data, begin, end))
        elif kind == _STATISTICS:
            self._count_lost(data, begin, end)
        elif kind == _SIMPLE_PACKET:
            (length,) = struct.unpack_from(self._order + "I", data, begin)
            first = self._interfaces[0]
            captured = min(length, first.longest or length, end - begin - 4)
            self._add((0, captured, length), self._last_time, begin + 4, batch)
        elif kind == _OLD_PACKET:
            number, _, *rest = struct.unpack_from(self._order + "HHIIII", data, begin)
            self._packet((number, *rest), (begin + 20, end), batch)

    def _packet(self, fields: tuple[int, ...], body: tuple[int, int], batch: Batch) -> None:
        number, high, low, captured, length = fields
        start, end = body
        if start + captured > end:
            raise IndexError
        self._last_time = self._interfaces[number].time(high, low)
        self._add((number, captured, length), self._last_time, start, batch)

    def _add(self, sizes: tuple[int, int, int], time: int, start: int, batch: Batch) -> None:
        number, captured, length = sizes
        batch.start.append(start)
        batch.end.append(start + captured)
        batch.length.append(length)
        batch.time.append(time)
        batch.link.append(self._interfaces[number].link)
        batch.device.append(self._earlier + number)

    def _interface(self, data: bytes, begin: int, end: int) -> _Interface:
        link, _, longest = struct.unpack_from(self._order + "HHI", data, begin)
        numerator, denominator, offset = 1000, 1, 0
        for code, at, size in self._options(data, begin + 8, end):
            if code == _TIME_RESOLUTION and size == 1:
                power = data[at] & 0x7F
                units = 2**power if data[at] & 0x80 else 10**power
                numerator, denominator = _SECOND, units
            elif code == _TIME_OFFSET and size == 8:
                (seconds,) = struct.unpack_from(self._order + "q", data, at)
                offset = seconds * _SECOND
        return _Interface(link, longest, numerator, denominator, offset)

    def _count_lost(self, data: bytes, begin: int, end: int) -> None:
        """Take the newest statistics of an interface; they count from its beginning."""
        (number,) = struct.unpack_from(self._order + "I", data, begin)
        lost = 0
        for code, at, size in self._options(data, begin + 12, end):
            if code in {_DROPPED_BY_INTERFACE, _DROPPED_BY_SYSTEM} and size == 8:
                (count,) = struct.unpack_from(self._order + "Q", data, at)
                lost += count
        if self._interfaces[number:]:
            self._lost[self._earlier + number] = lost
            self.dropped = sum(self._lost.values())

    def _options(self, data: bytes, at: int, end: int) -> Iterator[tuple[int, int, int]]:
        """Return code, place and size of each option."""
        while at + 4 <= end:
            code, size = struct.unpack_from(self._order + "HH", data, at)
            if code == _END_OF_OPTIONS or at + 4 + size > end:
                return
            yield code, at + 4, size
            at += 4 + (size + 3 & ~3)
