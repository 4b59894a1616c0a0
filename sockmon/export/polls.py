"""What polling has cost, where it failed, and how much of the host it sees -> samples."""

from dataclasses import asdict
from itertools import accumulate

from sockmon.export.families import (
    NAMESPACES,
    NAMESPACES_AGGREGATED,
    POLL_DURATION,
    POLL_ERRORS,
    POLL_LAST_SUCCESS,
    POLLS,
)
from sockmon.export.family import Samples
from sockmon.model.observation import Observation
from sockmon.model.poll_statistics import DURATION_BUCKETS


def add(samples: Samples, observation: Observation) -> None:
    """Add how polling goes, of all namespaces."""
    statistics, others = observation.statistics, observation.neighbours
    samples.add(POLLS, (), statistics.polls)
    for labels, count in sorted(statistics.errors.items()):
        samples.add(POLL_ERRORS, labels, count)
    bounds = [*map(str, DURATION_BUCKETS), "+Inf"]
    buckets = zip(bounds, accumulate(statistics.duration_counts), strict=True)
    samples.add_histogram(POLL_DURATION, [*buckets], statistics.duration_sum)
    for namespace in observation.shown:
        if namespace.tcp is not None:
            samples.add(POLL_LAST_SUCCESS, (namespace.name,), namespace.tcp.at.wall)
    if others is not None:
        if observation.unseen is not None:
            for visibility, count in asdict(others).items():
                samples.add(NAMESPACES, (visibility,), count)
        samples.add(NAMESPACES_AGGREGATED, (), len(observation.folded))
