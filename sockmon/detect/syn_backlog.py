"""SYN backlog: half-open connections fill a listener's backlog, and SYNs are dropped or cookied.

The kernel counts a listener's half-open connections against the same limit as its accept queue
(inet_csk_reqsk_queue_is_full()); past it, it sends SYN cookies or, without them, drops. Only
without cookies does tcp_max_syn_backlog count: its last quarter is kept for peers already known
(net/ipv4/tcp_input.c, tcp_conn_request()).

With TCP_DEFER_ACCEPT a connection stays in the backlog after its handshake, until the client sends
something. It looks half-open, but its SYN-ACK is not sent again (net/ipv4/inet_connection_sock.c,
syn_ack_recalc()). Clients that are slow to send are no flood.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sockmon.detect import evidence
from sockmon.detect.accepting import somaxconn
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
from sockmon.language import Text
from sockmon.model.detector_input import DetectorInput
from sockmon.model.distinct import kinds
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
#: Seconds, and a tenth for timers that are late.
_FIRST_TIMEOUT = 1.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds(DetectorThresholds):
    """Share of a listener's backlog."""

    warning_ratio: Ratio = threshold(0.5, "of the backlog; drops without SYN cookies are critical")


def find(data: DetectorInput, thresholds: Thresholds) -> Iterator[Finding]:
    """Yield a finding for each listener whose backlog fills, or that drops SYNs."""
    backlogs = sorted(_backlogs(data), key=lambda backlog: -backlog.filled) or [_NONE_SEEN]
    dropping = _dropping(data, backlogs)
    found: set[Subject] = set()
    for place, backlog in enumerate(backlogs):
        judged = _judge(data, thresholds, backlog, fullest=place == 0, drops=backlog in dropping)
        subject = _subject(data, backlog)
        if judged is not None and subject not in found:
            found.add(subject)
            yield _finding(data, thresholds, backlog, judged, drops=backlog in dropping)


@dataclass(frozen=True, slots=True, eq=False)
class _Backlog:
    """A service's port, and rows: half-open connections, deferred ones, and its listeners."""

    port: int | None
    half_open: NDArray[np.intp]
    deferred: NDArray[np.intp]
    listening: NDArray[np.intp]
    capacity: int

    @property
    def ratio(self) -> float:
        return self.half_open.size / max(self.capacity, 1)

    @property
    def filled(self) -> float:
        """As the kernel counts."""
        return (self.half_open.size + self.deferred.size) / max(self.capacity, 1)


#: The counters rise, and yet at the moment of the poll nothing is half-open anywhere.
_NO_ROWS = np.empty(0, np.intp)
_NONE_SEEN = _Backlog(None, _NO_ROWS, _NO_ROWS, _NO_ROWS, 0)


def _backlogs(data: DetectorInput) -> Iterator[_Backlog]:
    """Yield the backlog of each service; several listeners share its load (SO_REUSEPORT)."""
    table = data.table
    half_open = np.flatnonzero(table.state == TcpState.SYN_RECV)
    if not half_open.size:
        return
    listening = np.flatnonzero(table.state == TcpState.LISTEN)
    listening = listening[np.isin(table.local_port[listening], table.local_port[half_open])]
    services = dict(_by_service(data, listening))
    clients: dict[_Service, list[NDArray[np.intp]]] = {}
    for called, rows in _by_service(data, half_open):
        its = next((each for each in _may_serve(called) if each in services), None)
        if its is not None:
            clients.setdefault(its, []).append(rows)
    deferred = _deferred(data)
    for service, parts in clients.items():
        here, listeners = np.concatenate(parts), services[service]
        waits = deferred(here)
        yield _Backlog(
            service.port,
            here[~waits],
            here[waits],
            listeners,
            sum(_capacity(data, limit) for limit in table.send_queue[listeners].tolist()),
        )


class _Service(NamedTuple):
    """What listeners share by SO_REUSEPORT; address: all zeros for any."""

    port: int
    family: int
    address: bytes


_ANY = bytes(16)


def _by_service(
    data: DetectorInput, rows: NDArray[np.intp]
) -> Iterator[tuple[_Service, NDArray[np.intp]]]:
    """Divide the rows by local address and port."""
    table = data.table
    services = kinds(table.local_port[rows], *table.addresses(table.local, rows))
    for place, one in enumerate(rows[services.rows].tolist()):
        port, family = int(table.local_port[one]), int(table.family[one])
        yield _Service(port, family, table.local[one].tobytes()), rows[services.which == place]


def _may_serve(called: _Service) -> tuple[_Service, ...]:
    """Return whose listeners may serve this address, in the kernel's order of preference.

    A listener of any IPv6 address serves IPv4 too, unless it is IPV6_V6ONLY.
    """
    return called, called._replace(address=_ANY), called._replace(family=6, address=_ANY)


