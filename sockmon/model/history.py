"""Keeps an hour of polls and a day of minutes, in bounded memory.

Rows are stamped on a clock that counts from boot and through suspends (CLOCK_BOOTTIME), and shown
on the wall clock of the last poll. So a wall clock that is set moves all of history with it:
nothing is lost, nothing overlaps, and every age is right.

Where several polls share a row, it keeps the highest and the lowest of each value: the peak of one
poll is still seen a day later, and so is the dip. Where polls fell out there is a row of nothing:
never a zero, and no line across the gap.
"""

import math
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from sockmon.model.counts import GroupKey, PortGroup
from sockmon.model.observation import (
    STALE_AFTER_INTERVALS,
    Moment,
    NamespaceObservation,
    Observation,
)
from sockmon.model.past import SPANS, STEPS, AlertChange, NamespacePast, Past, Range, Row
from sockmon.model.reading import SLOTS, WIDTH, Reading, Watched, reading

#: So many namespaces have a history: 6 MB each at the most, 2.5 MB at an interval of 5 s.
NAMESPACES = 3
#: So many changes of alerts are remembered.
CHANGES = 200
#: So many of a poll's groups, the largest, are sure of a slot.
RANKED = 10

_NOTHING: Reading = np.full(WIDTH, np.nan, np.float32)
_NOTHING.setflags(write=False)


class History:
    """Takes poll after poll. Not for two threads at a time; what `past` returns is for any."""

    def __init__(self, past: Past | None = None) -> None:
        """Begin anew, or go on from `past`."""
        self._at = past.at if past else None
        self._namespaces: dict[str, _Namespace] = {}
        self._changes = deque(past.alert_changes if past else (), CHANGES)
        for name, namespace in past.namespaces.items() if past else ():
            self._namespaces[name] = _Namespace.of(namespace)

    def observe(
        self, observation: Observation, at: Moment, changes: Iterable[AlertChange] = ()
    ) -> None:
        """Take one poll, and what its findings have done to the alerts.

        at: the poll's moment, its monotonic seconds counted through suspends.
        """
        self._at = at
        self._changes.extend(changes)
        for namespace in observation.namespaces:
            if namespace.looked_at not in {None, observation.at}:
                continue  # not its turn: no reading, and no gap
            if self._make_room(namespace.name, observation):
                kept = self._namespaces.setdefault(namespace.name, _Namespace())
                kept.observe(namespace, observation, at.monotonic)

    def past(self) -> Past | None:
        """Return what is kept, as it will not change; None before the first poll."""
        if self._at is None:
            return None
        return Past(
            self._at,
            {name: namespace.past() for name, namespace in self._namespaces.items()},
            tuple(self._changes),
        )

    def _make_room(self, name: str, observation: Observation) -> bool:
        """Return whether there is room; one that is not polled any more is let go for it."""
        if name in self._namespaces or len(self._namespaces) < NAMESPACES:
            return True
        polled = {namespace.name for namespace in observation.namespaces}
        gone = {name: kept.last for name, kept in self._namespaces.items() if name not in polled}
        if gone:
            del self._namespaces[min(gone, key=gone.__getitem__)]
        return bool(gone)


@dataclass(slots=True)
class _Namespace:
    """One namespace; `last`: when it was last polled.

    watched: the group that has been out of rank for longest comes first.
    """

    rows: Mapping[Range, deque[Row]] = field(default_factory=lambda: {r: deque() for r in SPANS})
    watched: dict[GroupKey, Watched] = field(default_factory=dict)
    last: float = math.nan

    @classmethod
    def of(cls, past: NamespacePast) -> "_Namespace":
        """Return the namespace that had this past."""
        hour = past.rows["hour"]
        return cls(
            {r: deque(rows) for r, rows in past.rows.items()},
            dict(past.watched),
            hour[-1].at if hour else math.nan,
        )

    def past(self) -> NamespacePast:
        """Return what is kept."""
        return NamespacePast({r: tuple(rows) for r, rows in self.rows.items()}, dict(self.watched))

    def observe(self, namespace: NamespaceObservation, observation: Observation, at: float) -> None:
        """Take one poll, at `at` on history's clock."""
        if namespace.ports is not None:
            self._watch(namespace.ports.value.groups, at)
        values = reading(namespace, observation.at, self.watched)
        interval = max(observation.interval, namespace.beat)
        silent = at - self.last
        for r, rows in self.rows.items():
            step = STEPS[r]
            if silent > max(STALE_AFTER_INTERVALS * interval, step):
                rows.append(Row(self.last + interval, _NOTHING, _NOTHING))
                rows.append(Row(at, values, values))
            # Polls are not on the dot: a quarter of an interval early begins a row all the same.
            elif rows and at - rows[-1].at < step - min(interval, step) / 4:
                row = rows.pop()
                rows.append(Row(row.at, np.fmax(row.high, values), np.fmin(row.low, values)))
            else:
                rows.append(Row(at, values, values))
            while rows[0].at < at - SPANS[r]:
                rows.popleft()
        self.last = at

    def _watch(self, groups: tuple[PortGroup, ...], at: float) -> None:
        """See that the largest groups, which come first, have slots.

        There are more slots than these, so that one that has been out of rank for longest makes
        room, and with it goes its past.
        """
        ranked = [group.key for group in groups[:RANKED] if group.key.port is not None]
        for key in sorted(ranked, key=lambda key: key not in self.watched):
            watched = self.watched.pop(key, None)
            if watched is None:
                slot = len(self.watched)
                if slot == SLOTS:
                    slot = self.watched.pop(next(iter(self.watched))).slot
                watched = Watched(slot, at)
            self.watched[key] = watched
