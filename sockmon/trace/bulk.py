"""Connections that begin and end within one batch of segments, counted without following each.

Only plain ones: one SYN, one SYN-ACK, one FIN of each end or one reset, nothing sent twice of
these. Their verdicts are those of the tracker (tests/unit/trace/test_bulk.py). Pure.
"""

import secrets
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sockmon.model.closes import How
from sockmon.model.segments import ACK, FIN, NUMBERS, RST, SYN, Segments, port_of_all
from sockmon.trace.verdict import NEAR

#: What Verdicts.how stands for.
BULK_HOWS: tuple[How, ...] = ("closed", "reset", "refused")

_Bools = NDArray[np.bool_]
_Ints = NDArray[np.int64]
_HALF = 1 << 31
#: How often something is in a group of segments, in fields of one integer. A longer group than the
#: widest count is none of these connections.
_FIELD = 10
_LONGEST = (1 << _FIELD) - 1
_SYNS, _ANSWERS, _CLIENT_FINS, _SERVER_FINS, _RESETS, _ODD = (
    1 << _FIELD * number for number in range(6)
)


def _kind(flags: int, *, client: bool) -> int:
    """Return what one segment adds to the counts of its group."""
    if flags & RST:
        return _RESETS if not flags & (SYN | FIN) else _ODD
    if flags & SYN:
        if flags & FIN or client == bool(flags & ACK):
            return _ODD
        return _SYNS if client else _ANSWERS
    if not flags & ACK:
        return _ODD
    return 0 if not flags & FIN else _CLIENT_FINS if client else _SERVER_FINS


_KINDS = np.array(
    [[_kind(flags, client=client) for flags in range(256)] for client in (False, True)], np.int64
)
#: Ends are distinguished by a sum of their bytes with random factors: nobody can make two alike.
_FACTORS = np.array([secrets.randbits(63) | 1 for _ in range(9)], np.uint64)


@dataclass(frozen=True, slots=True)
class Verdicts:
    """What became of connections, as columns. server: port. first: 0 client, 1 server.

    how: in BULK_HOWS. first, segments and delay (nanoseconds) only of those closed.
    """

    server: _Ints
    how: _Ints
    first: _Ints
    segments: _Ints
    delay: _Ints


@dataclass(frozen=True, slots=True)
class Sorted:
    """Segments by connection. order: rows in that order. starts: where each connection begins.

    group: of each row. is_client: whether its sender sent the connection's first segment.
    """

    segments: Segments
    order: NDArray[np.intp]
    starts: NDArray[np.intp]
    group: NDArray[np.intp]
    is_client: _Bools
    counts: _Ints

    @property
    def sizes(self) -> NDArray[np.intp]:
        """Return how many segments each connection has."""
        return np.diff(self.starts, append=len(self.order))

    def ends(self) -> tuple[list[bytes], list[bytes]]:
        """Return source and destination of each connection's first segment."""
        rows = self.order[self.starts]
        return self.segments.source[rows].tolist(), self.segments.destination[rows].tolist()

    def is_unfinished(self) -> _Bools:
        """Whether a connection has begun, and may go on as a plain one."""
        first = self.order[self.starts]
        begun: _Bools = self.segments.flags[first] & (SYN | ACK | RST | FIN) == SYN
        begun &= (self.counts < _RESETS) & (self.sizes <= _LONGEST)
        return begun

    def rows(self, groups: _Bools) -> NDArray[np.intp]:
        """Return the rows of some connections, as they came."""
        return np.sort(self.order[groups[self.group]])


def sort(segments: Segments) -> Sorted:
    """Bring the segments of each connection together, in the order in which they came."""
    source, destination = _hashed(segments.source), _hashed(segments.destination)
    both = source * np.uint64(1) + destination
    order = np.argsort(both, kind="stable")
    both, source = both[order], source[order]
    is_first = np.ones(len(order), np.bool_)
    is_first[1:] = both[1:] != both[:-1]
    starts = np.flatnonzero(is_first)
    group = np.cumsum(is_first) - 1
    is_client = source == source[starts][group]
    kinds = _KINDS[is_client.view(np.uint8), segments.flags[order]]
    counts = np.add.reduceat(kinds, starts) if starts.size else np.empty(0, np.int64)
    return Sorted(segments, order, starts, group, is_client, counts)


