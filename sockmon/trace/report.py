"""What is printed of connections, in one of several forms. Pure."""

import json
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from sockmon.durations import precisely
from sockmon.export.messages.trace import TraceSummary
from sockmon.model.segments import end_text
from sockmon.trace import lines
from sockmon.trace.connection import Connection, Step
from sockmon.trace.document import connection_document
from sockmon.trace.facts import NO_FACTS, Facts
from sockmon.trace.ladder import ladder
from sockmon.trace.plural import plural
from sockmon.trace.summary import Summary
from sockmon.trace.verdict import Verdict, judge
from sockmon.trace.when import clock_time
from sockmon.trace.words import explanation, headline, holders

Form = Literal["text", "lines", "json", "tcpdump"]
Part = Literal["all", "opens", "closes"]

#: Connections in a second above which only lines are printed, and above which only the summary.
MOST_LADDERS = 20
MOST_LINES = 2000
_SECOND = 1_000_000_000
_WIDTH = 96
_FEWEST_FOR_A_TABLE = 2


def no_facts(_: Connection, __: Verdict) -> Facts:
    """Add nothing: for captures of other hosts."""
    return NO_FACTS


@dataclass(frozen=True, slots=True)
class Losses:
    """What a trace has not seen. dropped: packets, by the kernel or the capturing program.

    other packets: those that are no TCP. links: packets of link types that are not known.
    """

    dropped: int = 0
    repeated: int = 0
    forgotten: int = 0
    tunnels: int = 0
    fragments: int = 0
    short: int = 0
    links: int = 0
    link_types: tuple[int, ...] = ()

    def text(self) -> str:
        """Return them in one line; what is none is left out, but for what was dropped."""
        types = ", ".join(map(str, self.link_types))
        parts = [f"{plural(self.dropped, 'packet')} dropped"]
        for count, what in (
            (self.forgotten, "connections forgotten (more were open than are followed)"),
            (self.repeated, "segments seen twice"),
            (self.tunnels, "packets in tunnels not decoded"),
            (self.fragments, "IP fragments not decoded"),
            (self.short, "packets captured too short (96 bytes of each are enough)"),
            (self.links, f"packets of a link type that is not known ({types})"),
        ):
            if count:
                parts.append(f"{count:,} {what}")
        return ", ".join(parts)


