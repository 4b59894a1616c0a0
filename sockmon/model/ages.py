"""Who has been in which state since when: this poll's sockets joined with the last one's.

A socket is its cookie, so a generation is as large as the sockets that now live in the states
that matter, and no larger. Ages are lower bounds: the time observed, or what the kernel itself
knows, whichever is more.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sockmon.model.states import STATE_SLOTS, TcpState
from sockmon.model.table import SocketTable

#: States that a healthy socket leaves soon.
AGED_STATES = (
    TcpState.CLOSE_WAIT,
    TcpState.FIN_WAIT1,
    TcpState.FIN_WAIT2,
    TcpState.LAST_ACK,
    TcpState.CLOSING,
    TcpState.SYN_SENT,
    TcpState.SYN_RECV,
)

#: States in which this end has sent its FIN, and waits for it to be acknowledged.
CLOSING_STATES = (TcpState.LAST_ACK, TcpState.FIN_WAIT1, TcpState.CLOSING)
_CLOSING = np.isin(np.arange(STATE_SLOTS), CLOSING_STATES)

#: Seconds: TCP_RTO_MIN and TCP_RTO_MAX (include/net/tcp.h).
_RTO_MIN, _RTO_MAX = 0.2, 120.0
_RETRANSMIT_TIMER, _PROBE_TIMER = 1, 4

_AGED = np.isin(np.arange(STATE_SLOTS), AGED_STATES)


#: So many sockets' ages survive a restart; cookies and monotonic times hold until the next boot.
_REMEMBERED = 50_000
_RECORDED = {
    "cookie": np.uint64,
    "state": np.uint8,
    "since": np.float64,
    "sent_at": np.float64,
    "send_queue": np.uint32,
}


@dataclass(frozen=True, slots=True)
class LastHeard:
    """What tcp_info says of some sockets, in milliseconds ago: columns sorted by cookie.

    read, taken: bytes that the application has read, and that the peer has acknowledged, so far; -1
    where the kernel does not report it.
    """

    cookie: NDArray[np.uint64]
    data_sent_ms: NDArray[np.uint32]
    ack_received_ms: NDArray[np.uint32]
    data_received_ms: NDArray[np.uint32]
    read: NDArray[np.int64]
    taken: NDArray[np.int64]

    def joined(self, other: "LastHeard") -> "LastHeard":
        """Return what both say; of a socket that both know, either may be given."""
        return LastHeard.of(
            np.concatenate([self.cookie, other.cookie]),
            np.concatenate([self.data_sent_ms, other.data_sent_ms]),
            np.concatenate([self.ack_received_ms, other.ack_received_ms]),
            np.concatenate([self.data_received_ms, other.data_received_ms]),
            np.concatenate([self.read, other.read]),
            np.concatenate([self.taken, other.taken]),
        )

    @staticmethod
    def of(
        cookie: NDArray[np.uint64],
        data_sent_ms: NDArray[np.integer],
        ack_received_ms: NDArray[np.integer],
        data_received_ms: NDArray[np.integer],
        read: NDArray[np.int64] | None = None,
        taken: NDArray[np.int64] | None = None,
    ) -> "LastHeard":
        """Sort the columns by cookie."""
        order = np.argsort(cookie, kind="stable")
        unknown = np.full(order.size, -1, np.int64)
        return LastHeard(
            cookie[order],
            data_sent_ms[order].astype(np.uint32),
            ack_received_ms[order].astype(np.uint32),
            data_received_ms[order].astype(np.uint32),
            unknown if read is None else read[order],
            unknown if taken is None else taken[order],
        )


NOTHING_HEARD = LastHeard.of(
    np.empty(0, np.uint64),
    np.empty(0, np.uint32),
    np.empty(0, np.uint32),
    np.empty(0, np.uint32),
)


@dataclass(frozen=True, slots=True)
class Aged:
    """One generation: the sockets in AGED_STATES, as columns sorted by cookie.

    rows        where each stands in its table
    since       monotonic seconds at which it was in its state already
    sent_at     monotonic seconds at which it last sent data, or its send queue last moved
    send_queue  bytes
    received_at monotonic seconds at which it last received data; -inf if not reported
    has_read    whether any data was ever read; False if not reported
    """

    rows: NDArray[np.intp]
    cookie: NDArray[np.uint64]
    state: NDArray[np.uint8]
    since: NDArray[np.float64]
    sent_at: NDArray[np.float64]
    send_queue: NDArray[np.uint32]
    received_at: NDArray[np.float64]
    has_read: NDArray[np.bool_]

    def seen(self, table: SocketTable, heard: LastHeard, now: float) -> "Aged":
        """Return the next generation, this one being the last (`now` in monotonic seconds)."""
        rows = np.flatnonzero(_AGED[table.state])
        rows = rows[np.argsort(table.cookie[rows], kind="stable")]
        cookie, state, queue = table.cookie[rows], table.state[rows], table.send_queue[rows]
        since = np.full(rows.size, now)
        sent_at = np.full(rows.size, now)
        place = find_cookies(heard.cookie, cookie)
        known = np.flatnonzero(place >= 0)
        # After the peer's FIN (CLOSE_WAIT) nothing arrives but answers to what is sent, and
        # FIN_WAIT2 begins with an ACK: the last one came no earlier than the state did.
        since[known] -= heard.ack_received_ms[place[known]] / 1000
        sent_at[known] -= heard.data_sent_ms[place[known]] / 1000
        received_at = np.full(rows.size, -np.inf)
        received_at[known] = now - heard.data_received_ms[place[known]] / 1000
        has_read = np.zeros(rows.size, np.bool_)
        has_read[known] = heard.read[place[known]] > 0
        waited = np.where(_CLOSING[state], unanswered_seconds(table, rows), 0.0)
        since -= waited
        sent_at -= np.where(place < 0, waited, 0.0)
        before = find_cookies(self.cookie, cookie)
        joined = np.flatnonzero(before >= 0)
        joined = joined[self.state[before[joined]] == state[joined]]
        last = before[joined]
        since[joined] = np.minimum(since[joined], self.since[last])
        # Without tcp_info, a send queue that stands still is all there is to go by.
        unknown = place[joined] < 0
        still = unknown & (self.send_queue[last] == queue[joined])
        earlier = self.sent_at[last[still]]
        sent_at[joined[still]] = np.minimum(sent_at[joined[still]], earlier)
        sent = queue.astype(np.uint32)
        return Aged(rows, cookie, state, since, sent_at, sent, received_at, has_read)

    def to_record(self) -> dict[str, list[int] | list[float]]:
        """Return what is to survive a restart: the oldest sockets, JSON-ready."""
        oldest = np.argsort(self.since, kind="stable")[:_REMEMBERED]
        return {name: getattr(self, name)[oldest].tolist() for name in _RECORDED}

    @staticmethod
    def from_record(record: Mapping[str, Any]) -> "Aged":
        """Return a generation again; raises KeyError, TypeError or ValueError."""
        columns = {name: np.array(record[name], dtype) for name, dtype in _RECORDED.items()}
        sizes = {column.shape for column in columns.values()}
        if len(sizes) != 1 or len(sizes.pop()) != 1:
            raise ValueError("columns of different lengths")
        order = np.argsort(columns["cookie"], kind="stable")
        return Aged(
            order,
            received_at=np.full(order.size, -np.inf),
            has_read=np.zeros(order.size, np.bool_),
            **{name: column[order] for name, column in columns.items()},
        )

    def of_state(self, *states: TcpState) -> NDArray[np.intp]:
        """Return the places, in this generation, of the sockets in these states."""
        wanted = np.zeros(STATE_SLOTS, np.bool_)
        wanted[list(states)] = True
        return np.flatnonzero(wanted[self.state])


def unanswered_seconds(table: SocketTable, rows: NDArray[np.intp]) -> NDArray[np.float64]:
    """Return for how long the peers of the rows have acknowledged nothing, at least.

    The retransmission timeout, of at least TCP_RTO_MIN, doubles with each retransmission up to
    TCP_RTO_MAX; probes of a closed window that nobody answers have the same timeouts
    (net/ipv4/tcp_timer.c). So the timeouts that have passed are known, and how much is left of the
    one that runs. 0 without one of these timers, and where the timeout was set below TCP_RTO_MIN
    (rto_min of a route) the result is too high.
    """
    tries = table.retransmits[rows].astype(np.int64)
    runs = (table.timer[rows] == _RETRANSMIT_TIMER) | (table.timer[rows] == _PROBE_TIMER)
    left = table.expires[rows] / 1000
    tries[~runs] = 0
    first = np.maximum(_RTO_MIN, np.minimum(left, _RTO_MAX) / np.exp2(tries))
    passed = np.zeros(rows.size)
    for n in range(int(tries.max(initial=0))):
        passed += np.where(n < tries, np.minimum(first * 2.0**n, _RTO_MAX), 0.0)
    current = np.minimum(first * np.exp2(tries), _RTO_MAX)
    running: NDArray[np.float64] = np.where(tries > 0, np.maximum(current - left, 0.0), 0.0)
    return passed + running


NO_AGES = Aged.from_record(dict.fromkeys(_RECORDED, ()))


#: Seconds: the bounds between which ages are counted, and `older_than` of sockmon_aged_sockets.
AGE_BOUNDS = (1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0, 14400.0, 86400.0)


def count_by_age(aged: Aged, now: float) -> dict[TcpState, tuple[int, ...]]:
    """Count sockets between AGE_BOUNDS, all of AGED_STATES present.

    Place n counts ages above bound n-1 and up to bound n; the last place, those above all bounds.
    """
    result = {}
    for state in AGED_STATES:
        ages = now - aged.since[aged.of_state(state)]
        places = np.searchsorted(AGE_BOUNDS, ages, side="left")
        result[state] = tuple(np.bincount(places, minlength=len(AGE_BOUNDS) + 1).tolist())
    return result


def find_cookies(ordered: NDArray[np.uint64], wanted: NDArray[np.uint64]) -> NDArray[np.intp]:
    """Return where each wanted cookie stands among the ordered ones, or -1."""
    if not ordered.size:
        return np.full(wanted.size, -1, np.intp)
    at = np.minimum(np.searchsorted(ordered, wanted), ordered.size - 1)
    return np.where(ordered[at] == wanted, at, -1)
