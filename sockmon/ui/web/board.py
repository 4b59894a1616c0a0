"""Where the daemon puts its last observation, and every HTTP request finds it."""

from collections.abc import Callable
from dataclasses import dataclass, field

from sockmon.export.alerts import AlertingStatus
from sockmon.export.metrics import Build, Reload
from sockmon.model.observation import STALE_AFTER_INTERVALS, Observation


@dataclass(slots=True)
class Board:
    """The last observation and how the daemon fares; `clock` gives monotonic seconds."""

    clock: Callable[[], float]
    build: Build
    reload: Reload
    started_at: float
    interval: float
    observation: Observation | None = None
    alerting: AlertingStatus = field(default_factory=AlertingStatus)

    def why_unhealthy(self) -> str | None:
        """Return why polling has stopped, or None: whether polls succeed is another question."""
        last = self.observation.at.monotonic if self.observation else self.started_at
        silent = self.clock() - last
        if silent > STALE_AFTER_INTERVALS * self.interval:
            return f"no poll has ended for {silent:.0f} s"
        return None

    def why_not_ready(self) -> str | None:
        """Return why there is nothing fresh to show, or None."""
        observation = self.observation
        if observation is None:
            return "no poll has ended yet"
        host = observation.namespaces[0]
        if observation.fresh(host.tcp, self.clock()) is not None:
            return None
        if observation.failures:
            return observation.failures[0].message
        return self.why_unhealthy() or "no poll has succeeded yet"
