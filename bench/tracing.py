"""`sockmon trace`: files compared with tcpdump and tshark, and this host's packets as they come."""

import gc
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from itertools import islice
from pathlib import Path

from bench.contenders import Command
from bench.measure import Contender, Sample, in_process, interleaved
from bench.report import Row, Section, megabytes, percent
from sockmon.kernel.packets.files import open_capture
from sockmon.kernel.packets.filters import tcp_filter
from sockmon.kernel.packets.headers import decode
from sockmon.kernel.packets.ring import PacketRing
from sockmon.trace.counting import Counting
from sockmon.trace.summary import Summary
from sockmon.trace.tracker import Tracker
from tests.lab import NetNs
from tests.unit.trace.making import START, Talk, end, ip_packet, pcap, record

CONNECTIONS = 15_000
SEGMENTS = 7  # of each: SYN, SYN-ACK, ACK, data, FIN, FIN, ACK
ROUNDS = 5
BULK_BYTES = 1_000_000_000
REFUSED = 20_000
A_SECOND = 1000
LIVE_SECONDS = 10
RAW = 101
SOCKMON = (sys.executable, "-m", "sockmon", "trace")
NO_PORT = 9


def microseconds(value: float) -> str:
    return f"{value * 1e6:.2f} us"


def section(_: int) -> Section:
    """Measure files of many connections and of much data, the ring, and a busy host."""
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory, "many.pcap")
        write(file, islice(conversations(0), CONNECTIONS))
        rows = [*reading(file), *summary_rows(file), *programs(file)]
        write(file, bulk())
        rows.append(memory(file))
    return Section(
        f"sockmon trace: {CONNECTIONS:,} connections of {SEGMENTS} segments",
        [*rows, *ring_rows(), *live_rows()],
    )


def conversations(data: int) -> Iterator[bytes]:
    """The packets of one connection after the other, each with so many segments of data."""
    number = 0
    while True:
        address = f"10.{number >> 14 & 255}.{number >> 7 & 127}.{number & 127}"
        client, server = end(address, 1024 + number % 60000), end("10.0.0.2", 80)
        talk = Talk(ends=(client, server), now=START + number * 1_000_000)
        segments = [*talk.handshake(), talk.say("c", "P.", 21)]
        segments += [talk.say("s", "P.", 1448) for _ in range(data)]
        segments += [talk.say("c", "F."), talk.say("s", "F."), talk.say("c", ".")]
        packets = ((segment.time, ip_packet(segment)) for segment in segments)
        yield b"".join(record(time, packet) for time, packet in packets)
        number += 1


def bulk() -> Iterator[bytes]:
    """Connections with much data, a gigabyte in all."""
    size = 0
    for packets in conversations(100):
        yield packets
        size += len(packets)
        if size >= BULK_BYTES:
            return


def write(file: Path, parts: Iterator[bytes]) -> None:
    with file.open("wb") as out:
        out.write(pcap([], RAW, nanoseconds=True))
        out.writelines(parts)


class Reading:
    """A file read in this process, decoded only or followed too."""

    def __init__(self, name: str, file: Path, work: Callable[[Path], int]) -> None:
        self.name = name
        self._file = file
        self._work = work

    def run(self) -> Sample:
        return in_process(lambda: self._work(self._file))


def decoded(file: Path) -> int:
    with open_capture(str(file)) as capture:
        return sum(len(decode(packets).segments) for packets in capture.packets())


def followed(file: Path) -> int:
    tracker = Tracker()
    with open_capture(str(file)) as capture:
        for packets in capture.packets():
            tracker.take(decode(packets).segments)
    return tracker.seen


def reading(file: Path) -> list[Row]:
    """Microseconds a packet; without collections, as in the command."""
    contenders: list[Contender] = [
        Reading("a capture: decoded", file, decoded),
        Reading("a capture: decoded and followed", file, followed),
    ]
    gc.disable()
    samples = interleaved(contenders, ROUNDS, nullcontext)
    gc.enable()
    most = {contenders[0].name: 2e-6, contenders[1].name: 10e-6}
    return [per_packet(name, samples[name], most[name]) for name in samples]


