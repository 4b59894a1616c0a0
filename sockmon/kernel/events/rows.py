"""What was counted since the last reading, from the rows of the program. Pure.

Also decides when rows are retired and freed (layout.py). A generation of rows ends when more than
half of the ring is given: its rows are retired, and its groups get new rows at their next events.
The retired rows are read until nothing can be counted into them any more, and then freed.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sockmon.kernel.errors import KernelError
from sockmon.kernel.events import layout
from sockmon.model.connection_events import COLUMNS

Words = NDArray[np.uint64]

#: The program runs for microseconds: after this time, none that still saw a retired row runs.
GRACE_SECONDS = 1.0
_OTHERS = np.arange(1, layout.FIRST_ROW)


@dataclass(frozen=True, slots=True)
class Increments:
    """What was counted between two readings: a row per group, groups may come twice.

    netns: inodes, 0 for what no row was free for, whose port is 0. direction: layout.INBOUND,
    layout.OUTBOUND.
    """

    netns: NDArray[np.int64]
    direction: NDArray[np.int64]
    port: NDArray[np.int64]
    columns: NDArray[np.int64]


class RowReader:
    """Reads the rows again and again. For one thread."""

    def __init__(self, words: Words, control: Words) -> None:
        """words: the array of layout.py, a row an entry. control: the daemon's two words."""
        self._rows = len(words) - layout.FIRST_ROW
        self._words = words
        self._control = control
        self._retired_at = 0.0
        self._given = 0
        # By entry: what was read last, and of which row.
        self._last = np.zeros((len(words), COLUMNS), np.uint64)
        self._last_number = np.zeros(len(words), np.uint64)

    @property
    def in_use(self) -> int:
        """How many rows were in use at the last reading, of layout.ROWS."""
        return min(self._given - int(self._control[layout.FREED]), self._rows)

    def read(self, now: float) -> Increments:
        """Return what was counted since the last call. now: in monotonic seconds.

        Raises KernelError when the rows cannot be what the program writes.
        """
        freed, retired = int(self._control[layout.FREED]), int(self._control[layout.RETIRED])
        given = int(self._words[0, layout.NUMBER])
        if given < self._given:
            raise KernelError("reading the rows of the eBPF program", "malformed", "rows vanished")
        self._given = given
        # Numbers that a processor took too late are beyond the ring's end, and are no rows.
        numbers = np.arange(freed + 1, min(given, freed + self._rows) + 1, dtype=np.uint64)
        entries = (numbers % np.uint64(self._rows)).astype(np.int64) + layout.FIRST_ROW
        # The number is written last: a row that had it before the copy was whole then.
        begun = self._words[entries, layout.NUMBER] == numbers
        entries, numbers = entries[begun], numbers[begun]
        increments = self._advance(np.append(_OTHERS, entries), np.append(_OTHERS * 0, numbers))
        if retired > freed:
            if now - self._retired_at >= GRACE_SECONDS:
                self._control[layout.FREED] = retired
        elif given - freed > self._rows // 2:
            self._control[layout.RETIRED] = given
            self._retired_at = now
        return increments

    def _advance(self, entries: NDArray[np.int64], numbers: Words) -> Increments:
        """Return what the entries have more than at the last reading, those that have."""
        begun = self._last_number[entries] != numbers
        self._last[entries[begun]] = 0
        self._last_number[entries] = numbers
        read = self._words[entries]
        columns = read[:, layout.FIRST_COLUMN :]
        more = (columns - self._last[entries]).view(np.int64)
        changed = np.flatnonzero(more.any(axis=1))
        self._last[entries[changed]] = columns[changed]
        key = read[changed, layout.KEY]
        netns, place = (key >> np.uint64(32)).astype(np.int64), key.astype(np.uint32)
        direction = np.where(netns, place >> 16 & 3, entries[changed])
        return Increments(netns, direction, (place & 0xFFFF).astype(np.int64), more[changed])
