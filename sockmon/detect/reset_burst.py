"""Resets in a burst: the serving end aborts open connections of a port that it used to close.

A reset is no fault by itself. Clients abort by design: load generators and browsers that leave, and
health checks; so only what the serving end aborts is judged, this host for inbound connections and
the other end for outbound ones. Some servers abort by design too (SO_LINGER 0, close() with unread
data): of these, the port has always had many. A reset that comes after a FIN, as TLS's last message
brings about, ends nothing and is not counted (kernel/events/program.py).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from sockmon.detect import evidence
from sockmon.detect.commands import only, see
from sockmon.detect.detector import (
    Count,
    Detector,
    DetectorThresholds,
    Ratio,
    Rule,
    severity,
    threshold,
)
from sockmon.detect.evidence import percent
from sockmon.durations import roughly
from sockmon.language import Text
from sockmon.model.connection_events import BURST_SECONDS, Endings
from sockmon.model.detector_input import DetectorInput
from sockmon.model.direction import Direction
from sockmon.model.finding import Advice, Command, Finding, FindingKey, Subject

NAME = "reset_burst"

#: What is usual is known once so many connections of the port have ended, before.
_KNOWN_FROM = 20
#: A burst has so many times the usual share.
_TIMES_USUAL = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds(DetectorThresholds):
    """Share and number of a port's connections that the serving end aborts."""

    warning_ratio: Ratio = threshold(
        0.2, f"of one port's connections that ended in the last {BURST_SECONDS:g} s; and 5 x usual"
    )
    least_resets: Count = threshold(20, "fewer in that time are no finding")


def find(data: DetectorInput, thresholds: Thresholds) -> Iterator[Finding]:
    """Yield a finding for each port whose connections the serving end aborts as it never did."""
    if data.events is None:
        return
    for (direction, port), ends in sorted(
        data.events.endings.items(), key=lambda item: -item[1].reset
    ):
        if ends.reset >= thresholds.least_resets and data.has_counted(direction, port):
            yield from _judge(data, thresholds, direction, port, ends)


def _judge(
    data: DetectorInput, thresholds: Thresholds, direction: Direction, port: int, ends: Endings
) -> Iterator[Finding]:
    key = FindingKey(NAME, data.netns, Subject(direction, port))
    ratio = ends.reset / max(ends.ended, ends.reset)
    judged = severity(data, key, ratio, thresholds.warning_ratio, np.inf)
    usual = ends.reset_before / ends.ended_before if ends.ended_before else 0.0
    # A burst that goes on becomes usual: what has begun as one stays one.
    begins = ends.ended_before >= _KNOWN_FROM and ratio >= _TIMES_USUAL * usual
    if judged is None or not (begins or key in data.past):
        return
    lately, number = roughly(BURST_SECONDS), f"{ends.reset:,}"
    share, before = percent(ratio), percent(usual)
    if direction == "inbound":
        summary = Text(
            f"this host has reset {number} open connections of port {port} in the last {lately}: "
            f"{share} of those that ended, {before} before",
            f"最近 {lately} 内，本机用 RST 中断了端口 {port} 的 {number} 个连接：占同期结束连接的 "
            f"{share}，此前为 {before}",
        )
    else:
        summary = Text(
            f"the other end has reset {number} open connections to port {port} in the last "
            f"{lately}: {share} of those that ended, {before} before",
            f"最近 {lately} 内，到端口 {port} 的 {number} 个连接被对端用 RST 中断：占同期结束连接"
            f"的 {share}，此前为 {before}",
        )
    yield Finding(
        detector=NAME,
        severity=judged,
        netns=data.netns,
        subject=key.subject,
        value=ratio,
        limit=thresholds.warning_ratio,
        summary=summary,
        evidence={
            "reset": evidence.count(ends.reset),
            "ended": evidence.count(ends.ended),
            "usual_share": evidence.text(percent(usual)),
        },
        advice=_advice(direction, port),
    )


def _advice(direction: Direction, port: int) -> tuple[Advice, ...]:
    watch = Advice(
        Text("Watch them end, with the addresses of both ends:", "观察连接如何结束，含两端地址："),
        Command(f"sockmon trace --closes --port {port} --for 10s"),
        "look",
    )
    if direction == "inbound":
        return (
            Advice(
                Text(
                    "The resets came from here, before either end had closed; why is not known. "
                    "Did the application end or restart? A process that ends with requests unread "
                    "resets their connections; so does a listener that closes with connections in "
                    "its queue.",
                    "RST 由本机发出，当时两端都还没有关闭连接；原因无法从计数得知。应用是否退出或重"
                    "启过？进程退出时若还有未读的请求，这些连接会被 RST；监听 socket 关闭时，队列里"
                    "的连接也一样。",
                )
            ),
            Advice(
                Text("Was it killed, or did it crash?", "进程被杀或崩溃了吗？"),
                Command("dmesg -T | grep -iE 'out of memory|segfault|oom-kill' | tail", "here"),
                "look",
            ),
            Advice(
                Text(
                    "If it runs as before: it closes without reading what was sent to it (a limit "
                    "that is reached, a request that it refuses), or with SO_LINGER 0.",
                    "若应用一直正常运行：它没有读完数据就 close()（达到上限、拒绝请求），或设置了 "
                    "SO_LINGER 0。",
                )
            ),
            see("-tlnp", filter_=only(direction, port)),
            watch,
        )
    return (
        Advice(
            Text(
                "The resets came from outside, before either end had closed: calls under way have "
                "failed (ECONNRESET). Who sent them is not known: the server (killed, restarted, "
                "overloaded), or a load balancer, NAT or firewall between that has forgotten the "
                "connection.",
                "RST 来自外部，当时两端都还没有关闭连接：进行中的调用会失败（ECONNRESET）。无法得知"
                "是谁发的：可能是服务端（被杀、重启、过载），也可能是中间的负载均衡、NAT 或防火墙已"
                "丢失该连接的状态。",
            )
        ),
        Advice(
            Text(
                "Does the server abort what its full accept queue has no room for?",
                "服务端是否在全连接队列满时直接 RST？",
            ),
            Command(
                "sysctl net.ipv4.tcp_abort_on_overflow; nstat -az TcpExtListenOverflows", "peer"
            ),
            "look",
        ),
        Advice(
            Text(
                "If they were idle before: a device between has a shorter idle timeout than this "
                "client's pool. Make the pool's shorter, or send keepalives more often.",
                "如果这些连接之前是空闲的：中间设备的空闲超时比客户端连接池的短。把连接池的空闲超时"
                "设得更短，或更频繁地发送 keepalive。",
            )
        ),
        see("-tanp", filter_=only(direction, port)),
        watch,
    )


DETECTOR = Detector(
    name=NAME,
    about="open connections of a port are reset by the serving end (needs events.enabled)",
    title=Text("Open connections are reset in a burst", "连接突然大量被 RST"),
    actor=Text("The service that resets, or what is between", "发出 RST 的服务，或中间设备"),
    thresholds=Thresholds,
    find=find,
    needs_events=True,
    rule=Rule(
        summary="open connections of a port are reset in a burst",
        explanation=(
            "The serving end has aborted many connections of a port whose connections used to be "
            "closed. Calls that were under way have failed. It may have crashed, been restarted or "
            "be overloaded; or a device between has forgotten the connections."
        ),
    ),
)
