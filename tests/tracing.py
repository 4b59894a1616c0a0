"""`sockmon trace` and tcpdump, watching a namespace of the laboratory."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.contract import assert_valid
from tests.lab import PATIENCE, NetNs

SOCKMON = [sys.executable, "-m", "sockmon"]
Documents = list[dict[str, Any]]


class Watching:
    """A process that watches."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def output(self) -> str:
        """What it has printed, when it has ended by itself."""
        out, error = self.process.communicate(timeout=PATIENCE)
        assert self.process.returncode == 0, error
        return out

    def stop(self) -> str:
        """End it with SIGINT, as Ctrl-C does; returns what it has printed."""
        self.process.send_signal(signal.SIGINT)
        return self.output()

    def documents(self) -> Documents:
        """What it has printed as JSON: connections, and the end."""
        return documents(self.output())


def documents(output: str) -> Documents:
    """What it has printed as JSON, after comparing it with its schemas."""
    found = [json.loads(line) for line in output.splitlines()]
    for one in found[:-1]:
        assert_valid("trace-connection", one)
    assert_valid("trace-end", found[-1])
    return found


@contextmanager
def watching(netns: NetNs, argv: Sequence[str], ready: str) -> Iterator[Watching]:
    """Run a program in the namespace; it is ready when it has said so on standard error."""
    process = netns.call(
        subprocess.Popen,
        argv,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        line = process.stderr.readline()
        if "data link type" in line:  # tcpdump, of all devices
            line = process.stderr.readline()
        assert ready in line, line + process.stderr.read()
        yield Watching(process)
    finally:
        process.kill()
        process.communicate()


def tracing(netns: NetNs, *options: str) -> Any:
    """`sockmon trace` in the namespace."""
    return watching(netns, [*SOCKMON, "trace", *options], "watching")


def capturing(netns: NetNs, file: Path, device: str = "lo") -> Any:
    """Tcpdump in the namespace, writing to a file; -s, since it drops when frames may be long."""
    argv = ["tcpdump", "-i", device, "--immediate-mode", "-s", "200", "-U", "-Z", "root", "tcp"]
    argv += ["-w", str(file)]
    return watching(netns, argv, "listening on")


def trace(*options: str) -> subprocess.CompletedProcess[str]:
    """`sockmon trace` over files."""
    return subprocess.run(
        [*SOCKMON, "trace", *options], capture_output=True, text=True, check=False, timeout=PATIENCE
    )
