"""The view at rest: findings, states, limits and the table, one over the other."""

from typing import Any

from sockmon.model.observation import Timed
from sockmon.ui.top import panels
from sockmon.ui.top.keys import Frame, Layout, ViewState
from sockmon.ui.top.lines import Glyphs, Line, Size, Span, fitted, heading, wrapped
from sockmon.ui.top.scene import Scene, Sighting, shortly
from sockmon.ui.top.table import Table

#: Below so many lines there is no room for headings.
_TIGHT = 16
#: The table keeps that many lines: its heading, its head and three rows.
_TABLE_LINES = 5
#: With so many rows in view, there is room to tell of limits too.
_ROWS_ENOUGH = 5


class Overview:
    """One frame's body: findings first; the table takes what the others leave."""

    def __init__(
        self, shown: Scene, sighting: Sighting, state: ViewState, size: Size, glyphs: Glyphs
    ) -> None:
        self._shown, self._sighting, self._state = shown, sighting, state
        self._width, self._height, self._glyphs = size.width, size.height, glyphs
        self._snapshot = sighting.snapshot
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
        if self._found or self._state.by == "owner":
            notes += [Span(f" {hint}", "faint") for hint in self._sighting.hints]
        return [fitted([note], self._width) for note in notes[:most]]

    def _findings(self) -> None:
        if not self._found:
            return
        self._lines += self._heading(
            f"FINDINGS {len(self._found)}{self._old(self._snapshot.findings)}",
            "what to do: press its number",
        )
        room = max(1, min(self._left // 2, self._height // 3))
        at = self._snapshot.at.monotonic
        self._lines += panels.findings(self._shown, self._found, self._width, room, at)

    def _states(self) -> None:
        part, trend = self._snapshot.states, self._shown.trend
        if part is None:
            return
        room = self._left - (not self._tight)
        if room < 1:
            return
        self._lines += self._heading(f"STATES{self._old(part)}", f"last {shortly(trend.window)}")
        self._lines += panels.states(
            part.value, trend, self._shown.interval, self._width, room, self._glyphs
        )
        if self._left > _ROWS_ENOUGH:
            self._lines.append(panels.limits(self._snapshot.levels, self._width))

    def _table(self) -> Layout:
        grouped, by = self._sighting.grouped, self._state.by
        if grouped.by != by:
            wait = "thaw it to" if self._state.held else "asking the kernel, to"
            self._lines += self._heading(f"{by.upper()}S")
            self._lines.append(fitted([Span(f" {wait} group by {by} ...", "bold")], self._width))
            return Layout(findings=tuple(finding.key for finding in self._found))
        table = Table(grouped, self._found, self._state, self._width)
        body: list[Line] = [table.head(self._glyphs)]
        if grouped.note:
            body += wrapped(f" {grouped.note}", self._width, "faint", " ")[:3]
        room = max(0, self._height - len(self._lines) - len(body) - (not self._tight))
        last = max(0, len(table.rows) - room)
        first = min(self._state.offset, last)
        for row in table.rows[first : first + room]:
            body.append(table.line(row, self._glyphs))
        if not table.rows:
            body.append(fitted([Span(self._why_empty(table), "bold")], self._width))
        scrolled = f"rows {first + 1} to {first + room} of {len(table.rows)}" if last else ""
        self._lines += self._heading(self._title(table), scrolled)
        self._lines += body
        return Layout(
            columns=table.columns,
            findings=tuple(finding.key for finding in self._found),
            page=max(1, room),
            last=last,
        )

    def _title(self, table: Table) -> str:
        by = self._state.by
        old = self._old(self._snapshot.ports) if by == "port" else ""
        shown = len(table.rows)
        of = f" of {shown + table.hidden}" if self._state.filter else ""
        return f"{by.upper()}S {shown}{of}{old}"

    def _why_empty(self, table: Table) -> str:
        if table.hidden:
            return f" none of {table.hidden} rows matches {self._state.filter!r}"
        return " no sockets"

    def _old(self, part: Timed[Any] | None) -> str:
        """Say so when a part could not be read in this poll."""
        if part is None or part.at == self._snapshot.at:
            return ""
        age = self._snapshot.at.monotonic - part.at.monotonic
        return f" as they were {shortly(age)} ago"
