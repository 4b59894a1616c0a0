"""TIME_WAIT pressure: as many as the kernel keeps. Far below that bound they are harmless.

Orphaned FIN_WAIT2 sockets take up the same buckets (net/ipv4/tcp_minisocks.c, tcp_time_wait()).
They are of connections that this host has closed, and their peers have not.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sockmon.detect import evidence
from sockmon.detect.commands import LOOK_AT_PEER, only, see, ss
from sockmon.detect.detector import (
    Detector,
    DetectorThresholds,
    Ratio,
    Rule,
    Series,
    ratio_levels,
    severity,
    share,
    threshold,
)
from sockmon.detect.evidence import at_port, chinese_of, percent
from sockmon.language import Text
from sockmon.model.detector_input import DetectorInput
from sockmon.model.direction import Direction
from sockmon.model.finding import Advice, Breakdown, Command, Finding, FindingKey, Quantity, Subject
from sockmon.model.other_end import mostly_here
from sockmon.model.states import TcpState

NAME = "time_wait_pressure"

_EVENTS = ("TW", "TWRecycled", "TCPTimeWaitOverflow")
_PLACES_SHOWN = 5
_TIME_WAIT_TIMER = 3
_TIME_WAIT_SECONDS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds(DetectorThresholds):
    """Shares of tcp_max_tw_buckets."""

    warning_ratio: Ratio = threshold(0.8, "of the limit")
    critical_ratio: Ratio = threshold(0.95, "of the limit; an overflow is critical at once")


def find(data: DetectorInput, thresholds: Thresholds) -> Iterator[Finding]:
    """Yield a finding when the namespace's time-wait buckets run out."""
    sockstat, most = data.limits.sockstat, data.limits.time_wait_limit
    if sockstat is None or most is None or most < 0:  # the kernel takes -1 for 4 billion
        return
    key = FindingKey(NAME, data.netns, Subject())
    ratio = sockstat.time_wait / max(most, 1)
    judged = severity(data, key, ratio, thresholds.warning_ratio, thresholds.critical_ratio)
    overflow = data.rates.events.get("TCPTimeWaitOverflow", 0.0)
    if overflow > 0:
        judged = "critical"
    if judged is None:
        return
    groups, unclosed = _groups(data), _unclosed(data)
    yield Finding(
        detector=NAME,
        severity=judged,
        netns=data.netns,
        subject=Subject(),
        value=ratio,
        limit=thresholds.warning_ratio,
        summary=_summary(data, unclosed, sockstat.time_wait, most, overflow),
        evidence=_evidence(data, groups, unclosed, sockstat.time_wait, most),
        advice=_advice(
            data,
            groups,
            unclosed if _mostly(unclosed, sockstat.time_wait) else None,
            most,
            overflow,
        ),
    )


def _summary(
    data: DetectorInput, unclosed: NDArray[np.intp], buckets: int, most: int, overflow: float
) -> Text:
    used = percent(buckets / max(most, 1))
    text = Text(
        f"{used} of the time-wait buckets are in use ({buckets} of {most})",
        f"TIME_WAIT bucket 已用 {used}（{buckets}/{most}）",
    )
    if overflow > 0:
        text += Text(f"; {overflow:.1f} a second find none", f"；每秒有 {overflow:.1f} 个分配不到")
    return text + _whose_peers(data, unclosed) if _mostly(unclosed, buckets) else text


def _unclosed(data: DetectorInput) -> NDArray[np.intp]:
    """Return the rows of FIN_WAIT2 sockets that no process holds, as time-wait sockets."""
    table = data.table
    return np.flatnonzero((table.state == TcpState.FIN_WAIT2) & (table.timer == _TIME_WAIT_TIMER))


def _mostly(unclosed: NDArray[np.intp], buckets: int) -> bool:
    return 2 * unclosed.size >= max(buckets, 1)


def _whose_peers(data: DetectorInput, unclosed: NDArray[np.intp]) -> Text:
    (address, sockets), *_ = data.peers(unclosed, 1)
    return Text(
        f"; {unclosed.size} of them are in FIN_WAIT2: their peers, {sockets} times {address}, do "
        "not close what this host has closed",
        f"；其中 {unclosed.size} 个处于 FIN_WAIT2：本机已关闭，对端没有关闭（{address} 占 "
        f"{sockets} 个）",
    )


