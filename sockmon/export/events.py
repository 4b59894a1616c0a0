"""How connections opened, failed and closed -> samples, and JSON."""

from itertools import accumulate

from sockmon.export import families as declared
from sockmon.export.family import Samples
from sockmon.export.messages import observation as messages
from sockmon.model.connection_events import BOUNDS, EventCounts, Histogram, PortEvents
from sockmon.model.direction import DIRECTIONS, Direction
from sockmon.model.names import OTHER
from sockmon.model.observation import Events

_LE = (*(f"{bound:g}" for bound in BOUNDS), "+Inf")
_TIMED = {
    "connect": declared.CONNECT_DURATION,
    "close_wait": declared.CLOSE_WAIT_DURATION,
    "lifetime": declared.CONNECTION_DURATION,
}


def add(samples: Samples, events: Events) -> None:
    """Add the counters of each port, and the histograms of each direction."""
    for netns in dict.fromkeys([*events.by_namespace, *(netns for netns, _ in events.gone)]):
        ports = events.by_namespace.get(netns, ())
        for its in ports:
            _add_port(samples, netns, its, events.since)
        for direction in DIRECTIONS:
            parts = [its.counts for its in ports if its.direction == direction]
            total = sum(parts, events.gone.get((netns, direction), EventCounts()))
            _add_histograms(samples, (netns, direction), total, events.since)
    samples.add(declared.EVENTS_UNATTRIBUTED, (), events.unseen, events.since)
    samples.add(declared.EVENTS_MEMORY, (), events.in_use)


def _add_port(samples: Samples, netns: str, its: PortEvents, since: float) -> None:
    labels = netns, its.direction, OTHER if its.port is None else str(its.port)
    counts = its.counts
    samples.add(declared.CONNECTIONS_OPENED, labels, counts.opened, since)
    for reason, number in counts.failed.items():
        if number or its.direction == "outbound":
            samples.add(declared.CONNECTION_FAILURES, (*labels, reason), number, since)
    for first, number in counts.closed.items():
        samples.add(declared.CONNECTIONS_CLOSED, (*labels, first), number, since)
    for by, number in counts.aborted.items():
        samples.add(declared.CONNECTIONS_ABORTED, (*labels, by), number, since)


def _add_histograms(
    samples: Samples, labels: tuple[str, Direction], counts: EventCounts, since: float
) -> None:
    for name, family in _TIMED.items():
        times = counts.histogram(name)
        if times.count:
            buckets = [*zip(_LE, accumulate(times.buckets), strict=True)]
            samples.add_histogram(family, buckets, times.seconds, labels, since)


def rendered(events: Events, netns: str) -> messages.ConnectionEvents:
    """Render those of one namespace."""
    ports = events.by_namespace.get(netns, ())
    return {"since": events.since, "ports": [_port(its) for its in ports]}


def _port(its: PortEvents) -> messages.PortEvents:
    counts = its.counts
    return {
        "direction": its.direction,
        "port": its.port,
        "opened": counts.opened,
        "failed": {reason: number for reason, number in counts.failed.items() if number},
        "closed": dict(counts.closed),
        "aborted": dict(counts.aborted),
        "connect_seconds": _histogram(counts.histogram("connect")),
        "close_wait_seconds": _histogram(counts.histogram("close_wait")),
        "lifetime_seconds": _histogram(counts.histogram("lifetime")),
    }


def _histogram(its: Histogram) -> messages.Histogram | None:
    if not its.count:
        return None
    return {"bounds": list(BOUNDS), "counts": list(its.buckets), "sum": its.seconds}
