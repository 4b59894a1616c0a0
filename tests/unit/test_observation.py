"""What is too old is not believed; what polling cost is counted as Prometheus counts it."""

from dataclasses import replace
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sockmon.model.finding import Subject
from sockmon.model.moment import Moment, Timed
from sockmon.model.observation import Diagnosis, NamespaceObservation, Observation
from sockmon.model.poll_statistics import DURATION_BUCKETS, Failure, PollStatistics

OBSERVATION = Observation(Moment(100.0, 1e9), interval=5.0, namespaces=())
HOST = NamespaceObservation("host")


@pytest.mark.parametrize(("age", "value"), [(0.0, 7), (15.0, 7), (15.001, None), (-1.0, 7)])
def test_a_part_is_believed_for_three_intervals(age: float, value: int | None) -> None:
    part = Timed(7, Moment(100.0, 1e9))
    assert OBSERVATION.fresh(HOST, part, 100.0 + age) == value


@pytest.mark.parametrize(("age", "value"), [(60.0, 7), (60.001, None)])
def test_a_namespace_polled_less_often_is_believed_for_three_of_its_own_beats(
    age: float, value: int | None
) -> None:
    slow = NamespaceObservation("pod", beat=20.0)
    assert OBSERVATION.fresh(slow, Timed(7, Moment(100.0, 1e9)), 100.0 + age) == value


@pytest.mark.parametrize("age", [180.001, 360.0, 1e6])
@pytest.mark.parametrize("waited", [1.0, 0.3])
def test_nothing_is_believed_for_ever_because_its_turn_never_comes(
    age: float, waited: float
) -> None:
    """While a namespace waits for its turn, its beat grows with its age."""
    waiting = NamespaceObservation("host", beat=waited * age)
    part = Timed(7, Moment(100.0, 1e9))
    assert OBSERVATION.fresh(waiting, part, 100.0 + age) is None
    assert OBSERVATION.fresh(waiting, part, 100.0) == 7


def test_a_long_interval_is_believed_for_three_of_it_whatever_the_limit_of_turns() -> None:
    hourly = replace(OBSERVATION, interval=3600.0)
    part = Timed(7, Moment(100.0, 1e9))
    assert hourly.fresh(HOST, part, 100.0 + 3 * 3600.0) == 7
    assert hourly.fresh(HOST, part, 101.0 + 3 * 3600.0) is None


def test_the_errors_of_a_namespace_that_has_gone_are_forgotten() -> None:
    failures = (Failure("pod", "EBUSY", ""), Failure("host", "EBUSY", ""))
    statistics = PollStatistics().polled(0.1, failures, {"host", "pod"})
    assert statistics.polled(0.1, (), {"host"}).errors == {("host", "EBUSY"): 1}


def test_the_errors_of_namespaces_without_series_of_their_own_are_one_series() -> None:
    failures = tuple(Failure(f"pod-{number}", "EMFILE", "") for number in range(1000))
    statistics = PollStatistics().polled(0.1, failures, {"host", "pod-7"})
    assert statistics.errors == {("pod-7", "EMFILE"): 1, ("other", "EMFILE"): 999}


def test_a_part_that_never_was_is_not_believed() -> None:
    nothing: Timed[int] | None = None
    assert OBSERVATION.fresh(HOST, nothing, 100.0) is None


@pytest.mark.parametrize(
    ("seconds", "bound"), [(0.0, 0.001), (0.001, 0.001), (0.0011, 0.0025), (10.0, 10.0)]
)
def test_a_duration_falls_into_the_first_bucket_that_holds_it(seconds: float, bound: float) -> None:
    counts = PollStatistics().polled(seconds, (), {"host"}).duration_counts
    assert counts.index(1) == DURATION_BUCKETS.index(bound)


def test_a_duration_beyond_all_bounds_falls_into_the_last_bucket() -> None:
    assert PollStatistics().polled(10.1, (), {"host"}).duration_counts[-1] == 1


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
        statistics = statistics.polled(seconds, failures, {"host"})
    every = [reason for _, reasons in polls for reason in reasons]
    assert statistics.polls == sum(statistics.duration_counts) == len(polls)
    assert statistics.duration_sum == pytest.approx(sum(seconds for seconds, _ in polls))
    assert statistics.errors == {("host", reason): every.count(reason) for reason in set(every)}


def test_only_who_looked_can_tell_that_there_is_nothing() -> None:
    nothing = Diagnosis((), {}, (), 0.0)
    part = replace(nothing, unavailable=frozenset({"unavailable"}), skipped=frozenset({"skipped"}))
    now, before = OBSERVATION.at, Moment(95.0, 1e9 - 5.0)
    observed = replace(
        OBSERVATION,
        namespaces=(
            NamespaceObservation("host", diagnosis=Timed(part, now)),
            NamespaceObservation("waiting", diagnosis=Timed(nothing, before)),
        ),
        unseen=frozenset({"hidden"}),
    )
    looked = partial(observed.looked, observed.diagnosed())
    assert [looked("host", detector) for detector in ("any", "unavailable", "skipped")] == [
        True,
        False,
        False,
    ]
    assert [looked(name, "any") for name in ("waiting", "hidden", "ended")] == [False, False, True]
    assert not replace(observed, unseen=None).looked({}, "ended", "any"), "who knows whether it has"


def test_a_condition_waits_where_one_like_it_was_found_of_whatever_owner() -> None:
    diagnosis = Diagnosis((), {}, (), 0.0, waiting=frozenset({("leak", "inbound", 80)}))
    several = replace(diagnosis, waiting=frozenset({("leak", "inbound", None)}))
    subject = Subject("inbound", 80, "nginx.service")

    def waits(its: Diagnosis, detector: str, subject: Subject) -> bool:
        return OBSERVATION.waits({"host": its}, "host", detector, subject)

    assert waits(diagnosis, "leak", subject)
    assert waits(several, "leak", subject)
    assert not waits(diagnosis, "leak", replace(subject, port=81))
    assert not waits(diagnosis, "leak", replace(subject, direction="outbound"))
    assert not waits(diagnosis, "other", subject)
    assert not OBSERVATION.waits({}, "host", "leak", subject)
