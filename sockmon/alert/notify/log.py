"""The log, told of every alert that begins to fire, changes its severity or is resolved."""

import logging
from collections.abc import Iterator

from sockmon.alert.lifecycle import Alert, Condition
from sockmon.alert.notify.receiver import AlertSnapshot, Batch, Told, having_told, news

log = logging.getLogger("sockmon")

_LEVELS = {"warning": logging.WARNING, "critical": logging.ERROR}


class Log:
    """Journal or standard error, whatever the daemon logs to."""

    name = identity = "log"
    where = ""

    def __init__(self) -> None:
        self.told: Told = {}

    def due(self, bulletin: AlertSnapshot) -> Iterator[Batch]:
        """Return what is news, by condition: of a new severity together with the end of the old."""
        by_condition: dict[Condition, list[Alert]] = {}
        for alert in news(self.told, bulletin):
            by_condition.setdefault(alert.key.condition, []).append(alert)
        return map(tuple, by_condition.values())

    def send(self, batch: Batch, bulletin: AlertSnapshot) -> None:  # noqa: ARG002 - the signature is Receiver's
        """Log a line: the end of a severity is none, if another has taken over."""
        *_, last = batch
        level = _LEVELS[last.key.severity] if last.firing else logging.INFO
        log.log(level, "%s", line(last, takes_over=len(batch) > 1))
        for alert in batch:
            self.told = having_told(self.told, alert)


def line(alert: Alert, *, takes_over: bool = False) -> str:
    """Write what happened to which alert, as Prometheus writes labels."""
    name = alert.labels["alertname"]
    labels = ",".join(f'{k}="{v}"' for k, v in alert.labels.items() if k != "alertname")
    happened = f"{name}{{{labels}}}"
    summary = alert.annotations["summary"]
    if not alert.firing:
        return f"resolved: {happened}: it was: {summary}"
    what = f"now {alert.key.severity}" if takes_over else "firing"
    return f"{what}: {happened}: {summary}"
