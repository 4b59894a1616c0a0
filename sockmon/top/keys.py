"""What the reader has chosen to see, and how each key changes it: tables, and nothing else."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from sockmon.model.finding import FindingKey
from sockmon.text import one_line
from sockmon.top.lines import Line
from sockmon.top.scene import GROUPINGS, By, Scene

TOTAL = "TOTAL"

_FILTER_LONGEST = 60


@dataclass(frozen=True, slots=True)
class ViewState:
    """What is shown, and how.

    sort, reverse: a column's name, and whether its order is turned round.
    typing: the filter is being edited; before: what it was until then.
    held: the scene that is shown while frozen.
    netns: the namespace chosen, None for all.
    reading: the finding shown whole; `help` wins over it. Offsets are lines scrolled past.
    """

    by: By = "port"
    sort: str = TOTAL
    reverse: bool = False
    filter: str = ""
    typing: bool = False
    before: str = ""
    netns: str | None = None
    held: Scene | None = None
    reading: FindingKey | None = None
    help: bool = False
    offset: int = 0
    page_offset: int = 0
    quit: bool = False

    @property
    def on_page(self) -> bool:
        """Whether a page covers the table."""
        return self.help or self.reading is not None


@dataclass(frozen=True, slots=True)
class Layout:
    """What the last frame had room for, and offers: the ground on which keys act.

    columns: of the table, by name. namespaces: that can be chosen, in their order; none if there is
    but one. findings: as numbered. page, last: lines that scroll, and the offset of the last
    screenful.
    """

    columns: tuple[str, ...] = (TOTAL,)
    namespaces: tuple[str, ...] = ()
    findings: tuple[FindingKey, ...] = ()
    page: int = 1
    last: int = 0


@dataclass(frozen=True, slots=True)
class Frame:
    """Lines from top to bottom, and what keys act upon."""

    lines: tuple[Line, ...]
    layout: Layout = Layout()


Change = Callable[[ViewState, Scene, Layout], ViewState]


def press(state: ViewState, key: str, scene: Scene, layout: Layout) -> ViewState:
    """Return the state after a key: a printable character, or a key's name such as `escape`."""
    if state.typing and len(key) == 1:
        return typed(state, key)
    table = TYPING if state.typing else PAGE if state.on_page else TABLE
    change = table.get(key)
    return state if change is None else change(state, scene, layout)


def typed(state: ViewState, text: str) -> ViewState:
    """Return the state after text was typed or pasted: only a filter takes it."""
    if not state.typing:
        return state
    return replace(state, filter=(state.filter + one_line(text))[:_FILTER_LONGEST], offset=0)


def _next_sort(step: int) -> Change:
    def change(state: ViewState, _: Scene, layout: Layout) -> ViewState:
        columns = layout.columns
        at = columns.index(state.sort) if state.sort in columns else 0
        return replace(state, sort=columns[(at + step) % len(columns)], reverse=False, offset=0)

    return change


def _reverse(state: ViewState, _: Scene, __: Layout) -> ViewState:
    return replace(state, reverse=not state.reverse, offset=0)


def _group(state: ViewState, _: Scene, layout: Layout) -> ViewState:
    by = GROUPINGS[(GROUPINGS.index(state.by) + 1) % len(GROUPINGS)]
    if by == "netns" and not layout.namespaces:
        by = "owner"
    return replace(state, by=by, sort=TOTAL, reverse=False, offset=0)


def _next_netns(step: int) -> Change:
    """Go through the namespaces, and between the last and the first through all of them."""

    def change(state: ViewState, _: Scene, layout: Layout) -> ViewState:
        names = (None, *layout.namespaces)
        if state.netns not in names:
            return replace(state, netns=None, offset=0)
        at = (names.index(state.netns) + step) % len(names)
        # By namespace the one that is chosen stays in view.
        row = max(0, at - 1)
        first = min(max(state.offset, row - layout.page + 1), row) if state.by == "netns" else 0
        return replace(state, netns=names[at], offset=first)

    return change


def _enter(state: ViewState, scene: Scene, layout: Layout) -> ViewState:
    """Look into the namespace that is chosen, or else at the worst finding."""
    if state.by == "netns" and state.netns is not None:
        return replace(state, by="port", sort=TOTAL, reverse=False, offset=0, filter="")
    return _read(0)(state, scene, layout)


