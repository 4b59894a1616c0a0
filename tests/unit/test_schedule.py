"""Beats are multiples of the interval, never in the past, and none still ahead is left out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sockmon.daemon.schedule import next_poll

begins = st.floats(0, 1e7)  # months of uptime
intervals = st.floats(0.1, 3600)
elapsed = st.floats(0, 1e7)

#: What floating point may be wrong by: far less than a scheduler notices.
ROUNDING = 1e-6


@given(begins, intervals, elapsed)
def test_the_next_poll_lies_ahead(begun: float, interval: float, elapsed: float) -> None:
    now = begun + elapsed
    assert next_poll(begun, interval, now) > now


@given(begins, intervals, elapsed)
def test_the_next_poll_is_a_multiple_of_the_interval(
    begun: float, interval: float, elapsed: float
) -> None:
    since = next_poll(begun, interval, begun + elapsed) - begun
    assert abs(since - round(since / interval) * interval) < ROUNDING


@given(begins, intervals, elapsed)
def test_no_beat_that_is_still_ahead_is_left_out(
    begun: float, interval: float, elapsed: float
) -> None:
    now = begun + elapsed
    assert next_poll(begun, interval, now) - interval < now + ROUNDING


@given(begins, st.sampled_from([0.1, 0.3, 5.0, 60.0]), st.integers(0, 10_000))
def test_a_poll_that_ends_on_the_beat_waits_for_the_next(
    begun: float, interval: float, beats: int
) -> None:
    """The nearest numbers to a beat are where rounding would show."""
    now = begun + beats * interval
    beat = next_poll(begun, interval, now)
    assert now < beat < now + interval + ROUNDING


@pytest.mark.parametrize(
    ("now", "beat"),
    [(100.0, 105.0), (104.9, 105.0), (105.0, 110.0), (105.1, 110.0), (131.0, 135.0)],
)
def test_beats_that_a_long_poll_missed_are_left_out(now: float, beat: float) -> None:
    assert next_poll(100.0, 5.0, now) == beat


def test_beats_never_drift() -> None:
    now = 1000.25
    for number in range(1, 2001):
        now = next_poll(1000.25, 5.0, now + 0.5)  # each poll takes half a second
        assert now == 1000.25 + 5 * number
