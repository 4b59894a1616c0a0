"""The view at rest: findings, states, limits and the table, one over the other."""

from collections.abc import Iterable, Mapping
from typing import Any

from sockmon.client.snapshot import Part
from sockmon.model.finding import Finding
from sockmon.model.moment import Timed
from sockmon.model.observation import STALE_AFTER_INTERVALS
from sockmon.top import panels
from sockmon.top.grouping import grouped, only, several
from sockmon.top.keys import Frame, Layout, ViewState
from sockmon.top.lines import Glyphs, Line, Size, Span, fitted, heading, wrapped
from sockmon.top.scene import By, Grouped, Scene, Sighting, shortly
from sockmon.top.table import Table
from sockmon.top.trend import Trend

_TITLES: Mapping[By, str] = {
    "port": "PORTS",
    "netns": "NAMESPACES",
    "owner": "OWNERS",
    "peer": "PEERS",
}
#: Below so many lines there is no room for headings.
_TIGHT = 16
#: The table keeps that many lines: its heading, its head and three rows.
_TABLE_LINES = 5
#: With so many rows in view, there is room to tell of limits too.
_ROWS_ENOUGH = 5
#: By namespace the table tells states too: below so many lines, the others tell them in few.
_ROOM_FOR_BOTH = 20
_IN_WORDS = 2


