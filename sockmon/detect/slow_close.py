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
    unnamed = data.unnamed()
    for (direction, port), counts in sorted(data.events.ports.items()):
        times = counts.histogram("close_wait")
        if times.count >= thresholds.least_closes and not unnamed[port]:
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
    names = [*(f"up_to_{bound:g}_s" for bound in BOUNDS), f"above_{BOUNDS[-1]:g}_s"]
    yield Finding(
        detector=NAME,
        severity=judged,
        netns=data.netns,
        subject=subject,
        value=slow,
        limit=thresholds.slow_after,
        summary=(
            f"1 of 100 connections of port {port} is closed more than {roughly(slow)} after its "
            f"peer has closed ({times.count:,} closes in the last {roughly(data.events.seconds)})"
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
                "The application sees the peer's FIN as the end of file when it reads. It reads "
                "too late (a full thread pool, a blocked event loop), or does long work before it "
                "closes."
            ),
            see("-tanp", TcpState.CLOSE_WAIT, filter_=only(direction, port)),
        ),
    )


DETECTOR = Detector(
    name=NAME,
    about="applications close long after their peers have (needs events.enabled)",
    title="Connections are closed slowly",
    actor="The application here",
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
