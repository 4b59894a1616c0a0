"""Colours for people at a terminal. A colour repeats what the words say, never more.

The sixteen colours of ECMA-48 (SGR); every terminal has its own shades of them.
"""

from collections.abc import Callable, Mapping
from typing import Literal, get_args

ColorMode = Literal["auto", "always", "never"]
COLOR_MODES: tuple[ColorMode, ...] = get_args(ColorMode)

#: What a text means, not how it looks.
Style = Literal["bold", "well", "warning", "critical", "unknown"]

#: Returns the text as it is to be written; widths are computed before.
Paint = Callable[[str, Style], str]

_SGR: Mapping[Style, str] = {
    "bold": "1",
    "well": "32",
    "warning": "1;33",
    "critical": "1;31",
    "unknown": "1;35",
}


def painter(mode: ColorMode, is_terminal: bool, environment: Mapping[str, str]) -> Paint:  # noqa: FBT001 - a fact, between two others
    """Return what colours text, or leaves it: by --color, else the environment, else the output.

    NO_COLOR (no-color.org) beats FORCE_COLOR and CLICOLOR_FORCE (bixense.com/clicolors), which
    beat TERM=dumb and CLICOLOR=0. An empty variable counts as unset.
    """
    return painted if _wanted(mode, is_terminal, environment) else plain


def _wanted(mode: ColorMode, is_terminal: bool, environment: Mapping[str, str]) -> bool:  # noqa: FBT001 - as above
    if mode != "auto":
        return mode == "always"
    if environment.get("NO_COLOR"):
        return False
    if any(
        environment.get(name, "") not in {"", "0"} for name in ("FORCE_COLOR", "CLICOLOR_FORCE")
    ):
        return True
    is_able = environment.get("TERM", "") not in {"", "dumb"} and environment.get("CLICOLOR") != "0"
    return is_terminal and is_able


def painted(text: str, style: Style) -> str:
    """Return the text in its colour."""
    return f"\x1b[{_SGR[style]}m{text}\x1b[0m"


def plain(text: str, _: Style) -> str:
    """Return the text as it is: for programs, files and pipes."""
    return text