def _hashed(ends: NDArray[np.void]) -> NDArray[np.uint64]:
    words = np.ascontiguousarray(ends).view(np.uint16).reshape(len(ends), 9)
    mixed = words @ _FACTORS
    mixed ^= mixed >> np.uint64(29)
    mixed *= _FACTORS[0]
    return mixed


def judged(found: Sorted, wanted: _Bools) -> tuple[_Bools, Verdicts]:
    """Return which of those wanted are plain and over, and the verdicts on them, in their order."""
    first = found.order[found.starts]
    segments = found.segments
    begins = (segments.flags[first] & (SYN | ACK | RST | FIN) == SYN) & (
        segments.payload[first] == 0
    )
    begins &= wanted
    begins &= found.sizes <= _LONGEST
    counts = found.counts
    closed = begins & (counts == _SYNS + _ANSWERS + _CLIENT_FINS + _SERVER_FINS)
    unanswered = begins & (counts == _SYNS + _RESETS)
    reset = begins & (
        (counts == _SYNS + _ANSWERS + _RESETS)
        | (counts == _SYNS + _ANSWERS + _RESETS + _CLIENT_FINS)
        | (counts == _SYNS + _ANSWERS + _RESETS + _SERVER_FINS)
    )
    chosen = closed | unanswered | reset
    plain = _Plain.of(found, chosen)
    how = np.ones(len(plain.starts), np.int64)
    how[plain.is_refused(unanswered[chosen])] = 2
    is_closed = closed[chosen]
    how[is_closed] = 0
    close = plain.closes(is_closed)
    is_right = plain.has_one_path() & (unanswered[chosen] | plain.is_answered()) & close.is_right
    chosen[chosen] = is_right
    verdicts = (close.first, close.segments, close.delay)
    server = port_of_all(segments.destination[found.order[found.starts[chosen]]]).astype(np.int64)
    return chosen, Verdicts(server, how[is_right], *(column[is_right] for column in verdicts))


@dataclass(slots=True)
class _Close:
    """How connections closed. is_right: false where only the tracker can tell."""

    is_right: _Bools
    first: _Ints
    segments: _Ints
    delay: _Ints


