"""CLOSE_WAIT sockets that the application should have closed.

The peer has said that it will send no more, and this end neither closes nor sends. One that still
sends is a half-close in use, and no leak.

An MPTCP connection whose peer has closed lasts a minute: then the peer resets it (Linux: its sysctl
net.mptcp.close_timeout), no table lists it any more, and its descriptor stays. So it is stale
sooner.
"""

import numpy as np
from numpy.typing import NDArray

from sockmon.model.ages import Aged
from sockmon.model.states import TcpState
from sockmon.model.table import SocketTable

#: An MPTCP connection is stale after so many seconds at the latest.
MPTCP_STALE_AFTER = 30.0


def stale(aged: Aged, table: SocketTable, now: float, stale_after: float) -> NDArray[np.intp]:
    """Return the places in `aged` of those older, and silent for longer, than so many seconds."""
    places = aged.of_state(TcpState.CLOSE_WAIT)
    sooner = min(stale_after, MPTCP_STALE_AFTER)
    after = np.where(table.multipath[aged.rows[places]], sooner, stale_after)
    old = now - aged.since[places] >= after
    silent = now - aged.sent_at[places] >= after
    return places[old & silent]


def unread_bytes(table: SocketTable, rows: NDArray[np.intp]) -> NDArray[np.int64]:
    """Return what each CLOSE_WAIT socket has received and not read: the queue less the FIN.

    0 for an MPTCP connection, of which the kernel does not tell the bytes.
    """
    queue = table.receive_queue[rows].astype(np.int64)
    return np.where(table.multipath[rows], 0, np.maximum(queue - 1, 0))


def unread_buffers(table: SocketTable, rows: NDArray[np.intp]) -> int:
    """Return the memory, in bytes, that holds the unread data of MPTCP connections."""
    return int(table.receive_queue[rows[table.multipath[rows]]].astype(np.int64).sum())
