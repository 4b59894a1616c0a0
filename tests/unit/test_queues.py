"""What waits, from poll to poll."""

from dataclasses import replace

from sockmon.model.ages import NOTHING_HEARD
from sockmon.model.queues import NO_QUEUES, Queues
from sockmon.model.states import TcpState
from tests.unit.detect.builders import Sock, accepted, table_of

WAITING = accepted(TcpState.ESTABLISHED, inode=0).times(3)


def polls(*socks: list[Sock]) -> Queues:
    seen = NO_QUEUES
    for n, its in enumerate(socks):
        seen = seen.seen(table_of(its), NOTHING_HEARD, 5.0 * n)
    return seen


def test_a_connection_that_had_waited_and_is_held_was_accepted() -> None:
    taken = [replace(WAITING[0], inode=7), *WAITING[1:]]
    assert polls(WAITING, WAITING).accepted == {}
    assert polls(WAITING, taken).accepted == {443: 5.0}
    assert polls(WAITING, taken, taken).accepted == {443: 5.0}


def test_one_that_was_served_between_two_polls_was_accepted() -> None:
    served = replace(WAITING[0], state=TcpState.TIME_WAIT, timer=3)
    assert polls(WAITING, [served, *WAITING[1:]]).accepted == {443: 5.0}


def test_one_that_its_client_has_given_up_was_not() -> None:
    given_up = [replace(sock, state=TcpState.CLOSE_WAIT) for sock in WAITING]
    assert polls(WAITING, given_up).accepted == {}
    assert polls(WAITING, WAITING[:2]).accepted == {}  # reset


def test_it_is_forgotten_when_nobody_waits() -> None:
    taken = [replace(sock, inode=7 + n) for n, sock in enumerate(WAITING)]
    assert polls(WAITING, taken, taken).accepted == {}
