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
from sockmon.model.owner import Owners
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
        missing = self.leaked | self.gone
        gone = missing.difference(table.inode[table.rows_of(missing)].tolist())
        return Vanished(frozenset(leaked.tolist()), frozenset(sorted(gone)[:_MOST]))

    def still_held(self, owners: Owners) -> "Vanished":
        """Return the same without those that nobody holds any more."""
        held = owners.by_inode(self._sorted())
        return replace(self, gone=self.gone & (owners.pending | held.keys()))

    def added(self, followed: Iterable[Descriptors], owners: Owners) -> tuple[Descriptors, ...]:
        """Return the processes that are followed, and those that hold such sockets, with these."""
        held = Counter(its for all_ in owners.by_inode(self._sorted()).values() for its in all_)
        known = {use.process.pid: use for use in followed}
        for process, count in held.items():
            use = known.get(process.pid) or Descriptors(process)
            known[process.pid] = replace(use, closed=max(use.closed, count), leaked=count)
        return tuple(known.values())

    def _sorted(self) -> NDArray[np.uint32]:
        return np.array(sorted(self.gone), np.uint32)
