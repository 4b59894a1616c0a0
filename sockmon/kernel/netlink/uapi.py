"""The kernel's own numbers, names and layouts for sock_diag.

Sources: include/uapi/linux/{netlink,sock_diag,inet_diag}.h, include/net/tcp_states.h.
"""

from enum import IntEnum

import numpy as np

from sockmon.model.states import RESTING_STATES, TcpState

NETLINK_SOCK_DIAG = 4
SOCK_DIAG_BY_FAMILY = 20
TCPDIAG_GETSOCK = 18  # its forerunner, which asks for TCP of every family

NLM_F_REQUEST = 0x001
NLM_F_DUMP = 0x300
NLM_F_DUMP_INTR = 0x010

NLMSG_NOOP = 1
NLMSG_ERROR = 2
NLMSG_DONE = 3

NLMSG_HEADER_BYTES = 16
INET_DIAG_MSG_BYTES = 72
ATTRIBUTE_HEADER_BYTES = 4

#: Kernels from about 6.8 list bound, unconnected sockets under this bit, as state CLOSE.
BOUND_INACTIVE = 13

LISTENING = 1 << TcpState.LISTEN
ALL_STATES = sum(1 << state for state in TcpState) | 1 << BOUND_INACTIVE
PASSING = sum(1 << state for state in TcpState if state not in RESTING_STATES)


class Attribute(IntEnum):
    """INET_DIAG_* attribute types that sockmon reads."""

    INFO = 2
    SKMEMINFO = 7
    CGROUP_ID = 21

    @property
    def request_bit(self) -> int:
        """The bit of `idiag_ext` that asks for it (attributes 1 to 8 alone can be asked for)."""
        return 1 << (self - 1)


class Protocol(IntEnum):
    """IPPROTO_ numbers that sockmon asks inet_diag for."""

    TCP = 6
    UDP = 17
    MPTCP = 262


#: The attribute of a request with a protocol of more than 8 bits.
REQ_PROTOCOL = 3


#: struct inet_diag_msg: 72 bytes; ports and addresses in network byte order.
INET_DIAG_MSG = np.dtype(
    [
        ("family", "u1"),
        ("state", "u1"),
        ("timer", "u1"),
        ("retransmits", "u1"),
        ("local_port", ">u2"),
        ("remote_port", ">u2"),
        ("local", "=u4", 4),
        ("remote", "=u4", 4),
        ("interface", "=u4"),
        ("cookie", "=u8"),
        ("expires", "=u4"),
        ("receive_queue", "=u4"),
        ("send_queue", "=u4"),
        ("uid", "=u4"),
        ("inode", "=u4"),
    ]
)
