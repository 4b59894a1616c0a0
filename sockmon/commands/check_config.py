"""`sockmon check-config`: every mistake in a file."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from sockmon.commands.command import (
    FAILURE,
    SUCCESS,
    Command,
    OpenSource,
    UsageError,
    add_web_config,
)


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.description = "Print every mistake in the files with its line; exit 0 or 1."
    parser.add_argument(
        "file", metavar="FILE", type=Path, nargs="?", help="configuration file (YAML)"
    )
    add_web_config(parser)


def _run(arguments: argparse.Namespace, _: OpenSource) -> int:
    from sockmon import settings  # noqa: PLC0415 - each command loads what it needs
    from sockmon.config.load import ConfigError  # noqa: PLC0415 - as above
    from sockmon.web.security.policy import PolicyFile  # noqa: PLC0415 - as above

    checks: list[tuple[Path, Callable[[Path], object]]] = []
    if arguments.file is not None:
        checks.append((arguments.file, settings.load))
    if arguments.web_config:
        checks.append((Path(arguments.web_config), PolicyFile))
    if not checks:
        raise UsageError("sockmon check-config: FILE or --web.config.file is required")
    status = SUCCESS
    for path, check in checks:
        try:
            check(path)
            print(f"{path}: ok")
        except ConfigError as error:
            print(error, file=sys.stderr)
            status = FAILURE
    return status


COMMAND = Command("check-config", "check a configuration file", _add_options, _run)
