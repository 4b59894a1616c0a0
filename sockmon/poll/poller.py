"""One poll: kernel -> Observation. Has no clock of its own."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any

import numpy as np

from sockmon.contained import COMPONENTS
from sockmon.kernel.errors import ProcError
from sockmon.kernel.inspector import Inspector
from sockmon.kernel.netlink.source import KernelSource
from sockmon.model.moment import Moment
from sockmon.model.names import HOST
from sockmon.model.observation import Events, NamespaceObservation, Observation
from sockmon.model.poll_statistics import Failure, PollStatistics
from sockmon.poll.cpu_budget import CpuBudget, Priority
from sockmon.poll.failures import broken
from sockmon.poll.namespace_poller import nothing_counted
from sockmon.poll.own_namespace import OwnNamespacePoller
from sockmon.poll.reading import Clock
from sockmon.settings import Config

if TYPE_CHECKING:
    from sockmon.kernel.netns.access import Look
    from sockmon.poll.events import EventsPoller
    from sockmon.poll.other_namespaces import OtherNamespacesPoller, Others


def uncounted() -> float:
    """Stand in for a clock of CPU time where there is no budget to keep."""
    return 0.0


def _none_waiting(priority: Priority) -> float:  # noqa: ARG001 - the signature is longest_waiting()'s
    return inf


class Poller:
    """Polls one kernel: the daemon's own namespace and, if configured, all others."""

    def __init__(
        self,
        source: KernelSource,
        config: Config,
        look: "Look | None" = None,
        *,
        patient: bool = False,
    ) -> None:
        """look: see NamespaceTracker. patient: each poll waits for the owners of what it found."""
        self.config = config
        self._inspector = Inspector(source.proc, source.stop_requested, patient=patient)
        self._source = source
        self._look = look
        self._budget = CpuBudget()
        self._own = OwnNamespacePoller(source, self._inspector, self._budget)
        self._others: OtherNamespacesPoller | None = None
        self._helper: str | None = None
        self._remembered: Mapping[str, Any] = {}
        self._statistics = PollStatistics()
        self._events: EventsPoller | None = None

    def poll(self, clock: Clock, cpu: Callable[[], float] = uncounted) -> Observation:
        """Read the kernel once. What the kernel refuses is a Failure, not an exception.

        cpu: returns the CPU seconds that the process has used, for poll.cpu_budget.
        """
        config = self.config
        begun = clock()
        cpu = partial(self._with_helper, cpu)
        longest_waiting = self._others.longest_waiting if self._others else _none_waiting
        recent = self._events.recent if self._events else nothing_counted
        self._own.poller.recent_events = recent
        own, failed = self._own.poll(begun, clock, config, cpu, longest_waiting)
        others = self._poll_others(begun, clock, config, cpu)
        self._budget.lend(Priority.HIGH)
        namespaces = (own, *(others.namespaces if others else ()))
        events, not_counted = self._try_events(begun, config, namespaces)
        failures = (*failed, *(others.failures if others else ()), *not_counted)
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
            events=events,
        )

    def _with_helper(self, cpu: Callable[[], float]) -> float:
        """Return the CPU time that counts: the helper's belongs to it."""
        return cpu() + (self._others.helper_cpu if self._others else 0.0)

    def _poll_others(
        self, begun: Moment, clock: Clock, config: Config, cpu: Callable[[], float]
    ) -> "Others | None":
        """Poll the other namespaces, as far as they are configured and the budget allows."""
        wanted, helper = config.poll.namespaces == "all", config.poll.netns_helper_socket
        others = self._others
        if others is not None and not (wanted and helper == self._helper):
            self._remembered = {name: record() for name, record in others.remember().items()}
            others.close()
            self._others = None
        if not wanted:
            return None
        if self._others is None:
            # Loaded only where they are polled: 0.5 MB.
            from sockmon.kernel.netns.tracker import NamespaceTracker  # noqa: PLC0415
            from sockmon.poll.other_namespaces import OtherNamespacesPoller  # noqa: PLC0415

            tracker = NamespaceTracker(self._source, helper, self._look)
            self._others = OtherNamespacesPoller(
                self._source, self._inspector, tracker, self._remembered, self._budget
            )
            self._helper, self._remembered = helper, {}
        self._others.recent_events = self._own.poller.recent_events
        return self._others.poll(begun, clock, config, cpu)

    def _try_events(
        self, begun: Moment, config: Config, namespaces: tuple[NamespaceObservation, ...]
    ) -> tuple[Events | None, tuple[Failure, ...]]:
        """Read them; a mistake of ours costs nothing else."""
        try:
            polled = self._poll_events(begun, config, namespaces)
        except Exception as error:  # noqa: BLE001 - as it says
            return None, (broken(HOST, "events", COMPONENTS.failed("events", error)),)
        COMPONENTS.works("events")
        return polled

    def _poll_events(
        self, begun: Moment, config: Config, namespaces: tuple[NamespaceObservation, ...]
    ) -> tuple[Events | None, tuple[Failure, ...]]:
        """Read how connections opened and closed, where that is configured."""
        wanted = config.events
        if self._events is not None and not (
            wanted.enabled and self._events.helper == wanted.helper_socket
        ):
            self._events.close()
            self._events = None
        if not wanted.enabled:
            return None, ()
        if self._events is None:
            from sockmon.poll.events import EventsPoller  # noqa: PLC0415 - only where it is wanted

            self._events = EventsPoller(wanted.helper_socket, self._source.events)
        others = self._others
        own = self._own_inode()
        limits = {its.name: its.limits.value for its in namespaces if its.limits is not None}

        def listeners() -> Iterator[tuple[int, int]]:
            listened = {own: self._own.poller.listened, **(others.listened if others else {})}
            for inode, ports in listened.items():
                yield from ((inode, port) for port in np.flatnonzero(ports.ports).tolist())

        events = self._events.poll(
            begun,
            wanted.top,
            {**(others.inodes if others else {}), own: HOST},
            {HOST, *(others.shown if others else ())},
            listeners,
            lambda name: limits[name].port_range if name in limits else None,
        )
        return events, self._events.failures

    def _own_inode(self) -> int:
        try:
            from sockmon.kernel.netns.discovery import own_inode  # noqa: PLC0415 - as above

            return own_inode(self._source.proc)
        except ProcError:  # a recording of /proc
            return 0

    def remember(self) -> Callable[[], Mapping[str, Any]]:
        """Return a function that makes a record, by namespace, of what is kept over a restart.

        The record is for JSON. It is large and rarely written, so the writing thread makes it.
        """
        records = {HOST: self._own.poller.remember()}
        if self._others is not None:
            records.update(self._others.remember())
        return lambda: {name: record() for name, record in records.items()}

    def recall(self, remembered: Mapping[str, Any]) -> None:
        """Take over a record that remember() made in an earlier process of this boot."""
        self._remembered = {name: record for name, record in remembered.items() if name != HOST}
        if HOST in remembered:
            self._own.poller.recall(remembered[HOST])

    def close(self) -> None:
        """Release all namespaces."""
        self._own.poller.close()
        if self._others is not None:
            self._others.close()
        if self._events is not None:
            self._events.close()
        self._inspector.close()
