"""Options of the privileged helpers."""

import argparse
import pwd
from pathlib import Path

from sockmon.commands.command import UserError


def add(parser: argparse.ArgumentParser) -> None:
    """Add --socket and --user."""
    parser.add_argument(
        "--socket", metavar="FILE", type=Path, help="listen here, on a host without systemd"
    )
    parser.add_argument(
        "--user",
        metavar="USER",
        help="the user, by name or number, that may connect besides root: the daemon's",
    )


def uid(user: str | None) -> int:
    """Return the number of --user, root's if it is not given; raises UserError."""
    if user is None:
        return 0
    if user.isascii() and user.isdecimal():
        return int(user)
    try:
        return pwd.getpwnam(user).pw_uid
    except KeyError as error:
        raise UserError(f"--user: there is no user {user}") from error
