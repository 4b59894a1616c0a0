"""The table: rows by port, namespace, owner or peer, and their sockets by state."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from rich.cells import cell_len

from sockmon.client.snapshot import Row
from sockmon.language import Language, Text, said
from sockmon.model.finding import Finding, Quantity
from sockmon.model.states import TcpState
from sockmon.text import natural_order, one_line
from sockmon.top.choice import TOTAL, ViewState
from sockmon.top.lines import TextStyle, cut
from sockmon.top.scene import Grouped, shortly

AGE = "AGE"
#: Of the findings about a row: who holds its sockets, and how old the oldest is.
OWNER, OLDEST = "OWNER", "OLDEST"
ZERO = "·"

#: What columns, and some of their cells, are called; states are called so in every language.
_NAMED: Mapping[str, Text] = {
    "PORT": Text("PORT", "端口"),
    "DIRECTION": Text("DIRECTION", "方向"),
    "NETNS": Text("NETNS", "命名空间"),
    "PEER": Text("PEER", "对端"),
    TOTAL: Text("TOTAL", "合计"),
    AGE: Text("AGE", "数据时间"),
    OWNER: Text("OWNER", "所属进程"),
    OLDEST: Text("OLDEST", "最久"),
    "inbound": Text("inbound", "入站"),
    "outbound": Text("outbound", "出站"),
    "other": Text("other", "其他"),
}

#: States in the order in which they are shown, the most telling first.
SHOWN_STATES = (
    TcpState.CLOSE_WAIT,
    TcpState.ESTABLISHED,
    TcpState.TIME_WAIT,
    TcpState.FIN_WAIT2,
    TcpState.SYN_SENT,
    TcpState.SYN_RECV,
    TcpState.LAST_ACK,
    TcpState.FIN_WAIT1,
    TcpState.CLOSING,
    TcpState.LISTEN,
    TcpState.CLOSE,
)
#: The table shows no more than the first so many rows: a filter or another order finds the rest.
MOST_ROWS = 500
_WIDE = 100  # columns of a terminal from which on there is room for more
_NUMBER = 7  # cells of 999,999
_NAME_LEAST = 12
_NAME_SHARE = 0.4  # of the width, at most, for the names
_PORT_AND_DIRECTION = 16
_MARKS: Mapping[TextStyle, str] = {"warning": "!", "critical": "!!", "unknown": "?"}


class Column(NamedTuple):
    """A column; `width` has room for its label and its cells."""

    name: str
    label: str
    width: int
    is_number: bool


class TableRow(NamedTuple):
    """One row: the cells of its `key` name it, `cells` has a text for each column."""

    key: tuple[str, ...]
    cells: tuple[str, ...]
    style: TextStyle


@dataclass(frozen=True, slots=True)
class Table:
    """Rows that match the filter, in order. `matching` is how many of `present` do."""

    columns: tuple[Column, ...]
    rows: tuple[TableRow, ...]
    matching: int
    present: int


NOTHING = Table((), (), 0, 0)


def table(grouped: Grouped, findings: Iterable[Finding], state: ViewState, width: int) -> Table:
    """Choose, sort and write the rows for a terminal of this width."""
    about = findings_by_row(grouped, findings)
    present = [row for row in grouped.rows if row.total]
    words = state.filter.lower().split()
    matching = [row for row in present if _matches(row, about.get(row.cells, ()), words)]
    counted = _counted(grouped, present, state.sort)
    sort = state.sort if state.sort in (*grouped.columns, *counted) else TOTAL
    descending = (sort not in grouped.columns) != state.reverse
    rows = _in_order(matching, grouped.columns, sort, descending=descending)[:MOST_ROWS]
    arrow = "▼" if descending else "▲"
    beside = _PORT_AND_DIRECTION if len(grouped.columns) > 1 else 0
    longest = max(_NAME_LEAST, int(width * _NAME_SHARE) - beside)
    more = _more(grouped, about, width)
    language = state.language
    written = [
        _written(row, about.get(row.cells, ()), counted, longest, more, language) for row in rows
    ]
    columns = [Column("", "", 2, is_number=False)]
    for at, name in enumerate((*grouped.columns, *counted, *more), start=1):
        title = called(name, language)
        label = f"{' ' * (name in more and name == OWNER)}{title}{arrow if name == sort else ''}"
        is_number = name in counted or name == OLDEST
        cells = max((cell_len(row.cells[at]) for row in written), default=0)
        wanted = max(cell_len(label), _NUMBER if is_number else cells)
        columns.append(Column(name, label, wanted, is_number))
    return Table(tuple(columns), tuple(written), len(matching), len(present))


def called(name: str, language: Language) -> str:
    """Return what a column is called, or a cell that is one of our own words."""
    return said(_NAMED.get(name, name), language)


def findings_by_row(
    grouped: Grouped, findings: Iterable[Finding]
) -> dict[tuple[str, ...], tuple[Finding, ...]]:
    """Say which findings are about which row, in their order."""
    about: dict[tuple[str, ...], tuple[Finding, ...]] = {}
    for finding in findings:
        subject = finding.subject
        rows: list[tuple[str, ...]] = []
        if grouped.by == "port" and subject.port is not None:
            cells = str(subject.port), str(subject.direction), finding.netns
            rows = [cells[: len(grouped.columns)]]
        elif grouped.by == "netns":
            rows = [(finding.netns,)]
        elif grouped.by == "owner":
            rows = [(name,) for name in _processes(finding)]
        for row in rows:
            about[row] = (*about.get(row, ()), finding)
    return about


def as_text(shown: Table, width: int) -> list[str]:
    """Write the table in lines, for a terminal on which nothing moves."""
    lines = []
    for cells in (tuple(column.label for column in shown.columns), *(r.cells for r in shown.rows)):
        line = ""
        for column, cell in zip(shown.columns, cells, strict=True):
            blank = " " * (column.width - cell_len(cell))
            line += f"{blank}{cell} " if column.is_number else f"{cell}{blank} "
        lines.append(line[:width].rstrip())
    return lines


def number(count: int) -> str:
    """Write a count in at most seven cells."""
    return f"{count:,}" if count < 1_000_000 else f"{count / 1e6:.2f}M"


def holder(finding: Finding) -> str:
    """Name who holds a finding's sockets as the table does, or nobody."""
    owner = finding.owner
    if owner is None:
        return ""
    if not owner.processes:
        return one_line(owner.unit or owner.label)
    first, *others = _processes(finding)
    return f"{first} +{len(others)}" if others else first


