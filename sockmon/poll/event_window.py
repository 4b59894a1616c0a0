"""What was counted in the last minutes, by namespace, direction and port. Pure.

Each (namespace, direction, port) has a slot: a row of each of the arrays. Sums are kept as buckets
come and go, so that looking at a namespace costs what has changed in it.
"""

from collections import deque
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from itertools import compress

import numpy as np
from numpy.typing import NDArray

from sockmon.model.connection_events import (
    ABORTERS,
    BUCKET_SECONDS,
    BURST_SECONDS,
    CLOSERS,
    COLUMNS,
    COUNTERS,
    FAILURES,
    WINDOW_SECONDS,
    Endings,
    EventCounts,
    RecentEvents,
    column,
)
from sockmon.model.direction import Direction

#: So many slots there are; the least busy of them give way.
SLOTS = 1024
#: So many of them give way at once.
_MADE_FREE = SLOTS // 4
#: How connections ended before counts half after this time.
_HALF_LIFE_SECONDS = 1800.0

Port = tuple[Direction, int]
_Ints = NDArray[np.int64]
_ENDED = slice(column(f"closed_{CLOSERS[0]}"), column(f"aborted_{ABORTERS[-1]}") + 1)
_OPENED = column("opened")
_FAILED = slice(column(f"failed_{FAILURES[0]}"), column(f"failed_{FAILURES[-1]}") + 1)
_ABORTED = {"inbound": column("aborted_here"), "outbound": column("aborted_there")}


@dataclass(slots=True)
class _Bucket:
    """began: in monotonic seconds. slots, columns: those with events; recent: is in `_burst`."""

    began: float
    slots: _Ints
    columns: _Ints
    recent: bool = True


