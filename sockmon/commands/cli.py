"""The command line: parses it, runs a command, and prints each mistake as one clear line."""

import argparse
import contextlib
import gc
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from sockmon import __version__, commands
from sockmon.commands.command import (
    SUCCESS,
    USAGE,
    Command,
    OpenSource,
    OutputError,
    UsageError,
    UserError,
    discard_output,
    writing,
)
from sockmon.commands.doctor import options as doctor
from sockmon.commands.language_option import language
from sockmon.kernel.errors import KernelError
from sockmon.kernel.netlink.source import KernelSource
from sockmon.language import Text, said
from sockmon.text import did_you_mean, one_line

#: What `sockmon` alone prints below doctor's answer.
_NEXT = Text(
    """
next:
  sockmon top              all of this, live
  sockmon explain WORDS    what a state, an error or a kernel's log line means
  sockmon --help           all commands""",
    """
接下来可以：
  sockmon top              实时查看
  sockmon explain WORDS    解释一个状态、报错或内核日志
  sockmon --help           全部命令""",
)


class _HelpFormatter(argparse.HelpFormatter):
    """As wide as the terminal. argparse's own imports shutil for that, at every option."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=_columns() - 2)


def _columns() -> int:
    """Return what shutil.get_terminal_size() does."""
    with contextlib.suppress(KeyError, ValueError):
        columns = int(os.environ["COLUMNS"])
        if columns > 0:
            return columns
    with contextlib.suppress(AttributeError, ValueError, OSError):
        return os.get_terminal_size(sys.__stdout__.fileno()).columns or 80  # type: ignore[union-attr]
    return 80


class _Parser(argparse.ArgumentParser):
    """Leaves it to main() how to print a mistake, and names the nearest correct word."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{self.prog}: {message} (see {self.prog} --help)")

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Refuse unknown options here, where it is known which command they were given to."""
        options = [name for action in self._actions for name in action.option_strings]
        first = args[0] if args else ""
        if self._subparsers and first.startswith("-") and first not in options:
            unknown = [first]  # argparse would first ask for a command
        else:
            parsed, unknown = super().parse_known_args(args, namespace)
        if unknown:
            suggestion = did_you_mean(unknown[0].partition("=")[0], options)
            words = " ".join(one_line(word, 100) for word in unknown)
            self.error(f"unrecognized arguments: {words}{suggestion}")
        return parsed, unknown

    def _check_value(self, action: argparse.Action, value: object) -> None:
        """Check one of several choices (argparse's own hook, which lists them without commas)."""
        if action.choices is not None and value not in action.choices:
            choices = [str(choice) for choice in action.choices]
            shown = one_line(str(value), 100)
            raise argparse.ArgumentError(
                action, f"{shown!r} is none of {', '.join(choices)}{did_you_mean(shown, choices)}"
            )


def entry_point() -> NoReturn:
    """Run as the `sockmon` command."""
    status = main(sys.argv[1:])
    gc.freeze()  # the interpreter's last garbage collection then takes 10 ms less
    sys.exit(status)


def main(argv: Sequence[str], open_source: OpenSource = KernelSource.live) -> int:
    """Run one command over a kernel, or a recording of one; returns the exit status."""
    if sys.stdout is None:  # closed by the caller: sockmon count >&-
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115 - for the process's life
    bare = not argv and sys.stdout.isatty()
    if bare:
        argv = [doctor.COMMAND.name]
    command = next((c for c in commands.ALL if [c.name] == list(argv[:1])), None)
    mistake = USAGE if command is None else command.mistake
    try:
        arguments = build_parser(command).parse_args(argv)
        status: int = arguments.run(arguments, open_source)
        if bare:
            with writing():
                print(said(_NEXT, language(arguments)))
        with writing():
            sys.stdout.flush()
    except UsageError as error:
        print(error, file=sys.stderr)
        return mistake
    except (UserError, KernelError) as error:
        for line in str(error).splitlines():
            print(f"sockmon: {line}", file=sys.stderr)
        return mistake
    except OutputError as error:
        print(f"sockmon: cannot write the answer: {error}", file=sys.stderr)
        discard_output()
        return mistake
    except BrokenPipeError:
        # The reader has gone, as in `sockmon count | head -1`: there is nothing to print or flush.
        discard_output()
        return SUCCESS if mistake == USAGE else mistake  # nobody has read doctor's verdict
    except KeyboardInterrupt:
        return 130
    return status


def build_parser(only: Command | None = None) -> argparse.ArgumentParser:
    """Return the parser; shell completions and the manual page are generated from it too.

    only: the one command that it has to know: all of them cost more time than a small poll.
    """
    parser = _Parser(
        prog="sockmon",
        description="Watches this host's TCP sockets: counts, leaks, and who must act.",
        formatter_class=_HelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"sockmon {__version__}")
    added = parser.add_subparsers(
        prog="sockmon", metavar="COMMAND", required=True, parser_class=_Parser
    )
    for command in commands.ALL if only is None else (only,):
        its = added.add_parser(
            command.name, help=command.help, formatter_class=_HelpFormatter, allow_abbrev=False
        )
        command.add_options(its)
        its.set_defaults(run=command.run)
    return parser
