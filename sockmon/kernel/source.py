"""One network namespace as sockmon asks about it: its dumps, and its files under /proc."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sockmon.kernel import places, procfs, uapi
from sockmon.kernel.errors import KernelError
from sockmon.kernel.places import Place
from sockmon.kernel.rows import (
    ACK_RECEIVED,
    CGROUP_ID,
    DATA_RECEIVED,
    DATA_SENT,
    DROPS,
    INFO_FIELDS,
    INFO_PRESENT,
    RowBuffer,
    Rows,
)
from sockmon.kernel.sockdiag import NetlinkTransport, SockDiag, Transport, receiving_room
from sockmon.kernel.uapi import Attribute, Family
from sockmon.kernel.wire import DumpRequest
from sockmon.model.ages import LastHeard
from sockmon.model.limits import Limits, PortRange
from sockmon.model.states import TcpState
from sockmon.model.table import SocketTable

HOST = "host"


#: Calls what it is given where a namespace's files and sockets are to be opened.
Within = Callable[[Callable[[], Any]], Any]


def here(function: Callable[[], Any]) -> Any:
    """Call the function where the caller is."""
    return function()


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

    def udp(self, families: tuple[Family, ...]) -> SocketTable:
        """Return all UDP sockets; raises KernelError."""
        ...

    def last_heard(self, families: tuple[Family, ...]) -> LastHeard:
        """Ask when sockets in CLOSE_WAIT and FIN_WAIT2 last sent and heard; raises KernelError."""
        ...

    def limits(self, known: Limits | None = None) -> tuple[Limits, list[KernelError]]:
        """Read limits and counters, and what could not be read; `known` ones' settings are kept."""
        ...

    def port_range(self) -> PortRange:
        """Read the ports that connect() may choose from; raises KernelError."""
        ...

    def way_in(self) -> str:
        """Return what runs a command inside when put before it; nothing where one is inside."""
        ...

    def close(self) -> None:
        """Let go of the namespace."""
        ...


@dataclass(frozen=True, slots=True)
class Buffers:
    """Memory that dumps are read into. All namespaces share it: they are polled in turn."""

    room: NDArray[np.uint32] = field(default_factory=receiving_room)
    tcp: RowBuffer = field(default_factory=RowBuffer)
    udp: RowBuffer = field(default_factory=RowBuffer)
    info: RowBuffer = field(default_factory=lambda: RowBuffer(INFO_FIELDS))


@dataclass(frozen=True, slots=True)
class KernelSource:
    """Where one namespace's facts come from: the kernel itself, or a recording of one.

    within: calls what must be called inside the namespace. way_in: see Source. look_around: where
    there are other namespaces; a recording knows of none.
    """

    diag: SockDiag
    proc: Path
    name: str = HOST
    stop_requested: Callable[[], bool] = lambda: False
    within: Within = here
    way_in: Callable[[], str] = str
    look_around: Callable[[], Mapping[str, Place]] = dict
    buffers: Buffers = field(default_factory=Buffers, repr=False, compare=False)
    degraded: bool = field(default=False, init=False)

    @staticmethod
    def live(stop_requested: Callable[[], bool] = lambda: False) -> "KernelSource":
        """The namespace of the calling thread."""
        proc = Path("/proc")
        return KernelSource.over(NetlinkTransport, proc, stop_requested, partial(places.scan, proc))

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
            diag, proc, stop_requested=stop_requested, look_around=look_around, buffers=buffers
        )

    def neighbour(self, name: str, within: Within, way_in: Callable[[], str]) -> "KernelSource":
        """The same kernel in another namespace, read into the same memory."""

        def open_transport() -> Transport:
            opened: Transport = within(NetlinkTransport)
            return opened

        diag = SockDiag(open_transport, self.stop_requested, self.buffers.room)
        return KernelSource(
            diag, self.proc, name, self.stop_requested, within, way_in, buffers=self.buffers
        )

    def families(self) -> tuple[Family, ...]:
        """Return the address families this kernel speaks."""
        return tuple(Family) if procfs.has_ipv6(self.proc) else (Family.IPV4,)

    def tcp(self, families: tuple[Family, ...]) -> SocketTable:
        """Dump all TCP sockets into a table that is good until the next call; raises DumpError.

        Listeners are asked for apart: the kernel keeps them apart, so it costs nothing, and only
        of them is SKMEMINFO wanted, which costs a socket lock and bytes.
        """
        listeners = [
            DumpRequest(uapi.Protocol.TCP, family, uapi.LISTENING, Attribute.SKMEMINFO.request_bit)
            for family in families
        ]
        others = [
            DumpRequest(uapi.Protocol.TCP, family, uapi.ALL_STATES & ~uapi.LISTENING)
            for family in families
        ]
        return _table(self.diag.dump(*listeners, *others, into=self.buffers.tcp))

    def last_heard(self, families: tuple[Family, ...]) -> LastHeard:
        """Ask when sockets in CLOSE_WAIT and FIN_WAIT2 last sent and heard; raises DumpError.

        tcp_info takes the socket lock and triples the bytes, so only these states are asked.
        """
        states = 1 << TcpState.CLOSE_WAIT | 1 << TcpState.FIN_WAIT2
        extensions = Attribute.INFO.request_bit
        requests = [
            DumpRequest(uapi.Protocol.TCP, family, states, extensions) for family in families
        ]
        rows = self.diag.dump(*requests, into=self.buffers.info)
        sent, heard = rows.fields[DATA_SENT.name], rows.fields[ACK_RECEIVED.name]
        told = np.flatnonzero(rows.fields[INFO_PRESENT.name])
        received = rows.fields[DATA_RECEIVED.name]
        return LastHeard.of(rows.messages["cookie"][told], sent[told], heard[told], received[told])

    def udp(self, families: tuple[Family, ...]) -> SocketTable:
        """Dump all UDP sockets, good until the next call; raises DumpError."""
        requests = [DumpRequest(uapi.Protocol.UDP, family) for family in families]
        return _table(self.diag.dump(*requests, into=self.buffers.udp))

    def limits(self, known: Limits | None = None) -> tuple[Limits, list[KernelError]]:
        """Read limits and counters, and what could not be read; `known` ones' settings are kept."""
        try:
            limits, errors = self.within(partial(procfs.read_limits, self.proc, known))
        except KernelError as error:
            return Limits(), [error]
        return limits, errors

    def port_range(self) -> PortRange:
        """Read the ports that connect() may choose from; raises KernelError."""
        read: PortRange = self.within(partial(procfs.read_port_range, self.proc))
        return read

    def close(self) -> None:
        """Close the netlink socket, which would keep the namespace alive."""
        self.diag.close()


def _table(rows: Rows) -> SocketTable:
    return SocketTable.from_messages(
        rows.messages, rows.fields[CGROUP_ID.name], rows.fields[DROPS.name]
    )
