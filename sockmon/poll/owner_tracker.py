"""Tracks how many of one namespace's sockets each owner has over polls."""

from collections.abc import Callable, Collection, Mapping

from sockmon.model.owner_sockets import CgroupCounts, OwnerSeries, OwnerSockets
from sockmon.model.table import SocketTable


class OwnerTracker:
    """Counts by cgroup, and keeps what the next poll needs."""

    def __init__(self, name: Callable[[Collection[int], float], Mapping[int, str | None]]) -> None:
        """name: see Inspector.name()."""
        self._name = name
        self._whole = CgroupCounts()
        self._part = CgroupCounts()
        self._series = OwnerSeries()
        #: The owners of cgroups by their ids, as far as they are known.
        self.names: Mapping[int, str | None] = {}

    def seen(self, table: SocketTable, now: float, *, whole: bool) -> tuple[OwnerSockets, ...]:
        """Return one poll's figures (`now` in monotonic seconds).

        whole: the table has all sockets; if not, those at rest are as many as the last time.
        """
        if whole:
            counts = self._whole = self._whole.of(table)
        else:
            self._part = self._part.of(table)
            counts = self._whole.at_rest().plus(self._part)
        self.names = self._name(counts.largest(), now)
        shown, self._series = self._series.seen(counts, self.names, now)
        return shown
