"""Three kinds of hosts, played by real sockets between two namespaces, and a daemon on each."""

import contextlib
import gzip
import itertools
import json
import random
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from tests.lab import CLIENT, SERVER, AddressKind, Host, Link, NetNs, experiments, linked
from tests.lab.sockets import (
    accepted,
    close_in_turn,
    connected,
    kept,
    listening,
    reset_on_close,
)
from tests.running import RunningDaemon, running_daemon

#: What Prometheus 2.42 sends (model/textparse and scrape/scrape.go).
SCRAPE = {
    "Accept": "application/openmetrics-text;version=1.0.0,"
    "application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
    "Accept-Encoding": "gzip",
}
POLLS = 10  # pages recorded of each host, one a poll
POLL_SECONDS = 5.0  # the daemon's default
SEEN_SECONDS = 6.0  # more than a poll: what exists so long has been seen
SETTLE_SECONDS = 14.0  # then the leak has been found, and traffic is as it stays
TICK_SECONDS = 0.1
#: So that a leak is found while we wait; what is half closed for SEEN_SECONDS is none.
LEAK = {"detect": {"close_wait_leak": {"stale_after": "10s"}}}


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of host; `share` of the fleet is like it."""

    name: str
    share: float
    listens: int  # ports it serves
    calls: int  # ports of others that it connects to
    held: int  # connections kept on each port
    brief: int  # more in a second, all ports in turn, used once and closed
    leaked: int = 0  # sockets in CLOSE_WAIT


KINDS = (
    Kind("quiet", 0.3, listens=4, calls=2, held=2, brief=1),
    Kind("typical", 0.5, listens=10, calls=5, held=30, brief=20),
    Kind("busy", 0.2, listens=40, calls=30, held=60, brief=100, leaked=12),
)


@dataclass(frozen=True, slots=True)
class Recording:
    """A host's pages, as Prometheus would have got them, and what they cost it.

    `pages` are OpenMetrics text, `taken_at` their Unix times; `zipped` and `plain` bytes are those
    of the last page; `cpu` is a share of one core; `resident` bytes.
    """

    kind: Kind
    pages: Sequence[str]
    taken_at: Sequence[float]
    zipped: int
    cpu: float
    resident: float
    sockets: int

    @property
    def plain(self) -> int:
        """Bytes of the last page before it was zipped."""
        return len(self.pages[-1].encode())

    @property
    def series(self) -> int:
        """Series on the last page."""
        return sum(not line.startswith("#") for line in self.pages[-1].splitlines())


@dataclass(frozen=True, slots=True)
class Service:
    """A listener, and from where it is called."""

    caller: NetNs
    host: Host
    listener: socket.socket

    def connect(self) -> tuple[socket.socket, socket.socket]:
        """The caller's end and the service's."""
        port = self.listener.getsockname()[1]
        client = connected(self.caller, AddressKind.IPV4, port, host=self.host)
        return client, accepted(self.listener)


def record(kind: Kind, directory: Path) -> Recording:
    """Play the host, watch it with a daemon, and keep a page of each of POLLS polls."""
    config = directory / f"{kind.name}.json"  # JSON is YAML
    config.write_text(json.dumps(LEAK))
    with ExitStack() as stack:
        link = stack.enter_context(linked())
        daemon = stack.enter_context(running_daemon(link.server, "--config", str(config)))
        if kind.leaked:
            stack.enter_context(experiments.unclosed(link.server, count=kind.leaked))
        stack.enter_context(traffic(link, kind))
        time.sleep(SETTLE_SECONDS)
        return _pages(kind, daemon)


def _pages(kind: Kind, daemon: RunningDaemon) -> Recording:
    pages, times, zipped = [], [], 0
    due = time.monotonic()
    for _ in range(POLLS):
        time.sleep(max(0.0, due - time.monotonic()))
        due += POLL_SECONDS
        answer = daemon.get("/metrics", SCRAPE)
        times.append(time.time())
        zipped = len(answer.body)
        pages.append(gzip.decompress(answer.body).decode())
    first, last = figures(pages[0]), figures(pages[-1])
    busy = last["process_cpu_seconds_total"] - first["process_cpu_seconds_total"]
    return Recording(
        kind,
        pages,
        times,
        zipped=zipped,
        cpu=busy / (times[-1] - times[0]),
        resident=last["process_resident_memory_bytes"],
        sockets=round(last["sockmon_sockets"]),
    )


def figures(page: str) -> dict[str, float]:
    """Each metric of a page, its series added up."""
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            found[sample.name] = found.get(sample.name, 0.0) + sample.value
    return found


@contextmanager
def traffic(link: Link, kind: Kind) -> Iterator[None]:
    """Use the host's ports, as long as the block lasts. It is `link.server`."""
    with ExitStack() as stack:
        services = [_service(stack, link.server, SERVER, link.client) for _ in range(kind.listens)]
        services += [_service(stack, link.client, CLIENT, link.server) for _ in range(kind.calls)]
        held = [service.connect() for service in services for _ in range(kind.held)]
        stack.callback(_abort, held)
        with _half_closed(services):
            time.sleep(SEEN_SECONDS)
        done = threading.Event()
        mover = stack.enter_context(ThreadPoolExecutor(1))
        moved = mover.submit(_keep_moving, kind, services, held, done)
        stack.callback(moved.result)
        stack.callback(done.set)
        yield


def _service(stack: ExitStack, netns: NetNs, host: Host, caller: NetNs) -> Service:
    listener = listening(netns, AddressKind.IPV4, host=host)
    return Service(caller, host, stack.enter_context(listener))


@contextmanager
def _half_closed(services: Sequence[Service]) -> Iterator[None]:
    """Show each port in CLOSE_WAIT and FIN_WAIT2, both ways round: a day shows them, we have less.

    A state once shown keeps its series.
    """
    with ExitStack() as stack:
        for service in services:
            for first in (0, 1):
                ends = service.connect()
                for end in ends:
                    kept(stack, end)
                ends[first].shutdown(socket.SHUT_WR)
        yield


def _keep_moving(
    kind: Kind,
    services: Sequence[Service],
    held: list[tuple[socket.socket, socket.socket]],
    done: threading.Event,
) -> None:
    """Brief connections, held ones that come and go, and bytes that wait to be read."""
    chance = random.Random(kind.name)
    turns = itertools.cycle(services)
    fewest = len(held) // 2
    owed = 0.0
    while not done.wait(TICK_SECONDS):
        owed += kind.brief * TICK_SECONDS
        while owed >= 1:
            owed -= 1
            ends = list(next(turns).connect())
            chance.shuffle(ends)
            close_in_turn(*ends)
        if len(held) < fewest or chance.random() < 0.5:
            held.append(chance.choice(services).connect())
        else:
            _abort([held.pop(chance.randrange(len(held)))])
        chance.choice(held)[0].sendall(bytes(chance.randrange(1, 2000)))
        reader = chance.choice(held)[1]
        reader.settimeout(0)
        with contextlib.suppress(BlockingIOError):
            reader.recv(65536)


def _abort(connections: Sequence[tuple[socket.socket, socket.socket]]) -> None:
    for ends in connections:
        for end in ends:
            reset_on_close(end)
            end.close()
