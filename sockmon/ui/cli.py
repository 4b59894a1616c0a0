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
from sockmon.drill import NAMES as DRILLS
from sockmon.kernel.errors import KernelError
from sockmon.kernel.source import KernelSource
from sockmon.model.states import TcpState
from sockmon.ui import colour

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
        arguments = build_parser().parse_args(argv)
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


def build_parser() -> argparse.ArgumentParser:
    """Return the whole command line; shell completions and the manual page are made of it too."""
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
    _add_top(commands.add_parser("top", help="watch live in the terminal", allow_abbrev=False))
    _add_drill(commands.add_parser("drill", help="rehearse an alert", allow_abbrev=False))
    _add_rules(commands.add_parser("rules", help="print Prometheus rules", allow_abbrev=False))
    check = commands.add_parser(
        "check-config", help="check a configuration file", allow_abbrev=False
    )
    check.description = "Print every mistake in the files with its line; exit 0 or 1."
    check.add_argument(
        "file", metavar="FILE", type=Path, nargs="?", help="configuration file (YAML)"
    )
    _add_web_config(check)
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
    _add_web_config(parser)
    parser.set_defaults(run=_run)


def _add_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", metavar="FILE", type=Path, help="configuration file (YAML)")


def _add_color(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--color",
        choices=colour.WISHES,
        default="auto",
        help="colours: auto is on a terminal, unless NO_COLOR is set (default: auto)",
    )


def _paint(arguments: argparse.Namespace) -> colour.Paint:
    return colour.painter(arguments.color, sys.stdout.isatty(), os.environ)


def _add_web_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--web.config.file",
        dest="web_config",
        metavar="FILE",
        default="",  # as in Prometheus' exporters, where an empty name is none
        help="TLS and authentication, in the form of Prometheus' exporter-toolkit",
    )


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
        "--format",
        choices=("table", "json", "csv", "plain"),
        default="table",
        dest="form",
        help="a table for people, or one for programs; plain is for awk (default: table)",
    )
    parser.add_argument(
        "--names",
        choices=("sockmon", "ss", "netstat"),
        default="sockmon",
        help="whose names for the states; with ss or netstat only the sockets they would list",
    )
    _add_color(parser)
    _add_config(parser)
    parser.set_defaults(run=_count)


def _add_doctor(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Poll twice, a second apart, and say what is wrong, who must act, and what to do. "
        "Exit status: 0 healthy, 1 warning, 2 critical, 3 could not look."
    )
    parser.add_argument(
        "--format",
        choices=("text", "json"),
        default="text",
        dest="form",
        help="for people, or for programs (default: text)",
    )
    _add_color(parser)
    _add_config(parser)
    parser.set_defaults(run=_doctor)


def _add_rules(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Print Prometheus alert rules with this configuration's thresholds, or recording rules."
    )
    parser.add_argument(
        "--recording", action="store_true", help="print the recording rules instead"
    )
    parser.add_argument(
        "--selector",
        metavar="SELECTOR",
        help='label matchers of sockmon\'s targets (default: job="sockmon")',
    )
    parser.add_argument(
        "--runbooks", metavar="URL", help="where the runbooks are (default: sockmon's own)"
    )
    _add_config(parser)
    parser.set_defaults(run=_rules)


def _add_top(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Show verdict, states, ports and findings, live: of this host's kernel, or of a daemon."
    )
    parser.add_argument("--url", metavar="URL", help="of a daemon, such as http://127.0.0.1:10776")
    parser.add_argument(
        "--interval",
        metavar="TIME",
        help="between looks: 500ms, 5s (default: the configuration's or the daemon's, else 2s)",
    )
    _add_config(parser)
    parser.set_defaults(run=_top)


def _add_drill(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Make a real condition, so that its alert can be seen to arrive: bounded, and gone "
        f"afterwards. SCENARIO is one of {', '.join(DRILLS)}; the last three are made in a network "
        "namespace of their own, with a daemon of their own, and need root. Exit status: 0 done; "
        "1 not, or not as expected."
    )
    parser.add_argument("scenario", metavar="SCENARIO", choices=DRILLS)
    parser.add_argument(
        "--count", metavar="N", type=int, help="connections (default: enough for the alert)"
    )
    parser.add_argument(
        "--hold",
        metavar="SECONDS",
        type=float,
        help="keep them so long (default: until the alert should have fired)",
    )
    parser.add_argument(
        "--expect-alert",
        action="store_true",
        help="watch the alert fire and resolve, and fail if it does not",
    )
    parser.add_argument(
        "--url", metavar="URL", help="of this host's daemon (default: http://127.0.0.1:10776)"
    )
    _add_config(parser)
    parser.set_defaults(run=_drill)


