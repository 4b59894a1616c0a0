"""Those who look at the same sockets from processes of their own."""

import re
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.load import DIES_WITH_BENCH
from bench.measure import Sample, in_server, memory_of, of_command

REFERENCE = "ss -tan | awk"
PIPELINES = {
    REFERENCE: "ss -tan | awk '{s[$1]++} END {for (k in s) print k, s[k]}'",
    "netstat -ant | awk": "netstat -ant | awk '/^tcp/ {s[$6]++} END {for (k in s) print k, s[k]}'",
}
REPOSITORY = Path(__file__).parents[1]
NODE_EXPORTER_PORT = 9100
DAEMON_ADDRESS = "127.0.0.1:10776"
START_SECONDS = 30
COUNT_SECONDS = 60
REQUEST_SECONDS = 60
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # whatever http_proxy says


@dataclass(frozen=True, slots=True)
class Command:
    """A whole process, from its start to its end."""

    name: str
    argv: Sequence[str]
    count: Callable[[str], int]

    def run(self) -> Sample:
        return of_command(self.argv, self.count)


def add_numbers(output: str) -> int:
    """Add up lines of a state and a number; ss's heading too is a state to awk."""
    lines = [line.split() for line in output.splitlines()]
    return sum(int(words[1]) for words in lines if len(words) == 2 and words[0] != "State")


def sockmon_count() -> Command:
    argv = (sys.executable, "-m", "sockmon", "count", "--format", "plain")
    return Command("sockmon count", argv, add_numbers)


def pipelines() -> list[Command]:
    """Return ss and netstat, each counted by awk, as far as they are installed."""
    return [
        Command(name, ("sh", "-c", line), add_numbers)
        for name, line in PIPELINES.items()
        if installed(name)
    ]


def installed(pipeline: str) -> bool:
    return all(shutil.which(stage.split()[0]) for stage in pipeline.split("|"))


def left_out() -> list[str]:
    """Name the contenders that are not installed."""
    missing = [name for name in PIPELINES if not installed(name)]
    if node_exporter_program() is None:
        missing.append("node_exporter tcpstat (neither in PATH nor in .components/usr/bin)")
    return missing


PSUTIL = """
import collections, psutil
states = collections.Counter(c.status for c in psutil.net_connections(kind="tcp"))
for state, count in states.items():
    print(state, count)
"""

PYROUTE2 = """
import collections, socket, pyroute2
states = collections.Counter()
with pyroute2.DiagSocket() as diag:
    diag.bind()
    for family in (socket.AF_INET, socket.AF_INET6):
        states.update(message["idiag_state"] for message in diag.get_sock_stats(family=family))
for state, count in states.items():
    print(state, count)
"""


def libraries() -> list[Command]:
    """Python libraries that make an object of every socket."""
    return [
        Command("psutil.net_connections", (sys.executable, "-c", PSUTIL), add_numbers),
        Command("pyroute2 get_sock_stats", (sys.executable, "-c", PYROUTE2), add_numbers),
    ]


@dataclass(frozen=True, slots=True)
class Server:
    """A process that answers on loopback."""

    name: str
    pid: int
    url: str
    count: Callable[[str], int]

    def get(self) -> str:
        with DIRECT.open(self.url, timeout=REQUEST_SECONDS) as response:
            return str(response.read(), "utf-8")

    def run(self) -> Sample:
        return in_server(self.pid, lambda: self.count(self.get()))

    def await_count(self, count: int) -> None:
        """Return once the server's count has come to `count`."""
        deadline = time.monotonic() + COUNT_SECONDS
        while self.count(self.get()) < count:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{self.name} has not come to {count}")
            time.sleep(1)

    def memory(self, field: str) -> float:
        """Bytes: VmRSS now, or VmHWM, the most there ever was."""
        return memory_of(self.pid, field)


@contextmanager
def serving(name: str, argv: Sequence[str], url: str, metric: str) -> Iterator[Server]:
    """Run a server until the block ends. `metric`, a pattern, names what its count adds up."""
    pattern = re.compile(rf"^{metric} (\S+)$", re.MULTILINE)
    with subprocess.Popen([*DIES_WITH_BENCH, *argv], stderr=subprocess.DEVNULL) as process:
        try:
            server = Server(
                name, process.pid, url, lambda page: round(sum(map(float, pattern.findall(page))))
            )
            await_answer(process, server)
            yield server
        finally:
            process.terminate()


def await_answer(process: subprocess.Popen[bytes], server: Server) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            server.get()
        except OSError as error:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{server.name} does not answer") from error
            time.sleep(0.05)
        else:
            return


def node_exporter_program() -> str | None:
    extracted = REPOSITORY / ".components/usr/bin"
    for name in ("prometheus-node-exporter", "node_exporter"):
        found = shutil.which(name) or shutil.which(name, path=extracted)
        if found:
            return found
    return None


@contextmanager
def node_exporter() -> Iterator[Server | None]:
    """Run node_exporter with its tcpstat collector alone, if it is there; a run is a scrape."""
    program = node_exporter_program()
    if program is None:
        yield None
        return
    argv = (
        program,
        "--collector.disable-defaults",
        "--collector.tcpstat",
        "--web.disable-exporter-metrics",
        f"--web.listen-address=127.0.0.1:{NODE_EXPORTER_PORT}",
    )
    url = f"http://127.0.0.1:{NODE_EXPORTER_PORT}/metrics"
    states = r'node_tcp_connection_states\{state="(?![rt]x_)\w+"\}'  # queued bytes are there too
    with serving("node_exporter tcpstat", argv, url, states) as server:
        yield server


@contextmanager
def daemon(*arguments: str) -> Iterator[Server]:
    """Run sockmon's daemon, as it is by default if there are no arguments."""
    argv = (sys.executable, "-m", "sockmon", "run", "--web.listen-address", DAEMON_ADDRESS)
    url = f"http://{DAEMON_ADDRESS}/metrics"
    with serving("sockmon run", (*argv, *arguments), url, "sockmon_polls_total") as server:
        yield server
