"""Segments in, connections out: many at a time, in bounded memory. Pure: time is an argument."""

from collections.abc import Iterable

from sockmon.model.segments import ACK, FIN, RST, SYN, Segment, port_of
from sockmon.trace.connection import CLIENT, SERVER, Connection
from sockmon.trace.recent import Recent

#: Connections that are followed at a time.
LIMIT = 20_000
_SECOND = 1_000_000_000
#: An end that has not closed is reported when it has waited this long.
_WAITS = (1 * _SECOND, 10 * _SECOND, 60 * _SECOND)
_LOOK_AGAIN = _SECOND // 2  # thousands may wait


class Tracker:
    """limit: connections that are followed; the oldest give way to new ones.

    opens: note those that have just been established in `opened`; the reader empties it.
    ports: the server's end is the one at such a port, where a connection's beginning was not seen.

    keeps_steps: whether new connections keep their steps.
    seen: segments. repeated: of them, those of a packet that was seen before on another device.
    forgotten: connections that gave way.
    """

    def __init__(
        self, limit: int = LIMIT, *, opens: bool = False, ports: frozenset[int] = frozenset()
    ) -> None:
        self.seen = self.repeated = self.forgotten = 0
        self.opened: list[Connection] = []
        self.keeps_steps = True
        self._notes_opens = opens
        self._limit = limit
        self._last_time = self._due_after = 0
        self._ports = ports
        self._servers: set[bytes] = set()
        self._open: dict[bytes, Connection] = {}
        # They have ended, and are kept for what may still come of them.
        self._ended = Recent(limit)
        self._waiting: dict[bytes, Connection] = {}

    @property
    def open(self) -> int:
        """Return how many connections are followed now."""
        return len(self._open)

    def take(self, segments: Iterable[Segment]) -> list[Connection]:
        """Take in segments in the order seen; return the connections that are over.

        Those that are over without an end had to give way, or their ports were used again.
        """
        over: list[Connection] = []
        segment: Segment | None = None
        followed = self._open.get
        for segment in segments:
            source, destination = segment.source, segment.destination
            key = source + destination if source < destination else destination + source
            connection = followed(key)
            if connection is None or segment.flags & SYN:
                connection = self._connection(key, connection, segment, over)
            self.seen += 1
            if connection is None:
                continue
            if not connection.take(segment):
                self.repeated += 1
            elif segment.flags & (SYN | FIN | RST):
                self._changed(key, connection, over)
            elif connection.has_ended:
                self._end(key, connection, over)
            elif self._notes_opens and connection.established_at == segment.time:
                self._opened(connection)
        if segment is not None:
            self._last_time = segment.time
        return over

    def due(self, now: int) -> list[Connection]:
        """Return the connections of which something is to be said though they are open.

        Those that nobody answers any more, or that only one end has closed. now: as in segments.
        """
        found: list[Connection] = []
        self._last_time = max(self._last_time, now)
        if now < self._due_after:
            return found
        self._due_after = now + _LOOK_AGAIN
        for key, connection in list(self._waiting.items()):
            if not _waits(connection):
                del self._waiting[key]
            elif connection.is_unanswered:
                if now > connection.ends[CLIENT].gives_up_at:
                    connection.seen_until = now
                    self._open.pop(key, None)
                    del self._waiting[key]
                    self._ended.remember(key, connection)
                    found.append(connection)
            elif connection.is_half_open:
                if now > connection.ends[SERVER].gives_up_at:
                    del self._waiting[key]
                    connection.seen_until = now
                    found.append(connection)
            else:
                waits = now - max(connection.ends[CLIENT].fin_at, connection.ends[SERVER].fin_at)
                if waits > _WAITS[connection.reported]:
                    connection.reported += 1
                    connection.seen_until = now
                    connection.add_data_step()
                    found.append(connection)
        return found

    def finish(self) -> list[Connection]:
        """Return all connections that are still open, the oldest first, and forget everything."""
        left = list(self._open.values())
        for connection in left:
            connection.seen_until = self._last_time
            connection.add_data_step()
        for table in (self._open, self._waiting):
            table.clear()
        self._ended.clear()
        return left

    def _connection(
        self, key: bytes, known: Connection | None, segment: Segment, over: list[Connection]
    ) -> Connection | None:
        """Return the connection of a segment, a new one if there is none; None: it was counted."""
        begins = segment.flags & (SYN | ACK | RST) == SYN
        if segment.flags & SYN and not begins and len(self._servers) < self._limit:
            self._servers.add(segment.source)
        if known is None:
            if key in self._ended:
                ended = self._ended[key]
                if not begins or (ended is not None and not ended.is_new(segment)):
                    return ended
        elif not begins or not known.is_new(segment):
            return known
        else:
            over.append(self._open.pop(key))
        if len(self._open) >= self._limit:
            oldest = next(iter(self._open))
            self._waiting.pop(oldest, None)
            over.append(self._open.pop(oldest))
            self.forgotten += 1
        self._ended.forget(key)
        server = None if segment.flags & SYN else self._server(segment)
        made = self._open[key] = Connection.begin(segment, server)
        made.keeps_steps = self.keeps_steps
        return made

    def _server(self, segment: Segment) -> bytes | None:
        """Return which end is a server's, by other connections or by its port; None: not known."""
        ends = (segment.source, segment.destination)
        for known in (
            [end in self._servers for end in ends],
            [port_of(end) in self._ports for end in ends],
        ):
            if known[0] != known[1]:
                return ends[known[1]]
        return None

    def _opened(self, connection: Connection) -> None:
        if not connection.opening_reported:
            connection.opening_reported = True
            self.opened.append(connection)

    def _changed(self, key: bytes, connection: Connection, over: list[Connection]) -> None:
        if connection.has_ended:
            self._end(key, connection, over)
        else:
            self._waiting[key] = connection  # until due() looks whether it does

    def _end(self, key: bytes, connection: Connection, over: list[Connection]) -> None:
        if self._open.get(key) is connection:
            del self._open[key]
            self._waiting.pop(key, None)
            self._ended.remember(key, connection)
            over.append(connection)

    def are_followed(self, keys: Iterable[bytes]) -> list[bool]:
        """Return whether what comes of these ends may belong to a connection that has not ended."""
        found, ended = self._open, self._ended
        return [key in found or (key in ended and not _has_ended(ended[key])) for key in keys]

    def have_counted(self, keys: Iterable[bytes], servers: Iterable[bytes]) -> None:
        """Note connections that were counted elsewhere: what may still come of them is no other."""
        if len(self._servers) < self._limit:
            self._servers.update(servers)
        self._ended.remember_counted(keys)


def _has_ended(connection: Connection | None) -> bool:
    return connection is None or connection.has_ended


def _waits(connection: Connection) -> bool:
    """Whether something may have to be said of it before it is over."""
    if connection.is_half_closed or connection.awaits_last_ack:
        return connection.rst_by is None and connection.reported < len(_WAITS)
    return connection.is_unanswered or connection.is_half_open


def pair(one: bytes, other: bytes) -> bytes:
    """Return the key of a connection between two ends."""
    return one + other if one < other else other + one
