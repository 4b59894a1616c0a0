"""The view in a terminal: the feed and the keys fill textual's widgets from an Overview."""

import asyncio
import os
import signal
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from types import FrameType
from typing import ClassVar

from rich.text import Text as RichText
from textual import on
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, Grid, Horizontal, Vertical, VerticalScroll
from textual.events import Event, InputEvent
from textual.filter import LineFilter
from textual.widgets import ContentSwitcher, DataTable, Footer, Input, OptionList, Static

from sockmon.client.snapshot import FetchError
from sockmon.language import Language, Text, said
from sockmon.top.choice import ViewState
from sockmon.top.kernel_source import Source
from sockmon.top.keys import KEYS
from sockmon.top.lines import Line
from sockmon.top.look import CSS, HEIGHTS, THEME, WIDTHS, AsciiFilter
from sockmon.top.overview import Overview
from sockmon.top.pages import details, page, to_copy
from sockmon.top.refresh import Feed, News
from sockmon.top.scene import Scene
from sockmon.top.table import SHOWN_STATES, number
from sockmon.top.terminal import Terminal
from sockmon.top.widgets import FILTERS, Detail, Filter, Findings, Rows, States, put

_TICK_SECONDS = 1.0
#: A terminal that takes no output must not keep us from ending.
_END_WITHIN_SECONDS = 5


def _bindings(language: Language) -> list[BindingType]:
    """Return the keys; those with priority act before the next key goes to a widget."""

    def shown(keys: str, action: str, label: Text, *, priority: bool = True) -> Binding:
        text = said(label, language)
        return Binding(keys, action, text, show=bool(text), priority=priority)

    return [
        shown("q", "quit", Text("quit", "退出"), priority=False),
        Binding("ctrl+c,ctrl+q", "quit", show=False, priority=True),
        Binding("ctrl+z", "suspend_process", show=False, priority=True),
        Binding("tab", "focus_next", show=False, priority=True),
        shown("slash", "filter", Text("filter", "筛选")),
        *(shown(key.names, f"press({at})", key.label) for at, key in enumerate(KEYS)),
        shown("y", "copy", Text("copy", "复制")),
        shown("plus,equals_sign", "interval(1)", Text("slower", "减慢")),
        shown("minus", "interval(-1)", Text("faster", "加快")),
    ]


