"""Connection attempts by destination, from poll to poll: does any of them succeed?

A short connect timeout hides a dead destination: no attempt lives to its second retransmission. But
there are attempts at every poll, new ones each time, and no socket to that destination in any other
state.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sockmon.model.states import TcpState
from sockmon.model.table import SocketTable

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
    """

    since: float
    last: float
    polls: int
    attempts: int
    least: int
    cookies: frozenset[int] = field(repr=False)


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
        if whole:
            for place in _reached(table, by_place.keys() | kept.keys()):
                by_place.pop(place, None)
                kept.pop(place, None)
        for place, rows in by_place.items():
            cookies = frozenset(table.cookie[rows].tolist())
            was = kept.get(place)
            if was is None:
                kept[place] = Failing(now, now, 1, len(cookies), len(cookies), cookies)
            else:
                kept[place] = Failing(
                    was.since,
                    now,
                    was.polls + 1,
                    was.attempts + len(cookies - was.cookies),
                    min(was.least, len(cookies)),
                    cookies,
                )
        return Connects(kept)


def place_of(table: SocketTable, row: int) -> Place:
    """Return where a socket leads."""
    return int(table.family[row]), table.remote[row].tobytes(), int(table.remote_port[row])


def _by_place(table: SocketTable, rows: NDArray[np.intp]) -> dict[Place, NDArray[np.intp]]:
    """Divide the rows by destination; no more than the largest are returned."""
    if not rows.size:
        return {}
    words = np.column_stack(
        [table.remote[rows], table.remote_port[rows].astype(np.uint32), table.family[rows]]
    )
    _, which, counts = np.unique(words, axis=0, return_inverse=True, return_counts=True)
    which = which.ravel()
    top = np.argsort(-counts, kind="stable")[:_MOST]
    parts = (rows[which == at] for at in top.tolist())
    return {place_of(table, int(part[0])): part for part in parts}


def _reached(table: SocketTable, places: set[Place]) -> set[Place]:
    """Return those of the places to which some socket is, or was, connected."""
    ports = np.zeros(1 << 16, np.bool_)
    ports[[port for _, _, port in places]] = True
    others = ports[table.remote_port]
    others &= ~np.isin(table.state, (TcpState.SYN_SENT, TcpState.CLOSE, TcpState.LISTEN))
    rows = np.flatnonzero(others)
    if not rows.size:
        return set()
    words = np.column_stack(
        [table.remote[rows], table.remote_port[rows].astype(np.uint32), table.family[rows]]
    )
    _, first = np.unique(words, axis=0, return_index=True)
    return {place_of(table, row) for row in rows[first].tolist()} & places
