"""Polls the host's other namespaces: finds them, and polls those whose turn it is."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from sockmon.kernel.errors import KernelError
from sockmon.kernel.inspector import Inspector
from sockmon.kernel.netlink.source import KernelSource
from sockmon.kernel.netns.tracker import NamespaceTracker, OtherNamespace
from sockmon.model.connection_events import RecentEvents
from sockmon.model.direction import Listened
from sockmon.model.moment import Moment
from sockmon.model.names import HOST
from sockmon.model.newcomers import KEPT_FOR_SECONDS, Newcomers
from sockmon.model.observation import NamespaceObservation, OtherNamespaces
from sockmon.model.poll_statistics import Failure
from sockmon.poll.cpu_budget import Candidate, CpuBudget, PollAge, Priority
from sockmon.poll.failures import failure
from sockmon.poll.namespace_poller import NamespacePoller, nothing_counted
from sockmon.poll.reading import Clock
from sockmon.poll.shown_namespaces import SeriesCandidate, shown_namespaces
from sockmon.settings import Config

#: The part of the budget that looking for namespaces may use. Where there are thousands, that is
#: not done at every poll, and a namespace that has ended is held until the next time.
_LOOK_SHARE = 0.5


@dataclass(slots=True)
class _Followed:
    """A namespace that has, or lately had, sockets."""

    poller: NamespacePoller
    occupied_at: float
    age: PollAge

    @property
    def priority(self) -> Priority:
        return Priority.HIGH if self.poller.troubled else Priority.LOW


@dataclass(frozen=True, slots=True)
class _Look:
    """The namespaces found, and whether they have sockets (None: unknown). unseen: see Others."""

    occupied: Mapping[OtherNamespace, bool | None] = field(default_factory=dict)
    unseen: frozenset[str] | None = None
    failures: tuple[Failure, ...] = ()


@dataclass(frozen=True, slots=True)
class Others:
    """The other namespaces' part of an Observation."""

    namespaces: tuple[NamespaceObservation, ...]
    failures: tuple[Failure, ...]
    neighbours: OtherNamespaces
    unseen: frozenset[str] | None
    hints: tuple[str, ...]


