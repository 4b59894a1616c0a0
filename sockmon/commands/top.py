"""`sockmon top`: the live view."""

import argparse

from sockmon.commands.command import (
    HOST_CONFIG,
    Command,
    OpenSource,
    UserError,
    add_config,
    choose_config,
)
from sockmon.commands.language_option import add_language, language
from sockmon.commands.namespaces_option import add_namespaces, in_namespaces
from sockmon.commands.replay_option import add_replay, config_of, replaying


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Show verdict, states, ports and findings, live: of this host's kernel, or of a daemon."
    )
    parser.add_argument("--url", metavar="URL", help="of a daemon, such as http://127.0.0.1:10776")
    parser.add_argument(
        "--interval",
        metavar="TIME",
        help="between looks: 500ms, 5s (default: the configuration's or the daemon's, else 2s)",
    )
    add_namespaces(parser, "the configuration's, else host")
    add_language(parser)
    add_config(parser, HOST_CONFIG)
    add_replay(parser)


def _run(arguments: argparse.Namespace, open_source: OpenSource) -> int:
    from sockmon.durations import parse_duration  # noqa: PLC0415 - each command loads its own
    from sockmon.top import run  # noqa: PLC0415 - as above

    for name in ("config", "namespaces", "replay"):
        if arguments.url is not None and getattr(arguments, name) is not None:
            raise UserError(f"--{name}: a daemon has its own; with --url it means nothing")
    try:
        interval = None if arguments.interval is None else parse_duration(arguments.interval)
    except ValueError as error:
        raise UserError(f"--interval: {error}") from error
    if interval is not None and not 0.1 <= interval <= 3600:
        raise UserError(f"--interval: {arguments.interval} is not between 100ms and 1h")
    lang = language(arguments)
    try:
        if arguments.url is not None:
            return run.of_daemon(arguments.url, interval, lang)
        with replaying(arguments.replay) as playback:
            if playback is not None:
                playback.play()
                recorded = config_of(playback, arguments.config).config
                return run.of_kernel(
                    playback.open_source, recorded, interval or playback.head.poll_seconds, lang
                )
        chosen = choose_config(arguments.config)
        config = in_namespaces(chosen.config, arguments.namespaces)
        seconds = interval or (config.poll.interval if chosen.file else None)
        return run.of_kernel(open_source, config, seconds, lang)
    except run.UnfitError as error:
        raise UserError(str(error)) from error


COMMAND = Command("top", "watch live in the terminal", _add_options, _run)
