"""`sockmon explain`: what an error, a state or a line of a log means."""

import argparse
import sys

from sockmon.commands.command import (
    FAILURE,
    SUCCESS,
    Command,
    OpenSource,
    writing,
)
from sockmon.commands.language_option import add_language, language
from sockmon.text import one_line


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Say what a state, an error, a line of the kernel's log or of netstat -s means, how to see "
        "it on this host, and which advice about it is wrong. WORDS may be a whole line of a log, "
        "or an errno. Without WORDS, list what is known. Exit status: 0 explained; 1 not known."
    )
    parser.add_argument("words", metavar="WORDS", nargs="*", help="in any spelling")
    add_language(parser)


def _run(arguments: argparse.Namespace, _: OpenSource) -> int:
    from sockmon.commands.explain import explain  # noqa: PLC0415 - each command loads what it needs

    words, lang = " ".join(arguments.words), language(arguments)
    if not words.strip():
        with writing():
            for entry in explain.ENTRIES:
                print(explain.heading(entry, lang))
        return SUCCESS
    found = explain.find(words)
    if not found:
        nearest = "; ".join(explain.nearest(words))
        hint = f"nearest: {nearest}" if nearest else "sockmon explain lists what it knows"
        print(f"sockmon: {one_line(words, 100)!r} is not known; {hint}", file=sys.stderr)
        return FAILURE
    with writing():
        print("\n\n".join("\n".join(explain.lines(entry, lang)) for entry in found))
    return SUCCESS


COMMAND = Command("explain", "say what an error or a state means", _add_options, _run)