class OtherNamespacesPoller:
    """Polls the other namespaces, within the budget.

    A namespace without sockets costs a read of its sockstat, and has no series. One that loses its
    sockets is polled, without dumps, until its series have come down to zero and ended.
    """

    def __init__(
        self,
        host: KernelSource,
        inspector: Inspector,
        tracker: NamespaceTracker,
        remembered: Mapping[str, Any],
        budget: CpuBudget,
    ) -> None:
        """remembered: by name, what an earlier process of this boot knew of namespaces."""
        #: See NamespacePoller; given to each.
        self.recent_events: Callable[[str, float], RecentEvents | None] = nothing_counted
        self._inspector = inspector
        self._tracker = tracker
        self._there: tuple[OtherNamespace, ...] = ()
        self._followed: dict[OtherNamespace, _Followed] = {}
        self._remembered = dict(remembered)
        self._budget = budget
        self._look = _Look()
        self._look_due = -math.inf
        self._shown: frozenset[str] = frozenset()
        self._newcomers = Newcomers()
        self._stop_requested = host.stop_requested

    @property
    def helper_cpu(self) -> float:
        """Seconds of CPU time that the helper has used so far."""
        return self._tracker.cpu

    @property
    def inodes(self) -> Mapping[int, str]:
        """The names of those that are polled, by their inodes, as far as known."""
        return {one.place.inode: one.name for one in self._followed if one.place.inode is not None}

    @property
    def shown(self) -> frozenset[str]:
        """The names of those that have series of their own."""
        return self._shown

    @property
    def listened(self) -> Mapping[int, Listened]:
        """The ports that are or were listened on, by their namespaces' inodes."""
        return {
            one.place.inode: its.poller.listened
            for one, its in self._followed.items()
            if one.place.inode is not None
        }

    def longest_waiting(self, priority: Priority) -> float:
        """Return the lowest PollAge.number of this priority; infinity if there is none."""
        there = (its for its in self._followed.values() if its.priority is priority)
        return min((its.age.number for its in there), default=math.inf)

    def poll(self, now: Moment, clock: Clock, config: Config, cpu: Callable[[], float]) -> Others:
        """Poll those whose turn it is; cpu: returns the CPU seconds that the process has used."""
        if now.monotonic >= self._look_due:
            before = cpu()
            self._look = self._look_around(now)
            self._look_due = now.monotonic + (cpu() - before) / (
                _LOOK_SHARE * config.poll.cpu_budget
            )
        occupied, failures = self._look.occupied, list(self._look.failures)
        config = replace(config, ports=replace(config.ports, top=config.ports.top_per_namespace))
        candidates = []
        for one, its in self._followed.items():
            if occupied[one] is None:
                its.age = its.age.polled(now.monotonic, self._budget.next_number())
            else:
                candidates.append(Candidate(one, its.age, its.priority))
        for candidate in self._budget.turns(candidates, self._stop_requested):
            one = candidate.whose
            poll = partial(self._poll_one, one, now, clock, config, empty=not occupied[one])
            failed, _ = self._budget.charge(candidate.priority, poll)
            failures += failed
        return Others(
            tuple(self._observations(now, config.poll.top_namespaces)),
            tuple(failures),
            self._count(),
            self._look.unseen,
            self._tracker.unseen(),
        )

    def remember(self) -> Mapping[str, Callable[[], Mapping[str, Any]]]:
        """Return by name functions that make a record of what is kept over a restart, for JSON."""
        waiting = {name: (lambda r=record: r) for name, record in self._remembered.items()}
        return waiting | {one.name: f.poller.remember() for one, f in self._followed.items()}

    def close(self) -> None:
        """Release all namespaces."""
        self._tracker.close()

    def _look_around(self, now: Moment) -> _Look:
        """Find the namespaces, and which of them have sockets."""
        failures: list[Failure] = []
        try:
            self._there = self._tracker.look()
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
        """Follow those that have sockets, and forget those that ended or have long had none."""
        occupied = {one: _occupied(one, failures) for one in self._there}
        for one in self._followed.keys() - occupied.keys():
            self._followed.pop(one).poller.close()
        for one, has_sockets in occupied.items():
            if has_sockets and one not in self._followed:
                try:
                    poller = NamespacePoller(one.open(), self._inspector, names=one.names)
                except KernelError as error:
                    failures += _without_ended([failure(one.name, error)])
                    continue
                poller.recall(self._remembered.pop(one.name, {}))
                age = PollAge(now.monotonic, self._budget.next_number())  # behind those that wait
                self._followed[one] = _Followed(poller, now.monotonic, age)
            if has_sockets is not False and one in self._followed:  # unknown is not empty
                self._followed[one].occupied_at = now.monotonic
        for one, its in tuple(self._followed.items()):
            if now.monotonic - its.occupied_at > KEPT_FOR_SECONDS:
                its.poller.close()
                del self._followed[one]
        return occupied

    def _poll_one(
        self, one: OtherNamespace, now: Moment, clock: Clock, config: Config, *, empty: bool
    ) -> list[Failure]:
        its = self._followed[one]
        its.poller.recent_events = self.recent_events
        its.age = its.age.polled(now.monotonic, self._budget.next_number())
        _, failures = its.poller.poll(now, clock, config, empty=empty)
        return _without_ended(failures)

    def _observations(self, now: Moment, top: int) -> Iterator[NamespaceObservation]:
        candidates = [
            SeriesCandidate(its.poller.name, its.poller.troubled, _sockets(its.poller.observation))
            for its in self._followed.values()
        ]
        newcomers = self._newcomers.refilled(now.monotonic, top, KEPT_FOR_SECONDS)
        before = self._shown
        self._shown = shown_namespaces(candidates, before, top, newcomers.room)
        self._newcomers = newcomers.spent(len(self._shown - before))
        for its in self._followed.values():
            yield replace(
                its.poller.observation,
                beat=its.age.interval(now.monotonic),
                folded=its.poller.name not in self._shown,
            )

    def _count(self) -> OtherNamespaces:
        hidden = sum(one.hidden for one in self._there)
        outside = sum(its.poller.observation.degraded for its in self._followed.values())
        inside = len(self._followed) - outside
        return OtherNamespaces(
            inside, outside, len(self._there) - hidden - inside - outside, hidden
        )


def _occupied(one: OtherNamespace, failures: list[Failure]) -> bool | None:
    """Return whether there are sockets inside; None, and why among the failures, if unknown."""
    try:
        return one.occupied()
    except KernelError as error:
        failures += _without_ended([failure(one.name, error)])
        return None


def _sockets(namespace: NamespaceObservation) -> int:
    families = namespace.tcp.value.values() if namespace.tcp else ()
    return sum(map(sum, families))


def _without_ended(failures: list[Failure]) -> list[Failure]:
    """Leave out that a namespace, or its first process, has ended: the next look shows which."""
    return [failed for failed in failures if failed.reason != "gone"]
