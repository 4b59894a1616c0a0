"""textual's widgets, as the view fills them; what others chose to be called is never markup."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial
from itertools import repeat, takewhile
from typing import ClassVar

from rich.cells import cell_len
from rich.text import Text as RichText
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.coordinate import Coordinate
from textual.geometry import Size
from textual.widgets import DataTable, Input, OptionList, Sparkline, Static

from sockmon.language import Language, Text, said
from sockmon.top.lines import Line, TextStyle
from sockmon.top.overview import Overview, StateLine
from sockmon.top.table import NOTHING, ZERO, Column, Table, number
from sockmon.top.trend import highest

_STYLES: Mapping[TextStyle, str] = {
    "plain": "",
    "faint": "dim",
    "bold": "bold",
    "key": "bold cyan",
    "well": "green",
    "warning": "bold yellow",
    "critical": "bold red",
    "unknown": "bold magenta",
}
_FILTER_LONGEST = 60
_NO_CONTROL_CHARACTERS = r"[^\x00-\x1f\x7f-\x9f]*"


def put(widget: Static, lines: Iterable[Line], between: str = "\n") -> None:
    """Show lines, under each other or side by side; what is there already costs nothing."""
    text = RichText(between).join(RichText(line.text, _STYLES[line.style]) for line in lines)
    if widget.content != text:
        widget.update(text)


class States:
    """What one state has: its name and sockets, and its sparkline."""

    def __init__(self) -> None:
        self.text, self.past = Static(classes="state"), Sparkline()

    def show(self, line: StateLine | None) -> None:
        """Show this; nothing takes no room."""
        self.text.display = self.past.display = line is not None
        if line is None:
            return
        text = f"{line.state.name.ljust(12)}{number(line.sockets):>8}"
        put(self.text, [Line(text, "plain" if line.sockets else "faint")])
        if line.bars and self.past.data != line.bars:
            self.past.summary_function = partial(highest, line.bars[0], line.bars[1])
            self.past.data = line.bars


class Detail(VerticalScroll, can_focus=False):
    """The row that the cursor is on: below the states, or below the table where there is room."""

    def compose(self) -> ComposeResult:
        """Its text."""
        yield Static()

    @property
    def room(self) -> int:
        """Columns of text; 0 or less: it is not shown."""
        return self.size.width - 2

    def show(self, lines: Iterable[Line]) -> None:
        """Show these lines."""
        for text in self.query(Static):  # none before its widgets come, or after them
            put(text, lines)


class Findings(OptionList):
    """What is wrong, the worst first."""

    def show(self, shown: Overview, size: Size) -> None:
        """Show as much of each as a third of the screen takes; the cursor stays."""
        found = shown.findings
        room = size.height // 3 - (not self.screen.has_class("-low"))
        summaries = [shown.say(finding.summary) for finding in found]
        whole = sum(1 - (-cell_len(text) // max(1, size.width - 4)) for text in summaries) <= room
        heads_only = 2 * len(found) > room
        self.set_class(not whole, "-cut")
        prompts = []
        for at, finding in enumerate(found):
            number_ = f"{at + 1}/{len(found)} " if heads_only else f"{at + 1} "
            head = shown.head(finding)
            prompts.append(
                RichText.assemble((number_, _STYLES["key"]), (head.text, _STYLES[head.style]))
            )
            if not heads_only:
                prompts[-1].append(f"\n{summaries[at]}")
        if len(prompts) != self.option_count:
            self.set_options(prompts)
        for at, prompt in enumerate(prompts):
            if self.get_option_at_index(at).prompt != prompt:
                self.replace_option_prompt_at_index(at, prompt)


class Rows(DataTable[RichText]):
    """The table; of one that changes, only the cells that changed are drawn again."""

    def __init__(self) -> None:
        super().__init__(cursor_type="row", cell_padding=0)
        self._shown = NOTHING

    @property
    def key(self) -> tuple[str, ...] | None:
        """What names the row that the cursor is on."""
        rows = self._shown.rows
        return rows[self.cursor_row].key if 0 <= self.cursor_row < len(rows) else None

    def show(self, shown: Table) -> None:
        """Show this table; the cursor stays on its row."""
        key = self.key if self.cursor_row else None  # on the first, it stays on the first
        before, self._shown = self._shown, shown
        if shown.columns != before.columns:
            self.clear(columns=True)
            before = replace(before, rows=())
            names = takewhile(lambda column: not column.is_number, shown.columns)
            self.fixed_columns = len(list(names))
            for column in shown.columns:
                self.add_column(_cell(column.label, column, "plain"), width=column.width + 1)
        while self.row_count > len(shown.rows):
            self.remove_row(self.ordered_rows[-1].key)
        for at, row in enumerate(shown.rows):
            if at < self.row_count and before.rows[at] == row:
                continue
            cells = list(map(_cell, row.cells, shown.columns, repeat(row.style)))
            if at >= self.row_count:
                self.add_row(*cells)
                continue
            for column_at, cell in enumerate(cells):
                self.update_cell_at(Coordinate(at, column_at), cell)
        if key is not None:
            self.point_at(key)

    def point_at(self, key: tuple[str, ...]) -> None:
        """Move the cursor to this row, or to the first if it has gone."""
        keys = [row.key for row in self._shown.rows]
        at = keys.index(key) if key in keys else 0
        if at != self.cursor_row:
            self.move_cursor(row=at)


def _filter_bindings(language: Language) -> list[BindingType]:
    keep, undo = Text("keep", "保留"), Text("undo", "放弃")
    return [
        Binding("enter,tab", "submit", said(keep, language), key_display="enter"),
        Binding("escape", "undo", said(undo, language)),
    ]


class Filter(Input):
    """Where the filter is typed."""

    BINDINGS: ClassVar[list[BindingType]] = _filter_bindings("en")

    def __init__(self) -> None:
        super().__init__(
            compact=True,
            select_on_focus=False,
            restrict=_NO_CONTROL_CHARACTERS,
            max_length=_FILTER_LONGEST,
        )
        self._before = ""

    def begin(self, before: str) -> None:
        """Take keys."""
        self._before = self.value = before
        self.cursor_position = len(before)
        self.display = True
        self.screen.set_focus(self)  # at once: the next keys may be here already

    async def action_submit(self) -> None:
        """Take no more keys; the app keeps the filter."""
        self.display = False
        self.screen.set_focus(self.screen.query_one(Rows))

    async def action_undo(self) -> None:
        """Give back the filter from before."""
        self.value = self._before
        await self.action_submit()


class _ChineseFilter(Filter):
    BINDINGS: ClassVar[list[BindingType]] = _filter_bindings("zh")


FILTERS: Mapping[Language, type[Filter]] = {"en": Filter, "zh": _ChineseFilter}


def _cell(text: str, column: Column, style: TextStyle) -> RichText:
    if not column.is_number:
        return RichText(text, _STYLES[style])
    return RichText(text, "dim" if text == ZERO else "", justify="right")
