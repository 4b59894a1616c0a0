"""What is too old is not believed; what polling cost is counted as Prometheus counts it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sockmon.model.observation import (
    DURATION_BUCKETS,
    Failure,
    Moment,
    Observation,
    PollStatistics,
    Timed,
)

OBSERVATION = Observation(Moment(100.0, 1e9), interval=5.0, namespaces=())


@pytest.mark.parametrize(("age", "value"), [(0.0, 7), (15.0, 7), (15.001, None), (-1.0, 7)])
def test_a_part_is_believed_for_three_intervals(age: float, value: int | None) -> None:
    part = Timed(7, Moment(100.0, 1e9))
    assert OBSERVATION.fresh(part, 100.0 + age) == value


def test_a_part_that_never_was_is_not_believed() -> None:
    nothing: Timed[int] | None = None
    assert OBSERVATION.fresh(nothing, 100.0) is None


@pytest.mark.parametrize(
    ("seconds", "bound"), [(0.0, 0.001), (0.001, 0.001), (0.0011, 0.0025), (10.0, 10.0)]
)
def test_a_duration_falls_into_the_first_bucket_that_holds_it(seconds: float, bound: float) -> None:
    counts = PollStatistics().polled(seconds, ()).duration_counts
    assert counts.index(1) == DURATION_BUCKETS.index(bound)


def test_a_duration_beyond_all_bounds_falls_into_the_last_bucket() -> None:
    assert PollStatistics().polled(10.1, ()).duration_counts[-1] == 1


@given(
    st.lists(
        st.tuples(st.floats(0, 20), st.lists(st.sampled_from(["EBUSY", "ENOBUFS", "malformed"]))),
        max_size=20,
    )
)
def test_every_poll_and_every_failure_is_counted(polls: list[tuple[float, list[str]]]) -> None:
    statistics = PollStatistics()
    for seconds, reasons in polls:
        failures = tuple(Failure("host", reason, "in detail") for reason in reasons)
        statistics = statistics.polled(seconds, failures)
    every = [reason for _, reasons in polls for reason in reasons]
    assert statistics.polls == sum(statistics.duration_counts) == len(polls)
    assert statistics.duration_sum == pytest.approx(sum(seconds for seconds, _ in polls))
    assert statistics.errors == {("host", reason): every.count(reason) for reason in set(every)}
