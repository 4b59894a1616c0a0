"""Alerts and what was told of them -> Prometheus metric families."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from prometheus_client.core import CounterMetricFamily as Counter
from prometheus_client.core import GaugeMetricFamily as Gauge
from prometheus_client.core import Metric

from sockmon.alert.lifecycle import Alert
from sockmon.alert.notify.sender import Notifications
from sockmon.alert.records import counted


@dataclass(frozen=True, slots=True)
class AlertingStatus:
    """All alerts after the last poll, and by receiver what it was sent."""

    alerts: tuple[Alert, ...] = ()
    notifications: Mapping[str, Notifications] = field(default_factory=dict)


def families(status: AlertingStatus) -> Iterator[Metric]:
    """Yield the families that have samples."""
    alerts = Gauge(
        "sockmon_alerts",
        "Alerts that are pending or firing.",
        labels=["alertname", "severity", "state"],
    )
    for labels, count in sorted(counted(status.alerts).items()):
        alerts.add_metric(list(labels), count)
    sent = Counter(
        "sockmon_notifications", "Notifications sent, failed ones included.", labels=["receiver"]
    )
    failed = Counter(
        "sockmon_notifications_failed",
        "Notifications that their receiver did not take.",
        labels=["receiver"],
    )
    for receiver, notifications in sorted(status.notifications.items()):
        sent.add_metric([receiver], notifications.total)
        failed.add_metric([receiver], notifications.failed)
    return (family for family in (alerts, sent, failed) if family.samples)