class Overview:
    """One frame's body: findings first; the table takes what the others leave."""

    def __init__(
        self, shown: Scene, sighting: Sighting, state: ViewState, size: Size, glyphs: Glyphs
    ) -> None:
        self._shown, self._sighting, self._state = shown, sighting, state
        self._width, self._height, self._glyphs = size.width, size.height, glyphs
        self._all, self._chosen = sighting.snapshot, state.netns
        self._snapshot = self._all if state.netns is None else self._all.only(state.netns)
        self._found = self._snapshot.findings.value if self._snapshot.findings else ()
        self._tight = size.height < _TIGHT
        self._lines: list[Line] = []

    def frame(self) -> Frame:
        """Put everything together, from top to bottom."""
        self._lines += self._notes()
        self._findings()
        self._states()
        layout = self._table()
        return Frame(tuple(self._lines), layout)

    @property
    def _left(self) -> int:
        """Lines that nobody has taken yet, but for those that the table keeps."""
        return self._height - len(self._lines) - _TABLE_LINES

    def _heading(self, title: str, hint: str = "") -> list[Line]:
        """A rule with a title, unless lines are scarce."""
        return [] if self._tight else [heading(title, hint, self._width, self._glyphs)]

    def _notes(self) -> list[Line]:
        """What could not be seen."""
        most = max(0, min(3, self._height // 6))
        notes = [Span(f" could not read: {f}", "unknown") for f in self._snapshot.failures]
        if self._chosen is not None and not self._snapshot.parts:
            notes.append(Span(f" netns {self._chosen} is not there", "unknown"))
        hints = [*self._snapshot.hints]
        if self._found or self._state.by == "owner":
            hints += self._sighting.hints
        lines = [fitted([note], self._width) for note in notes]
        for hint in () if self._found and self._tight else hints:
            # Beside what is wrong, what is not known can be short.
            whole = wrapped(hint, self._width - 1, "faint")
            short = [fitted([Span(f" {hint}", "faint")], self._width)]
            lines += short if self._found else [(Span(" "), *line) for line in whole]
        return lines[:most]

    def _findings(self) -> None:
        if not self._found:
            return
        its = [p.findings for p in self._parts if p.findings and p.findings.value]
        self._lines += self._heading(
            f"FINDINGS {len(self._found)}{self._old(its)}",
            "what to do: press its number",
        )
        room = max(1, min(self._left // 2, self._height // 3))
        at = self._snapshot.at.monotonic
        alone = self._chosen is not None
        self._lines += panels.findings(self._shown, self._found, self._width, room, at, alone=alone)

    def _states(self) -> None:
        # The past is that of all namespaces together.
        part, trend = self._snapshot.states, Trend() if self._chosen else self._shown.trend
        if part is None:
            return
        room = self._left - (not self._tight)
        if room < 1:
            return
        if self._state.by == "netns" and self._left < _ROOM_FOR_BOTH:
            room = min(room, _IN_WORDS)
        old = self._old(part.states for part in self._parts)
        hint = f"last {shortly(trend.window)}" if trend.samples and room > _IN_WORDS else ""
        self._lines += self._heading(f"STATES{old}", hint)
        self._lines += panels.states(
            part.value, trend, self._shown.interval, self._width, room, self._glyphs
        )
        if self._left > _ROWS_ENOUGH:
            alone = self._chosen is not None
            self._lines.append(panels.limits(self._snapshot.levels, self._width, alone=alone))

    def _table(self) -> Layout:
        by = self._state.by
        found = tuple(finding.key for finding in self._found)
        rows = self._grouped()
        if rows is None:
            wait = "thaw it to" if self._state.held else "asking the kernel, to"
            self._lines += self._heading(_TITLES[by])
            self._lines.append(fitted([Span(f" {wait} group by {by} ...", "bold")], self._width))
            return Layout(namespaces=self._namespaces(), findings=found)
        table = Table(rows, self._blaming(), self._state, self._width)
        body: list[Line] = [table.head(self._glyphs)]
        if rows.note:
            body += wrapped(f" {rows.note}", self._width, "faint", " ")[:3]
        room = max(0, self._height - len(self._lines) - len(body) - (not self._tight))
        last = max(0, len(table.rows) - room)
        first = min(self._state.offset, last)
        for row in table.rows[first : first + room]:
            body.append(table.line(row, self._glyphs))
        if not table.rows and (table.hidden or not rows.note):
            body.append(fitted([Span(self._why_empty(table), "bold")], self._width))
        scrolled = f"rows {first + 1} to {first + room} of {len(table.rows)}" if last else ""
        self._lines += self._heading(self._title(table), scrolled)
        self._lines += body
        return Layout(
            columns=table.columns,
            namespaces=self._namespaces(table),
            findings=found,
            page=max(1, room),
            last=last,
        )

    def _title(self, table: Table) -> str:
        by = self._state.by
        old = self._old(part.ports for part in self._parts) if by == "port" else ""
        shown = len(table.rows)
        of = f" of {shown + table.hidden}" if self._state.filter else ""
        return f"{_TITLES[by]} {shown}{of}{old}"

    def _why_empty(self, table: Table) -> str:
        if table.hidden:
            return f" none of {table.hidden} rows matches {self._state.filter!r}"
        return " no sockets"

    @property
    def _parts(self) -> tuple[Part, ...]:
        return self._snapshot.parts

    def _old(self, parts: Iterable[Timed[Any] | None]) -> str:
        """Say so when what is shown was not read in this poll, or some of it long before."""
        ages = [round(self._snapshot.age(part)) for part in parts if part is not None]
        if len(ages) == 1 and ages[0]:
            return f" as they were {shortly(ages[0])} ago"
        # Of many, some wait for their turn at any time.
        if max(ages, default=0) > STALE_AFTER_INTERVALS * self._snapshot.interval:
            return f", some as they were {shortly(max(ages))} ago"
        return ""

    def _grouped(self) -> Grouped | None:
        """Return the rows; None until they have been asked for."""
        by, asked = self._state.by, self._sighting.grouped
        rows = grouped(self._all, by) or (asked if asked.by == by else None)
        if rows is None or self._chosen is None or by == "netns":
            return rows
        return only(rows, self._chosen)

    def _blaming(self) -> Iterable[Finding]:
        """The findings that mark rows: among namespaces, those of all."""
        everywhere = self._all.findings
        if self._state.by == "netns" and everywhere is not None:
            return everywhere.value
        return self._found

    def _namespaces(self, table: Table | None = None) -> tuple[str, ...]:
        """Return what can be chosen: as the table has them, or those in trouble and the largest."""
        if not several(self._all):
            return ()
        if table is not None and self._state.by == "netns":
            return tuple(row.cells[0] for row in table.rows)
        troubled = (
            [finding.netns for finding in self._all.findings.value] if self._all.findings else []
        )
        sizes = {p.netns: sum(p.states.value) for p in self._all.parts if p.states}
        largest = sorted(sizes, key=lambda name: -sizes[name])
        return tuple(dict.fromkeys((*troubled, *largest)))
