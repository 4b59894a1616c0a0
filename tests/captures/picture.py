"""`python -m tests.captures.picture FILE`: `sockmon top` on the host `busy`, as SVG. Root.

Not a test: `make captures` runs it, and somebody looks at it.
"""

import io
import re
import sys
import time
from pathlib import Path

import pyte
from pyte.screens import Char
from rich.console import Console
from rich.style import Style
from rich.text import Text

from tests.captures.hosts import HOSTS
from tests.lab import states
from tests.terminal import Size, sockmon_top

SIZE: Size = (120, 24)

#: Connections that come and go, for sparklines to show something.
_BURSTS = (10, 40, 25, 60, 30)
_BURST_SECONDS = 5.0
_RICH_NAMES = {"brown": "yellow", "default": None}


def main(to: Path) -> None:
    """Take the picture."""
    with (
        HOSTS["busy"]() as host,
        sockmon_top(host.namespaces[""], "--interval", "1s", size=SIZE) as terminal,
    ):
        terminal.shows("WARNING", "close_wait_leak")
        for count in _BURSTS:
            with states.established(host.namespaces[""], count=count):
                time.sleep(_BURST_SECONDS)
        written = terminal.written
    to.write_text(svg(written))


def svg(written: bytes) -> str:
    """Draw what a terminal shows when this was written to it; it asks no other host for fonts."""
    screen = pyte.Screen(*SIZE)
    pyte.ByteStream(screen).feed(written)
    console = Console(width=SIZE[0], record=True, file=io.StringIO(), force_terminal=True)
    for line in range(SIZE[1]):
        row = [screen.buffer[line][column] for column in range(SIZE[0])]
        console.print(Text.assemble(*((cell.data, _style(cell)) for cell in row)))
    drawn = console.export_svg(title="sockmon top", unique_id="top")
    return re.sub(r"@font-face \{.*?\}", "", drawn, flags=re.DOTALL)


def _style(cell: Char) -> Style:
    return Style(
        color=_colour(cell.fg),
        bgcolor=_colour(cell.bg),
        bold=cell.bold,
        reverse=cell.reverse,
        underline=cell.underscore,
    )


def _colour(name: str) -> str | None:
    if re.fullmatch(r"[0-9a-f]{6}", name):
        return f"#{name}"
    return _RICH_NAMES.get(name, name.replace("bright", "bright_"))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