def _deferred(data: DetectorInput) -> Callable[[NDArray[np.intp]], NDArray[np.bool_]]:
    """Return a mask over rows: connections that TCP_DEFER_ACCEPT keeps until their client sends.

    Their SYN-ACK is not sent again when its first timeout, of a second, is over. For a younger one
    this cannot be known: it is what most of the others are.
    """
    table = data.table
    since = np.full(len(table), data.now)
    since[data.aged.rows] = data.aged.since

    def mask(rows: NDArray[np.intp]) -> NDArray[np.bool_]:
        old = data.now - since[rows] > _FIRST_TIMEOUT
        old |= table.expires[rows] > 1000 * _FIRST_TIMEOUT
        unanswered = table.retransmits[rows] > 0
        deferred: NDArray[np.bool_] = old & ~unanswered
        return ~unanswered if deferred.sum() > unanswered.sum() else deferred

    return mask


def _dropping(data: DetectorInput, backlogs: list[_Backlog]) -> list[_Backlog]:
    """Return the backlogs that drop SYNs: those whose own drops rise, as far as that is known."""
    if data.rates.events.get("TCPReqQFullDrop", 0.0) <= 0:
        return []
    rising = [
        backlog
        for backlog in backlogs
        if backlog.port is not None and data.rates.drops.get(backlog.port, 0.0) > 0
    ]
    return rising or backlogs[:1]


