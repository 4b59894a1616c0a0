"""The table: rows by port, namespace, owner or peer, and their sockets by state."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from rich.cells import cell_len

from sockmon.client.snapshot import Row
from sockmon.model.finding import SEVERITIES, Finding, Severity
from sockmon.model.states import TcpState
from sockmon.text import one_line
from sockmon.top.keys import TOTAL, ViewState
from sockmon.top.lines import Glyphs, Line, Span, TextStyle, cut_amid, fitted, left, right
from sockmon.top.scene import Grouped, shortly

OTHER = "OTHER"
AGE = "AGE"

#: States as columns, the most telling first: as many as fit, the rest is OTHER.
_STATES = {
    "CLOSE_WAIT": TcpState.CLOSE_WAIT,
    "ESTAB": TcpState.ESTABLISHED,
    "TIME_WAIT": TcpState.TIME_WAIT,
    "FIN_WAIT2": TcpState.FIN_WAIT2,
    "SYN_SENT": TcpState.SYN_SENT,
    "SYN_RECV": TcpState.SYN_RECV,
    "LAST_ACK": TcpState.LAST_ACK,
    "FIN_WAIT1": TcpState.FIN_WAIT1,
    "CLOSING": TcpState.CLOSING,
    "LISTEN": TcpState.LISTEN,
    "CLOSE": TcpState.CLOSE,
}
_NUMBER = 7  # cells of 999,999
_MARK = 3
_FIXED = {"PORT": 5, "DIRECTION": 9}
_KEY_LEAST = 8
_NETNS_LEAST, _NETNS_MOST = 12, 16  # beside other names; cells of netns-4026531840
_ROOMY = 64
_KEY_SHARE = 0.45  # of the width, at most, for a column that has no width of its own
_MARKS: Mapping[TextStyle, str] = {"warning": " ! ", "critical": "!! ", "unknown": " ? "}


class _Column(NamedTuple):
    """One column: its name, its width without the gap behind it, and the state it counts."""

    name: str
    width: int
    state: TcpState | None = None


class _Blame(NamedTuple):
    """What the findings say of one row."""

    severity: Severity
    owners: str


class Table:
    """Rows chosen, sorted and laid out for a width; `hidden` ones do not match the filter."""

    def __init__(
        self, grouped: Grouped, findings: Iterable[Finding], state: ViewState, width: int
    ) -> None:
        self._width = width
        self._blamed = _blamed(grouped, findings)
        words = state.filter.lower().split()
        present = [row for row in grouped.rows if row.total]
        self.rows = [row for row in present if self._matches(row, words)]
        self.hidden = len(present) - len(self.rows)
        self._chosen = state.netns if grouped.by == "netns" else None
        self._keys = _key_columns(grouped.columns, self.rows, width)
        room = width - _MARK - sum(key.width + 1 for key in self._keys)
        self._counts = _count_columns(room, with_age=grouped.by == "netns" and width >= _ROOMY)
        self.sort = state.sort if state.sort in self.columns else TOTAL
        self.descending = (self.sort not in grouped.columns) != state.reverse
        self._sort()

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns, by any of which it can be sorted."""
        return tuple(column.name for column in (*self._keys, *self._counts))

    def head(self, glyphs: Glyphs) -> Line:
        """Return the line of the columns' names; an arrow is at the one sorted by."""
        arrow = glyphs.down if self.descending else glyphs.up
        spans = [Span(" " * _MARK)]
        for column in (*self._keys, *self._counts):
            if column.name != self.sort:
                spans += [Span(_placed(column, column.name), "title"), Span(" ")]
            else:
                text = f"{arrow}{column.name}" if _is_number(column) else f"{column.name}{arrow}"
                spans += [Span(_placed(column, text), "key"), Span(" ")]
        return fitted(spans, self._width)

    def line(self, row: Row, glyphs: Glyphs) -> Line:
        """Return one row's line."""
        blame = self._blamed.get(row.cells)
        ink: TextStyle = blame.severity if blame else "unknown" if row.degraded else "plain"
        chosen = row.cells[0] == self._chosen
        mark = _MARKS.get(ink, " " * _MARK)
        spans = [Span(f">{mark.strip():2}" if chosen else mark, ink)]
        for column, cell in zip(self._keys, row.cells, strict=True):
            spans += [Span(_placed(column, cell), ink), Span(" ")]
        for column in self._counts:
            count = self._count(row, column)
            shown = shortly(count) if column.name == AGE else number(count)
            text = shown if count else glyphs.zero
            spans += [Span(_placed(column, text), "plain" if count else "faint"), Span(" ")]
        line = fitted(spans, self._width)
        if not chosen:
            return line
        ground: TextStyle = "key" if ink == "plain" else ink
        return tuple(Span(span.text, ground, banner=True) for span in line)

    def _matches(self, row: Row, words: Iterable[str]) -> bool:
        blame = self._blamed.get(row.cells)
        texts = [text.lower() for text in (*row.cells, blame.owners if blame else "")]
        return all(any(word in text for text in texts) for word in words)

    def _sort(self) -> None:
        """By the chosen column; equals by their names, and what was folded together last."""
        self.rows.sort(key=lambda row: tuple(map(_natural, row.cells)))
        if self.sort in (key.name for key in self._keys):
            at = self.columns.index(self.sort)
            self.rows.sort(key=lambda row: _natural(row.cells[at]), reverse=self.descending)
        else:
            (column,) = (column for column in self._counts if column.name == self.sort)
            self.rows.sort(key=lambda row: self._count(row, column), reverse=self.descending)
        self.rows.sort(key=lambda row: row.cells[0] == "other")

    def _count(self, row: Row, column: _Column) -> int:
        if column.name == AGE:
            return round(row.age)
        if column.state is not None:
            return row.states[column.state]
        if column.name == TOTAL:
            return row.total
        return row.total - sum(row.states[c.state] for c in self._counts if c.state is not None)


