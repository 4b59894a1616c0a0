"""A family of metrics as it is declared, and the samples of one answer."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from sockmon.contained import COMPONENTS
from sockmon.model.names import HOST
from sockmon.model.newcomers import KEPT_FOR_SECONDS

Kind = Literal["gauge", "counter", "histogram"]


@dataclass(frozen=True, slots=True, eq=False)
class Family:
    """One family. docs/metrics.md is generated from these.

    name: without the `_total` that a counter's samples have. unit: of the value, in one word.
    help: a sentence. labels: families.LABELS says what each means. series: how many there are at
    most, in words. empty: the value that says nothing, so that a series of another namespace than
    the daemon's own need not be shown; None: they are always shown. kernels: a counter that the
    kernel keeps, so that it does not begin with the daemon.
    """

    name: str
    unit: str
    help: str
    labels: tuple[str, ...] = ()
    series: str = "1"
    kind: Kind = "gauge"
    empty: float = 0.0
    kernels: bool = False

    @property
    def by_namespace(self) -> bool:
        """Whether its first label is the namespace."""
        return self.labels[:1] == ("netns",)

    @property
    def suffix_unit(self) -> str:
        """The unit if the name ends with it, as OpenMetrics wants it; else nothing."""
        return self.unit if self.name.endswith(f"_{self.unit}") else ""

    @property
    def published(self) -> str:
        """The name that a query uses."""
        return f"{self.name}_total" if self.kind == "counter" else self.name


class SeriesMemory:
    """Which series of other namespaces are shown: those that had a value in the last ten minutes.

    There may be thousands of namespaces, and nearly all series of each would be zeros. A series
    that had a value comes down to zero before it ends. For one thread.
    """

    def __init__(self) -> None:
        self._had_value: dict[tuple[Family, tuple[str, ...]], float] = {}

    def shows(self, family: Family, labels: Sequence[str], value: float, now: float) -> bool:
        """Whether a sample is shown at `now`, in monotonic seconds."""
        if not family.by_namespace or labels[0] == HOST:
            return True
        key = family, tuple(labels)
        if value != family.empty:
            self._had_value[key] = now
            return True
        return key in self._had_value

    def forget(self, now: float) -> None:
        """Forget the series that last had a value ten minutes ago."""
        kept = {key: at for key, at in self._had_value.items() if now - at < KEPT_FOR_SECONDS}
        self._had_value = kept


class Samples:
    """Samples of some families."""

    def __init__(
        self,
        families: Iterable[Family],
        memory: SeriesMemory,
        now: float,
        started: float | None = None,
    ) -> None:
        """now: in monotonic seconds. started: when the daemon's own counters began.

        started is in Unix seconds; None in a format that does not tell it.
        """
        self._metrics = {family: _metric(family) for family in families}
        self._memory, self._now, self._started = memory, now, started
        self._added: set[Family] = set()
        self._broken: set[Family] = set()
        memory.forget(now)

    def contain(self, part: str, add: Callable[[], None]) -> None:
        """Let a part add its families; if it raises, there are none of these, not even of others.

        part: its name among the components.
        """
        self._added.clear()
        if not COMPONENTS.run(part, add):
            self._broken |= self._added

    def add(
        self, family: Family, labels: Sequence[str], value: float, began: float | None = None
    ) -> None:
        """Add one sample to a gauge or a counter; `labels` are values, as declared.

        began: when a counter began, in Unix seconds, if not with the daemon's own.
        """
        if not self._memory.shows(family, labels, value, self._now):
            return
        self._added.add(family)
        if family.kind == "counter" and not family.kernels:
            self._metrics[family].add_metric(labels, value, created=self._start(began))
        else:
            self._metrics[family].add_metric(labels, value)

    def add_together(
        self, family: Family, labels: Sequence[str], values: Mapping[str, float]
    ) -> None:
        """Add a sample for each value of the last label: all are shown, zeros too, or none is."""
        if self._memory.shows(family, labels, sum(values.values()), self._now):
            self._added.add(family)
            for label, value in values.items():
                self._metrics[family].add_metric((*labels, label), value)

    def add_level(
        self,
        family: Family,
        limit: Family,
        labels: Sequence[str],
        value: float,
        bound: float,
        *,
        worth: float = 0.0,
    ) -> None:
        """Add a level and its limit. The limit of nothing is not shown; a limit of 0 always is.

        worth: the share of the limit below which a level says nothing.
        """
        tells = value if value >= worth * bound else 0.0
        if not bound or self._memory.shows(family, labels, tells, self._now):
            self._added |= {family, limit}
            self._metrics[family].add_metric(labels, value)
            self._metrics[limit].add_metric(labels, bound)

    def add_histogram(
        self,
        family: Family,
        buckets: Sequence[tuple[str, float]],
        total: float,
        labels: Sequence[str] = (),
        began: float | None = None,
    ) -> None:
        """Add a histogram: (upper bound, cumulative count) pairs, and the sum. began: see add()."""
        metric = self._metrics[family]
        self._added.add(family)
        metric.add_metric(labels, buckets, total)
        start = self._start(began)
        if start is not None:
            named = dict(zip(family.labels, labels, strict=False))
            metric.add_sample(f"{family.name}_created", named, start)

    def _start(self, began: float | None) -> float | None:
        """Return when something began, in a format that tells it."""
        return self._started if self._started is None or began is None else began

    def __iter__(self) -> Iterator[Metric]:
        """Yield the families that have samples, in their order."""
        there = self._metrics.items()
        return (its for family, its in there if its.samples and family not in self._broken)


def _metric(family: Family) -> Any:
    """Return an empty metric; the three classes differ in what `add_metric` takes."""
    name, about, unit = family.name, family.help, family.suffix_unit
    match family.kind:
        case "gauge":
            return GaugeMetricFamily(name, about, labels=family.labels, unit=unit)
        case "counter":
            return CounterMetricFamily(name, about, labels=family.labels, unit=unit)
        case "histogram":  # its buckets have the label `le` in addition to those given
            labels = [label for label in family.labels if label != "le"]
            return HistogramMetricFamily(name, about, labels=labels, unit=unit)
