"""A namespace's diagnosis -> samples."""

from sockmon.detect.registry import ALL
from sockmon.export.families import (
    AGED_SOCKETS,
    CLOSE_WAIT_OLDEST,
    CLOSE_WAIT_STALE,
    CLOSE_WAIT_UNREAD,
    COUNTED,
    FINDINGS,
    OWNER_DESCRIPTORS,
    OWNER_DESCRIPTORS_LIMIT,
    UDP_DROPS,
    UNIX_ACCEPT_QUEUE_CONNECTIONS,
    UNIX_ACCEPT_QUEUE_LIMIT,
)
from sockmon.export.family import Samples
from sockmon.model.ages import AGE_BOUNDS
from sockmon.model.finding import SEVERITIES
from sockmon.model.names import OTHER
from sockmon.model.observation import Diagnosis


def add(samples: Samples, netns: str, diagnosis: Diagnosis) -> None:
    """Add ages and findings; every detector is always present."""
    for state, counts in diagnosis.ages.items():
        older = sum(counts)
        for bound, count in zip(AGE_BOUNDS, counts, strict=False):
            older -= count
            samples.add(AGED_SOCKETS, (netns, state.label, f"{bound:g}"), older)
    samples.add(CLOSE_WAIT_OLDEST, (netns,), diagnosis.oldest_close_wait)
    _add_stale(samples, netns, diagnosis)
    for family in COUNTED:
        for group in diagnosis.counted.get(family.name, ()):
            samples.add(family, (netns, group.direction, _port(group.port)), group.sockets)
    for owner in diagnosis.descriptors:
        samples.add(OWNER_DESCRIPTORS, (netns, owner.owner), owner.used)
        samples.add(OWNER_DESCRIPTORS_LIMIT, (netns, owner.owner), owner.limit)
    for queue in diagnosis.unix_queues:
        samples.add(UNIX_ACCEPT_QUEUE_CONNECTIONS, (netns, queue.path), queue.length)
        samples.add(UNIX_ACCEPT_QUEUE_LIMIT, (netns, queue.path), queue.limit)
    for port, dropped in diagnosis.dropped_datagrams.items():
        samples.add(UDP_DROPS, (netns, OTHER if port is None else str(port)), dropped)
    _add_findings(samples, netns, diagnosis)


def _add_findings(samples: Samples, netns: str, diagnosis: Diagnosis) -> None:
    silent = diagnosis.unavailable | diagnosis.inapplicable
    for detector in ALL:
        for severity in SEVERITIES:
            count = sum(
                (found.detector, found.severity) == (detector.name, severity)
                for found in diagnosis.findings
            )
            if count or detector.name not in silent:
                samples.add(FINDINGS, (netns, detector.name, severity), count)


def _add_stale(samples: Samples, netns: str, diagnosis: Diagnosis) -> None:
    port: tuple[str, str]
    sockets: dict[tuple[str, str, str], int] = {}
    unread: dict[tuple[str, str], int] = {}
    for group in diagnosis.stale:
        port = group.direction, _port(group.port)
        sockets[*port, group.owner] = sockets.get((*port, group.owner), 0) + group.sockets
        unread[port] = unread.get(port, 0) + group.unread_bytes
    for direction, number, owner in diagnosis.mended:
        port = direction, _port(number)
        sockets.setdefault((*port, owner), 0)
        unread.setdefault(port, 0)
    for labels, count in sockets.items():
        samples.add(CLOSE_WAIT_STALE, (netns, *labels), count)
    for port, count in unread.items():
        samples.add(CLOSE_WAIT_UNREAD, (netns, *port), count)


def _port(port: int | None) -> str:
    return OTHER if port is None else str(port)
