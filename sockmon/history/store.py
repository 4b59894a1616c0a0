"""Keeps an hour and a day of every namespace in bounded memory; retention.py says whom closely.

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

from sockmon.history.retention import TROUBLED_SECONDS, Claim, allotted
from sockmon.history.sample import SLOTS, WIDTH, Reading, Watched, reading
from sockmon.history.snapshot import (
    SPANS,
    AlertChange,
    Depth,
    HistorySnapshot,
    NamespacePast,
    Range,
    Row,
)
from sockmon.model.counts import GroupKey, PortGroup
from sockmon.model.moment import Moment
from sockmon.model.observation import STALE_AFTER_INTERVALS, NamespaceObservation, Observation

#: How many changes of alerts are kept.
CHANGES = 200
#: So many of a poll's groups, the largest, are sure of a slot.
RANKED = 10

_NOTHING: Reading = np.full(WIDTH, np.nan, np.float32)
_NOTHING.setflags(write=False)


class History:
    """Takes poll after poll. Not thread-safe; what `past` returns is immutable."""

    def __init__(self, past: HistorySnapshot | None = None) -> None:
        """Start empty, or continue `past`."""
        self._at = past.at if past else None
        self._namespaces: dict[str, _Namespace] = {}
        self._changes = deque(past.alert_changes if past else (), CHANGES)
        for name, namespace in past.namespaces.items() if past else ():
            self._namespaces[name] = _Namespace.of(namespace)

    def observe(
        self, observation: Observation, at: Moment, changes: Iterable[AlertChange] = ()
    ) -> None:
        """Take one poll, and the changes of alerts that followed from it.

        at: the poll's moment; its monotonic seconds include suspended time.
        """
        self._at = at
        self._changes.extend(changes)
        self._allot(observation, at.monotonic)
        for namespace in observation.namespaces:
            kept = self._namespaces.get(namespace.name)
            if kept is not None and namespace.looked_at in {None, observation.at}:
                kept.observe(namespace, observation, at.monotonic)  # else it was not its turn

    def past(self) -> HistorySnapshot | None:
        """Return what is kept, as an immutable value; None before the first poll."""
        if self._at is None:
            return None
        return HistorySnapshot(
            self._at,
            {name: namespace.past() for name, namespace in self._namespaces.items()},
            tuple(self._changes),
        )

    def _allot(self, observation: Observation, at: float) -> None:
        """Give each namespace the depth that there is memory for."""
        there = {namespace.name: namespace for namespace in observation.namespaces}
        claims = [self._claim(name, at, namespace) for name, namespace in there.items()]
        claims += [self._claim(name, at) for name in self._namespaces if name not in there]
        depths = allotted(claims, observation.interval)
        self._namespaces = {
            name: kept
            for name, kept in self._namespaces.items()
            if name in depths and (name in there or at - kept.last <= SPANS["day"])
        }
        for name, depth in depths.items():
            if name not in self._namespaces and name in there:
                self._namespaces[name] = _Namespace(depth)
        for name, kept in self._namespaces.items():
            kept.go_to(depths[name])

    def _claim(self, name: str, at: float, there: NamespaceObservation | None = None) -> Claim:
        kept = self._namespaces.get(name)
        return Claim(
            name,
            there=there is not None,
            troubled=(there is not None and _is_troubled(there))
            or (kept is not None and at - kept.troubled_at <= TROUBLED_SECONDS),
            kept=None if kept is None else kept.depth,
            last=at if kept is None else kept.last,
        )


@dataclass(slots=True)
class _Namespace:
    """One namespace; `last`: when it was last polled.

    watched: the group that has been out of rank for longest comes first.
    """

    depth: Depth
    rows: Mapping[Range, deque[Row]] = field(default_factory=lambda: {r: deque() for r in SPANS})
    watched: dict[GroupKey, Watched] = field(default_factory=dict)
    last: float = math.nan
    troubled_at: float = -math.inf

    @classmethod
    def of(cls, past: NamespacePast) -> "_Namespace":
        """Return the namespace that had this past."""
        hour = past.rows["hour"]
        return cls(
            past.depth,
            {r: deque(rows) for r, rows in past.rows.items()},
            dict(past.watched),
            hour[-1].at if hour else math.nan,
            past.troubled_at,
        )

    def past(self) -> NamespacePast:
        """Return what is kept."""
        rows = {r: tuple(rows) for r, rows in self.rows.items()}
        return NamespacePast(rows, dict(self.watched), self.depth, self.troubled_at)

    def go_to(self, depth: Depth) -> None:
        """Keep it at this depth from now on; earlier rows do not become finer."""
        if depth is self.depth:
            return
        for r, rows in self.rows.items():
            fitting = [_resized(row, depth.width) for row in rows]
            rows.clear()
            for row in fitting:
                _append(rows, row, depth.steps[r])
        if not depth.ports:
            self.watched.clear()
        self.depth = depth

    def observe(self, namespace: NamespaceObservation, observation: Observation, at: float) -> None:
        """Take one poll, at `at` on history's clock."""
        if _is_troubled(namespace):
            self.troubled_at = at
        if self.depth.ports and namespace.ports is not None:
            self._watch(namespace.ports.value.groups, at)
        width = self.depth.width
        values = reading(namespace, observation, self.watched, width)
        interval = max(observation.interval, namespace.beat)
        silent = at - self.last
        for r, rows in self.rows.items():
            step = self.depth.steps[r]
            if silent > max(STALE_AFTER_INTERVALS * interval, step):
                rows.append(Row(self.last + interval, _NOTHING[:width], _NOTHING[:width]))
                rows.append(Row(at, values, values))
            else:
                # Polls are not on the dot: a quarter of an interval early begins a row too.
                _append(rows, Row(at, values, values), step - min(interval, step) / 4)
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


def _append(rows: deque[Row], row: Row, step: float) -> None:
    """Add a row, or add it to the last one if that began less than a step before."""
    if rows and row.at - rows[-1].at < step:
        last = rows.pop()
        row = Row(last.at, np.fmax(last.high, row.high), np.fmin(last.low, row.low))
    rows.append(row)


def _resized(row: Row, width: int) -> Row:
    """Return the row with so many values: without its last ones, or with unknown ones more."""
    if row.high.size == width:
        return row
    high = _resized_reading(row.high, width)
    return Row(row.at, high, high if row.low is row.high else _resized_reading(row.low, width))


def _resized_reading(values: Reading, width: int) -> Reading:
    resized = _NOTHING[:width].copy()
    kept = min(width, values.size)
    resized[:kept] = values[:kept]
    return resized


def _is_troubled(namespace: NamespaceObservation) -> bool:
    return namespace.diagnosis is not None and bool(namespace.diagnosis.value.findings)
