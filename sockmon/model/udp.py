"""UDP sockets from poll to poll: datagrams that were dropped, and queues that nobody reads."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from sockmon.model.listeners import NONE_STUCK, DropWindow, ListenDrops, Stuck
from sockmon.model.table import SocketTable

#: Of one port, those with most sockets.
_CGROUPS_NAMED = 8


@dataclass(frozen=True, slots=True)
class Udp:
    """What is remembered of a namespace's UDP sockets.

    drops: by local port, of sockets that have dropped something. since_first: what was dropped
    since the first poll; it stays when its socket is closed, since a counter never falls. queues:
    those that hold unread datagrams. window: drops of the last minutes.
    """

    drops: ListenDrops = field(default_factory=ListenDrops)
    since_first: Mapping[int, int] = field(default_factory=dict)
    queues: Stuck = NONE_STUCK
    window: DropWindow[int] = field(default_factory=DropWindow)

    def seen(self, table: SocketTable, now: float, window: float) -> "Udp":
        """Return the memory after one more poll."""
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
            self.window.seen(now, rose, sum(rose.values()), window),
        )


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
    columns = (
        np.bincount(place, minlength=ports.size),
        np.bincount(place, table.receive_queue, ports.size),
        np.bincount(place, table.drops, ports.size),
    )
    rows = zip(ports, *columns, strict=True)
    found = (UdpPort(int(port), int(n), int(waits), int(drops)) for port, n, waits, drops in rows)
    ranked = sorted(found, key=lambda its: (-its.dropped, -its.receive_queue, -its.sockets))
    return tuple(replace(its, cgroups=_cgroups(table, its.port)) for its in ranked[:most])


def _cgroups(table: SocketTable, port: int) -> tuple[tuple[int, int], ...]:
    counts = Counter(table.cgroup_id[table.local_port == port].tolist())
    return tuple((cgroup, n) for cgroup, n in counts.most_common(_CGROUPS_NAMED) if cgroup)
