"""Scene and ViewState -> the lines of one frame. Knows neither the kernel nor the terminal."""

from datetime import UTC, datetime

from sockmon.top import pages
from sockmon.top.grouping import several
from sockmon.top.keys import Frame, Layout, ViewState
from sockmon.top.lines import UNICODE, Glyphs, Line, Size, Span, fitted, line_width, spread
from sockmon.top.overview import Overview
from sockmon.top.scene import Scene, Verdict, shortly, verdict


def frame(
    scene: Scene, state: ViewState, size: Size, now: float, glyphs: Glyphs = UNICODE
) -> Frame:
    """Draw what there is to see at `now` (monotonic seconds)."""
    shown = state.held or scene
    head = [_banner(scene, state, size.width, now), _status(scene, state, size.width, now)]
    room = Size(size.width, max(0, size.height - len(head) - 1))
    body = _body(shown, state, room, glyphs)
    lines = body.lines[: room.height]
    if state.held is None and not scene.is_live(now):
        lines = tuple(tuple(Span(span.text, "faint") for span in line) for line in lines)
    filled = (*head, *lines, *[()] * (room.height - len(lines)))
    foot = _footer(state, body.layout, size.width, glyphs)
    return Frame((*filled[: max(1, size.height - 1)], foot)[: size.height], body.layout)


def _body(shown: Scene, state: ViewState, room: Size, glyphs: Glyphs) -> Frame:
    sighting = shown.sighting
    if state.help:
        return pages.help_page(state, room, glyphs)
    if sighting is None:
        return Frame(())
    if state.reading is not None:
        return pages.finding_page(shown, sighting, state, room, glyphs)
    return Overview(shown, sighting, state, room, glyphs).frame()


def _banner(scene: Scene, state: ViewState, width: int, now: float) -> Line:
    """The verdict, across the whole width."""
    told = verdict(scene, now)
    if state.held is not None and state.held.sighting is not None:
        then = verdict(state.held, state.held.sighting.snapshot.at.monotonic)
        age = shortly(state.held.age(now))
        told = Verdict(then.level, f"FROZEN {age} ago", f"{then.word} {then.text}")
    line = fitted([Span(f" {told.word}  {told.text}", told.level, banner=True)], width)
    return (*line, Span(" " * (width - line_width(line)), told.level, banner=True))


def _status(scene: Scene, state: ViewState, width: int, now: float) -> Line:
    """Whose sockets, how many, and when."""
    shown = state.held or scene
    before = [Span(f" {shown.where}", "bold"), Span(f", every {shown.interval:g} s", "faint")]
    if shown.sighting is None:
        return fitted(before, width)
    snapshot = shown.sighting.snapshot
    if state.netns is not None:
        snapshot = snapshot.only(state.netns)
        before = [Span(f" {state.netns}", "key"), Span(" on"), *before]
    elif several(snapshot):
        before.insert(1, Span(f", {snapshot.netns} namespaces"))
    after = []
    if state.held is not None:
        told = verdict(scene, now)
        after.append(Span(f"now {told.word}  ", told.level))
    if snapshot.states is not None:
        after.append(Span(f"{sum(snapshot.states.value):,} sockets  "))
    clock = datetime.fromtimestamp(snapshot.at.wall, UTC).astimezone()
    is_live = state.held is None and scene.is_live(now)
    as_of = Span("" if is_live else "as of ", "bold")
    return spread(before, [*after, as_of, Span(f"{clock:%H:%M:%S} ")], width)


def _footer(state: ViewState, layout: Layout, width: int, glyphs: Glyphs) -> Line:
    """The keys that matter now, as many as there is room for."""
    if state.typing:
        spans = [Span(f" filter: {state.filter}{glyphs.cursor}", "bold")]
        return spread(
            spans, [Span("enter ", "key"), Span("keep  "), Span("esc ", "key"), Span("undo")], width
        )
    line: list[Span] = [Span(" ")]
    room = width - 1
    for key, does in _offers(state, layout):
        if len(key) + len(does) + 3 > room:
            break
        line += [Span(key, "key"), Span(f" {does}  ", "plain")]
        room -= len(key) + len(does) + 3
    return fitted(line, width)


def _offers(state: ViewState, layout: Layout) -> list[tuple[str, str]]:
    if state.on_page:
        others = [("n", "next"), ("p", "previous")] if len(layout.findings) > 1 else []
        return [("esc", "back"), ("q", "quit"), *others, ("up down", "scroll")]
    findings = [("1", "what to do")] if layout.findings else []
    kept = [("/", f"filter {state.filter!r}")] if state.filter else []
    return [
        *kept,
        ("q", "quit"),
        ("?", "help"),
        *findings,
        *([] if kept else [("/", "filter")]),
        *([("n", "namespace")] if layout.namespaces else []),
        ("g", "group"),
        ("s", "sort"),
        ("space", "thaw" if state.held else "freeze"),
        ("r", "reverse"),
    ]
