"""Notifications: one file per receiver, and one thread each, so that none waits for another."""

from collections.abc import Iterator

from sockmon.alert.notify.log import Log
from sockmon.alert.notify.receiver import Receiver
from sockmon.alert.settings import Alerting


def receivers(settings: Alerting) -> Iterator[Receiver]:
    """Make the log, which is always there, and the configured receivers."""
    yield Log()
    if settings.alertmanager.urls or settings.webhook.urls:
        yield from _over_http(settings)


def _over_http(settings: Alerting) -> Iterator[Receiver]:
    from sockmon.alert.notify.alertmanager import Alertmanager  # noqa: PLC0415 - loaded if used
    from sockmon.alert.notify.webhook import Webhook  # noqa: PLC0415 - as above

    for number, url in enumerate(settings.alertmanager.urls):
        yield Alertmanager(f"alertmanager-{number}", url, settings.alertmanager)
    for number, url in enumerate(settings.webhook.urls):
        yield Webhook(f"webhook-{number}", url, settings.webhook)
