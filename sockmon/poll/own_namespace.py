"""The polls of the daemon's own namespace, which is paced when its table is large.

A small table is read whole at every poll. Of a large one the sockets in states that mean trouble
are read at every poll, and everybody when the budget has a turn for that; what was at rest then is
taken to be so still.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from sockmon.kernel.netlink.source import KernelSource
from sockmon.model.moment import Moment
from sockmon.model.observation import NamespaceObservation
from sockmon.model.poll_statistics import Failure
from sockmon.poll.cpu_budget import MINUTE, Account, Beat, Lane
from sockmon.poll.namespace_poller import NamespacePoller
from sockmon.settings import Config

#: Of what is left of the budget, what is for reading a large table in part whatever others owe.
OWN_SHARE = 0.3


class Host:
    """Polls the namespace that the daemon is in, within the budget."""

    def __init__(self, source: KernelSource, account: Account) -> None:
        self.monitor = NamespacePoller(source, paced=True)
        self._account = account
        self._whole = Beat()
        self._read = 0  # the number of the last read, whole or in part
        self._due: float | None = None  # since when it waits for room in the minute
        self._cost = 0.0  # of the last whole read, in seconds of CPU time
        self._own = 0.0  # of OWN_SHARE, what is left

    def poll(
        self,
        now: Moment,
        config: Config,
        cpu: Callable[[], float],
        longest_waiting: Callable[[Lane], float],
    ) -> tuple[NamespaceObservation, list[Failure]]:
        """Poll once, whole or in part, or not at all if even a part is too dear for now.

        longest_waiting: the number of the last try of whoever else waits for a turn in a lane.
        """
        account, budget = self._account, config.poll
        left = account.earn(now.monotonic, budget.interval, budget.cpu_budget, cpu)
        self._own = min(self._own + OWN_SHARE * left, left)
        if not self.monitor.large:
            return self._poll_small(now, config, cpu)
        its_turn = self._whole.number <= longest_waiting(Lane.QUIET)
        affordable = its_turn and account.may_afford(Lane.QUIET)
        whole = affordable and (account.fits(self._cost) or self._waits_too_long(now))
        account.keep_room(self._cost if self._due is not None and not whole else 0.0)
        lane = Lane.QUIET if whole else Lane.TROUBLED
        failures: list[Failure] = []
        common = account.may_poll(lane) and self._read <= longest_waiting(lane)
        if whole or common or self._own > 0:
            read = partial(self.monitor.poll, now, config, whole=whole)
            (_, failures), cost = account.pay(lane, read, cpu)
            if whole:
                self._note_whole(now, cost)
            else:
                self._read = account.number()
                self._own -= 0.0 if common else cost
        beat = self._whole.seconds(now.monotonic)
        return replace(self.monitor.observation, beat=beat), failures

    def _waits_too_long(self, now: Moment) -> bool:
        """Whether a minute in which others have left room was not enough for a whole read."""
        if self._due is None and now.monotonic - self._whole.at >= MINUTE:
            self._due = now.monotonic
        return self._due is not None and now.monotonic - self._due >= MINUTE

    def _poll_small(
        self, now: Moment, config: Config, cpu: Callable[[], float]
    ) -> tuple[NamespaceObservation, list[Failure]]:
        """Read it whole: it is not worth pacing, and among what the daemon needs for itself."""
        before = cpu()
        polled = self.monitor.poll(now, config)
        self._note_whole(now, cpu() - before)
        if self.monitor.large:  # it has become so
            self._account.owe(Lane.QUIET, self._cost)
        return polled

    def _note_whole(self, now: Moment, cost: float) -> None:
        self._read = self._account.number()
        self._whole = self._whole.tried(now.monotonic, self._read)
        self._due, self._cost = None, cost