@dataclass(slots=True)
class _Plain:
    """Columns of connections that may be plain, sorted by connection."""

    starts: NDArray[np.intp]
    group: NDArray[np.intp]
    is_client: _Bools
    time: _Ints
    device: _Ints
    flags: NDArray[np.uint8]
    seq: _Ints
    ack: _Ints
    payload: _Ints

    @classmethod
    def of(cls, found: Sorted, chosen: _Bools) -> "_Plain":
        kept = chosen[found.group]
        rows = found.order[kept]
        sizes = found.sizes[chosen]
        ends = np.cumsum(sizes)
        segments = found.segments
        wide = (
            column[rows].astype(np.int64)
            for column in (segments.seq, segments.ack, segments.payload)
        )
        return cls(
            ends - sizes,
            np.repeat(np.arange(len(sizes)), sizes),
            found.is_client[kept],
            segments.time[rows],
            segments.device[rows],
            segments.flags[rows],
            *wide,
        )

    def first_of(self, mask: _Bools) -> NDArray[np.intp]:
        """Return the first row of each connection in a mask, or one past all rows."""
        found = np.full(len(self.starts), len(self.group), np.intp)
        rows = np.flatnonzero(mask)[::-1]
        found[self.group[rows]] = rows
        return found

    def is_refused(self, unanswered: _Bools) -> _Bools:
        by_server = self.first_of((self.flags & RST != 0) & ~self.is_client) < len(self.group)
        return unanswered & by_server

    def is_answered(self) -> _Bools:
        """Whether the second segment is the server's SYN-ACK."""
        second = np.minimum(self.starts + 1, max(0, len(self.group) - 1))
        is_answer: _Bools = (self.flags[second] & SYN != 0) & ~self.is_client[second]
        is_answer &= self.payload[second] == 0
        return is_answer

    def has_one_path(self) -> _Bools:
        """Whether all segments of each direction were seen on one device."""
        right = np.ones(len(self.starts), np.bool_)
        for side in (self.is_client, ~self.is_client):
            first = np.minimum(self.first_of(side), max(0, len(self.group) - 1))
            others = side & (self.device != self.device[first][self.group])
            right[self.group[others]] = False
        return right

    def closes(self, is_closed: _Bools) -> _Close:
        """Return how those that closed did so; the other rows mean nothing."""
        last = max(0, len(self.group) - 1)
        rows = np.arange(len(self.group))
        is_fin, has_ack = self.flags & FIN != 0, self.flags & ACK != 0
        fins = [
            np.minimum(self.first_of(is_fin & s), last) for s in (self.is_client, ~self.is_client)
        ]
        by_server = fins[1] < fins[0]
        one, two = np.minimum(*fins), np.maximum(*fins)
        is_mine = self.is_client != by_server[self.group]  # sent by the end that closed first
        numbers = [(self.seq[at] + self.payload[at] + 1 & NUMBERS) for at in (one, two)]
        acks_one = (
            has_ack & ~is_mine & (rows > one[self.group]) & (self.ack == numbers[0][self.group])
        )
        acks_two = (
            has_ack & is_mine & (rows > two[self.group]) & (self.ack == numbers[1][self.group])
        )
        acked, over = self.first_of(acks_one), self.first_of(acks_two)
        late, is_near = self._late(is_mine, one, two)
        away, is_known = self._away(by_server, fins[1])
        delay = self.time[two] - self.time[one]
        delay -= np.where(away < NEAR, 0, away)
        right = ~is_closed | ((acked <= two) & (over <= last) & is_near & is_known)
        segments = np.where((acked < two) | (late > 0), 4, 3)
        return _Close(right, by_server.astype(np.int64), segments, np.maximum(delay, 0))

    def _late(
        self, is_mine: _Bools, one: NDArray[np.intp], two: NDArray[np.intp]
    ) -> tuple[_Ints, _Bools]:
        """Return what the second end sent after the first FIN, and whether numbers tell it."""
        rows = np.arange(len(self.group))
        second = np.minimum(self.starts + 1, max(0, len(self.group) - 1))
        by_client = self.is_client[two] if len(two) else np.empty(0, np.bool_)
        isn = np.where(by_client, self.seq[self.starts], self.seq[second])[self.group]
        sent = ~is_mine & (self.payload > 0) & (rows < one[self.group])
        known = is_mine & (self.flags & (ACK | RST) == ACK) & (rows <= one[self.group])
        known &= rows != self.starts[self.group]
        number = np.where(sent, self.seq + self.payload, np.where(known, self.ack, isn + 1))
        upto = number - isn & NUMBERS
        most = np.maximum.reduceat(upto, self.starts) if self.starts.size else upto
        at_fin = self.seq[two] + self.payload[two] - isn[self.starts] & NUMBERS
        return at_fin - most, (most < _HALF) & (at_fin < _HALF)

    def _away(self, by_server: _Bools, server_fin: NDArray[np.intp]) -> tuple[_Ints, _Bools]:
        """Return the round trip to the end that closed second; is the handshake whole?"""
        last = max(0, len(self.group) - 1)
        second = np.minimum(self.starts + 1, last)
        rows = np.arange(len(self.group))
        isn = self.seq[second][self.group]
        upto = self.ack - isn & NUMBERS
        confirms = self.is_client & (self.flags & ACK != 0) & (upto > 0) & (upto < _HALF)
        confirmed = self.first_of(confirms & (rows > second[self.group]))
        whole = confirmed < server_fin
        to_server = self.time[second] - self.time[self.starts]
        to_client = self.time[np.minimum(confirmed, last)] - self.time[second]
        return np.maximum(np.where(by_server, to_client, to_server), 0), whole