class Top(App[int]):
    """Connects the feed and the keys with the widgets."""

    CSS = CSS
    HORIZONTAL_BREAKPOINTS = WIDTHS
    VERTICAL_BREAKPOINTS = HEIGHTS
    ENABLE_COMMAND_PALETTE = False
    ALLOW_SELECT = False
    BINDINGS: ClassVar[list[BindingType]] = _bindings("en")

    def __init__(
        self,
        source: Source,
        interval: float | None,
        terminal: Terminal,
        language: Language = "en",
    ) -> None:
        if not terminal.colours:
            os.environ["NO_COLOR"] = "1"
        super().__init__(ansi_color=True)
        self.register_theme(THEME)
        self.theme = THEME.name
        self.animation_level = "none"
        self._terminal = terminal
        self._scene = Scene(source.where, interval)
        self._state = ViewState(language=language)
        self._shown = self._overview()
        self._feed = Feed(source, interval, partial(self.call_later, self._take))
        self._offered: list[bool] = []
        self._loop_here: asyncio.AbstractEventLoop | None = None

    def get_line_filters(self) -> Sequence[LineFilter]:
        """What every line passes through (textual's protocol)."""
        filters = super().get_line_filters()
        return filters if self._terminal.unicode else [*filters, AsciiFilter()]

    def compose(self) -> ComposeResult:
        """From top to bottom."""
        self._states = {state: States() for state in SHOWN_STATES}
        yield Static(id="verdict")
        with Horizontal(id="status"):
            yield Static(id="where")
            yield Static(id="when")
        with ContentSwitcher(initial="overview"):
            with Vertical(id="overview"):
                yield Static(id="notes")
                yield Findings(id="findings", markup=False)
                with Container(id="body"):
                    with Vertical(id="states-pane"):
                        yield Static(id="words")
                        with Grid(id="states"):
                            for widgets in self._states.values():
                                yield widgets.text
                                yield widgets.past
                        yield Static(id="limits")
                        yield Detail(id="beside")
                    with Vertical(id="right"):
                        with Vertical(id="table-pane"):
                            yield Static(id="table-notes")
                            yield Rows()
                        yield Detail(id="below")
            with VerticalScroll(id="page"):
                yield Static(id="text")
        yield FILTERS[self._state.language]()
        yield Footer(compact=True)

    async def on_event(self, event: Event) -> None:
        """Drop what comes while the screens go: textual would look for one (textual's protocol)."""
        if self.screen_stack or not isinstance(event, InputEvent):
            await super().on_event(event)

    def on_mount(self) -> None:
        """Begin."""
        self._loop_here = asyncio.get_running_loop()
        self.screen.set_class(not self._terminal.unicode, "-ascii")
        self.query_one(Rows).focus()
        self._feed.start()
        self.set_interval(_TICK_SECONDS, self._tick)
        self._draw()

    def on_unmount(self) -> None:
        """End."""
        self._feed.stop()

    def on_resize(self) -> None:
        """Draw for the new size."""
        self.call_after_refresh(self._draw)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer a key where it does something (textual's protocol)."""
        if action in ("press", "filter", "interval", "focus_next", "copy") and self._is_typing:
            return False
        if action == "press":
            return KEYS[int(str(parameters[0]))].offered(self._state, self._shown)
        return action != "filter" or self._state.page is None

    def action_press(self, at: int) -> None:
        """Change what a key changes."""
        by, netns = self._state.by, self._state.netns
        self._become(KEYS[at].change(self._state, self._shown))
        if self._state.by != by:
            self.query_one(Rows).move_cursor(row=0)
        elif by == "netns" and self._state.netns not in (netns, None):
            self.query_one(Rows).point_at((str(self._state.netns),))

    def action_interval(self, step: int) -> None:
        """Look more or less often."""
        seconds = (self._scene.asked or self._scene.interval) * 2.0**step
        seconds = min(3600.0, max(0.1, seconds))
        self._scene = replace(self._scene, asked=seconds)
        self._feed.every(seconds)
        self._draw()

    def action_copy(self) -> None:
        """Give a command to the terminal's clipboard: OSC 52, which not every terminal takes."""
        text = to_copy(self._shown, self.query_one(Rows).key)
        if text is not None:
            self.copy_to_clipboard(text)
            self.notify(text, title=self._shown.say(Text("copied", "已复制")), markup=False)

    def action_filter(self) -> None:
        """Let the filter be typed."""
        self.query_one(Filter).begin(self._state.filter)

    @on(Input.Changed)
    def filter_typed(self, event: Input.Changed) -> None:
        """Filter by what is typed so far."""
        self._become(replace(self._state, filter=event.value))

    @on(DataTable.RowHighlighted)
    def row_pointed_at(self) -> None:
        """Show the row that the cursor is on beside the table."""
        self._draw_detail(self._shown)

    @on(DataTable.RowSelected)
    def row_entered(self) -> None:
        """Open the row that the cursor is on."""
        key = self.query_one(Rows).key
        if key is not None:
            self._become(self._state.entered(key))

    @on(OptionList.OptionSelected)
    def finding_entered(self, event: OptionList.OptionSelected) -> None:
        """Open a finding."""
        self._become(replace(self._state, page=self._shown.found[event.option_index]))

    def end_soon(self, status: int) -> None:
        """End with this exit status; may be called at any moment."""
        if self._loop_here is None:
            raise SystemExit(status)
        self._loop_here.call_soon_threadsafe(self.exit, status)

    @property
    def _is_typing(self) -> bool:
        return isinstance(self.focused, Filter)

    def _take(self, news: News) -> None:
        """Take up what a look has brought."""
        if isinstance(news, FetchError):
            self._scene = self._scene.lost(str(news))
        elif isinstance(news, BaseException):
            raise news
        else:
            self._scene = self._scene.saw(news)
        self._draw()

    def _become(self, state: ViewState) -> None:
        before, self._state = self._state, state
        self._feed.group_by(state.by)
        self._draw()
        if before.page == state.page:
            return
        covering = self.query_one("#page", VerticalScroll)
        covering.scroll_home(animate=False)
        self.query_one(ContentSwitcher).current = "page" if state.page else "overview"
        self.screen.set_focus(covering if state.page else self.query_one(Rows))

    def _tick(self) -> None:
        """Let ages grow, where any is shown."""
        if self._state.held is not None or not self._scene.is_live(time.monotonic()):
            self._draw()

    def _overview(self) -> Overview:
        return Overview(self._scene, self._state, time.monotonic(), self.size.width)

    def _draw(self) -> None:
        self._shown = shown = self._overview()
        if not self.query("#verdict"):  # news came before its widgets, or after them
            return
        self._static("#verdict", [Line(shown.verdict.text)])
        self.query_one("#verdict").set_classes(shown.verdict.style)
        self._static("#where", [shown.where])
        self._static("#when", [shown.when])
        self._static("#notes", shown.notes)
        self.query_one("#overview").set_class(not shown.live, "-stale")
        findings = self.query_one(Findings)
        findings.display = bool(shown.findings)
        findings.show(shown, self.size)
        self._draw_states(shown)
        self._static("#table-notes", shown.table_notes)
        self.query_one(Rows).show(shown.table)
        self._draw_detail(shown)
        title, lines = page(shown, self.size.width - 3)
        self._static("#text", lines)
        titles = {
            "#findings": shown.findings_title,
            "#states-pane": shown.states_title,
            "#table-pane": shown.table_title,
            "#page": title,
        }
        for selector, text in titles.items():
            self.query_one(selector).border_title = RichText(f" {text} ")
        offered = [self._is_typing, *(key.offered(self._state, shown) for key in KEYS)]
        if offered != self._offered:
            self._offered = offered
            self.refresh_bindings()

    def _draw_detail(self, shown: Overview) -> None:
        for pane in self.query(Detail):
            pane.border_title = RichText(f" {shown.say(Text('ROW', '当前行'))} ")
            if pane.room > 0:
                pane.show(details(shown, self.query_one(Rows).key, pane.room))

    def _draw_states(self, shown: Overview) -> None:
        occurring = {line.state: line for line in shown.states}
        limits = tuple(shown.limits)
        self.query_one("#states-pane").display = bool(occurring or limits)
        for state, widgets in self._states.items():
            widgets.show(occurring.get(state))
        ranked = sorted(occurring.values(), key=lambda line: -line.sockets)
        words = (Line(f"{number(line.sockets)} {line.state.name}") for line in ranked)
        put(self.query_one("#words", Static), words, "  ")
        between = "\n" if self.screen.has_class("-wide") else "   "
        put(self.query_one("#limits", Static), limits, between)

    def _static(self, selector: str, lines: Iterable[Line]) -> None:
        """Show lines; none take no room."""
        widget = self.query_one(selector, Static)
        put(widget, lines)
        widget.display = bool(widget.content)


class ChineseTop(Top, inherit_bindings=False):
    """The same with the names of its keys in Chinese: textual binds keys by class."""

    BINDINGS: ClassVar[list[BindingType]] = _bindings("zh")


def made(
    source: Source, interval: float | None, terminal: Terminal, language: Language = "en"
) -> Top:
    """Return the view in this language, English where the terminal shows ASCII only."""
    if not terminal.unicode:
        language = "en"
    kind = ChineseTop if language == "zh" else Top
    return kind(source, interval, terminal, language)


def run(source: Source, interval: float | None, terminal: Terminal, language: Language) -> int:
    """Show the view until its reader quits, or a signal ends it; returns the exit status."""
    app = made(source, interval, terminal, language)

    def end(sent: int, _: FrameType | None) -> None:
        signal.alarm(_END_WITHIN_SECONDS)
        app.end_soon(128 + sent)

    for name in ("COLUMNS", "LINES"):
        os.environ.pop(name, None)  # textual would prefer them to the terminal's size
    # Not the event loop's own handlers: it may be waiting for the terminal to take what it wrote.
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, end)
    status = app.run(mouse=False)
    return (app.return_code or 0) if status is None else status
