"""Lines for a terminal: every text made printable, none wider than it may be."""

from collections.abc import Iterable
from dataclasses import dataclass
from textwrap import wrap
from typing import Literal, NamedTuple

from rich.cells import cell_len, set_cell_size

from sockmon.text import one_line

#: What a text is, not how it looks: the terminal's side knows colours, or has none.
TextStyle = Literal[
    "plain", "faint", "bold", "title", "key", "well", "warning", "critical", "unknown"
]


class Span(NamedTuple):
    """A text in one ink; on a banner, the ink is the ground."""

    text: str
    ink: TextStyle = "plain"
    banner: bool = False


Line = tuple[Span, ...]


class Glyphs(NamedTuple):
    """Signs that not every terminal has; `sparks` from least to most."""

    sparks: str = "▁▂▃▄▅▆▇█"
    rule: str = "─"
    zero: str = "·"
    down: str = "▼"
    up: str = "▲"
    cursor: str = "▏"


@dataclass(frozen=True, slots=True)
class Size:
    """Room for lines, in cells."""

    width: int
    height: int


UNICODE = Glyphs()
ASCII = Glyphs(".:-=+*#@", "-", ".", "v", "^", "_")


def cut(text: str, width: int) -> str:
    """Make a text printable and at most `width` cells wide; an ellipsis tells that it was cut."""
    plain = one_line(text[: 4 * width + 4])  # what lies beyond would be cut in any case
    if cell_len(plain) <= width:
        return plain
    return set_cell_size(plain, width - 1).rstrip() + "…" if width > 0 else ""


def cut_amid(text: str, width: int) -> str:
    """Cut like cut(), but out of the middle: names that are alike differ at their ends."""
    plain = one_line(text)
    if cell_len(plain) <= width or width < 5:
        return cut(plain, width)
    head = (width - 1) // 3
    tail = plain[-(width - 1 - head) :]
    while cell_len(tail) > width - 1 - head:
        tail = tail[1:]
    return f"{set_cell_size(plain, head)}…{tail}"


def left(text: str, width: int) -> str:
    """Cut or fill to the width, the text on the left."""
    short = cut(text, width)
    return short + " " * (width - cell_len(short))


def right(text: str, width: int) -> str:
    """Cut or fill to the width, the text on the right."""
    short = cut(text, width)
    return " " * (width - cell_len(short)) + short


def fitted(spans: Iterable[Span], width: int) -> Line:
    """Put spans side by side until the width is used up."""
    line: list[Span] = []
    room = width
    for span in spans:
        short = cut(span.text, room)
        if short:
            line.append(span._replace(text=short))
        room -= cell_len(short)
    return tuple(line)


def spread(before: Iterable[Span], after: Iterable[Span], width: int) -> Line:
    """Put `before` on the left and `after` on the right; `before` gives way."""
    tail = fitted(after, width)
    room = width - line_width(tail)
    head = fitted(before, max(0, room - 1))
    return (*head, Span(" " * (room - line_width(head))), *tail)


def heading(title: str, hint: str, width: int, glyphs: Glyphs) -> Line:
    """A rule with a title on the left and a hint on the right."""
    before = Span(f"{glyphs.rule} {title} ", "title")
    after = Span(f" {hint} {glyphs.rule}" if hint else "", "faint")
    between = width - line_width((before, after))
    return fitted([before, Span(glyphs.rule * between, "faint"), after], width)


def wrapped(text: str, width: int, ink: TextStyle = "plain", indent: str = "") -> list[Line]:
    """Break a text into lines; what follows the first is indented."""
    rows = wrap(one_line(text), max(1, width), subsequent_indent=indent, break_on_hyphens=False)
    return [fitted([Span(row, ink)], width) for row in rows]


def line_width(line: Line) -> int:
    """Count the cells of a line."""
    return sum(cell_len(span.text) for span in line)


def plain_text(line: Line) -> str:
    """Return a line without its inks."""
    return "".join(span.text for span in line).rstrip()


def ascii_only(line: Line) -> Line:
    """Replace what a terminal without Unicode cannot show; no line grows by it."""
    return tuple(span._replace(text="".join(map(_ascii, span.text))) for span in line)


def _ascii(character: str) -> str:
    if character.isascii():
        return character
    return "~" if character == "…" else "?" * bool(cell_len(character))
