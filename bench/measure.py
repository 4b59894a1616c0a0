"""What one run of something cost, and runs of several things in turn."""

import os
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Sample:
    """One run: seconds by the clock, seconds of CPU, and how many sockets it counted."""

    wall: float
    cpu: float
    sockets: int | None


class Contender(Protocol):
    """Something that looks at all sockets, again and again."""

    @property
    def name(self) -> str:
        """What the table calls it."""
        ...

    def run(self) -> Sample:
        """Look once."""
        ...


def in_process(work: Callable[[], int | None]) -> Sample:
    """Cost of a call, all threads of the bench together."""
    wall, cpu = time.perf_counter(), time.process_time()
    sockets = work()
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return Sample(wall, cpu, sockets)


def of_command(argv: Sequence[str], count: Callable[[str], int]) -> Sample:
    """Cost of a whole process and of every process it waits for, from its start to its end."""
    wall = time.perf_counter()
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        output = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - wall
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(argv)}: exit status {process.returncode}")
    return Sample(wall, usage.ru_utime + usage.ru_stime, count(output))


def in_server(pid: int, request: Callable[[], int]) -> Sample:
    """Cost of a request to a process that goes on running: its CPU, our wait."""
    wall, cpu = time.perf_counter(), cpu_of(pid)
    sockets = request()
    wall = time.perf_counter() - wall
    return Sample(wall, cpu_of(pid) - cpu, sockets)


def cpu_of(pid: int) -> float:
    """CPU seconds of another process so far, by its own clock: clock_getcpuclockid(3)."""
    return time.clock_gettime(~pid << 3 | 2)


def memory_of(pid: int, field: str) -> float:
    """Bytes in a field of /proc/PID/status: VmRSS, or VmHWM, which is the most there ever was."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024.0
    raise LookupError(field)


def interleaved(
    contenders: Sequence[Contender],
    rounds: int,
    around: Callable[[], AbstractContextManager[None]],
    *,
    warm_up: bool = True,
) -> dict[str, list[Sample]]:
    """Let each contender run once a round, in turn, so that all meet the same disturbances."""
    samples: dict[str, list[Sample]] = {contender.name: [] for contender in contenders}
    for number in range(rounds + warm_up):
        for contender in contenders:
            with around():
                sample = contender.run()
            if number or not warm_up:
                samples[contender.name].append(sample)
    return samples


def median_cpu(samples: Sequence[Sample]) -> float:
    return statistics.median(sample.cpu for sample in samples)


def median_wall(samples: Sequence[Sample]) -> float:
    return statistics.median(sample.wall for sample in samples)
