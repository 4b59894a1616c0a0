"""One process as /proc shows it: its name, unit, descriptors and their limit.

A process is held by a descriptor of its directory /proc/PID, through which all is read: should it
end and its PID be given to another process meanwhile, reads fail with ESRCH or ENOENT and never
tell of the other one (fs/proc/base.c). Sources: proc(5), proc_pid_stat(5), proc_pid_fd(5).
"""

import os
import re
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sockmon.kernel.cgroups import manager_of, owning_unit, parse_cgroup
from sockmon.model.owner import Halt, Process
from sockmon.model.program import program

#: More of a command line than this says nothing new.
_COMMAND_LINE_BYTES = 16384
_FILE_BYTES = 65536
_STANDARD = 3  # descriptors: input, output and error
_TICKS = os.sysconf("SC_CLK_TCK")
#: Kernel functions in which the processes of a frozen cgroup sleep: in cgroup v2 the first, or the
#: one that it is a part of, and in v1 the last (kernel/signal.c; kernel/freezer.c).
_FREEZERS = (b"do_freezer_trap", b"get_signal", b"__refrigerator")
_SWITCHES = re.compile(rb"^(?:State|voluntary_ctxt_switches):.*$", re.MULTILINE)
_ONE_SLEEP_SECONDS = 0.2
_TRACER = re.compile(rb"^TracerPid:\t([1-9][0-9]*)$", re.MULTILINE)
_DESCRIPTOR_LIMIT = re.compile(r"^Max open files +(\S+) +(\S+) ", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class ProcessFiles:
    """The files of one process; all raise OSError, once the process has ended too."""

    pid: int
    directory: int

    def read(self, name: str, longest: int = _FILE_BYTES) -> bytes:
        """Return the beginning of a file."""
        descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=self.directory)
        try:
            return os.read(descriptor, longest)
        finally:
            os.close(descriptor)

    @contextmanager
    def descriptors(self) -> Iterator[int]:
        """Open /proc/PID/fd: to list it, and to read its links by their names."""
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
        opened = os.open("fd", flags, dir_fd=self.directory)
        try:
            yield opened
        finally:
            os.close(opened)

    def other_thread(self) -> int | None:
        """Return a thread besides the first one, through which the process can be read.

        When the first thread has ended by itself (pthread_exit() in main()), its own directory
        shows no descriptors and no command line any more, and the others go on.
        """
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
        opened = os.open("task", flags, dir_fd=self.directory)
        try:
            return min(
                (int(name) for name in os.listdir(opened) if int(name) != self.pid), default=None
            )
        finally:
            os.close(opened)

    def started(self) -> float:
        """Return when it started, in seconds since the boot; raises OSError and ValueError."""
        return parse_started(self.read("stat"))

    def describe(self, fds: int | None = None) -> Process:
        """Return what is known of it; raises OSError. fds: descriptors in use, if counted."""
        soft, hard = self._descriptor_limits()
        stat = self.read("stat")
        cgroup = parse_cgroup(_text(self.read("cgroup")))
        return Process(
            self.pid,
            self._name(),
            fds,
            soft,
            parse_started(stat),
            owning_unit(cgroup),
            fd_hard_limit=hard,
            manager=manager_of(cgroup),
            halt=self._halt(parse_state(stat)),
        )

    def _halt(self, state: bytes) -> Halt | None:
        """Return why the process stands still: its first thread, in this state, does.

        Who waits in the kernel may do so for a moment only: see sleep_on().
        """
        if state == b"T":
            return Halt("stopped")
        if state == b"t":
            found = _TRACER.search(self._optional("status"))
            return Halt("traced", int(found[1]) if found else None)
        if self._optional("wchan") in _FREEZERS:
            return Halt("frozen")
        return Halt("uninterruptible") if state == b"D" else None

    def switches(self) -> list[bytes]:
        """Return its state, and how often it has gone to sleep."""
        return _SWITCHES.findall(self._optional("status"))

    def _optional(self, name: str) -> bytes:
        """Return the beginning of a file that need not be readable."""
        try:
            return self.read(name)
        except OSError:
            return b""

    def _name(self) -> str:
        comm = _text(self.read("comm")).rstrip("\n")
        try:
            executable = os.readlink("exe", dir_fd=self.directory).removesuffix(" (deleted)")
        except OSError:
            executable = ""  # not permitted, or a kernel thread
        words = _text(self.read("cmdline", _COMMAND_LINE_BYTES)).split("\0")
        return program(words, comm, executable)

    def _descriptor_limits(self) -> tuple[int | None, int | None]:
        """Return the soft and the hard limit; none if it is a sandbox that opens no more.

        Such a process, of sshd or a browser, sets its own limit to 0 or 1 once it has all it needs.
        """
        try:
            soft, hard = parse_descriptor_limits(_text(self.read("limits")))
        except OSError:
            return None, None
        return (None, None) if soft is not None and soft < _STANDARD else (soft, hard)


