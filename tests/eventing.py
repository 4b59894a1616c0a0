"""What the counting program has counted, and what of it is in the kernel's own lists."""

import ctypes
import struct
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from sockmon.kernel.events import layout
from sockmon.kernel.events.loader import EventCounter, load
from sockmon.model.connection_events import COUNTERS, TIMED, EventCounts
from tests.lab import NetNs
from tests.resident import inode_of

_DIRECTIONS = {layout.INBOUND: "inbound", layout.OUTBOUND: "outbound"}
_GET_NEXT_ID = {"prog": 11, "map": 12}
Where = tuple[int, str, int]  # inode of the namespace, direction, port


class Tally:
    """Everything that a counter has counted so far."""

    def __init__(self, counter: EventCounter) -> None:
        self.counter = counter
        self.counts: dict[Where, EventCounts] = defaultdict(EventCounts)

    def read(self) -> dict[Where, EventCounts]:
        got = self.counter.read(time.monotonic())
        for netns, direction, port, columns in zip(
            got.netns.tolist(), got.direction.tolist(), got.port.tolist(), got.columns, strict=True
        ):
            where = netns, _DIRECTIONS[direction], port
            self.counts[where] += EventCounts(tuple(columns.tolist()))
        return self.counts

    def of(self, netns: NetNs) -> dict[tuple[str, int], dict[str, int]]:
        """What is not 0, by (direction, port); of a histogram, how many it has."""
        inode = inode_of(netns)
        return {
            where[1:]: named(counts) for where, counts in self.read().items() if where[0] == inode
        }


def named(counts: EventCounts) -> dict[str, int]:
    told = dict(zip(COUNTERS, counts.columns, strict=False))
    told |= {name: counts.histogram(name).count for name in TIMED}
    return {name: number for name, number in told.items() if number}


@contextmanager
def counting(listeners: Iterable[tuple[int, int]] = ()) -> Iterator[Tally]:
    with closing(EventCounter(load(listeners))) as counter:
        yield Tally(counter)


def held_by(pid: int | str = "self") -> set[tuple[str, int]]:
    """What the descriptors of a process hold in the kernel: ("prog" or "map", id)."""
    found = set()
    for file in Path(f"/proc/{pid}/fdinfo").iterdir():
        with suppress(FileNotFoundError):
            for line in file.read_text().splitlines():
                for kind in ("prog", "map"):
                    if line.startswith(f"{kind}_id:"):
                        found.add((kind, int(line.split()[1])))
    return found


def listed() -> set[tuple[str, int]]:
    """The programs and maps that there are, as `bpftool prog list` has them."""
    libc = ctypes.CDLL(None, use_errno=True)
    found = set()
    for kind, command in _GET_NEXT_ID.items():
        at = 0
        while True:
            attributes = ctypes.create_string_buffer(struct.pack("=III", at, 0, 0))
            if libc.syscall(321, command, attributes, 12) != 0:
                break
            (at,) = struct.unpack_from("=4xI", attributes)
            found.add((kind, at))
    return found
