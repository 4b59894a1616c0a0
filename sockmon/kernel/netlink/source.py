"""One network namespace as sockmon asks about it: its dumps, and its files under /proc."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sockmon.kernel import procfs
from sockmon.kernel.errors import KernelError, ProcError
from sockmon.kernel.interfaces import NamespaceFiles
from sockmon.kernel.netlink import uapi
from sockmon.kernel.netlink.rows import (
    ACK_RECEIVED,
    CGROUP_ID,
    DATA_RECEIVED,
    DATA_SENT,
    DROPS,
    FIELDS,
    INFO_FIELDS,
    INFO_PRESENT,
    RowBuffer,
    Rows,
)
from sockmon.kernel.netlink.sockdiag import NetlinkTransport, SockDiag, Transport, receiving_room
from sockmon.kernel.netlink.uapi import Attribute, Family
from sockmon.kernel.netlink.wire import DumpRequest
from sockmon.kernel.netns import discovery
from sockmon.kernel.netns.discovery import Place
from sockmon.model.ages import LastHeard
from sockmon.model.limits import KernelLimits, PortRange
from sockmon.model.names import HOST
from sockmon.model.states import TcpState
from sockmon.model.table import SocketTable

#: Of sockets in these states it tells something that tcp_info says when they last heard and sent.
_HEARD_IN = (TcpState.CLOSE_WAIT, TcpState.FIN_WAIT2)


@dataclass(frozen=True, slots=True)
class Here:
    """The namespace of whoever asks, or a recording of it."""

    proc: Path
    open_transport: Callable[[], Transport] = NetlinkTransport

    def limits(self, known: KernelLimits | None) -> tuple[KernelLimits, list[ProcError]]:
        """Read as procfs.read_limits() does."""
        return procfs.read_limits(self.proc, known)

    def port_range(self) -> PortRange:
        """Read as procfs.read_port_range() does; raises ProcError."""
        return procfs.read_port_range(self.proc)

    def nsenter_prefix(self) -> str:
        """Return nothing: one is inside."""
        return ""


@dataclass(frozen=True, slots=True)
class Buffers:
    """Memory that dumps are read into. All namespaces share it: they are polled in turn."""

    room: NDArray[np.uint32] = field(default_factory=receiving_room)
    tcp: RowBuffer = field(default_factory=RowBuffer)
    udp: RowBuffer = field(default_factory=RowBuffer)
    info: RowBuffer = field(default_factory=lambda: RowBuffer(INFO_FIELDS))
    passing: RowBuffer = field(default_factory=lambda: RowBuffer(FIELDS + INFO_FIELDS))


@dataclass(frozen=True, slots=True)
class KernelSource:
    """Where one namespace's facts come from: the kernel itself, or a recording of one.

    look_around: where there are other namespaces; a recording knows of none. one_walk: both
    families of TCP are asked for at once; a recording has them one by one.
    """

    diag: SockDiag
    proc: Path
    inside: NamespaceFiles
    name: str = HOST
    stop_requested: Callable[[], bool] = lambda: False
    look_around: Callable[[], Mapping[str, Place]] = dict
    one_walk: bool = False
    buffers: Buffers = field(default_factory=Buffers, repr=False, compare=False)
    degraded: bool = field(default=False, init=False)

    @staticmethod
    def live(stop_requested: Callable[[], bool] = lambda: False) -> "KernelSource":
        """The namespace of the calling thread."""
        proc = Path("/proc")
        look_around = partial(discovery.scan, proc)
        source = KernelSource.over(NetlinkTransport, proc, stop_requested, look_around)
        return replace(source, one_walk=True)

    @staticmethod
    def over(
        open_transport: Callable[[], Transport],
        proc: Path,
        stop_requested: Callable[[], bool] = lambda: False,
        look_around: Callable[[], Mapping[str, Place]] = dict,
    ) -> "KernelSource":
        """A kernel behind any transport and any copy of /proc."""
        buffers = Buffers()
        diag = SockDiag(open_transport, stop_requested, buffers.room)
        return KernelSource(
            diag,
            proc,
            Here(proc, open_transport),
            stop_requested=stop_requested,
            look_around=look_around,
            buffers=buffers,
        )

    def neighbour(self, name: str, inside: NamespaceFiles) -> "KernelSource":
        """The same kernel in another namespace, read into the same memory."""
        diag = SockDiag(inside.open_transport, self.stop_requested, self.buffers.room)
        return KernelSource(
            diag,
            self.proc,
            inside,
            name,
            self.stop_requested,
            one_walk=self.one_walk,
            buffers=self.buffers,
        )

    def families(self) -> tuple[Family, ...]:
        """Return the address families this kernel speaks."""
        return tuple(Family) if procfs.has_ipv6(self.proc) else (Family.IPV4,)

    def tcp(self, families: tuple[Family, ...]) -> SocketTable:
        """Dump all TCP sockets into a table that is good until the next call; raises DumpError."""
        states = uapi.ALL_STATES & ~uapi.LISTENING
        others = [_asking(family, states) for family in self._asked(families)]
        requests = (*_listeners(families), *others)
        return _table(self.diag.dump(*requests, into=self.buffers.tcp))

    def passing(self, families: tuple[Family, ...]) -> tuple[SocketTable, LastHeard]:
        """Dump the TCP sockets that are not at rest, with tcp_info; raises DumpError.

        Each dump walks over all sockets there are, at rest or not: so there is one, not two.
        """
        states = uapi.PASSING & ~uapi.LISTENING
        others = [_asking(family, states, Attribute.INFO) for family in self._asked(families)]
        rows = self.diag.dump(*_listeners(families), *others, into=self.buffers.passing)
        heard = _last_heard(rows, np.isin(rows.messages["state"], _HEARD_IN))
        return _table(rows), heard

    def last_heard(self, families: tuple[Family, ...]) -> LastHeard:
        """Ask when sockets in CLOSE_WAIT and FIN_WAIT2 last sent and heard; raises DumpError.

        tcp_info takes the socket lock and triples the bytes, so only these states are asked.
        """
        states = sum(1 << state for state in _HEARD_IN)
        requests = [_asking(family, states, Attribute.INFO) for family in self._asked(families)]
        return _last_heard(self.diag.dump(*requests, into=self.buffers.info))

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
        """Dump all UDP sockets, good until the next call; raises DumpError."""
        requests = [DumpRequest(uapi.Protocol.UDP, family) for family in families]
        return _table(self.diag.dump(*requests, into=self.buffers.udp))

    def limits(self, known: KernelLimits | None = None) -> tuple[KernelLimits, list[KernelError]]:
        """Read limits and counters, and what could not be read; `known` ones' settings are kept."""
        try:
            limits, errors = self.inside.limits(known)
        except KernelError as error:
            return KernelLimits(), [error]
        return limits, [*errors]

    def port_range(self) -> PortRange:
        """Read the ports that connect() may choose from; raises KernelError."""
        return self.inside.port_range()

    def nsenter_prefix(self) -> str:
        """Return what runs a command inside when put before it; nothing where one is inside."""
        return self.inside.nsenter_prefix()

    def _asked(self, families: tuple[Family, ...]) -> tuple[Family | None, ...]:
        """Return what to ask for one by one: all families at once, if the kernel is a live one."""
        return (None,) if self.one_walk and len(families) == len(Family) else families

    def close(self) -> None:
        """Close the netlink socket, which would keep the namespace alive."""
        self.diag.close()