def number(count: int) -> str:
    """Write a count in at most seven cells."""
    return f"{count:,}" if count < 1_000_000 else f"{count / 1e6:.2f}M"


def holder(finding: Finding) -> str:
    """Name who holds a finding's sockets as the table does, or nobody."""
    owner = finding.owner
    if owner is None:
        return ""
    if not owner.processes:
        return owner.unit or owner.label
    first, *others = owner.processes
    more = f" +{len(others)}" if others else ""
    return f"{first.name}[{first.pid}]{more}"


def _blamed(grouped: Grouped, findings: Iterable[Finding]) -> dict[tuple[str, ...], _Blame]:
    """What is said of which row; the worst, if there is more than one finding."""
    blamed: dict[tuple[str, ...], _Blame] = {}
    for finding in sorted(findings, key=lambda f: SEVERITIES.index(f.severity)):
        people = finding.owner.processes if finding.owner else ()
        names = [f"{one_line(process.name)}[{process.pid}]" for process in people]
        blame = _Blame(finding.severity, " ".join([*names, holder(finding)]))
        if grouped.by == "port" and finding.subject.port is not None:
            cells = str(finding.subject.port), str(finding.subject.direction), finding.netns
            blamed[cells[: len(grouped.columns)]] = blame
        elif grouped.by == "netns":
            blamed[(finding.netns,)] = blame
        elif grouped.by == "owner":
            blamed.update({(name,): blame for name in names})
    return blamed


def _key_columns(names: Sequence[str], rows: Sequence[Row], width: int) -> list[_Column]:
    columns = []
    for at, name in enumerate(names):
        longest = max((cell_len(one_line(row.cells[at])) for row in rows), default=0)
        most = int(width * _KEY_SHARE)
        if name == "NETNS" and len(names) > 1:
            most = _NETNS_MOST if width >= _ROOMY else _NETNS_LEAST
        columns.append(_Column(name, _FIXED.get(name) or max(_KEY_LEAST, min(longest, most))))
    return columns


def _count_columns(room: int, *, with_age: bool) -> list[_Column]:
    """TOTAL, and as many states as there is room for; OTHER if not all, and some fit beside it."""
    total, other = _Column(TOTAL, _NUMBER), _Column(OTHER, _NUMBER)
    first = [_Column(AGE, _NUMBER), total] if with_age else [total]
    states = [_Column(name, max(len(name) + 1, _NUMBER), state) for name, state in _STATES.items()]
    room -= sum(column.width + 1 for column in first)
    beside = _fitting(states, room - other.width - 1)
    every = _fitting(states, room)
    if len(every) == len(states) or len(beside) < 2:
        return [*first, *every]
    return [*first, *beside, other]


def _fitting(columns: Iterable[_Column], room: int) -> list[_Column]:
    fitting: list[_Column] = []
    for column in columns:
        room -= column.width + 1
        if room < 0:
            break
        fitting.append(column)
    return fitting


def _placed(column: _Column, text: str) -> str:
    if _is_number(column):
        return right(text, column.width)
    return left(cut_amid(text, column.width) if column.name == "NETNS" else text, column.width)


def _is_number(column: _Column) -> bool:
    return column.name not in ("DIRECTION", "NETNS", "OWNER", "PEER")


def _natural(text: str) -> tuple[tuple[bool, int, str], ...]:
    """An order in which 443 comes before 8080, and 10.0.0.9 before 10.0.0.10."""
    parts = re.findall(r"\d{1,18}|\D+", text, re.ASCII)
    return tuple((False, int(p), "") if p.isdecimal() else (True, 0, p) for p in parts)
