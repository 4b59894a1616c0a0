"""One network namespace as sockmon asks about it: its dumps, and its files under /proc."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from sockmon.kernel import procfs, uapi
from sockmon.kernel.errors import ProcError
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
from sockmon.kernel.sockdiag import NetlinkTransport, SockDiag, Transport
from sockmon.kernel.uapi import Attribute, Family, Protocol
from sockmon.kernel.wire import DumpRequest
from sockmon.model.ages import LastHeard
from sockmon.model.limits import Limits
from sockmon.model.states import TcpState
from sockmon.model.table import SocketTable

HOST = "host"


@dataclass(frozen=True, slots=True)
class KernelSource:
    """Where one namespace's facts come from: the kernel itself, or a recording of one."""

    diag: SockDiag
    proc: Path
    name: str = HOST
    stop_requested: Callable[[], bool] = lambda: False
    _tcp_rows: RowBuffer = field(default_factory=RowBuffer, repr=False, compare=False)
    _udp_rows: RowBuffer = field(default_factory=RowBuffer, repr=False, compare=False)
    _info_rows: RowBuffer = field(
        default_factory=lambda: RowBuffer(INFO_FIELDS), repr=False, compare=False
    )

    @staticmethod
    def live(stop_requested: Callable[[], bool] = lambda: False) -> "KernelSource":
        """The namespace of the calling thread."""
        return KernelSource.over(NetlinkTransport, Path("/proc"), stop_requested)

    @staticmethod
    def over(
        open_transport: Callable[[], Transport],
        proc: Path,
        stop_requested: Callable[[], bool] = lambda: False,
    ) -> "KernelSource":
        """A kernel behind any transport and any copy of /proc."""
        diag = SockDiag(open_transport, stop_requested)
        return KernelSource(diag, proc, stop_requested=stop_requested)

    def families(self) -> tuple[Family, ...]:
        """Return the address families this kernel speaks."""
        return tuple(Family) if procfs.has_ipv6(self.proc) else (Family.IPV4,)

    def tcp(self, families: tuple[Family, ...]) -> SocketTable:
        """Dump all TCP sockets into a table that is good until the next call; raises DumpError.

        Listeners are asked for apart: the kernel keeps them apart, so it costs nothing, and only
        of them is SKMEMINFO wanted, which costs a socket lock and bytes.
        """
        listeners = [
            DumpRequest(Protocol.TCP, family, uapi.LISTENING, Attribute.SKMEMINFO.request_bit)
            for family in families
        ]
        others = [
            DumpRequest(Protocol.TCP, family, uapi.ALL_STATES & ~uapi.LISTENING)
            for family in families
        ]
        return _table(self.diag.dump(*listeners, *others, into=self._tcp_rows))

    def last_heard(self, families: tuple[Family, ...]) -> LastHeard:
        """Ask when sockets in CLOSE_WAIT and FIN_WAIT2 last sent and heard; raises DumpError.

        tcp_info takes the socket lock and triples the bytes, so only these states are asked.
        """
        states = 1 << TcpState.CLOSE_WAIT | 1 << TcpState.FIN_WAIT2
        extensions = Attribute.INFO.request_bit
        requests = [DumpRequest(Protocol.TCP, family, states, extensions) for family in families]
        rows = self.diag.dump(*requests, into=self._info_rows)
        sent, heard = rows.fields[DATA_SENT.name], rows.fields[ACK_RECEIVED.name]
        told = np.flatnonzero(rows.fields[INFO_PRESENT.name])
        received = rows.fields[DATA_RECEIVED.name]
        return LastHeard.of(rows.messages["cookie"][told], sent[told], heard[told], received[told])

    def udp(self, families: tuple[Family, ...]) -> SocketTable:
        """Dump all UDP sockets, good until the next call; raises DumpError."""
        requests = [DumpRequest(Protocol.UDP, family) for family in families]
        return _table(self.diag.dump(*requests, into=self._udp_rows))

    def limits(self, known: Limits | None = None) -> tuple[Limits, list[ProcError]]:
        """Read limits and counters, and what could not be read; `known` ones' settings are kept."""
        return procfs.read_limits(self.proc, known)


def _table(rows: Rows) -> SocketTable:
    return SocketTable.from_messages(
        rows.messages, rows.fields[CGROUP_ID.name], rows.fields[DROPS.name]
    )
