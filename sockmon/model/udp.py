"""UDP sockets from poll to poll: datagrams that were dropped, and queues that nobody reads."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from sockmon.model.listeners import NONE_STUCK, DropWindow, ListenDrops, Stuck
from sockmon.model.table import SocketTable


@dataclass(frozen=True, slots=True)
class Udp:
    """What is remembered of a namespace's UDP sockets.

    drops: by local port. queues: those that hold unread datagrams. window: drops of the last
    minutes.
    """

    drops: ListenDrops = field(default_factory=ListenDrops)
    queues: Stuck = NONE_STUCK
    window: DropWindow[int] = field(default_factory=DropWindow)

    def seen(self, table: SocketTable, now: float, window: float) -> "Udp":
        """Return the memory after one more poll."""
        drops = self.drops.seen(table)
        rose: Mapping[int, int] = {}
        if self.window.began is not None:
            rose = {port: n - self.drops.totals.get(port, 0) for port, n in drops.totals.items()}
        return Udp(
            drops,
            self.queues.seen(table, np.flatnonzero(table.receive_queue > 0), now),
            self.window.seen(now, rose, sum(rose.values()), window),
        )