def summary_rows(file: Path) -> list[Row]:
    """Columns to counts, as above 2,000 connections a second; decoded as in the ring."""
    with open_capture(str(file)) as capture:
        packets = list(capture.packets())
    gc.disable()
    values = []
    for _ in range(ROUNDS):
        summary = Summary()
        counting = Counting(Tracker(), summary)
        begun = time.process_time()
        for part in packets:
            counting.take(decode(part).segments)
        values.append((time.process_time() - begun) / CONNECTIONS)
        assert summary.connections == CONNECTIONS
    gc.enable()
    name = "summary alone: decoded and counted"
    return [Row(name, "CPU a connection", values, microseconds, most=5e-6)]


def programs(file: Path) -> list[Row]:
    """Whole programs over the same file."""
    commands: list[Contender] = [
        Command("sockmon trace --read", (*SOCKMON, "--read", str(file)), lambda _: 0),
        Command("tcpdump -nSr", ("tcpdump", "-nSr", str(file)), lambda _: 0),
    ]
    if shutil.which("tshark"):
        fields = ("-T", "fields", "-e", "tcp.stream", "-e", "tcp.completeness")
        commands.append(Command("tshark", ("tshark", "-r", str(file), *fields), lambda _: 0))
    samples = interleaved(commands, ROUNDS, nullcontext)
    return [per_packet(name, samples[name], None) for name in samples]


def per_packet(name: str, samples: list[Sample], most: float | None) -> Row:
    values = [sample.cpu / (CONNECTIONS * SEGMENTS) for sample in samples]
    return Row(name, "CPU a packet", values, microseconds, most=most)


def memory(file: Path) -> Row:
    """Peak memory over a gigabyte; a process begins with the peak of the one that starts it."""
    program = (
        "import resource, subprocess, sys;"
        "subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True);"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    argv = [sys.executable, "-c", program, *SOCKMON, "--read", str(file)]
    kibibytes = int(subprocess.run(argv, stdout=subprocess.PIPE, check=True).stdout)
    return Row("sockmon trace --read: 1 GB", "peak RSS", [kibibytes * 1024], megabytes, most=200e6)


def ring_rows() -> list[Row]:
    """From the ring to columns, of SYNs and RSTs that have already come."""
    values = []
    with NetNs() as netns:
        for _ in range(ROUNDS):
            with netns.call(PacketRing, tcp_filter(data=False)) as ring:
                netns.call(refuse)
                begun = time.process_time()
                while (packets := ring.wait(0.2)) is not None:
                    decode(packets)
                    ring.release()
                values.append((time.process_time() - begun) / ring.read)
    return [Row("ring to columns", "CPU a segment", values, microseconds, most=1e-6)]


def refuse() -> None:
    for _ in range(REFUSED):
        with socket.socket() as one:
            one.connect_ex(("127.0.0.1", NO_PORT))


def live_rows() -> list[Row]:
    """`sockmon trace` while connections come and go on loopback, less what it takes to start."""
    with NetNs() as netns:
        values = []
        for rate in (0, A_SECOND):
            process = netns.call(
                subprocess.Popen,
                [*SOCKMON, "--format", "lines"],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
            )
            assert process.stderr is not None
            process.stderr.readline()
            netns.call(connect, rate)
            process.send_signal(signal.SIGINT)
            _, _, usage = os.wait4(process.pid, 0)
            process.returncode = 0
            process.stderr.close()
            values.append(usage.ru_utime + usage.ru_stime)
    share = (values[1] - values[0]) / LIVE_SECONDS
    name = f"sockmon trace: {A_SECOND:,} connections a second"
    return [Row(name, "CPU of a core", [share], percent, most=0.05)]


def connect(rate: int) -> None:
    """Open and close connections at a rate, in three segments each."""
    begun = time.monotonic()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        made = 0
        while (passed := time.monotonic() - begun) < LIVE_SECONDS:
            while made < rate * passed:
                with socket.create_connection(listener.getsockname()) as client:
                    server, _ = listener.accept()
                    client.sendall(b"x" * 21)
                    server.recv(100)
                with server:
                    server.recv(1)
                made += 1
            time.sleep(0.005)
