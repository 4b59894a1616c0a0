"""Alertmanager, notified as Prometheus does it: POST /api/v2/alerts, again and again.

Alertmanager keeps an alert only until its endsAt. So each firing alert is sent again every
resend_delay, with an endsAt that allows for some sendings to fail; if sockmon dies, the alert
resolves by itself. A resolved alert is sent again too, for as long as the life cycle remembers it,
so that an Alertmanager that was down or has restarted learns of it. Sending twice is harmless: an
alert is identified by its labels. A superseded severity is sent as resolved, since Alertmanager
takes the severities of one condition for different alerts.

Sources: Prometheus, rules/alerting.go, (*AlertingRule).sendAlerts, and notifier/notifier.go;
Alertmanager, api/v2/openapi.yaml, postableAlerts.
"""

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from sockmon.alert.labels import annotations_elsewhere
from sockmon.alert.lifecycle import Alert, AlertKey
from sockmon.alert.notify.post import host_of, identity_of, post
from sockmon.alert.notify.receiver import AlertSnapshot, Batch, Reported, Sent, renewals
from sockmon.alert.settings import AlertmanagerSettings

#: Alerts in one request: Prometheus's maxBatchSize.
BATCH = 64
#: Of four sendings or polls, three may fail before an alert ends by itself.
_ENDS_AFTER = 4


class Alertmanager:
    """One Alertmanager. `reported` stays empty: after a restart everything is sent again."""

    def __init__(self, name: str, url: str, settings: AlertmanagerSettings) -> None:
        self.name = name
        self.identity = identity_of("alertmanager", url)
        self.where = host_of(url)
        self.reported: Reported = {}
        self._url = url.rstrip("/") + "/api/v2/alerts"
        self._settings = settings
        self._sent: Mapping[AlertKey, Sent] = {}

    def due(self, snapshot: AlertSnapshot) -> Iterator[Batch]:
        """Return what is new, changed, or to be repeated."""
        known = {alert.key for alert in snapshot.alerts}
        self._sent = {key: sent for key, sent in self._sent.items() if key in known}
        alerts = tuple(renewals(self._sent, snapshot, self._settings.resend_delay))
        for start in range(0, len(alerts), BATCH):
            yield alerts[start : start + BATCH]

    def send(self, batch: Batch, snapshot: AlertSnapshot) -> None:
        """POST them all; raises DeliveryError."""
        post(self._url, message(batch, snapshot, self._settings.resend_delay), self._settings)
        now = snapshot.at.monotonic
        self._sent = {**self._sent, **{a.key: Sent(now, a.firing) for a in batch}}


def message(batch: Batch, snapshot: AlertSnapshot, resend_delay: float) -> bytes:
    """Write the alerts as postableAlerts."""
    ends = snapshot.at.wall + _ENDS_AFTER * max(snapshot.interval, resend_delay)
    return json.dumps([_postable(alert, snapshot.at.wall, ends) for alert in batch]).encode()


def _postable(alert: Alert, now: float, ends: float) -> dict[str, Any]:
    """Write one alert; Alertmanager refuses an end before the start, as after a clock's jump."""
    fired = alert.fired.wall if alert.fired else now
    end = ends if alert.firing else alert.entered.wall
    return {
        "labels": dict(alert.labels),
        "annotations": dict(annotations_elsewhere(alert.annotations, alert.labels)),
        "startsAt": timestamp(min(fired, end)),
        "endsAt": timestamp(end),
    }


def timestamp(wall: float) -> str:
    """RFC 3339, in UTC."""
    return datetime.fromtimestamp(wall, UTC).isoformat(timespec="milliseconds")
