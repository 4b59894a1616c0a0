"""One network namespace: dumps of its sockets, and its files under /proc."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sockmon.kernel import procfs
from sockmon.kernel.errors import KernelError, ProcError
from sockmon.kernel.family import Family
from sockmon.kernel.interfaces import EventCounting, NamespaceFiles, Transport
from sockmon.kernel.netlink import uapi, unixdiag
from sockmon.kernel.netlink.bound import lists_bound
from sockmon.kernel.netlink.rows import (
    ACK_RECEIVED,
    BYTES_ACKED,
    BYTES_RECEIVED,
    CGROUP_ID,
    DATA_RECEIVED,
    DATA_SENT,
    DROPS,
    FIELDS,
    INFO_FIELDS,
    INFO_PRESENT,
    MPTCP_FIELDS,
    RowBuffer,
    Rows,
)
from sockmon.kernel.netlink.sockdiag import NetlinkTransport, SockDiag, receiving_room
from sockmon.kernel.netlink.uapi import Attribute
from sockmon.kernel.netlink.wire import DumpRequest
from sockmon.kernel.processes import namespace_number
from sockmon.model.ages import LastHeard
from sockmon.model.limits import KernelLimits, PortRange
from sockmon.model.mptcp import joined
from sockmon.model.names import HOST
from sockmon.model.states import TcpState
from sockmon.model.table import SocketTable
from sockmon.model.unix_listeners import UnixListener, UnixSocket

#: Names of the dumps that a kernel need not have.
_MPTCP, _UNIX, _BOUND = "mptcp", "unix", "bound"
#: The kernel is asked who waits at so many Unix listeners: those with the longest queues.
_QUEUES_ASKED = 20
#: States in which the times of tcp_info (last data sent and received) are of use.
_HEARD_IN = (TcpState.CLOSE_WAIT, TcpState.FIN_WAIT2)


@dataclass(frozen=True, slots=True)
class OwnFiles:
    """The calling thread's namespace, or a recording of one."""

    proc: Path
    open_transport: Callable[[], Transport] = NetlinkTransport

    def limits(self, known: KernelLimits | None) -> tuple[KernelLimits, list[ProcError]]:
        """Read as procfs.read_limits() does."""
        return procfs.read_limits(self.proc, known)

    def port_range(self) -> PortRange:
        """Read as procfs.read_port_range() does; raises ProcError."""
        return procfs.read_port_range(self.proc)

    def number(self) -> int | None:
        """Return the number of the calling thread's namespace in procfs."""
        return namespace_number(self.proc, "thread-self")

    def nsenter_prefix(self) -> str:
        """Return nothing: the caller is inside."""
        return ""


@dataclass(frozen=True, slots=True)
class Buffers:
    """Memory that dumps are read into. All namespaces share it: they are polled one by one."""

    room: NDArray[np.uint32] = field(default_factory=receiving_room)
    tcp: RowBuffer = field(default_factory=RowBuffer)
    udp: RowBuffer = field(default_factory=RowBuffer)
    info: RowBuffer = field(default_factory=lambda: RowBuffer(INFO_FIELDS))
    passing: RowBuffer = field(default_factory=lambda: RowBuffer(FIELDS + INFO_FIELDS))
    mptcp: RowBuffer = field(default_factory=lambda: RowBuffer(MPTCP_FIELDS))


@dataclass(slots=True)
class _Optional:
    """What the kernel need not have.

    missing, present: what it is known not to have, or to have, in any namespace.
    """

    missing: set[str] = field(default_factory=set)
    present: set[str] = field(default_factory=set)
    errors: list[KernelError] = field(default_factory=list)

    def failed(self, dump: str, error: KernelError) -> None:
        """Note an error, and whether the dump is missing; raises that reading was stopped."""
        if error.reason == "stopped":
            raise error
        if error.reason == "ENOENT":
            self.missing.add(dump)
        if error.reason != "not_recorded":
            self.errors.append(error)


