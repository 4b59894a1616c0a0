"""Which finding causes which: one trouble is shown as one, its cause above its symptoms.

Both ends of a connection within one host are in the same table. Where the other ends of a finding's
sockets are the sockets of another finding, the latter may be the cause.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from sockmon.detect.detector import Fault, Link
from sockmon.detect.registry import BY_NAME
from sockmon.model.detector_input import DetectorInput
from sockmon.model.finding import Finding
from sockmon.model.other_end import is_here, mostly_here, other_end

#: The faults with which an application keeps a relay before it waiting.
_STUCK: frozenset[Fault | None] = frozenset(("does_not_accept", "does_not_read", "does_not_close"))


def with_causes(findings: Iterable[Finding], data: DetectorInput) -> tuple[Finding, ...]:
    """Return the findings, each with the key of the one that causes it, if there is one."""
    found = tuple(findings)
    causes = [_cause(each, found, data) for each in found]
    for place in range(len(found)):
        circle = _circle(causes, place)
        if circle:  # each waits for the next: the worst is shown, with the others as its symptoms
            first = min(circle, key=lambda at: (found[at].severity != "critical", at))
            causes[first] = None
    return tuple(
        each if cause is None else replace(each, cause=found[cause].key)
        for each, cause in zip(found, causes, strict=True)
    )


def without_the_found(notes: Iterable[Finding], findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Return the notes, but for those about sockets that are some finding's trouble."""
    return tuple(
        note for note in notes if not any(_same_sockets(note, found) for found in findings)
    )


def _circle(causes: Sequence[int | None], place: int) -> list[int]:
    """Return the circle of causes that a finding is in; empty if it is in none."""
    passed: list[int] = []
    at: int | None = place
    while at is not None and at not in passed:
        passed.append(at)
        at = causes[at]
    return passed if at == place else []


def _cause(symptom: Finding, found: tuple[Finding, ...], data: DetectorInput) -> int | None:
    for place, other in enumerate(found):
        if other is symptom:
            continue
        fault = BY_NAME[other.detector].fault
        links = (link for link, cause in BY_NAME[symptom.detector].caused_by if cause == fault)
        if any(_is_linked(link, symptom, other, data) for link in links):
            return place
        if _waits_for(symptom, other, data):
            return place
    return None


def _is_linked(link: Link, symptom: Finding, other: Finding, data: DetectorInput) -> bool:
    match link:
        case "other_end":
            return _faces(symptom, other, data)
        case "same_process":
            return _same(symptom, other)
        case "other_side":
            return _relays(symptom, other)
        case "destination":
            return _leads_to(symptom, other, data)
        case "same_peer":
            return _same_peer(symptom, other, data)
        case "same_sockets":
            return _same_sockets(symptom, other)


def _faces(symptom: Finding, other: Finding, data: DetectorInput) -> bool:
    """Whether most of the symptom's other ends are sockets of the other finding."""
    if symptom.rows is None or other.rows is None:
        return False
    ends = other_end(data.table, symptom.rows)
    return 2 * int(np.isin(ends, other.rows).sum()) >= ends.size


def _same(symptom: Finding, other: Finding) -> bool:
    """Whether both are of one process, or of one owner that has more of them than are named."""
    if symptom.owner is None or other.owner is None:
        return False
    many = bool(symptom.owner.more and other.owner.more)
    return bool(_pids(symptom) & _pids(other)) or (
        many and symptom.owner.label == other.owner.label
    )


def _relays(symptom: Finding, other: Finding) -> bool:
    """Whether a relay has both, on its two sides, and as many waiting on the other one."""
    if symptom.rows is None or other.rows is None or not _same(symptom, other):
        return False
    one, another = symptom.subject, other.subject
    sides_differ = (one.direction, one.port) != (another.direction, another.port)
    return sides_differ and 2 * other.rows.size >= symptom.rows.size


def _pids(finding: Finding) -> set[int]:
    return {process.pid for process in finding.owner.processes} if finding.owner else set()


def _same_peer(symptom: Finding, other: Finding, data: DetectorInput) -> bool:
    """Whether most of the symptom's sockets have a peer of the other finding.

    Two services whose peers on this host have vanished have nothing in common by that.
    """
    if symptom.rows is None or other.rows is None:
        return False
    table, fault = data.table, BY_NAME[other.detector].fault
    if fault == "has_vanished" and mostly_here(table, symptom.rows):
        return False
    peers = {(int(table.family[row]), table.remote[row].tobytes()) for row in other.rows.tolist()}
    if fault == "does_not_answer":  # also those not called just now
        peers |= {its[:2] for its in data.connects.failing if its[2] == other.subject.port}
    ends = [(int(table.family[row]), table.remote[row].tobytes()) for row in symptom.rows.tolist()]
    return 2 * sum(end in peers for end in ends) >= len(ends)


def _same_sockets(symptom: Finding, other: Finding) -> bool:
    """Whether most of the symptom's sockets are the other's."""
    if symptom.rows is None or other.rows is None:
        return False
    return 2 * int(np.isin(symptom.rows, other.rows).sum()) > symptom.rows.size


def _leads_to(symptom: Finding, queue: Finding, data: DetectorInput) -> bool:
    """Whether connects that get no answer go to this host's own port, whose queue is full."""
    port = symptom.subject.port
    if symptom.rows is None or port != queue.subject.port or port is None:
        return False
    if symptom.rows.size:
        return mostly_here(data.table, symptom.rows)
    called = [place[:2] for place in data.connects.failing if place[2] == port]
    return bool(called) and all(is_here(data.table, *place) for place in called)


def _waits_for(relay: Finding, application: Finding, data: DetectorInput) -> bool:
    """Whether a relay's trouble is that it waits for an application here which is stuck.

    The relay holds the other ends of the application's stuck connections.
    """
    if not {BY_NAME[each.detector].fault for each in (relay, application)} <= _STUCK:
        return False
    if application.rows is None or relay.subject == application.subject:
        return False
    callers = {group for group, _ in application.others}
    if relay.group is None or not callers:
        return False
    holders = {
        process.pid
        for group in callers
        if (owner := data.owners.get(group)) is not None
        for process in owner.processes
    }
    return bool(_pids(relay) & holders) and not _pids(relay) & _pids(application)
