"""The lock that keeps two daemons from one state directory."""

import contextlib
import fcntl
import os
from pathlib import Path

from sockmon.state.file import StateError


class Claim:
    """A directory that is one process's to write in, until that process ends."""

    def __init__(self, directory: Path) -> None:
        """Take it; raises StateError if another process has it.

        One that cannot be written to is nobody's: the writes will say so, and when that is over.
        """
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        self._descriptor: int | None = None
        with contextlib.suppress(OSError):
            self._descriptor = os.open(directory / "lock", flags, 0o600)
        try:
            if self._descriptor is not None:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self.release()
            raise StateError(f"{directory}: another sockmon uses it") from error

    def release(self) -> None:
        """Let others have it."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
