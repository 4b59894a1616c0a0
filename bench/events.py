"""Connections counted in the kernel: what a transition costs, and what reading costs."""

import ctypes
import os
import socket
import struct
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np

from bench.report import Row, Section, megabytes, percent
from sockmon.clock import now
from sockmon.kernel.events import layout
from sockmon.kernel.events.loader import EventCounter, load, make_maps
from sockmon.kernel.events.rows import RowReader
from sockmon.model.connection_events import BUCKET_SECONDS, COLUMNS
from sockmon.poll.event_totals import EventTotals
from sockmon.poll.event_window import SLOTS, EventWindow
from sockmon.poll.events import by_name
from tests.eventing import held_by
from tests.lab import NetNs

CONNECTIONS = 10_000
A_SECOND = 10_000
ROUNDS = 5
GROUPS, BUSY_GROUPS = 1024, 100
POLL_SECONDS = 5.0
PING_PONGS = 20_000
#: Medians of pairs differ by as much on a busy machine with nothing attached.
NOISE = 1.05
_STATS = Path("/proc/sys/kernel/bpf_stats_enabled")
_PROG_GET_FD_BY_ID = 13

_CONNECT = f"""
import socket
listener = socket.create_server(("127.0.0.1", 20000), backlog=128)
for _ in range({CONNECTIONS}):
    client = socket.create_connection(("127.0.0.1", 20000))
    server, _ = listener.accept()
    client.close()
    server.close()
"""


def nanoseconds(value: float) -> str:
    return f"{value * 1e9:.0f} ns"


def microseconds(value: float) -> str:
    return f"{value * 1e6:.2f} us"


def section(_: int) -> Section:
    """Measure the program by the kernel's own clock, the reader, and an idle connection."""
    return Section(
        f"events: {CONNECTIONS:,} connections, both ends here",
        [*kernel_rows(), *reading_rows(), memory_row(), *idle_rows()],
    )


def kernel_rows() -> list[Row]:
    a_transition, a_connection = [], []
    with kernel_statistics(), NetNs() as netns:
        netns.set_sysctl("net.ipv4.tcp_tw_reuse", 1)
        before = held_by()
        with closing(EventCounter(load())) as counter:
            programs = [number for kind, number in held_by() - before if kind == "prog"]
            for _ in range(ROUNDS):
                time_before, runs_before = statistics(programs)
                netns.run([sys.executable, "-c", _CONNECT])
                time_after, runs_after = statistics(programs)
                counter.read(time.monotonic())
                spent = (time_after - time_before) / 1e9
                a_transition.append(spent * len(programs) / (runs_after - runs_before))
                a_connection.append(spent / CONNECTIONS / 2)
    share = [each * A_SECOND for each in a_connection]
    name = f"{A_SECOND:,} connections/s, one end here"
    return [
        Row("a transition", "kernel time", a_transition, nanoseconds, most=400e-9),
        Row(name, "of a core", share, percent, most=0.02),
    ]


@contextmanager
def kernel_statistics() -> Iterator[None]:
    """Let the kernel measure eBPF programs."""
    was = _STATS.read_text()
    _STATS.write_text("1")
    try:
        yield
    finally:
        _STATS.write_text(was)


def statistics(programs: list[int]) -> tuple[int, int]:
    """Return nanoseconds that they have run, and how often."""
    each = [statistics_of(program) for program in programs]
    return sum(time_run for time_run, _ in each), sum(runs for _, runs in each)


def statistics_of(program: int) -> tuple[int, int]:
    """Return nanoseconds that it has run, and how often."""
    libc = ctypes.CDLL(None, use_errno=True)
    attributes = ctypes.create_string_buffer(struct.pack("=III", program, 0, 0))
    fd = libc.syscall(321, _PROG_GET_FD_BY_ID, attributes, 12)
    try:
        lines = Path(f"/proc/self/fdinfo/{fd}").read_text().splitlines()
    finally:
        os.close(fd)
    told = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    return int(told["run_time_ns"]), int(told["run_cnt"])


