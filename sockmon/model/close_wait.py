"""CLOSE_WAIT sockets that the application should have closed.

The peer has said that it will send no more, and this end neither closes nor sends. One that still
sends is a half-close in use, and no leak. Neither is one whose data the peer has yet to take, nor
one that has read a request whose sender, on this host, is still held by a process: that waits for
an answer. One that nobody holds (inode 0) was not accepted yet.

An MPTCP connection whose peer has closed lasts a minute: then the peer resets it (Linux: its sysctl
net.mptcp.close_timeout), no table lists it any more, and its descriptor stays. So it is stale
sooner.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sockmon.model.ages import Aged
from sockmon.model.other_end import other_end
from sockmon.model.states import TcpState
from sockmon.model.table import SocketTable

#: An MPTCP connection is stale after so many seconds at the latest.
MPTCP_STALE_AFTER = 30.0

Places = NDArray[np.intp]

#: In a receive queue, a FIN counts as one byte.
_FIN = 1

#: Unread bytes of a TLS close alert, the shortest and the longest.
_TLS_ALERT = (24, 31)

#: The longest message with which a server ends an idle connection (PostgreSQL, MySQL, HTTP 408),
#: and how long the connection was idle before, in seconds.
_FAREWELL, _IDLE = 1024, 5.0


class Stale(NamedTuple):
    """Places in the ages: of sockets that should be closed, and of those that a peer waits for."""

    leaked: Places
    answer_due: Places


def stale(aged: Aged, table: SocketTable, now: float, stale_after: float) -> Stale:
    """Return those older, and silent for longer, than so many seconds."""
    places = held(aged, table)
    sooner = min(stale_after, MPTCP_STALE_AFTER)
    after = np.where(table.multipath[aged.rows[places]], sooner, stale_after)
    old = now - aged.since[places] >= after
    silent = now - aged.sent_at[places] >= after
    all_taken = table.send_queue[aged.rows[places]] == 0
    places = places[old & silent & all_taken]
    due = np.isin(aged.rows[places], answers_due(aged, table, places).servers)
    return Stale(places[~due], places[due])


class AnswersDue(NamedTuple):
    """Rows of the table: servers in CLOSE_WAIT and, at the other ends, clients in FIN_WAIT2."""

    servers: NDArray[np.intp]
    clients: NDArray[np.intp]


def answers_due(aged: Aged, table: SocketTable, places: Places) -> AnswersDue:
    """Return those of some places in CLOSE_WAIT that have a client on this host to answer.

    The server has read the end of file, or everything before it; a process holds the client.
    """
    rows = aged.rows[places]
    unread = table.receive_queue[rows]
    rows = rows[(unread == 0) | ((unread == _FIN) & aged.has_read[places])]
    ends = other_end(table, rows)
    waits = ends >= 0
    rows, ends = rows[waits], ends[waits]
    waits = (table.state[ends] == TcpState.FIN_WAIT2) & (table.inode[ends] != 0)
    return AnswersDue(rows[waits], ends[waits])


def held(aged: Aged, table: SocketTable) -> Places:
    """Return the places of all that a process holds."""
    places = aged.of_state(TcpState.CLOSE_WAIT)
    kept: Places = places[table.inode[aged.rows[places]] != 0]
    return kept


def unread_bytes(table: SocketTable, rows: NDArray[np.intp]) -> NDArray[np.int64]:
    """Return what each CLOSE_WAIT socket has received and not read: the queue less the FIN.

    0 for an MPTCP connection, of which the kernel does not tell the bytes.
    """
    queue = table.receive_queue[rows].astype(np.int64)
    return np.where(table.multipath[rows], 0, np.maximum(queue - 1, 0))


def unread_buffers(table: SocketTable, rows: NDArray[np.intp]) -> int:
    """Return the memory, in bytes, that holds the unread data of MPTCP connections."""
    return int(table.receive_queue[rows[table.multipath[rows]]].astype(np.int64).sum())


def at_rest(aged: Aged, table: SocketTable) -> NDArray[np.bool_]:
    """Mask over the table: in CLOSE_WAIT, unread the FIN, at most after a server's last words.

    So is a client's idle connection that the server has closed: it is noticed at its next use. The
    last words are a TLS close alert, or a short message that came when all before it had been read
    and nothing had been sent for a while. An application that has read the end of file (receive
    queue 0) knows, and should have closed.
    """
    places = held(aged, table)
    rows = aged.rows[places]
    unread = unread_bytes(table, rows)
    shortest, longest = _TLS_ALERT
    was_idle = aged.has_read[places] & (aged.received_at[places] - aged.sent_at[places] >= _IDLE)
    last_words = (unread >= shortest) & (unread <= longest) | (unread <= _FAREWELL) & was_idle
    rests = np.zeros(len(table), np.bool_)
    rests[rows] = (table.receive_queue[rows] > 0) & ((unread == 0) | last_words)
    return rests
