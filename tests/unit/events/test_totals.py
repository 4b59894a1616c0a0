"""Totals by port never go back, and together they are what was counted."""

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sockmon.model.connection_events import COLUMNS, EventCounts
from sockmon.model.direction import Direction
from sockmon.model.limits import PortRange
from sockmon.model.names import OTHER
from sockmon.model.newcomers import KEPT_FOR_SECONDS
from sockmon.model.series import KEPT_TIMES_TOP
from sockmon.poll.event_totals import EventTotals

TOP = 2
RANGE = PortRange(32768, 60999)
ROWS = st.tuples(
    st.sampled_from(["host", "pod", OTHER]),
    st.sampled_from(["inbound", "outbound"]),
    st.sampled_from([None, 22, 80, 443, 8080, 9000, 9001, 9002, 40000, 40001]),
    st.integers(1, 5),
)
POLLS = st.lists(st.tuples(st.lists(ROWS, max_size=8), st.sampled_from([1.0, 60.0, 700.0])))


def opened(number: int) -> "np.typing.NDArray[np.int64]":
    columns = np.zeros(COLUMNS, np.int64)
    columns[0] = number
    return columns


def shown(totals: EventTotals) -> dict[tuple[str, Direction, int | None], int]:
    return {
        (netns, its.direction, its.port): its.counts.opened
        for netns, ports in totals.by_namespace().items()
        for its in ports
    }


@given(POLLS)
def test_totals_grow_by_what_was_counted(polls: list[tuple[list[tuple], float]]) -> None:  # type: ignore[type-arg]
    totals = EventTotals()
    now = 0.0
    before: dict[tuple[str, Direction, int | None], int] = {}
    for rows, pause in polls:
        now += pause
        totals.add(((*row[:3], opened(row[3])) for row in rows), now, TOP, lambda _: RANGE)
        after = shown(totals)
        grown: Counter[tuple[str, str]] = Counter()
        for key, number in after.items():
            assert number >= before.get(key, 0), "a counter never goes back"
            grown[key[:2]] += number - before.get(key, 0)
        true: Counter[tuple[str, str]] = Counter()
        for netns, direction, _, number in rows:
            true[netns, direction] += number
        assert +grown == +true
        of_pod = [key for key in after if key[0] == "pod" and key[2] is not None]
        assert len(of_pod) <= KEPT_TIMES_TOP * TOP
        assert all(port is None for netns, _, port in after if netns == OTHER)
        before = after


def test_a_port_that_nobody_chose_needs_three_connections() -> None:
    totals = EventTotals()
    totals.add([("host", "outbound", 40000, opened(2))], 0, TOP, lambda _: RANGE)
    assert shown(totals) == {("host", "outbound", None): 2}
    totals.add([("host", "outbound", 40000, opened(2))], 1, TOP, lambda _: RANGE)
    assert shown(totals) == {("host", "outbound", None): 2, ("host", "outbound", 40000): 2}


def test_a_port_that_is_idle_for_ten_minutes_makes_room() -> None:
    totals = EventTotals()
    totals.add([("host", "inbound", 80, opened(1))], 0, TOP, lambda _: RANGE)
    rest = [("host", "inbound", port, opened(9)) for port in (443, 8080)]
    for at in (1.0, KEPT_FOR_SECONDS, KEPT_FOR_SECONDS + 2):
        totals.add(rest, at, TOP, lambda _: RANGE)  # type: ignore[arg-type]
    assert ("host", "inbound", 80) not in shown(totals)


def test_what_a_port_had_stays_in_the_sum_of_its_direction() -> None:
    """Else a histogram would fall, which Prometheus takes for a restart."""
    totals, before = EventTotals(), 0
    for poll, port in enumerate((443, 80, 22, 8080, 9000, 443)):
        row = ("host", "outbound", port, opened(5))
        totals.add([row], poll * 2 * KEPT_FOR_SECONDS, 1, lambda _: RANGE)  # type: ignore[list-item]
        gone = totals.gone().get(("host", "outbound"), EventCounts())
        now = sum(shown(totals).values()) + gone.opened
        assert now == before + 5
        before = now


def test_namespaces_that_have_gone_are_forgotten() -> None:
    totals = EventTotals()
    for netns in ("host", "pod", OTHER):
        totals.add([(netns, "inbound", 80, opened(1))], 0, TOP, lambda _: RANGE)
    totals.forget(["host"])
    assert {netns for netns, _, _ in shown(totals)} == {"host", OTHER}
