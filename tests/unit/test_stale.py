"""Series of leaks that were mended: at zero for ten minutes, and bounded."""

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from sockmon.export import diagnosis as render
from sockmon.export.families import ALL
from sockmon.export.family import Samples, SeriesMemory
from sockmon.model.newcomers import KEPT_FOR_SECONDS
from sockmon.model.observation import Diagnosis, StaleGroup
from sockmon.model.stale import MENDED_GROUPS_KEPT, Label, StaleMemory

PORTS = st.frozensets(st.integers(1, 6), max_size=6)


def groups(ports: Iterable[int]) -> list[StaleGroup]:
    return [StaleGroup("inbound", port, f"unit-{port}", 12, 0) for port in sorted(ports)]


@given(st.lists(st.tuples(PORTS, st.floats(1, 400)), max_size=12))
def test_what_was_stale_within_ten_minutes_and_is_no_more(
    polls: list[tuple[frozenset[int], float]],
) -> None:
    memory, now = StaleMemory(), 0.0
    last: dict[int, float] = {}
    for ports, pause in polls:
        now += pause
        memory = memory.seen(groups(ports), now)
        last |= dict.fromkeys(ports, now)
        gone = {p for p, at in last.items() if p not in ports and now - at < KEPT_FOR_SECONDS}
        assert {port for _, port, _ in memory.mended} == gone
        assert set(memory.last_stale) == {
            ("inbound", port, f"unit-{port}") for port in gone | ports
        }


def test_owners_that_change_all_the_time_are_bounded_and_the_latest_kept() -> None:
    memory = StaleMemory()
    for port in range(1, 1000):
        memory = memory.seen(groups([port]), float(port) / 10)
    assert [port for _, port, _ in memory.mended] == list(range(998, 998 - MENDED_GROUPS_KEPT, -1))


def test_a_mended_group_is_shown_at_zero_beside_what_still_leaks() -> None:
    mended: tuple[Label, ...] = (("inbound", 80, "old"), ("inbound", 443, "gone"))
    stale = (StaleGroup("inbound", 80, "new", 12, 240),)
    diagnosis = Diagnosis((), {}, stale, 61.0, mended=mended)
    samples = Samples(ALL, SeriesMemory(), 0.0)
    render.add(samples, "host", diagnosis)
    shown = {
        (sample.name, *sample.labels.values()): sample.value
        for family in samples
        for sample in family.samples
        if "close_wait" in sample.name
    }
    stale_sockets, unread = "sockmon_close_wait_stale_sockets", "sockmon_close_wait_unread_bytes"
    assert shown == {
        (stale_sockets, "host", "inbound", "80", "new"): 12,
        (stale_sockets, "host", "inbound", "80", "old"): 0,
        (stale_sockets, "host", "inbound", "443", "gone"): 0,
        (unread, "host", "inbound", "80"): 240,
        (unread, "host", "inbound", "443"): 0,
        ("sockmon_close_wait_oldest_seconds", "host"): 61,
    }