@dataclass(frozen=True, slots=True)
class KernelSource:
    """One namespace of the kernel, or a recording of one.

    is_live: it is the kernel, and not a recording. Both families of TCP are then dumped in one walk
    over the table; a recording has a dump for each. events: those of a recording that has them.
    """

    diag: SockDiag
    proc: Path
    files: NamespaceFiles
    name: str = HOST
    stop_requested: Callable[[], bool] = lambda: False
    is_live: bool = False
    events: EventCounting | None = None
    buffers: Buffers = field(default_factory=Buffers, repr=False, compare=False)
    degraded: bool = field(default=False, init=False)
    _optional: _Optional = field(default_factory=_Optional, repr=False, compare=False)

    @staticmethod
    def live(stop_requested: Callable[[], bool] = lambda: False) -> "KernelSource":
        """Return the calling thread's namespace."""
        source = KernelSource.over(NetlinkTransport, Path("/proc"), stop_requested)
        return replace(source, is_live=True)

    @staticmethod
    def over(
        open_transport: Callable[[], Transport],
        proc: Path,
        stop_requested: Callable[[], bool] = lambda: False,
    ) -> "KernelSource":
        """Return a kernel behind any transport and any copy of /proc."""
        buffers = Buffers()
        diag = SockDiag(open_transport, stop_requested, buffers.room)
        return KernelSource(
            diag,
            proc,
            OwnFiles(proc, open_transport),
            stop_requested=stop_requested,
            buffers=buffers,
        )

    def of_namespace(self, name: str, files: NamespaceFiles) -> "KernelSource":
        """Return another namespace of the same kernel, read into the same memory."""
        diag = SockDiag(files.open_transport, self.stop_requested, self.buffers.room)
        return KernelSource(
            diag,
            self.proc,
            files,
            name,
            self.stop_requested,
            is_live=self.is_live,
            buffers=self.buffers,
            _optional=_Optional(self._optional.missing, self._optional.present),
        )

    def families(self) -> tuple[Family, ...]:
        """Return the address families that this kernel supports."""
        return tuple(Family) if procfs.has_ipv6(self.proc) else (Family.IPV4,)

    def tcp(self, families: tuple[Family, ...]) -> SocketTable:
        """Dump all TCP sockets into a table that is valid until the next call; raises DumpError.

        MPTCP connections are among them, each in place of its subflows.
        """
        states = uapi.ALL_STATES & ~uapi.LISTENING
        others = [_asking(family, states) for family in self._asked(families)]
        requests = (*_listeners(families), *others)
        table = _table(self.diag.dump(*requests, into=self.buffers.tcp))
        return joined(table, self._mptcp(families, states))

    def lists_bound(self) -> bool:
        """Return whether tcp() has sockets that are only bound; of a recording, that is assumed.

        The kernel is asked once, in the calling thread's namespace. False if it cannot be asked.
        """
        optional = self._optional
        if self.is_live and not {_BOUND} & (optional.present | optional.missing):
            try:
                known = optional.present if lists_bound(self.diag) else optional.missing
            except (KernelError, OSError):
                return False
            known.add(_BOUND)
        return _BOUND not in optional.missing

    def passing(self, families: tuple[Family, ...]) -> tuple[SocketTable, LastHeard]:
        """Dump the TCP sockets that are not at rest, with tcp_info; raises DumpError.

        Every dump walks over the whole table, so one dump brings both.
        """
        states = uapi.PASSING & ~uapi.LISTENING
        others = [_asking(family, states, Attribute.INFO) for family in self._asked(families)]
        rows = self.diag.dump(*_listeners(families), *others, into=self.buffers.passing)
        heard = _last_heard(rows, np.isin(rows.messages["state"], _HEARD_IN))
        table = joined(_table(rows), self._mptcp(families, states))
        return table, heard.joined(_last_heard(self.buffers.mptcp.rows()))

    def last_heard(self, families: tuple[Family, ...]) -> LastHeard:
        """Read when sockets in CLOSE_WAIT and FIN_WAIT2 last sent and received data.

        tcp_info takes the socket lock and triples the bytes, so only these states are dumped.
        MPTCP connections, in any state, are those of the last tcp(). Raises DumpError.
        """
        states = sum(1 << state for state in _HEARD_IN)
        requests = [_asking(family, states, Attribute.INFO) for family in self._asked(families)]
        heard = _last_heard(self.diag.dump(*requests, into=self.buffers.info))
        return heard.joined(_last_heard(self.buffers.mptcp.rows()))

    def last_heard_by_port(
        self, families: tuple[Family, ...], ports: Iterable[tuple[bool, int]]
    ) -> LastHeard:
        """Ask the same of ESTABLISHED sockets, by local (True) or remote port; raises DumpError."""
        requests = [
            DumpRequest(
                uapi.Protocol.TCP,
                family,
                1 << TcpState.ESTABLISHED,
                Attribute.INFO.request_bit,
                port if is_local else 0,
                0 if is_local else port,
            )
            for is_local, port in ports
            for family in families
        ]
        return _last_heard(self.diag.dump(*requests, into=self.buffers.info))

    def udp(self, families: tuple[Family, ...]) -> SocketTable:
        """Dump all UDP sockets, valid until the next call; raises DumpError."""
        drops = Attribute.SKMEMINFO.request_bit
        requests = [DumpRequest(uapi.Protocol.UDP, family, extensions=drops) for family in families]
        return _table(self.diag.dump(*requests, into=self.buffers.udp))

    def limits(self, known: KernelLimits | None = None) -> tuple[KernelLimits, list[KernelError]]:
        """Read limits and counters, and errors; settings are taken from `known`, if given."""
        try:
            limits, errors = self.files.limits(known)
        except KernelError as error:
            return KernelLimits(), [error]
        return limits, [*errors]

    def port_range(self) -> PortRange:
        """Read the ports that connect() may choose from; raises KernelError."""
        return self.files.port_range()

    def number(self) -> int | None:
        """Return the namespace's number in procfs, as processes there have it; None: not known."""
        return self.files.number()

    def nsenter_prefix(self) -> str:
        """Return the prefix that runs a command inside; empty for the caller's own namespace."""
        return self.files.nsenter_prefix()

    def unix_listeners(self) -> tuple[UnixListener, ...]:
        """Read the listening Unix sockets; none if that fails, as take_errors() says.

        Where the kernel's module is missing, the kernel is asked only once.
        """
        optional = self._optional
        if _UNIX in optional.missing:
            return ()
        try:
            found = self.diag.datagrams(unixdiag.OPERATION, unixdiag.request, unixdiag.parse)
        except KernelError as error:
            optional.failed(_UNIX, error)
            return ()
        longest = sorted(found, key=lambda its: -its.length)[:_QUEUES_ASKED]
        asked = {its.inode for its in longest if its.length}
        return tuple(
            its._replace(waiting=self._waiting(its.inode)) if its.inode in asked else its
            for its in found
        )

    def _waiting(self, inode: int) -> tuple[int, ...]:
        """Ask who waits at a Unix listener; empty if that is unknown."""
        try:
            return self.diag.datagrams(
                unixdiag.OPERATION_ONE,
                lambda sequence: unixdiag.request_waiting(sequence, inode),
                unixdiag.parse_waiting,
            )
        except KernelError:
            return ()

    def unix(self) -> tuple[UnixSocket, ...]:
        """Read all Unix sockets; raises DumpError."""
        return self.diag.datagrams(unixdiag.OPERATION_ALL, unixdiag.request_all, unixdiag.parse_all)

    def take_errors(self) -> list[KernelError]:
        """Return the errors of reading MPTCP and Unix sockets since the last call."""
        errors, self._optional.errors = self._optional.errors, []
        return errors

    def _mptcp(self, families: tuple[Family, ...], states: int) -> SocketTable:
        """Dump MPTCP connections, an empty table if that fails.

        Not the listeners: they are among those of TCP, and to walk over them costs 4 ms instead of
        0.1. Not those in CLOSE: a reset has ended them, and only a descriptor is left. Where the
        kernel's module is missing, the kernel is asked only once.
        """
        buffer, optional = self.buffers.mptcp, self._optional
        buffer.truncate()
        if not families or _MPTCP in optional.missing or not procfs.has_mptcp(self.proc):
            return _table(buffer.rows())
        states &= ~(uapi.LISTENING | 1 << TcpState.CLOSE | 1 << uapi.BOUND_INACTIVE)
        info = Attribute.INFO.request_bit
        requests = [DumpRequest(uapi.Protocol.MPTCP, family, states, info) for family in families]
        try:
            return _table(self.diag.dump(*requests, into=buffer), multipath=True)
        except KernelError as error:
            buffer.truncate()
            optional.failed(_MPTCP, error)
            return _table(buffer.rows())

    def _asked(self, families: tuple[Family, ...]) -> tuple[Family | None, ...]:
        """Return the families to dump one after the other; None stands for all in one walk."""
        return (None,) if self.is_live and len(families) == len(Family) else families

    def close(self) -> None:
        """Close the netlink socket, which would keep the namespace alive."""
        self.diag.close()


