"""Leaked sockets that have left every table, and that a process may still hold.

A reset ends them: that of a peer which answers a keepalive probe, or of an MPTCP peer a minute
after it has closed. Their descriptors stay, and are found by their inodes.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sockmon.model import close_wait
from sockmon.model.ages import Aged
from sockmon.model.descriptors import Descriptors
from sockmon.model.direction import Directions
from sockmon.model.owner import Owners, Process
from sockmon.model.table import SocketTable

_KEEPALIVE_TIMER = 2
#: More inodes are not remembered.
_MOST = 10_000


@dataclass(frozen=True, slots=True)
class Vanished:
    """Of one namespace. leaked: inodes of sockets that may end so; gone: of those that did."""

    leaked: frozenset[int] = frozenset()
    gone: frozenset[int] = frozenset()

    def seen(
        self, aged: Aged, table: SocketTable, directions: Directions, now: float, after: float
    ) -> "Vanished":
        """Return what is known after one more poll of a whole table.

        now: monotonic seconds. after: seconds in CLOSE_WAIT after which a socket is leaked.
        """
        rows = aged.rows[close_wait.stale(aged, table, now, after).leaked]
        may_end = table.multipath[rows] | (table.timer[rows] == _KEEPALIVE_TIMER)
        leaked = table.inode[rows[may_end & directions.is_inbound[rows]]]
        missing = np.array(sorted(self.leaked | self.gone), np.uint32)
        gone: NDArray[np.uint32] = missing[~np.isin(missing, table.inode)]
        return Vanished(frozenset(leaked.tolist()), frozenset(gone[:_MOST].tolist()))

    def told(self, owners: Owners) -> "Vanished":
        """Return the same without those that nobody holds any more."""
        left = {i for i in self.gone if i in owners.pending or _holders(owners, i)}
        return replace(self, gone=frozenset(left))

    def added(self, followed: Iterable[Descriptors], owners: Owners) -> tuple[Descriptors, ...]:
        """Return the processes that are followed, and those that hold such sockets, with these."""
        held: Counter[int] = Counter()
        processes: dict[int, Process] = {}
        for inode in self.gone:
            for process in _holders(owners, inode):
                held[process.pid] += 1
                processes[process.pid] = process
        known = {use.process.pid: use for use in followed}
        for pid, count in held.items():
            use = known.get(pid) or Descriptors(processes[pid])
            known[pid] = replace(use, closed=max(use.closed, count), leaked=count)
        return tuple(known.values())


def _holders(owners: Owners, inode: int) -> tuple[Process, ...]:
    return owners.processes(np.array([inode], np.uint32))
