"""The log: a line for every alert that begins to fire, changes its severity or is resolved."""

import logging
from collections.abc import Iterator

from sockmon.alert.changes import NO_LONGER, now_of
from sockmon.alert.notify.receiver import AlertSnapshot, Batch, Reported, after_sending, news

log = logging.getLogger("sockmon")

_LEVELS = {"warning": logging.WARNING, "critical": logging.ERROR}


class Log:
    """Journal or standard error, wherever the daemon logs to."""

    name = identity = "log"
    where = ""

    def __init__(self) -> None:
        self.reported: Reported = {}

    def due(self, snapshot: AlertSnapshot) -> Iterator[Batch]:
        """Return what is news."""
        return news(self.reported, snapshot)

    def send(self, batch: Batch, snapshot: AlertSnapshot) -> None:  # noqa: ARG002 - the signature is Receiver's
        """Log one line."""
        alert = batch[-1]
        level = _LEVELS[alert.key.severity] if alert.firing else logging.INFO
        log.log(level, "%s", line(batch))
        self.reported = after_sending(self.reported, batch)


def line(batch: Batch) -> str:
    """Write what happened to which alert, with its labels as Prometheus writes them."""
    alert = batch[-1]
    labels = ",".join(f'{k}="{v}"' for k, v in alert.labels.items() if k != "alertname")
    name = f"{alert.labels['alertname']}{{{labels}}}"
    summary = alert.annotations["summary"]
    if not alert.firing:
        return f"resolved: {name}: {NO_LONGER}{summary}"
    return f"{'firing: ' if len(batch) == 1 else now_of(alert)}{name}: {summary}"
