"""`sockmon run`: the daemon."""

import argparse
import signal
from pathlib import Path

from sockmon.commands.command import (
    SUCCESS,
    Command,
    OpenSource,
    UserError,
    add_config,
    add_web_config,
)


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.description = "Poll the kernel and serve what is found over HTTP."
    add_config(parser)
    parser.add_argument(
        "--web.listen-address",
        dest="listen_address",
        metavar="ADDR:PORT",
        help="serve here instead of where the configuration says",
    )
    add_web_config(parser)


def _run(arguments: argparse.Namespace, open_source: OpenSource) -> int:
    from sockmon.config.fields import ListenAddress  # noqa: PLC0415 - as above
    from sockmon.config.load import ConfigError  # noqa: PLC0415 - as above
    from sockmon.daemon import daemon, logs  # noqa: PLC0415 - each command loads what it needs
    from sockmon.web.server import ListenError  # noqa: PLC0415 - as above

    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until the daemon can reload
    logs.set_up()
    address = None
    if arguments.listen_address is not None:
        try:
            address = ListenAddress.parse(arguments.listen_address)
        except ValueError as error:
            raise UserError(f"--web.listen-address: {error}") from error
    web_config = Path(arguments.web_config) if arguments.web_config else None
    try:
        daemon.Daemon(
            lambda: daemon.load_settings(arguments.config, address), open_source, web_config
        ).run()
    except (ConfigError, ListenError) as error:
        raise UserError(str(error)) from error
    return SUCCESS


COMMAND = Command("run", "run the daemon", _add_options, _run)
