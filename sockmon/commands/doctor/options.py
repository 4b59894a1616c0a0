"""`sockmon doctor`: one diagnosis."""

import argparse
import sys
import time
from dataclasses import replace

from sockmon.commands.command import (
    COULD_NOT_LOOK,
    HOST_CONFIG,
    Command,
    OpenSource,
    UserError,
    add_color,
    add_config,
    choose_config,
    paint,
    writing,
)
from sockmon.commands.language_option import add_language, language
from sockmon.commands.namespaces_option import add_namespaces, in_namespaces
from sockmon.commands.replay_option import add_replay, config_of, replaying
from sockmon.kernel.errors import KernelError
from sockmon.kernel.netlink.source import KernelSource


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Poll twice, a second apart, ask this host's daemon too, and say what is wrong, who must "
        "act, and what to do. "
        "Exit status: 0 healthy, 1 warning, 2 critical, 3 could not look."
    )
    parser.add_argument(
        "--format",
        choices=("text", "json", "nagios"),
        default="text",
        dest="form",
        help="for people, for programs, or one line with performance data for monitoring plugins "
        "(default: text)",
    )
    parser.add_argument(
        "-v", "--verbose", action="store_true", help="each piece of evidence on a line of its own"
    )
    add_language(parser)
    add_color(parser)
    add_namespaces(parser, "the configuration's, else host")
    add_config(parser, HOST_CONFIG)
    add_replay(parser)


def _run(arguments: argparse.Namespace, open_source: OpenSource) -> int:
    from sockmon.commands.doctor import nagios  # noqa: PLC0415 - each command loads what it needs

    if arguments.form != "nagios":
        return _look(arguments, open_source)
    try:
        return _look(arguments, open_source)
    except (UserError, KernelError) as error:
        with writing():
            nagios.write_failure(error, sys.stdout)
        return COULD_NOT_LOOK


def _look(arguments: argparse.Namespace, open_source: OpenSource) -> int:
    from sockmon.client import local_daemon  # noqa: PLC0415 - as above
    from sockmon.clock import now  # noqa: PLC0415 - each command loads what it needs
    from sockmon.commands.doctor import doctor, nagios  # noqa: PLC0415 - as above

    lang = language(arguments)
    with replaying(arguments.replay) as playback:
        if playback is None:
            chosen = choose_config(arguments.config)
            is_this_host = open_source is KernelSource.live  # and no recording of another
            diagnosed = doctor.examine(
                open_source(lambda: False),
                replace(chosen, config=in_namespaces(chosen.config, arguments.namespaces)),
                now,
                time.sleep,
                ask=local_daemon.ask if is_this_host else local_daemon.no_daemon,
            )
        else:
            chosen = config_of(playback, arguments.config)
            diagnosed = doctor.examine(
                playback.open_source(lambda: False),
                chosen,
                playback.clock,
                playback.pause,
                pauses=playback.pauses() or (doctor.BETWEEN_POLLS_SECONDS,),
            )
    with writing():
        if arguments.form == "json":
            doctor.write_json(diagnosed, sys.stdout)
        elif arguments.form == "nagios":
            nagios.write(diagnosed, chosen.config.detect, sys.stdout)
        else:
            doctor.write_text(
                diagnosed, sys.stdout, paint(arguments), lang, verbose=arguments.verbose
            )
    return diagnosed.status


COMMAND = Command("doctor", "say what is wrong", _add_options, _run, COULD_NOT_LOOK)
