"""Data and connections that wait: for accept(), to be read, to be taken by the peer.

Each poll's sockets are joined with the last poll's by cookie. Times are lower bounds: the time
observed, or at first sight what tcp_info knows, whichever is more. A queue that is as long as
before may have been emptied and filled again, as that of a slow reader is: so tcp_info is asked
about those that seem to stand still, how many bytes were read or acknowledged.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sockmon.model.ages import LastHeard, find_cookies
from sockmon.model.direction import no_ports
from sockmon.model.limits import PORTS
from sockmon.model.states import TcpState
from sockmon.model.table import SocketTable

_TIME_WAIT_TIMER, _PROBE_TIMER = 3, 4
#: tcp_info is asked about a port with so many connections whose queues seem to stand still so long;
#: with one where this host has called, and the peer's window is closed.
_DOUBTED, _DOUBTED_SECONDS = 3, 10.0
#: Tries without an answer after which a peer may be gone.
_NO_ANSWER = 5


def unaccepted(table: SocketTable) -> NDArray[np.bool_]:
    """Mask over the table: connections that wait in an accept queue.

    Nobody holds them (inode 0) until accept() returns them; an orphan is never in these states
    (net/ipv4/inet_connection_sock.c, inet_csk_accept(); tcp_close()).
    """
    waits: NDArray[np.bool_] = table.inode == 0
    waits &= (table.state == TcpState.ESTABLISHED) | (table.state == TcpState.CLOSE_WAIT)
    waits &= table.timer != _TIME_WAIT_TIMER
    return waits


def worth_asking(table: SocketTable, most: int) -> list[tuple[bool, int]]:
    """Return ports whose sockets hold something that waits: (whether it is the local port, port).

    Those with most such sockets, for tcp_info to say since when: a first look has no history.
    """
    held = (table.receive_queue > 0) | ((table.send_queue > 0) & (table.timer == _PROBE_TIMER))
    held |= table.retransmits >= _NO_ANSWER
    rows = np.flatnonzero((table.state == TcpState.ESTABLISHED) & (held | (table.inode == 0)))
    return _ports(table, rows, most, 1)


def _ports(
    table: SocketTable, rows: NDArray[np.intp], most: int, least: int
) -> list[tuple[bool, int]]:
    """Return the ports with most of the rows, and at least so many."""
    if not rows.size:
        return []
    listened = no_ports()
    listened[table.local_port[table.state == TcpState.LISTEN]] = True
    ours, theirs = table.local_port[rows], table.remote_port[rows]
    # Where nobody listens any more, the port that more of them share is the service's.
    local = listened[ours] | (np.bincount(ours)[ours] > np.bincount(theirs)[theirs])
    ports = np.where(local, ours, theirs)
    counts = np.bincount(ports + local * np.uint32(PORTS))
    codes = np.flatnonzero(counts >= least)
    top = codes[np.argsort(-counts[codes], kind="stable")[:most]]
    return [(code >= PORTS, code % PORTS) for code in top.tolist()]


@dataclass(frozen=True, slots=True)
class Queues:
    """One generation: ESTABLISHED and CLOSE_WAIT sockets with something that waits, by cookie.

    rows            where each stands in its table
    waits           whether it waits in an accept queue
    waits_since     monotonic seconds since when, at the latest; now for the others
    unread_since    since when unread data has not become less; now where there is none
    unsent_since    since when unacknowledged data has not become less; now where there is none
    read, taken     bytes read and bytes acknowledged so far, as last reported; -1: never reported
    accepted        by local port, when a connection that had waited was seen to be accepted last
    """

    rows: NDArray[np.intp]
    cookie: NDArray[np.uint64]
    waits: NDArray[np.bool_]
    received: NDArray[np.uint32]
    sent: NDArray[np.uint32]
    waits_since: NDArray[np.float64]
    unread_since: NDArray[np.float64]
    unsent_since: NDArray[np.float64]
    read: NDArray[np.int64]
    taken: NDArray[np.int64]
    accepted: Mapping[int, float] = field(default_factory=dict)

    def seen(self, table: SocketTable, heard: LastHeard, now: float) -> "Queues":
        """Return the next generation, this one being the last (`now` in monotonic seconds)."""
        open_ = (table.state == TcpState.ESTABLISHED) | (table.state == TcpState.CLOSE_WAIT)
        waits = unaccepted(table)
        busy = (table.receive_queue > 0) | (table.send_queue > 0)
        rows = np.flatnonzero(waits | (open_ & busy))
        rows = rows[np.argsort(table.cookie[rows], kind="stable")]
        cookie, waiting = table.cookie[rows], waits[rows]
        received = table.receive_queue[rows].astype(np.uint32)
        sent = table.send_queue[rows].astype(np.uint32)
        waits_since, unread_since, unsent_since = (np.full(rows.size, now) for _ in range(3))
        place = find_cookies(heard.cookie, cookie)
        known = np.flatnonzero(place >= 0)
        at = place[known]
        read, taken = (np.full(rows.size, -1, np.int64) for _ in range(2))
        read[known], taken[known] = heard.read[at], heard.taken[at]
        last = np.maximum(heard.ack_received_ms[at], heard.data_received_ms[at])
        waits_since[known] -= np.where(waiting[known], last / 1000, 0.0)
        unread_since[known] -= np.where(received[known] > 0, heard.data_received_ms[at] / 1000, 0.0)
        unsent_since[known] -= np.where(sent[known] > 0, heard.data_sent_ms[at] / 1000, 0.0)
        before = find_cookies(self.cookie, cookie)
        joined = np.flatnonzero(before >= 0)
        past = before[joined]
        for since, earlier, same in (
            (waits_since, self.waits_since, self.waits[past] & waiting[joined]),
            (
                unread_since,
                self.unread_since,
                _not_less(self.received[past], received[joined])
                & ~_moved(self.read[past], read[joined]),
            ),
            (
                unsent_since,
                self.unsent_since,
                _not_less(self.sent[past], sent[joined]) & ~_moved(self.taken[past], taken[joined]),
            ),
        ):
            kept = joined[same]
            since[kept] = np.minimum(since[kept], earlier[past[same]])
            # What has become less has moved: only the time since then counts.
            since[joined[~same]] = now
        for column, last in ((read, self.read), (taken, self.taken)):
            column[joined] = np.maximum(column[joined], last[past])
        return Queues(
            rows, cookie, waiting, received, sent, waits_since, unread_since, unsent_since, read,
            taken, self._accepted(table, waits, now),
        )  # fmt: skip

    def _accepted(
        self, table: SocketTable, waits: NDArray[np.bool_], now: float
    ) -> Mapping[int, float]:
        """Return when connections were accepted last, of the ports at which some have waited."""
        waited = self.cookie[self.waits]
        if not waited.size:
            return {}
        left = table.local_port[(find_cookies(waited, table.cookie) >= 0) & ~waits]
        ports = set(table.local_port[waits].tolist())
        kept = {port: at for port, at in self.accepted.items() if port in ports}
        return {**kept, **dict.fromkeys(left.tolist(), now)}

    def doubtful(self, table: SocketTable, now: float, most: int) -> list[tuple[bool, int]]:
        """Return ports to be asked about at the next poll, as worth_asking() does."""
        still = (self.received > 0) & (now - self.unread_since >= _DOUBTED_SECONDS)
        shut = (table.timer[self.rows] == _PROBE_TIMER) & (self.sent > 0)
        shut &= now - self.unsent_since >= _DOUBTED_SECONDS
        mine = ~self.waits & (table.state[self.rows] == TcpState.ESTABLISHED)
        called = (ask for ask in _ports(table, self.rows[shut & mine], most, 1) if not ask[0])
        ports = [*called, *_ports(table, self.rows[(still | shut) & mine], most, _DOUBTED)]
        # Not accepted: whether their server is alive, its other connections say.
        waiting = self.rows[self.waits & (now - self.waits_since >= _DOUBTED_SECONDS)]
        # Not answered: whether the peer is alive, this host's other connections to it say.
        lost = self.rows[mine & (table.retransmits[self.rows] >= _NO_ANSWER)]
        ports += [ask for ask in _ports(table, lost, most, 1) if not ask[0]]
        return list(dict.fromkeys(ports + _ports(table, waiting, most, 1)))[:most]


def unread(queues: Queues, table: SocketTable, now: float, after: float) -> NDArray[np.intp]:
    """Return the places in `queues` of ESTABLISHED sockets that nobody has read for so long."""
    old = now - queues.unread_since >= after
    places: NDArray[np.intp] = np.flatnonzero((queues.received > 0) & ~queues.waits & old)
    is_open: NDArray[np.bool_] = table.state[queues.rows[places]] == TcpState.ESTABLISHED
    return places[is_open]


def unsent(queues: Queues, table: SocketTable, now: float, after: float) -> NDArray[np.intp]:
    """Return the places in `queues` of sockets whose peers have taken nothing for so long.

    Their windows are closed (timer 4), and they acknowledge each probe of that (no retransmits).
    """
    old = now - queues.unsent_since >= after
    places = np.flatnonzero((queues.sent > 0) & ~queues.waits & old)
    rows = queues.rows[places]
    closed: NDArray[np.bool_] = (table.timer[rows] == _PROBE_TIMER) & (table.retransmits[rows] == 0)
    return places[closed]


def _not_less(before: NDArray[np.uint32], now: NDArray[np.uint32]) -> NDArray[np.bool_]:
    still: NDArray[np.bool_] = (before > 0) & (now >= before)
    return still


def _moved(before: NDArray[np.int64], now: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether more was read or acknowledged than before, where both are known."""
    moved: NDArray[np.bool_] = (before >= 0) & (now > before)
    return moved


NO_QUEUES = Queues(
    np.empty(0, np.intp),
    np.empty(0, np.uint64),
    np.empty(0, np.bool_),
    np.empty(0, np.uint32),
    np.empty(0, np.uint32),
    np.empty(0, np.float64),
    np.empty(0, np.float64),
    np.empty(0, np.float64),
    np.empty(0, np.int64),
    np.empty(0, np.int64),
)
