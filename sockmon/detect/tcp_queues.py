"""The accept queues of one port: how full they are, who waits in them, and whether they move."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sockmon.model.detector_input import DetectorInput
from sockmon.model.listeners import RecentDrops, fullness
from sockmon.model.owner import Group
from sockmon.model.states import TcpState
from sockmon.model.table import IPAddress, SocketTable, address

#: TCP_TIMEWAIT_LEN (include/net/tcp.h).
_TIME_WAIT_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Queues:
    """The listening sockets of one port that one service holds.

    listeners: rows of the table; length, limit, idle (seconds without progress) are their columns.
    waiting: rows of the connections in their queues, as far as they are in the table. moved:
    seconds since one was accepted or served, at most. listening: how many sockets listen at each
    address of the port, those of other services too.
    """

    group: Group
    listeners: NDArray[np.intp]
    length: NDArray[np.int64]
    limit: NDArray[np.int64]
    idle: NDArray[np.float64]
    moved: float
    waiting: NDArray[np.intp]
    waits: NDArray[np.float64]  # seconds that each of them has waited
    drops: RecentDrops
    dropped_now: int  # since the last poll
    listening: Mapping[IPAddress, int]

    def sharing(self, table: SocketTable, stuck: NDArray[np.intp]) -> NDArray[np.intp]:
        """Return the places of the listeners at the addresses of the stuck ones.

        Between those of one address the kernel divides the connections (SO_REUSEPORT).
        """
        addresses = [address_of(table, row) for row in self.listeners.tolist()]
        at = {addresses[place] for place in stuck.tolist()}
        return np.flatnonzero([address in at for address in addresses])

    def sharing_all(self, table: SocketTable, stuck: NDArray[np.intp]) -> int:
        """Return how many sockets listen at these addresses, those of other services too."""
        at = {address_of(table, row) for row in self.listeners[stuck].tolist()}
        return sum(self.listening[address] for address in at)

    @property
    def oldest(self) -> float:
        """Seconds that the first of them has waited; 0 where that is not known."""
        return float(self.waits.max(initial=0.0))

    @property
    def fullness(self) -> float:
        """That of the fullest."""
        return max(map(fullness, self.length.tolist(), self.limit.tolist()))

    @property
    def fullest(self) -> int:
        """Its place among the listeners."""
        return int(np.argmax(self.length / (self.limit + 1)))


def lengths(
    data: DetectorInput, rows: NDArray[np.intp]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the lengths of listeners' queues, and their limits."""
    table = data.table
    return table.receive_queue[rows].astype(np.int64), table.send_queue[rows].astype(np.int64)


def queues_of(data: DetectorInput, port: int) -> Iterator[Queues]:
    """Yield the queues of each service that listens on a port."""
    table = data.table
    listening = np.flatnonzero(table.local_port[data.stuck.rows] == port)
    idle = dict(
        zip(
            data.stuck.rows[listening].tolist(),
            (data.now - data.stuck.since[listening]).tolist(),
            strict=True,
        )
    )
    groups = data.groups(data.stuck.rows[listening])
    sharing = Counter(address_of(table, row) for row in data.stuck.rows[listening].tolist())
    waits = np.flatnonzero(data.queues.waits)
    waits = waits[table.local_port[data.queues.rows[waits]] == port]
    for group, rows in groups:
        its = waits
        if len(groups) > 1:  # what was not accepted is in the cgroup of its listener
            waiting = data.queues.rows[waits]
            its = waits[np.isin(waiting, data.belonging(waiting, group, rows))]
        length, limit = lengths(data, rows)
        if its.size < length.sum() and len(groups) == 1:
            its = np.sort(np.concatenate([its, _redirected(data)[: int(length.sum()) - its.size]]))
        if len(groups) > 1 and its.size > length.sum():
            # Services of one cgroup share the address: of the longest waits too many are counted.
            latest = np.argsort(-data.queues.waits_since[its], kind="stable")
            its = np.sort(its[latest[: int(length.sum())]])
        # Which of the queues of an address it was accepted from is not known.
        alone = all(sharing[address_of(table, row)] == 1 for row in rows.tolist())
        moved = _seconds_since_served(data, port) if alone else np.inf
        drops, dropped_now = data.drop_window.at(port, data.now), 0
        if len(groups) == 1 or table.drops[rows].any():
            dropped_now = data.drop_window.latest(port, data.now)
        else:  # the other services of the port have dropped them
            drops = RecentDrops(0, 0, drops.seconds)
        yield Queues(
            group=group,
            listeners=rows,
            length=length,
            limit=limit,
            idle=np.array([min(idle[row], moved) for row in rows.tolist()]),
            moved=moved,
            waiting=data.queues.rows[its],
            waits=data.now - data.queues.waits_since[its],
            drops=drops,
            dropped_now=dropped_now,
            listening=sharing,
        )


def _redirected(data: DetectorInput) -> NDArray[np.intp]:
    """Return the connections that wait at ports nobody listens on, the latest first.

    TPROXY gives them to a listener of another port, and leaves them their addresses.
    """
    table, waits = data.table, np.flatnonzero(data.queues.waits)
    listened = np.isin(table.local_port[data.queues.rows[waits]], table.local_port[data.stuck.rows])
    waits = waits[~listened]
    return waits[np.argsort(-data.queues.waits_since[waits], kind="stable")]


def _seconds_since_served(data: DetectorInput, port: int) -> float:
    """Return seconds since a connection was seen to be accepted, or the server closed one.

    What the server has closed first is in TIME_WAIT at its port, whose age is exact: that is known
    at a first look, too.
    """
    table = data.table
    closed = (table.state == TcpState.TIME_WAIT) & (table.local_port == port)
    left = float(table.expires[closed].max(initial=0)) / 1000
    served = _TIME_WAIT_SECONDS - left if left else np.inf
    return min(data.now - data.queues.accepted.get(port, -np.inf), served)


def address_of(table: SocketTable, row: int) -> IPAddress:
    """Return a row's local address."""
    return address(int(table.family[row]), table.local[row])
