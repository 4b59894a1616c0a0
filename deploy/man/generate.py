"""Write sockmon.1 beside this script: sockmon.1.in with the commands of the parser put in.

python deploy/man/generate.py           # write it
python deploy/man/generate.py --check   # exit 1 if it is not current
"""  # noqa: INP001 - a script by itself, of no package

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from sockmon import __version__
from sockmon.commands.cli import build_parser

PAGE = Path(__file__).with_name("sockmon.1")
TEMPLATE = Path(__file__).with_name("sockmon.1.in")


def main() -> int:
    """Return the exit status."""
    parser = argparse.ArgumentParser(description="Write the manual page, or check it.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if not current")
    check = parser.parse_args().check
    text = page(TEMPLATE.read_text())
    if not check:
        PAGE.write_text(text)
    elif not PAGE.exists() or PAGE.read_text() != text:
        sys.stderr.write(f"{PAGE} is not current: run {Path(__file__).name}\n")
        return 1
    return 0


def page(template: str) -> str:
    """Return the page in man(7)."""
    commands = _commands(build_parser())
    return (
        template.replace("@VERSION@", __version__)
        .replace("@SYNOPSIS@", "\n.br\n".join(map(_synopsis, commands.values())))
        .replace(
            "@COMMANDS@", "\n".join(line for name in commands for line in _told(commands[name]))
        )
    )


def _commands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    for action in parser._actions:  # noqa: SLF001 - argparse has no other way to ask
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 - as above
            return dict(action.choices)
    raise ValueError("there are no commands")


def _synopsis(parser: argparse.ArgumentParser) -> str:
    words = ["[\\fIoption\\fR\\ .\\|.\\|.]"]
    for action in _arguments(parser):
        if not action.option_strings:
            value = " ".join(_value(action))
            words.append(f"[{value}]" if action.nargs == "?" else value)
    return f".B {_text(parser.prog)}\n{' '.join(words)}"


def _told(parser: argparse.ArgumentParser) -> Iterator[str]:
    """One command: its arguments, what it does, and each of its options."""
    yield f".SS {_text(parser.prog)}"
    yield _text(parser.description or "")
    for action in _arguments(parser):
        yield ".TP"
        yield " ".join([*(f"\\fB{_text(o)}\\fR" for o in action.option_strings), *_value(action)])
        yield _text(action.help or "")


def _arguments(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    return [action for action in parser._actions if action.dest != "help"]  # noqa: SLF001 - as above


def _value(action: argparse.Action) -> Iterator[str]:
    if action.metavar is not None:
        yield f"\\fI{_text(str(action.metavar))}\\fR"
    elif action.choices is not None:
        yield "|".join(f"\\fB{_text(str(choice))}\\fR" for choice in action.choices)
    elif action.nargs != 0:
        yield f"\\fI{_text(action.dest.upper())}\\fR"


def _text(text: str) -> str:
    """Escape what groff would take for itself, so that options can be copied from the page."""
    for mark, escape in (("\\", "\\e"), ("-", "\\-"), ("'", "\\(aq"), ('"', "\\(dq")):
        text = text.replace(mark, escape)
    return text if not text.startswith(".") else f"\\&{text}"


if __name__ == "__main__":
    sys.exit(main())
