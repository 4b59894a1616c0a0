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
from sockmon.model.connection_events import EventCounts
from sockmon.model.detector_input import DetectorInput
from sockmon.model.finding import Advice, Command, Finding, FindingKey, Subject

NAME = "connect_failures"

#: Reasons that are failures, and what each says.
_MEANING = {
    "refused": "nobody listens on that port, or a firewall rejects: is the service up?",
    "timed_out": "nothing answered: a firewall drops, the host is down, or its queues are full.",
    "unreachable": "a router, or this host, has no way to it.",
    "reset": "the other end's host aborted during the handshake.",
    "no_port": "this host has no local port left for it.",
    "other": "the kernel gave another error; the application's log has it.",
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
    unnamed = data.unnamed()
    for (direction, port), counts in sorted(data.events.ports.items()):
        goes_on = (direction, port) in data.events.latest
        if direction == "outbound" and not unnamed[port] and goes_on:
            yield from _judge(data, thresholds, port, counts)


def _judge(
    data: DetectorInput, thresholds: Thresholds, port: int, counts: EventCounts
) -> Iterator[Finding]:
    failed = {reason: counts.failed[reason] for reason in _MEANING if counts.failed[reason]}
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
    most = max(failed, key=lambda reason: failed[reason])
    yield Finding(
        detector=NAME,
        severity=judged,
        netns=data.netns,
        subject=subject,
        value=ratio,
        limit=thresholds.warning_ratio,
        summary=(
            f"{percent(ratio)} of the connections to port {port} failed in the last "
            f"{roughly(data.events.seconds)}: {number:,}, most of them {most.replace('_', ' ')}"
        ),
        evidence={
            "opened": evidence.count(counts.opened),
            "failed": tuple((reason, evidence.count(n)) for reason, n in failed.items()),
            "abandoned_by_the_application": evidence.count(counts.failed["abandoned"]),
            "counted_for": evidence.seconds(data.events.seconds),
        },
        advice=_advice(port, failed),
    )


def _advice(port: int, failed: dict[str, int]) -> tuple[Advice, ...]:
    ordered = sorted(failed, key=lambda reason: -failed[reason])
    meant = (f"{reason.replace('_', ' ').capitalize()}: {_MEANING[reason]}" for reason in ordered)
    return (
        *map(Advice, meant),
        see("-tanp", filter_=only("outbound", port)),
        Advice(
            "Watch the attempts, with both ends' addresses:",
            Command(f"sockmon trace --opens --port {port}"),
            "look",
        ),
    )


DETECTOR = Detector(
    name=NAME,
    about="connections that this host makes to a port fail (needs events.enabled)",
    title="Connections to a port fail",
    actor="The peer, or the network",
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
