"""A file that outlives the process, but neither the boot nor the version that wrote it.

One line of header, then JSON:

    sockmon-state 1 BOOT_ID SHA256
    {...}

Monotonic times mean nothing after a boot, so the boot's id is part of the header; the digest is
that of everything else, so that a torn or changed file is told from a whole one. A state that
cannot be read is no state: the reader starts afresh.
"""

import errno
import hashlib
import json
import logging
import os
import stat
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

log = logging.getLogger("sockmon")

VERSION = 1
#: Neither read nor written beyond this.
SIZE_LIMIT = 64 << 20

_MAGIC = b"sockmon-state"
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

State = Mapping[str, Any]


class StateError(Exception):
    """Why a state could not be read or written: one line, with the file's name."""


class AnotherBootError(StateError):
    """The state is whole, and tells of times that were before this boot."""


def boot_id() -> str:
    """Return what names this boot of this kernel."""
    return _BOOT_ID.read_text().strip()


class StateFile:
    """One such file, written and read as a whole."""

    def __init__(self, path: Path, boot: str) -> None:
        self.path = path
        self._boot = boot.encode()

    def read(self) -> State | None:
        """Return the state, or None if there is none; raises StateError."""
        try:
            data = _read(self.path)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._failed("cannot read it", error) from error
        if len(data) > SIZE_LIMIT:
            raise StateError(f"{self.path}: larger than {SIZE_LIMIT} bytes: not a state of ours")
        header, _, body = data.partition(b"\n")
        match header.split(b" "):
            case [magic, version, boot, digest] if magic == _MAGIC:
                pass
            case _:
                raise StateError(f"{self.path}: not a state of ours")
        if version != b"%d" % VERSION:
            raise StateError(f"{self.path}: of another version of sockmon")
        if digest != _digest(boot, body):
            raise StateError(f"{self.path}: damaged")
        if boot != self._boot:
            raise AnotherBootError(f"{self.path}: of another boot")
        state: State = json.loads(body)
        return state

    def write(self, state: State) -> None:
        """Replace the file, or raise StateError and leave it as it was."""
        body = json.dumps(state, separators=(",", ":")).encode()
        header = b"%s %d %s %s\n" % (_MAGIC, VERSION, self._boot, _digest(self._boot, body))
        data = header + body
        if len(data) > SIZE_LIMIT:
            raise StateError(f"{self.path}: would be larger than {SIZE_LIMIT} bytes")
        new = self.path.with_name(self.path.name + ".new")
        try:
            _write_through(new, data)
            new.replace(self.path)
            _sync_directory(self.path.parent)
        except OSError as error:
            raise self._failed("cannot write it", error) from error

    def _failed(self, operation: str, error: OSError) -> StateError:
        return StateError(f"{self.path}: {operation}: {error.strerror}")


class StateWriter:
    """Writes states in a thread of its own, the latest alone: a slow disk delays nobody."""

    def __init__(self, file: StateFile) -> None:
        self._file = file
        self._changed = threading.Condition()
        self._wanted: Callable[[], State] | None = None
        self._stopping = False
        self._failing = False
        self._thread = threading.Thread(target=self._run, name="state", daemon=True)
        self._thread.start()

    def write(self, state: Callable[[], State]) -> None:
        """Have what `state` then returns written soon."""
        with self._changed:
            self._wanted = state
            self._changed.notify()

    def close(self, timeout: float) -> None:
        """Write what is still wanted, and end; leave it if the disk takes longer than this."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join(timeout)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._wanted is not None or self._stopping)
                wanted, self._wanted = self._wanted, None
            if wanted is None:
                return
            self._write(wanted())

    def _write(self, state: State) -> None:
        try:
            self._file.write(state)
        except StateError as error:
            if not self._failing:
                log.warning("alerts would not survive a restart: %s", error)
            self._failing = True
        else:
            if self._failing:
                log.info("alerts survive a restart again: %s is written", self._file.path)
            self._failing = False


def _digest(boot: bytes, body: bytes) -> bytes:
    return hashlib.sha256(boot + b"\n" + body).hexdigest().encode()


def _read(path: Path) -> bytes:
    # A pipe put in its place would make a plain open() wait for ever.
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "not a regular file")
        return file.read(SIZE_LIMIT + 1)


def _write_through(path: Path, data: bytes) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync_directory(path: Path) -> None:
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
