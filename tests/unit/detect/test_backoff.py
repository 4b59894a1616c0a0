"""When connect() gives up, as measured: tests/live sees it on the kernel itself."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sockmon.detect.syn_retries import seconds_to_connect, seconds_to_give_up


@pytest.mark.parametrize(
    ("retries", "linear", "seconds"),
    [
        (5, 0, 63),  # 1 + 2 + 4 + 8 + 16 + 32
        (6, 0, 127),
        (6, 4, 131),  # the default since Linux 6.5
        # Measured on 6.18, each with a SYN that nobody answers.
        (1, 0, 3),
        (2, 0, 7),
        (3, 0, 15),
        (1, 1, 4),
        (2, 1, 8),
        (3, 1, 16),
        (1, 2, 3),
        (2, 2, 9),
        (3, 2, 17),
        (1, 4, 3),
        (2, 4, 7),
        (3, 4, 19),
    ],
)
def test_connect_takes(retries: int, linear: int, seconds: int) -> None:
    assert seconds_to_connect(retries, linear) == seconds


@pytest.mark.parametrize(
    ("tries", "next_try", "left"),
    [(0, 0.5, 62.5), (1, 2.0, 62), (2, 4.0, 60), (4, 1.0, 33), (5, 32.0, 32), (9, 3.0, 3)],
)
def test_what_is_left_after_some_tries(tries: int, next_try: float, left: float) -> None:
    assert seconds_to_give_up(tries, next_try, retries=5) == left


def test_no_wait_is_longer_than_two_minutes() -> None:
    assert seconds_to_connect(8) == 1 + 2 + 4 + 8 + 16 + 32 + 64 + 120 + 120


@given(st.integers(0, 255), st.floats(0, 120), st.integers(1, 127), st.integers(0, 127))
def test_it_always_ends(tries: int, next_try: float, retries: int, linear: int) -> None:
    left = seconds_to_give_up(tries, next_try, retries, linear)
    assert next_try <= left <= next_try + 120 * (retries + linear)


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.integers(0, 255))
def test_settings_that_no_kernel_takes_end_too(retries: int, linear: int, tries: int) -> None:
    assert 1.0 <= seconds_to_give_up(tries, 1.0, retries, linear) < 10**6
