"""Processes that live in network namespaces, so that sockmon finds these."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from sockmon.kernel.places import Place, scan
from sockmon.kernel.sockdiag import NetlinkTransport
from sockmon.kernel.source import KernelSource
from tests.lab import NetNs

PROC = Path("/proc")

#: Moves into a new namespace for each line of input, listens there, and says the namespace's inode.
_NOMAD = """
import ctypes, os, socket, sys
libc = ctypes.CDLL(None)
for line in sys.stdin:
    listener = None
    assert libc.unshare(0x40000000) == 0
    if line.strip() == "listen":
        listener = socket.create_server(("127.0.0.1", 4321))
    print(os.stat("/proc/self/ns/net").st_ino, flush=True)
"""


@contextmanager
def resident(netns: NetNs) -> Iterator[int]:
    """A process in the namespace, which ends with whoever started it; its PID."""
    with netns.popen(["cat"]) as process:
        try:
            yield process.pid
        finally:
            process.kill()


class Nomad:
    """A process that moves from one new namespace to the next."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _NOMAD],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.pid = self._process.pid

    def move(self, *, listen: bool = True) -> int:
        """Let it go on, leaving the last namespace to die; the inode of the new one."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("listen\n" if listen else "rest\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def end(self) -> None:
        self._process.kill()
        self._process.communicate()


@contextmanager
def nomad() -> Iterator[Nomad]:
    made = Nomad()
    try:
        yield made
    finally:
        made.end()


def open_files() -> int:
    """How many descriptors this process has."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def inode_of(netns: NetNs) -> int:
    """The number by which `lsns` knows the namespace."""
    return netns.call(os.stat, "/proc/thread-self/ns/net").st_ino


def name_of(netns: NetNs) -> str:
    """What sockmon calls it as long as nothing better is known."""
    return f"netns-{inode_of(netns)}"


def seeing_pids(*pids: int) -> KernelSource:
    """The kernel, and of its namespaces only those that these processes were first in."""

    def look_around() -> Mapping[str, Place]:
        return {key: place for key, place in scan(PROC).items() if place.pid in pids}

    return KernelSource.over(NetlinkTransport, PROC, look_around=look_around)
