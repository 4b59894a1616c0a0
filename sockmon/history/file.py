"""History as a file that survives restarts, and reboots too.

The body is gzip of one line of JSON, and then for each range of each namespace a line that counts
its rows, and its columns as they are in memory: times, highs and, where they differ, lows.
"""

import gzip
import io
import json
import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sockmon.history.sample import GROUP_SERIES, SERIES, SLOTS, Watched
from sockmon.history.snapshot import (
    DEPTHS,
    SPANS,
    AlertChange,
    Columns,
    HistorySnapshot,
    NamespacePast,
    Row,
)
from sockmon.model.counts import GroupKey
from sockmon.model.moment import Moment
from sockmon.state.file import AnotherVersionError, StateError, WholeFile

_VERSION = 2
#: The meaning of the columns; a file with others is of another version.
_LAYOUT = [*SERIES, *GROUP_SERIES, SLOTS]
#: Numbers seldom change within a column: more would gain little.
_COMPRESSION = 1
#: More than any range ever has.
_ROWS_LIMIT = 10_000
#: What reading a body of another kind may raise.
_NONSENSE = (OSError, EOFError, zlib.error, ValueError, LookupError, TypeError, AttributeError)


class HistoryFile:
    """The file `history` of a state directory."""

    def __init__(self, path: Path, boot: str) -> None:
        self.path = path
        self._file = WholeFile(path, "history", _VERSION, boot)

    def read(self, now: Moment) -> HistorySnapshot | None:
        """Return the past on the clock that reads `now`, or None if there is none.

        now: its monotonic seconds count suspends. Raises StateError.
        """
        found = self._file.read()
        if found is None:
            return None
        body, of_this_boot = found
        try:
            with gzip.GzipFile(fileobj=io.BytesIO(body)) as file:
                head = json.loads(file.readline())
                if head["layout"] != _LAYOUT:
                    raise AnotherVersionError(f"{self.path}: of another version of sockmon")
                past = _past(head, file)
                if file.read(1):
                    raise ValueError("it goes on after its end")
        except _NONSENSE as error:
            raise StateError(f"{self.path}: unexpected content: {error!r}") from error
        return past.adopted(now, same_boot=of_this_boot)

    def write(self, past: HistorySnapshot) -> None:
        """Replace the file, or raise StateError and leave it as it was."""
        buffer = io.BytesIO()
        with gzip.GzipFile(fileobj=buffer, mode="wb", compresslevel=_COMPRESSION) as file:
            file.write(json.dumps(_head(past)).encode() + b"\n")
            for namespace in past.namespaces.values():
                for span in SPANS:
                    _write_rows(file, namespace.columns(span))
        self._file.write(buffer.getvalue())


def _head(past: HistorySnapshot) -> dict[str, Any]:
    return {
        "layout": _LAYOUT,
        "at": [past.at.monotonic, past.at.wall],
        "namespaces": {
            name: {
                "depth": each.depth.name,
                "troubled_at": None if each.troubled_at == -math.inf else each.troubled_at,
                "watched": [
                    [key.direction, key.port, its.slot, its.since]
                    for key, its in each.watched.items()
                ],
            }
            for name, each in past.namespaces.items()
        },
        "alert_changes": [
            [
                change.at,
                change.state,
                change.firing_since,
                dict(change.labels),
                change.summary,
                change.previous_severity,
            ]
            for change in past.alert_changes
        ],
    }


def _past(head: Any, file: gzip.GzipFile) -> HistorySnapshot:
    monotonic, wall = map(float, head["at"])
    return HistorySnapshot(
        Moment(monotonic, wall),
        {name: _namespace(its, file) for name, its in head["namespaces"].items()},
        tuple(AlertChange(*change) for change in head["alert_changes"]),
    )


def _namespace(head: Any, file: gzip.GzipFile) -> NamespacePast:
    depth, troubled_at = DEPTHS[head["depth"]], head["troubled_at"]
    return NamespacePast(
        {span: _read_rows(file, depth.width) for span in SPANS},
        {
            GroupKey(direction, int(port)): Watched(int(slot), float(since))
            for direction, port, slot, since in head["watched"]
        },
        depth,
        -math.inf if troubled_at is None else float(troubled_at),
    )


def _write_rows(file: gzip.GzipFile, columns: Columns) -> None:
    is_folded = columns.low is not columns.high
    file.write(b"%d %d\n" % (len(columns.at), is_folded))
    for part in (columns.at, columns.high, columns.low)[: 2 + is_folded]:
        file.write(part.tobytes("F"))  # by column: adjacent values are alike


def _read_rows(file: gzip.GzipFile, width: int) -> tuple[Row, ...]:
    count, is_folded = map(int, file.readline().split())
    if not 0 <= count <= _ROWS_LIMIT:
        raise ValueError(f"{count} rows")

    def readings() -> NDArray[np.float32]:
        found = np.frombuffer(file.read(4 * width * count), np.float32)
        return found.reshape(width, count).T

    at = np.frombuffer(file.read(8 * count), np.float64)
    high = readings()
    return Columns(at, high, readings() if is_folded else high).rows()
