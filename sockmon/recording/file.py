"""The file of a recording: gzip over lines of JSON: a head, polls in the order of time, an end.

    {"sockmon_recording": 1, "sockmon": "0.1.0", "kernel": "6.18.5", "anonymous": true,
     "started_at": 1764553500.0, "poll_seconds": 5.0, "detect": {...}}
    {"at": 0.0, "dumps": {"tcp-ipv4-3fe-0": [BASE64, ...]}, "files": {"sys/net/...": TEXT},
     "processes": {"1001": {"files": {...}, "links": ["socket:[4711]", "file"]}}, "cgroups": {...},
     "events": [["inbound", 80, {"opened": 3}]]}
    {"polls": 12}

A poll without `processes` or `cgroups` has those of the poll before. `events` were counted since
the poll before; they are in each poll, or in none (sockmon/recording/events.py). Readers skip keys
that they do not know; a change that older readers cannot skip gets a new number in the head.
"""

import gzip
import json
import os
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

VERSION = 1
#: No line of a recording is longer.
_LINE_BYTES = 1 << 28


class RecordingError(Exception):
    """A file that cannot be written, or is no recording that this sockmon can replay; one line."""


@dataclass(frozen=True, slots=True)
class Head:
    """What is known of a recording as a whole. detect: thresholds by detector and name."""

    sockmon: str
    kernel: str
    started_at: float
    anonymous: bool
    poll_seconds: float
    detect: Mapping[str, Mapping[str, Any]]


class Writer:
    """Writes a recording; raises OSError."""

    def __init__(self, path: Path, head: Head) -> None:
        """Make the file, for its owner only; raises FileExistsError."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        self._raw = os.fdopen(os.open(path, flags, 0o600), "wb")
        self._file = gzip.GzipFile(fileobj=self._raw, mode="wb")
        self._polls = 0
        self._write(
            {
                "sockmon_recording": VERSION,
                **{name: getattr(head, name) for name in Head.__slots__},
            }
        )

    def poll(self, poll: Mapping[str, Any]) -> None:
        """Add a poll."""
        self._write(poll)
        self._polls += 1

    def close(self) -> None:
        """Add the end."""
        self._write({"polls": self._polls})
        self._file.close()
        self._raw.close()

    def _write(self, line: Mapping[str, Any]) -> None:
        self._file.write(json.dumps(line, separators=(",", ":")).encode() + b"\n")


def check(path: Path) -> tuple[Head, tuple[float, ...]]:
    """Read the whole file; returns its head and when its polls were; raises RecordingError."""
    with _opened(path) as file:
        lines = _lines(path, file)
        head = _head(path, next(lines, {}))
        times: list[float] = []
        for line in lines:
            if "polls" in line:
                if line["polls"] != len(times) or not times:
                    raise RecordingError(
                        f"{path}: {line['polls']!r} polls expected, {len(times)} found"
                    )
                next(lines, None)  # the checksum stands behind the last line
                return head, tuple(times)
            times.append(_number(path, line.get("at")))
    raise _cut(path)


def polls(path: Path) -> Iterator[Mapping[str, Any]]:
    """Yield the polls of a file that check() has read; raises RecordingError."""
    with _opened(path) as file:
        lines = _lines(path, file)
        next(lines, None)
        yield from (line for line in lines if "polls" not in line)


def _opened(path: Path) -> gzip.GzipFile:
    try:
        return gzip.open(path, "rb")
    except OSError as error:
        raise RecordingError(f"{path}: cannot read it: {error.strerror}") from error


def _lines(path: Path, file: gzip.GzipFile) -> Iterator[dict[str, Any]]:
    number = 0
    while True:
        number += 1
        try:
            text = file.readline(_LINE_BYTES)
        except EOFError as error:
            raise _cut(path) from error
        except (gzip.BadGzipFile, zlib.error) as error:
            raise _foreign(path, number) from error
        except OSError as error:
            raise RecordingError(f"{path}: cannot read it: {error.strerror}") from error
        if not text:
            return
        try:
            line = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise _foreign(path, number) from error
        if not isinstance(line, dict):
            raise _foreign(path, number)
        yield line


def _cut(path: Path) -> RecordingError:
    return RecordingError(f"{path}: the recording is cut off: copy the whole file again")


def _foreign(path: Path, number: int) -> RecordingError:
    if number == 1:
        return RecordingError(f"{path}: not a recording: sockmon record makes them")
    return RecordingError(f"{path}: line {number} of the recording is damaged: copy the file again")


def _head(path: Path, line: Mapping[str, Any]) -> Head:
    version = line.get("sockmon_recording")
    if not isinstance(version, int):
        raise _foreign(path, 1)
    if version > VERSION:
        raise RecordingError(
            f"{path}: a recording of format {version}, by sockmon "
            f"{str(line.get('sockmon'))[:40]!r}: this sockmon reads formats up to {VERSION}; use a "
            "newer one"
        )
    try:
        return Head(
            str(line["sockmon"]),
            str(line["kernel"]),
            _number(path, line["started_at"]),
            bool(line["anonymous"]),
            _number(path, line["poll_seconds"]),
            {str(name): dict(its) for name, its in dict(line["detect"]).items()},
        )
    except (KeyError, TypeError, ValueError) as error:
        raise _foreign(path, 1) from error


def _number(path: Path, value: Any) -> float:
    if not isinstance(value, int | float) or not 0 <= value < 1e12:
        raise RecordingError(f"{path}: the recording is damaged: {str(value)[:40]!r} is no time")
    return float(value)
