"""A family of metrics as it is declared, and the samples of one answer."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

Kind = Literal["gauge", "counter", "histogram"]


@dataclass(frozen=True, slots=True, eq=False)
class Family:
    """One family. docs/metrics.md is generated from these.

    name: without the `_total` that a counter's samples have. unit: of the value, in one word.
    help: a sentence. labels: families.LABELS says what each means. series: how many there are at
    most, in words.
    """

    name: str
    unit: str
    help: str
    labels: tuple[str, ...] = ()
    series: str = "1"
    kind: Kind = "gauge"

    @property
    def published(self) -> str:
        """The name that a query uses."""
        return f"{self.name}_total" if self.kind == "counter" else self.name


class Samples:
    """Samples of some families."""

    def __init__(self, families: Iterable[Family]) -> None:
        self._metrics = {family: _metric(family) for family in families}

    def add(self, family: Family, labels: Sequence[str], value: float) -> None:
        """Add one sample to a gauge or a counter; `labels` are values, as declared."""
        self._metrics[family].add_metric(labels, value)

    def add_histogram(
        self, family: Family, buckets: Sequence[tuple[str, float]], total: float
    ) -> None:
        """Add a histogram without labels: (upper bound, cumulative count) pairs, and the sum."""
        self._metrics[family].add_metric((), buckets, total)

    def __iter__(self) -> Iterator[Metric]:
        """Yield the families that have samples, in their order."""
        return (metric for metric in self._metrics.values() if metric.samples)


def _metric(family: Family) -> Any:
    """Return an empty metric; the three classes differ in what `add_metric` takes."""
    match family.kind:
        case "gauge":
            return GaugeMetricFamily(family.name, family.help, labels=family.labels)
        case "counter":
            return CounterMetricFamily(family.name, family.help, labels=family.labels)
        case "histogram":  # its buckets have the label `le` beside those that it is given
            return HistogramMetricFamily(family.name, family.help, labels=())
