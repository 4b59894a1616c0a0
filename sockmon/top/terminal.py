"""What this terminal can do: move its cursor, show colours, show more than ASCII."""

import curses
import os
import sys
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Terminal:
    """moves: its cursor can be put anywhere; if not, frames can only follow each other."""

    moves: bool
    colours: bool
    unicode: bool


def find_out() -> Terminal:
    """Ask the environment and terminfo(5)."""
    colours, moves = _capabilities()
    utf8 = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    # The consoles that have no colours, and Linux's own, have no block elements either.
    has_blocks = utf8 and colours and os.environ.get("TERM") != "linux"
    return Terminal(moves, colours and not os.environ.get("NO_COLOR"), has_blocks)


def _capabilities() -> tuple[bool, bool]:
    try:
        curses.setupterm(fd=sys.stdout.fileno())
    except curses.error:
        return True, True  # newer than this host's terminfo, as a rule, and able to do all
    return curses.tigetnum("colors") >= 8, curses.tigetstr("cup") is not None
