"""Where sightings come from: here, this host's kernel, asked as the daemon asks it."""

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from sockmon.client.parse import read
from sockmon.client.snapshot import Row
from sockmon.clock import now
from sockmon.export import json
from sockmon.kernel.errors import KernelError
from sockmon.kernel.netlink.source import KernelSource
from sockmon.language import Text, joined
from sockmon.model.observation import Observation
from sockmon.model.states import STATE_SLOTS, TcpState
from sockmon.poll import count
from sockmon.poll.count import Counted
from sockmon.poll.poller import Poller
from sockmon.settings import Config
from sockmon.top.grouping import grouped, several
from sockmon.top.scene import By, Grouped, Sighting

#: So many (direction, port) groups have a row, so that a filter finds any that matters.
_PORTS = 1000
#: ... and so many in each of the other namespaces.
_PORTS_ELSEWHERE = 50
#: A core at most, until every namespace has been looked at once: somebody waits for it.
_FIRST_BUDGET = 1.0
#: After so many polls a finding that is new is news: what was said before still holds.
_FIRST_POLLS = 2
#: So many owners or peers; the largest.
_ROWS = 1000


class Source(Protocol):
    """What can be looked at again and again; `where` names it for people."""

    where: str

    def look(self, by: By) -> Sighting:
        """Look once, and group by something; raises FetchError."""

    def every(self, seconds: float) -> None:
        """Expect a look every so many seconds; another thread may be looking."""

    def stop(self) -> None:
        """Cut a look short that another thread is taking: what it brings is not wanted."""

    def close(self) -> None:
        """Let go of what it holds, when no look is under way."""


class Kernel:
    """The kernel of this host, with a monitor of its own."""

    def __init__(
        self,
        open_source: Callable[[Callable[[], bool]], KernelSource],
        config: Config,
        host: str,
    ) -> None:
        self.where = host
        self._stopping = threading.Event()
        self._source = open_source(self._stopping.is_set)
        ports = replace(
            config.ports,
            top=max(config.ports.top, _PORTS),
            top_per_namespace=max(config.ports.top_per_namespace, _PORTS_ELSEWHERE),
        )
        self._config = replace(config, ports=ports)
        self._interval = config.poll.interval
        self._all_read = False
        self._monitor = Poller(self._source, self._config)

    def look(self, by: By) -> Sighting:
        """Poll; what the kernel refuses is among the snapshot's failures.

        The budget is for looks, which have a thread of their own: drawing is not counted.
        """
        poll = replace(self._config.poll, interval=self._interval)
        if not self._all_read:
            poll = replace(poll, cpu_budget=_FIRST_BUDGET)
        self._monitor.config = replace(self._config, poll=poll)
        observation = self._monitor.poll(now, time.thread_time)
        self._all_read |= all(namespace.tcp for namespace in observation.namespaces)
        snapshot = read(json.observation(observation), now())
        hints = _hints(observation)
        waiting = any(n.diagnosis.value.undecided for n in observation.namespaces if n.diagnosis)
        undecided = waiting and observation.statistics.polls <= _FIRST_POLLS
        rows = grouped(snapshot, by)
        if rows is not None:
            return Sighting(snapshot, rows, hints, undecided)
        counted, more = self._count(by, alone=not several(snapshot))
        return Sighting(snapshot, counted, (*hints, *more), undecided)

    def every(self, seconds: float) -> None:
        """Poll at this interval from the next look on."""
        self._interval = seconds

    def stop(self) -> None:
        """Cut a poll short."""
        self._stopping.set()

    def close(self) -> None:
        """Close the kernel's sockets."""
        self._monitor.close()

    def _count(self, by: By, *, alone: bool) -> tuple[Grouped, tuple[str, ...]]:
        """Ask for every socket by itself: no observation tells processes and peers.

        alone: there are no other namespaces. Theirs are not asked for: no budget bounds that.
        """
        columns = (by.upper(),)
        try:
            counted = count.count(self._source, (by, "state"), count.Selection(), "sockmon")
        except KernelError as error:
            return Grouped(by, columns, (), str(error)), ()
        rows = _rows(counted)
        left_out = len(rows) - _ROWS
        largest = Text(
            f"the {_ROWS} largest; {left_out} more are not shown",
            f"只显示最大的 {_ROWS} 行，另有 {left_out} 行",
        )
        own = Text("of the host's own namespace only", "只有主机自身的命名空间")
        notes = [*[largest] * (left_out > 0), *[own] * (not alone)]
        return Grouped(by, columns, rows[:_ROWS], joined(notes, "; ", "；") or None), counted.hints


def _rows(counted: Counted) -> tuple[Row, ...]:
    """Put the counts by state into one row for each owner or peer, the largest first."""
    found: dict[str, list[int]] = {}
    for (name, label), n in counted.groups:
        states = found.setdefault(str(name), [0] * STATE_SLOTS)
        states[TcpState[str(label).upper()]] += n
    rows = (Row((name,), tuple(states)) for name, states in found.items())
    return tuple(sorted(rows, key=lambda row: -row.total))


def _hints(observation: Observation) -> tuple[str, ...]:
    diagnoses = [n.diagnosis.value for n in observation.namespaces if n.diagnosis]
    hidden = sum(diagnosis.hidden_processes for diagnosis in diagnoses)
    if not hidden:
        return ()
    text = f"{hidden} processes are hidden: root would name them"
    return (Text(text, f"有 {hidden} 个进程无权查看：以 root 运行才能给出进程名"),)
