"""How connections opened, failed and closed between the polls of a recording. Pure.

In the file, of each direction and port with events since the poll before:

    ["outbound", 8080, {"opened": 2, "failed_refused": 20, "connect": [60000, 2, 0, ...]}]

The names are those of model/connection_events.py. What is not 0 is named; a histogram is its sum
in nanoseconds and its buckets. Readers skip names that they do not know.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from sockmon.kernel.events import layout
from sockmon.kernel.events.rows import Increments
from sockmon.model.connection_events import COLUMNS, COUNTERS, HISTOGRAM_COLUMNS, TIMED, column

_DIRECTIONS = {"inbound": layout.INBOUND, "outbound": layout.OUTBOUND}
_NAMES = {number: name for name, number in _DIRECTIONS.items()}


def lines_of(increments: Increments, netns: int) -> list[Any]:
    """Return the lines of a poll: what was counted in the namespace of this inode."""
    lines = []
    for at in np.flatnonzero(increments.netns == netns).tolist():
        columns = increments.columns[at].tolist()
        counted: dict[str, Any] = {name: n for name in COUNTERS if (n := columns[column(name)])}
        for name in TIMED:
            histogram = columns[column(name) : column(name) + HISTOGRAM_COLUMNS]
            if any(histogram):
                counted[name] = histogram
        direction = _NAMES.get(int(increments.direction[at]), "outbound")
        lines.append([direction, int(increments.port[at]), counted])
    return lines


class RecordedEvents:
    """In place of the running program: it has counted what was recorded since the last reading."""

    in_use = 0

    def __init__(self) -> None:
        self._unread: list[tuple[int, int, list[int]]] = []

    def add(self, lines: Iterable[Sequence[Any]]) -> None:
        """Add a poll's lines; raises ValueError, TypeError and KeyError if they are damaged."""
        for direction, port, counted in lines:
            columns = [0] * COLUMNS
            for name, value in dict(counted).items():
                if name in TIMED:
                    histogram = [_count(each) for each in value]
                    if len(histogram) != HISTOGRAM_COLUMNS:
                        raise ValueError(f"{name} has {len(histogram)} numbers")
                    columns[column(name) : column(name) + HISTOGRAM_COLUMNS] = histogram
                elif name in COUNTERS:
                    columns[column(name)] = _count(value)
            if not 0 <= _count(port) <= 0xFFFF:
                raise ValueError(f"{port} is no port")
            self._unread.append((_DIRECTIONS[direction], port, columns))

    def read(self, now: float) -> Increments:  # noqa: ARG002 - the recording has its own time
        """Return what was added since the last call; the namespace is 0."""
        unread, self._unread = self._unread, []
        return Increments(
            np.zeros(len(unread), np.int64),
            np.array([direction for direction, _, _ in unread], np.int64),
            np.array([port for _, port, _ in unread], np.int64),
            np.array([columns for *_, columns in unread], np.int64).reshape(-1, COLUMNS),
        )

    def close(self) -> None:
        """Release nothing."""


def _count(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 1 << 62:
        raise ValueError(f"{str(value)[:40]!r} is no count")
    return value
