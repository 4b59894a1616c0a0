"""What the rest asks of a kernel source: the protocols."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

from sockmon.kernel.errors import KernelError, ProcError
from sockmon.kernel.netlink.sockdiag import Transport
from sockmon.kernel.netlink.uapi import Family
from sockmon.model.ages import LastHeard
from sockmon.model.limits import KernelLimits, PortRange
from sockmon.model.table import SocketTable


class NamespaceFiles(Protocol):
    """What is to be had only inside a namespace, or by whoever enters it."""

    def open_transport(self) -> Transport:
        """Open a netlink socket there; raises OSError and KernelError."""
        ...

    def limits(self, known: KernelLimits | None) -> tuple[KernelLimits, list[ProcError]]:
        """Read as procfs.read_limits() does; raises KernelError."""
        ...

    def port_range(self) -> PortRange:
        """Read as procfs.read_port_range() does; raises KernelError."""
        ...

    def nsenter_prefix(self) -> str:
        """Return what runs a command inside when put before it; nothing where one is inside."""
        ...


class Source(Protocol):
    """One namespace as it is asked about; what is dumped is good until the next dump.

    degraded: it is seen from outside, so its sockets can be counted and no more.
    """

    @property
    def name(self) -> str: ...  # noqa: D102 - as in the label netns
    @property
    def proc(self) -> Path: ...  # noqa: D102 - /proc, or a recording of it
    @property
    def stop_requested(self) -> Callable[[], bool]: ...  # noqa: D102 - asked amid long reads
    @property
    def degraded(self) -> bool: ...  # noqa: D102 - the class says it

    def families(self) -> tuple[Family, ...]:
        """Return the address families this kernel speaks."""
        ...

    def tcp(self, families: tuple[Family, ...]) -> SocketTable:
        """Return all TCP sockets, or those of no family at all; raises KernelError."""
        ...

    def passing(self, families: tuple[Family, ...]) -> tuple[SocketTable, LastHeard]:
        """Return the TCP sockets that are not at rest, and last_heard() of them, at once."""
        ...

    def udp(self, families: tuple[Family, ...]) -> SocketTable:
        """Return all UDP sockets; raises KernelError."""
        ...

    def last_heard(self, families: tuple[Family, ...]) -> LastHeard:
        """Ask when sockets in CLOSE_WAIT and FIN_WAIT2 last sent and heard; raises KernelError."""
        ...

    def last_heard_by_port(
        self, families: tuple[Family, ...], ports: Iterable[tuple[bool, int]]
    ) -> LastHeard:
        """Ask the same of ESTABLISHED sockets, by local (True) or remote port.

        Raises KernelError.
        """
        ...

    def limits(self, known: KernelLimits | None = None) -> tuple[KernelLimits, list[KernelError]]:
        """Read limits and counters, and what could not be read; `known` ones' settings are kept."""
        ...

    def port_range(self) -> PortRange:
        """Read the ports that connect() may choose from; raises KernelError."""
        ...

    def nsenter_prefix(self) -> str:
        """Return what runs a command inside when put before it; nothing where one is inside."""
        ...

    def close(self) -> None:
        """Let go of the namespace."""
        ...