def _drill(arguments: argparse.Namespace, _: OpenSource) -> int:
    from sockmon.ui import drill  # noqa: PLC0415 - each command loads what it needs

    wish = drill.Wish(
        arguments.scenario,
        arguments.count,
        arguments.hold,
        arguments.expect_alert,
        arguments.url,
        arguments.config,
    )
    try:
        return drill.run(wish, _load_config(arguments.config))
    except drill.UnfitError as error:
        raise UserError(str(error)) from error
    except BrokenPipeError:
        _discard_output()
        return FAILURE  # whoever was to read how it went has not


def _top(arguments: argparse.Namespace, open_source: OpenSource) -> int:
    from sockmon.durations import parse_duration  # noqa: PLC0415 - each command loads its own
    from sockmon.ui.top import command  # noqa: PLC0415 - as above

    if arguments.url is not None and arguments.config is not None:
        raise UserError("--config: a daemon has its own; with --url it means nothing")
    try:
        interval = None if arguments.interval is None else parse_duration(arguments.interval)
    except ValueError as error:
        raise UserError(f"--interval: {error}") from error
    if interval is not None and not 0.1 <= interval <= 3600:
        raise UserError(f"--interval: {arguments.interval} is not between 100ms and 1h")
    try:
        if arguments.url is not None:
            return command.of_daemon(arguments.url, interval)
        config = None if arguments.config is None else _load_config(arguments.config)
        return command.of_kernel(open_source, config, interval)
    except command.UnfitError as error:
        raise UserError(str(error)) from error


def _doctor(arguments: argparse.Namespace, open_source: OpenSource) -> int:
    from sockmon.daemon import now  # noqa: PLC0415 - each command loads what it needs
    from sockmon.ui import doctor  # noqa: PLC0415 - as above

    config = _load_config(arguments.config)
    diagnosed = doctor.examine(open_source(lambda: False), config, now, time.sleep)
    with _writing():
        if arguments.form == "json":
            doctor.write_json(diagnosed, sys.stdout)
        else:
            doctor.write_text(diagnosed, sys.stdout, _paint(arguments))
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
        count.write(counted, arguments.form, time.time(), sys.stdout, _paint(arguments))
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

    config = _load_config(arguments.config)
    try:
        selector = rules.parse_selector(arguments.selector)
        runbooks = rules.parse_runbooks(arguments.runbooks)
    except ValueError as error:
        raise UserError(str(error)) from error
    if arguments.recording:
        text = rules.render_recording(selector)
    else:
        text = rules.render(config, selector, runbooks)
    with _writing():
        sys.stdout.write(text)
    return SUCCESS


def _check_config(arguments: argparse.Namespace, _: OpenSource) -> int:
    from sockmon import config  # noqa: PLC0415 - each command loads what it needs
    from sockmon.ui.web.policy import PolicyFile  # noqa: PLC0415 - as above

    checks: list[tuple[Path, Callable[[Path], object]]] = []
    if arguments.file is not None:
        checks.append((arguments.file, config.load))
    if arguments.web_config:
        checks.append((Path(arguments.web_config), PolicyFile))
    if not checks:
        raise _UsageError("sockmon check-config: FILE or --web.config.file is required")
    status = SUCCESS
    for path, check in checks:
        try:
            check(path)
            print(f"{path}: ok")
        except config.ConfigError as error:
            print(error, file=sys.stderr)
            status = FAILURE
    return status


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
    web_config = Path(arguments.web_config) if arguments.web_config else None
    try:
        daemon.Daemon(
            lambda: daemon.load_settings(arguments.config, address), open_source, web_config
        ).run()
    except (ConfigError, ListenError) as error:
        raise UserError(str(error)) from error
    return SUCCESS
