"""SYN backlog: half-open connections fill a listener's backlog, and SYNs are dropped or cookied.

The kernel counts a listener's half-open connections against the same limit as its accept queue
(inet_csk_reqsk_queue_is_full()); past it, it sends SYN cookies or, without them, drops. Only
without cookies does tcp_max_syn_backlog count: its last quarter is kept for peers already known
(net/ipv4/tcp_input.c, tcp_conn_request()).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sockmon.detect import evidence
from sockmon.detect.commands import counters, only, see, ss
from sockmon.detect.detector import (
    Detector,
    DetectorThresholds,
    Ratio,
    Rule,
    severity,
    threshold,
)
from sockmon.detect.evidence import inodes, percent
from sockmon.model.detector_input import DetectorInput
from sockmon.model.finding import (
    Advice,
    Breakdown,
    Command,
    Finding,
    FindingKey,
    Quantity,
    Severity,
    Subject,
)
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

    warning_ratio: Ratio = threshold(0.5, "of the backlog; drops without SYN cookies are critical")


def find(data: DetectorInput, thresholds: Thresholds) -> Iterator[Finding]:
    """Yield a finding for each port whose backlog fills; the fullest answers for the counters."""
    backlogs = sorted(_backlogs(data), key=lambda backlog: -backlog.ratio)
    for place, backlog in enumerate(backlogs or [_NONE_SEEN]):
        judged = _judge(data, thresholds, backlog, fullest=place == 0)
        if judged is not None:
            yield _finding(data, thresholds, backlog, judged)


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


def _backlogs(data: DetectorInput) -> Iterator[_Backlog]:
    table = data.table
    half_open = np.flatnonzero(table.state == TcpState.SYN_RECV)
    listening = np.flatnonzero(table.state == TcpState.LISTEN)
    ports = {*table.local_port[half_open].tolist()} & {*table.local_port[listening].tolist()}
    for port in sorted(ports):
        here = half_open[table.local_port[half_open] == port]
        listeners = listening[table.local_port[listening] == port]
        families = (_of_family(data, port, here, listeners, family) for family in (4, 6))
        yield max(families, key=lambda backlog: backlog.ratio)


def _of_family(
    data: DetectorInput,
    port: int,
    half_open: NDArray[np.intp],
    listening: NDArray[np.intp],
    family: int,
) -> _Backlog:
    """Several listeners share a port's load (SO_REUSEPORT); one of IPv6 can serve IPv4 too."""
    table = data.table
    own = listening[table.family[listening] == family]
    listening = own if own.size else listening
    return _Backlog(
        port,
        half_open[table.family[half_open] == family],
        listening,
        sum(_capacity(data, limit) for limit in table.send_queue[listening].tolist()),
    )


