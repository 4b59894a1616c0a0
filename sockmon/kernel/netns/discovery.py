"""Finds network namespaces, in /proc and in /run/netns, and the processes in them.

Processes are in one network namespace when their /proc/PID/net/sockstat is the same file: each
namespace has a directory of its own in procfs, and everybody may stat() it (fs/proc/proc_net.c).
setns() needs the nsfs file: /proc/PID/ns/net, or a bind mount of it such as `ip netns add` makes.
Its inode is the number in `net:[4026531833]`. Reading that of another user's process needs
CAP_SYS_PTRACE, but one process of each namespace is enough.

A namespace lives as long as a process, a bind mount or a socket holds it. One that neither a
process nor a name holds is not found: a netlink socket of sockmon's inside must then be closed,
because it would keep the namespace alive.
"""

import os
import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from sockmon.kernel.cgroups import parse_cgroup
from sockmon.kernel.errors import ProcError

#: Where `ip netns add` and container engines keep their bind mounts.
NAMED = (Path("/run/netns"), Path("/run/docker/netns"))

_NSFS = re.compile(r"net:\[(\d+)\]")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a namespace was found.

    path: its nsfs file. inode: that file's, None without the privilege to read it. pid: the process
    with the lowest PID inside, and directory: the inode of its net/sockstat in procfs; both are
    None if only a name holds the namespace. given: its name, if it has a file under /run/netns.
    """

    path: Path
    inode: int | None
    pid: int | None
    directory: int | None
    given: str | None = None

    @property
    def key(self) -> str:
        """Identifies it among all namespaces that live now."""
        return f"procfs:{self.directory}" if self.inode is None else f"net:{self.inode}"

    @property
    def number(self) -> int:
        """Its nsfs inode, as lsns shows it, else its directory's."""
        return self.inode or self.directory or 0

    @property
    def nsenter_prefix(self) -> str:
        """The prefix that runs a command inside."""
        return f"nsenter --net={shlex.quote(str(self.path))}"


def directory_of(proc: Path, pid: int | str) -> int:
    """Return the number of the namespace that a process is in, in procfs; raises OSError."""
    return os.stat(f"{proc}/{pid}/net/sockstat").st_ino


def scan(proc: Path, directories: Iterable[Path] = NAMED) -> Mapping[str, Place]:
    """Return the namespaces other than the calling thread's own, by key.

    What ends during the scan is left out. Raises ProcError.
    """
    try:
        return _scan(proc, directories)
    except OSError as error:
        raise ProcError.from_errno("look for network namespaces", error.errno or 0) from error


def own_inode(proc: Path) -> int:
    """Return the nsfs inode of the calling thread's own namespace; raises ProcError."""
    try:
        return os.stat(proc / "thread-self/ns/net").st_ino
    except OSError as error:
        raise ProcError.from_errno(
            "look for the daemon's own network namespace", error.errno or 0
        ) from error


def processes_visible(proc: Path) -> bool:
    """Whether other users' processes are visible in /proc: PID 1, which always exists, is tried."""
    try:
        directory_of(proc, 1)
    except OSError:
        return False
    return True


def read_cgroup(proc: Path, pid: int) -> str:
    """Read a process's cgroup as a path, "/" if there is none or the process has ended."""
    try:
        return parse_cgroup((proc / str(pid) / "cgroup").read_text("utf-8", "backslashreplace"))
    except OSError:
        return "/"


def _scan(proc: Path, directories: Iterable[Path]) -> Mapping[str, Place]:
    own = os.stat(proc / "thread-self/ns/net")
    given = _given(directories, own.st_dev)
    found = []
    for directory, pid in _members(proc).items():
        path = proc / str(pid) / "ns/net"
        inode = _nsfs_inode(path)
        name = None
        if inode in given:
            name, path = given.pop(inode)
        found.append(Place(path, inode, pid, directory, name))
    found += [Place(path, inode, None, None, name) for inode, (name, path) in given.items()]
    return {place.key: place for place in found if place.inode != own.st_ino}


def _members(proc: Path) -> dict[int, int]:
    """Return the lowest PID in each other namespace, by the namespace's inode in procfs."""
    own = directory_of(proc, "thread-self")
    found: dict[int, int] = {}
    for pid in sorted(int(name) for name in os.listdir(proc) if name.isdigit()):
        try:
            found.setdefault(directory_of(proc, pid), pid)
        except OSError:
            continue  # it has ended
    found.pop(own, None)
    return found


def _given(directories: Iterable[Path], nsfs: int) -> dict[int, tuple[str, Path]]:
    """Return names and paths by nsfs inode; a file that is no mounted namespace is left out."""
    named: dict[int, tuple[str, Path]] = {}
    for directory in directories:
        try:
            entries = sorted(directory.iterdir())
        except OSError:
            continue
        for entry in entries:
            try:
                status = entry.stat()
            except OSError:
                continue
            if status.st_dev == nsfs:
                named.setdefault(status.st_ino, (entry.name, entry))
    return named


def _nsfs_inode(link: Path) -> int | None:
    try:
        found = _NSFS.fullmatch(os.readlink(link))
    except OSError:
        return None
    return int(found[1]) if found else None