def _table(rows: Rows) -> SocketTable:
    return SocketTable.from_messages(
        rows.messages, rows.fields[CGROUP_ID.name], rows.fields[DROPS.name]
    )


def _asking(family: Family | None, states: int, *extensions: Attribute) -> DumpRequest:
    bits = sum(extension.request_bit for extension in extensions)
    return DumpRequest(uapi.Protocol.TCP, family, states, bits)


def _listeners(families: tuple[Family, ...]) -> list[DumpRequest]:
    """Ask for listeners apart.

    The kernel keeps them apart, so it costs nothing, and only of them is SKMEMINFO wanted, which
    costs a socket lock and bytes.
    """
    return [_asking(family, uapi.LISTENING, Attribute.SKMEMINFO) for family in families]


def _last_heard(rows: Rows, of: NDArray[np.bool_] | None = None) -> LastHeard:
    """Take tcp_info's times out of rows, of some or of all that have it."""
    has_info = rows.fields[INFO_PRESENT.name] != 0
    told = np.flatnonzero(has_info if of is None else has_info & of)
    fields = (DATA_SENT, ACK_RECEIVED, DATA_RECEIVED)
    times = [rows.fields[field.name][told] for field in fields]
    return LastHeard.of(rows.messages["cookie"][told], *times)