def reading_rows() -> list[Row]:
    """A poll's part: of many rows, some with news."""
    words = np.zeros((layout.ENTRIES, layout.WORDS), np.uint64)
    control = np.zeros(2, np.uint64)
    words[0, layout.NUMBER] = GROUPS
    for number in range(1, GROUPS + 1):
        entry = layout.FIRST_ROW + number % layout.ROWS
        words[entry, layout.NUMBER] = number
        words[entry, layout.KEY] = layout.key(1, layout.INBOUND, number)
    reader, totals, window = RowReader(words, control), EventTotals(), EventWindow()
    window.follow(["host"], 0.0)
    busy = layout.FIRST_ROW + np.arange(1, BUSY_GROUPS + 1)
    reading, polling = [], []
    for _ in range(ROUNDS * 10):
        words[busy, layout.FIRST_COLUMN :] += np.uint64(7)
        begun = time.process_time()
        increments = reader.read(now().monotonic)
        reading.append(time.process_time() - begun)
        counted = tuple(by_name(increments, {1: "host"}))
        totals.add(counted, now().monotonic, 10, lambda _: None)
        totals.by_namespace()
        window.add(counted, now().monotonic)
        window.recent("host", now().monotonic)
        polling.append((time.process_time() - begun) / POLL_SECONDS)
    return [
        Row(f"reading {GROUPS} rows, {BUSY_GROUPS} with news", "CPU a poll", reading, most=0.2e-3),
        Row("the daemon's own part", "of a core", polling, percent, most=0.001),
        full_window_row(),
    ]


def full_window_row() -> Row:
    """Look at one namespace that has all the window's ports, all of which have news."""
    window, columns = EventWindow(), np.ones(COLUMNS, np.int64)
    window.follow(["host"], 0.0)
    looking = []
    for bucket in range(ROUNDS * 10):
        moment = bucket * BUCKET_SECONDS
        window.add((("host", "inbound", port, columns) for port in range(1, SLOTS)), moment)
        begun = time.process_time()
        window.recent("host", moment)
        looking.append(time.process_time() - begun)
    return Row(f"the last five minutes of {SLOTS:,} ports", "CPU a poll", looking, most=5e-3)


def memory_row() -> Row:
    opened: list[int] = []
    make_maps(opened)
    total = 0
    for fd in opened:
        lines = Path(f"/proc/self/fdinfo/{fd}").read_text().splitlines()
        total += sum(int(line.split()[1]) for line in lines if line.startswith("memlock:"))
        os.close(fd)
    return Row("maps", "kernel memory", [float(total)], megabytes, most=8e6)


def idle_rows() -> list[Row]:
    """One byte to and fro on one connection, with the program attached and without, in turn."""
    without: list[float] = []
    attached: list[float] = []
    with NetNs() as netns:
        listener = netns.call(socket.create_server, ("127.0.0.1", 20000))
        client = netns.socket()
        client.connect(("127.0.0.1", 20000))
        server, _ = listener.accept()
        for each in (client, server):
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(ROUNDS):
            without.append(ping_pong(client, server))
            with closing(load()):
                attached.append(ping_pong(client, server))
        for each in (client, server, listener):
            each.close()
    reference = sorted(without)[len(without) // 2]
    return [
        Row("a round trip, nothing attached", "CPU", without, microseconds),
        Row(
            "a round trip, counting",
            "CPU",
            attached,
            microseconds,
            reference=reference,
            most_ratio=NOISE,
        ),
    ]


def ping_pong(client: socket.socket, server: socket.socket) -> float:
    begun = time.process_time()
    for _ in range(PING_PONGS):
        client.send(b"x")
        server.recv(1)
        server.send(b"x")
        client.recv(1)
    return (time.process_time() - begun) / PING_PONGS
