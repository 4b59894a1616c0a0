"""`sockmon trace`: reads, prints, and says what it has not seen."""

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sockmon.commands.command import FAILURE, SUCCESS, OpenSource, UserError, writing
from sockmon.kernel.packets.batch import CaptureError
from sockmon.kernel.packets.files import CaptureWriter, open_capture
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


def run(options: Options, _: OpenSource) -> int:
    """Run the command; raises UserError."""
    if not options.read:
        raise UserError("trace: --read FILE is needed: a capture of tcpdump -w FILE, for example")
    with _writer(options.write) as writer:
        return _read_files(options, writer)


def _read_files(options: Options, writer: CaptureWriter | None) -> int:
    report = Report(options.form, options.part, dated=True)
    session = _session(options, report, dated=True)
    status, dropped, packets_read = SUCCESS, 0, 0
    for name in options.read:
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


def _session(options: Options, report: Report, *, dated: bool) -> Session:
    choice = Choice(options.ports, options.hosts, options.count)
    return Session(report, choice, options.form, dated=dated, opens=options.part == "opens")


def _finish(session: Session, options: Options, dropped: int) -> None:
    lines = list(session.finish(dropped))
    if options.form == "tcpdump":
        print(*lines, sep="\n", file=sys.stderr)
    else:
        _print(lines)


def _print(lines: Iterable[str]) -> None:
    with writing():
        for line in lines:
            print(line)


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
    if writer is None or session.written is None:
        return
    try:
        writer.write(session.written)
    except OSError as error:
        raise UserError(f"--write: {error.strerror}") from error
