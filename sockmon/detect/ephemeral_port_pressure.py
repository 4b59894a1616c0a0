"""Ephemeral port pressure: towards one destination no port is left, and connect() fails.

A forecast under `critical_exhaustion` counts only from `forecast_ratio` of the ports on, and only
for its own destination. What is in TIME_WAIT levels off after 60 s and is not extrapolated
(model/ports.py).
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sockmon.detect import bound_ports, evidence
from sockmon.detect.commands import see
from sockmon.detect.detector import (
    HYSTERESIS,
    Detector,
    DetectorThresholds,
    Does,
    Level,
    Ratio,
    Rule,
    Seconds,
    Series,
    severity,
    threshold,
)
from sockmon.detect.evidence import inodes, of_whom, percent
from sockmon.detect.local_ports import equals, host, widen
from sockmon.durations import roughly
from sockmon.language import Text
from sockmon.model.detector_input import DetectorInput
from sockmon.model.finding import (
    Advice,
    Breakdown,
    Command,
    Deadline,
    Finding,
    FindingKey,
    Quantity,
    Severity,
    Subject,
)
from sockmon.model.ports import Destination, PortUse
from sockmon.model.states import TcpState
from sockmon.model.table import IPAddress

NAME = "ephemeral_port_pressure"

_SHOWN = 8
#: A block of ports is noted if there are so many times as many.
_FEW = 4
#: States in which sockets stay until somebody acts.
_KEPT = (TcpState.CLOSE_WAIT, TcpState.SYN_SENT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds(DetectorThresholds):
    """Shares of the usable ports that one destination may take, and what the forecast must say."""

    warning_ratio: Ratio = threshold(0.7, "of the usable ports")
    critical_ratio: Ratio = threshold(0.9, "of the usable ports")
    critical_exhaustion: Seconds = threshold(
        600.0, "critical if the forecast says the ports run out sooner than this"
    )
    forecast_ratio: Ratio = threshold(
        0.5, "below this share of ports in use, the forecast is ignored"
    )


def find(data: DetectorInput, thresholds: Thresholds) -> Iterator[Finding]:
    """Yield a finding for each destination port whose worst destination runs out of ports.

    For each, since two destinations may take turns at being the worst of all.
    """
    if data.limits.port_range is None:
        return
    ratios = thresholds.warning_ratio, thresholds.critical_ratio
    yield from bound_ports.find(data, NAME, *ratios, data.limits.port_range)
    if bound_ports.are_all_bound(data):
        return
    by_port: dict[int, list[PortUse]] = {}
    for use in data.ephemeral.busiest:
        by_port.setdefault(use.destination.port, []).append(use)
    for uses in by_port.values():
        found = list(_judge(data, thresholds, uses))
        yield from found or _confined(data, thresholds, uses)


def _judge(data: DetectorInput, thresholds: Thresholds, uses: list[PortUse]) -> Iterator[Finding]:
    """Judge the destinations of one port by the soonest to run out, else by the fullest."""
    worst = min(uses, key=lambda use: (_left(data, thresholds, use), -use.used))
    subject = Subject("outbound", worst.destination.port)
    key = FindingKey(NAME, data.netns, subject)
    usable = max(data.ephemeral.usable, 1)
    ratio = max(use.used for use in uses) / usable
    judged = severity(data, key, ratio, thresholds.warning_ratio, thresholds.critical_ratio)
    if judged != "critical" and _runs_out_soon(data, thresholds, key, worst):
        judged = "critical"
    if judged is None:
        return
    if _left(data, thresholds, worst) == math.inf:
        worst = max(uses, key=lambda use: use.used)
    over = [use for use in uses if use.used >= thresholds.warning_ratio * usable]
    yield _finding(data, thresholds, worst, over, judged)


def _confined(
    data: DetectorInput, thresholds: Thresholds, uses: list[PortUse]
) -> Iterator[Finding]:
    """Note a destination for which a program may use a few ports only, and uses them all."""
    for use in uses:
        if use.is_confined and _FEW * use.used <= data.ephemeral.usable:
            found = _finding(data, thresholds, use, [use], "warning")
            text = Text(
                f"; they are those from {use.low} to {use.high}, and no other: if the program is "
                "kept to these (IP_LOCAL_PORT_RANGE), its next connect() fails with EADDRNOTAVAIL",
                f"，而且只用 {use.low} 到 {use.high}：如果程序只能用这一段（IP_LOCAL_PORT_RANGE），"
                "下一次 connect() 就会返回 EADDRNOTAVAIL",
            )
            yield replace(found, note=True, summary=found.summary + text, deadline=None)
            return


def _left(data: DetectorInput, thresholds: Thresholds, use: PortUse) -> float:
    """Seconds until the destination has no port left, as far as the forecast counts."""
    if use.used < HYSTERESIS * thresholds.forecast_ratio * data.ephemeral.usable:
        return math.inf
    return data.exhaustion.get(use.destination, math.inf)


def _runs_out_soon(
    data: DetectorInput, thresholds: Thresholds, key: FindingKey, use: PortUse
) -> bool:
    previous = data.past.get(key)
    slack = HYSTERESIS if previous is not None and previous.severity == "critical" else 1.0
    enough = use.used >= thresholds.forecast_ratio * data.ephemeral.usable * slack
    return enough and _left(data, thresholds, use) * slack < thresholds.critical_exhaustion


def _finding(
    data: DetectorInput,
    thresholds: Thresholds,
    use: PortUse,
    over: list[PortUse],
    judged: Severity,
) -> Finding:
    to = use.destination
    subject = Subject("outbound", to.port)
    rows = _holders(data, to)
    groups = data.groups(rows[data.table.inode[rows] != 0])
    # Sockets in TIME_WAIT are nobody's: it is who held such that were open, now or before.
    previous = data.past.get(FindingKey(NAME, data.netns, subject))
    now = data.owners.get(groups[0][0]) if groups else None
    is_known = now is not None and bool(now.unit or now.processes)
    before = previous.owner if previous else None
    left = _left(data, thresholds, use)
    ratio = _ratio(data, use)
    others = len(over) - (use in over)
    return Finding(
        detector=NAME,
        severity=judged,
        netns=data.netns,
        subject=subject,
        value=ratio,
        limit=thresholds.warning_ratio,
        summary=of_whom(now if is_known else before)
        + _summary(data, use, left, len(over) if others else 0),
        evidence=_evidence(data, use, over),
        advice=_advice(data, use),
        deadline=Deadline(Text("local ports run out", "本地端口耗尽"), left)
        if left < math.inf
        else None,
        owner=None if is_known else before,
        group=groups[0][0] if groups else None,
        inodes=inodes(data.table, groups[0][1]) if groups else (),
        rows=rows,
    )


def _ratio(data: DetectorInput, use: PortUse) -> float:
    return use.used / max(data.ephemeral.usable, 1)


def _summary(data: DetectorInput, use: PortUse, left: float, over: int) -> Text:
    to, used, usable = use.destination, percent(_ratio(data, use)), data.ephemeral.usable
    there = _endpoint(to.address, to.port)
    text = Text(
        f"connections from {to.source} to {there} use {used} of the local ports "
        f"({use.used} of {usable})",
        f"{to.source} 到 {there} 的连接已占用 {used} 的本地端口（{use.used}/{usable}）",
    )
    if 0 < left < math.inf:
        text += Text(f", all in about {roughly(left)}", f"，约 {roughly(left)} 后用完")
    if over:
        text += Text(
            f"; destinations of this port over the threshold: {over}",
            f"；这个端口上超过阈值的目的地址共 {over} 个",
        )
    return text


def _evidence(
    data: DetectorInput, use: PortUse, over: list[PortUse]
) -> dict[str, Quantity | Breakdown]:
    ports, limits = data.ephemeral, data.limits
    found: dict[str, Quantity | Breakdown] = {
        "source": evidence.text(use.destination.source),
        "destination": evidence.text(use.destination.address),
        "destination_port": Quantity(use.destination.port, "port"),
        "used": evidence.count(use.used),
        "usable": evidence.count(ports.usable),
        "reserved": evidence.count(ports.reserved),
        **({} if ports.bound is None else {"held_by_bind": evidence.count(ports.bound)}),
        "by_state": evidence.by_state(use.states),
    }
    if len(over) > 1:
        found["destinations_over_the_threshold"] = tuple(
            (str(each.destination.address), evidence.count(each.used)) for each in over[:_SHOWN]
        )
    if limits.port_range is not None:
        found["range"] = evidence.text(f"{limits.port_range.low}-{limits.port_range.high}")
    if limits.time_wait_reuse is not None:
        found["tcp_tw_reuse"] = evidence.count(limits.time_wait_reuse.mode)
    return found


def _advice(data: DetectorInput, use: PortUse) -> tuple[Advice, ...]:
    to, ports, port_range = use.destination, data.ephemeral, data.limits.port_range
    assert port_range is not None
    most = max(use.states, key=lambda state: use.states[state])
    remedy = Advice(_remedy(most, to.port))
    reuse = _about_reuse(data) if use.states.get(TcpState.TIME_WAIT) else []
    advice = [
        # More ports would only last a little longer where nobody lets go of them.
        *([remedy] if most in _KEPT else []),
        *(reuse if most is TcpState.TIME_WAIT else []),
        *widen(data, port_range),
        Advice(
            Text(
                f"When all {ports.usable} are in use, connect() to "
                f"{_endpoint(to.address, to.port)} fails with EADDRNOTAVAIL. Other destinations "
                "still work.",
                f"{ports.usable} 个全部用完后，连接 {_endpoint(to.address, to.port)} 的 "
                "connect() 返回 "
                "EADDRNOTAVAIL（Cannot assign requested address）。其他目的地址不受影响。",
            )
        ),
        *([] if most in _KEPT else [remedy]),
        *([] if most is TcpState.TIME_WAIT else reuse),
    ]
    filter_ = f"'src {host(to.source)} and dst {_endpoint(to.address, to.port)}'"
    advice.append(see("-tanpo", filter_=filter_))
    return tuple(advice)


def _remedy(state: TcpState, port: int) -> Text:
    if state is TcpState.TIME_WAIT:
        return Text(
            "Most are in TIME_WAIT: clients on this host open a connection for each request and "
            "close it first. Let them keep connections and use them again (a pool; in nginx, "
            "keepalive in the upstream block).",
            "大部分处于 TIME_WAIT：本机的客户端每个请求新建一条连接并主动关闭。改用长连接（连接"
            "池；nginx 在 "
            "upstream 里配 keepalive）。",
        )
    if state is TcpState.CLOSE_WAIT:
        return Text(
            "Most are in CLOSE_WAIT: the application here does not close what its peer has closed.",
            "大部分处于 CLOSE_WAIT：对端已关闭，本机应用没有 close()。",
        )
    if state is TcpState.SYN_SENT:
        return Text(
            f"Most are in SYN_SENT: nobody answers at port {port} there. Look at that host.",
            f"大部分处于 SYN_SENT：对方的端口 {port} 没有应答。检查那台主机。",
        )
    if state is TcpState.ESTABLISHED:
        return Text(
            "Most are ESTABLISHED: so many are open at once. Bound the application's pool; if "
            "answers have become slow, look at the destination.",
            "大部分处于 ESTABLISHED：同时打开的连接太多。给应用的连接池设上限；如果响应变慢，检查"
            "目的主机。",
        )
    return Text(
        f"Most are in {state.name}: the destination does not end its side. Look there.",
        f"大部分处于 {state.name}：对方没有关闭它那一侧。检查对方主机。",
    )


def _about_reuse(data: DetectorInput) -> list[Advice]:
    reuse = data.limits.time_wait_reuse
    if reuse is None:
        return []
    if not reuse.timestamps:
        return [
            Advice(
                Text(
                    "net.ipv4.tcp_timestamps is off, so no port in TIME_WAIT can be taken over.",
                    "net.ipv4.tcp_timestamps 已关闭，TIME_WAIT 占用的端口无法复用。",
                )
            )
        ]
    if reuse.mode == 1:
        text = Text(
            f"net.ipv4.tcp_tw_reuse is 1: ports older than {reuse.delay_ms} ms in TIME_WAIT are "
            "taken over, and are not counted here.",
            f"net.ipv4.tcp_tw_reuse 为 1：在 TIME_WAIT 超过 {reuse.delay_ms} ms 的端口会被复用，"
            "这里没有计入。",
        )
        return [Advice(text)]
    text = Text(
        f"net.ipv4.tcp_tw_reuse is {reuse.mode} "
        f"({'loopback only' if reuse.mode else 'never'}): with 1, connect() takes over ports "
        f"that have been in TIME_WAIT for {reuse.delay_ms} ms. It serves the connections this "
        "host makes, and is safe with timestamps at both ends.",
        f"net.ipv4.tcp_tw_reuse 为 {reuse.mode}（{'仅回环' if reuse.mode else '不复用'}）：设为 1 "
        f"后，connect() 可以复用进入 TIME_WAIT 超过 {reuse.delay_ms} ms 的端口。它只对本机主动发起"
        "的连接有效，两端都开启 timestamps 时是安全的。",
    )
    return [Advice(text, Command("sysctl -w net.ipv4.tcp_tw_reuse=1", effect="changes"), "stop")]


def _holders(data: DetectorInput, to: Destination) -> NDArray[np.intp]:
    table = data.table
    rows = np.flatnonzero((table.remote_port == to.port) & ~data.directions.is_inbound)
    rows = rows[table.family[rows] == to.address.version]
    there = equals(table.remote[rows], to.address) & equals(table.local[rows], to.source)
    held: NDArray[np.intp] = rows[there]
    return held


def _endpoint(address: IPAddress, port: int) -> str:
    return f"{host(address)}:{port}"


def _expressions(thresholds: Thresholds, of: Series) -> tuple[str, str]:
    usable = of("sockmon_ephemeral_ports_usable")
    share = f"{of('sockmon_ephemeral_ports_used_by_busiest_destination')}\n/ ({usable} > 0)"
    exhaustion = of("sockmon_ephemeral_ports_exhaustion_seconds")
    return (
        f"{share} >= {thresholds.warning_ratio:g}",
        (
            f"{share} >= {thresholds.critical_ratio:g}\n"
            f"or {usable} == 0\n"
            f"or {share} >= {thresholds.forecast_ratio:g}\n"
            f"and {exhaustion} < {thresholds.critical_exhaustion:g}"
        ),
    )


_FIGURE = "The busiest destination holds {{ $value | humanizePercentage }} of the usable ports."


def _levels(thresholds: Thresholds) -> dict[str, Level]:
    soon = thresholds.critical_exhaustion
    return {
        "sockmon_ephemeral_ports_used_by_busiest_destination": (
            thresholds.warning_ratio,
            thresholds.critical_ratio,
        ),
        "sockmon_ephemeral_ports_exhaustion_seconds": (6 * soon, soon),
    }


DETECTOR = Detector(
    name=NAME,
    about="the ephemeral ports towards one destination run out",
    title=Text("Local ports run out towards one destination", "到同一目的地址的本地端口即将耗尽"),
    actor=Text("The application here that connects", "本机发起连接的应用"),
    does=Does(
        Text("uses up the local ports towards one destination", "快用完连往同一目的地的本地端口"),
        Text("use up the local ports towards one destination", "快用完连往同一目的地的本地端口"),
    ),
    thresholds=Thresholds,
    find=find,
    needs=("port_range",),
    needs_whole_table=True,
    caused_by=(
        ("same_sockets", "does_not_answer"),
        ("same_sockets", "does_not_close"),
        ("same_sockets", "has_vanished"),
    ),
    levels=_levels,
    rule=Rule(
        summary="ephemeral ports towards one destination run out",
        explanation=(
            "When they are used up, connect() fails with EADDRNOTAVAIL. Keep connections alive, or "
            "widen net.ipv4.ip_local_port_range."
        ),
        warning=_FIGURE,
        critical=f"{{{{ if $value }}}}{_FIGURE}{{{{ else }}}}bind() holds every port.{{{{ end }}}}",
        expressions=_expressions,
    ),
)
