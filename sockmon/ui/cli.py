"""The command line: parses, calls, and turns every user's mistake into one clear line."""

import argparse
import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from sockmon import __version__
from sockmon.kernel.errors import KernelError
from sockmon.kernel.source import KernelSource
from sockmon.model.states import TcpState

if TYPE_CHECKING:
    from sockmon.config import Config

OpenSource = Callable[[Callable[[], bool]], KernelSource]

SUCCESS, FAILURE, USAGE = 0, 1, 2
COULD_NOT_LOOK = 3  # doctor's, by the convention of monitoring plugins


class UserError(Exception):
    """Something the user can mend; each line of the text is printed by itself."""


class _UsageError(Exception):
    """The command line itself is wrong."""


class _Parser(argparse.ArgumentParser):
    """Leaves it to main() how a mistake is told and which status it has."""

    def error(self, message: str) -> NoReturn:
        raise _UsageError(f"{self.prog}: {message} (see {self.prog} --help)")


def entry_point() -> NoReturn:
    """Run as the `sockmon` command."""
    sys.exit(main(sys.argv[1:]))


def main(argv: Sequence[str], open_source: OpenSource = KernelSource.live) -> int:
    """Run one command over a kernel, or a recording of one; returns the exit status."""
    if sys.stdout is None:  # closed by the caller: sockmon count >&-
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115 - for the process's life
    mistake = COULD_NOT_LOOK if list(argv[:1]) == ["doctor"] else USAGE
    try:
        arguments = _parser().parse_args(argv)
        status: int = arguments.run(arguments, open_source)
        with _writing():
            sys.stdout.flush()
    except _UsageError as error:
        print(error, file=sys.stderr)
        return mistake
    except (UserError, KernelError) as error:
        for line in str(error).splitlines():
            print(f"sockmon: {line}", file=sys.stderr)
        return mistake
    except _OutputError as error:
        print(f"sockmon: cannot write the answer: {error}", file=sys.stderr)
        _discard_output()
        return mistake
    except BrokenPipeError:
        # The reader has gone, as in `sockmon count | head -1`: nothing more to say, nor to flush.
        _discard_output()
        return SUCCESS if mistake == USAGE else mistake  # doctor's verdict was not heard
    except KeyboardInterrupt:
        return 130
    return status


class _OutputError(Exception):
    """Standard output does not take what is written."""


@contextlib.contextmanager
def _writing() -> Iterator[None]:
    """Tell a failure to write apart from any other OSError."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise _OutputError(error.strerror) from error


def _discard_output() -> None:
    """Let Python's own flush at exit write to nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="sockmon",
        description="Watches this host's TCP sockets: counts, leaks, and who must act.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"sockmon {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True, parser_class=_Parser)
    _add_run(commands.add_parser("run", help="run the daemon", allow_abbrev=False))
    _add_count(commands.add_parser("count", help="count sockets once", allow_abbrev=False))
    _add_doctor(commands.add_parser("doctor", help="say what is wrong", allow_abbrev=False))
    rules = commands.add_parser("rules", help="print Prometheus alert rules", allow_abbrev=False)
    rules.description = "Print Prometheus alert rules with this configuration's thresholds."
    _add_config(rules)
    rules.set_defaults(run=_rules)
    check = commands.add_parser(
        "check-config", help="check a configuration file", allow_abbrev=False
    )
    check.description = "Print every mistake in the file with its line; exit 0 or 1."
    check.add_argument("file", metavar="FILE", type=Path)
    check.set_defaults(run=_check_config)
    return parser


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.description = "Poll the kernel and serve what is found over HTTP."
    _add_config(parser)
    parser.add_argument(
        "--web.listen-address",
        dest="listen_address",
        metavar="ADDR:PORT",
        help="serve here instead of where the configuration says",
    )
    parser.set_defaults(run=_run)


def _add_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", metavar="FILE", type=Path, help="configuration file (YAML)")


def _add_count(parser: argparse.ArgumentParser) -> None:
    parser.description = "Read the kernel's TCP sockets once and count them."
    parser.add_argument(
        "--by",
        metavar="KEY[,KEY]",
        default="state",
        help="state, port, role, peer, owner, unit, family, netns (default: state)",
    )
    parser.add_argument("--state", metavar="S", help="only sockets in this state")
    parser.add_argument(
        "--port", metavar="N", type=int, help="only sockets of this listener, or to this port"
    )
    parser.add_argument("--family", type=int, choices=(4, 6), help="only IPv4 or IPv6")
    parser.add_argument(
        "--format", choices=("table", "json", "csv", "plain"), default="table", dest="form"
    )
    parser.add_argument(
        "--names",
        choices=("sockmon", "ss", "netstat"),
        default="sockmon",
        help="whose names for the states; with ss or netstat only the sockets they would list",
    )
    _add_config(parser)
    parser.set_defaults(run=_count)


