"""How each key changes what the reader sees: a table."""

from collections.abc import Callable
from dataclasses import replace
from typing import Literal, NamedTuple

from sockmon.language import Text
from sockmon.model.states import TcpState
from sockmon.top.choice import TOTAL, ViewState
from sockmon.top.overview import Overview
from sockmon.top.scene import GROUPINGS

#: Keys that sort by a column.
SORT_KEYS = {
    "e": TcpState.ESTABLISHED.name,
    "c": TcpState.CLOSE_WAIT.name,
    "t": TcpState.TIME_WAIT.name,
    "l": TcpState.LISTEN.name,
    "f": TcpState.FIN_WAIT2.name,
    "o": TOTAL,
}
Change = Callable[[ViewState, Overview], ViewState]


class Key(NamedTuple):
    """A key: its names, its label in the footer, what it changes, and where it is offered."""

    names: str
    label: Text
    change: Change
    offered: Callable[[ViewState, Overview], bool] = lambda _state, _shown: True


def _page(name: Literal["help", "events"]) -> Change:
    return lambda state, _: replace(state, page=None if state.page == name else name)


def _back(state: ViewState, _: Overview) -> ViewState:
    """Take back one thing: what covers the table, the filter, the choice of a namespace."""
    if state.page is not None:
        return replace(state, page=None)
    return replace(state, filter="") if state.filter else replace(state, netns=None)


def _finding(at: int) -> Change:
    def change(state: ViewState, shown: Overview) -> ViewState:
        return replace(state, page=shown.found[at]) if at < len(shown.found) else state

    return change


def _next(step: int) -> Change:
    """Go to the next finding if one is open; else choose the next namespace, or all of them."""

    def change(state: ViewState, shown: Overview) -> ViewState:
        if state.page is not None:
            found = list(shown.found)
            at = found.index(state.page) + step if state.page in found else 0
            return replace(state, page=found[at % len(found)]) if found else state
        choices = (None, *shown.namespaces)
        at = choices.index(state.netns) + step if state.netns in choices else 0
        return replace(state, netns=choices[at % len(choices)])

    return change


def _group(state: ViewState, shown: Overview) -> ViewState:
    """Group by the next thing; by namespace only if there are several."""
    by = GROUPINGS[(GROUPINGS.index(state.by) + 1) % len(GROUPINGS)]
    if by == "netns" and not shown.namespaces:
        by = "owner"
    return replace(state, by=by).sorted_by(TOTAL)


def _sort(column: str) -> Change:
    return lambda state, _: state.sorted_by(column)


def _next_sort(step: int) -> Change:
    def change(state: ViewState, shown: Overview) -> ViewState:
        columns = shown.columns or (TOTAL,)
        at = columns.index(state.sort) if state.sort in columns else 0
        return state.sorted_by(columns[(at + step) % len(columns)])

    return change


def _over_table(state: ViewState, _: Overview) -> bool:
    return state.page is None


def _several(state: ViewState, shown: Overview) -> bool:
    return bool(shown.namespaces if state.page is None else shown.found[1:])


def _is_counting(_: ViewState, shown: Overview) -> bool:
    return shown.is_counting


def _can_open(state: ViewState, shown: Overview) -> bool:
    return bool(shown.found) and state.page is None


def _freeze(state: ViewState, shown: Overview) -> ViewState:
    return replace(state, held=None if state.held else shown.scene)


def _reversed(state: ViewState, _: Overview) -> ViewState:
    return replace(state, reverse=not state.reverse)


_UNLABELLED = Text("")

KEYS = (
    Key("question_mark,h", Text("help", "帮助"), _page("help")),
    Key("escape", Text("back", "返回"), _back, lambda s, _: bool(s.page or s.filter or s.netns)),
    Key("1", Text("what to do", "怎么办"), _finding(0), _can_open),
    *(Key(str(number), _UNLABELLED, _finding(number - 1)) for number in range(1, 10)),
    Key("n", Text("next", "下一个"), _next(1), _several),
    Key("p", Text("previous", "上一个"), _next(-1), _several),
    Key("g", Text("group", "分组"), _group, _over_table),
    Key("b", Text("between polls", "采样之间"), _page("events"), _is_counting),
    Key("space", Text("freeze", "冻结"), _freeze),
    Key("s", Text("sort", "排序"), _next_sort(1), _over_table),
    Key("S", _UNLABELLED, _next_sort(-1), _over_table),
    *(Key(key, _UNLABELLED, _sort(column), _over_table) for key, column in SORT_KEYS.items()),
    Key("r", Text("reverse", "倒序"), _reversed, _over_table),
)
