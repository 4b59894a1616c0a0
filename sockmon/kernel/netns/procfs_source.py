"""A network namespace seen from outside: /proc/PID/net, which anybody may read.

What the kernel lists there has no cookies, cgroups or drops, so a socket cannot be recognised at
the next poll: sockets can be counted by state and port, and that is all.
"""

import errno
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from sockmon.kernel import procfs
from sockmon.kernel.errors import KernelError, NamespaceError, ProcError
from sockmon.kernel.family import Family
from sockmon.kernel.netlink import uapi
from sockmon.kernel.netns.discovery import Place, directory_of
from sockmon.model.ages import NOTHING_HEARD, LastHeard
from sockmon.model.limits import KernelLimits, PortRange
from sockmon.model.states import RESTING_STATES
from sockmon.model.table import SocketTable
from sockmon.model.unix_listeners import UnixListener, UnixSocket

T = TypeVar("T")

#: Errors of reading below /proc/PID when the process has ended.
_GONE = {errno.errorcode[n] for n in (errno.ENOENT, errno.ESRCH, errno.EINVAL, errno.ENXIO)}
_MILLISECONDS_A_TICK = 10  # the kernel reports jiffies as USER_HZ, 100 a second


@dataclass(frozen=True, slots=True)
class OutsideSource:
    """What can be read of one namespace from outside.

    place: where it was found last, with a process inside. Its ip_local_port_range cannot be read,
    so the daemon's own is used. That only matters for the direction of sockets without a listener.
    """

    name: str
    place: Callable[[], Place]
    proc: Path = Path("/proc")
    stop_requested: Callable[[], bool] = lambda: False
    degraded: bool = field(default=True, init=False)

    def families(self) -> tuple[Family, ...]:
        """Return the address families that this kernel supports."""
        return tuple(Family) if procfs.has_ipv6(self.proc) else (Family.IPV4,)

    def tcp(self, families: tuple[Family, ...]) -> SocketTable:
        """Read all TCP sockets; raises KernelError."""
        return self._table("tcp", families)

    def lists_bound(self) -> bool:
        """Return that tcp() has no sockets that are only bound: /proc/PID/net/tcp does not."""
        return False

    def passing(self, families: tuple[Family, ...]) -> tuple[SocketTable, LastHeard]:
        """Read all, and leave out those at rest; raises KernelError."""
        table = self.tcp(families)
        return table.select(~np.isin(table.state, RESTING_STATES)), NOTHING_HEARD

    def udp(self, families: tuple[Family, ...]) -> SocketTable:
        """Read all UDP sockets; raises KernelError."""
        return self._table("udp", families)

    def last_heard(self, families: tuple[Family, ...]) -> LastHeard:  # noqa: ARG002 - Source's
        """Return nothing: tcp_info is not available from outside."""
        return NOTHING_HEARD

    def last_heard_by_port(
        self,
        families: tuple[Family, ...],  # noqa: ARG002 - Source's
        ports: Iterable[tuple[bool, int]],  # noqa: ARG002 - as above
    ) -> LastHeard:
        """Return nothing, as above."""
        return NOTHING_HEARD

    def unix_listeners(self) -> tuple[UnixListener, ...]:
        """Return nothing: /proc/PID/net/unix has no lengths of queues."""
        return ()

    def unix(self) -> tuple[UnixSocket, ...]:
        """Read all Unix sockets; raises KernelError."""
        return below(self.proc, self.place(), lambda task: procfs.read_unix(self.proc, task))

    def take_errors(self) -> list[KernelError]:
        """Return nothing: there are no optional parts."""
        return []

    def limits(self, known: KernelLimits | None = None) -> tuple[KernelLimits, list[KernelError]]:
        """Read the levels and counters that are visible, and errors."""

        def read(task: str) -> KernelLimits:
            snmp = procfs.read_snmp(self.proc, task)
            return KernelLimits(
                sockstat=procfs.read_sockstat(self.proc, task),
                events=procfs.read_events(self.proc, task),
                traffic=snmp.traffic,
                datagrams=snmp.datagrams,
                port_range=port_range,
                settings_hidden=port_range is None,
            )

        try:
            port_range = known.port_range if known else procfs.read_port_range_if_shown(self.proc)
            return below(self.proc, self.place(), read), []
        except KernelError as error:
            return KernelLimits(), [error]

    def port_range(self) -> PortRange:
        """Read the ports that connect() may choose from in the daemon's own namespace."""
        return procfs.read_port_range(self.proc)

    def number(self) -> int | None:
        """Return the namespace's number in procfs, as processes there have it."""
        return self.place().directory

    def nsenter_prefix(self) -> str:
        """Return the prefix that runs a command inside."""
        return self.place().nsenter_prefix

    def close(self) -> None:
        """Nothing is held."""

    def _table(self, protocol: str, families: tuple[Family, ...]) -> SocketTable:
        def read(task: str) -> SocketTable:
            return read_sockets(self.proc, task, protocol, families)

        return below(self.proc, self.place(), read)


