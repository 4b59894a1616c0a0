"""Processes that live in network namespaces, so that sockmon finds these."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from sockmon.kernel.netns.access import Look
from sockmon.kernel.netns.discovery import Place, directory_of, own_inode
from tests.cgroups import take_out
from tests.lab import NetNs

PROC = Path("/proc")

#: For each line of input ("new" or a namespace's file, how many to listen with, and whether the
#: last ones are kept) it moves, and says the inode of the namespace that it is in.
_NOMAD = """
import ctypes, errno, os, socket, sys, time
libc = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET = 0x40000000
listening = []
for line in sys.stdin:
    where, listeners, kept = line.split()
    if kept == "no":
        listening.clear()
    if where == "new":
        deadline = time.monotonic() + 90
        while libc.unshare(CLONE_NEWNET):
            assert ctypes.get_errno() == errno.ENOSPC and time.monotonic() < deadline
            time.sleep(0.01)
    else:
        fd = os.open(where, os.O_RDONLY)
        assert libc.setns(fd, CLONE_NEWNET) == 0
        os.close(fd)
    listening += [socket.create_server(("127.0.0.1", 0)) for _ in range(int(listeners))]
    print(os.stat("/proc/self/ns/net").st_ino, flush=True)
"""
#: In a user namespace of its own, in which the kernel counts network namespaces by themselves.
_LIMITED = ("unshare", "--user", "--map-root-user", "sh", "-ec")
_LIMIT = 'echo "$0" > /proc/sys/user/max_net_namespaces; exec "$@"'


@contextmanager
def resident(netns: NetNs) -> Iterator[int]:
    """A process in the namespace, which ends with whoever started it; its PID."""
    with netns.popen(["cat"]) as process:
        try:
            take_out(process.pid)
            yield process.pid
        finally:
            process.kill()


class Nomad:
    """A process that moves from one network namespace to the next."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.pid = process.pid

    def move(self, where: str = "new", *, listeners: int = 1, keep: bool = False) -> int:
        """Let it go on, to listen in a new namespace or that of a file; the inode of where it is.

        keep: what it listened with before stays open. Else nothing of its is left where it was.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{where} {listeners} {'yes' if keep else 'no'}\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def end(self) -> None:
        self._process.kill()
        self._process.communicate()


@contextmanager
def nomad(most: int | None = None) -> Iterator[Nomad]:
    """most: the kernel lets no more of its namespaces live at once; it waits, 90 s at most."""
    limited = () if most is None else (*_LIMITED, _LIMIT, str(most))
    process = subprocess.Popen(
        [*limited, sys.executable, "-c", _NOMAD],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    made = Nomad(process)
    try:
        take_out(process.pid)
        yield made
    finally:
        made.end()


def open_files() -> int:
    """How many descriptors this process has.

    They become fewer when those that earlier tests have left are collected: a test can only say
    that they do not become more.
    """
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def inode_of(netns: NetNs) -> int:
    """The number by which `lsns` knows the namespace."""
    return netns.call(os.stat, "/proc/thread-self/ns/net").st_ino


def name_of(netns: NetNs) -> str:
    """What sockmon calls it as long as nothing better is known."""
    return f"netns-{inode_of(netns)}"


def seeing_pids(*pids: int) -> Look:
    """Find only the namespaces of these processes, however many processes the machine has."""

    def look() -> Mapping[str, Place]:
        own = own_inode(PROC)
        found = {}
        for pid in sorted(pids, reverse=True):  # the lowest stands for its namespace
            path = PROC / str(pid) / "ns/net"
            with suppress(OSError):  # it has ended
                place = Place(path, path.stat().st_ino, pid, directory_of(PROC, pid))
                found[place.key] = place
        return {key: place for key, place in found.items() if place.inode != own}

    return look
