"""Keeps the daemon's history: in memory at each poll, on disk once a minute."""

import logging
import math
import threading
from collections.abc import Iterable

from sockmon.history.file import HistoryFile
from sockmon.history.snapshot import AlertChange, HistorySnapshot
from sockmon.history.store import History
from sockmon.model.moment import Moment
from sockmon.model.observation import Observation
from sockmon.state.file import AnotherVersionError, StateError
from sockmon.state.writer import StateWriter

log = logging.getLogger("sockmon")

#: How often history is written: what a kill -9 loses.
SAVE_SECONDS = 60.0
#: How long a stop waits for the disk.
_STOP_SECONDS = 1.0


class HistoryRecorder:
    """`observe` and then `close` are for one thread; `past` is for any."""

    def __init__(self, file: HistoryFile | None, now: Moment) -> None:
        """Continue what `file` holds; one that cannot be used costs a line in the log.

        now: its monotonic seconds include suspended time, here and below.
        """
        self._lock = threading.Lock()
        self._history = History(_restored(file, now) if file else None)
        self._saved_at = -math.inf  # the first poll shows whether the disk can be written
        self._writer = StateWriter(file, "history") if file else None

    def observe(
        self, observation: Observation, at: Moment, changes: Iterable[AlertChange] = ()
    ) -> None:
        """Take one poll; see History.observe."""
        with self._lock:
            self._history.observe(observation, at, changes)
        if at.monotonic - self._saved_at >= SAVE_SECONDS:
            self._saved_at = at.monotonic
            self._save()

    def past(self) -> HistorySnapshot | None:
        """Return all that is kept, as an immutable value; None before the first poll."""
        with self._lock:
            return self._history.past()

    def close(self) -> None:
        """Write a last time, and end; give up if the disk takes too long."""
        self._save()
        if self._writer is not None:
            self._writer.close(_STOP_SECONDS)

    def _save(self) -> None:
        past = self.past()
        if self._writer is not None and past is not None:
            self._writer.write(lambda: past)


def _restored(file: HistoryFile, now: Moment) -> HistorySnapshot | None:
    try:
        past = file.read(now)
    except AnotherVersionError as error:
        log.info("history cannot be restored, starting without it: %s", error)
    except StateError as error:
        log.warning("history cannot be restored, starting without it: %s", error)
    else:
        return past
    return None
