"""`sockmon record`: what this host's kernel says, in a file that anybody can replay."""

import argparse
import contextlib
import os
import platform
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from sockmon import __version__
from sockmon.commands.command import (
    HOST_CONFIG,
    SUCCESS,
    Command,
    OpenSource,
    UserError,
    add_config,
    choose_config,
)

if TYPE_CHECKING:
    from sockmon.recording.file import Writer
    from sockmon.recording.recorder import Recorder

#: So many polls at most are in a recording, and so many bytes, compressed.
_POLLS, _BYTES = 60, 256 << 20
_LONGEST_SECONDS = 3600.0


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Record this host's sockets, limits and the processes that hold sockets, for a report of a "
        "fault; doctor, count, top and run replay it. Addresses, names and PIDs are replaced, each "
        "always by the same other one; ports stay. Only the caller's network namespace is "
        "recorded. Run it as root, so that owners are known."
    )
    parser.add_argument("file", metavar="FILE", type=Path, help="the new file, such as fault.rec")
    parser.add_argument(
        "--for",
        dest="duration",
        metavar="TIME",
        default="1m",
        help="how long: 10s, 1m, at most 1h (default: 1m)",
    )
    parser.add_argument(
        "--anonymize",
        choices=("yes", "no"),
        default="yes",
        help="replace addresses, names and PIDs (default: yes)",
    )
    parser.add_argument(
        "--events",
        action="store_true",
        help="also count how connections open, fail and close, inside the kernel (eBPF, root)",
    )
    add_config(parser, HOST_CONFIG)


def _run(arguments: argparse.Namespace, _: OpenSource) -> int:
    from sockmon.durations import parse_duration  # noqa: PLC0415 - each command loads its own
    from sockmon.recording.anonymous import Anonymous  # noqa: PLC0415 - as above
    from sockmon.recording.file import Head, Writer  # noqa: PLC0415 - as above
    from sockmon.recording.recorder import Recorder  # noqa: PLC0415 - as above

    try:
        seconds = parse_duration(arguments.duration)
    except ValueError as error:
        raise UserError(f"--for: {error}") from error
    if not 1 <= seconds <= _LONGEST_SECONDS:
        raise UserError(f"--for: {arguments.duration} is not between 1s and 1h")
    path, every = arguments.file, max(1.0, seconds / _POLLS)
    config = choose_config(arguments.config).config
    head = Head(
        __version__, platform.release(), time.time(), arguments.anonymize == "yes", every,
        asdict(config.detect),
    )  # fmt: skip
    recorder = Recorder(Anonymous(os.urandom(16)) if head.anonymous else None)
    try:
        if arguments.events:
            _count_events(recorder)
        first = recorder.poll(0.0)  # before there is a file: the kernel may refuse
        writer = Writer(path, head)
        try:
            writer.poll(first)
            _rest(recorder, writer, path, seconds, every)
        finally:
            writer.close()
    except FileExistsError:
        raise UserError(f"{path}: there is such a file; record to a new one") from None
    except OSError as error:
        raise UserError(f"{path}: cannot write it: {error.strerror}") from error
    finally:
        recorder.close()
    hidden = "addresses, names and PIDs are replaced" if head.anonymous else "nothing is replaced"
    print(f"{path}: {path.stat().st_size:,} bytes; {hidden}. sockmon doctor --replay {path}")
    return SUCCESS


def _count_events(recorder: "Recorder") -> None:
    from sockmon.kernel.errors import KernelError  # noqa: PLC0415 - each command loads its own

    try:
        recorder.count_events()
    except KernelError as error:
        raise UserError(f"--events: {error}; sudo sockmon record --events FILE") from error


def _rest(recorder: "Recorder", writer: "Writer", path: Path, seconds: float, every: float) -> None:
    """Record until the time is over, the file is as large as it may be, or the user has enough."""
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - each command loads its own

    begun = time.monotonic()
    at = every
    # Ctrl-C ends the main thread's wait, and never comes between two parts of a line.
    with ThreadPoolExecutor(1) as writing, contextlib.suppress(KeyboardInterrupt):
        writing.submit(int).result()  # an executor waits only for a thread that has begun
        while at <= seconds:
            time.sleep(max(0.0, begun + at - time.monotonic()))
            polled = recorder.poll(time.monotonic() - begun)
            writing.submit(writer.poll, polled).result()
            if path.stat().st_size > _BYTES:
                print(f"sockmon: {path} is as large as it may be; it ends here", file=sys.stderr)
                return
            at += every


COMMAND = Command("record", "record the kernel for a report of a fault", _add_options, _run)
