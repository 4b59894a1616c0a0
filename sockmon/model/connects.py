"""Connection attempts by destination, from poll to poll: does any of them succeed?

A short connect timeout hides a dead destination: no attempt lives to its second retransmission. But
there are attempts at every poll, new ones each time, and no new socket to that destination in any
other state. Those that were connected before the attempts began say nothing: a pool's connections
to a host that is lost stay for a quarter of an hour.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sockmon.model.ages import find_cookies
from sockmon.model.distinct import kinds
from sockmon.model.states import TcpState
from sockmon.model.table import SocketTable, words_of

#: Destinations followed, those with most attempts first.
_MOST = 200
#: A destination that nobody has called for so long is forgotten.
_FORGOTTEN_AFTER_SECONDS = 60.0

#: Family, address words, port.
Place = tuple[int, bytes, int]


@dataclass(frozen=True, slots=True)
class Failing:
    """A destination of which no attempt has succeeded yet.

    since, last: monotonic seconds of the first and last poll that saw attempts. polls: how many
    did. attempts: distinct sockets seen. least: attempts under way at the poll that saw fewest.
    connected: cookies of the sockets that were connected to it at the first poll.
    """

    since: float
    last: float
    polls: int
    attempts: int
    least: int
    cookies: frozenset[int] = field(repr=False)
    connected: NDArray[np.uint64] = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Connects:
    """What is remembered of each destination."""

    failing: Mapping[Place, Failing] = field(default_factory=dict)

    def seen(self, table: SocketTable, now: float, *, whole: bool) -> "Connects":
        """Return the memory after one more poll; only a whole table shows successes."""
        calling = np.flatnonzero(table.state == TcpState.SYN_SENT)
        kept = {
            place: was
            for place, was in self.failing.items()
            if now - was.last < _FORGOTTEN_AFTER_SECONDS
        }
        if not calling.size and not kept:
            return self
        by_place = _by_place(table, calling)
        connected: Mapping[Place, NDArray[np.uint64]] = {}
        if whole:
            connected = _connected(table, by_place.keys() | kept.keys())
            for place, its in connected.items():
                if place in kept and (find_cookies(kept[place].connected, its) < 0).any():
                    by_place.pop(place, None)
                    kept.pop(place, None)
        for place, rows in by_place.items():
            cookies = frozenset(table.cookie[rows].tolist())
            was = kept.get(place)
            if was is None:
                before = connected.get(place, np.empty(0, np.uint64))
                kept[place] = Failing(now, now, 1, len(cookies), len(cookies), cookies, before)
            else:
                kept[place] = Failing(
                    was.since,
                    now,
                    was.polls + 1,
                    was.attempts + len(cookies - was.cookies),
                    min(was.least, len(cookies)),
                    cookies,
                    was.connected,
                )
        return Connects(kept)


def place_of(table: SocketTable, row: int) -> Place:
    """Return where a socket leads."""
    return int(table.family[row]), table.remote[row].tobytes(), int(table.remote_port[row])


def _by_place(table: SocketTable, rows: NDArray[np.intp]) -> dict[Place, NDArray[np.intp]]:
    """Divide the rows by destination; no more than the largest are returned."""
    if not rows.size:
        return {}
    called = kinds(*table.remote_ends(rows))
    top = np.argsort(-called.counts(), kind="stable")[:_MOST]
    parts = (rows[called.which == kind] for kind in top.tolist())
    return {place_of(table, int(part[0])): part for part in parts}


def _connected(table: SocketTable, places: set[Place]) -> dict[Place, NDArray[np.uint64]]:
    """Return the cookies, sorted, of the sockets that are, or were, connected to the places."""
    ports = np.zeros(1 << 16, np.bool_)
    ports[[port for _, _, port in places]] = True
    others = ports[table.remote_port]
    others &= ~np.isin(table.state, (TcpState.SYN_SENT, TcpState.CLOSE, TcpState.LISTEN))
    rows = np.flatnonzero(others)
    if not rows.size:
        return {}
    ordered = sorted(places)
    families, addresses, ports_of = zip(*ordered, strict=True)
    remote = np.frombuffer(b"".join(addresses), np.uint32).reshape(-1, 4)
    family = np.concatenate([table.family[rows], np.array(families, np.uint8)])
    which = kinds(
        family,
        np.concatenate([table.remote_port[rows], np.array(ports_of, np.uint16)]),
        *(np.concatenate([table.remote[rows, n], remote[:, n]]) for n in words_of(family)),
    ).which
    called, wanted = which[: rows.size], which[rows.size :]
    is_wanted = np.zeros(which.size, np.bool_)
    is_wanted[wanted] = True
    near = is_wanted[called]
    cookies, called = table.cookie[rows[near]], called[near]
    return {
        place: np.sort(cookies[called == kind])
        for place, kind in zip(ordered, wanted.tolist(), strict=True)
        if (called == kind).any()
    }
