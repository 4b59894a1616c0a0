"""Sockets by owner: each is counted once, and figures do not churn."""

from collections import Counter
from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from sockmon.model.owner_sockets import (
    OWNERS_KEPT,
    OWNERS_SHOWN,
    CgroupCounts,
    OwnerSeries,
    OwnerSockets,
)
from sockmon.model.states import RESTING_STATES, TcpState
from sockmon.poll.owner_tracker import OwnerTracker
from tests.unit.strategies import Socket, table

cgroups = st.sampled_from([0, 1, 7, 7000, 1 << 40])
sockets = st.lists(st.tuples(cgroups, st.sampled_from(TcpState)), max_size=30)

NAMES: Mapping[int, str | None] = {1: "a.service", 7: "b.service", 7000: "a.service", 8: None}


def made(those: list[tuple[int, TcpState]]):  # type: ignore[no-untyped-def]
    its = table([Socket(state) for _, state in those])
    its.cgroup_id[:] = [cgroup for cgroup, _ in those]
    return its


def counted(counts: CgroupCounts) -> Counter[tuple[int, TcpState]]:
    return +Counter(
        {
            (cgroup, state): int(states[state])
            for cgroup, states in zip(counts.ids.tolist(), counts.states, strict=True)
            for state in TcpState
        }
    )


@given(st.lists(sockets, max_size=4))
def test_each_socket_is_counted_once(polls: list[list[tuple[int, TcpState]]]) -> None:
    counts = CgroupCounts()
    for those in polls:
        counts = counts.of(made(those))
        assert counted(counts) == Counter(those)


@given(sockets, sockets)
def test_those_at_rest_are_as_many_as_the_last_time(
    before: list[tuple[int, TcpState]], after: list[tuple[int, TcpState]]
) -> None:
    tracker = OwnerTracker(lambda _ids, _now: NAMES)
    tracker.seen(made(before), 0.0, whole=True)
    passing = [(cgroup, state) for cgroup, state in after if state not in RESTING_STATES]
    shown = tracker.seen(made(passing), 5.0, whole=False)
    resting = [(cgroup, state) for cgroup, state in before if state in RESTING_STATES]
    expected = Counter((NAMES.get(cgroup), state) for cgroup, state in [*resting, *passing])
    assert by_owner(shown) == expected


def by_owner(shown: tuple[OwnerSockets, ...]) -> Counter[tuple[str | None, TcpState]]:
    return +Counter({(its.owner, state): n for its in shown for state, n in its.states.items()})


def poll(
    series: OwnerSeries, those: Mapping[str, int], now: float
) -> tuple[dict[str | None, int], OwnerSeries]:
    ids = {name: number for number, name in enumerate(those, start=1)}
    sockets = [(ids[name], TcpState.ESTABLISHED) for name, n in those.items() for _ in range(n)]
    names = {number: name for name, number in ids.items()}
    shown, series = series.seen(CgroupCounts().of(made(sockets)), names, now)
    return {its.owner: sum(its.states.values()) for its in shown}, series


def test_the_largest_are_shown_and_others_are_other() -> None:
    owners = {f"unit-{n}.service": n for n in range(1, OWNERS_SHOWN + 6)}
    shown, _ = poll(OwnerSeries(), owners, 0.0)
    assert len(shown) == OWNERS_SHOWN + 1
    assert shown[None] == 1 + 2 + 3 + 4 + 5
    assert shown["unit-25.service"] == 25


def test_an_owner_without_sockets_comes_down_to_zero_and_ends_after_ten_minutes() -> None:
    shown, series = poll(OwnerSeries(), {"a.service": 3}, 0.0)
    shown, series = poll(series, {}, 599.0)
    assert shown == {"a.service": 0}
    shown, series = poll(series, {}, 601.0)
    assert shown == {}


def test_owners_that_come_and_go_are_bounded() -> None:
    series = OwnerSeries()
    for number in range(100):
        shown, series = poll(series, {f"run-{number}-{n}.scope": 1 for n in range(10)}, number)
        assert len(shown) <= OWNERS_KEPT + 1
