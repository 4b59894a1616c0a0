"""Parts of sockmon that may fail while the others go on: each failure is counted, and logged once.

A part has a name such as `metrics.ports`, `notify.webhook-0` or `save.history`.
This is for one process, as logging is.
"""

import logging
import threading
from collections.abc import Callable, Mapping

from sockmon.text import one_line

log = logging.getLogger("sockmon")

_LONGEST_REASON = 200


class Components:
    """What failed, how often, and where it fails now. For any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[str, int] = {}
        self._failing: dict[str, dict[str, str]] = {}

    def forget(self) -> None:
        """Forget all failures."""
        with self._lock:
            self._counts, self._failing = {}, {}

    @property
    def counts(self) -> Mapping[str, int]:
        """How often each part has failed, of those that ever have."""
        with self._lock:
            return dict(self._counts)

    @property
    def failing(self) -> Mapping[str, str]:
        """Why each part fails, of those whose last run failed."""
        with self._lock:
            return {name: next(iter(where.values())) for name, where in self._failing.items()}

    def failed(self, name: str, error: Exception, where: str = "") -> str:
        """Count a failure caused by a mistake of ours; return why, in one line.

        where: tells runs of the same part from each other, such as those for two namespaces. The
        traceback is logged when the part begins to fail.
        """
        reason = one_line(f"{type(error).__name__}: {error}", _LONGEST_REASON)
        if self.count(name, reason, where):
            log.error(
                "%s failed, and the rest goes on; please report it: %s", name, reason,
                exc_info=error,
            )  # fmt: skip
        return reason

    def run(self, name: str, do: Callable[[], None], where: str = "") -> bool:
        """Do something that must not end the others; return whether it has succeeded."""
        try:
            do()
        except Exception as error:  # noqa: BLE001 - as it says
            self.failed(name, error, where)
            return False
        self.works(name, where)
        return True

    def count(self, name: str, reason: str, where: str = "") -> bool:
        """Count a failure that is logged elsewhere; return whether the part begins to fail."""
        with self._lock:
            self._counts[name] = self._counts.get(name, 0) + 1
            begins = name not in self._failing
            self._failing.setdefault(name, {})[where] = reason
            return begins

    def works(self, name: str, where: str = "") -> None:
        """Note that a run has succeeded."""
        if name not in self._failing:  # nearly always
            return
        with self._lock:
            places = self._failing.get(name, {})
            places.pop(where, None)
            if places:
                return
            self._failing.pop(name, None)
        log.info("%s works again", name)


COMPONENTS = Components()
