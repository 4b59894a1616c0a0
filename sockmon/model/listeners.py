"""Accept queues and dropped connections of listening sockets."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Generic, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from sockmon.model.ages import find_cookies
from sockmon.model.newcomers import Ranked
from sockmon.model.states import TcpState
from sockmon.model.table import IPAddress, SocketTable, address

K = TypeVar("K", bound=int | str)

_COUNTER_RANGE = 1 << 32  # sk_drops is 32 bits wide, and wraps


def fullness(length: float, limit: float) -> float:
    """Return how full an accept queue is, 0 to 1: the kernel has room for limit + 1 connections.

    include/net/sock.h, sk_acceptq_is_full(): full is more than the limit.
    """
    return length / (limit + 1)


@dataclass(frozen=True, slots=True)
class ListenQueue:
    """The accept queue of a port's fullest listener, in connections, and its limit."""

    port: int
    length: int
    limit: int

    @property
    def fullness(self) -> float:
        """How full it is, 0 to 1."""
        return fullness(self.length, self.limit)


def listening_rows(table: SocketTable) -> NDArray[np.intp]:
    """Return the rows of the listening sockets."""
    return np.flatnonzero(table.state == TcpState.LISTEN)


def listeners(table: SocketTable) -> SocketTable:
    """Return only the listening sockets."""
    return table.select(listening_rows(table))


#: Where a port can be reached at: at any address, on this host only, or at some addresses.
Scope = Literal["any", "loopback", "address"]


@dataclass(frozen=True, slots=True)
class Listening:
    """A port that is listened on, or was lately."""

    port: int
    scope: Scope
    listens: bool


def scopes(listening: SocketTable) -> frozenset[tuple[int, Scope]]:
    """Return the ports that are listened on, each with its scopes."""
    return frozenset(
        (port, _scope(address(family, words)))
        for port, family, words in zip(
            listening.local_port.tolist(), listening.family.tolist(), listening.local, strict=True
        )
    )


def _scope(local: IPAddress) -> Scope:
    if local.is_unspecified:
        return "any"
    return "loopback" if local.is_loopback else "address"


@dataclass(frozen=True, slots=True)
class ListeningMemory:
    """When each port was listened on last, so that it is seen to have gone."""

    names: Ranked[tuple[int, Scope]] = field(default_factory=Ranked)

    def seen(
        self, there: Collection[tuple[int, Scope]], now: float, most: int
    ) -> tuple[tuple[Listening, ...], "ListeningMemory"]:
        """Return what is shown of one poll, and the memory after it.

        there: ports that may be shown; most: so many at most, lowest first, present ones before.
        """
        there = set(there)
        names = self.names.seen(sorted(there), now, most)
        # One that others keep out of rank is listened on all the same.
        found = tuple(Listening(*name, listens=name in there) for name in names.at)
        return found, ListeningMemory(names)


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
        if port not in fullest or _rank(queue) > _rank(fullest[port]):
            fullest[port] = queue
    return tuple(fullest[port] for port in sorted(fullest))


def _rank(queue: ListenQueue) -> tuple[float, int]:
    return queue.fullness, -queue.limit


@dataclass(frozen=True, slots=True)
class Stuck:
    """Since when each socket's receive queue has not become shorter: columns by cookie.

    rows: where each stands in its table. since: monotonic seconds; now where nothing waits.
    began: of the first poll of all.
    """

    rows: NDArray[np.intp]
    cookie: NDArray[np.uint64]
    length: NDArray[np.uint32]
    since: NDArray[np.float64]
    began: float | None = None

    def seen(self, table: SocketTable, rows: NDArray[np.intp], now: float) -> "Stuck":
        """Return the next generation, of these rows of the table, this one being the last."""
        rows = rows[np.argsort(table.cookie[rows], kind="stable")]
        cookie, length = table.cookie[rows], table.receive_queue[rows].astype(np.uint32)
        since = np.full(rows.size, now)
        before = find_cookies(self.cookie, cookie)
        joined = np.flatnonzero(before >= 0)
        past = before[joined]
        still = (self.length[past] > 0) & (length[joined] >= self.length[past])
        since[joined[still]] = self.since[past[still]]
        return Stuck(rows, cookie, length, since, now if self.began is None else self.began)


NONE_STUCK = Stuck(
    np.empty(0, np.intp), np.empty(0, np.uint64), np.empty(0, np.uint32), np.empty(0, np.float64)
)


@dataclass(frozen=True, slots=True)
class ListenDrops:
    """Connections dropped at each listening port: `totals` never falls while a port is listened on.

    The kernel counts for each listening socket; one of several may go, and its count with it.
    at_first: what the first poll of all found, of ports that are listened on since then.
    """

    totals: Mapping[int, int] = field(default_factory=dict)
    by_cookie: Mapping[int, int] = field(default_factory=dict)
    at_first: Mapping[int, int] | None = None

    @property
    def since_first(self) -> Mapping[int, int]:
        """What was dropped since the first poll: a restart of sockmon is no burst of drops."""
        at_first = self.at_first or {}
        return {port: total - at_first.get(port, 0) for port, total in self.totals.items()}

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
        at_first = totals if self.at_first is None else self.at_first
        still = {port: total for port, total in at_first.items() if port in totals}
        return ListenDrops(totals, by_cookie, still)


#: Drops that lie no further apart are one burst: clients that were refused try again after 1, 3, 7,
#: 15, 31 s.
_ONE_BURST_SECONDS = 45.0


@dataclass(frozen=True, slots=True)
class RecentDrops:
    """What was dropped in a window, and in how many polls of it.

    seconds: how much of the window was watched. span: from the first of these polls to the last.
    """

    connections: int
    polls: int
    seconds: float
    span: float = 0.0

    @property
    def recur(self) -> bool:
        """Whether they are more than one burst, which is no trouble once it is over."""
        return self.span > _ONE_BURST_SECONDS


@dataclass(frozen=True, slots=True)
class DropWindow(Generic[K]):
    """What each poll of the last minutes has seen dropped, by listening port or by reason.

    polls: (monotonic seconds, {port: connections}) of those that saw drops. began: of the first
    poll of all.
    """

    polls: tuple[tuple[float, Mapping[K, int]], ...] = ()
    began: float | None = None

    def seen(
        self, now: float, dropped: Mapping[K, int], overflows: int, window: float
    ) -> "DropWindow[K]":
        """Add one poll: drops by port since the last one, no more than the kernel's overflows.

        A listener's sk_drops counts more than connections for which its queue had no room, such as
        half-open health checks; ListenOverflows of the namespace counts only those.
        """
        kept = tuple((at, ports) for at, ports in self.polls if now - at < window)
        believed = {port: min(n, overflows) for port, n in dropped.items() if n and overflows}
        began = now if self.began is None else max(self.began, now - window)
        return DropWindow((*kept, *[(now, believed)] * bool(believed)), began)

    def latest(self, port: K, now: float) -> int:
        """Return what a port has dropped in the poll at `now`."""
        at, ports = self.polls[-1] if self.polls else (None, {})
        return ports.get(port, 0) if at == now else 0

    def at(self, port: K, now: float) -> RecentDrops:
        """Return what a port has dropped in the window, or since the first poll."""
        found = [(at, ports[port]) for at, ports in self.polls if port in ports]
        return RecentDrops(
            sum(dropped for _, dropped in found),
            len(found),
            now - (now if self.began is None else self.began),
            found[-1][0] - found[0][0] if found else 0.0,
        )
