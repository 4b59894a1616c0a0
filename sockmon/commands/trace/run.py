"""`sockmon trace`: reads, prints, and says what it has not seen."""

import gc
import signal
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from sockmon.commands.command import FAILURE, SUCCESS, OpenSource, UserError, writing
from sockmon.kernel.packets.batch import CaptureError
from sockmon.kernel.packets.files import CaptureWriter, in_order, open_capture
from sockmon.kernel.packets.filters import tcp_filter
from sockmon.kernel.packets.ring import PacketRing
from sockmon.trace.host_sockets import HostSockets
from sockmon.trace.live import watched
from sockmon.trace.report import Form, Part, Report
from sockmon.trace.session import Choice, Session


@dataclass(frozen=True, slots=True)
class Options:
    """The command line's. hosts: 16 bytes each. form: None: what suits the number."""

    read: tuple[str, ...]
    ports: frozenset[int]
    hosts: frozenset[bytes]
    write: str | None
    count: int | None
    part: Part
    form: Form | None
    device: str | None
    seconds: float | None


def run(options: Options, open_source: OpenSource) -> int:
    """Run the command; raises UserError, KernelError."""
    # No connection refers back to what refers to it: collections find nothing, and would take a
    # quarter of the time.
    gc.disable()
    try:
        return _run(options, open_source)
    finally:
        gc.enable()


def _run(options: Options, open_source: OpenSource) -> int:
    if not options.read:
        source = open_source(lambda: False)
        try:
            return _watch(options, HostSockets(source))
        finally:
            source.close()
    _check_written(options)
    with _writer(options.write) as writer:
        return _read_files(options, writer)


def _check_written(options: Options) -> None:
    """Refuse to write over a file that is to be read."""
    for name in options.read:
        with suppress(OSError):  # one of them is not there
            if options.write is not None and Path(name).samefile(options.write):
                raise UserError(f"--write: {options.write} is a file to be read")


def _watch(options: Options, host: HostSockets) -> int:
    """Watch this host's packets until a signal, or as long as the options say."""
    wants_data = options.write is not None or options.form == "tcpdump"
    program = tcp_filter(options.ports, options.hosts, data=wants_data)
    report = Report(options.form, options.part, facts=host.facts, hides_open=True)
    session = _session(options, report, host.listening_ports())
    stopping = _Stopping()
    with PacketRing(program, options.device) as ring, _writer(options.write) as writer:
        progress = _Progress(options.device)
        for packets, now in watched(ring, options.seconds, stopping):
            if packets is not None:
                _print(session.take(packets), progress)
                _write(writer, session)
            _print(session.due(now), progress)
            if session.is_done:
                break
            progress.show(session, ring)
        progress.clear()
        _finish(session, options, ring.count_dropped())
    return SUCCESS


class _Stopping:
    """Whether SIGINT or SIGTERM has come."""

    def __init__(self) -> None:
        self._has_come = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._come)

    def __call__(self) -> bool:
        return self._has_come

    def _come(self, *_: object) -> None:
        self._has_come = True


class _Progress:
    """One line on a terminal's last line, which what is printed replaces."""

    def __init__(self, device: str | None) -> None:
        where = "all devices" if device is None else device
        print(f"sockmon: watching {where}; Ctrl-C ends", file=sys.stderr, flush=True)
        self._is_terminal = sys.stderr.isatty()
        self._shown_at = 0.0
        self._is_shown = False

    def show(self, session: Session, ring: PacketRing) -> None:
        """Show what has been seen, once a second."""
        now = time.monotonic()
        if not self._is_terminal or now - self._shown_at < 1:
            return
        self._shown_at, self._is_shown = now, True
        counted = f"{session.segments:,} segments, {session.tracker.open:,} connections open"
        dropped = f"{ring.count_dropped():,} packets dropped"
        print(f"\r\x1b[K{counted}, {dropped}", end="", file=sys.stderr, flush=True)

    def clear(self) -> None:
        """Make room for what is printed."""
        if self._is_shown:
            self._is_shown = False
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def _read_files(options: Options, writer: CaptureWriter | None) -> int:
    report = Report(options.form, options.part, dated=True)
    session = _session(options, report)
    status, dropped, packets_read = SUCCESS, 0, 0
    for name in in_order(options.read):
        try:
            with open_capture(name) as capture:
                for packets in capture.packets():
                    packets_read += len(packets.time)
                    _print(session.take(packets))
                    _write(writer, session)
                    if session.is_done:
                        break
                dropped += capture.dropped
        except CaptureError as error:
            if not packets_read and len(options.read) == 1:
                raise UserError(f"{name}: {error}") from error
            print(f"sockmon: {name}: {error}", file=sys.stderr)
            status = FAILURE
    _finish(session, options, dropped)
    return status


def _session(options: Options, report: Report, servers: frozenset[int] = frozenset()) -> Session:
    choice = Choice(options.ports, options.hosts, options.count)
    opens = options.part == "opens"
    dated = bool(options.read)
    return Session(report, choice, options.form, dated=dated, opens=opens, servers=servers)


def _finish(session: Session, options: Options, dropped: int) -> None:
    lines = list(session.finish(dropped))
    if options.form == "tcpdump":
        print(*lines, sep="\n", file=sys.stderr)
    else:
        _print(lines)


def _print(lines: Iterable[str], progress: _Progress | None = None) -> None:
    printed = list(lines)
    if not printed:
        return
    if progress is not None:
        progress.clear()
    with writing():
        print(*printed, sep="\n", flush=progress is not None)


@contextmanager
def _writer(name: str | None) -> Iterator[CaptureWriter | None]:
    if name is None:
        yield None
        return
    try:
        writer = CaptureWriter(name)
    except OSError as error:
        raise UserError(f"--write: {name}: {error.strerror}") from error
    try:
        yield writer
    finally:
        writer.close()


def _write(writer: CaptureWriter | None, session: Session) -> None:
    """Write the headers last taken."""
    if writer is None or session.written is None:
        return
    try:
        writer.write(session.written)
    except OSError as error:
        raise UserError(f"--write: {writer.name}: {error.strerror}") from error
