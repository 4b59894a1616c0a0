"""What every receiver is, and the two ways of deciding what it has to be told (pure).

Nothing is queued as an event. What a receiver has been told is compared with what is true now, so
a receiver that was dead for a day is told once how things stand, what came and went meanwhile is
left out, and nothing ever grows beyond the alerts there are.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from sockmon.alert.lifecycle import Alert, AlertKey, State, ended
from sockmon.model.moment import Moment


@dataclass(frozen=True, slots=True)
class AlertSnapshot:
    """How things stood at one poll; the next is expected after `interval` seconds."""

    at: Moment
    interval: float
    alerts: tuple[Alert, ...]


Batch: TypeAlias = tuple[Alert, ...]
#: The firing alerts a receiver knows of, as it was told them.
Told: TypeAlias = Mapping[AlertKey, Alert]


class DeliveryError(Exception):
    """Why the receiver was not told: one line, without secrets."""


class RejectedError(DeliveryError):
    """It is there, and would not take this one; it may take another."""


class Receiver(Protocol):
    """Used by one thread alone, but for `told`, which is replaced as a whole.

    name: a short name that is fit for a label. identity: the same for the same receiver in any
    configuration, and no secret. where: the host and port it is told at, for people; none of the
    log.
    """

    name: str
    identity: str
    where: str
    told: Told

    def due(self, bulletin: AlertSnapshot) -> Iterable[Batch]:
        """Return what it has to be told now, as it is to be sent."""
        ...

    def send(self, batch: Batch, bulletin: AlertSnapshot) -> None:
        """Tell it, and remember that; raises DeliveryError."""
        ...


def news(told: Told, bulletin: AlertSnapshot) -> Iterator[Alert]:
    """Yield each alert that is firing and not told, or told and no longer firing."""
    now = {alert.key: alert for alert in bulletin.alerts}
    for key, alert in told.items():
        current = now.get(key)
        if current is None or not current.firing:
            resolved = current is not None and current.state is State.RESOLVED
            yield current if current and resolved else ended(alert, bulletin.at)
    yield from (alert for key, alert in now.items() if alert.firing and key not in told)


def having_told(told: Told, alert: Alert) -> Told:
    """Return what the receiver knows once it has been told of this alert."""
    others = {key: other for key, other in told.items() if key != alert.key}
    return {**others, alert.key: alert} if alert.firing else others


@dataclass(frozen=True, slots=True)
class Sent:
    """When an alert was last sent (monotonic), and whether as firing."""

    at: float
    firing: bool


def renewals(
    sent: Mapping[AlertKey, Sent], bulletin: AlertSnapshot, resend_delay: float
) -> Iterator[Alert]:
    """Yield each alert that fires or has been resolved and is new, changed, or to be repeated.

    A receiver that forgets what is not repeated needs that: see Prometheus, rules/alerting.go,
    (*Alert).needsSending.
    """
    for alert in bulletin.alerts:
        if not alert.firing and alert.state is not State.RESOLVED:
            continue
        last = sent.get(alert.key)
        if (
            last is None
            or last.firing != alert.firing
            or bulletin.at.monotonic - last.at >= resend_delay
        ):
            yield alert
