"""How polling fares -> Prometheus metric families."""

from collections.abc import Iterator
from dataclasses import asdict

from prometheus_client.core import CounterMetricFamily as Counter
from prometheus_client.core import GaugeMetricFamily as Gauge
from prometheus_client.core import HistogramMetricFamily as Histogram
from prometheus_client.core import Metric

from sockmon.model.observation import Observation
from sockmon.model.poll_statistics import DURATION_BUCKETS, PollStatistics


def families(observation: Observation) -> Iterator[Metric]:
    """Yield what polling has cost, where it failed, and how much of the host it sees."""
    statistics: PollStatistics = observation.statistics
    yield Counter("sockmon_polls", "Polls, failed ones included.", statistics.polls)
    errors = Counter(
        "sockmon_poll_errors",
        "Reads that the kernel refused or that could not be trusted.",
        labels=["netns", "reason"],
    )
    for (netns, reason), count in sorted(statistics.errors.items()):
        errors.add_metric([netns, reason], count)
    yield errors
    total = 0
    buckets = []
    bounds = [*map(str, DURATION_BUCKETS), "+Inf"]
    for bound, count in zip(bounds, statistics.duration_counts, strict=True):
        total += count
        buckets.append((bound, total))
    yield Histogram(
        "sockmon_poll_duration_seconds",
        "How long a whole poll took.",
        buckets=buckets,
        sum_value=statistics.duration_sum,
    )
    succeeded = Gauge(
        "sockmon_poll_last_success_timestamp_seconds",
        "When the namespace's TCP sockets were last read in full.",
        labels=["netns"],
    )
    for namespace in observation.shown:
        if namespace.tcp is not None:
            succeeded.add_metric([namespace.name], namespace.tcp.at.wall)
    yield succeeded
    yield from _neighbours(observation)


def _neighbours(observation: Observation) -> Iterator[Metric]:
    there = Gauge(
        "sockmon_namespaces",
        "Network namespaces other than the daemon's own, by what is seen of them.",
        labels=["visibility"],
    )
    if observation.neighbours is not None and observation.unseen is not None:
        for seen, count in asdict(observation.neighbours).items():
            there.add_metric([seen], count)
    yield there
    if observation.neighbours is not None:
        yield Gauge(
            "sockmon_namespaces_aggregated",
            'Network namespaces inside netns="other".',
            len(observation.folded),
        )
