"""How many file descriptors the processes of this host use.

Since Linux 6.2 the size of the directory /proc/PID/fd is the number of open descriptors, and it may
be asked without privilege (proc_readfd_count() in fs/proc/fd.c). On older kernels it is 0, and they
are counted where that is permitted. What they lead to is listed only of suspects.
"""

import contextlib
import os
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from sockmon.kernel.owners import Pace
from sockmon.kernel.processes import namespace_number, pids, process_files
from sockmon.kernel.procfs import parse_sockstat_sum
from sockmon.model.descriptors import (
    LEAST_CLOSED,
    NAMESPACES,
    DescriptorUse,
    DescriptorUses,
    Listing,
    Samples,
)
from sockmon.model.owner import Process

#: Who uses fewer descriptors is not looked at.
_LEAST_USED = 16
#: From this share of its limit on a process is followed; from the second on its descriptors are
#: listed.
_FOLLOWED_RATIO, _LISTED_RATIO = 0.25, 0.5
_FOLLOWED = 200
_SAMPLES_SECONDS = 600.0
#: A description is believed this long; that of a process that is followed is read each time.
_BELIEVED_SECONDS = 60.0
#: Protocols whose sockets are in the table of TCP.
_IN_TABLES = {"TCP", "MPTCP"}
#: In one walk, so many processes are listed, and so many descriptors.
_LISTINGS, _LINKS = 64, 200_000


@dataclass(frozen=True, slots=True)
class _Known:
    """What the last walk knew of a process."""

    process: Process
    described_at: float
    samples: Samples = ()
    listing: Listing | None = None
    listed_at: float = float("-inf")
    listed_used: int = -1


