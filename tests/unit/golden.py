"""The whole /metrics output of a recording: `python -m tests.unit.golden` writes it anew.

Do so after a wanted change of the metrics, or when tests/recorded/make.py has made a new recording,
and read what `git diff` says.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

from sockmon.export import metrics
from sockmon.export.metrics import Build, Reload
from sockmon.kernel.netlink.replay import replay
from sockmon.model.moment import Moment
from sockmon.model.observation import Observation
from sockmon.poll.poller import Poller
from sockmon.settings import Config
from tests.recorded import MIXED

BUILD = Build("1.2.3", "3.14.0")
RELOAD = Reload(successful=True, succeeded_at=1_700_000_000.0)
NOW = Moment(monotonic=1000.0, wall=1_700_000_100.0)
POLL_SECONDS = 0.0625
GOLDEN = MIXED / "metrics.txt"

PAGE_OF_THE_RECORDED_KERNEL = 4096


def clock(at: Moment = NOW) -> Callable[[], Moment]:
    """A clock for one poll, which begins at `at`, reads, and ends after POLL_SECONDS."""
    moments = iter([at, at, Moment(at.monotonic + POLL_SECONDS, at.wall + POLL_SECONDS)])
    return lambda: next(moments)


def observe(recording: Path, config: Config | None = None) -> Observation:
    """One poll of a recorded kernel."""
    monitor = Poller(replay(recording), config or Config())
    try:
        return monitor.poll(clock())
    finally:
        monitor.close()


class Rendered(Collector):
    """What a daemon would show of an observation."""

    def __init__(self, observation: Observation | None, now: float) -> None:
        self._observation = observation
        self._now = now

    def collect(self) -> Iterator[Metric]:
        """Every family."""
        for family in metrics.families(self._observation, self._now, BUILD, RELOAD):
            if family.name.startswith("sockmon_tcp_memory"):
                _in_pages_of_the_recorded_kernel(family)
            yield family


def registry(observation: Observation | None, now: float = NOW.monotonic) -> CollectorRegistry:
    """A registry that shows this observation and nothing else."""
    made = CollectorRegistry(auto_describe=False)
    made.register(Rendered(observation, now))
    return made


def render(observation: Observation | None, now: float = NOW.monotonic) -> str:
    """/metrics as text."""
    return generate_latest(registry(observation, now)).decode()


def _in_pages_of_the_recorded_kernel(family: Metric) -> None:
    """The recording counts memory in pages, which sockmon takes for pages of this machine."""
    here = os.sysconf("SC_PAGE_SIZE")
    family.samples = [
        sample._replace(value=sample.value / here * PAGE_OF_THE_RECORDED_KERNEL)
        for sample in family.samples
    ]


def main() -> None:
    """Write the golden file."""
    GOLDEN.write_text(render(observe(MIXED)))


if __name__ == "__main__":
    main()
