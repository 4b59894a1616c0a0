"""Polls the daemon's own namespace. When its table is large, polls keep to the CPU budget.

A small table is read whole at every poll that the budget can pay for: with the default interval,
at every one. Of a large one, the sockets in states that mean trouble are read at every poll, and
all sockets in turn with the other namespaces; in between, the counts of sockets at rest
(established, TIME_WAIT) are those of the last whole read.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from sockmon.kernel.fallback import with_fallback
from sockmon.kernel.inspector import Inspector
from sockmon.kernel.netlink.source import KernelSource
from sockmon.model.moment import Moment
from sockmon.model.observation import NamespaceObservation
from sockmon.model.poll_statistics import Failure
from sockmon.poll.cpu_budget import LEAST_SHARE, MINUTE, CpuBudget, PollAge, Priority
from sockmon.poll.namespace_poller import NamespacePoller
from sockmon.poll.reading import Clock
from sockmon.settings import Config


class OwnNamespacePoller:
    """Polls the namespace that the daemon is in, within the budget."""

    def __init__(self, source: KernelSource, inspector: Inspector, budget: CpuBudget) -> None:
        self.poller = NamespacePoller(with_fallback(source), inspector, paced=True)
        self._budget = budget
        self._whole: PollAge | None = None
        self._last_read = 0  # the number of the last read, whole or in part
        self._cost = 0.0  # of the last whole read, in seconds of CPU time
        self._own_tokens = 0.0  # for reads in part; what other namespaces owe does not count

    def poll(
        self,
        now: Moment,
        clock: Clock,
        config: Config,
        cpu: Callable[[], float],
        longest_waiting: Callable[[Priority], float],
    ) -> tuple[NamespaceObservation, list[Failure]]:
        """Poll, whole or in part; not at all if the budget does not even allow a part.

        longest_waiting: returns the lowest PollAge.number of the other namespaces of a priority.
        """
        budget, poll = self._budget, config.poll
        tokens = budget.refill(now.monotonic, poll.interval, poll.cpu_budget, cpu)
        self._own_tokens = min(self._own_tokens + LEAST_SHARE * tokens, tokens)
        if self._whole is None or not self.poller.large:
            self._budget.reserve(0.0)
            if self._whole is not None and not budget.affords(self._whole, self._cost):
                return self._as_read(self._whole.interval(now.monotonic)), []
            return self._poll_small(now, clock, config, cpu)
        whole = self._whole.overdue(now.monotonic) or (
            self._whole.number <= longest_waiting(Priority.LOW)
            and budget.has_tokens(Priority.LOW)
            and budget.fits(self._cost)
        )
        waits = now.monotonic - self._whole.at >= MINUTE and not whole
        budget.reserve(self._cost if waits else 0.0)
        priority = Priority.LOW if whole else Priority.HIGH
        in_turn = budget.allows(priority) and self._last_read <= longest_waiting(priority)
        failures: list[Failure] = []
        if whole or in_turn or self._own_tokens > 0:
            read = partial(self.poller.poll, now, clock, config, whole=whole)
            (_, failures), cost = budget.charge(priority, read)
            self._last_read = budget.next_number()
            if whole:
                self._whole, self._cost = self._whole.polled(now.monotonic, self._last_read), cost
            elif not in_turn:
                self._own_tokens -= cost
        return self._as_read(self._whole.interval(now.monotonic)), failures

    def _as_read(self, beat: float) -> NamespaceObservation:
        return replace(self.poller.observation, beat=beat)

    def _poll_small(
        self, now: Moment, clock: Clock, config: Config, cpu: Callable[[], float]
    ) -> tuple[NamespaceObservation, list[Failure]]:
        """Read it whole. The cost counts as one of the other things that the process needs."""
        before = cpu()
        _, failures = self.poller.poll(now, clock, config)
        self._cost = cpu() - before
        self._last_read = self._budget.next_number()
        age = self._whole or PollAge(now.monotonic, 0)
        self._whole = age.polled(now.monotonic, self._last_read)
        if self.poller.large:  # since this poll
            self._budget.spend(Priority.LOW, self._cost)
        missed = self._whole.gap >= 1.5 * config.poll.interval
        return self._as_read(self._whole.gap if missed else 0.0), failures
