"""One poll of a recording: what the kernel answers, files of /proc, and who holds sockets."""

import base64
import contextlib
import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sockmon.kernel import procfs
from sockmon.kernel.cgroups import parse_cgroup, read_cgroup_paths
from sockmon.kernel.errors import KernelError
from sockmon.kernel.events.loader import EventCounter
from sockmon.kernel.netlink.replay import name_of
from sockmon.kernel.netlink.sockdiag import NetlinkTransport
from sockmon.kernel.netlink.source import KernelSource
from sockmon.kernel.netns.discovery import own_inode
from sockmon.kernel.processes import ProcessFiles, pids, process_files
from sockmon.model.direction import Listened
from sockmon.recording.anonymous import Anonymous
from sockmon.recording.events import lines_of

_TEXT_BYTES = 1 << 20
#: So many processes are looked into, and so many descriptors of each.
_PROCESSES, _LINKS = 20_000, 100_000


class Recorder:
    """Takes polls of the calling thread's namespace. hide: None records everything as it is."""

    def __init__(self, hide: Anonymous | None, proc: Path = Path("/proc")) -> None:
        self._hide = hide
        self._proc = proc
        self._dumps: dict[str, list[bytes]] = {}
        self._source = KernelSource.over(lambda: _Tapped(self._dumps), proc)
        self._before: dict[str, Any] = {}
        self._counter: EventCounter | None = None
        self._netns = 0

    def count_events(self) -> None:
        """Count from now on how connections open, fail and close; raises KernelError."""
        listened = Listened().seen(self._source.tcp(self._source.families())).ports
        self._netns = netns = own_inode(self._proc)
        self._counter = EventCounter.loaded(
            (netns, port) for port in np.flatnonzero(listened).tolist()
        )

    def poll(self, at: float) -> Mapping[str, Any]:
        """Return one line of the recording; raises KernelError."""
        source = self._source
        self._dumps.clear()
        families = source.families()
        table = source.tcp(families)
        cgroups = {int(number) for number in table.cgroup_id.tolist() if number}
        inodes = set(table.inode.tolist())
        source.last_heard(families)
        with contextlib.suppress(KernelError):  # what a kernel need not have
            udp = source.udp(families)
            inodes.update(udp.inode.tolist())
            cgroups.update(int(number) for number in udp.cgroup_id.tolist() if number)
            source.passing(families)
        with contextlib.suppress(KernelError):
            inodes.update(its.inode for its in source.unix_listeners())
            inodes.update(its.inode for its in source.unix())
        hide = self._hide.datagram if self._hide else bytes
        line: dict[str, Any] = {
            "at": at,
            "dumps": {
                name: [base64.b64encode(hide(chunk)).decode() for chunk in chunks]
                for name, chunks in self._dumps.items()
            },
            "files": dict(self._files()),
        }
        slow = {"processes": self._processes(inodes - {0}), "cgroups": self._cgroups(cgroups)}
        line.update({key: value for key, value in slow.items() if self._before.get(key) != value})
        self._before = slow
        if self._counter:
            line["events"] = lines_of(self._counter.read(time.monotonic()), self._netns)
        return line

    def close(self) -> None:
        """Close the netlink socket, and detach the program that counts."""
        self._source.close()
        if self._counter:
            self._counter.close()

    def _files(self) -> Iterable[tuple[str, str]]:
        for name in procfs.FILES:
            try:
                with (self._proc / name).open("rb") as file:
                    yield name, file.read(_TEXT_BYTES).decode("latin-1")
            except OSError:
                continue  # this kernel has it not

    def _cgroups(self, wanted: set[int]) -> dict[str, str]:
        hide = self._hide.cgroup if self._hide else str
        return {str(n): hide(path) for n, path in read_cgroup_paths(self._proc, wanted).items()}

    def _processes(self, inodes: set[int]) -> dict[str, Any]:
        """Return those that hold one of the sockets, as far as they may be looked into."""
        found, wanted = {}, {f"socket:[{inode}]" for inode in inodes}
        for pid in pids(self._proc)[:_PROCESSES]:
            try:
                with process_files(self._proc, pid) as files:
                    links = _links(files)
                    if not wanted.isdisjoint(links):
                        shown = self._hide.pid(pid) if self._hide else pid
                        found[str(shown)] = {"files": self._of(files, shown), "links": links}
            except (OSError, ValueError):
                continue  # it has ended, or is another user's
        return found

    def _of(self, files: ProcessFiles, pid: int) -> dict[str, str]:
        process = files.describe()
        cgroup = parse_cgroup(files.read("cgroup").decode("utf-8", "backslashreplace"))
        name, hide = process.name, self._hide
        if hide:
            name, cgroup = hide.name(name, "program"), hide.cgroup(cgroup)
        ticks = round((process.started or 0) * os.sysconf("SC_CLK_TCK"))
        halt = process.halt.kind if process.halt else ""
        state = {"stopped": "T", "traced": "t", "uninterruptible": "D"}.get(halt, "S")
        soft, hard = process.fd_limit or "unlimited", process.fd_hard_limit or "unlimited"
        return {
            "comm": f"{name}\n",
            "cmdline": f"{name}\0",
            "stat": f"{pid} () {state} {'0 ' * 18}{ticks}\n",
            "wchan": "do_freezer_trap" if halt == "frozen" else "0",
            "cgroup": f"0::{cgroup}\n",
            "limits": f"Max open files            {soft} {hard} files\n",
        }


def _links(files: ProcessFiles) -> list[str]:
    """Return what descriptors lead to: sockets by inode, files without their names."""
    with files.descriptors() as directory:
        links = []
        for name in os.listdir(directory)[:_LINKS]:
            try:
                link = os.readlink(name, dir_fd=directory)
            except OSError:
                continue  # closed meanwhile
            links.append("file" if link.startswith("/") else link)
        return links


class _Tapped:
    """The kernel, whose answers are kept by the request's name."""

    def __init__(self, kept: dict[str, list[bytes]]) -> None:
        self._kernel = NetlinkTransport()
        self._kept = kept
        self._answer: list[bytes] = []

    def send(self, request: bytes) -> None:
        self._answer = self._kept[name_of(request)] = []
        self._kernel.send(request)

    def receive_into(self, buffer: memoryview) -> tuple[int, bool]:
        length, whole = self._kernel.receive_into(buffer)
        self._answer.append(bytes(buffer[:length]))
        return length, whole

    def close(self) -> None:
        self._kernel.close()
