"""Many hosts for one Prometheus: recorded pages, each target at another point of them."""

import gzip
import itertools
import math
import re
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from bench.hosts import Recording

STEP = 3  # polls from scrape to scrape: 15 s
APART = 7  # polls from host to host
COMPRESSION = 4  # as the daemon's
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
CLOCK = "sockmon_poll_last_success_timestamp_seconds"
_CUMULATIVE = ("counter", "histogram")


@dataclass(frozen=True, slots=True)
class Series:
    """One series of a host: what it was at each recorded poll."""

    name: str  # with its labels
    values: Sequence[float]
    growth: float  # of a counter, in a whole round of the recording

    @property
    def bare(self) -> str:
        """The name without labels."""
        return self.name.partition("{")[0]

    def at(self, poll: int) -> float:
        """The value at any poll: the recording goes round, and counters go on."""
        turns, place = divmod(poll, len(self.values))
        return self.values[place] + turns * self.growth


class Host:
    """The host that was recorded, repeated without end; `series` in the page's order."""

    def __init__(self, recording: Recording) -> None:
        self._template: list[str | Series] = []
        pages = [dict(_samples(page)) for page in recording.pages]
        kind = ""
        for line in recording.pages[-1].splitlines():
            if line.startswith("#"):
                if line.startswith("# TYPE "):
                    kind = line.split()[3]
                self._template.append(line)
            else:
                name = line.rpartition(" ")[0]
                self._template.append(_series(name, kind, pages, recording.taken_at))
        self.series = [part for part in self._template if isinstance(part, Series)]

    def page(self, poll: int, now: float) -> str:
        """The page at a poll; `now` in Unix seconds."""
        return "".join(
            part + "\n"
            if isinstance(part, str)
            else f"{part.name} {written(value_of(part, poll, now))}\n"
            for part in self._template
        )


def value_of(series: Series, poll: int, now: float) -> float:
    """The value at a poll; a time of day is kept as its distance from the scrape."""
    value = series.at(poll)
    return round(now + value, 3) if series.bare == CLOCK else value


def written(value: float) -> str:
    """The value as OpenMetrics has it."""
    return "+Inf" if value == math.inf else repr(value)


def _samples(page: str) -> Iterator[tuple[str, float]]:
    for line in page.splitlines():
        if not line.startswith("#"):
            name, _, value = line.rpartition(" ")
            yield name, float(value)


def _series(
    name: str, kind: str, pages: Sequence[dict[str, float]], taken_at: Sequence[float]
) -> Series:
    known = next(page[name] for page in pages if name in page)
    values = []
    for page in pages:  # a series that came later had its first value before
        known = page.get(name, known)
        values.append(known)
    if name.partition("{")[0] == CLOCK:
        values = [value - at for value, at in zip(values, taken_at, strict=True)]
    growth = 0.0
    if kind in _CUMULATIVE:
        growth = (values[-1] - values[0]) * len(values) / (len(values) - 1)
        if all(value.is_integer() for value in values):
            growth = float(math.floor(growth))
        growth = round(growth, 6)  # what was added up in decimals stays so
    return Series(name, values, growth)


class Fleet:
    """So many hosts, of the recorded kinds in their shares."""

    def __init__(self, recordings: Sequence[Recording], size: int) -> None:
        hosts = [Host(recording) for recording in recordings]
        shares = [recording.kind.share for recording in recordings]
        bounds = list(itertools.accumulate(shares))
        self.hosts = [
            hosts[next(i for i, bound in enumerate(bounds) if (number + 0.5) / size < bound)]
            for number in range(size)
        ]
        self._polls = [APART * number for number in range(size)]

    def scrape(self, number: int, now: float) -> bytes:
        """The next page of a host, gzipped; `now` in Unix seconds."""
        poll = self._polls[number]
        self._polls[number] += STEP
        return gzip.compress(self.hosts[number].page(poll, now).encode(), COMPRESSION)


def targets(fleet: Fleet, address: str) -> list[dict[str, Any]]:
    """The fleet for file_sd_configs: one address, a path for each host."""
    return [
        {
            "targets": [address],
            "labels": {"instance": f"host-{number:04}", "__metrics_path__": f"/{number}"},
        }
        for number in range(len(fleet.hosts))
    ]


@contextmanager
def serving(fleet: Fleet, listener: socket.socket) -> Iterator[None]:
    """Answer Prometheus, and swallow what an Alertmanager tells, until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            found = re.fullmatch(r"/(\d+)", self.path)
            if found is None:
                self.send_error(404)
                return
            body = fleet.scrape(int(found[1]), time.time())
            self.send_response(200)
            self.send_header("Content-Type", OPENMETRICS)
            self.send_header("Content-Encoding", "gzip")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its own name
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            pass  # Prometheus was killed: the end

    with Server(listener.getsockname(), Handler, bind_and_activate=False) as server:
        server.socket.close()
        server.socket = listener
        server.server_name, server.server_port = listener.getsockname()
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()
