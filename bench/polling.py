"""sockmon inside the bench's own process: a poll, the floor below it, and a page of metrics."""

import asyncio
import gzip
import platform
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar, cast
from unittest.mock import patch

from bench.measure import Sample, in_process
from sockmon import __version__
from sockmon.export.metrics import Build, Reload
from sockmon.kernel.memory import disable_malloc_trim
from sockmon.kernel.netlink import uapi
from sockmon.kernel.netlink.sockdiag import NetlinkTransport
from sockmon.kernel.netlink.source import KernelSource
from sockmon.kernel.netns.access import Look
from sockmon.model.moment import Moment
from sockmon.model.observation import Observation
from sockmon.poll.diagnosis import DiagnosisState
from sockmon.poll.owner_tracker import OwnerTracker
from sockmon.poll.poller import Poller
from sockmon.poll.reading import NamespaceReader
from sockmon.settings import Config, Ports
from sockmon.web.app import create_app
from sockmon.web.daemon_status import LatestObservation

Called = TypeVar("Called", bound=Callable[..., Any])


class Clock:
    """Says that an interval has passed at each poll, though they follow one another at once.

    What a daemon remembers by time is then as much as in a real daemon.
    """

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._now = Moment(time.monotonic(), time.time())

    def __call__(self) -> Moment:
        return self._now

    def tick(self) -> None:
        now = self._now
        self._now = Moment(now.monotonic + self._interval, now.wall + self._interval)


class RecordingTransport(NetlinkTransport):
    """The kernel, with a note of every request it was sent."""

    def __init__(self, requests: list[bytes]) -> None:
        super().__init__()
        self._requests = requests

    def send(self, request: bytes) -> None:
        self._requests.append(request)
        super().send(request)


class Poll:
    """sockmon itself: a daemon's whole poll, in this process, again and again."""

    name = "sockmon: one poll"

    def __init__(self, config: Config | None = None, look: Look | None = None) -> None:
        disable_malloc_trim()  # as the daemon does
        config = config or Config()
        self._monitor = Poller(KernelSource.live(), config, look)
        self._clock = Clock(config.poll.interval)
        #: What the last run() saw.
        self.seen: Observation | None = None

    @property
    def now(self) -> Moment:
        """The moment of the last poll."""
        return self._clock()

    def run(self) -> Sample:
        return in_process(self._count)

    def _count(self) -> int:
        self.seen = self.observe()
        return tcp_sockets(self.seen)

    def observe(self) -> Observation:
        """Poll; raises RuntimeError when any part of the poll failed: it would look cheap."""
        self._clock.tick()
        observation = self._monitor.poll(self._clock)
        if observation.failures:
            raise RuntimeError(f"the poll failed: {observation.failures}")
        return observation

    def close(self) -> None:
        self._monitor.close()


class Part:
    """What of the last poll was a part of it: a stopwatch on the methods of which that consists."""

    def __init__(self, name: str, *methods: tuple[type, str]) -> None:
        self.name = name
        self._wall = self._cpu = 0.0
        self._patches = ExitStack()
        for owner, method in methods:
            timed = self._timed(getattr(owner, method))
            self._patches.enter_context(patch.object(owner, method, timed))

    def run(self) -> Sample:
        """Measure nothing more: return what the methods took since the last time."""
        sample = Sample(self._wall, self._cpu, None)
        self._wall = self._cpu = 0.0
        return sample

    def close(self) -> None:
        self._patches.close()

    def _timed(self, function: Called) -> Called:
        def timed(*arguments: Any, **options: Any) -> Any:
            wall, cpu = time.perf_counter(), time.process_time()
            result = function(*arguments, **options)
            self._cpu += time.process_time() - cpu
            self._wall += time.perf_counter() - wall
            return result

        return cast("Called", timed)


def diagnosis() -> Part:
    # The latter counts states and, where it must, asks the kernel for the second dump.
    methods = ((DiagnosisState, "diagnose"), (NamespaceReader, "_last_heard"))
    return Part("sockmon: diagnosis within that poll", *methods)


