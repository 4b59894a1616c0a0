"""One poll: kernel -> Observation. Has no clock of its own."""

from collections.abc import Callable, Mapping
from typing import Any

from sockmon.config import Config
from sockmon.kernel.source import KernelSource
from sockmon.model.observation import Moment, Observation, PollStatistics
from sockmon.namespace import NamespaceMonitor


class Monitor:
    """Polls one kernel, again and again."""

    def __init__(self, source: KernelSource, config: Config) -> None:
        self.config = config
        self._host = NamespaceMonitor(source)
        self._statistics = PollStatistics()

    def poll(self, clock: Callable[[], Moment]) -> Observation:
        """Read the kernel once. Never raises for what the kernel refuses: that is a Failure."""
        begun = clock()
        namespace, failures = self._host.poll(begun, self.config)
        seconds = clock().monotonic - begun.monotonic
        self._statistics = self._statistics.polled(seconds, tuple(failures))
        return Observation(
            at=begun,
            interval=self.config.poll.interval,
            namespaces=(namespace,),
            failures=tuple(failures),
            statistics=self._statistics,
        )

    def remember(self) -> Callable[[], Mapping[str, Any]]:
        """Return what makes a record of what is to survive a restart, JSON-ready, by namespace.

        The record is large, and wanted only now and then, by the thread that writes it.
        """
        name, record = self._host.name, self._host.remember()
        return lambda: {name: record()}

    def recall(self, remembered: Mapping[str, Any]) -> None:
        """Take up what remember()'s record was in an earlier process of this boot."""
        if self._host.name in remembered:
            self._host.recall(remembered[self._host.name])

    def close(self) -> None:
        """Close the kernel's sockets."""
        self._host.close()
