"""Alerts, and what was sent of them -> Prometheus metric families."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from prometheus_client.core import Metric

from sockmon.alert.lifecycle import Alert
from sockmon.alert.notify.sender import Notifications
from sockmon.alert.records import counted
from sockmon.export.families import ALERTS, NOTIFICATIONS, NOTIFICATIONS_FAILED
from sockmon.export.family import Samples, SeriesMemory


@dataclass(frozen=True, slots=True)
class AlertingStatus:
    """All alerts after the last poll, and by receiver what it was sent."""

    alerts: tuple[Alert, ...] = ()
    notifications: Mapping[str, Notifications] = field(default_factory=dict)


def families(status: AlertingStatus, started: float | None = None) -> Iterator[Metric]:
    """Yield the families that have samples; started: see Samples."""
    families = ALERTS, NOTIFICATIONS, NOTIFICATIONS_FAILED
    samples = Samples(families, SeriesMemory(), 0.0, started)
    for labels, count in sorted(counted(status.alerts).items()):
        samples.add(ALERTS, labels, count)
    for receiver, notifications in sorted(status.notifications.items()):
        samples.add(NOTIFICATIONS, (receiver,), notifications.total)
        samples.add(NOTIFICATIONS_FAILED, (receiver,), notifications.failed)
    return iter(samples)
