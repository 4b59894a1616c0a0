"""Counts for a while how connections open, fail and close, for `sockmon count --events`."""

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

import numpy as np

from sockmon.kernel.errors import KernelError
from sockmon.kernel.events.loader import EventCounter
from sockmon.kernel.interfaces import Source
from sockmon.kernel.netlink.source import KernelSource
from sockmon.kernel.netns.discovery import own_inode
from sockmon.kernel.netns.tracker import NamespaceTracker
from sockmon.model.connection_events import PortEvents
from sockmon.model.direction import Listened
from sockmon.model.limits import DEFAULT_PORT_RANGE, PortRange
from sockmon.model.names import HOST, OTHER
from sockmon.poll.event_totals import EventTotals
from sockmon.poll.events import by_name

_READ_EVERY_SECONDS = 0.5
#: (direction, port) groups of a namespace that are counted one by one.
_TOP = 1000


@dataclass(frozen=True, slots=True)
class CountedEvents:
    """seconds: how long it was counted. hints: what was not seen, and why."""

    seconds: float
    by_namespace: dict[str, tuple[PortEvents, ...]]
    hints: tuple[str, ...] = ()


def count_events(source: KernelSource, seconds: float, *, everywhere: bool) -> CountedEvents:
    """Count for so many seconds, or until KeyboardInterrupt; raises KernelError.

    everywhere: in all network namespaces, else in the source's own.
    """
    hints: list[str] = []
    names = {own_inode(source.proc): HOST}
    listeners = [(inode, port) for inode in names for port in _listened(source)]
    ranges = {HOST: _port_range(source)}
    if everywhere:
        _add_others(source, names, listeners, ranges, hints)
    totals = EventTotals()
    with closing(EventCounter.loaded(listeners)) as counter:
        begun = time.monotonic()
        try:
            for now in _moments(begun, seconds):
                counted = by_name(counter.read(now), names)
                totals.add(counted, now, _TOP, ranges.get)
        except KeyboardInterrupt:
            totals.add(by_name(counter.read(time.monotonic()), names), begun, _TOP, ranges.get)
        seconds = time.monotonic() - begun
    found = dict(totals.by_namespace())
    if not everywhere:
        others = sum(its.counts.connections for its in found.pop(OTHER, ()))
        if others:
            ends = "end of a connection" if others == 1 else "ends of connections"
            hints.append(
                f"{others:,} {ends} in other network namespaces not shown: --namespaces all"
            )
    return CountedEvents(seconds, found, tuple(hints))


def _moments(begun: float, seconds: float) -> Iterator[float]:
    """Yield the time, twice a second and at the end."""
    while (now := time.monotonic()) < begun + seconds:
        yield now
        time.sleep(min(_READ_EVERY_SECONDS, max(0.0, begun + seconds - now)))
    yield now


def _listened(source: Source) -> list[int]:
    return np.flatnonzero(Listened().seen(source.tcp(source.families())).ports).tolist()


def _port_range(source: Source) -> PortRange:
    try:
        return source.port_range()
    except KernelError:
        return DEFAULT_PORT_RANGE


def _add_others(
    source: KernelSource,
    names: dict[int, str],
    listeners: list[tuple[int, int]],
    ranges: dict[str, PortRange],
    hints: list[str],
) -> None:
    tracker = NamespaceTracker(source)
    with closing(tracker):
        for other in tracker.look():
            inode = other.place.inode
            if inode is None:
                continue
            names[inode] = other.name
            try:
                if other.occupied():
                    inside = other.open()
                    listeners += [(inode, port) for port in _listened(inside)]
                    ranges[other.name] = _port_range(inside)
            except KernelError as error:
                if error.reason != "gone":
                    hints.append(f"netns {other.name}: {error}")
        hints += tracker.unseen()