def read_sockets(proc: Path, task: str, protocol: str, families: tuple[Family, ...]) -> SocketTable:
    """Read the sockets of the namespace that a process or thread is in; raises ProcError."""
    parts = [_read(proc / task / "net", protocol, family) for family in families]
    messages = np.concatenate([np.empty(0, uapi.INET_DIAG_MSG), *parts])
    messages["cookie"] = np.arange(1, len(messages) + 1)  # each is a socket of its own
    nothing = np.zeros(len(messages), np.uint64)
    return SocketTable.from_messages(messages, nothing, nothing)


def visible(proc: Path, place: Place) -> bool:
    """Whether the process by which it was found is visible in this /proc, and still inside."""
    try:
        return place.pid is not None and directory_of(proc, place.pid) == place.directory
    except OSError:
        return False


def occupied(proc: Path, place: Place) -> bool:
    """Whether there are sockets in a namespace that has a process; raises KernelError."""
    return below(proc, place, lambda task: procfs.read_occupied(proc, task))


def below(proc: Path, place: Place, read: Callable[[str], T]) -> T:
    """Read below /proc/PID of a process inside, and check afterwards that it still was inside.

    Raises NamespaceError with the reason "gone" if it was not, and what `read` raises.
    """
    try:
        result = read(str(place.pid))
    except KernelError as error:
        if error.reason not in _GONE:
            raise
    else:
        if visible(proc, place):
            return result
    raise NamespaceError("reading the network namespace from outside", "gone")


def _read(directory: Path, protocol: str, family: Family) -> NDArray[np.void]:
    name = f"{protocol}6" if family is Family.IPV6 else protocol
    operation = f"read of /proc/PID/net/{name}"
    try:
        text = (directory / name).read_bytes().decode("ascii")
    except OSError as error:
        raise ProcError.from_errno(operation, error.errno or errno.EIO) from error
    try:
        return parse_sockets(text, family)
    except procfs.MALFORMED as error:
        raise ProcError(operation, "malformed", f"malformed: {error}") from error


def parse_sockets(text: str, family: Family) -> NDArray[np.void]:
    """Parse /proc/net/{tcp,tcp6,udp,udp6} into rows of dtype uapi.INET_DIAG_MSG, cookies 0.

    A line: `sl: local:port remote:port state tx:rx timer:expires retransmits uid timeout inode ..`,
    addresses as words of 32 bits in hexadecimal, of this machine's byte order.
    """
    lines = text.splitlines()[1:]
    rows = np.zeros(len(lines), uapi.INET_DIAG_MSG)
    rows["family"] = family
    for row, line in zip(rows, lines, strict=True):
        _, local, remote, state, queues, timer, retransmits, uid, _, inode = line.split()[:10]
        for side, end in (("local", local), ("remote", remote)):
            address, _, port = end.partition(":")
            words = [int(address[at : at + 8], 16) for at in range(0, len(address), 8)]
            row[side][: len(words)] = words
            row[f"{side}_port"] = int(port, 16)
        sending, _, receiving = queues.partition(":")
        kind, _, ticks = timer.partition(":")
        row["state"] = int(state, 16)
        row["send_queue"], row["receive_queue"] = int(sending, 16), int(receiving, 16)
        row["timer"], row["expires"] = int(kind, 16), int(ticks, 16) * _MILLISECONDS_A_TICK
        row["retransmits"], row["uid"], row["inode"] = int(retransmits, 16), int(uid), int(inode)
    return rows