@contextmanager
def process_files(proc: Path, pid: int, thread: int | None = None) -> Iterator[ProcessFiles]:
    """Hold a process while its files are read; raises OSError when there is none.

    thread: the thread through which it is read, its first one if None.
    """
    path = f"{proc}/{pid}" if thread is None else f"{proc}/{pid}/task/{thread}"
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield ProcessFiles(pid, directory)
    finally:
        os.close(directory)


def sleep_on(proc: Path, waiting: Iterable[int]) -> frozenset[int]:
    """Return those of the processes that are in one and the same sleep for a while.

    Who reads a disk is in many, one after the other. Waits 0.2 s, once for all.
    """
    before = {pid: _switches(proc, pid) for pid in waiting}
    if before:
        time.sleep(_ONE_SLEEP_SECONDS)
    return frozenset(pid for pid, was in before.items() if was and _switches(proc, pid) == was)


def _switches(proc: Path, pid: int) -> list[bytes]:
    try:
        with process_files(proc, pid) as files:
            return files.switches()
    except OSError:
        return []  # it has ended


def pids(proc: Path) -> list[int]:
    """Return the PIDs of all processes, lowest first; none if /proc cannot be listed now."""
    try:
        return sorted(int(name) for name in os.listdir(proc) if name.isdigit())
    except OSError:
        return []  # out of descriptors, for example: owners are then known by their unit only


def namespace_number(proc: Path, task: int | str) -> int | None:
    """Return the number, in procfs, of a process's network namespace; None if it is hidden.

    Each namespace has a directory of its own there, and anybody may stat() it (fs/proc/proc_net.c).
    """
    try:
        return os.stat(f"{proc}/{task}/net/sockstat").st_ino
    except OSError:
        return None


def parse_started(text: bytes) -> float:
    """Return the start time in /proc/PID/stat, field 22, in seconds since the boot.

    Raises ValueError.
    """
    return int(_stat_fields(text)[19]) / _TICKS


def parse_state(text: bytes) -> bytes:
    """Return the state in /proc/PID/stat, field 3: R, S, D, T, t, Z ... Raises ValueError."""
    return _stat_fields(text)[0]


def _stat_fields(text: bytes) -> list[bytes]:
    """Return the fields from the third on: the second, the name, may hold spaces and brackets."""
    fields = text.rpartition(b")")[2].split()
    if len(fields) < 20:
        raise ValueError("not a line of /proc/PID/stat")
    return fields


def parse_descriptor_limits(text: str) -> tuple[int | None, int | None]:
    """Return the soft and the hard limit in /proc/PID/limits, None where there is none.

    prlimit(2) of another user's process would need CAP_SYS_RESOURCE.
    """
    found = _DESCRIPTOR_LIMIT.search(text)
    if found is None:
        return None, None
    soft, hard = (int(word) if word.isdigit() else None for word in found.groups())
    return soft, hard


def _text(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace")
