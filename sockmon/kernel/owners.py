"""Who holds sockets: processes by socket inode, units and containers by cgroup."""

import os
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from sockmon.kernel.processes import ProcessFiles, pids, process_files, sleep_on
from sockmon.model.owner import Halt, Process


class StoppedError(Exception):
    """A look was to end before it had seen everything."""


_WAITS = Halt("uninterruptible")
#: Called between any two short steps of a look: it may pause, or raise StoppedError.
Pace = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Look:
    """What was found in processes.

    holders: by inode, every process seen that holds it: the first of them first. seen: PIDs looked
    into. hidden: how many could not be, for want of privilege.
    """

    holders: Mapping[int, tuple[Process, ...]]
    seen: frozenset[int] = frozenset()
    hidden: int = 0


def look_into(proc: Path, inodes: Collection[int], wanted: Iterable[int], pace: Pace) -> Look:
    """Find those of the processes (PIDs in `wanted`) that hold one of the sockets.

    Reads the link of every descriptor of each: only for sockets that somebody asked about. Raises
    StoppedError.
    """
    links = {f"socket:[{inode}]": inode for inode in inodes if inode}
    found: dict[int, set[int]] = {}
    processes: dict[int, Process] = {}
    seen: set[int] = set()
    hidden = 0
    for pid in wanted:
        pace()
        try:
            process, held = _look_into(proc, pid, links, pace)
        except PermissionError:
            hidden += 1
            continue
        except (OSError, ValueError):
            continue  # it has ended
        seen.add(pid)
        if process is not None:
            processes[pid] = process
        for inode in held:
            found.setdefault(inode, set()).add(pid)
    waiting = {pid for pid, process in processes.items() if process.halt == _WAITS}
    for pid in waiting - sleep_on(proc, waiting):
        processes[pid] = replace(processes[pid], halt=None)
    holders = {
        inode: tuple(sorted((processes[pid] for pid in held), key=_first))
        for inode, held in found.items()
    }
    return Look(holders, frozenset(seen), hidden)


def _look_into(
    proc: Path, pid: int, links: Mapping[str, int], pace: Pace
) -> tuple[Process | None, set[int]]:
    """Return which of the sockets a process holds, and the process if it holds any."""
    with process_files(proc, pid) as files:
        count, held = _held(files, links, pace)
        thread = None if count else files.other_thread()
        if thread is None:
            return (files.describe(count) if held else None), held
    with process_files(proc, pid, thread) as files:
        count, held = _held(files, links, pace)
        return (files.describe(count) if held else None), held


def _held(files: ProcessFiles, links: Mapping[str, int], pace: Pace) -> tuple[int, set[int]]:
    """Return how many descriptors there are, and which of the sockets are among them."""
    held: set[int] = set()
    with files.descriptors() as directory:
        names = os.listdir(directory)
        for name in names:
            pace()
            try:
                inode = links.get(os.readlink(name, dir_fd=directory))
            except OSError:
                continue  # closed meanwhile
            if inode is not None:
                held.add(inode)
    return len(names), held


def _first(process: Process) -> tuple[bool, float, int]:
    """Whose a shared socket is: it had it first, and is no init that only keeps it for others."""
    return process.pid == 1, process.started or 0.0, process.pid


@dataclass(frozen=True, slots=True)
class Holders:
    """Who holds sockets, from look to look: a value that each look makes again.

    asked: the sockets that were asked about, found or not. pids: processes that were looked into.
    looked_at, all_at: monotonic seconds of the last look, and of the last at all processes.
    """

    look: Look = Look({})
    asked: frozenset[int] = frozenset()
    pids: frozenset[int] = frozenset()
    looked_at: float = float("-inf")
    all_at: float = float("-inf")

    def again(
        self, proc: Path, wanted: frozenset[int], pace: Pace, now: float, all_after: float
    ) -> "Holders":
        """Look for holders of the wanted sockets; raises StoppedError.

        First at those who held some and at processes that are new since: a socket can come to an
        old process only by accept() and connect(), or sent through a Unix socket. At all others if
        that leaves a socket without a holder; but for one that was not found before, only
        `all_after` seconds later.
        """
        there = pids(proc)
        before = {process.pid for held in self.look.holders.values() for process in held}
        first = [pid for pid in there if pid in before or pid not in self.pids]
        look = look_into(proc, wanted, first, pace)
        others = sorted(set(there) - set(first))
        missing = wanted - look.holders.keys()
        new_missing = missing - (self.asked - self.look.holders.keys())
        all_at = self.all_at
        if not others or new_missing or (missing and now - all_at >= all_after):
            look = _joined(look, look_into(proc, wanted, others, pace))
            all_at = now
        else:
            look = replace(look, hidden=self.look.hidden)
        return Holders(look, wanted, frozenset(there), now, all_at)


def _joined(one: Look, other: Look) -> Look:
    holders = dict(one.holders)
    for inode, held in other.holders.items():
        holders[inode] = tuple(sorted((*holders.get(inode, ()), *held), key=_first))
    return Look(holders, one.seen | other.seen, one.hidden + other.hidden)


def read_owners(
    proc: Path, inodes: Collection[int], stop_requested: Callable[[], bool] = lambda: False
) -> Look:
    """Find all holders of sockets in one look at all processes; what was found until told to stop.

    For commands that run once; the daemon's looks are in inspector.py.
    """

    def pace() -> None:
        if stop_requested():
            raise StoppedError

    try:
        return look_into(proc, inodes, pids(proc), pace)
    except StoppedError:
        return Look({})
