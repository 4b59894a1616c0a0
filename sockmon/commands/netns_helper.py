"""`sockmon netns-helper`: enters network namespaces for a daemon that may not."""

import argparse
import contextlib
import signal
import sys
from functools import partial
from pathlib import Path

from sockmon.commands import helper_options
from sockmon.commands.command import SUCCESS, Command, OpenSource, UserError

_UNIT = "sockmon-netns.socket"


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Find network namespaces, and open netlink sockets inside them, for the daemon whose "
        "poll.netns_helper_socket names the socket. It needs CAP_SYS_ADMIN and CAP_SYS_PTRACE; "
        "what it passes on can only be used to read sockets. Started by sockmon-netns.socket, it "
        "uses systemd's socket."
    )
    helper_options.add(parser)


def _run(arguments: argparse.Namespace, _: OpenSource) -> int:
    from sockmon.daemon import logs, systemd  # noqa: PLC0415 - each command loads what it needs
    from sockmon.kernel import listening as sockets  # noqa: PLC0415 - as above
    from sockmon.kernel.netns import discovery  # noqa: PLC0415 - as above
    from sockmon.kernel.netns.access import OwnAccess  # noqa: PLC0415 - as above
    from sockmon.kernel.netns.helper.server import Server  # noqa: PLC0415 - as above

    logs.set_up()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    user = helper_options.uid(arguments.user)
    proc = Path("/proc")
    access = OwnAccess(partial(discovery.scan, proc), proc)
    watchdog = systemd.watchdog_seconds()
    path = arguments.socket
    try:
        with (
            (
                sockets.made(path, user)
                if path
                else sockets.inherited(systemd.passed_sockets(), _UNIT)
            ) as listening,
            contextlib.closing(Server(listening, frozenset({0, user}), access)) as server,
        ):
            systemd.notify("READY=1")
            server.serve(partial(systemd.notify, "WATCHDOG=1"), watchdog / 3 if watchdog else None)
    except (sockets.ListenError, systemd.PassedSocketError) as error:
        raise UserError(str(error)) from error
    return SUCCESS


COMMAND = Command(
    "netns-helper", "enter network namespaces for an unprivileged daemon", _add_options, _run
)
