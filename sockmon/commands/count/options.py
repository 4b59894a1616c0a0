"""`sockmon count`: one poll, counted."""

import argparse
import sys
import time

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
from sockmon.model.states import TcpState


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.description = "Read the kernel's TCP sockets once and count them."
    parser.add_argument(
        "--by",
        metavar="KEY[,KEY]",
        default="state",
        help="state, port, direction, peer, owner, unit, family, netns (default: state); "
        "netns looks into all network namespaces",
    )
    parser.add_argument("--state", metavar="S", help="only sockets in this state")
    parser.add_argument(
        "--port", metavar="N", type=int, help="only sockets of this listener, or to this port"
    )
    parser.add_argument(
        "--netns", metavar="NAME", help="only sockets in this network namespace, such as host"
    )
    parser.add_argument("--family", type=int, choices=(4, 6), help="only IPv4 or IPv6")
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
        help="whose names for the states; with ss or netstat only the sockets they would list",
    )
    add_color(parser)
    add_namespaces(parser, "the configuration's, or all with --netns or --by netns, else host")
    add_config(parser)


def _run(arguments: argparse.Namespace, open_source: OpenSource) -> int:
    from sockmon.commands.count import output  # noqa: PLC0415 - each command loads what it needs
    from sockmon.poll import count  # noqa: PLC0415 - each command loads what it needs

    keys = tuple(arguments.by.split(","))
    for key in keys:
        if key not in count.KEYS:
            raise UserError(f"--by: {key!r} is none of {', '.join(count.KEYS)}")
    if len(set(keys)) < len(keys):
        raise UserError(f"--by: {arguments.by!r} names a key twice")
    if arguments.port is not None and not 0 <= arguments.port <= 65535:
        raise UserError(f"--port: {arguments.port} is not a port (0 to 65535)")
    selection = count.Selection(
        _state(arguments.state), arguments.port, arguments.family, arguments.netns
    )
    everywhere = _everywhere(arguments, keys)
    source = open_source(lambda: False)
    try:
        result = count.count(source, keys, selection, arguments.state_names, everywhere=everywhere)
    except LookupError:
        raise UserError(
            f"--netns: there is no {arguments.netns!r} here; sockmon count --by netns lists those "
            "with sockets"
        ) from None
    finally:
        source.close()
    with writing():
        output.write(result, arguments.form, time.time(), sys.stdout, paint(arguments))
    for hint in result.hints:
        print(f"sockmon: {hint}", file=sys.stderr)
    return SUCCESS


def _everywhere(arguments: argparse.Namespace, keys: tuple[str, ...]) -> bool:
    """Whether to look into other namespaces: who asks for them by name need not say it twice."""
    chosen = arguments.namespaces
    if arguments.config is not None:  # the defaults need not be loaded by a quick command
        configured = load_config(arguments.config).poll.namespaces
        chosen = chosen or ("all" if configured == "all" else None)
    asked = arguments.netns is not None or "netns" in keys
    return chosen == "all" or (chosen is None and asked)


def _state(text: str | None) -> TcpState | None:
    """Accept any tool's spelling, in capitals or not."""
    if text is None:
        return None
    for state in TcpState:
        if text.lower() in {state.spelled(tool).lower() for tool in ("sockmon", "ss", "netstat")}:
            return state
    raise UserError(f"--state: {text!r} is none of {', '.join(s.label for s in TcpState)}")


COMMAND = Command("count", "count sockets once", _add_options, _run)
