"""The polls of the host's other namespaces: who there is, whose turn it is, what it may cost."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

from sockmon.budget import Lane, Purses, Turn, in_turn
from sockmon.config import Config
from sockmon.kernel.errors import KernelError
from sockmon.kernel.namespaces import Neighbour, Neighbourhood
from sockmon.kernel.source import HOST, KernelSource
from sockmon.model.observation import (
    STALE_AFTER_INTERVALS,
    Failure,
    Moment,
    NamespaceObservation,
    Neighbours,
)
from sockmon.model.series import KEPT_FOR_SECONDS, Candidate, shown_namespaces
from sockmon.namespace import NamespaceMonitor, failure


@dataclass(slots=True)
class _Followed:
    """A namespace that has, or lately had, sockets.

    looked_at: its last poll; gap: seconds between that and the one before; number: counts the
    polls of all namespaces.
    """

    monitor: NamespaceMonitor
    occupied_at: float
    looked_at: float = -math.inf
    gap: float = 0.0
    number: int = 0

    def attempt(self, now: Moment, number: int) -> None:
        """Note that it is looked at, well or not."""
        if self.looked_at > -math.inf:
            self.gap = now.monotonic - self.looked_at
        self.looked_at, self.number = now.monotonic, number


@dataclass(frozen=True, slots=True)
class Round:
    """What one round has brought to light."""

    namespaces: tuple[NamespaceObservation, ...]
    failures: tuple[Failure, ...]
    neighbours: Neighbours
    hints: tuple[str, ...]


class Rounds:
    """Polls the other namespaces again and again, within the budget.

    A namespace without sockets costs a read of its sockstat, and has no series. One that loses its
    sockets is polled, without dumps, until its series have come down to zero and ended.
    """

    def __init__(self, host: KernelSource, remembered: Mapping[str, Any]) -> None:
        """remembered: by name, what an earlier process of this boot knew of namespaces."""
        self._neighbourhood = Neighbourhood(host)
        self._there: tuple[Neighbour, ...] = ()
        self._followed: dict[Neighbour, _Followed] = {}
        self._remembered = dict(remembered)
        self._purses = Purses()
        self._numbers = count(1)
        self._shown: frozenset[str] = frozenset()
        self._stop_requested = host.stop_requested
        self._last: float | None = None
        self._cpu_before: float | None = None

    def poll(self, now: Moment, config: Config, cpu: Callable[[], float]) -> Round:
        """Poll those whose turn it is; cpu: seconds of CPU time that the process has used."""
        failures: list[Failure] = []
        try:
            self._there = self._neighbourhood.look()
        except KernelError as error:
            failures.append(failure(HOST, error))
        else:
            names = {one.name for one in self._there}
            self._remembered = {n: r for n, r in self._remembered.items() if n in names}
        occupied = self._follow(now, failures)
        self._earn(now, config, cpu())
        config = replace(config, ports=replace(config.ports, top=config.ports.top_elsewhere))
        turns = [
            Turn(one, its.number, Lane.TROUBLED if its.monitor.troubled else Lane.QUIET)
            for one, its in self._followed.items()
            if occupied[one] is not None
        ]
        for one, its in self._followed.items():
            if occupied[one] is None:
                its.attempt(now, next(self._numbers))
        for lane in Lane:
            for one in in_turn(turns, lane):
                if not self._purses.may_poll(lane) or self._stop_requested():
                    break
                before = cpu()
                failures += self._poll_one(one, now, config, empty=not occupied[one])
                self._purses = self._purses.pay(cpu() - before, lane)
            self._purses = self._purses.hand_over(lane)
        self._cpu_before = cpu()
        return Round(
            tuple(self._observations(now, config.poll.top_namespaces)),
            tuple(failures),
            self._count(),
            self._neighbourhood.unseen(),
        )

    def remember(self) -> Mapping[str, Callable[[], Mapping[str, Any]]]:
        """Return by name what makes a record of what is to survive a restart, JSON-ready."""
        waiting = {name: (lambda r=record: r) for name, record in self._remembered.items()}
        return waiting | {one.name: f.monitor.remember() for one, f in self._followed.items()}

    def close(self) -> None:
        """Let go of all namespaces."""
        self._neighbourhood.close()

    def _earn(self, now: Moment, config: Config, cpu_now: float) -> None:
        """Put into the purses what the budget gives, less what the process itself has used."""
        interval = config.poll.interval
        since = interval if self._last is None else now.monotonic - self._last
        spent = 0.0 if self._cpu_before is None else cpu_now - self._cpu_before
        self._last = now.monotonic
        income = config.poll.budget * min(since, STALE_AFTER_INTERVALS * interval)
        self._purses = self._purses.earn(income, spent)

    def _follow(self, now: Moment, failures: list[Failure]) -> dict[Neighbour, bool | None]:
        """Take up who has sockets, and forget who has gone or has long had none."""
        occupied = {one: _occupied(one, failures) for one in self._there}
        self._followed = {one: its for one, its in self._followed.items() if one in occupied}
        for one, has_sockets in occupied.items():
            if not has_sockets:
                continue
            if one not in self._followed:
                try:
                    monitor = NamespaceMonitor(one.open())
                except KernelError as error:
                    failures += _worth_telling([failure(one.name, error)])
                    continue
                monitor.recall(self._remembered.pop(one.name, {}))
                self._followed[one] = _Followed(monitor, now.monotonic)
            self._followed[one].occupied_at = now.monotonic
        for one, its in tuple(self._followed.items()):
            if now.monotonic - its.occupied_at > KEPT_FOR_SECONDS:
                its.monitor.close()
                del self._followed[one]
        return occupied

    def _poll_one(
        self, one: Neighbour, now: Moment, config: Config, *, empty: bool
    ) -> list[Failure]:
        its = self._followed[one]
        its.attempt(now, next(self._numbers))
        _, failures = its.monitor.poll(now, config, empty=empty)
        return _worth_telling(failures)

    def _observations(self, now: Moment, top: int) -> Iterator[NamespaceObservation]:
        candidates = [
            Candidate(its.monitor.name, its.monitor.troubled, _sockets(its.monitor.observation))
            for its in self._followed.values()
        ]
        self._shown = shown_namespaces(candidates, self._shown, top)
        for its in self._followed.values():
            waited = now.monotonic - its.looked_at if its.looked_at > -math.inf else 0.0
            yield replace(
                its.monitor.observation,
                beat=max(its.gap, waited),
                folded=its.monitor.name not in self._shown,
            )

    def _count(self) -> Neighbours:
        hidden = sum(one.hidden for one in self._there)
        outside = sum(its.monitor.observation.degraded for its in self._followed.values())
        inside = len(self._followed) - outside
        return Neighbours(inside, outside, len(self._there) - hidden - inside - outside, hidden)


def _occupied(one: Neighbour, failures: list[Failure]) -> bool | None:
    """Return whether there are sockets inside; None, and why among the failures, if unknown."""
    try:
        return one.occupied()
    except KernelError as error:
        failures += _worth_telling([failure(one.name, error)])
        return None


def _sockets(namespace: NamespaceObservation) -> int:
    families = namespace.tcp.value.values() if namespace.tcp else ()
    return sum(map(sum, families))


def _worth_telling(failures: list[Failure]) -> list[Failure]:
    """Leave out that one has ended, or only its first process: the next look tells which."""
    return [failed for failed in failures if failed.reason != "gone"]
