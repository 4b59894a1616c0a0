"""Whether any attempt to connect to a destination succeeds, from poll to poll."""

from dataclasses import replace
from typing import Any

import pytest

from sockmon.model.connects import Connects, place_of
from sockmon.model.states import TcpState
from tests.unit.detect.builders import Sock, table_of

CALLING = Sock(TcpState.SYN_SENT)
POOL = Sock(local_port=50_000).times(4)


def polls(*socks: list[Sock], whole: bool = True) -> Connects:
    """What is remembered after so many polls, five seconds apart."""
    seen = Connects()
    for n, its in enumerate(socks):
        seen = seen.seen(table_of(its), 5.0 * n, whole=whole)
    return seen


def test_connections_from_before_do_not_hide_that_no_new_one_succeeds() -> None:
    """A pool's connections to a host that is lost."""
    seen = polls([*POOL, CALLING], [*POOL, CALLING], [*POOL, CALLING])
    place = place_of(table_of([CALLING]), 0)
    assert seen.failing[place].polls == 3


def test_a_new_connection_is_a_success_in_any_later_state() -> None:
    for state in (TcpState.ESTABLISHED, TcpState.TIME_WAIT, TcpState.CLOSE_WAIT):
        new = Sock(state, local_port=51_000)
        assert polls([*POOL, CALLING], [*POOL, new, CALLING]).failing == {}


def test_an_attempt_that_succeeds_later_is_a_success() -> None:
    assert polls([CALLING], [Sock()]).failing == {}


def test_a_part_of_the_table_shows_no_success() -> None:
    seen = polls([CALLING], [Sock(), CALLING], whole=False)
    assert len(seen.failing) == 1


def test_how_long_an_attempt_has_waited_is_what_its_timer_says() -> None:
    def waited(**others: Any) -> float:
        (its,) = polls([replace(CALLING, **{"timer": 1, **others})]).failing.values()
        return its.waited

    assert waited(expires=800) == pytest.approx(0.2)
    assert waited(expires=7000, retransmits=3) == 1.0
    assert waited(timer=0) == 1.0, "not known"


def test_who_was_reached_at_the_port_is_remembered_for_a_minute() -> None:
    other = Sock(remote="10.0.0.3", local_port=51_000)
    seen = polls([*POOL, CALLING], [*POOL, other, CALLING])
    assert seen.reached_at(443) == 1
    assert len(seen.failing) == 1
    for n in range(14):
        seen = seen.seen(table_of([*POOL, other, CALLING]), 10.0 + 5 * n, whole=True)
    assert seen.reached_at(443) == 0


def test_the_longest_pause_between_attempts_is_remembered() -> None:
    (its,) = polls([CALLING], [], [], [CALLING]).failing.values()
    assert (its.polls, its.pause) == (2, 15.0)
