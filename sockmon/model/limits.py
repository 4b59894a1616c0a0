"""What bounds a namespace's sockets, and the kernel's own counters of what went wrong."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

PORTS = 65536

#: TcpExt counters of /proc/net/netstat that sockmon exports, by the kernel's own names.
TCP_EVENTS = (
    "ListenOverflows",
    "ListenDrops",
    "TCPReqQFullDoCookies",
    "TCPReqQFullDrop",
    "SyncookiesSent",
    "SyncookiesRecv",
    "SyncookiesFailed",
    "TW",
    "TWRecycled",
    "TWKilled",
    "TCPTimeWaitOverflow",
    "TCPAbortOnData",
    "TCPAbortOnClose",
    "TCPAbortOnMemory",
    "TCPAbortOnTimeout",
    "TCPAbortOnLinger",
    "TCPMemoryPressures",
    "TCPTimeouts",
    "TCPSynRetrans",
    "TCPRetransFail",
    "TCPBacklogDrop",
    "PAWSEstab",
)


#: Of these: SYNs that were to be sent again, and segments that this host did not send. A rule in
#: OUTPUT that drops a SYN makes both rise (net/ipv4/tcp_output.c, __tcp_retransmit_skb()).
RESENT = SYNS_RESENT, NOT_RESENT = "TCPSynRetrans", "TCPRetransFail"

#: Counters of /proc/net/snmp that sockmon exports, of the section Tcp.
TCP_TRAFFIC = (
    "ActiveOpens",
    "PassiveOpens",
    "AttemptFails",
    "EstabResets",
    "OutSegs",
    "RetransSegs",
    "OutRsts",
)

#: UDP's counters of /proc/net/snmp and snmp6 (there with "Udp6" in front): datagrams that were
#: read, and dropped because a socket's receive buffer was full, or udp_mem was.
UDP_COUNTERS = ("InDatagrams", "RcvbufErrors", "MemErrors")

#: Counters of /proc/net/stat/nf_conntrack: packets dropped because the table was full, entries that
#: were removed to make room, and packets dropped because another made the same entry just before.
CONNTRACK_DROPS = ("drop", "early_drop", "insert_failed")


@dataclass(frozen=True, slots=True)
class PortRange:
    """Ports that connect() may choose from: ip_local_port_range less ip_local_reserved_ports."""

    low: int
    high: int
    reserved: tuple[tuple[int, int], ...] = ()

    def inside(self) -> NDArray[np.bool_]:
        """Mask over all ports: inside ip_local_port_range, reserved or not."""
        mask = np.zeros(PORTS, np.bool_)
        mask[self.low : self.high + 1] = True
        return mask

    def choosable(self) -> NDArray[np.bool_]:
        """Mask over all ports: those the kernel may choose."""
        mask = self.inside()
        for first, last in self.reserved:
            mask[first : last + 1] = False
        return mask


#: As the kernel sets it (net/ipv4/af_inet.c), for where it cannot be read.
DEFAULT_PORT_RANGE = PortRange(32768, 60999)


@dataclass(frozen=True, slots=True)
class TimeWaitReuse:
    """When connect() may take over a TIME_WAIT port (tcp_tw_reuse, tcp_tw_reuse_delay)."""

    mode: int
    delay_ms: int = 1000
    timestamps: bool = True


@dataclass(frozen=True, slots=True)
class Sockstat:
    """/proc/net/sockstat: `in_use` and `time_wait` of the namespace, the others of the host."""

    in_use: int
    time_wait: int
    orphans: int
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class TcpMemoryLimits:
    """tcp_mem, in bytes: no pressure below `low`, allocations refused above `high`."""

    low: int
    pressure: int
    high: int


@dataclass(frozen=True, slots=True)
class TcpSettings:
    """Settings that decide how long a state lasts, and how many connections may wait."""

    fin_timeout: int  # seconds an orphaned FIN_WAIT2 is kept
    syn_retries: int
    syn_linear_timeouts: int  # of the retries, those 1 s apart; 0 on kernels before 6.5
    synack_retries: int
    max_syn_backlog: int
    somaxconn: int | None  # None: before 6.3 in a user namespace, as of a rootless container
    syncookies: int


@dataclass(frozen=True, slots=True)
class KernelLimits:
    """Levels and their bounds; None where this kernel or namespace has none, or on failure.

    settings_hidden: /proc/sys is not to be seen, as with ProcSubset=pid, and perhaps less of the
    rest: on Linux 5.10 neither are the files below /proc/net.
    """

    sockstat: Sockstat | None = None
    time_wait_limit: int | None = None
    orphan_limit: int | None = None
    tcp_memory: TcpMemoryLimits | None = None
    conntrack_entries: int | None = None
    conntrack_limit: int | None = None
    conntrack_drops: Mapping[str, int] | None = None
    port_range: PortRange | None = None
    time_wait_reuse: TimeWaitReuse | None = None
    settings: TcpSettings | None = None
    events: Mapping[str, int] | None = None
    traffic: Mapping[str, int] | None = None
    datagrams: Mapping[str, int] | None = None
    settings_hidden: bool = False
