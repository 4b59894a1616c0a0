"""What was counted in the last minutes, by namespace, direction and port. Pure."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sockmon.model.connection_events import (
    BUCKET_SECONDS,
    COUNTERS,
    WINDOW_SECONDS,
    EventCounts,
    RecentEvents,
)
from sockmon.model.direction import Direction
from sockmon.model.names import OTHER

#: Of one namespace in one bucket, the busiest.
_PORTS_AT_MOST = 256

Port = tuple[Direction, int]
_Columns = NDArray[np.int64]


@dataclass(slots=True)
class _Bucket:
    began: float
    namespaces: dict[str, dict[Port, _Columns]] = field(default_factory=dict)


class EventWindow:
    """The increments of the last five minutes. For one thread."""

    def __init__(self, began: float) -> None:
        """began: when counting began, in monotonic seconds."""
        self._began = began
        self._buckets: deque[_Bucket] = deque()

    def add(
        self, increments: Iterable[tuple[str, Direction, int | None, _Columns]], now: float
    ) -> None:
        """Add what was counted between two polls; what is not of one port is left out."""
        if not self._buckets or now - self._buckets[-1].began >= BUCKET_SECONDS:
            self._buckets.append(_Bucket(now))
        while now - self._buckets[0].began > WINDOW_SECONDS:
            self._buckets.popleft()
        namespaces = self._buckets[-1].namespaces
        for netns, direction, port, columns in increments:
            if netns != OTHER and port is not None:
                ports = namespaces.setdefault(netns, {})
                key = direction, port
                ports[key] = ports[key] + columns if key in ports else columns
        for netns, ports in namespaces.items():
            if len(ports) > 2 * _PORTS_AT_MOST:
                busiest = sorted(ports, key=lambda key: -int(ports[key][: len(COUNTERS)].sum()))
                namespaces[netns] = {key: ports[key] for key in busiest[:_PORTS_AT_MOST]}

    def recent(self, netns: str, now: float) -> RecentEvents:
        """Return what was counted in a namespace."""
        total: dict[Port, _Columns] = {}
        for bucket in self._buckets:
            for key, columns in bucket.namespaces.get(netns, {}).items():
                total[key] = total[key] + columns if key in total else columns
        latest = self._buckets[-1].namespaces.get(netns, {}) if self._buckets else {}
        return RecentEvents(
            min(now - self._began, WINDOW_SECONDS),
            {key: EventCounts(tuple(columns.tolist())) for key, columns in total.items()},
            frozenset(latest),
        )
