"""A real daemon, `sockmon run`, inside a namespace of the laboratory."""

import http.client
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from tests.lab import PATIENCE, NetNs, eventually

PORT = 10776

Labels = frozenset[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class RunningDaemon:
    """The daemon's process and how to talk to it."""

    netns: NetNs
    process: subprocess.Popen[bytes]
    log_file: Path

    def get(
        self, path: str, headers: Mapping[str, str] | None = None, host: str = "127.0.0.1"
    ) -> Answer:
        """Ask over HTTP from inside the namespace."""

        def ask() -> Answer:
            connection = http.client.HTTPConnection(host, PORT, timeout=PATIENCE)
            try:
                connection.request("GET", path, headers=dict(headers or {}))
                response = connection.getresponse()
                return Answer(response.status, dict(response.getheaders()), response.read())
            finally:
                connection.close()

        return self.netns.call(ask)

    def samples(self, name: str) -> dict[Labels, float]:
        """One metric's samples on /metrics by their labels."""
        text = self.get("/metrics").body.decode()
        return {
            frozenset(sample.labels.items()): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == name
        }

    def value(self, name: str, **labels: str) -> float:
        """One sample's value."""
        return self.samples(name)[frozenset(labels.items())]

    def wait_for_polls(self, count: int = 1) -> None:
        """Return when so many polls more have begun and ended."""
        polls = self.value("sockmon_polls_total")
        eventually(lambda: self.value("sockmon_polls_total") > polls + count)

    def log(self) -> str:
        """What it has written to standard error."""
        return self.log_file.read_text()

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def stop(self) -> int:
        """End it in good order; returns the exit status."""
        self.signal(signal.SIGTERM)
        return self.process.wait(timeout=PATIENCE)


@contextmanager
def running_daemon(
    netns: NetNs,
    *arguments: str,
    environment: Mapping[str, str] | None = None,
    prefix: Sequence[str] = (),
) -> Iterator[RunningDaemon]:
    """Run the daemon until the context is left; it is ready when the context is entered."""
    with tempfile.TemporaryDirectory() as directory:
        log_file = Path(directory, "log")
        with log_file.open("wb") as log:
            process = netns.call(
                subprocess.Popen[bytes],
                [*prefix, sys.executable, "-m", "sockmon", "run", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **(environment or {})},
            )
        daemon = RunningDaemon(netns, process, log_file)
        try:
            eventually(lambda: _ready(daemon))
            yield daemon
        finally:
            if process.poll() is None:
                # unshare blocks SIGTERM as long as its child lives.
                process.kill() if "--kill-child" in prefix else process.terminate()
                try:
                    process.wait(timeout=PATIENCE)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


def _ready(daemon: RunningDaemon) -> bool:
    if daemon.process.poll() is not None:
        raise RuntimeError(f"the daemon has ended: {daemon.log()}")
    try:
        return daemon.get("/-/ready").status == 200
    except OSError:
        return False
