"""Conntrack pressure: the firewall's table of connections fills, and then drops new ones.

It drops for another reason too: a packet of a new connection would make an entry that another
connection has, and is lost (insert_failed). That happens to DNS queries for A and AAAA over one
socket, which come at once; and to connections behind SNAT whose source ports are used up. Such a
packet is counted as dropped, too (net/netfilter/nf_conntrack_core.c, nf_ct_resolve_clash()).
"""

from collections.abc import Iterator
from dataclasses import dataclass

from sockmon.detect import evidence
from sockmon.detect.detector import (
    HYSTERESIS,
    Count,
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
from sockmon.detect.evidence import percent
from sockmon.durations import roughly
from sockmon.language import Text, joined
from sockmon.model.detector_input import DetectorInput
from sockmon.model.finding import (
    Advice,
    Breakdown,
    Command,
    Finding,
    FindingKey,
    Quantity,
    Subject,
)
from sockmon.model.limits import CONNTRACK_DROPS

NAME = "conntrack_pressure"

#: In so many polls of the window packets must have been dropped.
_POLLS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds(DetectorThresholds):
    """Shares of nf_conntrack_max, and packets dropped."""

    warning_ratio: Ratio = threshold(0.75, "of the limit")
    critical_ratio: Ratio = threshold(0.9, "of the limit; drops by a full table are critical")
    warning_drops: Count = threshold(10, "packets dropped in the last 5 minutes, in two polls")


@dataclass(frozen=True, slots=True)
class _Drops:
    """What was dropped in the window: by a full table, and because an entry was there already."""

    full: int
    raced: int
    polls: int
    seconds: float


def find(data: DetectorInput, thresholds: Thresholds) -> Iterator[Finding]:
    """Yield a finding when the namespace's conntrack table fills, or drops packets."""
    entries, most = data.limits.conntrack_entries, data.limits.conntrack_limit
    if entries is None:
        return
    key = FindingKey(NAME, data.netns, Subject())
    ratio = entries / most if most else 0.0  # 0 means no limit
    judged = severity(data, key, ratio, thresholds.warning_ratio, thresholds.critical_ratio)
    drops = _drops(data)
    slack = HYSTERESIS if key in data.past else 1.0
    many = drops.full + drops.raced >= thresholds.warning_drops * slack
    dropping = many and drops.polls >= _POLLS
    if judged is None and not dropping:
        return
    if dropping and drops.full:
        judged = "critical"
    by_ratio = judged is not None and ratio >= thresholds.warning_ratio * slack
    yield Finding(
        detector=NAME,
        severity=judged or "warning",
        netns=data.netns,
        subject=Subject(),
        value=ratio if by_ratio else drops.full + drops.raced,
        limit=thresholds.warning_ratio if by_ratio else thresholds.warning_drops,
        summary=_summary(entries, most, drops, by_ratio=by_ratio, dropping=dropping),
        evidence=_evidence(data, entries, most, drops),
        advice=_advice(most, drops if dropping else None, by_ratio=by_ratio),
    )


def _drops(data: DetectorInput) -> _Drops:
    window = data.conntrack_window
    full, early, raced = (window.at(reason, data.now) for reason in CONNTRACK_DROPS)
    by_full = max(0, full.connections - raced.connections)
    return _Drops(by_full + early.connections, raced.connections, len(window.polls), full.seconds)


def _summary(
    entries: int, most: int | None, drops: _Drops, *, by_ratio: bool, dropping: bool
) -> Text:
    parts = []
    if by_ratio and most:
        full = percent(entries / most)
        parts.append(
            Text(
                f"the conntrack table is {full} full ({entries} of {most} entries)",
                f"conntrack 表已用 {full}（{entries}/{most}）",
            )
        )
    within = roughly(drops.seconds)
    if dropping and drops.full:
        parts.append(
            Text(
                f"the conntrack table was full: {drops.full} packets were dropped, or entries "
                f"removed for them, in the last {within}",
                f"conntrack 表曾写满：最近 {within} 内丢弃了 {drops.full} 个包，或为它们删除了旧"
                "条目",
            )
        )
    if dropping and drops.raced:
        parts.append(
            Text(
                f"conntrack dropped {drops.raced} packets in the last {within} because another "
                "connection had the same entry",
                f"最近 {within} 内 conntrack 丢弃了 {drops.raced} 个包，因为另一条连接已经占用了相"
                "同的条目",
            )
        )
    return joined(parts, "; ", "；")


def _evidence(
    data: DetectorInput, entries: int, most: int | None, drops: _Drops
) -> dict[str, Quantity | Breakdown]:
    found: dict[str, Quantity | Breakdown] = {"entries": evidence.count(entries)}
    if most is not None:
        found["entries_limit"] = evidence.count(most)
    if drops.polls:
        window = data.conntrack_window
        found["dropped"] = tuple(
            (reason, evidence.count(recent.connections))
            for reason in CONNTRACK_DROPS
            if (recent := window.at(reason, data.now)).connections
        )
        found["dropped_within"] = evidence.seconds(drops.seconds)
    sockstat = data.limits.sockstat
    if sockstat is not None:
        found["tcp_sockets_here"] = evidence.sockets(sockstat.in_use + sockstat.time_wait)
    return found


def _advice(most: int | None, drops: _Drops | None, *, by_ratio: bool) -> tuple[Advice, ...]:
    advice: list[Advice] = []
    if most and (by_ratio or (drops and drops.full)):
        advice += _about_size(most)
    if drops and drops.raced:
        advice.append(
            Advice(
                Text(
                    "insert_failed: two packets of one new connection came at once. Most often a "
                    "DNS resolver that asks for A and AAAA over one UDP socket, whose lookups then "
                    "take 5 s: options single-request-reopen or use-vc in resolv.conf, or a "
                    "resolver on this host. With masquerading, two connections may have got one "
                    "port: --random-fully.",
                    "insert_failed：同一条新连接的两个包同时到达。最常见的是 DNS 解析器用同一个 "
                    "UDP socket "
                    "并发查询 A 和 AAAA，解析因此卡 5 秒：在 resolv.conf 里设置 "
                    "single-request-reopen 或 use-vc，或在本机跑一个 DNS 缓存。如果做了 "
                    "MASQUERADE，"
                    "也可能是两条连接选中了同一个端口：加 --random-fully。",
                )
            )
        )
        advice.append(
            Advice(
                Text(
                    "Or SNAT has no source port left towards one destination, where connects then "
                    "time out: give it more addresses (SNAT to a range), more ports, or fewer "
                    "connections (keep-alive). This counts the entries with SNAT by destination:",
                    "或者 SNAT 到某个目的地址的源端口已用完，连接因此超时：给 SNAT 更多地址（地址"
                    "段）、更多端口，或减少连接数（长连接）。按目的地址统计 SNAT 条目：",
                ),
                Command(
                    "conntrack -L --src-nat | grep -o 'dst=[^ ]* sport=[0-9]* dport=[0-9]*' | "
                    "sed 's/ sport=[0-9]*//' | sort | uniq -c | sort -rn | head"
                ),
                "look",
            )
        )
    return (
        *advice,
        Advice(
            Text(
                "How much is dropped? See drop, early_drop and insert_failed.",
                "丢了多少？看 drop、early_drop 和 insert_failed。",
            ),
            Command("conntrack -S"),
            "look",
        ),
        Advice(
            Text(
                "What fills it? Compare with this host's own sockets (ss -s).",
                "表里都是什么？与本机自己的 socket 数量（ss -s）对比。",
            ),
            Command("conntrack -L -p tcp | awk '{print $4}' | sort | uniq -c"),
            "look",
        ),
    )


def _about_size(most: int) -> tuple[Advice, ...]:
    return (
        Advice(
            Text(
                "Double the table (an entry takes about 300 bytes), and "
                "net.netfilter.nf_conntrack_buckets with it.",
                "把表扩大一倍（每条约 300 字节），net.netfilter.nf_conntrack_buckets 同步调大。",
            ),
            # Of the whole host: read-only in other network namespaces.
            Command(f"sysctl -w net.netfilter.nf_conntrack_max={2 * most}", "here", "changes"),
            "stop",
        ),
        Advice(
            Text(
                f"At {most} entries the firewall drops the first packet of every new connection, "
                "in and out, and the kernel's log says: nf_conntrack: table full, dropping packet.",
                f"到 {most} 条时，每条新连接的首包都会被丢弃，出入方向都一样，内核日志写 "
                "nf_conntrack: table full, dropping packet。",
            )
        ),
        Advice(
            Text(
                "Many ESTABLISHED entries without a socket: this time-out (5 days unless set) is "
                "too long. A port too busy to be tracked can go without: NOTRACK in the raw table.",
                "大量 ESTABLISHED 条目却没有对应的 socket：这个超时（默认 5 天）太长。流量特别大"
                "的端口可以不做"
                "跟踪：raw 表里的 NOTRACK。",
            ),
            Command("sysctl net.netfilter.nf_conntrack_tcp_timeout_established"),
        ),
    )


def _expressions(thresholds: Thresholds, of: Series) -> tuple[str, str]:
    used = share(of, "sockmon_conntrack_entries")
    drops = "sockmon_conntrack_drops_total"
    rose = f"sum without (reason) (increase({of(drops)}[5m]))"
    # What raced is counted as dropped, too.
    full, raced = (
        f"increase({of(drops, reason=reason)}[5m])" for reason in ("drop", "insert_failed")
    )
    full = f"{full}\n- ignoring (reason) {raced}"
    return (
        f"{used} >= {thresholds.warning_ratio:g}\nor {rose} >= {thresholds.warning_drops}",
        f"{used} >= {thresholds.critical_ratio:g}\nor ({full}) >= {thresholds.warning_drops}",
    )


# A table is never twice as full as it may be.
_FIGURE = (
    "{{ if lt $value 2.0 }}In use: {{ $value | humanizePercentage }} of the table."
    "{{ else }}Dropped in 5 minutes: {{ $value | humanize }} packets.{{ end }}"
)


DETECTOR = Detector(
    name=NAME,
    about="tracked connections approach nf_conntrack_max, or packets are dropped",
    title=Text("Connection tracking is nearly full", "conntrack 表快满了"),
    actor=Text("This host's settings", "本机的内核参数"),
    thresholds=Thresholds,
    find=find,
    levels=ratio_levels("sockmon_conntrack_entries"),
    rule=Rule(
        summary="connection tracking is near nf_conntrack_max, or drops packets",
        explanation=(
            "When it is full, packets of new connections are dropped. Raise "
            "net.netfilter.nf_conntrack_max, or track less."
        ),
        warning=_FIGURE,
        critical=_FIGURE,
        expressions=_expressions,
    ),
)
