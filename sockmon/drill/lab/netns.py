"""Anonymous network namespaces, and the one that this process is in.

A namespace exists as long as something refers to it: here one file descriptor, and the sockets
made inside. It has no name under /run/netns, so a process that is killed leaves nothing behind.
"""

import ctypes
import os
import socket
import subprocess
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import ParamSpec, Self, TypeVar

from sockmon.kernel.netns.setns import CLONE_NEWNET, setns

P = ParamSpec("P")
T = TypeVar("T")

_COMMAND_TIMEOUT = 30.0

_libc = ctypes.CDLL(None, use_errno=True)


class NetNs:
    """A network namespace of its own, with `lo` up, for as long as the context is open.

    A thread belongs to one network namespace, and what it makes (sockets, child processes) stays
    in it. So everything here runs in short-lived threads; the caller's thread never moves.
    """

    def __enter__(self) -> Self:
        self._fd = _in_thread(_new_namespace)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        os.close(self._fd)

    @property
    def path(self) -> str:
        """A path that names the namespace to any process: `nsenter --net=PATH`, `ip ... netns`."""
        return f"/proc/{os.getpid()}/fd/{self._fd}"

    def call(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Call `function` inside the namespace."""

        def inside() -> T:
            setns(self._fd)
            return function(*args, **kwargs)

        return _in_thread(inside)

    def socket(
        self,
        family: socket.AddressFamily = socket.AF_INET,
        kind: socket.SocketKind = socket.SOCK_STREAM,
    ) -> socket.socket:
        """Make a socket in the namespace, usable from any thread."""
        return self.call(socket.socket, family, kind)

    def run(
        self, argv: Sequence[str], *, stdin: str = "", check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run a command inside the namespace until it ends."""

        def inside() -> subprocess.CompletedProcess[str]:
            return subprocess.run(  # noqa: S603 - the caller's command, and no shell
                argv,
                input=stdin,
                capture_output=True,
                text=True,
                check=check,
                timeout=_COMMAND_TIMEOUT,
            )

        try:
            return self.call(inside)
        except subprocess.CalledProcessError as error:
            error.add_note(error.stderr)
            raise

    def popen(self, argv: Sequence[str]) -> subprocess.Popen[str]:
        """Start a command inside the namespace, its standard input and output piped."""

        def inside() -> subprocess.Popen[str]:
            return subprocess.Popen(  # noqa: S603 - as above
                argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )

        return self.call(inside)

    def ip(self, *commands: str) -> None:
        """Run `ip` commands inside the namespace, all in one process."""
        self.run(["ip", "-batch", "-"], stdin="\n".join(commands))

    def sysctl(self, name: str) -> str:
        """Read a setting of the namespace, such as `net.ipv4.tcp_fin_timeout`."""
        return self.call(_sysctl_file(name).read_text).strip()

    def set_sysctl(self, name: str, value: str | int) -> None:
        """Change a setting of the namespace."""
        self.call(_sysctl_file(name).write_text, str(value))


class CurrentNetNs(NetNs):
    """The namespace this process is in: none is made, and no thread moves."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        pass

    @property
    def path(self) -> str:
        """A path that names the namespace to any process."""
        return f"/proc/{os.getpid()}/ns/net"

    def call(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Call `function` here."""
        return function(*args, **kwargs)


def enter_new_namespace() -> None:
    """Move this thread, and the processes it will start, into a new namespace with `lo` up.

    Raises OSError: EPERM without CAP_SYS_ADMIN.
    """
    os.close(_new_namespace())


def _in_thread(function: Callable[[], T]) -> T:
    """Call `function` in a thread of its own; what it raises is raised here."""
    with ThreadPoolExecutor(max_workers=1) as thread:
        return thread.submit(function).result()


def _new_namespace() -> int:
    """Move this thread into a new namespace; return a descriptor that keeps it."""
    if _libc.unshare(CLONE_NEWNET) == -1:
        number = ctypes.get_errno()
        raise OSError(number, f"unshare(CLONE_NEWNET): {os.strerror(number)}")
    up = ["ip", "link", "set", "lo", "up"]
    subprocess.run(up, check=True, timeout=_COMMAND_TIMEOUT)  # noqa: S603 - a fixed command
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY)


def _sysctl_file(name: str) -> Path:
    return Path("/proc/sys", *name.split("."))
