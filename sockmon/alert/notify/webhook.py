"""Webhooks: one POST for each alert that begins to fire or is resolved, as Alertmanager sends it.

Its form is version 4 of Alertmanager's webhook message, with every alert in a group of its own
(what `group_by: ['...']` makes), so that `status` and `groupKey` are exact, and one that is refused
holds up no other.

Sources: Alertmanager, docs/configuration.md, webhook_config; notify/webhook/webhook.go;
template/template.go, Data; prometheus/common, model/signature.go.
"""

import json
from collections.abc import Iterator, Mapping

from sockmon.alert.labels import annotations_elsewhere
from sockmon.alert.lifecycle import Alert
from sockmon.alert.notify.alertmanager import timestamp
from sockmon.alert.notify.post import host_of, identity_of, post
from sockmon.alert.notify.receiver import AlertSnapshot, Batch, Told, having_told, news
from sockmon.alert.settings import WebhookSettings

#: Go's zero time: it has not ended.
_NOT_YET = "0001-01-01T00:00:00Z"


class Webhook:
    """One URL that is told what changes."""

    def __init__(self, name: str, url: str, settings: WebhookSettings) -> None:
        self.name = name
        self.identity = identity_of("webhook", url)
        self.where = host_of(url)
        self.told: Told = {}
        self._url = url
        self._settings = settings

    def due(self, bulletin: AlertSnapshot) -> Iterator[Batch]:
        """Return each alert that is news."""
        for alert in news(self.told, bulletin):
            if alert.firing or self._settings.send_resolved:
                yield (alert,)
            else:
                self.told = having_told(self.told, alert)

    def send(self, batch: Batch, bulletin: AlertSnapshot) -> None:  # noqa: ARG002 - the signature is Receiver's
        """POST it; raises DeliveryError."""
        for alert in batch:
            post(self._url, message(alert, self.name), self._settings)
            self.told = having_told(self.told, alert)


def message(alert: Alert, receiver: str) -> bytes:
    """Write Alertmanager's webhook message, version 4."""
    labels = dict(alert.labels)
    annotations = dict(annotations_elsewhere(alert.annotations, labels))
    status = "firing" if alert.firing else "resolved"
    group = ", ".join(f"{name}={json.dumps(value)}" for name, value in labels.items())
    fired = alert.fired or alert.entered
    one = {
        "status": status,
        "labels": labels,
        "annotations": annotations,
        "startsAt": timestamp(fired.wall),
        "endsAt": _NOT_YET if alert.firing else timestamp(alert.entered.wall),
        "generatorURL": "",
        "fingerprint": fingerprint(labels),
    }
    return json.dumps(
        {
            "version": "4",
            "groupKey": f"{{}}:{{{group}}}",
            "truncatedAlerts": 0,
            "status": status,
            "receiver": receiver,
            "groupLabels": labels,
            "commonLabels": labels,
            "commonAnnotations": annotations,
            "externalURL": "",
            "alerts": [one],
        }
    ).encode()


def fingerprint(labels: Mapping[str, str]) -> str:
    """Hash labels as Prometheus and Alertmanager do: 64-bit FNV-1a, each part closed by 0xff."""
    value = 0xCBF29CE484222325
    for name in sorted(labels):
        for byte in b"%s\xff%s\xff" % (name.encode(), labels[name].encode()):
            value = (value ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return f"{value:016x}"
