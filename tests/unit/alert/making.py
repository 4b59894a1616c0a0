"""Findings, moments and alerts, as tests want them."""

from sockmon.alert.lifecycle import Alert, Alerts, FixedWaits, step
from sockmon.language import Text
from sockmon.model.direction import Direction
from sockmon.model.finding import (
    Advice,
    Command,
    Evidence,
    Finding,
    Quantity,
    Severity,
    Subject,
)
from sockmon.model.moment import Moment

DETECTOR = "close_wait_leak"
AT_ONCE = {DETECTOR: FixedWaits(0.0, 0.0)}
WALL = 1_700_000_000.0


def finding(  # noqa: PLR0913 - each part has its default
    severity: Severity = "warning",
    *,
    detector: str = DETECTOR,
    netns: str = "host",
    direction: Direction | None = "inbound",
    port: int | None = 80,
    owner: str | None = "nginx.service",
    summary: str = "nginx.service has not closed 12 connections",
    evidence: Evidence | None = None,
) -> Finding:
    return Finding(
        detector=detector,
        severity=severity,
        netns=netns,
        subject=Subject(direction, port, owner),
        value=12,
        limit=10,
        summary=Text(summary),
        evidence={"oldest": Quantity(61.5, "seconds"), "peers": ()}
        if evidence is None
        else evidence,
        advice=(
            Advice(Text("Close them.")),
            Advice(Text("List the sockets:"), Command("ss -tnp"), "look"),
        ),
    )


def at(seconds: float) -> Moment:
    """So many seconds after some moment."""
    return Moment(1000.0 + seconds, WALL + seconds)


def firing(*findings: Finding, since: float = 0.0, **labels: str) -> Alerts:
    """The alerts of these findings, all of which fire at once."""
    waits = {found.detector: FixedWaits(0.0, 0.0) for found in findings}
    return step({}, findings, at(since), waits, labels)


def resolved(*findings: Finding, since: float = 0.0, until: float = 60.0) -> Alerts:
    """The same, no longer there."""
    waits = {found.detector: FixedWaits(0.0, 0.0) for found in findings}
    return step(firing(*findings, since=since), (), at(until), waits, {})


def only(alerts: Alerts) -> Alert:
    (alert,) = alerts.values()
    return alert
