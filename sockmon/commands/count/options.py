"""`sockmon count`: one poll, counted."""

import argparse
import sys
import time
from typing import TYPE_CHECKING

from sockmon.commands.command import (
    SUCCESS,
    Command,
    OpenSource,
    UserError,
    add_color,
    add_config,
    load_config,
    paint,
    writing,
)
from sockmon.commands.namespaces_option import add_namespaces
from sockmon.commands.port_option import parse_port
from sockmon.commands.replay_option import add_replay, replaying
from sockmon.kernel.netlink.source import KernelSource
from sockmon.model.states import TcpState
from sockmon.text import did_you_mean

if TYPE_CHECKING:
    from sockmon.poll.count import Selection
    from sockmon.poll.count_keys import SocketKind

_WATCH_SECONDS = 2.0
_BY = "state"

#: What people type for a key.
_OTHER_KEY_NAMES = {
    "process": "owner",
    "program": "owner",
    "service": "unit",
    "socket": "listener",
    "path": "listener",
    "cgroup": "unit",
    "role": "direction",
    "proto": "protocol",
    "remote": "peer",
    "address": "peer",
    "destination": "peer",
    "ip": "family",
    "namespace": "netns",
}


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.description = "Read the kernel's sockets once and count them; by default those of TCP."
    parser.add_argument(
        "--by",
        metavar="KEY[,KEY]",
        default=_BY,
        help="state, port, direction, listener, peer, owner, pid, unit, container, protocol, "
        "family, netns (default: state); netns looks into all network namespaces, protocol counts "
        "all protocols",
    )
    parser.add_argument("--state", metavar="S", help="only sockets in this state")
    parser.add_argument(
        "--port",
        metavar="N",
        help="only sockets of this listener, or to this port; a number or a service's name",
    )
    parser.add_argument(
        "--protocol",
        metavar="P[,P]",
        help="tcp, mptcp (which tcp includes), udp, unix (default: tcp)",
    )
    parser.add_argument(
        "--netns", metavar="NAME", help="only sockets in this network namespace, such as host"
    )
    parser.add_argument("--family", type=int, choices=(4, 6), help="only IPv4 or IPv6")
    parser.add_argument(
        "--top", metavar="N", type=_number, help="only the N largest groups; the total stays"
    )
    parser.add_argument(
        "--watch",
        metavar="SECONDS",
        nargs="?",
        type=_seconds,
        const=_WATCH_SECONDS,
        help=f"count again every so many seconds (default: {_WATCH_SECONDS:g}), until interrupted",
    )
    parser.add_argument(
        "--events",
        metavar="TIME",
        help="count for so long, such as 10s, how connections open, fail and close, by port; "
        "root, Linux 5.12",
    )
    parser.add_argument(
        "--format",
        choices=("table", "json", "csv", "plain"),
        default="table",
        dest="form",
        help="a table for people, or one for programs; plain is for awk (default: table)",
    )
    parser.add_argument(
        "--state-names",
        choices=("sockmon", "ss", "netstat"),
        default="sockmon",
        help="name states as this tool does; for ss, netstat count only what they would list",
    )
    add_color(parser)
    add_namespaces(parser, "the configuration's, or all with --netns or --by netns, else host")
    add_config(parser)
    add_replay(parser)


def _number(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 0 < int(text[:10]) <= 1_000_000):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of groups (1 to 1000000)")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0.1 <= seconds <= 86_400:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds (0.1 to 86400)")
    return seconds


def _run(arguments: argparse.Namespace, open_source: OpenSource) -> int:
    from sockmon.poll import count  # noqa: PLC0415 - each command loads what it needs

    if arguments.events is not None:
        return _run_events(arguments, open_source)
    keys = _keys(arguments.by)
    selection = count.Selection(
        _state(arguments.state),
        None if arguments.port is None else parse_port(arguments.port),
        arguments.family,
        arguments.netns,
        _protocols(arguments.protocol, keys),
    )
    everywhere = _everywhere(arguments, keys)
    with replaying(arguments.replay) as playback:
        if playback is not None:
            open_source = playback.open_source
            if arguments.watch is None:
                playback.finish()
            else:
                playback.play()
        return _count(arguments, keys, selection, open_source(lambda: False), everywhere=everywhere)


