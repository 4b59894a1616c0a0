"""The last observation and the daemon's state, where every HTTP request finds them."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from sockmon.export.alerts import AlertingStatus
from sockmon.export.metrics import Build, Reload
from sockmon.history.snapshot import HistorySnapshot
from sockmon.model.observation import STALE_AFTER_INTERVALS, Observation

NO_POLL_YET = "the first poll has not ended yet"
NO_SUCH_NAMESPACE = "netns: there is no network namespace of this name"


@dataclass(slots=True)
class LatestObservation:
    """The last observation and the daemon's state; `clock` returns monotonic seconds.

    started_at, started_wall: when the daemon began, in monotonic and in Unix seconds.
    host: this host's name. past: returns the history kept so far; for any thread.
    """

    clock: Callable[[], float]
    build: Build
    reload: Reload
    started_at: float
    interval: float
    started_wall: float = 0.0
    host: str = ""
    observation: Observation | None = None
    alerting: AlertingStatus = field(default_factory=AlertingStatus)
    past: Callable[[], HistorySnapshot | None] = lambda: None
    _posted: asyncio.Event = field(default_factory=asyncio.Event)

    def post(self, observation: Observation, alerting: AlertingStatus) -> None:
        """Replace it by what a poll has found, and wake those who wait (in the event loop)."""
        self.observation, self.alerting = observation, alerting
        self._posted.set()
        self._posted = asyncio.Event()

    async def posted_after(self, seen: Observation | None) -> None:
        """Return once the observation is another than `seen`."""
        while self.observation is seen:
            await self._posted.wait()

    def why_unhealthy(self) -> str | None:
        """Return why polling has stopped, or None; polls that fail do not count as stopped."""
        last = self.observation.at.monotonic if self.observation else self.started_at
        silent = self.clock() - last
        if silent > STALE_AFTER_INTERVALS * self.interval:
            return f"no poll has ended for {silent:.0f} s"
        return None

    def why_not_ready(self) -> str | None:
        """Return why there is no recent data to show, or None."""
        observation = self.observation
        if observation is None:
            return NO_POLL_YET
        host = observation.namespaces[0]
        if observation.fresh(host, host.tcp, self.clock()) is not None:
            return None
        if observation.failures:
            return observation.failures[0].message
        return self.why_unhealthy() or "no poll has succeeded yet"