def _freeze(state: ViewState, scene: Scene, _: Layout) -> ViewState:
    return replace(state, held=scene if state.held is None else None)


def _type(state: ViewState, _: Scene, __: Layout) -> ViewState:
    return replace(state, typing=True, before=state.filter)


def _keep_filter(state: ViewState, _: Scene, __: Layout) -> ViewState:
    return replace(state, typing=False)


def _drop_filter(state: ViewState, _: Scene, __: Layout) -> ViewState:
    return replace(state, typing=False, filter=state.before, offset=0)


def _clear_filter(state: ViewState, _: Scene, __: Layout) -> ViewState:
    return replace(state, filter="", offset=0)


def _show_more(state: ViewState, scene: Scene, layout: Layout) -> ViewState:
    """Take back what narrows the view: the filter first, then the namespace."""
    if state.filter:
        return _clear_filter(state, scene, layout)
    return replace(state, netns=None, offset=0)


def _erase(state: ViewState, _: Scene, __: Layout) -> ViewState:
    return replace(state, filter=state.filter[:-1], offset=0)


def _read(number: int) -> Change:
    def change(state: ViewState, _: Scene, layout: Layout) -> ViewState:
        if number >= len(layout.findings):
            return state
        return replace(state, reading=layout.findings[number], help=False, page_offset=0)

    return change


def _next_finding(step: int) -> Change:
    def change(state: ViewState, _: Scene, layout: Layout) -> ViewState:
        found = layout.findings
        if not found or state.help:
            return state
        at = found.index(state.reading) + step if state.reading in found else 0
        return replace(state, reading=found[at % len(found)], page_offset=0)

    return change


def _help(state: ViewState, _: Scene, __: Layout) -> ViewState:
    return replace(state, help=not state.help, page_offset=0)


def _back(state: ViewState, _: Scene, __: Layout) -> ViewState:
    return replace(state, help=False, reading=None, page_offset=0)


def _quit(state: ViewState, _: Scene, __: Layout) -> ViewState:
    return replace(state, quit=True)


def _scroll(by: Callable[[Layout], int]) -> Change:
    def change(state: ViewState, _: Scene, layout: Layout) -> ViewState:
        at = min(state.page_offset if state.on_page else state.offset, layout.last)
        offset = max(0, min(at + by(layout), layout.last))
        if state.on_page:
            return replace(state, page_offset=offset)
        return replace(state, offset=offset)

    return change


_EVERYWHERE: Mapping[str, Change] = {
    "q": _quit,
    "ctrl+c": _quit,
    "?": _help,
    "h": _help,
    " ": _freeze,
    "up": _scroll(lambda _: -1),
    "down": _scroll(lambda _: 1),
    "pageup": _scroll(lambda layout: -layout.page),
    "pagedown": _scroll(lambda layout: layout.page),
    "home": _scroll(lambda layout: -layout.last),
    "end": _scroll(lambda layout: layout.last),
    **{str(number): _read(number - 1) for number in range(1, 10)},
}
#: The keys over the table.
TABLE: Mapping[str, Change] = {
    **_EVERYWHERE,
    "s": _next_sort(1),
    "S": _next_sort(-1),
    "right": _next_sort(1),
    "left": _next_sort(-1),
    "r": _reverse,
    "g": _group,
    "/": _type,
    "n": _next_netns(1),
    "p": _next_netns(-1),
    "escape": _show_more,
    "enter": _enter,
}
#: The keys over a finding or the help.
PAGE: Mapping[str, Change] = {
    **_EVERYWHERE,
    "escape": _back,
    "enter": _back,
    "backspace": _back,
    "n": _next_finding(1),
    "right": _next_finding(1),
    "p": _next_finding(-1),
    "left": _next_finding(-1),
}
#: The keys that are no text while the filter is typed.
TYPING: Mapping[str, Change] = {
    "ctrl+c": _quit,
    "enter": _keep_filter,
    "escape": _drop_filter,
    "backspace": _erase,
    "ctrl+u": _clear_filter,
}
