"""What the daemon takes of a core over a minute, however much there is to look at.

A process of its own, with the configuration it has by default, measured from outside.
"""

import re
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.contenders import Server, daemon
from bench.load import load
from bench.measure import cpu_of
from bench.namespaces import NAMESPACES, containers
from bench.report import Row, Section, megabytes, percent

MOST = 0.06  # of a core in any minute, with poll.cpu_budget at its default, 0.05
MOST_MEMORY = 400e6  # of 1,000,000 sockets
SETTLING_SECONDS = 45  # at least: the first polls look everybody up
READ_WITHIN_SECONDS = 300
SCRAPE_SECONDS = 15
SCRAPES = 8
SCRAPES_A_MINUTE = 4
_READ_AT = re.compile(r"^sockmon_poll_last_success_timestamp_seconds\{.*\} (\S+)$", re.MULTILINE)


def namespaces(sockets: int) -> Section:
    """Measure the daemon where a hundred namespaces have sockets."""
    connections = sockets // 5
    with containers(connections, NAMESPACES):
        rows = daemon_rows(NAMESPACES + 1)
    title = f"{2 * connections:,} established sockets in {NAMESPACES} network namespaces, all seen"
    return Section(title, rows)


def host(sockets: int) -> Section:
    """Measure the daemon where its own namespace has very many sockets."""
    connections = 2 * sockets
    with load(connections):
        rows = daemon_rows(1, most_memory=MOST_MEMORY)
    return Section(f"{2 * connections:,} established sockets in the daemon's own namespace", rows)


def daemon_rows(namespaces: int, most_memory: float | None = None) -> list[Row]:
    """Measure a daemon that is asked as Prometheus asks, once it has read so many namespaces."""
    with everywhere() as server:
        settle(server, namespaces)
        used, ages = [reading(server)], []
        for _ in range(SCRAPES):
            time.sleep(SCRAPE_SECONDS)
            ages.append(time.time() - min(read_at(server)))
            used.append(reading(server))
        polls = server.count(server.get())
        memory = server.memory("VmRSS"), server.memory("VmHWM")
    minutes = [
        (cpu - cpu_before) / (at - at_before)
        for (at_before, cpu_before), (at, cpu) in zip(used, used[SCRAPES_A_MINUTE:], strict=False)
    ]
    return [
        Row(server.name, "of a core", minutes, percent),
        Row("its dearest minute", "of a core", [max(minutes)], percent, most=MOST),
        Row("its oldest namespace's data", "age", ages),
        Row(server.name, "RSS", memory[:1], megabytes),
        Row(server.name, "peak RSS", memory[1:], megabytes, most=most_memory),
        Row("polls since its start", "number", [polls], lambda number: f"{number:.0f}"),
    ]


def settle(server: Server, namespaces: int) -> None:
    """Let the daemon find its beat; raises RuntimeError if it does not read them all in time."""
    deadline = time.monotonic() + READ_WITHIN_SECONDS
    time.sleep(SETTLING_SECONDS)
    while len(read_at(server)) < namespaces:
        if time.monotonic() > deadline:
            raise RuntimeError(f"{server.name} has not read {namespaces} namespaces")
        time.sleep(SCRAPE_SECONDS)


def reading(server: Server) -> tuple[float, float]:
    """When it is, and how much CPU time the daemon has used; seconds."""
    return time.monotonic(), cpu_of(server.pid)


def read_at(server: Server) -> list[float]:
    """When each namespace was last read in full, those that never were left out; wall seconds."""
    return list(map(float, _READ_AT.findall(server.get())))


@contextmanager
def everywhere() -> Iterator[Server]:
    """Run a daemon that looks at all namespaces."""
    with tempfile.TemporaryDirectory() as directory:
        config = Path(directory, "config.yaml")
        config.write_text("poll: {namespaces: all}")
        with daemon("--config", str(config)) as server:
            yield server
