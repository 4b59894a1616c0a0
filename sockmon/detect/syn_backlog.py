"""SYN backlog: half-open connections fill a listener's backlog, and SYNs are dropped or cookied.

The kernel counts a listener's half-open connections against the same limit as its accept queue
(inet_csk_reqsk_queue_is_full()); past it, it sends SYN cookies or, without them, drops. Only
without cookies does tcp_max_syn_backlog count: its last quarter is kept for peers already known
(net/ipv4/tcp_input.c, tcp_conn_request()).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sockmon.detect.detector import Detector, DetectorThresholds, Ratio, severity
from sockmon.detect.evidence import inodes, only, per_second, percent
from sockmon.model.detector_input import DetectorInput
from sockmon.model.finding import Finding, FindingKey, Severity, Subject
from sockmon.model.states import TcpState

NAME = "syn_backlog"

_EVENTS = (
    "TCPReqQFullDrop",
    "TCPReqQFullDoCookies",
    "SyncookiesSent",
    "SyncookiesRecv",
    "SyncookiesFailed",
    "ListenDrops",
)
_ALWAYS_COOKIES = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds(DetectorThresholds):
    """Share of a listener's backlog."""

    warning_ratio: Ratio = 0.5


def find(sight: DetectorInput, limits: Thresholds) -> Iterator[Finding]:
    """Yield a finding for each port whose backlog fills; the fullest answers for the counters."""
    backlogs = sorted(_backlogs(sight), key=lambda backlog: -backlog.ratio)
    for place, backlog in enumerate(backlogs or [_NONE_SEEN]):
        judged = _judge(sight, limits, backlog, fullest=place == 0)
        if judged is not None:
            yield _finding(sight, limits, backlog, judged)


DETECTOR = Detector(NAME, "SockmonSynBacklog", Thresholds, find)


@dataclass(frozen=True, slots=True)
class _Backlog:
    """A listening port, and the rows of its half-open connections and of its listeners."""

    port: int | None
    half_open: NDArray[np.intp]
    listening: NDArray[np.intp]
    capacity: int

    @property
    def ratio(self) -> float:
        return self.half_open.size / max(self.capacity, 1)


#: The counters rise, and yet at the moment of the poll nothing is half-open anywhere.
_NONE_SEEN = _Backlog(None, np.empty(0, np.intp), np.empty(0, np.intp), 0)


def _backlogs(sight: DetectorInput) -> Iterator[_Backlog]:
    table = sight.table
    half_open = np.flatnonzero(table.state == TcpState.SYN_RECV)
    listening = np.flatnonzero(table.state == TcpState.LISTEN)
    ports = np.intersect1d(table.local_port[half_open], table.local_port[listening])
    for port in ports.tolist():
        here = half_open[table.local_port[half_open] == port]
        listeners = listening[table.local_port[listening] == port]
        families = (_of_family(sight, port, here, listeners, family) for family in (4, 6))
        yield max(families, key=lambda backlog: backlog.ratio)


def _of_family(
    sight: DetectorInput,
    port: int,
    half_open: NDArray[np.intp],
    listening: NDArray[np.intp],
    family: int,
) -> _Backlog:
    """Several listeners share a port's load (SO_REUSEPORT); one of IPv6 can serve IPv4 too."""
    table = sight.table
    own = listening[table.family[listening] == family]
    listening = own if own.size else listening
    return _Backlog(
        port,
        half_open[table.family[half_open] == family],
        listening,
        sum(_capacity(sight, limit) for limit in table.send_queue[listening].tolist()),
    )


