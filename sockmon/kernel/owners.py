"""Who holds a socket: systemd unit or container from its cgroup, process from its inode."""

import os
import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

from sockmon.model.owner import Group, Owner, Process
from sockmon.text import label, one_line

_CONTAINER = re.compile(r"(?:^|[-:/])([0-9a-f]{64})(?:\.scope)?(?:/|$)")
_UNIT = re.compile(r"\.(?:service|scope|socket)$")
_SHORT_ID = 12  # as docker, podman and crictl print container ids
#: Characters of a name that are shown.
NAME_SHOWN = 100

#: An answer about a group's processes is believed this long; PIDs and descriptors move on.
_BELIEVED_SECONDS = 30.0
_PROCESSES_SHOWN = 5
_DESCRIPTOR_LIMIT = re.compile(r"^Max open files +([0-9]+) ", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Owners:
    """Processes by socket inode; `hidden` processes could not be looked into."""

    by_inode: dict[int, Process]
    hidden: int


class OwnerFinder:
    """Answers who holds groups of sockets, asking /proc rarely and for all groups at once."""

    def __init__(self, proc: Path, stop_requested: Callable[[], bool] = lambda: False) -> None:
        self._proc = proc
        self._stop_requested = stop_requested
        self._units: dict[int, str | None] = {}
        self._known: dict[Group, tuple[float, Owner]] = {}
        self._holders: frozenset[int] = frozenset()
        self.hidden = 0

    def find(self, inodes: Mapping[Group, Collection[int]], now: float) -> dict[Group, Owner]:
        """Return the owner of each group, given its sockets' inodes (`now` in monotonic seconds).

        Without the privilege to see a process, its owner is its unit alone.
        """
        self._known = {
            group: known
            for group, known in self._known.items()
            if group in inodes and now - known[0] < _BELIEVED_SECONDS
        }
        missing = {group: held for group, held in inodes.items() if group not in self._known}
        if missing:
            self.name_units({group.cgroup_id for group in missing})
            found = self._ask(missing.values())
            for group, held in missing.items():
                self._known[group] = now, self._owner(group, held, found)
        return {group: owner for group, (_, owner) in self._known.items()}

    def _ask(self, groups: Collection[Collection[int]]) -> Owners:
        """Look at last time's holders; at everybody if they hold less than half of a group."""
        wanted = set().union(*groups)
        found = read_owners(self._proc, wanted, self._stop_requested, self._holders)
        if any(2 * len(found.by_inode.keys() & set(inodes)) < len(inodes) for inodes in groups):
            found = read_owners(self._proc, wanted, self._stop_requested)
            self.hidden = found.hidden
        self._holders = frozenset(process.pid for process in found.by_inode.values())
        return found

    def name_units(self, cgroup_ids: Collection[int]) -> Mapping[int, str | None]:
        """Return the unit or container of each cgroup; None for the root and for what has gone."""
        new = {i for i in cgroup_ids if i and i not in self._units}
        if new:
            paths = read_cgroup_paths(self._proc, new)
            self._units.update({i: _unit(paths.get(i, "/")) for i in new})
        return self._units

    def _owner(self, group: Group, inodes: Collection[int], found: Owners) -> Owner:
        held = Counter(found.by_inode[inode] for inode in inodes if inode in found.by_inode)
        holders = held.most_common(_PROCESSES_SHOWN)
        processes = [_with_descriptors(process) for process, _ in holders]
        unit = self._units.get(group.cgroup_id)
        name = processes[0].name if processes else "unknown"
        return Owner(label(unit or name), unit, tuple(processes))


def _unit(path: str) -> str | None:
    return None if path == "/" else unit_of(path)


def _with_descriptors(process: Process) -> Process:
    """Add how many descriptors it uses of how many, if it lives and that may be seen."""
    try:
        real = psutil.Process(process.pid)
        if real.create_time() != process.started:
            return process  # another process by now
        limits = Path(f"/proc/{process.pid}/limits").read_text()
        return replace(process, fds=real.num_fds(), fd_limit=parse_descriptor_limit(limits))
    except (psutil.Error, OSError):
        return process


def parse_descriptor_limit(text: str) -> int | None:
    """Return the soft limit in /proc/PID/limits, None if there is none.

    prlimit(2) of another user's process would ask for CAP_SYS_RESOURCE.
    """
    found = _DESCRIPTOR_LIMIT.search(text)
    return int(found[1]) if found else None


def read_cgroup_paths(proc: Path, wanted: Collection[int]) -> dict[int, str]:
    """Map cgroup ids to paths below the cgroup v2 mount: an id is its directory's inode number.

    Works in the hybrid hierarchy too. Ids of cgroups that have gone are missing.
    """
    paths: dict[int, str] = {}
    mount = _cgroup2_mount(proc)
    if mount is None or not wanted:
        return paths
    left = set(wanted)
    below = [mount]
    while below and left:
        directory = below.pop()
        try:
            inode = directory.stat().st_ino
            below += [Path(entry.path) for entry in os.scandir(directory) if _is_directory(entry)]
        except OSError:
            continue  # gone while we looked
        if inode in left:
            left.discard(inode)
            paths[inode] = "/" + os.fsencode(directory.relative_to(mount)).decode(
                "utf-8", "backslashreplace"
            ).removeprefix(".")
    return paths


def unit_of(cgroup_path: str) -> str:
    """Name a cgroup for people: container id, else systemd unit, else the path itself."""
    container = _CONTAINER.search(cgroup_path)
    if container:
        return container[1][:_SHORT_ID]
    for part in reversed(cgroup_path.split("/")):
        if _UNIT.search(part):
            return one_line(part, NAME_SHOWN)
    return one_line(cgroup_path, NAME_SHOWN)


def read_owners(
    proc: Path,
    inodes: Collection[int],
    stop_requested: Callable[[], bool] = lambda: False,
    pids: Collection[int] | None = None,
) -> Owners:
    """Find the process of each socket inode: the one with the lowest PID where several share it.

    Reads every descriptor of every process, or of `pids` alone: dear, so only for sockets that
    somebody asked about. It ends early when all are found, or when asked to stop.
    """
    links = {f"socket:[{inode}]": inode for inode in inodes if inode}
    by_inode: dict[int, Process] = {}
    hidden = 0
    if pids is None:
        pids = _pids(proc)
    for pid in sorted(pids):
        if len(by_inode) == len(links) or stop_requested():
            break
        try:
            held = _held(f"{proc}/{pid}/fd", links, stop_requested)
        except PermissionError:
            hidden += 1
            continue
        except OSError:
            continue  # it has ended
        if held:
            process = _process(pid)
            # A PID can be given to another process while we look: it must hold them afterwards.
            if _link(next(iter(held.values()))) in links:
                by_inode.update({inode: process for inode in held if inode not in by_inode})
    return Owners(by_inode, hidden)


def _pids(proc: Path) -> list[int]:
    try:
        return [int(name) for name in os.listdir(proc) if name.isdigit()]
    except OSError:
        return []  # out of descriptors, say: owners are then known by their unit alone


def _held(
    directory: str, links: Mapping[str, int], stop_requested: Callable[[], bool]
) -> dict[int, str]:
    """Return those of the sockets that a process holds, each with its descriptor's path."""
    held: dict[int, str] = {}
    for name in os.listdir(directory):
        if stop_requested():
            break
        inode = links.get(_link(f"{directory}/{name}"))
        if inode is not None:
            held[inode] = f"{directory}/{name}"
    return held


def _cgroup2_mount(proc: Path) -> Path | None:
    try:
        lines = (proc / "self/mountinfo").read_text("utf-8", "surrogateescape").splitlines()
    except OSError:
        return None
    for line in lines:
        before, _, after = line.partition(" - ")
        if after.startswith("cgroup2 "):
            return Path(before.split()[4])
    return None


def _is_directory(entry: os.DirEntry[str]) -> bool:
    return entry.is_dir(follow_symlinks=False)


def _link(descriptor: str) -> str:
    try:
        return os.readlink(descriptor)
    except OSError:
        return ""


def _process(pid: int) -> Process:
    try:
        real = psutil.Process(pid)
        return Process(pid, real.name(), started=real.create_time())
    except (psutil.Error, OSError):
        return Process(pid, "?")