def _processes(finding: Finding) -> list[str]:
    people = finding.owner.processes if finding.owner else ()
    return [f"{one_line(process.name)}[{process.pid}]" for process in people]


def _matches(row: Row, about: Sequence[Finding], words: Iterable[str]) -> bool:
    texts = [*row.cells, *(name for f in about for name in (*_processes(f), holder(f)))]
    return all(any(word in text.lower() for text in texts) for word in words)


def _counted(grouped: Grouped, rows: Iterable[Row], sort: str) -> tuple[str, ...]:
    """The columns with numbers: of states, those that occur and the one it is sorted by."""
    occurring = [sum(counts) for counts in zip(*(row.states for row in rows), strict=True)]
    states = [s.name for s in SHOWN_STATES if s.name == sort or (occurring and occurring[s])]
    age = [AGE] if grouped.by == "netns" else []
    return (*age, TOTAL, *states)


def _more(
    grouped: Grouped, about: Mapping[tuple[str, ...], Sequence[Finding]], width: int
) -> tuple[str, ...]:
    """The columns that findings fill, where any does and there is room."""
    if grouped.by != "port" or width < _WIDE:
        return ()
    found = [finding for findings in about.values() for finding in findings]
    owned = [OWNER] * any(map(holder, found))
    return (*([OLDEST] * any(map(oldest, found))), *owned)


def oldest(finding: Finding) -> float:
    """Return how old the finding's oldest socket is, in seconds; 0: not known."""
    for name in ("oldest", "longest", "longest_wait"):
        value = finding.evidence.get(name)
        if isinstance(value, Quantity) and isinstance(value.value, int | float):
            return float(value.value)
    return 0.0


def _in_order(
    rows: Iterable[Row], names: Sequence[str], sort: str, *, descending: bool
) -> list[Row]:
    """By the chosen column; equals by their names, and what was folded together last."""
    ordered = sorted(rows, key=lambda row: tuple(map(natural_order, row.cells)))
    if sort in names:
        at = names.index(sort)
        ordered.sort(key=lambda row: natural_order(row.cells[at]), reverse=descending)
    else:
        ordered.sort(key=lambda row: _count(row, sort), reverse=descending)
    return sorted(ordered, key=lambda row: row.cells[0] == "other")


def _count(row: Row, column: str) -> int:
    if column == AGE:
        return round(row.age)
    return row.total if column == TOTAL else row.states[TcpState[column]]


def _written(
    row: Row,
    about: Sequence[Finding],
    counted: Iterable[str],
    longest: int,
    more: Iterable[str] = (),
    language: Language = "en",
) -> TableRow:
    style: TextStyle = "unknown" if row.degraded else "plain"
    if about:
        style = "critical" if any(f.severity == "critical" for f in about) else "warning"
    cells = [_MARKS.get(style, ""), *(cut(called(cell, language), longest) for cell in row.cells)]
    for column in counted:
        count = _count(row, column)
        cells.append((shortly(count) if column == AGE else number(count)) if count else ZERO)
    for column in more:
        if column == OWNER:
            name = cut(next(filter(None, map(holder, about)), ""), longest)
            cells.append(f" {name}")  # beside a number, which is at the right of its cell
        else:
            age = max(map(oldest, about), default=0.0)
            cells.append(shortly(age) if age else ZERO)
    return TableRow(row.cells, tuple(cells), style)