def _add_doctor(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Poll twice, a second apart, and say what is wrong, who must act, and what to do. "
        "Exit status: 0 healthy, 1 warning, 2 critical, 3 could not look."
    )
    parser.add_argument("--format", choices=("text", "json"), default="text", dest="form")
    _add_config(parser)
    parser.set_defaults(run=_doctor)


def _doctor(arguments: argparse.Namespace, open_source: OpenSource) -> int:
    from sockmon.daemon import now  # noqa: PLC0415 - each command loads what it needs
    from sockmon.ui import doctor  # noqa: PLC0415 - as above

    config = _load_config(arguments.config)
    diagnosed = doctor.examine(open_source(lambda: False), config, now, time.sleep)
    write = doctor.write_json if arguments.form == "json" else doctor.write_text
    with _writing():
        write(diagnosed, sys.stdout)
    return diagnosed.status


def _count(arguments: argparse.Namespace, open_source: OpenSource) -> int:
    from sockmon.ui import count  # noqa: PLC0415 - each command loads what it needs

    if arguments.config is not None:
        _load_config(arguments.config)
    keys = tuple(arguments.by.split(","))
    for key in keys:
        if key not in count.KEYS:
            raise UserError(f"--by: {key!r} is none of {', '.join(count.KEYS)}")
    if len(set(keys)) < len(keys):
        raise UserError(f"--by: {arguments.by!r} names a key twice")
    if arguments.port is not None and not 0 <= arguments.port <= 65535:
        raise UserError(f"--port: {arguments.port} is not a port (0 to 65535)")
    selection = count.Selection(_state(arguments.state), arguments.port, arguments.family)
    source = open_source(lambda: False)
    try:
        counted = count.count(source, keys, selection, arguments.names)
    finally:
        source.diag.close()
    with _writing():
        count.write(counted, arguments.form, time.time(), sys.stdout)
    for hint in counted.hints:
        print(f"sockmon: {hint}", file=sys.stderr)
    return SUCCESS


def _state(text: str | None) -> TcpState | None:
    """Accept any tool's spelling, in capitals or not."""
    if text is None:
        return None
    for state in TcpState:
        if text.lower() in {state.spelled(tool).lower() for tool in ("sockmon", "ss", "netstat")}:
            return state
    raise UserError(f"--state: {text!r} is none of {', '.join(s.label for s in TcpState)}")


def _load_config(path: Path | None) -> "Config":
    from sockmon import config  # noqa: PLC0415 - each command loads what it needs

    try:
        return config.Config() if path is None else config.load(path)
    except config.ConfigError as error:
        raise UserError(str(error)) from error


def _rules(arguments: argparse.Namespace, _: OpenSource) -> int:
    from sockmon.ui import rules  # noqa: PLC0415 - each command loads what it needs

    text = rules.render(_load_config(arguments.config))
    with _writing():
        sys.stdout.write(text)
    return SUCCESS


def _check_config(arguments: argparse.Namespace, _: OpenSource) -> int:
    from sockmon import config  # noqa: PLC0415 - each command loads what it needs

    try:
        config.load(arguments.file)
    except config.ConfigError as error:
        print(error, file=sys.stderr)
        return FAILURE
    print(f"{arguments.file}: ok")
    return SUCCESS


def _run(arguments: argparse.Namespace, open_source: OpenSource) -> int:
    from sockmon import daemon, logs  # noqa: PLC0415 - each command loads what it needs
    from sockmon.config import ConfigError, ListenAddress  # noqa: PLC0415 - as above
    from sockmon.ui.web.server import ListenError  # noqa: PLC0415 - as above

    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until the daemon can reload
    logs.set_up()
    address = None
    if arguments.listen_address is not None:
        try:
            address = ListenAddress.parse(arguments.listen_address)
        except ValueError as error:
            raise UserError(f"--web.listen-address: {error}") from error
    try:
        daemon.Daemon(lambda: daemon.load_settings(arguments.config, address), open_source).run()
    except (ConfigError, ListenError) as error:
        raise UserError(str(error)) from error
    return SUCCESS
