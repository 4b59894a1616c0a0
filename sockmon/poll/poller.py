"""One poll: kernel -> Observation. Has no clock of its own."""

from collections.abc import Callable, Mapping
from functools import partial
from math import inf
from typing import Any

from sockmon.kernel.netlink.source import KernelSource
from sockmon.kernel.netns.access import Look
from sockmon.kernel.netns.tracker import NamespaceTracker
from sockmon.model.moment import Moment
from sockmon.model.names import HOST
from sockmon.model.observation import Observation
from sockmon.model.poll_statistics import PollStatistics
from sockmon.poll.cpu_budget import Account, Lane
from sockmon.poll.other_namespaces import Round, Rounds
from sockmon.poll.own_namespace import Host
from sockmon.settings import Config


def uncounted() -> float:
    """Stand in for a clock of CPU time where there is no budget to keep."""
    return 0.0


def _nobody(lane: Lane) -> float:  # noqa: ARG001 - the signature is longest_waiting()'s
    return inf


class Poller:
    """Polls one kernel, again and again: its own namespace and, if wanted, all others."""

    def __init__(self, source: KernelSource, config: Config, look: Look | None = None) -> None:
        """look: see NamespaceTracker."""
        self.config = config
        self._look = look
        self._source = source
        self._account = Account()
        self._host = Host(source, self._account)
        self._rounds: Rounds | None = None
        self._remembered: Mapping[str, Any] = {}
        self._statistics = PollStatistics()

    def poll(
        self, clock: Callable[[], Moment], cpu: Callable[[], float] = uncounted
    ) -> Observation:
        """Read the kernel once. Never raises for what the kernel refuses: that is a Failure.

        cpu: seconds of CPU time that the process has used, to keep poll.cpu_budget by.
        """
        config = self.config
        begun = clock()
        waiting = _nobody if self._rounds is None else self._rounds.longest_waiting
        cpu = partial(self._with_helper, cpu)
        host, failed = self._host.poll(begun, config, cpu, waiting)
        others = self._others(begun, config, cpu)
        self._account.hand_over(Lane.TROUBLED)
        namespaces = (host, *(others.namespaces if others else ()))
        failures = (*failed, *(others.failures if others else ()))
        seconds = clock().monotonic - begun.monotonic
        shown = {namespace.name for namespace in namespaces if not namespace.folded}
        self._statistics = self._statistics.polled(seconds, failures, shown)
        return Observation(
            at=begun,
            interval=config.poll.interval,
            namespaces=namespaces,
            failures=failures,
            statistics=self._statistics,
            neighbours=others.neighbours if others else None,
            unseen=others.unseen if others else frozenset(),
            hints=others.hints if others else (),
        )

    def _with_helper(self, cpu: Callable[[], float]) -> float:
        """Return the CPU time that counts: the helper works for sockmon too."""
        return cpu() + (0.0 if self._rounds is None else self._rounds.helper_cpu)

    def _others(self, begun: Moment, config: Config, cpu: Callable[[], float]) -> Round | None:
        """Poll the other namespaces, as far as they are wanted and the budget allows."""
        wanted = config.poll.namespaces == "all"
        rounds = self._rounds
        if rounds is not None and not (wanted and rounds.helper == config.poll.netns_helper_socket):
            self._remembered = {name: record() for name, record in rounds.remember().items()}
            rounds.close()
            self._rounds = None
        if not wanted:
            return None
        if self._rounds is None:
            tracker = NamespaceTracker(self._source, config.poll.netns_helper_socket, self._look)
            self._rounds = Rounds(self._source, tracker, self._remembered, self._account)
            self._remembered = {}
        return self._rounds.poll(begun, config, cpu)

    def remember(self) -> Callable[[], Mapping[str, Any]]:
        """Return what makes a record of what is to survive a restart, JSON-ready, by namespace.

        The record is large, and wanted only now and then, by the thread that writes it.
        """
        records = {HOST: self._host.monitor.remember()}
        if self._rounds is not None:
            records.update(self._rounds.remember())
        return lambda: {name: record() for name, record in records.items()}

    def recall(self, remembered: Mapping[str, Any]) -> None:
        """Take up what remember()'s record was in an earlier process of this boot."""
        self._remembered = {name: record for name, record in remembered.items() if name != HOST}
        if HOST in remembered:
            self._host.monitor.recall(remembered[HOST])

    def close(self) -> None:
        """Let go of all namespaces."""
        self._host.monitor.close()
        if self._rounds is not None:
            self._rounds.close()
