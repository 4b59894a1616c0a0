"""Looks into processes for all namespaces, in a thread of its own.

Reading every descriptor of a host takes a second and more, which no poll can wait for. So a poll
asks, waits for a tenth of a second, and otherwise takes the answer at a later poll. A look uses a
tenth of a processor after its first moments, and the next one begins only when looks have used a
fiftieth of the time; so do walks, and neither waits for the other's share. A command that runs once
waits, and looks at full speed.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from sockmon.contained import COMPONENTS
from sockmon.kernel.cgroups import look_for_cgroups, managed_unit
from sockmon.kernel.descriptors import DescriptorWatch
from sockmon.kernel.owners import Holders, StoppedError
from sockmon.model.descriptors import DescriptorUses
from sockmon.model.owner import Process, Unit

T = TypeVar("T")
Job = Callable[[], None]

#: Seconds that one poll, or a command that runs once, waits for all its answers.
_POLL_WAITS, _COMMAND_WAITS = 0.1, 20.0
#: Seconds that an answer about processes is believed: sockets stay, their holders may change.
_BELIEVED_SECONDS = 30.0
#: A socket that nobody was found to hold is looked for again among all processes after this time.
_ALL_AGAIN_SECONDS = 120.0
#: Processor seconds of a look before it is slowed down; its share then, and that of all looks.
_FREE_SECONDS, _LOOK_SHARE, _SHARE = 0.05, 0.1, 0.02
_SLICE_SECONDS = 0.01
#: Names of so many cgroups are kept; where containers come and go, all are asked again then.
_UNITS_KEPT = 10_000
#: A thread without work ends after this time.
_IDLE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What is known now. asked: the sockets whose holders were looked for, found or not.

    units: by cgroup id, None for a cgroup that says nothing about a program. hidden: how many
    processes could not be looked into.
    """

    holders: Mapping[int, tuple[Process, ...]]
    asked: frozenset[int]
    units: Mapping[int, Unit | None]
    walked: DescriptorUses = field(default_factory=DescriptorUses)
    hidden: int = 0


