"""The lock that keeps two daemons from one state directory."""

import contextlib
import fcntl
import os
from pathlib import Path

from sockmon.state.file import StateError


class DirectoryLock:
    """Keeps a state directory for one process, until that process ends."""

    def __init__(self, directory: Path) -> None:
        """Lock it; raises StateError if another process has.

        A directory that cannot be written to is not locked: the writes will fail and say why.
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
        """Unlock it."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
