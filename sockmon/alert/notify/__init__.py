"""Notifications: one file per receiver, and one thread each, so that none waits for another."""

from collections.abc import Iterator

from sockmon.alert.notify.alertmanager import Alertmanager
from sockmon.alert.notify.log import Log
from sockmon.alert.notify.receiver import Receiver
from sockmon.alert.notify.webhook import Webhook
from sockmon.alert.settings import Alerting


def receivers(settings: Alerting) -> Iterator[Receiver]:
    """Make the log, which is always there, and the configured receivers."""
    yield Log()
    for number, url in enumerate(settings.alertmanager.urls):
        yield Alertmanager(f"alertmanager-{number}", url, settings.alertmanager)
    for number, url in enumerate(settings.webhook.urls):
        yield Webhook(f"webhook-{number}", url, settings.webhook)
