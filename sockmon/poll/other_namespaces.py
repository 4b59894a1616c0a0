"""The polls of the host's other namespaces: who there is, whose turn it is, what it may cost."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from sockmon.kernel.errors import KernelError
from sockmon.kernel.netlink.source import KernelSource
from sockmon.kernel.netns.tracker import NamespaceTracker, OtherNamespace
from sockmon.model.moment import Moment
from sockmon.model.names import HOST
from sockmon.model.observation import NamespaceObservation, OtherNamespaces
from sockmon.model.poll_statistics import Failure
from sockmon.model.series import KEPT_FOR_SECONDS
from sockmon.poll.cpu_budget import Account, Beat, Lane, Turn, in_turn
from sockmon.poll.namespace_poller import NamespacePoller, failure
from sockmon.poll.shown_namespaces import Candidate, shown_namespaces
from sockmon.settings import Config

#: Of the budget, what looks around may take: where namespaces are thousands, they are not at every
#: poll, and a namespace that has ended is held so long.
_LOOK_SHARE = 0.5


@dataclass(slots=True)
class _Followed:
    """A namespace that has, or lately had, sockets."""

    monitor: NamespacePoller
    occupied_at: float
    beat: Beat = field(default_factory=Beat)

    @property
    def lane(self) -> Lane:
        return Lane.TROUBLED if self.monitor.troubled else Lane.QUIET


@dataclass(frozen=True, slots=True)
class _Look:
    """Who is there, with whether they have sockets, None if that is unknown. unseen: see Round."""

    occupied: Mapping[OtherNamespace, bool | None] = field(default_factory=dict)
    unseen: frozenset[str] | None = None
    failures: tuple[Failure, ...] = ()


@dataclass(frozen=True, slots=True)
class Round:
    """What one round has brought to light."""

    namespaces: tuple[NamespaceObservation, ...]
    failures: tuple[Failure, ...]
    neighbours: OtherNamespaces
    unseen: frozenset[str] | None
    hints: tuple[str, ...]


class Rounds:
    """Polls the other namespaces again and again, within the budget.

    A namespace without sockets costs a read of its sockstat, and has no series. One that loses its
    sockets is polled, without dumps, until its series have come down to zero and ended.
    """

    def __init__(
        self,
        host: KernelSource,
        remembered: Mapping[str, Any],
        account: Account,
        helper: str | None = None,
    ) -> None:
        """remembered: by name, what an earlier process of this boot knew of namespaces.

        helper: see NamespaceTracker.
        """
        self.helper = helper
        self._neighbourhood = NamespaceTracker(host, helper)
        self._there: tuple[OtherNamespace, ...] = ()
        self._followed: dict[OtherNamespace, _Followed] = {}
        self._remembered = dict(remembered)
        self._account = account
        self._look = _Look()
        self._look_due = -math.inf
        self._shown: frozenset[str] = frozenset()
        self._stop_requested = host.stop_requested

    @property
    def helper_cpu(self) -> float:
        """Seconds of CPU time that the helper has spent on it so far."""
        return self._neighbourhood.cpu

    def longest_waiting(self, lane: Lane) -> float:
        """Return the number of the last try of who waits longest in the lane; inf: nobody does."""
        there = (its for its in self._followed.values() if its.lane is lane)
        return min((its.beat.number for its in there), default=math.inf)

    def poll(self, now: Moment, config: Config, cpu: Callable[[], float]) -> Round:
        """Poll those whose turn it is; cpu: seconds of CPU time that the process has used."""
        if now.monotonic >= self._look_due:
            before = cpu()
            self._look = self._look_around(now)
            self._look_due = now.monotonic + (cpu() - before) / (
                _LOOK_SHARE * config.poll.cpu_budget
            )
        occupied, failures = self._look.occupied, list(self._look.failures)
        config = replace(config, ports=replace(config.ports, top=config.ports.top_per_namespace))
        turns = [
            Turn(one, its.beat.number, its.lane)
            for one, its in self._followed.items()
            if occupied[one] is not None
        ]
        for one, its in self._followed.items():
            if occupied[one] is None:
                its.beat = its.beat.tried(now.monotonic, self._account.number())
        for lane in Lane:
            for one in in_turn(turns, lane):
                if not self._account.may_poll(lane) or self._stop_requested():
                    break
                poll = partial(self._poll_one, one, now, config, empty=not occupied[one])
                failed, _ = self._account.pay(lane, poll, cpu)
                failures += failed
            self._account.hand_over(lane)
        return Round(
            tuple(self._observations(now, config.poll.top_namespaces)),
            tuple(failures),
            self._count(),
            self._look.unseen,
            self._neighbourhood.unseen(),
        )

    def remember(self) -> Mapping[str, Callable[[], Mapping[str, Any]]]:
        """Return by name what makes a record of what is to survive a restart, JSON-ready."""
        waiting = {name: (lambda r=record: r) for name, record in self._remembered.items()}
        return waiting | {one.name: f.monitor.remember() for one, f in self._followed.items()}

    def close(self) -> None:
        """Let go of all namespaces."""
        self._neighbourhood.close()

    def _look_around(self, now: Moment) -> _Look:
        """Find out who is there, and who of them has sockets."""
        failures: list[Failure] = []
        try:
            self._there = self._neighbourhood.look()
        except KernelError as error:
            return _Look(dict.fromkeys(self._there), None, (failure(HOST, error),))
        names = {one.name for one in self._there}
        self._remembered = {n: r for n, r in self._remembered.items() if n in names}
        occupied = self._follow(now, failures)
        unseen = frozenset(
            one.name
            for one, has_sockets in occupied.items()
            if has_sockets is None or (has_sockets and one not in self._followed)
        )
        return _Look(occupied, unseen, tuple(failures))

    def _follow(self, now: Moment, failures: list[Failure]) -> dict[OtherNamespace, bool | None]:
        """Take up who has sockets, and forget who has gone or has long had none."""
        occupied = {one: _occupied(one, failures) for one in self._there}
        self._followed = {one: its for one, its in self._followed.items() if one in occupied}
        for one, has_sockets in occupied.items():
            if has_sockets and one not in self._followed:
                try:
                    monitor = NamespacePoller(one.open())
                except KernelError as error:
                    failures += _worth_telling([failure(one.name, error)])
                    continue
                monitor.recall(self._remembered.pop(one.name, {}))
                self._followed[one] = _Followed(monitor, now.monotonic)
            if has_sockets is not False and one in self._followed:  # unknown is not empty
                self._followed[one].occupied_at = now.monotonic
        for one, its in tuple(self._followed.items()):
            if now.monotonic - its.occupied_at > KEPT_FOR_SECONDS:
                its.monitor.close()
                del self._followed[one]
        return occupied

    def _poll_one(
        self, one: OtherNamespace, now: Moment, config: Config, *, empty: bool
    ) -> list[Failure]:
        its = self._followed[one]
        its.beat = its.beat.tried(now.monotonic, self._account.number())
        _, failures = its.monitor.poll(now, config, empty=empty)
        return _worth_telling(failures)

    def _observations(self, now: Moment, top: int) -> Iterator[NamespaceObservation]:
        candidates = [
            Candidate(its.monitor.name, its.monitor.troubled, _sockets(its.monitor.observation))
            for its in self._followed.values()
        ]
        self._shown = shown_namespaces(candidates, self._shown, top)
        for its in self._followed.values():
            yield replace(
                its.monitor.observation,
                beat=its.beat.seconds(now.monotonic),
                folded=its.monitor.name not in self._shown,
            )

    def _count(self) -> OtherNamespaces:
        hidden = sum(one.hidden for one in self._there)
        outside = sum(its.monitor.observation.degraded for its in self._followed.values())
        inside = len(self._followed) - outside
        return OtherNamespaces(
            inside, outside, len(self._there) - hidden - inside - outside, hidden
        )


def _occupied(one: OtherNamespace, failures: list[Failure]) -> bool | None:
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