def _capacity(data: DetectorInput, limit: int) -> int:
    settings = data.limits.settings
    if settings is None or settings.syncookies:
        return limit
    return min(limit, settings.max_syn_backlog - settings.max_syn_backlog // 4)


def _judge(
    data: DetectorInput, thresholds: Thresholds, backlog: _Backlog, *, fullest: bool
) -> Severity | None:
    settings, events = data.limits.settings, data.rates.events
    key = FindingKey(NAME, data.netns, _subject(data, backlog))
    cookies = settings.syncookies if settings is not None else None
    full_is_critical = 1.0 if cookies == 0 else np.inf
    judged = severity(data, key, backlog.ratio, thresholds.warning_ratio, full_is_critical)
    drops_here = backlog.port is not None and data.rates.drops.get(backlog.port, 0.0) > 0
    if events.get("TCPReqQFullDrop", 0.0) > 0 and (fullest or (judged and drops_here)):
        return "critical"
    cookied = events.get("TCPReqQFullDoCookies", 0.0) > 0 and cookies != _ALWAYS_COOKIES
    return judged or ("warning" if fullest and cookied else None)


def _subject(data: DetectorInput, backlog: _Backlog) -> Subject:
    groups = data.groups(backlog.listening)
    return Subject("inbound", backlog.port, data.owner_label(groups[0][0]) if groups else None)


def _finding(
    data: DetectorInput, thresholds: Thresholds, backlog: _Backlog, judged: Severity
) -> Finding:
    groups = data.groups(backlog.listening)
    where = "a listener" if backlog.port is None else f"port {backlog.port}"
    return Finding(
        detector=NAME,
        severity=judged,
        netns=data.netns,
        subject=_subject(data, backlog),
        value=backlog.ratio,
        limit=thresholds.warning_ratio,
        summary=(
            f"{backlog.half_open.size} connections to {where} are half-open: "
            f"{percent(backlog.ratio)} of its backlog"
            + ("; SYNs are dropped" if judged == "critical" else "")
        ),
        evidence=_evidence(data, backlog),
        advice=_advice(data, backlog),
        group=groups[0][0] if groups else None,
        inodes=inodes(data.table, backlog.listening),
    )


def _evidence(data: DetectorInput, backlog: _Backlog) -> dict[str, Quantity | Breakdown]:
    found: dict[str, Quantity | Breakdown] = {
        "half_open": evidence.sockets(backlog.half_open.size),
        "backlog": evidence.count(backlog.capacity),
        "listeners": evidence.sockets(backlog.listening.size),
        "waiting_for_accept": evidence.count(data.table.receive_queue[backlog.listening].sum()),
        "peers": evidence.peers(data, backlog.half_open),
        "events": evidence.per_second(data.rates, _EVENTS),
    }
    if backlog.port is not None and backlog.port in data.rates.drops:
        found["drops"] = Quantity(round(data.rates.drops[backlog.port], 2), "per_second")
    settings = data.limits.settings
    if settings is not None:
        found["tcp_syncookies"] = evidence.count(settings.syncookies)
        found["tcp_max_syn_backlog"] = evidence.count(settings.max_syn_backlog)
        found["somaxconn"] = evidence.count(settings.somaxconn)
    return found


def _advice(data: DetectorInput, backlog: _Backlog) -> tuple[Advice, ...]:
    filter_ = "" if backlog.port is None else only("inbound", backlog.port)
    advice = [
        Advice(
            "Clients have sent a SYN and not finished the handshake. Many sources of one each: a "
            "SYN flood, or answers that do not find their way back. Few sources: look at those."
        ),
        see("-tno", TcpState.SYN_RECV, filter_=filter_),
        Advice(
            "Is the accept queue full (Recv-Q at Send-Q)? Then handshakes cannot finish, and the "
            "application must accept() faster.",
            Command(ss("-tlnp", filter_=filter_)),
            "look",
        ),
    ]
    settings = data.limits.settings
    if settings is None:
        return tuple(advice)
    if settings.syncookies:
        advice.append(
            counters(
                f"net.ipv4.tcp_syncookies is {settings.syncookies}: clients still get in, without "
                "some TCP options. This counts those that did not:",
                "SyncookiesFailed",
            )
        )
    else:
        advice.append(
            Advice(
                "net.ipv4.tcp_syncookies is 0, so SYNs beyond the backlog are dropped. With 1, "
                "clients get in even during a flood. Without it, net.ipv4.tcp_max_syn_backlog = "
                f"{settings.max_syn_backlog} is a bound too.",
                Command("sysctl -w net.ipv4.tcp_syncookies=1", effect="changes"),
                "stop",
            )
        )
    advice.append(
        Advice(
            "If the load is wanted: raise the backlog that the application asks for with listen(), "
            f"and net.core.somaxconn = {settings.somaxconn} with it. An unanswered SYN-ACK is kept "
            f"for net.ipv4.tcp_synack_retries = {settings.synack_retries} tries."
        )
    )
    return tuple(advice)


DETECTOR = Detector(
    name=NAME,
    about="half-open connections fill a listener's backlog",
    title="Half-open connections pile up",
    actor="The clients, or whoever floods",
    state=TcpState.SYN_RECV,
    thresholds=Thresholds,
    find=find,
    needs=("settings",),
    rule=Rule(
        summary="a listener's SYN backlog fills up",
        explanation=(
            "More handshakes are under way than the listener has room for: a burst, a SYN flood, "
            "or clients that vanish before they answer."
        ),
    ),
)