def _capacity(sight: DetectorInput, limit: int) -> int:
    settings = sight.limits.settings
    if settings is None or settings.syncookies:
        return limit
    return min(limit, settings.max_syn_backlog - settings.max_syn_backlog // 4)


def _judge(
    sight: DetectorInput, limits: Thresholds, backlog: _Backlog, *, fullest: bool
) -> Severity | None:
    settings, events = sight.limits.settings, sight.rates.events
    key: FindingKey = (NAME, sight.netns, _subject(sight, backlog))
    cookies = settings.syncookies if settings is not None else None
    full_is_critical = 1.0 if cookies == 0 else np.inf
    judged = severity(sight, key, backlog.ratio, limits.warning_ratio, full_is_critical)
    drops_here = backlog.port is not None and sight.rates.drops.get(backlog.port, 0.0) > 0
    if events.get("TCPReqQFullDrop", 0.0) > 0 and (fullest or (judged and drops_here)):
        return "critical"
    cookied = events.get("TCPReqQFullDoCookies", 0.0) > 0 and cookies != _ALWAYS_COOKIES
    return judged or ("warning" if fullest and cookied else None)


def _subject(sight: DetectorInput, backlog: _Backlog) -> Subject:
    groups = sight.groups(backlog.listening)
    return Subject("inbound", backlog.port, sight.owner_label(groups[0][0]) if groups else None)


def _finding(
    sight: DetectorInput, limits: Thresholds, backlog: _Backlog, judged: Severity
) -> Finding:
    groups = sight.groups(backlog.listening)
    where = "a listener" if backlog.port is None else f"port {backlog.port}"
    return Finding(
        detector=NAME,
        severity=judged,
        netns=sight.netns,
        subject=_subject(sight, backlog),
        value=backlog.ratio,
        limit=limits.warning_ratio,
        summary=(
            f"{backlog.half_open.size} connections to {where} are half-open: "
            f"{percent(backlog.ratio)} of its backlog"
            + ("; SYNs are dropped" if judged == "critical" else "")
        ),
        evidence=_evidence(sight, backlog),
        advice=_advice(sight, backlog),
        group=groups[0][0] if groups else None,
        inodes=inodes(sight.table, backlog.listening),
    )


def _evidence(sight: DetectorInput, backlog: _Backlog) -> dict[str, Any]:
    evidence: dict[str, Any] = {
        "half_open": int(backlog.half_open.size),
        "backlog": backlog.capacity,
        "listeners": int(backlog.listening.size),
        "accept_queue": int(sight.table.receive_queue[backlog.listening].sum()),
        "peers": sight.peers(backlog.half_open),
        "per_second": per_second(sight.rates, _EVENTS),
    }
    if backlog.port is not None and backlog.port in sight.rates.drops:
        evidence["drops_per_second"] = round(sight.rates.drops[backlog.port], 2)
    settings = sight.limits.settings
    if settings is not None:
        evidence["syncookies"] = settings.syncookies
        evidence["max_syn_backlog"] = settings.max_syn_backlog
        evidence["somaxconn"] = settings.somaxconn
    return evidence


def _advice(sight: DetectorInput, backlog: _Backlog) -> tuple[str, ...]:
    shown = "" if backlog.port is None else f" {only('inbound', backlog.port)}"
    advice = [
        (
            "Clients have sent a SYN and not finished the handshake. Many sources of one each: a "
            "SYN flood, or answers that do not find their way back. Few sources: look at those."
        ),
        f"See them: ss -tno state syn-recv{shown}",
        (
            f"See whether the accept queue is full (Recv-Q at Send-Q): ss -tlnp{shown}. Then "
            "handshakes cannot finish, and the application must accept() faster."
        ),
    ]
    settings = sight.limits.settings
    if settings is None:
        return tuple(advice)
    if settings.syncookies:
        advice.append(
            f"net.ipv4.tcp_syncookies is {settings.syncookies}: clients still get in, without "
            "some TCP options (nstat -az TcpExtSyncookiesFailed counts those that did not)."
        )
    else:
        advice.append(
            "net.ipv4.tcp_syncookies is 0, so SYNs beyond the backlog are dropped: sysctl "
            "net.ipv4.tcp_syncookies=1 lets clients in even during a flood. Without it, "
            f"net.ipv4.tcp_max_syn_backlog = {settings.max_syn_backlog} is a bound too."
        )
    advice.append(
        "If the load is wanted: raise the backlog that the application asks for with listen(), "
        f"and net.core.somaxconn = {settings.somaxconn} with it. An unanswered SYN-ACK is kept for "
        f"net.ipv4.tcp_synack_retries = {settings.synack_retries} tries."
    )
    return tuple(advice)
