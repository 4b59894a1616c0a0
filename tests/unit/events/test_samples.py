"""What was counted, on /metrics and in the API."""

from dataclasses import replace

from sockmon.export import events, metrics
from sockmon.model.connection_events import (
    BOUNDS,
    COLUMNS,
    EventCounts,
    PortEvents,
    column,
)
from sockmon.model.observation import Events
from tests.recorded import MIXED
from tests.unit import golden
from tests.unit.golden import NOW

SINCE = 1_700_000_050.0


def counted(**columns: int) -> EventCounts:
    values = [0] * COLUMNS
    for name, number in columns.items():
        values[column(name)] = number
    return EventCounts(tuple(values))


def closes(*buckets: int) -> EventCounts:
    values = [0] * COLUMNS
    at = column("close_wait")
    values[at] = 2_500_000_000
    values[at + 1 : at + 1 + len(buckets)] = buckets
    return EventCounts(tuple(values))


COUNTED = Events(
    SINCE,
    {
        "host": (
            PortEvents("inbound", 443, counted(opened=7, closed_there=4, unseen=1) + closes(2, 1)),
            PortEvents("inbound", None, closes(1)),
            PortEvents("outbound", 5432, counted(failed_refused=3)),
        ),
        "other": (PortEvents("inbound", None, counted(opened=2)),),
    },
    0.25,
    unseen=1,
    gone={("pod", "outbound"): closes(1), ("host", "inbound"): closes(0, 3)},
)


def samples(started: float | None = None) -> dict[str, dict[tuple[str, ...], float]]:
    """Samples by name, and their labels' values."""
    observation = golden.observe(MIXED)
    families = metrics.families(
        replace(observation, events=COUNTED),
        NOW.monotonic,
        golden.BUILD,
        golden.RELOAD,
        started=started,
    )
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in families:
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sample.labels.values())] = sample.value
    return found


def test_counters_have_their_labels_and_histograms_sum_the_ports() -> None:
    got = samples()
    assert got["sockmon_connections_opened_total"]["host", "inbound", "443"] == 7
    assert got["sockmon_connections_opened_total"]["other", "inbound", "other"] == 2
    assert got["sockmon_connection_failures_total"]["host", "outbound", "5432", "refused"] == 3
    assert got["sockmon_connection_failures_total"]["host", "outbound", "5432", "timed_out"] == 0
    assert ("host", "inbound", "443", "refused") not in got["sockmon_connection_failures_total"]
    assert got["sockmon_connections_closed_total"]["host", "inbound", "443", "there"] == 4
    buckets = got["sockmon_close_wait_duration_seconds_bucket"]
    assert [buckets["host", "inbound", f"{bound:g}"] for bound in BOUNDS[:3]] == [3, 7, 7]
    assert got["sockmon_close_wait_duration_seconds_count"]["host", "inbound"] == 7
    assert got["sockmon_close_wait_duration_seconds_sum"]["host", "inbound"] == 7.5
    assert got["sockmon_close_wait_duration_seconds_count"]["pod", "outbound"] == 1
    assert ("host", "outbound") not in got["sockmon_close_wait_duration_seconds_count"]
    assert got["sockmon_events_unattributed_total"][()] == 1


def test_counters_and_histograms_began_when_counting_did() -> None:
    got = samples(started=1_600_000_000.0)
    assert got["sockmon_connections_opened_created"]["host", "inbound", "443"] == SINCE
    assert got["sockmon_close_wait_duration_seconds_created"]["host", "inbound"] == SINCE
    assert got["sockmon_polls_created"][()] == 1_600_000_000.0


def test_the_api_says_the_same_of_one_namespace() -> None:
    told = events.rendered(COUNTED, "host")
    first, others, outbound = told["ports"]
    assert (first["port"], first["opened"], first["closed"]["there"]) == (443, 7, 4)
    assert others["port"] is None
    assert outbound["failed"] == {"refused": 3}
    assert first["close_wait_seconds"] is not None
    assert first["close_wait_seconds"]["counts"][:3] == [2, 1, 0]
    assert outbound["close_wait_seconds"] is None
    assert events.rendered(COUNTED, "elsewhere")["ports"] == []