class Report:
    """Turns connections into lines to print, and counts them.

    form: None: ladders, and by itself lines or only the summary when there are too many.
    dated: with the date. facts: returns what this host knows of a connection. hides_open: text and
    lines leave out those of which there is nothing to say but that they are open.
    """

    def __init__(
        self,
        form: Form | None = None,
        part: Part = "all",
        *,
        dated: bool = False,
        facts: Callable[[Connection, Verdict], Facts] = no_facts,
        hides_open: bool = False,
    ) -> None:
        self.summary = Summary()
        self.shown = 0
        self._form: Form | Literal["summary"] = form or "text"
        self._adapts = form is None
        self._part = part
        self._dated = dated
        self._facts = facts
        self._hides_open = hides_open
        self._second = self._in_second = 0
        self._has_heading = False

    @property
    def is_summary(self) -> bool:
        """Whether only the summary is left to print."""
        return self._form == "summary"

    @property
    def needs_steps(self) -> bool:
        """Whether the steps of a connection are printed."""
        return self._form in {"text", "json"}

    def over(self, connection: Connection) -> list[str]:
        """Return the lines about a connection that is over, or at the end of the trace."""
        verdict = judge(connection)
        self.summary.add(connection, verdict)
        if self._part == "opens" and connection.opening_reported:
            return []
        return self._lines(connection, verdict)

    def meanwhile(self, connection: Connection) -> list[str]:
        """Return the lines about a connection that is still open."""
        return self._lines(connection, judge(connection))

    def end(self, segments: int, losses: Losses) -> list[str]:
        """Return the last lines."""
        if self._form == "json":
            return [json.dumps(self._end_document(segments, losses))]
        counted = (plural(self.summary.connections, "connection"), plural(segments, "segment"))
        return [*self._table(), f"{', '.join(counted)}; {losses.text()}"]

    def _table(self) -> Iterator[str]:
        if self._form == "tcpdump" or self.summary.connections < _FEWEST_FOR_A_TABLE:
            return
        table = self.summary.lines()
        if table:
            yield from ("", *table)

    def _end_document(self, segments: int, losses: Losses) -> TraceSummary:
        return {
            "type": "end",
            "connections": self.summary.connections,
            "segments": segments,
            "dropped_packets": losses.dropped,
            "repeated_segments": losses.repeated,
            "forgotten_connections": losses.forgotten,
            "not_decoded": {
                "tunnels": losses.tunnels,
                "fragments": losses.fragments,
                "short": losses.short,
                "unknown_links": losses.links,
            },
        }

    def _lines(self, connection: Connection, verdict: Verdict) -> list[str]:
        if not self._is_wanted(connection, verdict):
            return []
        self.shown += 1
        notice = self._adapt(connection)
        if self._form in {"summary", "tcpdump"}:
            return notice
        if self._form == "lines":
            return [*notice, *self._heading(), lines.line(connection, verdict, dated=self._dated)]
        facts = self._facts(connection, verdict)
        if self._form == "json":
            return [json.dumps(connection_document(connection, verdict, facts))]
        return self._text(connection, verdict, facts)

    def _is_wanted(self, connection: Connection, verdict: Verdict) -> bool:
        if self._part == "closes":
            return verdict.how in {"closed", "closing", "half_closed", "reset"}
        if verdict.how == "open" and self._part == "all":
            is_stuck = any(end.window == 0 for end in connection.ends)
            return is_stuck or not self._hides_open or self._form == "json"
        return True

    def _adapt(self, connection: Connection) -> list[str]:
        """Choose a shorter form when there are too many; returns what to say about that."""
        second = connection.last_at // _SECOND
        if second != self._second:
            self._second, self._in_second = second, 0
        self._in_second += 1
        if not self._adapts:
            return []
        if self._in_second > MOST_LINES and self._form != "summary":
            self._form = "summary"
            return [f"more than {MOST_LINES:,} connections a second: only the summary follows"]
        if self._in_second > MOST_LADDERS and self._form == "text":
            self._form = "lines"
            notice = f"more than {MOST_LADDERS} connections a second: a line for each"
            return [f"{notice} (--format text: all of each)"]
        return []

    def _heading(self) -> list[str]:
        if self._has_heading:
            return []
        self._has_heading = True
        return [lines.heading(dated=self._dated)]

    def _text(self, connection: Connection, verdict: Verdict, facts: Facts) -> list[str]:
        client, server = map(end_text, connection.names)
        time = clock_time(connection.first_at, dated=self._dated)
        zeek = f"[{verdict.conn_state} {connection.zeek_history}]"
        what, sentences = headline(connection, verdict), explanation(connection, verdict, facts)
        if self._part == "opens" and connection.established_at is not None:
            took = precisely(connection.established_at - connection.first_at)
            what, sentences = f"established in {took}", []
        about = f"{time}  {client} -> {server}  {what}  {zeek}"
        wrapped = [
            line
            for sentence in sentences
            for line in textwrap.wrap(
                sentence, _WIDTH, initial_indent="  ", subsequent_indent="    "
            )
        ]
        steps = _steps_of(connection, self._part)
        held = [f"  {holder}" for holder in holders(facts)]
        return [about, *ladder(connection, steps), *wrapped, *held, ""]


def _steps_of(connection: Connection, part: Part) -> list[Step] | None:
    if part == "all":
        return None
    at = next(
        (n for n, step in enumerate(connection.steps) if step.kind in {"FIN", "RST", "data"}),
        len(connection.steps),
    )
    if part == "opens":
        is_reset = at < len(connection.steps) and connection.steps[at].kind == "RST"
        return connection.steps[: at + is_reset]
    closing = (n for n, step in enumerate(connection.steps) if step.kind in {"FIN", "RST"})
    return connection.steps[next(closing, 0) :]
