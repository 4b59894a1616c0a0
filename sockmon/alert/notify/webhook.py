"""Webhooks: one POST when an alert begins to fire, changes its severity or is resolved.

The message is version 4 of Alertmanager's webhook message, with every alert in a group of its own
(what `group_by: ['...']` makes), so that `status` and `groupKey` are exact, and a refused message
delays no other. A severity that another has superseded is not reported as resolved: the summary of
the new one begins "now critical: " or "now warning: ", that of a resolved alert "no longer: ".

Sources: Alertmanager, docs/configuration.md, webhook_config; notify/webhook/webhook.go;
template/template.go, Data; prometheus/common, model/signature.go.
"""

import json
from collections.abc import Iterator, Mapping

from sockmon.alert.changes import NO_LONGER, now_of
from sockmon.alert.labels import annotations_elsewhere
from sockmon.alert.notify.alertmanager import timestamp
from sockmon.alert.notify.post import host_of, identity_of, post
from sockmon.alert.notify.receiver import AlertSnapshot, Batch, Reported, after_sending, news
from sockmon.alert.settings import WebhookSettings

#: Go's zero time: it has not ended.
_NOT_YET = "0001-01-01T00:00:00Z"


class Webhook:
    """One URL that is notified of changes."""

    def __init__(self, name: str, url: str, settings: WebhookSettings) -> None:
        self.name = name
        self.identity = identity_of("webhook", url)
        self.where = host_of(url)
        self.reported: Reported = {}
        self._url = url
        self._settings = settings

    def due(self, snapshot: AlertSnapshot) -> Iterator[Batch]:
        """Return what is news."""
        for batch in news(self.reported, snapshot):
            if batch[-1].firing or self._settings.send_resolved:
                yield batch
            else:
                self.reported = after_sending(self.reported, batch)

    def send(self, batch: Batch, snapshot: AlertSnapshot) -> None:  # noqa: ARG002 - the signature is Receiver's
        """POST one message; raises DeliveryError."""
        post(self._url, message(batch, self.name), self._settings)
        self.reported = after_sending(self.reported, batch)


def message(batch: Batch, receiver: str) -> bytes:
    """Write the last alert of a batch as Alertmanager's webhook message, version 4."""
    alert = batch[-1]
    labels = dict(alert.labels)
    annotations = dict(annotations_elsewhere(alert.annotations, labels))
    if not alert.firing:
        annotations["summary"] = NO_LONGER + annotations["summary"]
    elif len(batch) > 1:
        annotations["summary"] = now_of(alert) + annotations["summary"]
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
