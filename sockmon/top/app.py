"""The view in a terminal: textual brings keys, sizes and a screen; what is drawn is pure."""

import asyncio
import os
import signal
import time
from collections.abc import Mapping
from types import FrameType

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.app import App, ComposeResult
from textual.geometry import Region
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from sockmon.client.snapshot import FetchError
from sockmon.top import keys
from sockmon.top.kernel_source import Source
from sockmon.top.keys import Layout, ViewState
from sockmon.top.lines import ASCII, Line, Size, Span, TextStyle, ascii_only
from sockmon.top.refresh import Feed, News
from sockmon.top.scene import Scene, Sighting
from sockmon.top.terminal import Terminal
from sockmon.top.view import frame

#: The sixteen colours of which every terminal has its own shades, on its own ground.
_COLOURS: Mapping[TextStyle, Style] = {
    "plain": Style(),
    "faint": Style(dim=True),
    "bold": Style(bold=True),
    "title": Style(color="cyan"),
    "key": Style(color="cyan", bold=True),
    "well": Style(color="green"),
    "warning": Style(color="yellow", bold=True),
    "critical": Style(color="red", bold=True),
    "unknown": Style(color="magenta", bold=True),
}
_BANNERS: Mapping[TextStyle, Style] = {
    "key": Style(color="black", bgcolor="cyan"),
    "well": Style(color="black", bgcolor="green", bold=True),
    "warning": Style(color="black", bgcolor="yellow", bold=True),
    "critical": Style(color="bright_white", bgcolor="red", bold=True),
    "unknown": Style(color="bright_white", bgcolor="magenta", bold=True),
}
_WITHOUT_COLOURS: Mapping[TextStyle, Style] = {
    ink: Style(bold=style.bold, dim=style.dim) for ink, style in _COLOURS.items()
}
_TICK_SECONDS = 1.0
#: A terminal that takes no output must not keep us from ending.
_END_WITHIN_SECONDS = 2


class Heard(Message):
    """What the feed's thread has to tell."""

    def __init__(self, news: News) -> None:
        super().__init__()
        self.news = news


class Screenful(Widget, can_focus=True):
    """Lines, of which only those that changed are written to the terminal."""

    DEFAULT_CSS = "Screenful { width: 1fr; height: 1fr; background: ansi_default; }"

    def __init__(self, *, colours: bool) -> None:
        super().__init__()
        self._colours = colours
        self._lines: tuple[Line, ...] = ()

    def show(self, lines: tuple[Line, ...]) -> None:
        """Show these instead."""
        before, self._lines = self._lines, lines
        changed = [y for y, line in enumerate(lines) if y >= len(before) or before[y] != line]
        if changed:
            self.refresh(*(Region(0, y, self.size.width, 1) for y in changed))

    def render_line(self, y: int) -> Strip:
        """Draw one line (textual's protocol)."""
        line = self._lines[y] if y < len(self._lines) else ()
        strip = Strip(Segment(span.text, self._style(span)) for span in line)
        return strip.adjust_cell_length(self.size.width)

    def _style(self, span: Span) -> Style:
        if not self._colours:
            return _WITHOUT_COLOURS[span.ink] + Style(reverse=span.banner)
        return (_BANNERS if span.banner else _COLOURS)[span.ink]


class Top(App[int]):
    """Connects the feed and the keys with the view."""

    TITLE = "sockmon top"
    CSS = "Screen { background: ansi_default; }"
    ENABLE_COMMAND_PALETTE = False
    ALLOW_SELECT = False

    def __init__(self, source: Source, interval: float | None, terminal: Terminal) -> None:
        super().__init__(ansi_color=True)
        self.animation_level = "none"
        self._terminal = terminal
        self._scene = Scene(source.where, interval)
        self._state = ViewState()
        self._layout = Layout()
        self._screenful = Screenful(colours=terminal.colours)
        self._feed = Feed(source, interval, self._hear)
        self._loop_here: asyncio.AbstractEventLoop | None = None

    def compose(self) -> ComposeResult:
        """Nothing but lines."""
        yield self._screenful

    def on_mount(self) -> None:
        """Begin."""
        self._loop_here = asyncio.get_running_loop()
        self._feed.start()
        self.set_interval(_TICK_SECONDS, self._tick)

    def on_unmount(self) -> None:
        """End."""
        self._feed.stop()

    def on_heard(self, message: Heard) -> None:
        """Take up what a look has brought."""
        news = message.news
        if isinstance(news, Sighting):
            self._scene = self._scene.saw(news)
        elif isinstance(news, FetchError):
            self._scene = self._scene.lost(str(news))
        else:
            raise news
        self._draw()

    def on_key(self, event: events.Key) -> None:
        """Change what is shown; no key is left to textual."""
        event.stop()
        event.prevent_default()
        if event.key == "ctrl+z":
            self.action_suspend_process()
            return
        key = event.character if event.is_printable and event.character else event.key
        self._become(keys.press(self._state, key, self._scene, self._layout))

    def on_paste(self, event: events.Paste) -> None:
        """Take pasted text for typed."""
        event.stop()
        self._become(keys.typed(self._state, event.text))

    def on_resize(self) -> None:
        """Draw for the new size."""
        self.call_after_refresh(self._draw)

    def end_soon(self, status: int) -> None:
        """End with this exit status; may be called at any moment."""
        if self._loop_here is None:
            raise SystemExit(status)
        self._loop_here.call_soon_threadsafe(self.exit, status)

    def _hear(self, news: News) -> None:
        """Pass on what the feed's thread delivers."""
        self.post_message(Heard(news))

    def _become(self, state: ViewState) -> None:
        self._state = state
        if state.quit:
            self.exit(0)
            return
        self._feed.group_by(state.by)
        self._draw()

    def _tick(self) -> None:
        """Let ages grow, where any is shown."""
        if self._state.held is not None or not self._scene.is_live(time.monotonic()):
            self._draw()

    def _draw(self) -> None:
        size = Size(self.size.width, self.size.height)
        drawn = frame(self._scene, self._state, size, time.monotonic(), self._terminal.glyphs)
        self._layout = drawn.layout
        lines = drawn.lines
        if self._terminal.glyphs is ASCII:
            lines = tuple(map(ascii_only, lines))
        self._screenful.show(lines)


def run(source: Source, interval: float | None, terminal: Terminal) -> int:
    """Show the view until its reader quits, or a signal ends it; returns the exit status."""
    app = Top(source, interval, terminal)

    def end(number: int, _: FrameType | None) -> None:
        signal.alarm(_END_WITHIN_SECONDS)
        app.end_soon(128 + number)

    for name in ("COLUMNS", "LINES"):
        os.environ.pop(name, None)  # they would count more than the terminal's size, for ever
    # Not the event loop's own handlers: it may be waiting for the terminal to take what it wrote.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    status = app.run(mouse=False)
    return (app.return_code or 0) if status is None else status
