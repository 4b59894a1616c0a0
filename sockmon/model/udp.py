"""UDP sockets from poll to poll: datagrams that were dropped, and queues that nobody reads."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sockmon.model.ages import find_cookies
from sockmon.model.listeners import DropWindow, ListenDrops
from sockmon.model.table import SocketTable


@dataclass(frozen=True, slots=True)
class UdpQueues:
    """One generation: the sockets that hold unread datagrams, as columns sorted by cookie.

    rows: where each stands in the table. since: monotonic seconds since when its queue has not
    become shorter.
    """

    rows: NDArray[np.intp] = field(default_factory=lambda: np.empty(0, np.intp))
    cookie: NDArray[np.uint64] = field(default_factory=lambda: np.empty(0, np.uint64))
    queue: NDArray[np.uint32] = field(default_factory=lambda: np.empty(0, np.uint32))
    since: NDArray[np.float64] = field(default_factory=lambda: np.empty(0, np.float64))

    def seen(self, table: SocketTable, now: float) -> "UdpQueues":
        """Return the next generation, this one being the last."""
        rows = np.flatnonzero(table.receive_queue > 0)
        rows = rows[np.argsort(table.cookie[rows], kind="stable")]
        cookie, queue = table.cookie[rows], table.receive_queue[rows].astype(np.uint32)
        since = np.full(rows.size, now)
        before = find_cookies(self.cookie, cookie)
        joined = np.flatnonzero(before >= 0)
        past = before[joined]
        still = queue[joined] >= self.queue[past]
        since[joined[still]] = self.since[past[still]]
        return UdpQueues(rows, cookie, queue, since)


@dataclass(frozen=True, slots=True)
class Udp:
    """What is remembered of a namespace's UDP sockets: drops by local port, queues, a window."""

    drops: ListenDrops = field(default_factory=ListenDrops)
    queues: UdpQueues = field(default_factory=UdpQueues)
    window: DropWindow[int] = field(default_factory=DropWindow)

    def seen(self, table: SocketTable, now: float, window: float) -> "Udp":
        """Return the memory after one more poll."""
        drops = self.drops.seen(table)
        rose: Mapping[int, int] = {}
        if self.window.began is not None:
            rose = {port: n - self.drops.totals.get(port, 0) for port, n in drops.totals.items()}
        return Udp(
            drops,
            self.queues.seen(table, now),
            self.window.seen(now, rose, sum(rose.values()), window),
        )
