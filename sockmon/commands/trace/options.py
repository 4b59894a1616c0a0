"""`sockmon trace`: how connections open and close, segment by segment, explained."""

import argparse
import ipaddress

from sockmon.commands.command import Command, OpenSource, UserError
from sockmon.commands.port_option import parse_port
from sockmon.durations import parse_duration


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Show how TCP connections open and close, segment by segment: who closed first, in three "
        "segments or four and why, resets, and connects that nobody answers. Watches this host's "
        "packets, which takes CAP_NET_RAW, or reads capture files (pcap, pcapng) of any host. Exit "
        "status: 0; 1 if a file could not be read to its end; 2 if nothing could be done."
    )
    parser.add_argument(
        "--read",
        metavar="FILE",
        nargs="+",
        help="read captures of tcpdump, Wireshark and others instead, in the order of their first "
        "packets; - is standard input",
    )
    parser.add_argument(
        "--port",
        metavar="N",
        action="append",
        default=[],
        help="only connections with this port at either end: a number or a service's name; may be "
        "repeated",
    )
    parser.add_argument(
        "--host",
        metavar="ADDR",
        action="append",
        default=[],
        help="only connections of this IP address; may be repeated",
    )
    parser.add_argument("--device", metavar="NAME", help="watch only this device (default: all)")
    parser.add_argument(
        "--for", metavar="TIME", dest="time", help="watch only so long, such as 30s or 5m"
    )
    parser.add_argument(
        "--write",
        metavar="FILE",
        help="write the IP and TCP headers, and no data, into a pcap file",
    )
    parser.add_argument("--count", metavar="N", type=int, help="stop after so many connections")
    part = parser.add_mutually_exclusive_group()
    part.add_argument("--opens", action="store_true", help="only how connections are opened")
    part.add_argument("--closes", action="store_true", help="only how connections are closed")
    parser.add_argument(
        "--format",
        choices=("text", "lines", "json", "tcpdump"),
        dest="form",
        help="text: all steps, explained; lines: a line for each connection; json: the same for "
        "programs; tcpdump: segments as tcpdump -nS prints them (default: text, or lines if there "
        "are more than 20 connections a second, or only a summary above 2,000)",
    )


def _run(arguments: argparse.Namespace, open_source: OpenSource) -> int:
    from sockmon.commands.trace import run  # noqa: PLC0415 - each command loads what it needs

    if arguments.count is not None and arguments.count < 1:
        raise UserError(f"--count: {arguments.count} is not 1 or more")
    if arguments.read:
        for given, option in ((arguments.device, "--device"), (arguments.time, "--for")):
            if given is not None:
                raise UserError(f"{option}: not with --read, which reads whole files")
    return run.run(
        run.Options(
            tuple(arguments.read or ()),
            frozenset(map(parse_port, arguments.port)),
            frozenset(map(_host, arguments.host)),
            arguments.write,
            arguments.count,
            "opens" if arguments.opens else "closes" if arguments.closes else "all",
            arguments.form,
            arguments.device,
            _seconds(arguments.time),
        ),
        open_source,
    )


def _seconds(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        return parse_duration(text)
    except ValueError as error:
        raise UserError(f"--for: {text!r}: {error}") from None


def _host(text: str) -> bytes:
    """Accept an IP address; returns 16 bytes, IPv4 mapped into IPv6."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise UserError(
            f"--host: {text!r} is not an IP address (names are not looked up)"
        ) from None
    if address.version == 4:
        return bytes(10) + b"\xff\xff" + address.packed
    return address.packed


COMMAND = Command("trace", "show how connections open and close", _add_options, _run)
