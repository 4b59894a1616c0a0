"""/api/v1/alerts, and changes of alerts in the history."""

from typing import Literal, TypedDict

AlertState = Literal["pending", "firing", "resolved"]


class Alert(TypedDict):
    """One alert: labels identify it, annotations describe it."""

    state: AlertState
    since: float
    """When the condition was first found."""
    firing_since: float | None
    resolved_at: float | None
    labels: dict[str, str]
    annotations: dict[str, str]


class AlertsAnswer(TypedDict):
    """/api/v1/alerts: those that are pending or firing, or were resolved a while ago."""

    alerts: list[Alert]


class AlertChange(TypedDict):
    """An alert fired, or was resolved."""

    at: float
    state: Literal["firing", "resolved"]
    firing_since: float
    labels: dict[str, str]
    summary: str
    previous_severity: str | None
    """It was firing with this severity until then; the end of that is no change of its own."""
