"""Printable text: what a line says and of what kind it is; the terminal's side knows colours."""

from typing import Literal, NamedTuple

from rich.cells import cell_len, set_cell_size

from sockmon.text import one_line

TextStyle = Literal["plain", "faint", "bold", "key", "well", "warning", "critical", "unknown"]


class Line(NamedTuple):
    """A printable text in one style."""

    text: str
    style: TextStyle = "plain"


def cut(text: str, width: int) -> str:
    """Make a text printable and at most `width` cells wide, cut out of its middle.

    Names that are alike, and process IDs, differ at their ends.
    """
    plain = one_line(text)
    if cell_len(plain) <= width:
        return plain
    head = (width - 1) // 3
    tail = plain[-(width - 1 - head) :]
    while cell_len(tail) > width - 1 - head:
        tail = tail[1:]
    return f"{set_cell_size(plain, head)}…{tail}"


def to_ascii(text: str) -> str:
    """Replace what a terminal without Unicode cannot show; the width stays."""
    return text if text.isascii() else "".join(map(_ascii, text))


_ASCII = dict(zip("▁▂▃▄▅▆▇█─▼▲·…", ".:-=+*#@-v^.~", strict=True))


def _ascii(character: str) -> str:
    if character.isascii():
        return character
    return _ASCII.get(character, "?" * cell_len(character))
