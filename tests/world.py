"""A small world: a PID namespace, with a /proc and an empty /run of its own.

A sockmon that sees this world finds the network namespaces of the processes in it, and no others,
however many the machine has and whatever other tests do. All that is in a world ends with it, and
it ends with the process that made it.
"""

import ctypes
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ParamSpec, Self, TypeVar

from tests.conftest import REPOSITORY
from tests.lab import NetNs

P = ParamSpec("P")
T = TypeVar("T")

_CLONE_NEWPID = 0x20000000  # linux/sched.h
_BEGIN = "mount -t tmpfs tmpfs /run && mkdir /run/netns && echo begun && exec cat"
_NAME = 'touch "$0" && mount --bind /proc/self/ns/net "$0"'

_libc = ctypes.CDLL(None, use_errno=True)  # os.setns() is of Python 3.12


@dataclass(frozen=True, slots=True)
class World:
    """init: the PID of its first process, as this machine knows it. host: that one's namespace."""

    init: int
    host: NetNs

    @property
    def seeing(self) -> tuple[str, ...]:
        """What makes a command see this world's /proc and /run when put before it."""
        return ("nsenter", f"--mount=/proc/{self.init}/ns/mnt", f"--wd={REPOSITORY}")

    def within(self, netns: NetNs | None = None) -> tuple[str, ...]:
        """What makes a command a process of the world that sees it; nsenter waits for it.

        netns: where it runs; without one in that of the first process.
        """
        where = (netns or self.host).path
        return (*self.seeing, f"--pid=/proc/{self.init}/ns/pid", f"--net={where}")

    def enter_for_children(self) -> None:
        """Let the processes that the calling thread starts from now on be in the world."""
        with Path(f"/proc/{self.init}/ns/pid").open() as file:
            if _libc.setns(file.fileno(), _CLONE_NEWPID) == -1:
                number = ctypes.get_errno()
                raise OSError(number, f"setns(CLONE_NEWPID): {os.strerror(number)}")

    def netns(self) -> "WorldNetNs":
        """A new network namespace, whose programs are processes of the world."""
        return WorldNetNs(self)

    def own(self) -> "WorldNetNs":
        """The network namespace of its first process: to a sockmon in there, the host's own."""
        return WorldNetNs(self, self.host)

    def name(self, netns: NetNs, name: str) -> None:
        """Give a namespace a name, as `ip netns` does."""
        naming = ("sh", "-c", _NAME, f"/run/netns/{name}")
        subprocess.run([*self.within(netns), *naming], check=True)


class WorldNetNs(NetNs):
    """A network namespace whose programs are processes of a world."""

    def __init__(self, world: World, of: NetNs | None = None) -> None:
        """of: the namespace that is meant; without one it is a new one."""
        self._world = world
        self._of = of

    def __enter__(self) -> Self:
        if self._of is None:
            return super().__enter__()
        self._fd = os.open(self._of.path, os.O_RDONLY)
        return self

    def call(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Call `function` inside; the processes that it starts are in the world."""

        def inside() -> T:
            self._world.enter_for_children()
            return function(*args, **kwargs)

        return super().call(inside)


@contextmanager
def small_world() -> Iterator[World]:
    """Make one."""
    command = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    with NetNs() as host, host.popen([*command, "sh", "-c", _BEGIN]) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "begun\n"
            yield World(child_of(process.pid), host)
        finally:
            process.kill()


def child_of(pid: int) -> int:
    """The only child of a process: of nsenter and unshare what they run in a PID namespace."""
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text())
