"""How many sockets each owner has, by state: from the cgroup that the kernel tells of each socket.

No process is looked at. Who holds a socket in TIME_WAIT the kernel no longer knows.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sockmon.model.distinct import distinct
from sockmon.model.newcomers import Ranked
from sockmon.model.states import RESTING_STATES, STATE_SLOTS, TcpState
from sockmon.model.table import SocketTable

#: Owners with figures of their own; one that is no longer among them stays ten minutes.
OWNERS_SHOWN = 20
#: With those that stay, there are at most so many.
OWNERS_KEPT = 2 * OWNERS_SHOWN
#: The cgroups of so many sockets at most are named, those with most sockets.
_CGROUPS_NAMED = 200

_RESTING = np.isin(np.arange(STATE_SLOTS), RESTING_STATES)


@dataclass(frozen=True, slots=True)
class OwnerSockets:
    """The sockets of one owner by state; owner None: of all others, and without one."""

    owner: str | None
    states: Mapping[TcpState, int]


@dataclass(frozen=True, slots=True)
class CgroupCounts:
    """Sockets by cgroup id (sorted; 0: none known) and state."""

    ids: NDArray[np.uint64] = field(default_factory=lambda: np.empty(0, np.uint64))
    states: NDArray[np.int64] = field(default_factory=lambda: np.empty((0, STATE_SLOTS), np.int64))

    def of(self, table: SocketTable) -> "CgroupCounts":
        """Count a table; these are the counts before, whose cgroups are looked for first."""
        ids = self.ids
        # Sorting all ids would cost more than all the rest: nearly all were there before.
        places = _places(ids, table.cgroup_id)
        if places is None:
            ids = distinct(table.cgroup_id).astype(np.uint64)
            places = np.searchsorted(ids, table.cgroup_id)
        codes = places * STATE_SLOTS + table.state
        counts = np.bincount(codes, minlength=ids.size * STATE_SLOTS).reshape(-1, STATE_SLOTS)
        there = counts.any(axis=1)
        return CgroupCounts(ids[there], counts[there])

    def at_rest(self) -> "CgroupCounts":
        """Return those of sockets at rest."""
        return CgroupCounts(self.ids, np.where(_RESTING, self.states, 0))

    def plus(self, other: "CgroupCounts") -> "CgroupCounts":
        """Add the sockets of two tables that have none in common."""
        ids = distinct(np.concatenate([self.ids, other.ids]))
        states = np.zeros((ids.size, STATE_SLOTS), np.int64)
        for each in (self, other):
            states[np.searchsorted(ids, each.ids)] += each.states
        return CgroupCounts(ids, states)

    def largest(self) -> frozenset[int]:
        """Return the ids with most sockets, as many as are named."""
        order = np.argsort(-self.states.sum(axis=1), kind="stable")[:_CGROUPS_NAMED]
        return frozenset(self.ids[order].tolist()) - {0}


def _places(ids: NDArray[np.uint64], wanted: NDArray[np.uint64]) -> NDArray[np.intp] | None:
    """Return where each stands among the sorted ids; None if one does not."""
    if not ids.size:
        return None if wanted.size else np.empty(0, np.intp)
    places = np.minimum(np.searchsorted(ids, wanted), ids.size - 1)
    return places if bool((ids[places] == wanted).all()) else None


@dataclass(frozen=True, slots=True)
class OwnerSeries:
    """Which owners have figures, as series.SeriesMemory has it of ports: without churn.

    shown: when each was last in rank (monotonic seconds), and the states that it has shown.
    """

    shown: Mapping[str | None, tuple[float, frozenset[TcpState]]] = field(default_factory=dict)
    names: Ranked[str] = field(default_factory=Ranked)

    def seen(
        self, counts: CgroupCounts, names: Mapping[int, str | None], now: float
    ) -> tuple[tuple[OwnerSockets, ...], "OwnerSeries"]:
        """Return one poll's figures, and the memory after it; names: of cgroups, by id."""
        totals: dict[str | None, NDArray[np.int64]] = {}
        for cgroup, states in zip(counts.ids.tolist(), counts.states, strict=True):
            owner = names.get(cgroup)
            totals[owner] = totals.get(owner, 0) + states
        named = [owner for owner in totals if owner is not None]
        named.sort(key=lambda owner: -int(totals[owner].sum()))
        ranks = self.names.seen(named[:OWNERS_SHOWN], now, OWNERS_KEPT)
        ranked = ranks.at
        rest = sum((n for owner, n in totals.items() if owner not in ranked), _NONE)
        chosen: list[tuple[str | None, float, NDArray[np.int64]]] = [
            (owner, at, totals.get(owner, _NONE)) for owner, at in ranked.items()
        ]
        if rest.any() or None in self.shown:
            chosen.append((None, now, rest))
        memory = {}
        found = []
        for owner, at, states in chosen:
            _, before = self.shown.get(owner, (at, frozenset()))
            kept = before | {state for state in TcpState if states[state]}
            memory[owner] = at, kept
            found.append(OwnerSockets(owner, {state: int(states[state]) for state in sorted(kept)}))
        return tuple(found), OwnerSeries(memory, ranks)


_NONE = np.zeros(STATE_SLOTS, np.int64)
