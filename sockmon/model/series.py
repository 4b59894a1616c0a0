"""Which (direction, port) groups get series of their own, and for how long, without churn.

The `top` largest groups are shown, with those of `always`, and no more new ones than newcomers.py
allows: the largest first, while the others are folded. A group stays for ten minutes after it
has fallen out of rank, and a state it has once shown stays with it, at zero. All others are
folded into one group a direction. So are groups whose port nobody chose: a client's ephemeral port
must never become a label.
"""

from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sockmon.model.counts import GroupKey, Groups, PortGroup
from sockmon.model.direction import DIRECTIONS
from sockmon.model.newcomers import KEPT_FOR_SECONDS, Newcomers
from sockmon.model.states import STATE_SLOTS, TcpState

#: However fast ranks churn, no more than this many times `top` groups are shown.
KEPT_TIMES_TOP = 4
#: So many sockets must share an ephemeral port before it counts as a service's. Listeners do not
#: count. Those in TIME_WAIT outlive their connection by a minute, in which ports are used again by
#: chance, so it takes more of them.
SHARED_BY, SHARED_BY_CLOSED = 3, 10


@dataclass(frozen=True, slots=True)
class Shown:
    """What is remembered of one group: when it was last in rank, and the states it has shown."""

    ranked_at: float
    states: frozenset[TcpState]


@dataclass(frozen=True, slots=True)
class Folded:
    """One poll's groups as they are shown; `folded` groups are inside those with port None."""

    groups: tuple[PortGroup, ...]
    folded: int


@dataclass(frozen=True, slots=True)
class SeriesMemory:
    """The groups shown so far."""

    shown: dict[GroupKey, Shown] = field(default_factory=dict)
    newcomers: Newcomers = field(default_factory=Newcomers)

    def fold(
        self,
        groups: Groups,
        now: float,
        top: int,
        always: Collection[int],
        nameless: NDArray[np.bool_] | None = None,
    ) -> tuple[Folded, "SeriesMemory"]:
        """Choose what is shown of this poll (`now` in monotonic seconds).

        nameless: mask over all ports, those that no group may be shown under.
        """
        newcomers = self.newcomers.refilled(now, KEPT_TIMES_TOP * top)
        chosen = self._choose(groups, now, top, always, nameless, newcomers.room)
        begun = sum(key not in self.shown and key.port not in always for key in chosen)
        keys = list(chosen)
        rows = groups.rows(keys)
        memory: dict[GroupKey, Shown] = {}
        result = [
            self._show(key, chosen[key], groups, [] if row is None else [row], memory)
            for key, row in zip(keys, rows, strict=True)
        ]
        rest = np.ones(len(groups.codes), np.bool_)
        rest[[row for row in rows if row is not None]] = False
        for direction in DIRECTIONS:
            other = GroupKey(direction, None)
            inside = np.flatnonzero(rest & groups.of_direction(direction)).tolist()
            if inside or other in self.shown:
                result.append(self._show(other, now, groups, inside, memory))
        folded = Folded(tuple(result), int(rest.sum()))
        return folded, SeriesMemory(memory, newcomers.spent(begun))

    def _choose(
        self,
        groups: Groups,
        now: float,
        top: int,
        always: Collection[int],
        nameless: NDArray[np.bool_] | None,
        room: int,
    ) -> dict[GroupKey, float]:
        """Return the groups to show, with the time each was last in rank. room: for new ones."""
        totals = groups.states.sum(axis=1)
        if nameless is not None:
            connections = totals - groups.states[:, TcpState.LISTEN]
            shared = connections - groups.states[:, TcpState.TIME_WAIT] >= SHARED_BY
            shared |= connections >= SHARED_BY_CLOSED
            totals = np.where(nameless[groups.codes & np.uint32(0xFFFF)] & ~shared, 0, totals)
        ranked = np.argsort(-totals, kind="stable")[:top].tolist()
        chosen: dict[GroupKey, float] = {}
        for key in (groups.key(row) for row in ranked if totals[row]):
            if key in self.shown or room > 0:
                room -= key not in self.shown
                chosen[key] = now
        wanted = [GroupKey(direction, port) for port in always for direction in DIRECTIONS]
        for key, row in zip(wanted, groups.rows(wanted), strict=True):
            if row is not None or key in self.shown:
                chosen[key] = now
        earlier = sorted(
            (
                (was.ranked_at, key)
                for key, was in self.shown.items()
                if key not in chosen and key.port is not None
                if now - was.ranked_at < KEPT_FOR_SECONDS
            ),
            key=lambda item: -item[0],
        )
        kept = max(0, KEPT_TIMES_TOP * top - len(chosen))
        chosen.update({key: ranked_at for ranked_at, key in earlier[:kept]})
        return chosen

    def _show(
        self,
        key: GroupKey,
        ranked_at: float,
        groups: Groups,
        rows: list[int],
        memory: dict[GroupKey, Shown],
    ) -> PortGroup:
        """Sum the rows into one group, and remember it."""
        counts = groups.states[rows].sum(axis=0).tolist() if rows else [0] * STATE_SLOTS
        before = self.shown[key].states if key in self.shown else frozenset()
        states = before | {state for state in TcpState if counts[state]}
        memory[key] = Shown(ranked_at, states)
        return PortGroup(
            key,
            {state: counts[state] for state in sorted(states)},
            int(groups.receive_queue[rows].sum()),
            int(groups.send_queue[rows].sum()),
        )