def _table(rows: Rows, *, multipath: bool = False) -> SocketTable:
    cgroup_id, drops = rows.fields[CGROUP_ID.name], rows.fields[DROPS.name]
    return SocketTable.from_messages(rows.messages, cgroup_id, drops, multipath=multipath)


def _asking(family: Family | None, states: int, *extensions: Attribute) -> DumpRequest:
    bits = sum(extension.request_bit for extension in extensions)
    return DumpRequest(uapi.Protocol.TCP, family, states, bits)


def _listeners(families: tuple[Family, ...]) -> list[DumpRequest]:
    """Ask for listeners by themselves.

    The kernel has a table of its own for them, so this costs nothing more. Only listeners are asked
    for SKMEMINFO, which takes the socket lock and adds bytes.
    """
    return [_asking(family, uapi.LISTENING, Attribute.SKMEMINFO) for family in families]


def _last_heard(rows: Rows, of: NDArray[np.bool_] | None = None) -> LastHeard:
    """Return tcp_info's times of the rows that have it, or of those that are also in `of`."""
    has_info = rows.fields[INFO_PRESENT.name] != 0
    chosen = np.flatnonzero(has_info if of is None else has_info & of)
    fields = {name: values[chosen] for name, values in rows.fields.items()}
    messages, sizes = rows.messages[chosen], list[NDArray[Any]]()
    if BYTES_RECEIVED.name in fields:  # of an MPTCP connection they are not asked for
        read = fields[BYTES_RECEIVED.name].astype(np.int64) - messages["receive_queue"]
        sizes = [read, fields[BYTES_ACKED.name].astype(np.int64)]
    return LastHeard.of(
        messages["cookie"],
        fields[DATA_SENT.name],
        fields[ACK_RECEIVED.name],
        fields[DATA_RECEIVED.name],
        *sizes,
    )
