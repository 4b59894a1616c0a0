"""Connection attempts by destination, from poll to poll: does any of them succeed?

A short connect timeout hides a dead destination: no attempt lives to its second retransmission. But
there are attempts at polls, new ones each time, and no new socket to that destination in any other
state. Those that were connected before the attempts began say nothing: a pool's connections to a
host that is lost stay for a quarter of an hour. Nor does an attempt that is always young: it may
have succeeded, and been reset at once, as health checks are.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from sockmon.model.ages import find_cookies
from sockmon.model.direction import PortMask, no_ports
from sockmon.model.distinct import kinds
from sockmon.model.states import TcpState
from sockmon.model.table import SocketTable

#: Destinations followed, those with most attempts first; and how many more that were reached.
_MOST, _MOST_REACHED = 200, 2000
#: A destination that nobody was seen to call for so long is forgotten: a proxy that leaves a dead
#: one out for ten seconds is seen at few polls. So is one that was reached.
_FORGOTTEN_AFTER_SECONDS, _REACHED_FOR_SECONDS = 120.0, 60.0
_RETRANSMIT = 1
#: TCP_TIMEOUT_INIT: of the first retransmission.
_FIRST_TIMEOUT_MS = 1000

#: Family, address words, port.
Place = tuple[int, bytes, int]


@dataclass(frozen=True, slots=True)
class Failing:
    """A destination of which no attempt has succeeded yet.

    since, last: monotonic seconds of the first and last poll that saw attempts. polls: how many
    did. attempts: distinct sockets seen. least: attempts under way at the poll that saw fewest.
    waited: how long an attempt has waited for an answer, of the eldest seen: seconds, 1 at most.
    pause: the longest time between two of these polls.
    """

    since: float
    last: float
    polls: int
    attempts: int
    least: int
    waited: float
    pause: float
    cookies: frozenset[int] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Connects:
    """What is remembered of each destination.

    reached: when a new connection was seen, in the last minute, of the ports that are called.
    ports: those called at the last poll of the whole table. connected: cookies, sorted, of the
    sockets that were connected to them.
    """

    failing: Mapping[Place, Failing] = field(default_factory=dict)
    reached: Mapping[Place, float] = field(default_factory=dict)
    ports: frozenset[int] = frozenset()
    connected: NDArray[np.uint64] = field(
        default_factory=lambda: np.empty(0, np.uint64), repr=False, compare=False
    )

    def reached_at(self, port: int) -> int:
        """Return how many addresses were reached at a port in the last minute."""
        return sum(place[2] == port for place in self.reached)

    def seen(self, table: SocketTable, now: float, *, whole: bool) -> "Connects":
        """Return the memory after one more poll; only a whole table shows successes."""
        calling = np.flatnonzero(table.state == TcpState.SYN_SENT)
        kept = {
            place: was
            for place, was in self.failing.items()
            if now - was.last < _FORGOTTEN_AFTER_SECONDS
        }
        if not calling.size and not kept:
            return Connects()
        called = by_place(table, calling)
        ports, connected, reached = self.ports, self.connected, dict(self.reached)
        if whole:
            ports = frozenset(port for _, _, port in (*called, *kept))
            rows = connected_to(table, ports)
            connected = np.sort(table.cookie[rows])
            for place in self._new(table, rows):
                reached[place] = now
                called.pop(place, None)
                kept.pop(place, None)
        for place, rows in called.items():
            kept[place] = _more(kept.get(place), table, rows, now)
        recent = sorted(
            (item for item in reached.items() if now - item[1] < _REACHED_FOR_SECONDS),
            key=lambda item: -item[1],
        )
        return Connects(kept, dict(recent[:_MOST_REACHED]), ports, connected)

    def _new(self, table: SocketTable, rows: NDArray[np.intp]) -> list[Place]:
        """Return where new connections lead, of the ports that were called at the last poll too."""
        rows = rows[_mask(self.ports)[table.remote_port[rows]]]
        rows = rows[find_cookies(self.connected, table.cookie[rows]) < 0]
        if not rows.size:
            return []
        first = rows[kinds(*table.remote_ends(rows)).rows]
        return [place_of(table, row) for row in first.tolist()]


def _more(was: Failing | None, table: SocketTable, rows: NDArray[np.intp], now: float) -> Failing:
    """Add the attempts of one more poll."""
    cookies = frozenset(table.cookie[rows].tolist())
    waited = _waited(table, rows)
    if was is None:
        return Failing(now, now, 1, len(cookies), len(cookies), waited, 0.0, cookies)
    return replace(
        was,
        last=now,
        polls=was.polls + 1,
        attempts=was.attempts + len(cookies - was.cookies),
        least=min(was.least, len(cookies)),
        waited=max(was.waited, waited),
        pause=max(was.pause, now - was.last),
        cookies=cookies,
    )


def _waited(table: SocketTable, rows: NDArray[np.intp]) -> float:
    """Return for how long the eldest of the attempts has waited, in seconds, 1 at most."""
    if table.retransmits[rows].any():
        return 1.0
    left = table.expires[rows[table.timer[rows] == _RETRANSMIT]]
    return max(0.0, 1.0 - int(left.min()) / _FIRST_TIMEOUT_MS) if left.size else 1.0


def place_of(table: SocketTable, row: int) -> Place:
    """Return where a socket leads."""
    return int(table.family[row]), table.remote[row].tobytes(), int(table.remote_port[row])


def by_place(table: SocketTable, rows: NDArray[np.intp]) -> dict[Place, NDArray[np.intp]]:
    """Divide the rows by destination; no more than the largest are returned."""
    if not rows.size:
        return {}
    called = kinds(*table.remote_ends(rows))
    top = np.argsort(-called.counts(), kind="stable")[:_MOST]
    parts = (rows[called.which == kind] for kind in top.tolist())
    return {place_of(table, int(part[0])): part for part in parts}


def connected_to(table: SocketTable, ports: Collection[int]) -> NDArray[np.intp]:
    """Return the sockets that are, or were, connected to one of the ports."""
    rows = np.flatnonzero(_mask(ports)[table.remote_port])
    unconnected = (TcpState.SYN_SENT, TcpState.CLOSE, TcpState.LISTEN)
    return rows[~np.isin(table.state[rows], unconnected)]


def _mask(ports: Collection[int]) -> PortMask:
    mask = no_ports()
    mask[list(ports)] = True
    return mask
