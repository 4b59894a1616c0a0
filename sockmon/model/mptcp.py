"""MPTCP connections among the TCP sockets: each is one socket, in the state that applications see.

The kernel lists an MPTCP connection twice: itself (protocol 262), and its subflows as TCP sockets.
Only the first is closed by a DATA_FIN: while it waits in CLOSE_WAIT, its subflows stay ESTABLISHED
(RFC 8684, section 3.3.3). The first subflow has its addresses and ports; any other has its inode
(net/mptcp/subflow.c, mptcp_subflow_create_socket(); protocol.c, mptcp_sock_graft()), and inode 0
until the connection is accepted.
"""

import numpy as np
from numpy.typing import NDArray

from sockmon.model.other_end import ends
from sockmon.model.states import TcpState
from sockmon.model.table import SocketTable

_TIME_WAIT_TIMER = 3
_QUEUES = ("receive_queue", "send_queue")
_TIMER = ("timer", "retransmits", "expires")
_OWN = ("state", "cookie", "uid", "inode", "cgroup_id", "multipath")


def joined(tcp: SocketTable, mptcp: SocketTable) -> SocketTable:
    """Return one table of both, with each MPTCP connection in place of its subflows.

    Changes `tcp`. The timer is that of the first subflow, if it runs: it is the subflow which sends
    again. What waits to be read or acknowledged waits at either.
    """
    if not len(mptcp):
        return tcp
    rows, of = _subflows(tcp, mptcp)
    first = np.full(len(mptcp), -1, np.intp)
    by_ends = ends(tcp, rows) == ends(mptcp, of)
    first[of[by_ends]] = rows[by_ends]
    with_first = np.flatnonzero(first >= 0)
    place = first[with_first]
    for name in _OWN:
        getattr(tcp, name)[place] = getattr(mptcp, name)[with_first]
    for name in _QUEUES:
        getattr(tcp, name)[place] += getattr(mptcp, name)[with_first]
    idle = tcp.timer[place] == 0
    for name in _TIMER:
        getattr(tcp, name)[place[idle]] = getattr(mptcp, name)[with_first[idle]]
    others = rows[~np.isin(rows, place)]
    alone = np.flatnonzero(first < 0)
    if not others.size and not alone.size:
        return tcp
    kept = np.ones(len(tcp), np.bool_)
    kept[others] = False
    return SocketTable.concatenate([tcp.select(kept), mptcp.select(alone)])


def _subflows(tcp: SocketTable, mptcp: SocketTable) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the rows of TCP sockets that are subflows, and the MPTCP connection of each."""
    near, far = np.zeros(1 << 16, np.bool_), np.zeros(1 << 16, np.bool_)
    near[mptcp.local_port] = True
    far[mptcp.remote_port] = True
    maybe = near[tcp.local_port] & far[tcp.remote_port]
    maybe[tcp.rows_of(set(mptcp.inode.tolist()) - {0})] = True
    maybe &= (tcp.state != TcpState.LISTEN) & (tcp.timer != _TIME_WAIT_TIMER)
    rows = np.flatnonzero(maybe)
    of = _find(ends(mptcp, np.arange(len(mptcp))), ends(tcp, rows))
    by_inode = np.where(tcp.inode[rows] == 0, -1, _find(mptcp.inode, tcp.inode[rows]))
    of = np.where(of >= 0, of, by_inode)
    return rows[of >= 0], of[of >= 0]


def _find(among: NDArray[np.generic], wanted: NDArray[np.generic]) -> NDArray[np.intp]:
    """Return where each wanted value stands among the others; -1 where it does not."""
    order = np.argsort(among, kind="stable")
    at = order[np.minimum(np.searchsorted(among[order], wanted), among.size - 1)]
    return np.where(among[at] == wanted, at, -1)
