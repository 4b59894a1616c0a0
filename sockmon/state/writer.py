"""A thread that saves the latest value: a slow disk delays nothing else."""

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from sockmon.contained import COMPONENTS
from sockmon.state.file import StateError
from sockmon.text import one_line

log = logging.getLogger("sockmon")

T_contra = TypeVar("T_contra", contravariant=True)


class Writable(Protocol[T_contra]):
    """A file to which a value is written; raises StateError."""

    path: Path

    def write(self, value: T_contra, /) -> None: ...  # noqa: D102 - the class says it


class StateWriter(Generic[T_contra]):
    """Writes the latest value to a file, in a thread of its own.

    No failure ends the thread: it is logged once, and the next value is written all the same.
    """

    def __init__(self, file: Writable[T_contra], what: str) -> None:
        """Write to `file`; `what` names its content in the log."""
        self._file = file
        self._what = what
        self._changed = threading.Condition()
        self._wanted: Callable[[], T_contra] | None = None
        self._asked = self._tried = 0  # values that were wanted, and that have been tried to write
        self._stopping = False
        self._component = f"save.{file.path.name}"
        self._thread = threading.Thread(target=self._run, name=f"save {what}", daemon=True)
        self._thread.start()

    def write(self, value: Callable[[], T_contra]) -> None:
        """Have what `value` returns written soon; the thread calls it."""
        with self._changed:
            self._wanted = value
            self._asked += 1
            self._changed.notify_all()

    def wait(self, timeout: float) -> None:
        """Wait until what is wanted now is written, or could not be, or so many seconds."""
        with self._changed:
            asked = self._asked
            self._changed.wait_for(lambda: self._tried >= asked, timeout)

    def close(self, timeout: float) -> None:
        """Write what is not written yet, and end; give up if the disk takes longer than this."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self._thread.join(timeout)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._wanted is not None or self._stopping)
                wanted, self._wanted = self._wanted, None
                asked = self._asked
            if wanted is None:
                return
            self._write(wanted)
            with self._changed:
                self._tried = asked
                self._changed.notify_all()

    def _write(self, value: Callable[[], T_contra]) -> None:
        try:
            self._file.write(value())
        except StateError as error:
            self._failed(error)
        except Exception as error:  # noqa: BLE001 - a fault of ours, and no reason to stop saving
            self._failed(error, traceback=True)
        else:
            COMPONENTS.works(self._component, str(self._file.path))

    def _failed(self, error: Exception, *, traceback: bool = False) -> None:
        path = str(self._file.path)
        reason = one_line(f"{path}: {error!r}" if traceback else str(error))
        if COMPONENTS.count(self._component, reason, path):
            log.warning(
                "cannot save %s, which a restart would lose: %s",
                self._what,
                reason,
                exc_info=traceback,
            )
