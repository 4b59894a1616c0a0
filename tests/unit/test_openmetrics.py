"""What OpenMetrics adds: units and start timestamps; and nothing that OpenTelemetry must drop.

The rules are those of OpenTelemetry's "Prometheus and OpenMetrics Compatibility":
gauge histograms are dropped, and so are histograms without `_count` or `_sum`; families without a
type are taken for gauges.
"""

import math
from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry, Metric
from prometheus_client.exposition import generate_latest as text
from prometheus_client.openmetrics.exposition import generate_latest as openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse
from prometheus_client.registry import Collector

from sockmon.export import families as declared
from sockmon.export import metrics
from sockmon.export.family import SeriesMemory
from tests.unit import golden
from tests.unit.golden import NOW
from tests.unit.test_contract import with_everything

STARTED = 1_700_000_000.5
#: What begins with the program that counts inside the kernel.
OF_EVENTS = (
    *("sockmon_connection", "sockmon_connect_duration", "sockmon_close_wait_duration"),
    "sockmon_events_unattributed",
)


class Everything(Collector):
    def __init__(self, started: float | None) -> None:
        self._started = started

    def collect(self) -> Iterator[Metric]:
        yield from metrics.families(
            with_everything(),
            NOW.monotonic,
            golden.BUILD,
            golden.RELOAD,
            SeriesMemory(),
            self._started,
        )


def registry(started: float | None) -> CollectorRegistry:
    made = CollectorRegistry(auto_describe=False)
    made.register(Everything(started))
    return made


@pytest.fixture(scope="module")
def parsed() -> dict[str, Metric]:
    answer = openmetrics(registry(STARTED)).decode()  # type: ignore[no-untyped-call]
    return {family.name: family for family in parse(answer)}  # type: ignore[no-untyped-call]


def test_units_are_those_that_names_end_with(parsed: dict[str, Metric]) -> None:
    units = {name: family.unit for name, family in parsed.items() if family.unit}
    assert units["sockmon_close_wait_oldest_seconds"] == "seconds"
    assert units["sockmon_port_receive_queue_bytes"] == "bytes"
    assert units["sockmon_poll_duration_seconds"] == "seconds"
    assert all(name.endswith(f"_{unit}") for name, unit in units.items())
    for name in parsed:
        if name.endswith(("_seconds", "_bytes")):
            assert name in units


def test_counters_that_begin_with_the_daemon_say_when(parsed: dict[str, Metric]) -> None:
    kernels = {family.name for family in declared.ALL if family.kernels}
    observation = with_everything()
    assert observation.events is not None
    for name, family in parsed.items():
        created = {sample.value for sample in family.samples if sample.name.endswith("_created")}
        own = family.type in {"counter", "histogram"} and name not in kernels
        began = observation.events.since if name.startswith(OF_EVENTS) else STARTED
        assert created == ({began} if own else set()), name
    assert "sockmon_accept_queue_drops" in parsed
    assert "sockmon_tcp_opens" in kernels


def test_the_text_format_has_no_start_timestamps() -> None:
    assert "_created" not in text(registry(None)).decode()


def test_opentelemetry_drops_nothing(parsed: dict[str, Metric]) -> None:
    assert {family.type for family in parsed.values()} == {"counter", "gauge", "histogram"}
    for name, family in parsed.items():
        values = {}
        for sample in family.samples:
            key = sample.name, *sample.labels.values()
            assert key not in values, "each series once"
            values[key] = sample.value
            assert not math.isnan(sample.value)
        if family.type == "histogram":
            for _, *labels in [key for key in values if key[0] == f"{name}_count"]:
                buckets = [
                    value
                    for key, value in values.items()
                    if key[0] == f"{name}_bucket" and set(labels) < set(key)
                ]
                assert buckets == sorted(buckets)
                assert buckets[-1] == values[f"{name}_count", *labels]
                assert (f"{name}_sum", *labels) in values
