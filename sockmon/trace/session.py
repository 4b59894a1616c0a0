"""One trace: packets in, lines out, until there are enough. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass

from sockmon.kernel.packets.headers import Packets, Skipped, decode
from sockmon.model.segments import Segments
from sockmon.trace.counting import Counting
from sockmon.trace.report import Form, Losses, Report
from sockmon.trace.tcpdump import tcpdump_lines
from sockmon.trace.tracker import Tracker


@dataclass(frozen=True, slots=True)
class Choice:
    """Which segments to look at; an empty set stands for all. hosts: addresses of 16 bytes.

    most: connections to report (segments in tcpdump's form); None: no limit.
    """

    ports: frozenset[int] = frozenset()
    hosts: frozenset[bytes] = frozenset()
    most: int | None = None


class Session:
    """form: the report's; tcpdump prints segments, and follows no connections.

    servers: ports on which this host listens.
    written: the packets that were chosen of those last taken, for a file.
    """

    def __init__(
        self,
        report: Report,
        choice: Choice,
        form: Form | None = None,
        *,
        dated: bool = False,
        opens: bool = False,
        servers: frozenset[int] = frozenset(),
    ) -> None:
        self.tracker = Tracker(opens=opens, ports=choice.ports | servers)
        self.report = report
        self._counting = Counting(self.tracker, report.summary)
        self.segments = 0
        self.skipped = Skipped()
        self.written: Packets | None = None
        self._choice = choice
        self._form = form
        self._opens = opens
        self._dated = dated

    @property
    def is_done(self) -> bool:
        """Whether as many were reported as were asked for."""
        most = self._choice.most
        if most is None:
            return False
        return (self.segments if self._form == "tcpdump" else self.report.shown) >= most

    def take(self, packets: Packets) -> Iterator[str]:
        """Take in packets; returns lines to print."""
        decoded = decode(packets)
        self.skipped.add(decoded.skipped)
        segments, ip = decoded.segments, decoded.ip
        if self._choice.ports or self._choice.hosts:
            rows = segments.concerning(self._choice.ports, self._choice.hosts)
            segments, ip = segments.take(rows), ip.take(rows)
        self.written = ip
        if self._form == "tcpdump":
            yield from self._printed(segments)
            return
        self.segments += len(segments)
        self.tracker.keeps_steps = self.report.needs_steps
        is_counted = self.report.is_summary and self._choice.most is None
        over = (self._counting if is_counted else self.tracker).take(segments)
        opened, self.tracker.opened = self.tracker.opened, []
        for connection in opened:
            if self.is_done:
                return
            yield from self.report.meanwhile(connection)
        for connection in over:
            if self.is_done:
                return
            yield from self.report.over(connection)

    def due(self, now: int) -> Iterator[str]:
        """Return lines about connections that are still open. now: nanoseconds since 1970."""
        for connection in self.tracker.due(now):
            if self.is_done:
                return
            if connection.is_unanswered:
                yield from self.report.over(connection)
            elif not self._opens or connection.is_half_open:
                yield from self.report.meanwhile(connection)

    def finish(self, dropped: int) -> Iterator[str]:
        """Return the last lines. dropped: packets that were lost."""
        for connection in (*self._counting.finish(), *self.tracker.finish()):
            if self.is_done:
                break
            yield from self.report.over(connection)
        skipped = self.skipped
        losses = Losses(
            dropped,
            self.tracker.repeated,
            self.tracker.forgotten,
            skipped.tunnels,
            skipped.fragments,
            skipped.short,
            skipped.links.total(),
            tuple(sorted(skipped.links)),
        )
        yield from self.report.end(self.segments, losses)

    def _printed(self, segments: Segments) -> Iterator[str]:
        for line in tcpdump_lines(segments, dated=self._dated):
            if self.is_done:
                return
            self.segments += 1
            yield line