class DescriptorWatch:
    """Walks over all processes from time to time. For one thread."""

    def __init__(self, proc: Path) -> None:
        self._proc = proc
        self._known: dict[int, _Known] = {}

    def walk(self, now: float, pace: Pace, again: Collection[int]) -> DescriptorUses:
        """Return who uses much of its descriptors, or may hold sockets that are in no table.

        now: monotonic seconds. again: PIDs whose descriptors are to be listed again. Raises
        StoppedError.
        """
        there = pids(self._proc)
        before, self._known = self._known, {}
        for pid, used in self._counted(there, pace):
            known = self._described(pid, used, before.get(pid), now)
            if known is not None:
                self._known[pid] = known
        followed = sorted(
            (known for known in self._known.values() if _ratio(known.process) >= _FOLLOWED_RATIO),
            key=lambda known: -_ratio(known.process),
        )[:_FOLLOWED]
        suspects = [known.process.pid for known in followed]
        closed = self._closed(there, pace)
        if closed >= LEAST_CLOSED:
            by_use = sorted(self._known, key=lambda pid: -(self._known[pid].process.fds or 0))
            suspects += [pid for pid in by_use if pid not in set(suspects)]
            listed = suspects
        else:
            listed = [
                known.process.pid for known in followed if _ratio(known.process) >= _LISTED_RATIO
            ]
        self._list(listed, now, pace, again)
        uses = (
            DescriptorUse(
                known.process, known.samples, namespace_number(self._proc, pid), known.listing
            )
            for pid in suspects[:_FOLLOWED]
            if (known := self._known[pid])
        )
        return DescriptorUses(tuple(uses), closed)

    def _counted(self, there: Collection[int], pace: Pace) -> Iterator[tuple[int, int]]:
        """Yield PIDs and how many descriptors they use, as far as that is worth a look."""
        exact = bool(_size(f"{self._proc}/self/fd"))
        for pid in there:
            pace()
            directory = f"{self._proc}/{pid}/fd"
            try:
                used = _size(directory) if exact else len(os.listdir(directory))
            except OSError:
                continue  # it has ended, or may not be asked
            if used >= _LEAST_USED:
                yield pid, used

    def _described(self, pid: int, used: int, known: _Known | None, now: float) -> _Known | None:
        """Take over what is known of a process, or read it again."""
        if known is not None:
            process = replace(known.process, fds=used)
            young = now - known.described_at < _BELIEVED_SECONDS
            if young and _ratio(process) < _FOLLOWED_RATIO:
                return replace(known, process=process, samples=())
        try:
            with process_files(self._proc, pid) as files:
                process = replace(files.describe(used), halt=None)  # not confirmed
        except (OSError, ValueError):
            return None
        if known is None or known.process.started != process.started:
            known = _Known(process, now)  # another process of the same PID
        recent = tuple(sample for sample in known.samples if now - sample[0] < _SAMPLES_SECONDS)
        return replace(
            known, process=process, described_at=now, samples=(*recent, (now, float(used)))
        )

    def _closed(self, there: Collection[int], pace: Pace) -> int:
        """Return how many TCP sockets are in use and in no table, at most, on the whole host.

        sockstat's `alloc` counts all TCP sockets there are; `inuse`, in each namespace, those in
        its tables. Namespaces without a process are not seen, so it can be fewer.
        """
        try:
            alloc, in_use = self._sockstat("thread-self")
        except (OSError, ValueError):
            return 0
        if alloc - in_use < LEAST_CLOSED:
            return 0
        namespaces: dict[int, int] = {}
        for pid in there:
            pace()
            number = namespace_number(self._proc, pid)
            if number is not None:
                namespaces.setdefault(number, pid)
        total = 0
        for pid in namespaces.values():
            pace()
            try:
                total += self._sockstat(str(pid))[1]
            except (OSError, ValueError):
                continue  # it has ended
        return alloc - total

    def _sockstat(self, task: str) -> tuple[int, int]:
        """Return alloc of the host and inuse of a process's namespace.

        Raises OSError and ValueError.
        """
        directory = self._proc / task / "net"
        text = (directory / "sockstat").read_text()
        with contextlib.suppress(FileNotFoundError):  # a kernel without IPv6 has none
            text += (directory / "sockstat6").read_text()
        return parse_sockstat_sum(text)

    def _list(self, suspects: list[int], now: float, pace: Pace, again: Collection[int]) -> None:
        """List what the descriptors of suspects lead to, as far as that has changed."""
        listings, links = _LISTINGS, _LINKS
        for pid in suspects:
            known = self._known[pid]
            used = known.process.fds or 0
            changed = used != known.listed_used or now - known.listed_at >= _BELIEVED_SECONDS
            if not (changed or pid in again):
                continue
            if listings == 0 or links < used:
                break
            listings, links = listings - 1, links - used
            try:
                listing = self._listing(known.process, now, pace)
            except (OSError, ValueError):
                listing = None
            self._known[pid] = replace(known, listing=listing, listed_at=now, listed_used=used)

    def _listing(self, process: Process, now: float, pace: Pace) -> Listing:
        """List one process's descriptors; raises OSError and ValueError."""
        kinds: Counter[str] = Counter()
        tcp: list[int] = []
        with process_files(self._proc, process.pid) as files, files.descriptors() as directory:
            if files.started() != process.started:
                raise ProcessLookupError(process.pid)
            for name in os.listdir(directory):
                pace()
                try:
                    link = os.readlink(name, dir_fd=directory)
                except OSError:
                    continue  # closed meanwhile
                kind = _kind(link)
                if kind == "sockets":
                    protocol = _protocol(f"/proc/self/fd/{directory}/{name}")
                    kind = f"{protocol} sockets"
                    if protocol in _IN_TABLES:
                        tcp.append(int(link[8:-1]))
                kinds[kind] += 1
        return Listing(now, kinds, np.array(sorted(tcp), np.uint32))


def _ratio(process: Process) -> float:
    return (process.fds or 0) / process.fd_limit if process.fd_limit else 0.0


def _size(directory: str) -> int:
    try:
        return os.stat(directory).st_size
    except FileNotFoundError:
        return 0


def _kind(link: str) -> str:
    """Name what a descriptor leads to: `socket:[1]`, `pipe:[2]`, `anon_inode:[eventfd]`, a path."""
    if link.startswith("/"):
        return "devices" if link.startswith("/dev/") else "files"
    kind, _, rest = link.partition(":")
    if kind == "net":
        return NAMESPACES
    return f"{rest.strip('[]')}" if kind == "anon_inode" else f"{kind}s"


def _protocol(path: str) -> str:
    """Return TCP, UDP, UNIX ... of a socket (sockfs_xattr_get() in net/socket.c)."""
    try:
        name = os.getxattr(path, "system.sockprotoname")
    except OSError:
        return "other"
    text = name.rstrip(b"\0").decode("ascii", "backslashreplace")
    return text.removesuffix("v6").partition("-")[0]
