"""What a situation is made with, in its own process, network namespace and world."""

import contextlib
import ctypes
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sockmon.drill.lab.netns import CurrentNetNs, NetNs
from tests import cgroups
from tests.conftest import REPOSITORY
from tests.lab import Link, eventually, linked

#: The root of the programs; each case has a copy of its own, over an overlay in memory.
PROGRAMS = REPOSITORY / ".components" / "cases"
_HERE = Path("/run/case")
_SO_ATTACH_FILTER = 26
_DROP_ALL = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))  # BPF: return 0


@dataclass
class Stage:
    """Makes programs and sockets that last until the case's world ends."""

    cgroup: Path
    keep: list[object] = field(default_factory=list)
    _root: Path | None = None

    @property
    def root(self) -> Path:
        """This case's own copy of the programs' root."""
        if self._root is None:
            self._root = _HERE / "root"
            self._root.mkdir(parents=True)
            for name in ("upper", "work"):
                (_HERE / name).mkdir()
            layers = f"lowerdir={PROGRAMS},upperdir={_HERE}/upper,workdir={_HERE}/work"
            _mount("-t", "overlay", "overlay", "-o", layers, str(self._root))
            _mount("-t", "proc", "proc", str(self._root / "proc"))
            _mount("--rbind", "/dev", str(self._root / "dev"))
        return self._root

    def write(self, path: str, text: str) -> str:
        """Write a file in the programs' root."""
        file = self.root / path.removeprefix("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return path

    def start(
        self,
        *command: str,
        unit: str | None = None,
        user: str | None = None,
        environment: Mapping[str, str] | None = None,
        netns: NetNs | None = None,
        descriptors: int | None = None,
    ) -> "subprocess.Popen[bytes]":
        """Start one of Debian's programs; unit: the systemd unit that it is of.

        netns: where it is, if not in the case's own. descriptors: how many it may have.
        """
        as_user = () if user is None else ("setpriv", f"--reuid={user}", "--init-groups")
        limit = () if descriptors is None else ("prlimit", f"--nofile={descriptors}")
        log = (self.root / "tmp" / f"{Path(command[0]).name}-{time.monotonic_ns()}.log").open("wb")
        with cgroups.living_in(self.place(unit)):
            process = (netns or CurrentNetNs()).call(
                subprocess.Popen[bytes],
                [*limit, "chroot", str(self.root), *as_user, *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C", **(environment or {})},
            )
        self.keep.append(process)
        return process

    def python(self, name: str, text: str, **more: Any) -> "subprocess.Popen[bytes]":
        """Start a program of the case's own that uses Debian's Python libraries."""
        return self.start("python3", self.write(f"/srv/{name}", text), **more)

    def run(self, *command: str, user: str | None = None) -> None:
        """Run one of Debian's programs until it ends in good order."""
        process = self.start(*command, user=user)
        if process.wait() != 0:
            raise RuntimeError(f"{command} has failed: {self.logs()}")

    def logs(self) -> str:
        """What the programs have written."""
        texts = (file.read_text(errors="replace") for file in (self.root / "tmp").glob("*.log"))
        return "\n".join(texts)[-2000:] if self._root else ""

    def child(self, function: Callable[..., Any], *arguments: Any, unit: str | None = None) -> int:
        """Fork a process that runs a function, and then stays; its PID."""
        place = self.place(unit)
        pid = os.fork()
        if pid == 0:
            cgroups.put(0, place)
            kept = function(*arguments)
            while kept is not self:  # what it returned is kept
                signal.pause()
        return pid

    def thread(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Run a function beside the rest."""
        threading.Thread(target=function, args=arguments, daemon=True).start()

    def sysctl(self, name: str, value: object) -> None:
        """Set something of the network namespace, such as net.ipv4.ip_local_port_range."""
        CurrentNetNs().set_sysctl(name, str(value))

    def peer(self) -> Link:
        """Join a second host, 10.77.0.1, by a cable to this one, which becomes 10.77.0.2."""
        manager = linked(CurrentNetNs())
        self.keep.append(manager)
        return manager.__enter__()

    def listening(self, port: int, address: str = "127.0.0.1") -> None:
        """Wait until somebody listens there."""

        def answers() -> bool:
            try:
                socket.create_connection((address, port), 5).close()
            except OSError:
                return False
            return True

        eventually(answers)

    def place(self, unit: str | None) -> Path:
        """Return the cgroup of a unit, or of what is of none."""
        place = self.cgroup / (f"system.slice/{unit}" if unit else "user.slice")
        with contextlib.suppress(FileExistsError):
            cgroups.make(place)
        return place


def listen(
    port: int,
    address: str = "127.0.0.1",
    *,
    backlog: int = 64,
    reuseport: bool = False,
    protocol: int = 0,
) -> socket.socket:
    """Listen on an address of either family; "::" takes both."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    server = socket.socket(family, socket.SOCK_STREAM, protocol)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    if reuseport:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    server.bind((address, port))
    server.listen(backlog)
    return server


#: What a server listens on, and where its client connects to: IPv4, IPv6, and IPv4 through IPv6.
FAMILIES = (("127.0.0.1", "127.0.0.1"), ("::1", "::1"), ("::", "::ffff:127.0.0.1"))


def connect(port: int, address: str = "127.0.0.1", protocol: int = 0) -> socket.socket:
    """Connect; an address with "::ffff:" in front is IPv4 by a socket of IPv6."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    client = socket.socket(family, socket.SOCK_STREAM, protocol)
    client.connect((address, port))
    return client


def called(port: int) -> socket.socket:
    """Connect to a server that is about to listen."""

    def call() -> socket.socket | None:
        with contextlib.suppress(ConnectionRefusedError):
            return connect(port)
        return None

    client = eventually(call)
    assert client is not None
    return client


def pairs(
    server: socket.socket, count: int, address: str = "127.0.0.1"
) -> Iterator[tuple[socket.socket, socket.socket]]:
    """Yield connections to a listener of this process: the client's end, and the server's."""
    for _ in range(count):
        client = connect(server.getsockname()[1], address)
        yield client, server.accept()[0]


def deaf(sock: socket.socket) -> None:
    """Let the kernel drop whatever comes in for this socket, as a dead host would."""
    program = struct.pack("HL", 1, ctypes.addressof(_DROP_ALL))
    sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)


def fill(connection: socket.socket) -> None:
    """Send until the peer's window is closed."""
    connection.settimeout(0)
    with contextlib.suppress(BlockingIOError):
        while True:
            if not select.select([], [connection], [], 0.5)[1]:
                return
            connection.send(bytes(65536))


def every(seconds: float, times: int = 100_000) -> Iterator[int]:
    """Yield at a steady rate."""
    begun = time.monotonic()
    for turn in range(times):
        yield turn
        time.sleep(max(0.0, begun + (turn + 1) * seconds - time.monotonic()))


def _mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True, stdout=sys.stderr)
