"""Accept queues and dropped connections of listening ports."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from sockmon.model.states import TcpState
from sockmon.model.table import SocketTable

_COUNTER_RANGE = 1 << 32  # sk_drops is 32 bits wide, and wraps


@dataclass(frozen=True, slots=True)
class ListenQueue:
    """The accept queue of a port's fullest listener, in connections, and its limit."""

    port: int
    length: int
    limit: int


def listeners(table: SocketTable) -> SocketTable:
    """Return the listening sockets alone."""
    return table.select(np.flatnonzero(table.state == TcpState.LISTEN))


def listen_queues(listening: SocketTable) -> tuple[ListenQueue, ...]:
    """Return one queue a listening port, by port; of several listeners the fullest."""
    fullest: dict[int, ListenQueue] = {}
    for port, length, limit in zip(
        listening.local_port.tolist(),
        listening.receive_queue.tolist(),
        listening.send_queue.tolist(),
        strict=True,
    ):
        queue = ListenQueue(port, length, limit)
        if port not in fullest or _fullness(queue) > _fullness(fullest[port]):
            fullest[port] = queue
    return tuple(fullest[port] for port in sorted(fullest))


@dataclass(frozen=True, slots=True)
class ListenDrops:
    """Connections dropped at each listening port: `totals` never falls while a port is listened on.

    The kernel counts for each listening socket; one of several may go, and its count with it.
    """

    totals: Mapping[int, int] = field(default_factory=dict)
    by_cookie: Mapping[int, int] = field(default_factory=dict)

    def seen(self, listening: SocketTable) -> "ListenDrops":
        """Add what each listener has dropped since the last poll."""
        totals: dict[int, int] = {}
        by_cookie: dict[int, int] = {}
        for port, cookie, drops in zip(
            listening.local_port.tolist(),
            listening.cookie.tolist(),
            listening.drops.tolist(),
            strict=True,
        ):
            by_cookie[cookie] = drops
            since = (drops - self.by_cookie.get(cookie, 0)) % _COUNTER_RANGE
            totals[port] = totals.get(port, self.totals.get(port, 0)) + since
        return ListenDrops(totals, by_cookie)


def _fullness(queue: ListenQueue) -> tuple[float, int]:
    # The kernel takes one connection more than the limit says, so a limit of 0 is not full.
    return queue.length / (queue.limit + 1), -queue.limit
