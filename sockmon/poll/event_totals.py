"""Sums what the counting program has counted, by namespace, direction and port. Pure.

A port gets a total of its own when it is among the busiest of its namespace; from then on. What
was counted before stays where it was, in the total of all other ports, so that no total ever goes
back. A port that nobody chose, inside ip_local_port_range, needs three connections.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sockmon.model.connection_events import COLUMNS, COUNTERS, EventCounts, PortEvents, column
from sockmon.model.direction import DIRECTIONS, Direction
from sockmon.model.limits import DEFAULT_PORT_RANGE, PortRange
from sockmon.model.names import OTHER
from sockmon.model.newcomers import KEPT_FOR_SECONDS
from sockmon.model.series import KEPT_TIMES_TOP, SHARED_BY

#: Busy is who had most connections lately: what was counted so long ago counts half.
_HALF_LIFE_SECONDS = 300.0
#: No more ports than these are ranked; beyond them, the least busy are forgotten.
_RANKED_AT_MOST = 4096

Key = tuple[str, Direction, int | None]  # namespace, direction, port


@dataclass(slots=True)
class _Total:
    """busy_at: in monotonic seconds."""

    columns: NDArray[np.int64] = field(default_factory=lambda: np.zeros(COLUMNS, np.int64))
    busy_at: float = 0.0


class EventTotals:
    """The totals since the program was loaded. For one thread."""

    def __init__(self) -> None:
        self._totals: dict[Key, _Total] = {}
        self._scores: dict[Key, float] = {}
        self._scored_at = -math.inf
        self._gone: dict[tuple[str, Direction], NDArray[np.int64]] = {}
        #: How many connections ended whose opening was not seen, in all namespaces there ever were.
        self.unseen = 0

    def add(
        self,
        increments: Iterable[tuple[str, Direction, int | None, NDArray[np.int64]]],
        now: float,
        top: int,
        port_range: Callable[[str], PortRange | None],
    ) -> None:
        """Add what was counted between two polls.

        increments: namespace, OTHER for those without series; direction; port, None if it is not
        known; columns. port_range: of a namespace, None if it is not known.
        """
        self._age_scores(now)
        added: dict[Key, NDArray[np.int64]] = {}
        for netns, direction, port, columns in increments:
            key = netns, direction, None if netns == OTHER else port
            added[key] = added[key] + columns if key in added else columns
        for key, columns in added.items():
            if key[2] is not None:
                number = float(columns[: len(COUNTERS)].sum())
                self._scores[key] = self._scores.get(key, 0.0) + number
        for netns in {netns for netns, _, _ in added if netns != OTHER}:
            self._promote(netns, now, top, port_range(netns) or DEFAULT_PORT_RANGE)
        for (netns, direction, port), columns in added.items():
            own = self._totals.get((netns, direction, port))
            if own is None:
                own = self._totals.setdefault((netns, direction, None), _Total())
            own.columns += columns
            self.unseen += int(columns[column("unseen")])
            own.busy_at = now

    def forget(self, namespaces: Iterable[str]) -> None:
        """Forget all namespaces but these."""
        kept = {*namespaces, OTHER}
        self._totals = {key: its for key, its in self._totals.items() if key[0] in kept}
        self._scores = {key: its for key, its in self._scores.items() if key[0] in kept}
        self._gone = {key: its for key, its in self._gone.items() if key[0] in kept}

    def gone(self) -> Mapping[tuple[str, Direction], EventCounts]:
        """Return what was counted in totals that have ended, by namespace and direction."""
        return {key: EventCounts(tuple(its.tolist())) for key, its in self._gone.items()}

    def by_namespace(self) -> Mapping[str, tuple[PortEvents, ...]]:
        """Return the totals, by namespace; those of other ports last."""
        found: dict[str, list[PortEvents]] = {}
        ordered = sorted(
            self._totals.items(),
            key=lambda item: (DIRECTIONS.index(item[0][1]), item[0][2] is None, item[0][2] or 0),
        )
        for (netns, direction, port), its in ordered:
            counts = EventCounts(tuple(its.columns.tolist()))
            found.setdefault(netns, []).append(PortEvents(direction, port, counts))
        return {netns: tuple(events) for netns, events in found.items()}

    def _age_scores(self, now: float) -> None:
        factor = 0.5 ** ((now - self._scored_at) / _HALF_LIFE_SECONDS)
        self._scored_at = now
        aged = {key: score * factor for key, score in self._scores.items() if score > 0.01}
        if len(aged) > _RANKED_AT_MOST:
            most = sorted(aged, key=lambda key: -aged[key])[:_RANKED_AT_MOST]
            aged = {key: aged[key] for key in most}
        self._scores = aged

    def _promote(self, netns: str, now: float, top: int, port_range: PortRange) -> None:
        """Give totals of their own to the busiest ports of a namespace, as far as there is room."""
        nameless = port_range.inside()
        ranked = sorted(
            (
                (score, key)
                for key, score in self._scores.items()
                if key[0] == netns
                and key[2] is not None
                and (score >= SHARED_BY or not nameless[key[2]])
            ),
            key=lambda item: (-item[0], item[1][1:]),
        )[:top]
        shown = [key for key in self._totals if key[0] == netns and key[2] is not None]
        wanted = [key for _, key in ranked if key not in self._totals]
        inside = {key for _, key in ranked}
        for key in shown:
            if key not in inside and now - self._totals[key].busy_at > KEPT_FOR_SECONDS:
                ended = self._totals.pop(key).columns
                self._gone[key[:2]] = self._gone.get(key[:2], 0) + ended
        room = KEPT_TIMES_TOP * top - sum(key in self._totals for key in shown)
        for key in wanted[: max(0, room)]:
            self._totals[key] = _Total()
