"""What covers the table when asked for: one finding whole, and the help."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from textwrap import wrap

from sockmon.alert.labels import alert_name, runbook_url
from sockmon.detect.finding_text import sentences
from sockmon.model.finding import Finding
from sockmon.top.keys import Frame, Layout, ViewState
from sockmon.top.lines import Glyphs, Line, Size, Span, TextStyle, fitted, heading
from sockmon.top.panels import lasting
from sockmon.top.scene import Scene, Sighting

#: The keys by what they do.
HELP = (
    ("1-9", "show a finding whole: what to do, and what it is known by"),
    ("n p", "there: the next finding, the previous one (also right, left)"),
    ("esc", "back; over the table: drop the filter, then the choice of a namespace"),
    ("g", "group by port, by network namespace, by owner, by peer"),
    ("n p", "over the table: the next namespace alone, the previous one; enter: its ports"),
    ("/", "filter: rows that contain every word; enter keeps it, esc does not"),
    ("s S", "sort by the next column, the previous one (also right, left)"),
    ("r", "reverse the order"),
    ("space", "freeze what is shown; again: go on"),
    ("up down", "scroll (also page up, page down, home, end)"),
    ("q", "quit (also ctrl+c)"),
)
_NOTES = (
    (
        "A port is the listener's for connections that came in (direction inbound), the remote one "
        "for those this host made (direction outbound). Every socket is counted once."
    ),
    "Rows with ! or !! are what a finding of severity warning or critical is about.",
    "Other network namespaces than the host's own take poll.namespaces: all, or --namespaces all.",
    (
        "Rows with ? are of a namespace seen from outside: counted, not diagnosed. AGE: how long "
        "before the last poll a namespace was read, when not in that."
    ),
    "A sparkline runs from the least to the most that a state had in the time shown.",
    "for 2m+: the finding is older than this view.",
    "owner -: the kernel alone holds it (TIME_WAIT), or the process is hidden from this user.",
)
_INKS: dict[str, TextStyle] = {
    "summary": "bold",
    "purpose": "bold",
    "advice": "plain",
    "command": "key",
    "fact": "plain",
}


def finding_page(
    shown: Scene, sighting: Sighting, state: ViewState, room: Size, glyphs: Glyphs
) -> Frame:
    """Tell the whole of the finding that is read, wherever it stands by now."""
    part = sighting.snapshot.findings
    found = {finding.key: finding for finding in (part.value if part else ())}
    layout = Layout(findings=tuple(found))
    finding = found.get(state.reading) if state.reading else None
    if finding is None:
        gone = [fitted([Span(" This finding has gone.", "bold")], room.width)]
        return _page("FINDING", gone, state, room, glyphs, layout)
    title = f"FINDING {layout.findings.index(finding.key) + 1} of {len(found)}"
    told = _told(finding, lasting(shown, finding, sighting.snapshot.at.monotonic), room.width)
    return _page(title, list(told), state, room, glyphs, layout)


def help_page(state: ViewState, room: Size, glyphs: Glyphs) -> Frame:
    """Tell what the keys do, and how to read what is shown."""
    lines: list[Line] = []
    for keys, text in HELP:
        lead = f" {keys.ljust(9)}"
        first, *others = _rows(text, lead, room.width)
        rows = [(Span(lead, "key"), Span(first[len(lead) :])), *((Span(row),) for row in others)]
        lines += [fitted(row, room.width) for row in rows]
    for note in _NOTES:
        lines += [(), *(fitted([Span(row)], room.width) for row in _rows(note, " ", room.width))]
    return _page("HELP", lines, state, room, glyphs, Layout())


def _told(finding: Finding, since: str, width: int) -> Iterator[Line]:
    """What to do comes before what it is known by."""
    told = list(sentences(finding))
    for sentence in told:
        if sentence.kind == "heading":
            yield fitted([Span(f" {sentence.text}", finding.severity), Span(f", {since}")], width)
    for sentence in told:
        if sentence.kind != "heading":
            for row in _rows(sentence.text, sentence.lead, width):
                yield fitted([Span(row, _INKS[sentence.kind])], width)
    yield ()
    for row in _rows(runbook_url(alert_name(finding.detector)), " ", width):
        yield fitted([Span(row, "key")], width)


def _rows(text: str, lead: str, width: int) -> list[str]:
    return wrap(
        text, max(width, len(lead) + 8), initial_indent=lead, subsequent_indent=" " * len(lead),
        break_on_hyphens=False,
    )  # fmt: skip


def _page(
    title: str, lines: Sequence[Line], state: ViewState, room: Size, glyphs: Glyphs, layout: Layout
) -> Frame:
    """Show as many lines as there is room for, from where the reader has scrolled to."""
    height = max(1, room.height - 1)
    last = max(0, len(lines) - height)
    first = min(state.page_offset, last)
    hint = f"lines {first + 1} to {first + height} of {len(lines)}" if last else ""
    rule = heading(title, hint, room.width, glyphs)
    return Frame((rule, *lines[first : first + height]), replace(layout, page=height, last=last))
