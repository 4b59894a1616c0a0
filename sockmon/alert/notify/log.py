"""The log, which is told of every alert that begins to fire or is resolved."""

import logging
from collections.abc import Iterator

from sockmon.alert.lifecycle import Alert
from sockmon.alert.notify.receiver import Batch, Bulletin, Told, having_told, news

log = logging.getLogger("sockmon")

_LEVELS = {"warning": logging.WARNING, "critical": logging.ERROR}


class Log:
    """Journal or standard error, whatever the daemon logs to."""

    name = identity = "log"

    def __init__(self) -> None:
        self.told: Told = {}

    def due(self, bulletin: Bulletin) -> Iterator[Batch]:
        """Return each alert that is news."""
        return ((alert,) for alert in news(self.told, bulletin))

    def send(self, batch: Batch, bulletin: Bulletin) -> None:  # noqa: ARG002 - the signature is Receiver's
        """Log a line for each."""
        for alert in batch:
            level = _LEVELS[alert.key.severity] if alert.firing else logging.INFO
            log.log(level, "%s", line(alert))
            self.told = having_told(self.told, alert)


def line(alert: Alert) -> str:
    """Write what happened to which alert, as Prometheus writes labels."""
    name = alert.labels["alertname"]
    labels = ",".join(f'{k}="{v}"' for k, v in alert.labels.items() if k != "alertname")
    what, was = ("firing", "") if alert.firing else ("resolved", "it was: ")
    return f"{what}: {name}{{{labels}}}: {was}{alert.annotations['summary']}"
