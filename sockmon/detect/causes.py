"""Which finding causes which: one trouble is shown as one, its cause above its symptoms.

Both ends of a connection within one host are in the same table. Where the other ends of a finding's
sockets are the sockets of another finding, the latter may be the cause.
"""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from sockmon.model.detector_input import DetectorInput
from sockmon.model.finding import Finding, FindingKey
from sockmon.model.other_end import other_end
from sockmon.model.states import TcpState

#: By detector: whose findings cause its own, when they are about the other ends.
_OTHER_END: dict[str, tuple[str, ...]] = {
    "unsent_data": ("unread_data", "close_wait_leak"),
    "closing_stalled": ("unread_data", "close_wait_leak"),
    "fin_wait2_stuck": ("close_wait_leak", "accept_queue"),
}
#: By detector: whose findings cause its own, when they are of the same process.
_SAME_PROCESS: dict[str, tuple[str, ...]] = {
    "accept_queue": ("descriptor_pressure",),
}
#: Of a relay: what it suffers while the application behind it is stuck.
_RELAY_SUFFERS = ("close_wait_leak", "unread_data", "accept_queue")
_APPLICATION_STUCK = ("accept_queue", "unread_data", "close_wait_leak")
_CONNECT, _QUEUE = "connect_stalled", "accept_queue"


def with_causes(findings: Iterable[Finding], data: DetectorInput) -> tuple[Finding, ...]:
    """Return the findings, each with the key of the one that causes it, if there is one."""
    found = tuple(findings)
    return tuple(replace(each, cause=_cause(each, found, data)) for each in found)


def _cause(symptom: Finding, found: tuple[Finding, ...], data: DetectorInput) -> FindingKey | None:
    for other in found:
        if other is symptom:
            continue
        if other.detector in _OTHER_END.get(symptom.detector, ()) and _faces(symptom, other, data):
            return other.key
        if other.detector in _SAME_PROCESS.get(symptom.detector, ()) and _same(symptom, other):
            return other.key
        leads = symptom.detector == _CONNECT and other.detector == _QUEUE
        if leads and _leads_to(symptom, other, data):
            return other.key
        if _waits_for(symptom, other, data):
            return other.key
    return None


def _faces(symptom: Finding, other: Finding, data: DetectorInput) -> bool:
    """Whether most of the symptom's other ends are sockets of the other finding."""
    if symptom.rows is None or other.rows is None:
        return False
    ends = other_end(data.table, symptom.rows)
    return 2 * int(np.isin(ends, other.rows).sum()) >= ends.size


def _same(symptom: Finding, other: Finding) -> bool:
    """Whether both are of one process."""
    return bool(_pids(symptom) & _pids(other))


def _pids(finding: Finding) -> set[int]:
    return {process.pid for process in finding.owner.processes} if finding.owner else set()


def _leads_to(symptom: Finding, queue: Finding, data: DetectorInput) -> bool:
    """Whether connects that get no answer go to this host's own port, whose queue is full."""
    if symptom.rows is None or symptom.subject.port != queue.subject.port:
        return False
    table = data.table
    own = np.flatnonzero(table.state == TcpState.LISTEN)
    own = own[table.local_port[own] == queue.subject.port]
    here = np.concatenate([table.local[table.state != TcpState.LISTEN], table.local[own]])
    words = np.unique(np.ascontiguousarray(here), axis=0)
    remote = table.remote[symptom.rows]
    is_here = (remote[:, None, :] == words[None, :, :]).all(axis=2).any(axis=1)
    return 2 * int(is_here.sum()) >= symptom.rows.size


def _waits_for(relay: Finding, application: Finding, data: DetectorInput) -> bool:
    """Whether a relay's trouble is that it waits for an application here which is stuck.

    The relay holds the other ends of the application's stuck connections.
    """
    if relay.detector not in _RELAY_SUFFERS or application.detector not in _APPLICATION_STUCK:
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
