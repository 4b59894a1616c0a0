"""UDP sockets from poll to poll: datagrams that were dropped, and queues that nobody reads."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from sockmon.model.ages import find_cookies
from sockmon.model.listeners import NONE_STUCK, DropWindow, ListenDrops, Stuck
from sockmon.model.states import TcpState
from sockmon.model.table import SocketTable

#: Of one port, those with most sockets.
_CGROUPS_NAMED = 8
#: An unconnected socket that holds its port for so long is a service's. A resolver's, or one of a
#: call's media, is held for less.
_SERVICE_AFTER_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Held:
    """Since when each unconnected socket is known, in monotonic seconds; columns by cookie."""

    cookie: NDArray[np.uint64]
    since: NDArray[np.float64]
    port: NDArray[np.uint16]

    def seen(self, table: SocketTable, now: float) -> "Held":
        """Return the next generation."""
        rows = np.flatnonzero(table.state == TcpState.CLOSE)
        rows = rows[np.argsort(table.cookie[rows], kind="stable")]
        cookie, since = table.cookie[rows], np.full(rows.size, now)
        before = find_cookies(self.cookie, cookie)
        since[before >= 0] = self.since[before[before >= 0]]
        return Held(cookie, since, table.local_port[rows])

    def services(self, now: float) -> frozenset[int]:
        """Return the ports that somebody has chosen to serve, as far as their age tells."""
        return frozenset(self.port[now - self.since >= _SERVICE_AFTER_SECONDS].tolist())


NOT_HELD = Held(np.empty(0, np.uint64), np.empty(0, np.float64), np.empty(0, np.uint16))


@dataclass(frozen=True, slots=True)
class Udp:
    """What is remembered of a namespace's UDP sockets.

    drops: by local port, of sockets that have dropped something. since_first: what was dropped
    since the first poll; it stays when its socket is closed, since a counter never falls. queues:
    those that hold unread datagrams. window: drops of the last minutes. counters: UDP_COUNTERS of
    the namespace at the last poll, where they are known. read_at: the last poll that saw any of its
    sockets being read. held: who holds its port for long.
    """

    drops: ListenDrops = field(default_factory=ListenDrops)
    since_first: Mapping[int, int] = field(default_factory=dict)
    queues: Stuck = NONE_STUCK
    window: DropWindow[int] = field(default_factory=DropWindow)
    counters: Mapping[str, int] | None = None
    read_at: float | None = None
    held: Held = NOT_HELD

    def seen(
        self,
        table: SocketTable,
        now: float,
        window: float,
        counters: Mapping[str, int] | None = None,
    ) -> "Udp":
        """Return the memory after one more poll.

        A socket's drops count what its filter, or a wrong checksum, has refused, too
        (net/ipv4/udp.c, udp_queue_rcv_one_skb()). They are believed as far as the namespace's own
        count of full buffers agrees.
        """
        drops = self.drops.seen(table.select(table.drops > 0))
        rose: dict[int, int] = {}
        if self.window.began is not None:
            known = self.drops.totals
            rose = {port: n - known.get(port, 0) for port, n in drops.totals.items()}
            rose = {port: n for port, n in rose.items() if n}
        since_first = self.since_first
        if rose:
            grown = {port: n + since_first.get(port, 0) for port, n in rose.items()}
            since_first = {**since_first, **grown}
        return Udp(
            drops,
            since_first,
            self.queues.seen(table, np.flatnonzero(table.receive_queue > 0), now),
            self.window.seen(now, rose, self._full(rose, counters), window),
            counters,
            now if self._were_read(counters) else self.read_at,
            self.held.seen(table, now),
        )

    def is_read(self, now: float, within: float) -> bool:
        """Whether any of the namespace's sockets was read from in the last seconds."""
        return self.read_at is not None and now - self.read_at < within

    def has_overflowed(self) -> bool:
        """Whether any socket's buffer was ever full, as far as that is known."""
        return self.counters is None or _overflows(self.counters) > 0

    def _full(self, rose: Mapping[int, int], counters: Mapping[str, int] | None) -> int:
        """Return how many of the drops full buffers may explain."""
        if counters is None or self.counters is None:
            return sum(rose.values())
        return max(0, _overflows(counters) - _overflows(self.counters))

    def _were_read(self, counters: Mapping[str, int] | None) -> bool:
        before = self.counters or {}
        read = (counters or {}).get("InDatagrams", 0)
        return read > before.get("InDatagrams", read)


def _overflows(counters: Mapping[str, int]) -> int:
    return counters.get("RcvbufErrors", 0) + counters.get("MemErrors", 0)


@dataclass(frozen=True, slots=True)
class UdpPort:
    """The UDP sockets of one local port; receive_queue in bytes, dropped since each was made.

    cgroups: (id, sockets) of those that the kernel tells, most first. owners: the same by name.
    """

    port: int
    sockets: int
    receive_queue: int
    dropped: int
    cgroups: tuple[tuple[int, int], ...] = ()
    owners: tuple[tuple[str, int], ...] = ()

    def named(self, names: Mapping[int, str | None]) -> "UdpPort":
        """Return it with its owners, as far as their cgroups have names."""
        owners: Counter[str] = Counter()
        for cgroup, sockets in self.cgroups:
            if name := names.get(cgroup):
                owners[name] += sockets
        return replace(self, owners=tuple(owners.most_common()))


def udp_ports(table: SocketTable, most: int) -> tuple[UdpPort, ...]:
    """Count UDP sockets by local port: first those that dropped, then those with most sockets."""
    ports, place = np.unique(table.local_port, return_inverse=True)
    sockets = np.bincount(place, minlength=ports.size)
    waiting = np.bincount(place, table.receive_queue, ports.size)
    dropped = np.bincount(place, table.drops, ports.size)
    ranked = np.lexsort((-sockets, -waiting, -dropped))[:most]
    columns = (ports, sockets, waiting.astype(np.int64), dropped.astype(np.int64))
    rows = zip(*(column[ranked].tolist() for column in columns), strict=True)
    return tuple(
        UdpPort(port, count, queued, lost, _cgroups(table, port))
        for port, count, queued, lost in rows
    )


def _cgroups(table: SocketTable, port: int) -> tuple[tuple[int, int], ...]:
    counts = Counter(table.cgroup_id[table.local_port == port].tolist())
    return tuple((cgroup, n) for cgroup, n in counts.most_common(_CGROUPS_NAMED) if cgroup)
