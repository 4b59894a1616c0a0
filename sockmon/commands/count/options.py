"""`sockmon count`: one poll, counted."""

import argparse
import socket
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
from sockmon.text import did_you_mean

#: What people type for a key.
_OTHER_KEY_NAMES = {
    "process": "owner",
    "program": "owner",
    "pid": "owner",
    "service": "unit",
    "container": "unit",
    "cgroup": "unit",
    "role": "direction",
    "listener": "direction",
    "remote": "peer",
    "address": "peer",
    "destination": "peer",
    "ip": "family",
    "namespace": "netns",
}


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
        "--port",
        metavar="N",
        help="only sockets of this listener, or to this port; a number or a service's name",
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
        help="name states as this tool does; for ss, netstat count only what they would list",
    )
    add_color(parser)
    add_namespaces(parser, "the configuration's, or all with --netns or --by netns, else host")
    add_config(parser)


def _run(arguments: argparse.Namespace, open_source: OpenSource) -> int:
    from sockmon.commands.count import output  # noqa: PLC0415 - each command loads what it needs
    from sockmon.poll import count  # noqa: PLC0415 - as above

    keys = tuple(arguments.by.split(","))
    for key in keys:
        if key not in count.KEYS:
            other = _OTHER_KEY_NAMES.get(key.lower())
            hint = f"; did you mean {other}?" if other else did_you_mean(key, count.KEYS)
            raise UserError(f"--by: {key!r} is none of {', '.join(count.KEYS)}{hint}")
    if len(set(keys)) < len(keys):
        raise UserError(f"--by: {arguments.by!r} names a key twice")
    selection = count.Selection(
        _state(arguments.state), _port(arguments.port), arguments.family, arguments.netns
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


def _port(text: str | None) -> int | None:
    """Accept a number, or a TCP service's name as in /etc/services."""
    if text is None:
        return None
    if text.isascii() and text.isdecimal() and len(text) <= 5 and int(text) <= 65535:
        return int(text)
    try:
        return socket.getservbyname(text, "tcp")
    except (OSError, ValueError):
        raise UserError(
            f"--port: {text!r} is not a port (0 to 65535), nor a service of /etc/services"
        ) from None


COMMAND = Command("count", "count sockets once", _add_options, _run)