def _count(
    arguments: argparse.Namespace,
    keys: tuple[str, ...],
    selection: "Selection",
    source: KernelSource,
    *,
    everywhere: bool,
) -> int:
    from sockmon.commands.count import output  # noqa: PLC0415 - each command loads what it needs
    from sockmon.poll import count  # noqa: PLC0415 - as above

    out = output.Output(arguments.form, sys.stdout, paint(arguments), arguments.top)
    try:
        while True:
            result = count.count(
                source, keys, selection, arguments.state_names, everywhere=everywhere
            )
            with writing():
                out.write(result, time.time(), again=arguments.watch is not None)
            for hint in result.hints:
                print(f"sockmon: {hint}", file=sys.stderr)
            if arguments.watch is None:
                return SUCCESS
            time.sleep(arguments.watch)
    except LookupError:
        raise UserError(
            f"--netns: there is no {arguments.netns!r} here; sockmon count --by netns lists those "
            "with sockets"
        ) from None
    finally:
        source.close()


def _run_events(arguments: argparse.Namespace, open_source: OpenSource) -> int:
    from sockmon.commands.count import events  # noqa: PLC0415 - each command loads what it needs

    for given, option in (
        (arguments.by != _BY, "--by"),
        (arguments.state, "--state"),
        (arguments.port, "--port"),
        (arguments.protocol, "--protocol"),
        (arguments.netns, "--netns"),
        (arguments.family, "--family"),
        (arguments.watch, "--watch"),
        (arguments.replay, "--replay"),
        (arguments.state_names != "sockmon", "--state-names"),
    ):
        if given:
            raise UserError(f"{option} does not go with --events")
    return events.run(arguments, open_source, everywhere=_everywhere(arguments, ()))


def _keys(text: str) -> tuple[str, ...]:
    from sockmon.poll.count_keys import KEYS  # noqa: PLC0415 - each command loads what it needs

    keys = tuple(text.split(","))
    for key in keys:
        if key not in KEYS:
            hint = did_you_mean(key, KEYS, _OTHER_KEY_NAMES)
            raise UserError(f"--by: {key!r} is none of {', '.join(KEYS)}{hint}")
    if len(set(keys)) < len(keys):
        raise UserError(f"--by: {text!r} names a key twice")
    return keys


def _protocols(text: str | None, keys: tuple[str, ...]) -> tuple["SocketKind", ...]:
    from sockmon.poll.count_keys import KINDS  # noqa: PLC0415 - each command loads what it needs

    if text is None:
        return ("tcp", "udp", "unix") if "protocol" in keys else ("tcp",)
    words = text.lower().split(",")
    for word in words:
        if word not in KINDS:
            hint = did_you_mean(word, KINDS)
            raise UserError(f"--protocol: {word!r} is none of {', '.join(KINDS)}{hint}")
    return tuple(kind for kind in KINDS if kind in words)


def _everywhere(arguments: argparse.Namespace, keys: tuple[str, ...]) -> bool:
    """Return whether to count in other namespaces; --netns and --by netns imply it."""
    chosen = arguments.namespaces
    if arguments.config is not None:  # the defaults need not be loaded by a quick command
        configured = load_config(arguments.config).poll.namespaces
        chosen = chosen or ("all" if configured == "all" else None)
    asked = arguments.netns is not None or "netns" in keys
    return chosen == "all" or (chosen is None and asked)


def _state(text: str | None) -> TcpState | None:
    """Accept any tool's spelling, in upper or lower case."""
    if text is None:
        return None
    for state in TcpState:
        if text.lower() in {state.spelled(tool).lower() for tool in ("sockmon", "ss", "netstat")}:
            return state
    labels = [state.label for state in TcpState]
    raise UserError(f"--state: {text!r} is none of {', '.join(labels)}{did_you_mean(text, labels)}")


COMMAND = Command("count", "count sockets once", _add_options, _run)
