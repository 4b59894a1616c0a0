"""`sockmon events-helper`: loads the program that counts connections, for a daemon that may not."""

import argparse
import signal
import sys

from sockmon.commands import helper_options
from sockmon.commands.command import SUCCESS, Command, OpenSource, UserError

_UNIT = "sockmon-events.socket"


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Load an eBPF program that counts how connections open, fail and close, and pass it to "
        "the daemon whose events.helper_socket names the socket. It needs CAP_BPF and "
        "CAP_PERFMON, and Linux 5.12. Started by sockmon-events.socket, it uses systemd's socket "
        "and ends when it has answered; with --socket it goes on."
    )
    helper_options.add(parser)


def _run(arguments: argparse.Namespace, _: OpenSource) -> int:
    from sockmon.daemon import logs, systemd  # noqa: PLC0415 - each command loads what it needs
    from sockmon.kernel import listening as sockets  # noqa: PLC0415 - as above
    from sockmon.kernel.events.helper.server import serve  # noqa: PLC0415 - as above
    from sockmon.kernel.events.loader import load  # noqa: PLC0415 - as above

    logs.set_up()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    users = frozenset({0, helper_options.uid(arguments.user)})
    path = arguments.socket
    try:
        with (
            sockets.made(path, max(users))
            if path
            else sockets.inherited(systemd.passed_sockets(), _UNIT)
        ) as listening:
            serve(listening, users, load, forever=path is not None)
    except (sockets.ListenError, systemd.PassedSocketError) as error:
        raise UserError(str(error)) from error
    return SUCCESS


COMMAND = Command(
    "events-helper", "load the program that counts connections, for a daemon", _add_options, _run
)
