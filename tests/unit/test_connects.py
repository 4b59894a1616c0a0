"""Whether any attempt to connect to a destination succeeds, from poll to poll."""

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
