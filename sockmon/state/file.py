"""Files that outlive the process: written as a whole, read as a whole or not at all.

One header line, then the body:

    sockmon-state 1 BOOT_ID SHA256
    {...}

Monotonic times mean nothing after a boot, so the header has the boot's id. It also has the digest
of boot id and body, by which a torn or changed file is recognised. A file that cannot be used is
treated as missing.
"""

import contextlib
import errno
import hashlib
import json
import logging
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

log = logging.getLogger("sockmon")

#: Neither read nor written beyond this.
SIZE_LIMIT = 64 << 20

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_STATE_VERSION = 1

State = Mapping[str, Any]


class StateError(Exception):
    """Why a file could not be read or written: one line, with the file's name."""


class AnotherBootError(StateError):
    """The state is intact, but was written before the last boot."""


class AnotherVersionError(StateError):
    """The file was written by a version of sockmon with another format."""


def boot_id() -> str:
    """Return the id of this boot (random(4), boot_id)."""
    return _BOOT_ID.read_text().strip()


class WholeFile:
    """One such file; `kind` names its content in the header."""

    def __init__(self, path: Path, kind: str, version: int, boot: str) -> None:
        self.path = path
        self._kind = kind
        self._magic, self._version = b"sockmon-%s" % kind.encode(), b"%d" % version
        self._boot = boot.encode()

    def read(self) -> tuple[bytes, bool] | None:
        """Return the body, and whether this boot wrote it; None if there is none.

        Raises StateError.
        """
        try:
            data = _read(self.path)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._failed("cannot read it", error) from error
        not_ours = f"not a {self._kind} of ours"
        if len(data) > SIZE_LIMIT:
            raise StateError(f"{self.path}: larger than {SIZE_LIMIT} bytes: {not_ours}")
        header, _, body = data.partition(b"\n")
        match header.split(b" "):
            case [magic, version, boot, digest] if magic == self._magic:
                pass
            case _:
                raise StateError(f"{self.path}: {not_ours}")
        if version != self._version:
            raise AnotherVersionError(f"{self.path}: of another version of sockmon")
        if digest != _digest(boot, body):
            raise StateError(f"{self.path}: damaged")
        return body, boot == self._boot

    def write(self, body: bytes) -> None:
        """Replace the file, or raise StateError and leave it as it was."""
        header = (self._magic, self._version, self._boot, _digest(self._boot, body))
        data = b" ".join(header) + b"\n" + body
        if len(data) > SIZE_LIMIT:
            raise StateError(f"{self.path}: would be larger than {SIZE_LIMIT} bytes")
        new = self.path.with_name(self.path.name + ".new")
        try:
            _write_through(new, data)
            new.replace(self.path)
            _sync_directory(self.path.parent)
        except OSError as error:
            with contextlib.suppress(OSError):
                new.unlink()  # incomplete, and it takes space on a full disk
            raise self._failed("cannot write it", error) from error

    def _failed(self, operation: str, error: OSError) -> StateError:
        return StateError(f"{self.path}: {operation}: {error.strerror}")


class StateFile:
    """A state: JSON that is valid during one boot."""

    def __init__(self, path: Path, boot: str) -> None:
        self.path = path
        self._file = WholeFile(path, "state", _STATE_VERSION, boot)

    def read(self) -> State | None:
        """Return the state, or None if there is none; raises StateError."""
        found = self._file.read()
        if found is None:
            return None
        body, of_this_boot = found
        if not of_this_boot:
            raise AnotherBootError(f"{self.path}: of another boot")
        try:
            state: State = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise StateError(f"{self.path}: not JSON: {error}") from error
        return state

    def write(self, state: State) -> None:
        """Replace the file, or raise StateError and leave it as it was."""
        self._file.write(json.dumps(state, separators=(",", ":")).encode())


def _digest(boot: bytes, body: bytes) -> bytes:
    return hashlib.sha256(boot + b"\n" + body).hexdigest().encode()


def _read(path: Path) -> bytes:
    # Without O_NONBLOCK, open() would never return for a pipe put in its place.
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
