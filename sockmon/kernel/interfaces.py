"""The protocols by which the folders of kernel/, and those above, know each other."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

from sockmon.kernel.errors import KernelError, ProcError
from sockmon.kernel.events.rows import Increments
from sockmon.kernel.family import Family
from sockmon.model.ages import LastHeard
from sockmon.model.limits import KernelLimits, PortRange
from sockmon.model.table import SocketTable
from sockmon.model.unix_listeners import UnixListener, UnixSocket


class Transport(Protocol):
    """A netlink socket, or a recording of one."""

    def send(self, request: bytes) -> None:
        """Send one request; raises OSError."""
        ...

    def receive_into(self, buffer: memoryview) -> tuple[int, bool]:
        """Receive one datagram: its length, and whether all of it fitted.

        Raises BlockingIOError when there is none, OSError for anything else.
        """
        ...

    def close(self) -> None:
        """Release the socket."""
        ...


class EventCounting(Protocol):
    """The program that counts connections as they open and close, or a recording of it."""

    @property
    def in_use(self) -> int: ...  # noqa: D102 - how many rows are in use, of layout.ROWS

    def read(self, now: float) -> Increments:
        """Return what was counted since the last call; raises KernelError."""
        ...

    def close(self) -> None:
        """Detach the program."""
        ...


class NamespaceFiles(Protocol):
    """What can be opened and read only inside a namespace."""

    def open_transport(self) -> Transport:
        """Open a netlink socket there; raises OSError and KernelError."""
        ...

    def limits(self, known: KernelLimits | None) -> tuple[KernelLimits, list[ProcError]]:
        """Read as procfs.read_limits() does; raises KernelError."""
        ...

    def port_range(self) -> PortRange:
        """Read as procfs.read_port_range() does; raises KernelError."""
        ...

    def number(self) -> int | None:
        """Return the namespace's number in procfs, as processes there have it; None: not known."""
        ...

    def nsenter_prefix(self) -> str:
        """Return the prefix that runs a command inside; empty for the caller's own namespace."""
        ...


class Source(Protocol):
    """One namespace that can be read; a dump's result is valid until the next dump.

    degraded: it is seen from outside, so its sockets can be counted and no more.
    """

    @property
    def name(self) -> str: ...  # noqa: D102 - as in the label netns
    @property
    def proc(self) -> Path: ...  # noqa: D102 - /proc, or a recording of it
    @property
    def stop_requested(self) -> Callable[[], bool]: ...  # noqa: D102 - asked during long reads
    @property
    def degraded(self) -> bool: ...  # noqa: D102 - the class says it

    def families(self) -> tuple[Family, ...]:
        """Return the address families that this kernel supports."""
        ...

    def tcp(self, families: tuple[Family, ...]) -> SocketTable:
        """Return all TCP sockets, or those of no family at all; raises KernelError."""
        ...

    def lists_bound(self) -> bool:
        """Return whether tcp() has sockets that are bound, and neither connected nor listening."""
        ...

    def passing(self, families: tuple[Family, ...]) -> tuple[SocketTable, LastHeard]:
        """Return the TCP sockets that are not at rest and their last_heard(), in one dump."""
        ...

    def udp(self, families: tuple[Family, ...]) -> SocketTable:
        """Return all UDP sockets; raises KernelError."""
        ...

    def last_heard(self, families: tuple[Family, ...]) -> LastHeard:
        """Read when sockets in CLOSE_WAIT and FIN_WAIT2 last sent and received data.

        Raises KernelError.
        """
        ...

    def last_heard_by_port(
        self, families: tuple[Family, ...], ports: Iterable[tuple[bool, int]]
    ) -> LastHeard:
        """Ask the same of ESTABLISHED sockets, by local (True) or remote port.

        Raises KernelError.
        """
        ...

    def unix_listeners(self) -> tuple[UnixListener, ...]:
        """Read the listening Unix sockets; none if that fails, as take_errors() says."""
        ...

    def unix(self) -> tuple[UnixSocket, ...]:
        """Read all Unix sockets; raises KernelError."""
        ...

    def take_errors(self) -> list[KernelError]:
        """Return the errors of what the kernel need not have, MPTCP and Unix, since last asked."""
        ...

    def limits(self, known: KernelLimits | None = None) -> tuple[KernelLimits, list[KernelError]]:
        """Read limits and counters, and errors; settings are taken from `known`, if given."""
        ...

    def port_range(self) -> PortRange:
        """Read the ports that connect() may choose from; raises KernelError."""
        ...

    def number(self) -> int | None:
        """Return the namespace's number in procfs, as processes there have it; None: not known."""
        ...

    def nsenter_prefix(self) -> str:
        """Return the prefix that runs a command inside; empty for the caller's own namespace."""
        ...

    def close(self) -> None:
        """Close what would keep the namespace alive."""
        ...
