"""What starting costs: a command, the import of NumPy only, and the daemon until it is ready."""

import os
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path

from bench.contenders import DAEMON_ADDRESS, Command, add_numbers
from bench.load import DIES_WITH_BENCH
from bench.measure import Sample, cpu_of, interleaved, median_cpu
from bench.report import Row

ROUNDS = 15
STARTS = 7
READY_WITHIN_SECONDS = 30
MOST_RATIO = 1.35
MOST_SECONDS = 1.0
#: As at a shell: the bench's own imports of sockmon have set this.
PYTHON = ("env", "-u", "OPENBLAS_NUM_THREADS", sys.executable)


def rows() -> list[Row]:
    """Measure on the sockets that there are, which should be few."""
    numpy = Command("python -c 'import numpy'", (*PYTHON, "-c", "import numpy"), lambda _: 0)
    argv = (*PYTHON, "-m", "sockmon", "count", "--format", "plain")
    count = Command("sockmon count", argv, add_numbers)
    samples = interleaved([numpy, count], ROUNDS, nullcontext)
    reference = median_cpu(samples[numpy.name])
    starts = [start() for _ in range(STARTS)]
    return [
        Row(numpy.name, "CPU", cpu(samples[numpy.name]), reference=reference),
        Row(
            count.name,
            "CPU",
            cpu(samples[count.name]),
            sockets=samples[count.name][-1].sockets,
            reference=reference,
            most_ratio=MOST_RATIO,
        ),
        Row("sockmon run: start to ready", "wall", [s.wall for s in starts], most=MOST_SECONDS),
        Row("sockmon run: start to ready", "CPU", cpu(starts)),
    ]


def cpu(samples: list[Sample]) -> list[float]:
    return [sample.cpu for sample in samples]


def start() -> Sample:
    """Start a daemon, and end it when it says READY=1 to the service manager."""
    with (
        tempfile.TemporaryDirectory() as directory,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager,
    ):
        path = str(Path(directory, "notify"))
        manager.bind(path)
        manager.settimeout(READY_WITHIN_SECONDS)
        argv = (*DIES_WITH_BENCH, *PYTHON, "-m", "sockmon", "run")
        begun = time.perf_counter()
        with subprocess.Popen(
            [*argv, "--web.listen-address", DAEMON_ADDRESS],
            stderr=subprocess.DEVNULL,
            env={**os.environ, "NOTIFY_SOCKET": path},
        ) as process:
            try:
                while b"READY=1" not in manager.recv(4096):
                    pass
                return Sample(time.perf_counter() - begun, cpu_of(process.pid), None)
            finally:
                process.terminate()
