"""python -m tests.standing.soak SECONDS: a busy host for so long, and what sockmon says of it.

Connections, listening ports and network namespaces come and go beside a large table at rest. At
each sample, what /metrics says must be what ss has counted around the time that the count is of; no
count is older than its bound; and memory, descriptors, threads and new series stay within theirs. A
peak of descriptors is no leak: it follows the number of namespaces of the whole host.
While the daemon's threads wait for a processor that others have, no bound on age runs.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from sockmon.model.observation import OLDEST_BELIEVED
from sockmon.poll.cpu_budget import MAX_AGE
from tests.lab import NetNs, eventually
from tests.running import RunningDaemon, running_daemon
from tests.standing.churn import KINDS

_EVERY = 5.0
#: A poll and a busy machine may take so long beside an age's bound.
_SLACK = 30.0
#: What is usual in the last share of the time is compared with what was in the first.
_SHARE = 0.25
_GROWTH_MB, _MORE_DESCRIPTORS, _MORE_THREADS = 30.0, 40, 6
#: New series a minute, once the first have begun.
_NEW_SERIES = 600
#: Of what ss counts, so much may differ: a dump is no snapshot.
_TOLERANCE = 0.1
_STATES = {"established": "established", "time_wait": "time-wait", "listen": "listening"}
_CONFIG = "poll: {namespaces: all}\n"


@dataclass
class Sample:
    """One look at the daemon."""

    at: float
    rss_mb: float
    descriptors: int
    threads: int
    series: int
    new_series: int
    host_age: float
    oldest: float
    starved: float


@dataclass
class Starvation:
    """How many seconds the threads of a process have waited for a processor, over ten minutes."""

    by_thread: dict[str, float] = field(default_factory=dict)
    looks: list[tuple[float, float]] = field(default_factory=list)

    def look(self, process: Path, now: float) -> float:
        """Read it, and return the whole so far. Source: sched-stats.rst, /proc/PID/schedstat."""
        for task in (process / "task").iterdir():
            with suppress(FileNotFoundError):
                self.by_thread[task.name] = int((task / "schedstat").read_text().split()[1]) / 1e9
        whole = sum(self.by_thread.values())
        self.looks = [(at, was) for at, was in self.looks if now - at < 600] + [(now, whole)]
        return whole

    def since(self, when: float) -> float:
        """Return the seconds of waiting since then, or since the last look before it."""
        before = [was for at, was in self.looks if at <= when]
        return self.looks[-1][1] - (before[-1] if before else self.looks[0][1])


@dataclass
class Soak:
    """A daemon under churn, and what has been wrong so far."""

    netns: NetNs
    daemon: RunningDaemon
    samples: list[Sample] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    counted: list[tuple[float, dict[str, int]]] = field(default_factory=list)
    ever: set[str] = field(default_factory=set)
    starvation: Starvation = field(default_factory=Starvation)

    def run(self, seconds: float) -> None:
        """Look every few seconds."""
        begun = time.monotonic()
        while time.monotonic() - begun < seconds:
            time.sleep(_EVERY)
            self.counted.append((time.time(), self._ss()))
            self.counted = [each for each in self.counted if time.time() - each[0] < 600]
            sample = self._look(time.monotonic() - begun)
            self.samples.append(sample)
            print(sample, flush=True)
        self._judge_growth(seconds)

    def _ss(self) -> dict[str, int]:
        """What ss counts in the namespace, by state."""

        def count(state: str) -> int:
            command = ["ss", "-Htan", "state", state]
            listed = self.netns.call(
                subprocess.run, command, check=True, capture_output=True, text=True
            )
            return int(listed.stdout.count("\n"))

        return {name: count(state) for name, state in _STATES.items()}

    def _look(self, at: float) -> Sample:
        lines = self.daemon.get("/metrics").body.decode().splitlines()
        now = time.time()
        values = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
        ages = {
            _netns_of(name): now - float(value)
            for name, value in values.items()
            if name.startswith("sockmon_poll_last_success_timestamp_seconds")
        }
        shown = {_netns_of(name) for name in values if _counts_tcp(name)}
        process = Path(f"/proc/{self.daemon.process.pid}")
        starved = self.starvation.look(process, now)
        self._judge_ages(at, now, ages, shown)
        self._judge_counts(at, values, now - ages.get("host", 0.0))
        for name, value in values.items():
            if name.startswith("sockmon_component_failures_total"):
                self.wrong.append(f"{at:.0f} s: {name} {value}")
        new = values.keys() - self.ever
        self.ever |= new
        status = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
        return Sample(
            round(at),
            round(int(status["VmRSS"].split()[0]) / 1024, 1),
            len(list((process / "fd").iterdir())),
            int(status["Threads"]),
            len(values),
            len(new),
            round(ages.get("host", -1.0), 1),
            round(max((age for name, age in ages.items() if name in shown), default=-1.0), 1),
            round(starved, 1),
        )

    def _judge_ages(self, at: float, now: float, ages: dict[str, float], shown: set[str]) -> None:
        bounds = {name: _SLACK + self.starvation.since(now - age) for name, age in ages.items()}
        if "host" not in ages or ages["host"] > MAX_AGE + bounds["host"]:
            self.wrong.append(f"{at:.0f} s: the host's counts are {ages.get('host')} s old")
        elif "host" not in shown and ages["host"] < OLDEST_BELIEVED:
            self.wrong.append(f"{at:.0f} s: the host's counts are withdrawn too early")
        old = {n: age for n, age in ages.items() if n in shown and age > OLDEST_BELIEVED + _SLACK}
        if old:
            self.wrong.append(f"{at:.0f} s: shown although too old: {old}")

    def _judge_counts(self, at: float, values: dict[str, str], counted_at: float) -> None:
        times = [when for when, _ in self.counted if abs(when - counted_at) <= 2 * _EVERY]
        if not times or not times[0] <= counted_at <= times[-1]:
            return  # ss has not counted before and after it
        near = [counts for when, counts in self.counted if when in times]
        hosts = [name for name in values if _counts_tcp(name) and _netns_of(name) == "host"]
        if not hosts:
            return  # withdrawn: no series are no zeros
        for state in _STATES:
            said = sum(float(values[name]) for name in hosts if f'"{state}"' in name)
            least = min(counts[state] for counts in near) * (1 - _TOLERANCE) - 50
            most = max(counts[state] for counts in near) * (1 + _TOLERANCE) + 50
            if not least <= said <= most:
                self.wrong.append(
                    f"{at:.0f} s: {said:.0f} {state}, where ss counts {least:.0f} to {most:.0f}"
                )

    def _judge_growth(self, seconds: float) -> None:
        first = [s for s in self.samples if s.at <= _SHARE * seconds]
        later = [s for s in self.samples if s.at > _SHARE * seconds]
        last = [s for s in self.samples if s.at >= (1 - _SHARE) * seconds]
        for name, of, more in (
            ("MB of memory", lambda s: s.rss_mb, _GROWTH_MB),
            ("descriptors", lambda s: s.descriptors, _MORE_DESCRIPTORS),
            ("threads", lambda s: s.threads, _MORE_THREADS),
        ):
            before, after = (statistics.median(map(of, part)) for part in (first, last))
            print(f"{name}: {before} at first, {after} at last, at most {max(map(of, later))}")
            if after > before + more:
                self.wrong.append(f"{name} grew from {before} to {after}")
        print(f"the host's counts were at most {max(s.host_age for s in self.samples)} s old")
        minutes = (later[-1].at - later[0].at) / 60
        new = sum(s.new_series for s in later) / max(minutes, 1.0)
        print(f"{new:.0f} new series a minute, {later[-1].series} at the end")
        if new > _NEW_SERIES:
            self.wrong.append(f"{new:.0f} new series a minute")


def _netns_of(name: str) -> str:
    return name.partition('netns="')[2].partition('"')[0]


def _counts_tcp(name: str) -> bool:
    return name.startswith("sockmon_sockets{") and '"tcp"' in name


@contextmanager
def churning(netns: NetNs) -> Iterator[None]:
    """Everything that comes and goes, and what rests."""
    netns.set_sysctl("net.core.somaxconn", 60_000)
    made = {
        kind: netns.call(
            subprocess.Popen,
            [sys.executable, "-m", "tests.standing.churn", kind],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        for kind in KINDS
    }
    try:
        idle = made["idle"].stdout
        assert idle is not None
        assert idle.readline()
        yield
        for kind, process in made.items():
            assert process.poll() is None, f"{kind} has ended"
    finally:
        for process in made.values():
            process.kill()
            process.wait()


def main(seconds: float) -> int:
    with ExitStack() as stack:
        netns = stack.enter_context(NetNs())
        config = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "sockmon.yaml"
        config.write_text(_CONFIG)
        stack.enter_context(churning(netns))
        daemon = stack.enter_context(running_daemon(netns, f"--config={config}"))
        eventually(lambda: daemon.samples("sockmon_poll_last_success_timestamp_seconds"))
        soak = Soak(netns, daemon)
        soak.run(seconds)
        lines = daemon.log().count("\n")
        if lines > 200:
            soak.wrong.append(f"{lines} lines in the log")
    for line in soak.wrong:
        print(f"wrong: {line}")
    print(f"{len(soak.samples)} samples, {len(soak.wrong)} wrong")
    return 1 if soak.wrong else 0


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1])))
