"""The eleven TCP states (RFC 9293, section 3.3.2) and how three tools spell them."""

from enum import IntEnum
from typing import Literal, cast

Spelling = Literal["sockmon", "ss", "netstat"]
StateLabel = Literal[
    "established",
    "syn_sent",
    "syn_recv",
    "fin_wait1",
    "fin_wait2",
    "time_wait",
    "close",
    "close_wait",
    "last_ack",
    "listen",
    "closing",
]


class TcpState(IntEnum):
    """A TCP state, by the kernel's number (include/net/tcp_states.h)."""

    ESTABLISHED = 1
    SYN_SENT = 2
    SYN_RECV = 3
    FIN_WAIT1 = 4
    FIN_WAIT2 = 5
    TIME_WAIT = 6
    CLOSE = 7
    CLOSE_WAIT = 8
    LAST_ACK = 9
    LISTEN = 10
    CLOSING = 11

    @property
    def label(self) -> StateLabel:
        """sockmon's and node_exporter's spelling: `close_wait`."""
        return cast("StateLabel", self.name.lower())

    def spelled(self, spelling: Spelling) -> str:
        """Return the name as the given tool prints it."""
        if spelling == "ss":
            return _SS[self]
        if spelling == "netstat":
            return self.name
        return self.label


#: One past the largest state number: the width of an array indexed by state.
STATE_SLOTS = max(TcpState) + 1

#: States in which a healthy socket may stay as long as it likes (CLOSE: bound, not connected).
RESTING_STATES = (TcpState.ESTABLISHED, TcpState.TIME_WAIT, TcpState.CLOSE)

#: What to say where CLOSE is not known.
NOT_LISTED = (
    "TCP sockets that are bound to a port and not connected (state close) are not listed here; "
    "sock_diag lists them since Linux 6.8"
)

#: iproute2, misc/ss.c, sstate_name[].
_SS = {
    TcpState.ESTABLISHED: "ESTAB",
    TcpState.SYN_SENT: "SYN-SENT",
    TcpState.SYN_RECV: "SYN-RECV",
    TcpState.FIN_WAIT1: "FIN-WAIT-1",
    TcpState.FIN_WAIT2: "FIN-WAIT-2",
    TcpState.TIME_WAIT: "TIME-WAIT",
    TcpState.CLOSE: "UNCONN",
    TcpState.CLOSE_WAIT: "CLOSE-WAIT",
    TcpState.LAST_ACK: "LAST-ACK",
    TcpState.LISTEN: "LISTEN",
    TcpState.CLOSING: "CLOSING",
}
