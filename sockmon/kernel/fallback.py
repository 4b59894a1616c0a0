"""The daemon's own namespace where sock_diag is refused or absent: /proc/net instead, less than it.

gVisor and WSL 1 have no sock_diag; a seccomp filter, RestrictAddressFamilies= or SELinux may refuse
it; a kernel may lack its module.
"""

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from sockmon.kernel import procfs
from sockmon.kernel.errors import DumpError, FallbackError, KernelError, UdpFallbackError
from sockmon.kernel.family import Family
from sockmon.kernel.interfaces import Source
from sockmon.kernel.netlink.source import KernelSource
from sockmon.model.ages import NOTHING_HEARD, LastHeard
from sockmon.model.limits import KernelLimits, PortRange
from sockmon.model.states import RESTING_STATES
from sockmon.model.table import SocketTable
from sockmon.model.unix_listeners import UnixListener, UnixSocket

_OWN = "thread-self"


def with_fallback(source: KernelSource) -> Source:
    """Return the source, with /proc/net to fall back to; a recording has nothing else."""
    return FallbackSource(source) if source.is_live else source


class FallbackSource:
    """Asks sock_diag at each poll. Where that is refused it reads /proc/net, and says so."""

    def __init__(self, source: KernelSource, refused: DumpError | None = None) -> None:
        """refused: what was refused already."""
        self._source = source
        self._refused = refused
        self._udp_refused: DumpError | None = None

    @property
    def name(self) -> str:
        """The namespace's name, as in the label netns."""
        return self._source.name

    @property
    def proc(self) -> Path:
        """Return /proc."""
        return self._source.proc

    @property
    def stop_requested(self) -> Callable[[], bool]:
        """Asked during long reads."""
        return self._source.stop_requested

    @property
    def degraded(self) -> bool:
        """Whether the last table was read from /proc/net."""
        return self._refused is not None

    def families(self) -> tuple[Family, ...]:
        """Return the address families that this kernel supports."""
        return self._source.families()

    def tcp(self, families: tuple[Family, ...]) -> SocketTable:
        """Return all TCP sockets; raises KernelError."""
        try:
            table = self._source.tcp(families)
        except DumpError as error:
            return self._fallen_back(error, families)
        self._refused = None
        return table

    def lists_bound(self) -> bool:
        """Return whether tcp() has sockets that are only bound: /proc/net/tcp does not."""
        return not self.degraded and self._source.lists_bound()

    def passing(self, families: tuple[Family, ...]) -> tuple[SocketTable, LastHeard]:
        """Return the TCP sockets that are not at rest, and what they heard; raises KernelError."""
        try:
            found = self._source.passing(families)
        except DumpError as error:
            table = self._fallen_back(error, families)
            return table.select(~np.isin(table.state, RESTING_STATES)), NOTHING_HEARD
        self._refused = None
        return found

    def udp(self, families: tuple[Family, ...]) -> SocketTable:
        """Return all UDP sockets; raises KernelError."""
        if not self.degraded:
            try:
                table = self._source.udp(families)
            except DumpError as error:
                if not error.is_refused:
                    raise
                self._udp_refused = error
            else:
                self._udp_refused = None
                return table
        return self._read("udp", families)

    def last_heard(self, families: tuple[Family, ...]) -> LastHeard:
        """Ask only sock_diag, as nothing else has tcp_info; raises KernelError."""
        return NOTHING_HEARD if self.degraded else self._source.last_heard(families)

    def last_heard_by_port(
        self, families: tuple[Family, ...], ports: Iterable[tuple[bool, int]]
    ) -> LastHeard:
        """Ask as last_heard() does; raises KernelError."""
        if self.degraded:
            return NOTHING_HEARD
        return self._source.last_heard_by_port(families, ports)

    def unix_listeners(self) -> tuple[UnixListener, ...]:
        """Ask only sock_diag: /proc/net/unix has no lengths of queues."""
        return () if self.degraded else self._source.unix_listeners()

    def unix(self) -> tuple[UnixSocket, ...]:
        """Return all Unix sockets; raises KernelError."""
        try:
            return self._source.unix()
        except DumpError as error:
            if not error.is_refused:
                raise
            found = procfs.read_unix(self.proc)
            self._refused = error
            return found

    def take_errors(self) -> list[KernelError]:
        """Return what was refused, and the errors of what the kernel need not have."""
        errors = self._source.take_errors()
        if self._refused is not None:
            return [FallbackError.of(self._refused), *errors]
        if self._udp_refused is not None:
            return [UdpFallbackError.of(self._udp_refused), *errors]
        return errors

    def limits(self, known: KernelLimits | None = None) -> tuple[KernelLimits, list[KernelError]]:
        """Read limits and counters, and errors; settings are taken from `known`, if given."""
        return self._source.limits(known)

    def port_range(self) -> PortRange:
        """Read the ports that connect() may choose from; raises KernelError."""
        return self._source.port_range()

    def number(self) -> int | None:
        """Return the namespace's number in procfs."""
        return self._source.number()

    def nsenter_prefix(self) -> str:
        """Return the prefix that runs a command inside: none."""
        return self._source.nsenter_prefix()

    def close(self) -> None:
        """Close the netlink socket."""
        self._source.close()

    def _fallen_back(self, error: DumpError, families: tuple[Family, ...]) -> SocketTable:
        if not error.is_refused:
            raise error
        table = self._read("tcp", families)
        self._refused = error
        return table

    def _read(self, protocol: str, families: tuple[Family, ...]) -> SocketTable:
        from sockmon.kernel.netns.procfs_source import read_sockets  # noqa: PLC0415 - rarely needed

        return read_sockets(self.proc, _OWN, protocol, families)
