"""When an alert is announced for."""

import pytest

from sockmon.detect.syn_retries import seconds_to_connect
from sockmon.drill.timing import Timing, seconds_until_retransmits


def test_the_defaults_of_a_leak() -> None:
    timing = Timing(onset=60, interval=5, for_=30, keep_firing_for=60)
    assert timing.latest == 60 + 2 * 5 + 30
    assert timing.resolves == 60 + 5
    assert timing.patience > timing.latest
    assert timing.resolving_patience > timing.resolves


@pytest.mark.parametrize(
    ("onset", "for_", "latest"), [(1, 0, 15), (5, 0, 15), (6, 0, 20), (0, 1, 15), (0, 5, 15)]
)
def test_every_wait_is_over_at_a_poll(onset: float, for_: float, latest: float) -> None:
    assert Timing(onset, 5, for_, 0).latest == latest


def test_binary_fractions_cost_no_poll() -> None:
    assert Timing(onset=0.3, interval=0.1, for_=1.1, keep_firing_for=0).latest == pytest.approx(1.6)


@pytest.mark.parametrize(("interval", "slack"), [(0.1, 20), (5, 20), (10, 40)])
def test_a_busy_host_is_given_time_however_often_it_is_polled(
    interval: float, slack: float
) -> None:
    timing = Timing(onset=0, interval=interval, for_=0, keep_firing_for=0)
    assert timing.patience - timing.latest == pytest.approx(slack)
    assert timing.resolving_patience - timing.resolves == pytest.approx(slack)


@pytest.mark.parametrize(
    ("tries", "first", "linear", "seconds"),
    [(0, 1, 0, 0), (2, 1, 0, 3), (2, 1, 4, 2), (6, 1, 4, 7), (5, 0.2, 0, 6.2)],
)
def test_retransmissions(tries: int, first: float, linear: int, seconds: float) -> None:
    assert seconds_until_retransmits(tries, first, linear) == pytest.approx(seconds)


def test_the_last_retransmission_comes_before_the_kernel_gives_up() -> None:
    assert seconds_until_retransmits(6, 1.0) < seconds_to_connect(6)
