"""`sockmon run`: the daemon."""

import argparse
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from sockmon.commands.command import (
    FAILURE,
    SUCCESS,
    Command,
    OpenSource,
    UserError,
    add_config,
    add_web_config,
)
from sockmon.commands.replay_option import add_replay, of_recording, replaying

if TYPE_CHECKING:
    from sockmon.settings import Config


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.description = "Poll the kernel and serve the results over HTTP."
    add_config(parser)
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--web.listen-address",
        dest="listen_addresses",
        metavar="ADDR:PORT",
        action="append",
        default=[],
        help="serve on this address instead of the configuration's; repeat it for more",
    )
    where.add_argument(
        "--web.systemd-socket",
        dest="systemd_socket",
        action="store_true",
        help="serve on the sockets that systemd passes (sockmon.socket) instead",
    )
    add_web_config(parser)
    add_replay(parser)


def _run(arguments: argparse.Namespace, open_source: OpenSource) -> int:
    from sockmon.config.fields import ListenAddress  # noqa: PLC0415 - as above
    from sockmon.config.load import ConfigError  # noqa: PLC0415 - as above
    from sockmon.daemon import daemon, logs, systemd  # noqa: PLC0415 - each command loads what it needs
    from sockmon.web.listeners import ListenError, PortInUseError  # noqa: PLC0415 - as above

    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until the daemon can reload
    logs.set_up()
    try:
        # The same address twice is one: systemd's drop-ins repeat options.
        addresses = tuple(dict.fromkeys(map(ListenAddress.parse, arguments.listen_addresses)))
    except ValueError as error:
        raise UserError(f"--web.listen-address: {error}") from error

    def load() -> "Config":
        settings = daemon.load_settings(arguments.config, addresses)
        return settings if playback is None else of_recording(settings, playback)

    web_config = Path(arguments.web_config) if arguments.web_config else None
    try:
        passed = systemd.passed_sockets() if arguments.systemd_socket else None
        with replaying(arguments.replay) as playback:
            if playback is not None:
                playback.play()
                open_source = playback.open_source
            daemon.Daemon(load, open_source, web_config, passed).run()
    except PortInUseError as error:
        print(f"sockmon: {error}", file=sys.stderr)
        return FAILURE  # unlike a mistake of the user's, so that systemd starts it again
    except (ConfigError, ListenError, systemd.PassedSocketError) as error:
        raise UserError(str(error)) from error
    return SUCCESS


COMMAND = Command("run", "run the daemon", _add_options, _run)
