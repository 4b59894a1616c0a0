"""CLOSE_WAIT sockets that the application should have closed.

The peer has said that it will send no more, and this end neither closes nor sends. One that still
sends is a half-close in use, and no leak.
"""

import numpy as np
from numpy.typing import NDArray

from sockmon.model.ages import Aged
from sockmon.model.states import TcpState
from sockmon.model.table import SocketTable


def stale(aged: Aged, now: float, stale_after: float) -> NDArray[np.intp]:
    """Return the places in `aged` of those older, and silent for longer, than so many seconds."""
    places = aged.of_state(TcpState.CLOSE_WAIT)
    old = now - aged.since[places] >= stale_after
    silent = now - aged.sent_at[places] >= stale_after
    return places[old & silent]


def unread_bytes(table: SocketTable, rows: NDArray[np.intp]) -> NDArray[np.int64]:
    """Return what each CLOSE_WAIT socket has received and not read: the queue less the FIN."""
    queue = table.receive_queue[rows].astype(np.int64)
    return np.maximum(queue - 1, 0)
