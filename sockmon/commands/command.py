"""What a command is, and what commands share: mistakes, options, output."""

import argparse
import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from sockmon.commands import colour
from sockmon.kernel.netlink.source import KernelSource

if TYPE_CHECKING:
    from sockmon.commands.config_choice import Chosen
    from sockmon.settings import Config

#: The daemon's, where packages and deploy/install.sh put it; doctor, top and drill use it too.
HOST_CONFIG = Path("/etc/sockmon/sockmon.yaml")

OpenSource = Callable[[Callable[[], bool]], KernelSource]

SUCCESS, FAILURE, USAGE = 0, 1, 2
COULD_NOT_LOOK = 3  # doctor's UNKNOWN, as monitoring plugins have it


@dataclass(frozen=True, slots=True)
class Command:
    """A subcommand. `run` takes the parsed options and returns the exit status.

    mistake: the exit status when the user's options or the kernel do not allow it to run.
    """

    name: str
    help: str
    add_options: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace, OpenSource], int]
    mistake: int = USAGE


class UserError(Exception):
    """Something the user can correct; each line of the text is printed on its own."""


class UsageError(Exception):
    """The command line itself is not valid."""


class OutputError(Exception):
    """Standard output cannot be written."""


@contextlib.contextmanager
def writing() -> Iterator[None]:
    """Distinguish a failure to write from any other OSError."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(error.strerror) from error


def discard_output() -> None:
    """Let Python's own flush at exit write to /dev/null."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def add_config(parser: argparse.ArgumentParser, default: Path | None = None) -> None:
    """Add --config; `default` is used without it, see choose_config()."""
    about = "configuration file (YAML)"
    if default is not None:
        about += f"; without it {default} if it can be read, else the defaults"
    parser.add_argument("--config", metavar="FILE", type=Path, help=about)


def load_config(path: Path | None) -> "Config":
    """Return the configuration in the file, or the defaults; raises UserError."""
    from sockmon import settings  # noqa: PLC0415 - each command loads what it needs
    from sockmon.config.load import ConfigError  # noqa: PLC0415 - as above

    try:
        return settings.Config() if path is None else for_caller(settings.load(path))
    except ConfigError as error:
        raise UserError(str(error)) from error


def choose_config(path: Path | None) -> "Chosen":
    """Return the configuration in the file, else this host's own, else the defaults.

    Raises UserError if the file that is named cannot be used.
    """
    from sockmon.commands import config_choice  # noqa: PLC0415 - as above
    from sockmon.config.load import ConfigError  # noqa: PLC0415 - each command loads what it needs

    try:
        chosen = config_choice.choose(path, HOST_CONFIG)
    except ConfigError as error:
        raise UserError(str(error)) from error
    return replace(chosen, config=for_caller(chosen.config))


def for_caller(config: "Config") -> "Config":
    """Leave out the daemon's helpers: commands run with the caller's privileges."""
    return replace(
        config,
        poll=replace(config.poll, netns_helper_socket=None),
        events=replace(config.events, enabled=False),
    )


def add_web_config(parser: argparse.ArgumentParser) -> None:
    """Add --web.config.file."""
    parser.add_argument(
        "--web.config.file",
        dest="web_config",
        metavar="FILE",
        default="",  # as in Prometheus' exporters, where an empty name means none
        help="TLS and authentication, in the form of Prometheus' exporter-toolkit",
    )


def add_color(parser: argparse.ArgumentParser) -> None:
    """Add --color."""
    parser.add_argument(
        "--color",
        choices=colour.COLOR_MODES,
        default="auto",
        help="colours: auto is on a terminal, unless NO_COLOR is set (default: auto)",
    )


def paint(arguments: argparse.Namespace) -> colour.Paint:
    """Return what colours standard output, or does not."""
    return colour.painter(arguments.color, sys.stdout.isatty(), os.environ)