class Inspector:
    """Asked by the polling thread; answers from a thread that runs while there is work."""

    def __init__(
        self,
        proc: Path,
        stop_requested: Callable[[], bool] = lambda: False,
        *,
        patient: bool = False,
    ) -> None:
        """patient: who asks waits until the answer is complete."""
        self._proc = proc
        self._stop_requested = stop_requested
        self._patient = patient
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closed = threading.Event()
        self._wanted: dict[object, frozenset[int]] = {}
        self._cgroups: set[int] = set()
        self._units: dict[int, Unit | None] = {}
        self._holders = Holders()
        self._watch = DescriptorWatch(proc)
        self._walk_at: float | None = None
        self._walked_at: float | None = None
        self._listed_again: set[int] = set()
        self._walked = DescriptorUses()
        self._not_before: dict[Job, float] = {}
        self._poll_at: float | None = None
        self._waits = 0.0

    def ask(
        self, asker: object, inodes: frozenset[int], cgroup_ids: Collection[int], now: float
    ) -> Answer:
        """Say whose sockets an asker wants to know, and return what is known, perhaps not all.

        now: when the poll began, in monotonic seconds; the same for all askers of one poll.
        """
        with self._changed:
            if inodes:
                self._wanted[asker] = inodes
            else:
                self._wanted.pop(asker, None)
            self._cgroups |= {i for i in cgroup_ids if i and i not in self._units}
            self._wait(lambda: inodes <= self._holders.asked and not self._cgroups, now)
            return self._answer()

    def name(self, cgroup_ids: Collection[int], now: float) -> Mapping[int, str]:
        """Return the units of cgroups by their ids, as far as they are known now."""
        with self._changed:
            self._cgroups |= {i for i in cgroup_ids if i not in self._units}
            self._wait(lambda: not self._cgroups, now)
            return {i: unit.title for i in cgroup_ids if (unit := self._units.get(i))}

    def walk(self, now: float) -> Answer:
        """Ask for a walk over all processes' descriptors; return what the last one saw."""
        with self._changed:
            self._walk_at = now
            self._wait(lambda: self._walked_at == now or not self._patient, now)
            return self._answer()

    def list_again(self, pids: Collection[int]) -> None:
        """Have the descriptors of these processes listed again at the next walk."""
        with self._changed:
            self._listed_again |= set(pids)

    def forget(self, asker: object) -> None:
        """Drop what an asker wanted."""
        with self._changed:
            self._wanted.pop(asker, None)

    def close(self) -> None:
        """End the thread, in the middle of a look too."""
        self._closed.set()
        with self._changed:
            thread = self._thread
            self._changed.notify_all()
        if thread is not None:
            thread.join()

    def _answer(self) -> Answer:
        holders = self._holders
        return Answer(
            holders.look.holders, holders.asked, self._units, self._walked, holders.look.hidden
        )

    def _wait(self, answered: Callable[[], bool], now: float) -> None:
        """Wake the thread if there is work, and wait for it as long as this poll may."""
        if self._closed.is_set() or self._next(time.monotonic())[0] is None:
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="processes", daemon=True)
            self._thread.start()
        self._changed.notify_all()
        if self._poll_at != now:
            self._poll_at = now
            self._waits = _COMMAND_WAITS if self._patient else _POLL_WAITS
        begun = time.monotonic()
        while not answered() and not self._closed.is_set():
            left = self._waits - (time.monotonic() - begun)
            if left <= 0 or self._stop_requested():
                break
            self._changed.wait(min(left, 0.2))
        self._waits -= time.monotonic() - begun

    def _next(self, at: float) -> tuple[Job | None, float]:
        """Return what there is to do, and in how many seconds it may begin."""
        if self._cgroups:
            return self._name_units, 0.0
        wanted = frozenset[int]().union(*self._wanted.values())
        old = at - self._holders.looked_at >= _BELIEVED_SECONDS
        jobs: list[Job] = []
        if not wanted <= self._holders.asked or (wanted and old):
            jobs.append(self._look)
        if self._walk_at != self._walked_at:
            jobs.append(self._walk)
        pauses = [max(0.0, self._not_before.get(job, 0.0) - at) for job in jobs]
        if not jobs or self._patient:
            return (jobs[0] if jobs else None), 0.0
        return jobs[pauses.index(min(pauses))], min(pauses)

    def _work(self) -> None:
        idle_since = time.monotonic()
        with self._changed:
            try:
                while not (self._closed.is_set() or self._stop_requested()):
                    job, pause = self._next(time.monotonic())
                    if job is not None and pause == 0:
                        COMPONENTS.run("processes", job)
                        self._changed.notify_all()
                        idle_since = time.monotonic()
                    elif job is None and time.monotonic() - idle_since >= _IDLE_SECONDS:
                        break
                    else:
                        self._changed.wait(_IDLE_SECONDS if job is None else pause)
            finally:
                self._thread = None
                self._changed.notify_all()

    def _name_units(self) -> None:
        """Name cgroups; those that have gone, or cannot be seen, say nothing."""
        wanted = set(self._cgroups)
        paths: dict[int, str] | None = None
        self._changed.release()
        try:
            with contextlib.suppress(OSError):  # asked again at the next poll
                paths = look_for_cgroups(self._proc, wanted)
        finally:
            self._changed.acquire()
            self._cgroups -= wanted
        if paths is None:
            return
        named = {i: managed_unit(paths[i]) if i in paths else None for i in wanted}
        before = self._units if len(self._units) < _UNITS_KEPT else {}
        self._units = {**before, **named}

    def _look(self) -> None:
        wanted = frozenset[int]().union(*self._wanted.values())
        before = self._holders

        def look(pace: Callable[[], None]) -> Holders:
            at = time.monotonic()
            return before.again(self._proc, wanted, pace, at, _ALL_AGAIN_SECONDS)

        found = self._paced(self._look, look)
        if found is not None:
            self._holders = found

    def _walk(self) -> None:
        at, again = self._walk_at, frozenset(self._listed_again)
        assert at is not None
        found = self._paced(self._walk, lambda pace: self._watch.walk(at, pace, again))
        self._walked_at = at
        if found is not None:
            self._walked = found
            self._listed_again -= again

    def _paced(self, job: Job, look: Callable[[Callable[[], None]], T]) -> T | None:
        """Run a job's look without holding the lock, at its pace; None if it was to stop."""
        self._changed.release()
        pace = _Pace(self._closed, self._stop_requested, patient=self._patient)
        try:
            return look(pace)
        except StoppedError:
            return None
        finally:
            self._changed.acquire()
            self._not_before[job] = time.monotonic() + pace.used / _SHARE - pace.elapsed


class _Pace:
    """Slows a look down to its share of a processor, and ends it when told to."""

    def __init__(
        self, closed: threading.Event, stop_requested: Callable[[], bool], *, patient: bool
    ) -> None:
        self._closed = closed
        self._stop_requested = stop_requested
        self._patient = patient
        self._calls = 0
        self._began_cpu, self._began = time.thread_time(), time.monotonic()
        self._rested_at = _FREE_SECONDS

    @property
    def used(self) -> float:
        """Seconds of processor time so far."""
        return time.thread_time() - self._began_cpu

    @property
    def elapsed(self) -> float:
        """Seconds so far."""
        return time.monotonic() - self._began

    def __call__(self) -> None:
        """Pause if it is time to; raises StoppedError."""
        self._calls += 1
        if self._calls % 32:
            return
        if self._closed.is_set() or self._stop_requested():
            raise StoppedError
        used = self.used
        if not self._patient and used - self._rested_at >= _SLICE_SECONDS:
            rest = (used - self._rested_at) * (1 / _LOOK_SHARE - 1)
            self._rested_at = used
            self._closed.wait(rest)
