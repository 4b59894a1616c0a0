"""Sockets to measure on: made by worker processes, in a network namespace of their own.

The namespace is entered by the bench itself, so every contender it starts sees these sockets and
no others. Workers die with the bench (PR_SET_PDEATHSIG), and the namespace with the last of them.
"""

import ctypes
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

from bench import worker

CLONE_NEWNET = 0x40000000
IPV4 = Path("/proc/sys/net/ipv4")  # of the namespace one is in
TIME_WAIT_SECONDS = 60
LEAK_PORT = 9000  # and up: what leaking workers listen on
STEADY_SECONDS = 6  # longer than any one measurement on time-wait sockets
DIES_WITH_BENCH = ("setpriv", "--pdeathsig", "KILL", "--")


def enter_namespace(*, own_table: bool = True) -> None:
    """Move this process into a new network namespace with nothing but loopback.

    Namespaces share the host's hash table of sockets, so that a dump walks over everybody's. This
    one gets a table of its own, as large as the host's: that is told to its parent, which is
    therefore a namespace that lives no longer than this call. Kernels before 6.1 cannot.
    """
    entries = (IPV4 / "tcp_ehash_entries", IPV4 / "tcp_child_ehash_entries")
    if own_table and all(path.exists() for path in entries):
        size = entries[0].read_text().strip().removeprefix("-")  # -N: N, shared with the host
        _unshare_network()
        entries[1].write_text(size)
    _unshare_network()
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    (IPV4 / "tcp_max_tw_buckets").write_text("2000000")
    (IPV4 / "tcp_tw_reuse").write_text("0")  # 2, the default, lets loopback connects take them


def _unshare_network() -> None:
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"unshare: {os.strerror(number)}")


def sockstat(key: str) -> int:
    """Read one figure of the TCP line: inuse and tw are this namespace's own."""
    line = next(
        line for line in Path("/proc/net/sockstat").read_text().splitlines() if line[:4] == "TCP:"
    )
    words = line.split()
    return int(words[words.index(key) + 1])


class Worker:
    """One maker of sockets, spoken to through pipes."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def order(self, line: str) -> None:
        self._pipe(self._process.stdin).write(line + "\n")
        self._pipe(self._process.stdin).flush()

    def await_done(self) -> None:
        if self._pipe(self._process.stdout).readline() != "done\n":
            raise RuntimeError("a maker of sockets has died: see its error above")

    @staticmethod
    def _pipe(pipe: IO[str] | None) -> IO[str]:
        assert pipe is not None
        return pipe


class Load:
    """The sockets that exist, and the means to keep the time-wait ones alive."""

    def __init__(self, workers: list[Worker], connections: int, time_waits: int) -> None:
        self._workers = workers
        self._time_waits = time_waits
        self._expire_from = 0.0
        #: How many time-wait sockets there were before and after each measurement.
        self.time_waits_seen: list[int] = []
        self.hold(connections)

    def hold(self, connections: int) -> None:
        """Open so many connections more, and keep them."""
        self._share(connections, "hold")

    def drop(self, connections: int) -> None:
        """Let go of so many connections, of which nothing is left."""
        self._share(connections, "drop")

    @contextmanager
    def leak(self, sockets: int, processes: int) -> Iterator[None]:
        """Let `processes` more workers, each with a port of its own, leak CLOSE_WAIT sockets.

        They are gone when the block ends. Their peers have closed, and the kernel has forgotten
        these when the block begins, as if they were on another host.
        """
        (IPV4 / "tcp_fin_timeout").write_text("1")
        numbers = range(len(self._workers) + 1, len(self._workers) + 1 + processes)
        with ExitStack() as stack:
            leaking = [
                stack.enter_context(start_worker(number, 1, LEAK_PORT + number))
                for number in numbers
            ]
            share(leaking, sockets, "leak")
            while sockstat("tw"):  # among which are FIN_WAIT2 sockets that nobody holds
                time.sleep(0.1)
            yield

    @contextmanager
    def steady(self) -> Iterator[None]:
        """Surround one measurement: every time-wait socket exists, and none expires soon."""
        if not self._time_waits:
            yield
            return
        self._freshen()
        self.time_waits_seen.append(sockstat("tw"))
        yield
        self.time_waits_seen.append(sockstat("tw"))

    def _freshen(self) -> None:
        if time.monotonic() + STEADY_SECONDS < self._expire_from:
            return
        while sockstat("tw"):
            time.sleep(0.1)
        self._expire_from = time.monotonic() + TIME_WAIT_SECONDS
        self._share(self._time_waits, "time_wait")

    def _share(self, count: int, order: str) -> None:
        share(self._workers, count, order)


def share(workers: Sequence[Worker], count: int, order: str) -> None:
    """Give every worker an equal part of an order, and wait for all of them."""
    each, more = divmod(count, len(workers))
    for number, maker in enumerate(workers):
        maker.order(f"{order} {each + (number < more)}")
    for maker in workers:
        maker.await_done()


@contextmanager
def start_worker(
    number: int, ports: int, first_port: int = worker.FIRST_PORT, nsenter_prefix: Sequence[str] = ()
) -> Iterator[Worker]:
    """Run a worker until the block ends; then its sockets are gone.

    nsenter_prefix: what runs a command in another namespace when put before it.
    """
    arguments = map(str, (number, ports, first_port))
    with subprocess.Popen(
        [*DIES_WITH_BENCH, *nsenter_prefix, sys.executable, "-m", "bench.worker", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield Worker(process)


@contextmanager
def load(connections: int, time_waits: int = 0, ports: int = 4) -> Iterator[Load]:
    """Hold `connections` loopback connections in a new namespace, both ends of each.

    `ports` are listened on by every worker, at an address of its own; 64 client addresses per
    worker connect to each of them, so that there are many peers and no port range runs out.
    """
    enter_namespace()
    with start_workers(connections, ports) as workers:
        yield Load(workers, connections, time_waits)


@contextmanager
def start_workers(
    connections: int, ports: int = 4, nsenter_prefix: Sequence[str] = ()
) -> Iterator[list[Worker]]:
    """Run as many workers as it takes to hold so many connections, until the block ends."""
    needed = -(-connections // worker.CONNECTIONS)
    if connections > 1000:
        needed = max(needed, os.cpu_count() or 1)
    with ExitStack() as stack:
        numbers = range(1, needed + 1)
        yield [
            stack.enter_context(start_worker(number, ports, nsenter_prefix=nsenter_prefix))
            for number in numbers
        ]
