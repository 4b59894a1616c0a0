"""Who holds a socket: systemd unit or container from its cgroup, process from its inode."""

import os
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import psutil

_CONTAINER = re.compile(r"(?:^|[-:/])([0-9a-f]{64})(?:\.scope)?$")
_UNIT = re.compile(r"\.(?:service|scope|socket)$")
_SHORT_ID = 12  # as docker, podman and crictl print container ids


@dataclass(frozen=True, slots=True)
class Process:
    """A process that holds a socket; the name is the process's own choice: never trust it."""

    pid: int
    name: str

    def __str__(self) -> str:
        return f"{printable(self.name)}[{self.pid}]"


@dataclass(frozen=True, slots=True)
class Owners:
    """Processes by socket inode; `hidden` processes could not be looked into."""

    by_inode: dict[int, Process]
    hidden: int


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
            return printable(part)
    return printable(cgroup_path)


def read_owners(proc: Path, inodes: Collection[int]) -> Owners:
    """Find the process of each socket inode: the one with the lowest PID where several share it.

    Reads every process's descriptors: dear, so only for sockets somebody asked about.
    """
    links = {f"socket:[{inode}]": inode for inode in inodes if inode}
    by_inode: dict[int, Process] = {}
    hidden = 0
    for pid in sorted(int(entry.name) for entry in proc.iterdir() if entry.name.isdigit()):
        try:
            descriptors = list((proc / str(pid) / "fd").iterdir())
        except PermissionError:
            hidden += 1
            continue
        except OSError:
            continue  # it has ended
        held = {links.get(_link(descriptor)) for descriptor in descriptors} - by_inode.keys()
        held.discard(None)
        if held:
            process = Process(pid, _process_name(pid))
            by_inode.update({inode: process for inode in held if inode is not None})
    return Owners(by_inode, hidden)


def printable(text: str) -> str:
    """One line of at most 100 characters, whatever a process or a container calls itself."""
    plain = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return plain if len(plain) <= 100 else plain[:100] + "..."


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


def _link(descriptor: Path) -> str:
    try:
        return str(descriptor.readlink())
    except OSError:
        return ""


def _process_name(pid: int) -> str:
    try:
        return psutil.Process(pid).name()
    except psutil.Error:
        return "?"