def _groups(data: DetectorInput) -> Counter[tuple[Direction, int]]:
    """Count TIME_WAIT sockets by (direction, port)."""
    rows = np.flatnonzero(data.table.state == TcpState.TIME_WAIT)
    # One number a (direction, port): twice the port, and one more if it is inbound.
    places = data.directions.port[rows].astype(np.intp) * 2 + data.directions.is_inbound[rows]
    counts = np.bincount(places)
    return Counter(
        {
            ("inbound" if at % 2 else "outbound", at // 2): int(counts[at])
            for at in np.flatnonzero(counts).tolist()
        }
    )


def _by_direction(groups: Counter[tuple[Direction, int]]) -> Counter[Direction]:
    totals: Counter[Direction] = Counter()
    for (direction, _), sockets in groups.items():
        totals[direction] += sockets
    return totals


def _evidence(
    data: DetectorInput,
    groups: Counter[tuple[Direction, int]],
    unclosed: NDArray[np.intp],
    buckets: int,
    most: int,
) -> dict[str, Quantity | Breakdown]:
    found: dict[str, Quantity | Breakdown] = {
        "buckets": evidence.sockets(buckets),
        "buckets_limit": evidence.sockets(most),
        "by_direction": tuple(
            (Text(direction, chinese_of(direction)), evidence.sockets(n))
            for direction, n in _by_direction(groups).most_common()
        ),
        "top": tuple(
            (at_port(direction, port), evidence.sockets(n))
            for (direction, port), n in groups.most_common(_PLACES_SHOWN)
        ),
        "events": evidence.per_second(data.rates, _EVENTS),
    }
    if unclosed.size:
        found["fin_wait2"] = evidence.sockets(unclosed.size)
        found["peers_that_do_not_close"] = evidence.peers(data, unclosed)
    if data.limits.time_wait_reuse is not None:
        found["tcp_tw_reuse"] = evidence.count(data.limits.time_wait_reuse.mode)
    return found


def _advice(
    data: DetectorInput,
    groups: Counter[tuple[Direction, int]],
    unclosed: NDArray[np.intp] | None,
    most: int,
    overflow: float,
) -> tuple[Advice, ...]:
    # As many as are closed in the 60 s that each is kept, twice.
    wanted = 2 * max(most, 1) + round(2 * _TIME_WAIT_SECONDS * overflow)
    advice = [
        *(_about_unclosed(data, unclosed) if unclosed is not None else ()),
        Advice(
            Text(
                "If the load is wanted, keep more buckets (one takes about 256 bytes). TIME_WAIT "
                "always lasts 60 s; no setting changes that.",
                "如果是正常负载，增加 bucket 数量（每个约 256 字节）。Linux 的 TIME_WAIT 固定为 "
                "60 秒，没有参数"
                "可以修改（tcp_fin_timeout 管的是 FIN_WAIT2）。",
            ),
            Command(f"sysctl -w net.ipv4.tcp_max_tw_buckets={wanted}", effect="changes"),
            "stop",
        ),
        Advice(
            Text(
                f"Past net.ipv4.tcp_max_tw_buckets = {most} the kernel closes without TIME_WAIT: "
                "nothing is refused, but a late segment may be taken for one of the next "
                "connection.",
                f"超过 net.ipv4.tcp_max_tw_buckets = {most} 后，内核直接关闭而不进入 TIME_WAIT："
                "连接不会被"
                "拒绝，但迟到的报文可能被下一条连接误收。",
            )
        ),
    ]
    ranked = groups.most_common()
    for direction, sockets in _by_direction(groups).most_common():
        port = next(port for (way, port), _ in ranked if way == direction)
        advice.append(Advice(_whose(direction, sockets, port)))
    reuse = data.limits.time_wait_reuse
    if reuse is not None and _by_direction(groups)["outbound"]:
        advice.append(
            Advice(
                Text(
                    f"net.ipv4.tcp_tw_reuse is {reuse.mode} here (0 never, 1 always, 2 on loopback "
                    "only): it lets connections that this host makes take over a bucket, never "
                    "accepted ones.",
                    f"net.ipv4.tcp_tw_reuse 当前为 {reuse.mode}（0 不复用，1 复用，2 仅回环）：只"
                    "对本机主动"
                    "发起的连接有效，对被动接受的连接无效。",
                )
            )
        )
    if ranked:
        direction, port = ranked[0][0]
        advice.append(see("-tan", TcpState.TIME_WAIT, filter_=only(direction, port)))
    return tuple(advice)


def _about_unclosed(data: DetectorInput, unclosed: NDArray[np.intp]) -> tuple[Advice, ...]:
    peer = data.peers(unclosed, 1)[0][0]
    group, rows = data.groups(unclosed)[0]
    here = mostly_here(data.table, rows)
    other: Direction = "outbound" if group.direction == "inbound" else "inbound"
    there = ss("-tnpo", TcpState.CLOSE_WAIT, filter_=only(other, group.port or 0))
    advice = [
        Advice(
            Text(
                "This host has closed these connections, and its peers keep their ends in "
                f"CLOSE_WAIT: the application at {peer} must close them.",
                f"本机已关闭这些连接，对端停在 CLOSE_WAIT：必须由 {peer} 上的应用 close()。",
            )
        ),
        Advice(LOOK_AT_PEER, Command(there, "namespace" if here else "peer"), "look"),
        see("-tano", TcpState.FIN_WAIT2, filter_=only(group.direction, group.port or 0)),
    ]
    settings = data.limits.settings
    if settings is not None:
        advice.insert(
            0,
            Advice(
                Text(
                    "Until they do, keep FIN_WAIT2 for less than net.ipv4.tcp_fin_timeout = "
                    f"{settings.fin_timeout} s; a peer that sends its FIN later gets a reset.",
                    "在此之前，把 FIN_WAIT2 的保留时间调短（net.ipv4.tcp_fin_timeout 现在是 "
                    f"{settings.fin_timeout} 秒）；之后才发 FIN 的对端会收到 RST。",
                ),
                Command("sysctl -w net.ipv4.tcp_fin_timeout=15", effect="changes"),
                "stop",
            ),
        )
    return tuple(advice)


def _whose(direction: Direction, sockets: int, port: int) -> Text:
    if direction == "inbound":
        return Text(
            f"{sockets} are of accepted connections, most of port {port}: this host closes first. "
            "Let the server keep connections open longer (keep-alive), or let its clients close.",
            f"{sockets} 个来自被动接受的连接，主要在端口 {port}：由本机先关闭。让服务端延长 "
            "keep-alive，或让"
            "客户端先关闭。",
        )
    return Text(
        f"{sockets} are of connections that this host made, most to port {port}, and closed "
        "first: let those clients keep connections and use them again (a pool, keep-alive).",
        f"{sockets} 个来自本机主动发起并先关闭的连接，主要连往端口 {port}：改用长连接（连接池、"
        "keep-alive）。",
    )


def _expressions(thresholds: Thresholds, of: Series) -> tuple[str, str]:
    used = share(of, "sockmon_time_wait_buckets")
    # Overflow is critical whatever the share; the number of findings is no less than 1.
    found = of("sockmon_findings", detector=NAME, severity="critical")
    overflow = f"sum without (detector, severity) ({found}) > 0"
    return (
        f"{used} >= {thresholds.warning_ratio:g}",
        f"{used} >= {thresholds.critical_ratio:g}\nor {overflow}",
    )


_FIGURE = (
    "{{ if lt $value 1.0 }}In use: {{ $value | humanizePercentage }} of the buckets."
    "{{ else }}The buckets run out.{{ end }}"
)


DETECTOR = Detector(
    name=NAME,
    about="TIME_WAIT sockets approach tcp_max_tw_buckets",
    title=Text("TIME_WAIT is near its limit", "TIME_WAIT 接近上限"),
    actor=Text("This host: its clients or its settings", "本机：客户端程序或内核参数"),
    state=TcpState.TIME_WAIT,
    thresholds=Thresholds,
    find=find,
    needs=("sockstat", "time_wait_limit"),
    needs_whole_table=True,
    levels=ratio_levels("sockmon_time_wait_buckets"),
    rule=Rule(
        summary="TIME_WAIT sockets near tcp_max_tw_buckets",
        explanation=(
            "Beyond the limit the kernel closes without TIME_WAIT, and late segments may reach a "
            "newer connection. Keep connections alive, or raise net.ipv4.tcp_max_tw_buckets."
        ),
        warning=_FIGURE,
        critical=_FIGURE,
        expressions=_expressions,
    ),
)
