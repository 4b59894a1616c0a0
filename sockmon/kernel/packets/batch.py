"""The packets that a reader of captures finds in one chunk."""

from dataclasses import dataclass, field

import numpy as np

from sockmon.kernel.packets.headers import Packets

#: A file may claim any size. A file with longer packets counts as damaged.
LONGEST_PACKET = 1 << 24
_LATEST = (1 << 63) - 1


class CaptureError(Exception):
    """Why a capture cannot be read any further, and where, in one line."""


@dataclass(slots=True)
class Batch:
    """Columns of packets, as they grow."""

    start: list[int] = field(default_factory=list)
    end: list[int] = field(default_factory=list)
    length: list[int] = field(default_factory=list)
    time: list[int] = field(default_factory=list)
    link: list[int] = field(default_factory=list)
    device: list[int] = field(default_factory=list)

    def packets(self, data: bytes) -> Packets:
        """Return the packets of the chunk that they were found in."""
        columns = (self.start, self.end, self.length)
        start, end, length = (np.array(column, np.int64) for column in columns)
        try:
            time = np.array(self.time, np.int64)
        except OverflowError:
            time = np.array([max(-_LATEST, min(t, _LATEST)) for t in self.time], np.int64)
        link, device = np.array(self.link, np.int64), np.array(self.device, np.int64)
        return Packets(np.frombuffer(data, np.uint8), start, end, length, time, link, device)