def _capacity(data: DetectorInput, limit: int) -> int:
    settings = data.limits.settings
    if settings is None or settings.syncookies:
        return limit
    return min(limit, settings.max_syn_backlog - settings.max_syn_backlog // 4)


def _judge(
    data: DetectorInput,
    thresholds: Thresholds,
    backlog: _Backlog,
    *,
    fullest: bool,
    drops: bool,
) -> Severity | None:
    if drops:
        return "critical"
    settings, events = data.limits.settings, data.rates.events
    key = FindingKey(NAME, data.netns, _subject(data, backlog))
    cookies = settings.syncookies if settings is not None else None
    full_is_critical = 1.0 if cookies == 0 else np.inf
    judged = severity(data, key, backlog.ratio, thresholds.warning_ratio, full_is_critical)
    cookied = events.get("TCPReqQFullDoCookies", 0.0) > 0 and cookies != _ALWAYS_COOKIES
    return judged or ("warning" if fullest and cookied else None)


def _subject(data: DetectorInput, backlog: _Backlog) -> Subject:
    groups = data.groups(backlog.listening)
    return Subject("inbound", backlog.port, data.owner_label(groups[0][0]) if groups else None)


def _finding(
    data: DetectorInput,
    thresholds: Thresholds,
    backlog: _Backlog,
    judged: Severity,
    *,
    drops: bool,
) -> Finding:
    groups = data.groups(backlog.listening)
    settings = data.limits.settings
    full = backlog.filled >= 1 and settings is not None and not settings.syncookies
    return Finding(
        detector=NAME,
        severity=judged,
        netns=data.netns,
        subject=_subject(data, backlog),
        value=backlog.ratio,
        limit=thresholds.warning_ratio,
        summary=_summary(backlog, drops=drops or full),
        evidence=_evidence(data, backlog),
        advice=_advice(data, backlog),
        group=groups[0][0] if groups else None,
        inodes=inodes(data.table, backlog.listening),
    )


def _summary(backlog: _Backlog, *, drops: bool) -> Text:
    where = Text("a listener", "某个监听 socket ")
    if backlog.port is not None:
        where = Text(f"port {backlog.port}", f"端口 {backlog.port} ")
    number, deferred = backlog.half_open.size, backlog.deferred.size
    text = Text(
        f"{number:,} connections to {where} are half-open", f"{where.zh}有 {number:,} 个半连接"
    )
    if deferred:
        text += Text(
            f", and {deferred} have sent nothing yet (TCP_DEFER_ACCEPT)",
            f"，另有 {deferred} 个还没有发送数据（TCP_DEFER_ACCEPT）",
        )
    share = percent(backlog.filled)
    text += Text(f": {share} of its backlog", f"：占半连接队列的 {share}")
    return text + Text("; SYNs are dropped", "；SYN 正被丢弃") if drops else text


def _evidence(data: DetectorInput, backlog: _Backlog) -> dict[str, Quantity | Breakdown]:
    found: dict[str, Quantity | Breakdown] = {
        "half_open": evidence.sockets(backlog.half_open.size),
        **({"deferred": evidence.sockets(backlog.deferred.size)} if backlog.deferred.size else {}),
        "backlog": evidence.count(backlog.capacity),
        "listeners": evidence.sockets(backlog.listening.size),
        "waiting_for_accept": evidence.count(data.table.receive_queue[backlog.listening].sum()),
        "peers": evidence.peers(data, np.concatenate([backlog.half_open, backlog.deferred])),
        "events": evidence.per_second(data.rates, _EVENTS),
    }
    if backlog.port is not None and backlog.port in data.rates.drops:
        found["drops"] = Quantity(round(data.rates.drops[backlog.port], 2), "per_second")
    settings = data.limits.settings
    if settings is not None:
        found["tcp_syncookies"] = evidence.count(settings.syncookies)
        found["tcp_max_syn_backlog"] = evidence.count(settings.max_syn_backlog)
    return found | somaxconn(settings)


def _advice(data: DetectorInput, backlog: _Backlog) -> tuple[Advice, ...]:
    filter_ = "" if backlog.port is None else only("inbound", backlog.port)
    flood = Text(
        "Clients have sent a SYN and not finished the handshake. Many sources of one each: a SYN "
        "flood, or answers that do not find their way back. Few sources: look at those.",
        "客户端发了 SYN 却没有完成握手。来源很多、每个一条：SYN flood，或者 SYN-ACK 回不去。来源"
        "很少：查看这些"
        "地址。",
    )
    silent = Text(
        "Clients have connected and sent nothing, and TCP_DEFER_ACCEPT keeps them in the backlog "
        "until they do. That is no flood. If they fill the backlog, let the server ask for a "
        "shorter time or none (nginx: listen without deferred), or for a larger backlog.",
        "客户端已连接但没有发数据，TCP_DEFER_ACCEPT 会把它们留在半连接队列里，直到有数据。这不是 "
        "flood。如果"
        "把队列占满，缩短或去掉这个选项（nginx：listen 去掉 deferred），或者调大 backlog。",
    )
    advice = [
        *([Advice(silent)] if backlog.deferred.size else []),
        *([Advice(flood)] if 2 * backlog.half_open.size >= backlog.deferred.size else []),
        see("-tno", TcpState.SYN_RECV, filter_=filter_),
        Advice(
            Text(
                "Is the accept queue full (Recv-Q at Send-Q)? Then handshakes cannot finish, and "
                "the application must accept() faster.",
                "全连接队列满了吗（Recv-Q 达到 Send-Q）？满了握手就无法完成，应用必须更快地 "
                "accept()。",
            ),
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
                Text(
                    f"net.ipv4.tcp_syncookies is {settings.syncookies}: clients still get in, "
                    "without some TCP options. This counts those that did not:",
                    f"net.ipv4.tcp_syncookies 为 {settings.syncookies}：客户端仍能连上，只是少一"
                    "些 TCP "
                    "选项。下面统计没连上的：",
                ),
                "SyncookiesFailed",
            )
        )
    else:
        advice.append(
            Advice(
                Text(
                    "net.ipv4.tcp_syncookies is 0, so SYNs beyond the backlog are dropped. With 1, "
                    "clients get in even during a flood. Without it, net.ipv4.tcp_max_syn_backlog "
                    f"= {settings.max_syn_backlog} is a bound too.",
                    "net.ipv4.tcp_syncookies 为 0，超出半连接队列的 SYN 会被丢弃。设为 1 后，即使"
                    "遭遇 flood "
                    "客户端也能连上。为 0 时 net.ipv4.tcp_max_syn_backlog = "
                    f"{settings.max_syn_backlog} 也是一道上限。",
                ),
                Command("sysctl -w net.ipv4.tcp_syncookies=1", effect="changes"),
                "stop",
            )
        )
    now = "" if settings.somaxconn is None else f" = {settings.somaxconn}"
    advice.append(
        Advice(
            Text(
                "If the load is wanted: raise the backlog that the application asks for with "
                f"listen(), and net.core.somaxconn{now} with it. An unanswered "
                "SYN-ACK is kept for net.ipv4.tcp_synack_retries = "
                f"{settings.synack_retries} tries.",
                "如果是正常负载：调大应用传给 listen() 的 backlog，同时调大 net.core.somaxconn"
                f"{now}。没有应答的 SYN-ACK 会重传 net.ipv4.tcp_synack_retries = "
                f"{settings.synack_retries} 次。",
            )
        )
    )
    return tuple(advice)


DETECTOR = Detector(
    name=NAME,
    about="half-open connections fill a listener's backlog",
    title=Text("Half-open connections pile up", "半连接堆积"),
    actor=Text("The clients, or the source of a SYN flood", "客户端，或 SYN flood 的来源"),
    state=TcpState.SYN_RECV,
    thresholds=Thresholds,
    find=find,
    caused_by=(("same_process", "does_not_accept"),),
    needs=("settings",),
    rule=Rule(
        summary="a listener's SYN backlog fills up",
        explanation=(
            "More handshakes are under way than the listener has room for: a burst, a SYN flood, "
            "or clients that vanish before they answer."
        ),
    ),
)