def owner_counting() -> Part:
    return Part("sockmon: sockets by owner within that poll", (OwnerTracker, "seen"))


def tcp_sockets(observation: Observation) -> int:
    return sum(
        sum(states)
        for namespace in observation.namespaces
        if namespace.tcp is not None
        for states in namespace.tcp.value.values()
    )


def requests_of_a_poll(*, one_walk: bool) -> list[bytes]:
    """Return the requests that one poll sends to the kernel, as bytes.

    one_walk: both families of TCP are asked for at once, as sockmon does; else one by one, as ss.
    """
    requests: list[bytes] = []
    source = KernelSource.over(lambda: RecordingTransport(requests), Path("/proc"))
    monitor = Poller(replace(source, is_live=one_walk), Config())
    monitor.poll(Clock(0))
    monitor.close()
    return requests


class Floor:
    """The same dumps received into one buffer and thrown away: no poll can cost less than this."""

    _DONE = struct.Struct("=IHHIIi")  # struct nlmsghdr and the errno of NLMSG_DONE

    def __init__(self, *, one_walk: bool = True) -> None:
        asked = "in one walk" if one_walk else "by family, as ss does"
        self.name = f"dumps asked for {asked}, not parsed"
        self._requests = requests_of_a_poll(one_walk=one_walk)
        self._buffer = bytearray(64 * 1024)
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, uapi.NETLINK_SOCK_DIAG)

    def run(self) -> Sample:
        return in_process(self._receive)

    def _receive(self) -> None:
        receive_into, buffer = self._socket.recv_into, self._buffer
        unpack_from, size = self._DONE.unpack_from, self._DONE.size
        for request in self._requests:
            self._socket.sendto(request, (0, 0))
            while True:
                # NLMSG_DONE is the last message of the last datagram.
                length, kind, _, _, _, errno = unpack_from(buffer, receive_into(buffer) - size)
                if length == size and kind == uapi.NLMSG_DONE:
                    break
            if errno:
                raise OSError(-errno, "a dump failed")

    def close(self) -> None:
        self._socket.close()


#: What Prometheus asks for, as the web server hands it to the application (ASGI).
SCRAPE: dict[str, Any] = {
    "type": "http",
    "method": "GET",
    "path": "/metrics",
    "query_string": b"",
    "client": ("127.0.0.1", 1),
    "headers": [
        (b"accept", b"application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4"),
        (b"accept-encoding", b"gzip"),
    ],
}


class Rendering:
    """/metrics by the web application, after each poll anew."""

    name = "sockmon: rendering /metrics"

    def __init__(self, top: int) -> None:
        config = Config(ports=Ports(top=top))
        self._poll = Poll(config)
        self._board = LatestObservation(
            clock=lambda: self._poll.now.monotonic,
            build=Build(__version__, platform.python_version()),
            reload=Reload(successful=True, succeeded_at=self._poll.now.wall),
            started_at=self._poll.now.monotonic,
            interval=config.poll.interval,
        )
        self._app = create_app(self._board)
        self._runner = asyncio.Runner()
        self._body = b""

    @contextmanager
    def fresh(self) -> Iterator[None]:
        """Poll before each measurement: the same observation would not be rendered twice."""
        self._board.observation = self._poll.observe()
        yield

    def run(self) -> Sample:
        return in_process(lambda: self._runner.run(self._request()))

    @property
    def series(self) -> int:
        """Series on the last page."""
        lines = gzip.decompress(self._body).splitlines()
        return sum(not line.startswith(b"#") for line in lines)

    def close(self) -> None:
        self._runner.close()
        self._poll.close()

    async def _request(self) -> None:
        async def receive() -> dict[str, Any]:
            return {"type": "http.request"}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.body":
                self._body = message["body"]

        await self._app(SCRAPE, receive, send)
