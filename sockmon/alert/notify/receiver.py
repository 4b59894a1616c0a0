"""What every receiver is, and the two ways of deciding what to send it (pure).

No events are queued. What a receiver has been sent is compared with what is true now, so a receiver
that was down for a day is sent the current state once; what began and ended meanwhile is left out,
and nothing ever grows beyond the number of alerts there are.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from sockmon.alert.lifecycle import Alert, AlertKey, Condition, State, ended
from sockmon.model.moment import Moment


@dataclass(frozen=True, slots=True)
class AlertSnapshot:
    """All alerts at one poll; the next poll is expected after `interval` seconds."""

    at: Moment
    interval: float
    alerts: tuple[Alert, ...]


#: Alerts that are sent together.
Batch: TypeAlias = tuple[Alert, ...]
#: The firing alerts that a receiver has been sent, each as it was then.
Reported: TypeAlias = Mapping[AlertKey, Alert]


class DeliveryError(Exception):
    """Why the receiver could not be notified: one line, without secrets."""


class RejectedError(DeliveryError):
    """The receiver is there and refused this batch; it may accept another."""


class Receiver(Protocol):
    """Used by one thread, except for `reported`, which is replaced as a whole.

    name: a short name, usable as a label value. identity: the same for the same receiver in any
    configuration, and not a secret. where: the host and port that are notified, for people; empty
    for the log.
    """

    name: str
    identity: str
    where: str
    reported: Reported

    def due(self, snapshot: AlertSnapshot) -> Iterable[Batch]:
        """Return what has to be sent now, in batches."""
        ...

    def send(self, batch: Batch, snapshot: AlertSnapshot) -> None:
        """Send it, and remember that; raises DeliveryError."""
        ...


def news(reported: Reported, snapshot: AlertSnapshot) -> Iterator[Batch]:
    """Yield what has begun or ended since `reported`, in one batch for each condition.

    The last alert of a batch says what happened: it fires, or it is resolved. Others in the batch
    are severities of the same condition that it has superseded: their end is not reported.
    """
    batches: dict[Condition, Batch] = {}
    for alert in _changed(reported, snapshot):
        condition = alert.key.condition
        batches[condition] = (*batches.get(condition, ()), alert)
    yield from batches.values()


def _changed(reported: Reported, snapshot: AlertSnapshot) -> Iterator[Alert]:
    """Yield each alert that was reported and has ended, then each that fires unreported."""
    now = {alert.key: alert for alert in snapshot.alerts}
    for key, alert in reported.items():
        current = now.get(key)
        if current is None or not current.firing:
            resolved = current is not None and current.state is State.RESOLVED
            yield current if current and resolved else ended(alert, snapshot.at)
    yield from (alert for key, alert in now.items() if alert.firing and key not in reported)


def after_sending(reported: Reported, batch: Batch) -> Reported:
    """Return what the receiver has been sent once it has this batch."""
    keys = {alert.key for alert in batch}
    others = {key: alert for key, alert in reported.items() if key not in keys}
    return {**others, **{alert.key: alert for alert in batch if alert.firing}}


@dataclass(frozen=True, slots=True)
class Sent:
    """When an alert was last sent (monotonic seconds), and whether as firing."""

    at: float
    firing: bool


def renewals(
    sent: Mapping[AlertKey, Sent], snapshot: AlertSnapshot, resend_delay: float
) -> Iterator[Alert]:
    """Yield each firing or resolved alert that is new, changed, or to be repeated.

    For a receiver that forgets what is not repeated: see Prometheus, rules/alerting.go,
    (*Alert).needsSending.
    """
    for alert in snapshot.alerts:
        if not alert.firing and alert.state is not State.RESOLVED:
            continue
        last = sent.get(alert.key)
        if (
            last is None
            or last.firing != alert.firing
            or snapshot.at.monotonic - last.at >= resend_delay
        ):
            yield alert
