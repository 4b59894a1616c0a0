"""A recording in place of the kernel: its polls, one after the other, as time goes on."""

import base64
import binascii
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, replace
from math import inf
from pathlib import Path
from typing import Any

from sockmon.detect.detector import DetectorThresholds
from sockmon.detect.registry import ALL, Detect
from sockmon.kernel.cgroups import RECORDED
from sockmon.kernel.errors import DumpError
from sockmon.kernel.netlink.replay import LENGTH, ReplayTransport
from sockmon.kernel.netlink.source import KernelSource
from sockmon.model.moment import Moment
from sockmon.recording.events import RecordedEvents
from sockmon.recording.file import Head, RecordingError, check, polls

_NAME = re.compile(r"(?!.*\.\.)[\w.-]+(?:/[\w.-]+)*", re.ASCII)
_LINK = re.compile(r"[\w:\[\]-]{1,80}", re.ASCII)  # socket:[4711], anon_inode:[eventpoll], file


class Playback:
    """One recording. Its newest poll is laid out in a directory, as a kernel's files are.

    elapsed: seconds since the beginning; it never goes back. It is a clock of its own, that pause()
    puts forward, or with play() the real one.

    events: None if the recording has none.
    """

    events: RecordedEvents | None = None

    def __init__(self, path: Path) -> None:
        """Read the file; raises RecordingError."""
        self.path = path
        self.head, self.times = check(path)
        self._polls: Iterator[Mapping[str, Any]] = polls(path)
        self._directory = Path(tempfile.mkdtemp(prefix="sockmon-replay-"))
        self._shown = -1
        self._elapsed = 0.0
        self._real: Callable[[], float] | None = None
        try:
            self.seek(0.0)
        except BaseException:
            self.close()
            raise

    def open_source(self, stop_requested: Callable[[], bool]) -> KernelSource:
        """Return the recorded kernel; raises RecordingError."""
        source = KernelSource.over(
            lambda: _Transport(self, self._directory), self._directory / "proc", stop_requested
        )
        return replace(source, events=self.events)

    def play(self) -> None:
        """Let time go on by itself from now on."""
        begun = time.monotonic()
        self._real = lambda: time.monotonic() - begun

    def finish(self) -> None:
        """Go to the last poll."""
        self._elapsed = self.times[-1]
        self.seek(inf)

    def clock(self) -> Moment:
        """Return the recording's time."""
        return Moment(1e6 + self._elapsed, self.head.started_at + self._elapsed)

    def pause(self, seconds: float) -> None:
        """Put the recording's clock forward."""
        self._elapsed += seconds
        self.seek(self._elapsed)

    def pauses(self) -> list[float]:
        """Return the seconds between the polls that are left."""
        left = [at for at in self.times if at > self._elapsed]
        return [after - at for at, after in zip([self._elapsed, *left], left, strict=False)]

    def tick(self) -> None:
        """Lay out the poll of this moment, where time goes on by itself."""
        if self._real:
            self.seek(self._real())

    def seek(self, elapsed: float) -> None:
        """Lay out the last poll until then, the first at least; raises RecordingError."""
        wanted = max(0, sum(at <= elapsed for at in self.times) - 1)
        while self._shown < wanted:
            self._shown += 1
            self._lay_out(next(self._polls))

    def close(self) -> None:
        """Remove the directory."""
        shutil.rmtree(self._directory, ignore_errors=True)

    def _lay_out(self, poll: Mapping[str, Any]) -> None:
        try:
            self._dumps(dict(poll["dumps"]))
            proc = self._directory / "proc"
            for name, text in dict(poll["files"]).items():
                self._write(proc, name, str(text).encode("latin-1"))
            if "cgroups" in poll:
                lines = "".join(f"{int(n)} {path}\n" for n, path in poll["cgroups"].items())
                self._write(proc, RECORDED, lines.encode("utf-8", "surrogateescape"))
            if "processes" in poll:
                self._processes(proc, dict(poll["processes"]))
            if "events" in poll:
                self.events = self.events or RecordedEvents()
                self.events.add(poll["events"])
        except (KeyError, TypeError, ValueError, AttributeError, binascii.Error) as error:
            raise RecordingError(
                f"{self.path}: poll {self._shown + 1} of the recording is damaged: {error}"
            ) from error
        except OSError as error:
            raise RecordingError(
                f"{self._directory}: cannot unpack {self.path}: {error.strerror}"
            ) from error

    def _dumps(self, dumps: Mapping[str, Any]) -> None:
        shutil.rmtree(self._directory / "dumps", ignore_errors=True)
        for name, chunks in dumps.items():
            data = [base64.b64decode(chunk, validate=True) for chunk in chunks]
            joined = b"".join(LENGTH.pack(len(chunk)) + chunk for chunk in data)
            self._write(self._directory / "dumps", name, joined)

    def _processes(self, proc: Path, processes: Mapping[str, Any]) -> None:
        for old in proc.iterdir():
            if old.name.isdigit():
                shutil.rmtree(old, ignore_errors=True)
        for pid, its in processes.items():
            directory = proc / str(int(pid))
            for name, text in its["files"].items():
                self._write(directory, name, text.encode("utf-8", "surrogateescape"))
            (directory / "fd").mkdir(parents=True)
            for number, link in enumerate(its["links"]):
                if not _LINK.fullmatch(link):
                    raise ValueError(f"no descriptor leads to {link[:40]!r}")
                (directory / "fd" / str(number)).symlink_to(link)

    def _write(self, below: Path, name: str, data: bytes) -> None:
        if not _NAME.fullmatch(name):
            raise ValueError(f"no file is called {name[:40]!r}")
        path = below / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


class _Transport(ReplayTransport):
    """The recorded kernel at this moment."""

    def __init__(self, playback: Playback, directory: Path) -> None:
        super().__init__(directory)
        self._playback = playback

    def send(self, request: bytes) -> None:
        """Find the recorded answer; raises DumpError if the recording is damaged there."""
        try:
            self._playback.tick()
        except RecordingError as error:
            raise DumpError("replaying a recording", "malformed", str(error)) from error
        super().send(request)


def recorded_detect(head: Head) -> Any:
    """Return the thresholds of the host that was recorded, as far as this version has them."""
    chosen: dict[str, DetectorThresholds] = {}
    for detector in ALL:
        known = {each.name: each for each in fields(detector.thresholds)}
        its = head.detect.get(detector.name, {})
        values: dict[str, Any] = {
            name: value
            for name, value in its.items()
            if name in known and isinstance(value, int | float)
        }
        try:
            chosen[detector.name] = replace(detector.thresholds(), **values)
        except ValueError:
            chosen[detector.name] = detector.thresholds()
    return Detect(**chosen)
