"""Ages that the kernel's timers tell at first sight."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sockmon.model.ages import CLOSING_STATES, NO_AGES, NOTHING_HEARD, unanswered_seconds
from sockmon.model.states import TcpState
from sockmon.model.table import SocketTable
from tests.unit import strategies
from tests.unit.strategies import Socket

NOW = 1000.0
RTO_MIN, RTO_MAX = 0.2, 120.0


def table(
    retransmits: int,
    left: float,
    *,
    timer: int = 1,
    state: TcpState = TcpState.LAST_ACK,
    queue: int = 1,
) -> SocketTable:
    """One socket, its timer having this many seconds left."""
    made = strategies.table(
        [Socket(state, timer=timer, expires=int(1000 * left), send_queue=queue, cookie=7)]
    )
    return replace(made, retransmits=np.array([retransmits], np.uint8))


def known(seen: SocketTable) -> float:
    return float(unanswered_seconds(seen, np.arange(1))[0])


@given(st.floats(RTO_MIN, RTO_MAX), st.integers(0, 20), st.floats(0, 1))
def test_no_time_is_told_that_has_not_passed(first: float, tries: int, share: float) -> None:
    """Whatever the first timeout was, which the kernel does not tell."""
    timeouts = [min(first * 2**n, RTO_MAX) for n in range(tries + 1)]
    left = timeouts[-1] * share
    passed = sum(timeouts) - left
    told = known(table(tries, left))
    assert told <= passed + 0.01
    if first == RTO_MIN and tries:
        assert told == pytest.approx(passed, abs=0.01)


@pytest.mark.parametrize(
    ("tries", "left", "told"),
    [
        (0, 0.2, 0.0),
        (1, 0.4, 0.2),
        (8, 51.2, 51.0),
        (8, 0.0, 102.2),
        (8, 102.4, 102.0),  # so the first one was of 0.4 s
        (12, 120.0, 0.2 * 1023 + 2 * 120),
    ],
)
def test_the_timeouts_that_have_passed_add_up(tries: int, left: float, told: float) -> None:
    assert known(table(tries, left)) == pytest.approx(told, abs=0.01)


@pytest.mark.parametrize("timer", [0, 2, 3])
def test_other_timers_tell_nothing(timer: int) -> None:
    assert known(table(8, 30.0, timer=timer)) == 0.0


@pytest.mark.parametrize("state", CLOSING_STATES)
def test_a_close_that_is_not_acknowledged_is_old_at_first_sight(state: TcpState) -> None:
    aged = NO_AGES.seen(table(9, 100.0, state=state), NOTHING_HEARD, NOW)
    assert NOW - aged.since[0] == pytest.approx(104.6, abs=0.1)
    assert NOW - aged.sent_at[0] == pytest.approx(104.6, abs=0.1)


def test_one_that_was_acknowledged_in_between_has_moved() -> None:
    before = NO_AGES.seen(table(9, 100.0, queue=5000), NOTHING_HEARD, NOW)
    after = before.seen(table(0, 0.2, queue=4000), NOTHING_HEARD, NOW + 5)
    assert after.sent_at.tolist() == [NOW + 5]
    assert after.since.tolist() == before.since.tolist()


def test_one_that_is_watched_gets_no_younger() -> None:
    before = NO_AGES.seen(table(8, 20.0), NOTHING_HEARD, NOW)
    after = before.seen(table(9, 102.4), NOTHING_HEARD, NOW + 30)
    assert (after.since <= before.since).all()
    assert (after.sent_at <= before.sent_at).all()


def test_in_other_states_retransmissions_say_nothing_of_its_age() -> None:
    aged = NO_AGES.seen(table(8, 20.0, state=TcpState.CLOSE_WAIT), NOTHING_HEARD, NOW)
    assert aged.since.tolist() == [NOW]
