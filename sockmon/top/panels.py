"""The parts of the view over the table: findings, states, limits."""

from collections.abc import Iterable, Sequence

from sockmon.client.snapshot import Level
from sockmon.model.counts import StateCounts
from sockmon.model.finding import Finding
from sockmon.model.names import HOST
from sockmon.model.states import TcpState
from sockmon.top.lines import Glyphs, Line, Span, TextStyle, fitted, left, right, spread, wrapped
from sockmon.top.scene import Scene, placed, shortly
from sockmon.top.table import holder, number
from sockmon.top.trend import Since, Trend

#: In the order of a connection's life.
_LIFE = (
    TcpState.LISTEN,
    TcpState.SYN_SENT,
    TcpState.SYN_RECV,
    TcpState.ESTABLISHED,
    TcpState.FIN_WAIT1,
    TcpState.FIN_WAIT2,
    TcpState.CLOSE_WAIT,
    TcpState.LAST_ACK,
    TcpState.CLOSING,
    TcpState.TIME_WAIT,
    TcpState.CLOSE,
)
_STATE_CELL = 38  # name, count and a sparkline worth the name
_NARROW = 64
_FULL_ENOUGH = 0.7  # of a limit, to be shown boldly


def findings(
    scene: Scene, found: Sequence[Finding], width: int, room: int, now: float, *, alone: bool
) -> list[Line]:
    """Tell of each finding, as much as there is room for.

    alone: they are all of one namespace, which need not be named.
    """
    heads = []
    for place, finding in enumerate(found, start=1):
        netns = "" if alone or finding.netns == HOST else f"{finding.netns} "
        heads.append(_headline(scene, place, finding, netns, width, now))
    texts = [wrapped(finding.summary, width - 2) for finding in found]
    whole = [[head, *map(_indented, text)] for head, text in zip(heads, texts, strict=True)]
    short = [
        [head, fitted([Span("  "), Span(finding.summary)], width)]
        for head, finding in zip(heads, found, strict=True)
    ]
    for told in (whole, short, [[head] for head in heads]):
        if sum(map(len, told)) <= room:
            return [line for lines in told for line in lines]
    if room == 1:
        press = f" {len(heads)} findings: press 1 to {min(len(heads), 9)}"
        return [fitted([Span(press, found[0].severity)], width)]
    left_out = len(heads) - room + 1
    return [*heads[: room - 1], fitted([Span(f"  and {left_out} more", "bold")], width)]


def _headline(
    scene: Scene, number: int, finding: Finding, netns: str, width: int, now: float
) -> Line:
    subject = finding.subject
    where = "" if subject.port is None else f"{subject.direction} {subject.port}"
    age = Span(lasting(scene, finding, now))
    if width < _NARROW:
        what = f"{number} {netns}{finding.detector} {where}"
        return spread([Span(what, finding.severity)], [age], width)
    return spread(
        [
            Span(f"{number} ", "key"),
            Span(left(finding.severity, 9), finding.severity),
            Span(left(finding.detector, 24), "bold"),
            Span(left(where, 15)),
            Span(netns, "bold"),
            Span(holder(finding)),
        ],
        [age],
        width,
    )


def lasting(scene: Scene, finding: Finding, now: float) -> str:
    """Say for how long a finding has been there: at least, if it was there from the first look."""
    since = scene.trend.since.get(finding.key, Since(now))
    return f"for {shortly(now - since.at)}{'+' if since.or_before else ''}"


def _indented(line: Line) -> Line:
    return (Span("  "), *line)


def states(
    counts: StateCounts, trend: Trend, interval: float, width: int, room: int, glyphs: Glyphs
) -> list[Line]:
    """Show every state with its past, side by side; if there is no room, those that have any."""
    across = min(4, width // _STATE_CELL)
    down = -(-len(_LIFE) // across) if across else room + 1
    if down > room:
        return _in_words(counts, width, min(room, 2))
    size = (width - 1) // across - 2
    spark = size - 21  # beside name and count
    past = trend.peaks(spark, interval)
    cells = [_state(state, counts, past, glyphs) for state in _LIFE]
    return [
        fitted([span for cell in cells[row::down] for span in (*cell, Span("  "))], width)
        for row in range(down)
    ]


def _state(
    state: TcpState, counts: StateCounts, past: Sequence[StateCounts | None], glyphs: Glyphs
) -> list[Span]:
    count = counts[state]
    history = [None if was is None else was[state] for was in past]
    ink: TextStyle = "plain" if count else "faint"
    return [
        Span(f" {left(state.label, 11)} ", ink),
        Span(right(number(count), 7), ink),
        Span(" "),
        Span(sparkline(history, glyphs), "well"),
    ]


def sparkline(values: Sequence[int | None], glyphs: Glyphs) -> str:
    """Draw values between the least and the most of them; zero, and what is not known, as blank.

    The whole height is at least a quarter of the most, so that a ripple looks like one.
    """
    known = [value for value in values if value is not None]
    least, most = min(known, default=0), max(known, default=0)
    height = max(most - least, most / 4)
    top = len(glyphs.sparks) - 1
    return "".join(
        glyphs.sparks[round(top * (value - least) / height)] if value else " " for value in values
    )


def _in_words(counts: StateCounts, width: int, room: int) -> list[Line]:
    """The states that have any, most first, as many as there is room for."""
    ranked = sorted((state for state in TcpState if counts[state]), key=lambda s: -counts[s])
    rows = [""]
    for word in [f"{number(counts[state])} {state.label}" for state in ranked]:
        if len(rows[-1]) + 2 + len(word) > width:
            rows.append("")
        rows[-1] += f"  {word}" if rows[-1] else f" {word}"
    return [fitted([Span(row)], width) for row in rows[:room]]


def limits(levels: Iterable[Level], width: int, *, alone: bool = False) -> Line:
    """Show what has a limit, the fullest first, as far as there is room.

    alone: they are all of one namespace, which need not be named.
    """
    line = [Span(" ")]
    room = width - 1
    for level in sorted(levels, key=_fullness, reverse=True):
        name = level.name if alone else placed(level.name, level.netns)
        text = f"{name} {number(level.used)}/{number(level.limit)}"
        if len(text) > room:
            break
        ink: TextStyle = "warning" if _fullness(level) >= _FULL_ENOUGH else "plain"
        line += [Span(text, ink), Span("   ")]
        room -= len(text) + 3
    return fitted(line, width)


def _fullness(level: Level) -> float:
    return level.used / level.limit if level.limit else float(level.used > 0)
