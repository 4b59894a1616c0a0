"""`sockmon netns-helper`: enters network namespaces for a daemon that may not."""

import argparse
import contextlib
import pwd
import signal
import sys
from functools import partial
from pathlib import Path

from sockmon.commands.command import SUCCESS, Command, OpenSource, UserError


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Find network namespaces, and open netlink sockets inside them, for the daemon whose "
        "poll.netns_helper_socket names the socket. It needs CAP_SYS_ADMIN and CAP_SYS_PTRACE; "
        "what it passes on can only be used to read sockets. Started by sockmon-netns.socket, it "
        "uses systemd's socket."
    )
    parser.add_argument(
        "--socket", metavar="FILE", type=Path, help="listen here, on a host without systemd"
    )
    parser.add_argument(
        "--user",
        metavar="USER",
        help="the user, by name or number, that may connect besides root: the daemon's",
    )


def _run(arguments: argparse.Namespace, _: OpenSource) -> int:
    from sockmon.daemon import logs, systemd  # noqa: PLC0415 - each command loads what it needs
    from sockmon.kernel.netns import discovery  # noqa: PLC0415 - as above
    from sockmon.kernel.netns.access import OwnAccess  # noqa: PLC0415 - as above
    from sockmon.kernel.netns.helper import listener  # noqa: PLC0415 - as above
    from sockmon.kernel.netns.helper.server import Server  # noqa: PLC0415 - as above

    logs.set_up()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    user = 0 if arguments.user is None else _uid(arguments.user)
    proc = Path("/proc")
    access = OwnAccess(partial(discovery.scan, proc), proc)
    watchdog = systemd.watchdog_seconds()
    path = arguments.socket
    try:
        with (
            (
                listener.made(path, user) if path else listener.inherited(systemd.passed_sockets())
            ) as listening,
            contextlib.closing(Server(listening, frozenset({0, user}), access)) as server,
        ):
            systemd.notify("READY=1")
            server.serve(partial(systemd.notify, "WATCHDOG=1"), watchdog / 3 if watchdog else None)
    except (listener.ListenError, systemd.PassedSocketError) as error:
        raise UserError(str(error)) from error
    return SUCCESS


def _uid(user: str) -> int:
    """Return the user's number; raises UserError."""
    if user.isascii() and user.isdecimal():
        return int(user)
    try:
        return pwd.getpwnam(user).pw_uid
    except KeyError as error:
        raise UserError(f"--user: there is no user {user}") from error


COMMAND = Command(
    "netns-helper", "enter network namespaces for an unprivileged daemon", _add_options, _run
)
