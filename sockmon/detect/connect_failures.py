"""Connect failures: many of the connections that this host makes to one port do not come about.

Each is over before a poll could see it, so they are counted by the kernel (`events.enabled`).
A connection that the application gives up before an answer comes is no failure here: clients that
try two addresses at once (RFC 8305) give one of them up.
"""

from collections.abc import Iterator
from dataclasses import dataclass

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
from sockmon.model.connection_events import EventCounts
from sockmon.model.detector_input import DetectorInput
from sockmon.model.finding import Advice, Command, Finding, FindingKey, Subject

NAME = "connect_failures"

#: Reasons that are failures, and what each says.
_MEANING = {
    "refused": Text(
        "Refused: nobody listens on that port, or a firewall rejects. Is the service up?",
        "被拒绝：对端没有进程监听该端口，或被防火墙拒绝。服务是否在运行？",
    ),
    "timed_out": Text(
        "Timed out: nothing answered. A firewall drops, the host is down, or its queues are full.",
        "超时：没有任何应答。防火墙丢弃、主机宕机，或对端队列已满。",
    ),
    "unreachable": Text(
        "Unreachable: a router, or this host, has no way to it.",
        "不可达：本机或某个路由器没有通往它的路由。",
    ),
    "reset": Text(
        "Reset: the other end's host aborted during the handshake.",
        "被重置：对端主机在握手期间中止了连接。",
    ),
    "no_port": Text(
        "No port: this host has no local port left for it.",
        "无本地端口：本机已没有可用的本地端口。",
    ),
    "other": Text(
        "Other: the kernel gave another error. The application's log has it.",
        "其他：内核返回了别的错误，见应用日志。",
    ),
}
_MOST = {
    "refused": Text("refused", "被拒绝"),
    "timed_out": Text("timed out", "超时"),
    "unreachable": Text("unreachable", "不可达"),
    "reset": Text("reset", "被重置"),
    "no_port": Text("for want of a local port", "无本地端口"),
    "other": Text("for other reasons", "其他原因"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds(DetectorThresholds):
    """Share and number of the connections to one port that fail."""

    warning_ratio: Ratio = threshold(0.1, "of the connections to one port in the last 5 minutes")
    critical_ratio: Ratio = threshold(0.5, "of the connections to one port")
    least_failures: Count = threshold(20, "fewer failures in 5 minutes are no finding")


def find(data: DetectorInput, thresholds: Thresholds) -> Iterator[Finding]:
    """Yield a finding for each port that this host often cannot connect to."""
    if data.events is None:
        return
    ports = sorted(data.events.ports.items(), key=lambda item: -sum(_failed(item[1]).values()))
    for (direction, port), counts in ports:
        goes_on = (direction, port) in data.events.latest
        if direction == "outbound" and data.has_counted(direction, port) and goes_on:
            yield from _judge(data, thresholds, port, counts)


def _judge(
    data: DetectorInput, thresholds: Thresholds, port: int, counts: EventCounts
) -> Iterator[Finding]:
    failed = _failed(counts)
    number = sum(failed.values())
    subject = Subject("outbound", port)
    if number < thresholds.least_failures:
        return
    ratio = number / (number + counts.opened)
    judged = severity(
        data,
        FindingKey(NAME, data.netns, subject),
        ratio,
        thresholds.warning_ratio,
        thresholds.critical_ratio,
    )
    if judged is None:
        return
    assert data.events is not None
    most = _MOST[max(failed, key=lambda reason: failed[reason])]
    lately = roughly(data.events.seconds)
    yield Finding(
        detector=NAME,
        severity=judged,
        netns=data.netns,
        subject=subject,
        value=ratio,
        limit=thresholds.warning_ratio,
        summary=Text(
            f"{percent(ratio)} of the connections to port {port} failed in the last {lately}: "
            f"{number:,}, most of them {most}",
            f"最近 {lately} 内，到端口 {port} 的连接有 {percent(ratio)} 失败：{number:,} 个，"
            f"多数原因是{most.zh}",
        ),
        evidence={
            "opened": evidence.count(counts.opened),
            "failed": tuple((reason, evidence.count(n)) for reason, n in failed.items()),
            "abandoned_by_the_application": evidence.count(counts.failed["abandoned"]),
            "counted_for": evidence.seconds(data.events.seconds),
        },
        advice=_advice(port, failed),
    )


def _failed(counts: EventCounts) -> dict[str, int]:
    return {reason: counts.failed[reason] for reason in _MEANING if counts.failed[reason]}


def _advice(port: int, failed: dict[str, int]) -> tuple[Advice, ...]:
    ordered = sorted(failed, key=lambda reason: -failed[reason])
    return (
        *(Advice(_MEANING[reason]) for reason in ordered),
        see("-tanp", filter_=only("outbound", port)),
        Advice(
            Text(
                "Watch the attempts, with the addresses of both ends:",
                "观察连接尝试，含两端地址：",
            ),
            Command(f"sockmon trace --opens --port {port} --for 10s"),
            "look",
        ),
    )


DETECTOR = Detector(
    name=NAME,
    about="connections that this host makes to a port fail (needs events.enabled)",
    title=Text("Outbound connections fail", "对外发起的连接失败"),
    actor=Text("The peer, or the network", "对端或网络"),
    thresholds=Thresholds,
    find=find,
    needs_events=True,
    rule=Rule(
        summary="connections to a port fail",
        explanation=(
            "A large share of the connections that this host makes to one port are refused, time "
            "out, or fail otherwise."
        ),
    ),
)
