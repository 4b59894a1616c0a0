"""Options of the privileged helpers."""

import argparse
import pwd
from pathlib import Path

from sockmon.commands.command import UserError
from sockmon.text import one_line

#: chown(2) takes this for "nobody else"; user numbers have 32 bits.
_NOBODYS, _DIGITS = (1 << 32) - 1, 10


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
        number = int(user[:_DIGITS])
        if len(user) > _DIGITS or number >= _NOBODYS:
            raise UserError(f"--user: {one_line(user, 20)} is no user's number: it is too high")
        return number
    try:
        return pwd.getpwnam(user).pw_uid
    except KeyError as error:
        raise UserError(f"--user: there is no user {user}") from error
