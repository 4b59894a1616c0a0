"""Slow close: an application takes long to close connections that their peers have closed.

No connection is leaked, and a poll sees few at a time; but the time from the peer's FIN to ours, of
all closes, says that the application is slow. The kernel counts them (`events.enabled`), in
buckets: the value is the lower bound of the bucket in which the 99th percentile lies.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from sockmon.detect import evidence
from sockmon.detect.commands import only, see
from sockmon.detect.detector import (
    Count,
    Detector,
    DetectorThresholds,
    Rule,
    Seconds,
    severity,
    threshold,
)
from sockmon.durations import roughly
from sockmon.language import Text
from sockmon.model.connection_events import BOUNDS, Histogram
from sockmon.model.detector_input import DetectorInput
from sockmon.model.direction import Direction
from sockmon.model.finding import Advice, Finding, FindingKey, Subject
from sockmon.model.states import TcpState

NAME = "slow_close"

_SHARE = 0.99


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds(DetectorThresholds):
    """How long the 99th percentile of closes may take."""

    slow_after: Seconds = threshold(
        5.0, "from the peer's FIN to ours, 1 of 100 closes in the last 5 minutes"
    )
    critical_after: Seconds = threshold(60.0, "the same")
    least_closes: Count = threshold(20, "fewer closes in 5 minutes are no finding")


def find(data: DetectorInput, thresholds: Thresholds) -> Iterator[Finding]:
    """Yield a finding for each (direction, port) whose connections are closed slowly."""
    if data.events is None:
        return
    closes = {place: its.histogram("close_wait") for place, its in data.events.ports.items()}
    for (direction, port), times in sorted(closes.items(), key=lambda item: -item[1].count):
        if times.count >= thresholds.least_closes and data.has_counted(direction, port):
            yield from _judge(data, thresholds, direction, port, times)


def _judge(
    data: DetectorInput, thresholds: Thresholds, direction: Direction, port: int, times: Histogram
) -> Iterator[Finding]:
    subject = Subject(direction, port)
    slow = times.quantile_above(_SHARE)
    judged = severity(
        data,
        FindingKey(NAME, data.netns, subject),
        slow,
        thresholds.slow_after,
        thresholds.critical_after,
    )
    if judged is None:
        return
    assert data.events is not None
    lately = roughly(data.events.seconds)
    names = [*(f"up_to_{bound:g}_s" for bound in BOUNDS), f"above_{BOUNDS[-1]:g}_s"]
    yield Finding(
        detector=NAME,
        severity=judged,
        netns=data.netns,
        subject=subject,
        value=slow,
        limit=thresholds.slow_after,
        summary=Text(
            f"1 of 100 connections of port {port} is closed more than {roughly(slow)} after its "
            f"peer has closed ({times.count:,} closes in the last {lately})",
            f"端口 {port} 的连接中，每 100 个有 1 个在对端关闭 {roughly(slow)} 之后才关闭"
            f"（最近 {lately} 共 {times.count:,} 次关闭）",
        ),
        evidence={
            "closes": evidence.count(times.count),
            "mean": evidence.seconds(times.seconds / times.count),
            "time_to_close": tuple(
                (name, evidence.count(number))
                for name, number in zip(names, times.buckets, strict=True)
                if number
            ),
        },
        advice=(
            Advice(
                Text(
                    "The application sees the peer's FIN as the end of file when it reads. It "
                    "reads too late (a full thread pool, a blocked event loop), or does long work "
                    "before it closes.",
                    "对端的 FIN 在应用读取时表现为 EOF。应用读取太晚（线程池已满、事件循环被阻塞"
                    "），或关闭前还在做耗时操作。",
                )
            ),
            see("-tanp", TcpState.CLOSE_WAIT, filter_=only(direction, port)),
        ),
    )


DETECTOR = Detector(
    name=NAME,
    about="applications close long after their peers have (needs events.enabled)",
    title=Text("Connections are closed slowly", "连接关闭缓慢"),
    actor=Text("The application here", "本机应用"),
    state=TcpState.CLOSE_WAIT,
    thresholds=Thresholds,
    find=find,
    needs_events=True,
    rule=Rule(
        summary="connections are closed long after their peers have closed them",
        explanation=(
            "The application takes long to notice that its peers have closed, or to close itself. "
            "Meanwhile its sockets are in CLOSE_WAIT."
        ),
    ),
)