class EventWindow:
    """The increments of the last five minutes. For one thread."""

    def __init__(self) -> None:
        self._began: dict[str, float] = {}
        self._slots: dict[str, dict[Port, int]] = {}
        self._free = list(range(SLOTS))
        self._buckets: deque[_Bucket] = deque()
        # By slot: what the bucket that is being filled has, and all of the window together.
        self._filling = np.zeros((SLOTS, COLUMNS), np.int64)
        self._sums = np.zeros((SLOTS, COLUMNS), np.int64)
        self._filling_since = -np.inf
        # By slot: connections that ended, those that the serving end aborted; lately, and before.
        self._burst = np.zeros((SLOTS, 2), np.int64)
        self._before = np.zeros((SLOTS, 2), np.float64)
        self._reset_column = np.zeros(SLOTS, np.int64)
        # By slot: when a connection was last counted that opened, and one that failed.
        self._last = np.full((SLOTS, 2), -np.inf)
        self._counts: dict[int, EventCounts] = {}  # those that have not changed since

    def follow(self, namespaces: Collection[str], now: float) -> None:
        """Take these from now on, and forget all others. now: in monotonic seconds."""
        for netns in self._began.keys() - set(namespaces):
            del self._began[netns]
            self._release(list(self._slots.pop(netns, {}).values()))
        for netns in namespaces:
            self._began.setdefault(netns, now)

    def add(
        self, increments: Iterable[tuple[str, Direction, int | None, _Ints]], now: float
    ) -> None:
        """Add what was counted between two polls; what is not of one port is left out."""
        if now - self._filling_since >= BUCKET_SECONDS:
            self._fill_next(now)
        slots: list[int] = []
        rows: list[_Ints] = []
        for netns, direction, port, columns in increments:
            if netns not in self._began or port is None:
                continue
            ports = self._slots.setdefault(netns, {})
            place = direction, port
            if place not in ports:
                if not self._free:
                    self._count(slots, rows, now)  # who is least busy is known only then
                    slots, rows = [], []
                    self._make_free()
                ports[place] = self._free.pop()
                self._reset_column[ports[place]] = _ABORTED[direction]
            slots.append(ports[place])
            rows.append(columns)
        self._count(slots, rows, now)

    def recent(self, netns: str, now: float) -> RecentEvents | None:
        """Return what was counted in a namespace; None if it is not followed."""
        if netns not in self._began:
            return None
        ports = self._slots.get(netns, {})
        slots = np.array(list(ports.values()), np.int64)
        changed = np.array([slot for slot in slots.tolist() if slot not in self._counts], np.int64)
        for slot, its in zip(changed.tolist(), self._sums[changed].tolist(), strict=True):
            self._counts[slot] = EventCounts(tuple(its))
        there = np.count_nonzero(self._sums[slots], axis=1).tolist()
        latest = np.count_nonzero(self._filling[slots], axis=1).tolist()
        reset = (self._burst[slots, 1] > 0).tolist()
        return RecentEvents(
            min(now - self._began[netns], WINDOW_SECONDS),
            {port: self._counts[slot] for port, slot in compress(ports.items(), there)},
            frozenset(compress(ports, latest)),
            {
                port: Endings(*self._burst[slot].tolist(), *self._before[slot].tolist())
                for port, slot in compress(ports.items(), reset)
            },
            *(dict(zip(ports, its, strict=True)) for its in self._last[slots].T.tolist()),
        )

    def _fill_next(self, now: float) -> None:
        """Close the bucket that was being filled, and let the old ones go."""
        slots = np.flatnonzero(self._filling.any(axis=1))
        if slots.size:
            self._buckets.append(_Bucket(self._filling_since, slots, self._filling[slots]))
            self._filling[slots] = 0
        self._before *= 0.5 ** (min(now - self._filling_since, 1e9) / _HALF_LIFE_SECONDS)
        self._filling_since = now
        for bucket in self._buckets:
            if bucket.recent and now - bucket.began >= BURST_SECONDS:
                bucket.recent = False
                ended = bucket.columns[:, _ENDED].sum(axis=1)
                reset = bucket.columns[range(len(bucket.slots)), self._reset_column[bucket.slots]]
                self._burst[bucket.slots] -= np.column_stack([ended, reset])
                self._before[bucket.slots] += np.column_stack([ended, reset])
        while self._buckets and now - self._buckets[0].began > WINDOW_SECONDS:
            gone = self._buckets.popleft()
            self._sums[gone.slots] -= gone.columns
            for slot in gone.slots.tolist():
                self._counts.pop(slot, None)

    def _count(self, slots: list[int], rows: list[_Ints], now: float) -> None:
        """Add rows of columns; a slot may come twice."""
        if not slots:
            return
        where, columns = np.array(slots), np.array(rows)
        ended = columns[:, _ENDED].sum(axis=1)
        reset = columns[np.arange(len(slots)), self._reset_column[where]]
        np.add.at(self._filling, where, columns)
        np.add.at(self._sums, where, columns)
        np.add.at(self._burst, where, np.column_stack([ended, reset]))
        self._last[where[columns[:, _OPENED] > 0], 0] = now
        self._last[where[columns[:, _FAILED].any(axis=1)], 1] = now
        for slot in slots:
            self._counts.pop(slot, None)

    def _make_free(self) -> None:
        """Let the least busy ports go."""
        busy = self._sums[:, : len(COUNTERS)].sum(axis=1) + self._before[:, 0]
        least = set(np.argsort(busy, kind="stable")[:_MADE_FREE].tolist())
        for ports in self._slots.values():
            for port in [port for port, slot in ports.items() if slot in least]:
                del ports[port]
        self._release(list(least))

    def _release(self, slots: list[int]) -> None:
        if not slots:
            return
        for array in (self._filling, self._sums, self._burst, self._before):
            array[slots] = 0
        self._last[slots] = -np.inf
        for bucket in self._buckets:
            kept = ~np.isin(bucket.slots, slots)
            bucket.slots, bucket.columns = bucket.slots[kept], bucket.columns[kept]
        for slot in slots:
            self._counts.pop(slot, None)
        self._free += slots
