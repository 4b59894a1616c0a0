"""Sockets that a process holds and that the kernel has closed: they are in no table.

A socket that is in two listings of a process's descriptors, and not in the dump between them, is in
no table. One listing says nothing: it may be older than the dump, and the socket closed in good
order since.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sockmon.model.descriptors import DescriptorUse
from sockmon.model.distinct import distinct
from sockmon.model.table import SocketTable


@dataclass(frozen=True, slots=True)
class _Absent:
    """Of one process, the listed TCP sockets that the dump of a poll, `at` its time, had not."""

    started: float | None
    at: float
    inodes: frozenset[int]
    closed: int


@dataclass(frozen=True, slots=True)
class ClosedSockets:
    """What the polls of one namespace so far say, by PID."""

    _absent: Mapping[int, _Absent] = field(default_factory=dict)

    @property
    def counts(self) -> Mapping[int, int]:
        """How many each process holds, for certain."""
        return {pid: absent.closed for pid, absent in self._absent.items()}

    @property
    def suspects(self) -> Collection[int]:
        """PIDs of processes that are to be listed again."""
        return self._absent.keys()

    def seen(
        self, uses: Iterable[DescriptorUse], table: SocketTable, now: float
    ) -> "ClosedSockets":
        """Return what is known after one more poll (`now` in monotonic seconds)."""
        made: dict[int, _Absent] = {}
        listed = []
        for use in uses:
            known = self._absent.get(use.process.pid)
            if known and known.started != use.process.started:
                known = None  # another process of the same PID
            if known and use.listing and known.at >= use.listing.at:
                made[use.process.pid] = known  # not listed again since
            elif use.listing and use.judged_sockets.size:
                listed.append((use.process, known, use.judged_sockets))
        absences = _absences([tcp for *_, tcp in listed], table)
        for (process, known, _), absent in zip(listed, absences, strict=True):
            closed = len(known.inodes & absent) if known else 0
            if absent:
                made[process.pid] = _Absent(process.started, now, absent, closed)
        return ClosedSockets(made)


def _absences(listed: list[NDArray[np.uint32]], table: SocketTable) -> list[frozenset[int]]:
    """Return of each list of inodes those that the table does not have."""
    if not listed:
        return []
    wanted = distinct(np.concatenate(listed))
    at = np.minimum(np.searchsorted(wanted, table.inode), wanted.size - 1)
    present = np.zeros(wanted.size, np.bool_)
    hit = wanted[at] == table.inode
    present[at[hit]] = True
    absent = wanted[~present]
    return [frozenset(inodes[np.isin(inodes, absent)].tolist()) for inodes in listed]
