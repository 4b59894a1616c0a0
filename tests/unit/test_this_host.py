"""Which remote addresses are of this host, by the sockets that it has."""

import ipaddress

import numpy as np
import pytest
from hypothesis import given

from sockmon.model.other_end import mostly_here, to_this_host
from sockmon.model.states import RESTING_STATES, TcpState
from tests.unit import strategies
from tests.unit.strategies import Socket

SIXTH = Socket(family=6, local="fd00::1", remote="fd00::2")


def here(*sockets: Socket) -> list[bool]:
    table = strategies.table(sockets)
    mask: list[bool] = to_this_host(table, np.arange(len(table))).tolist()
    return mask


@pytest.mark.parametrize(
    "socket",
    [
        Socket(remote="127.0.0.1"),
        Socket(remote="127.9.9.9"),
        Socket(remote="10.0.0.1"),  # its own
        SIXTH._replace(remote="::1"),
        SIXTH._replace(remote="fd00::1"),
    ],
)
def test_loopback_and_own_addresses_are(socket: Socket) -> None:
    assert here(socket) == [True]


@pytest.mark.parametrize("socket", [Socket(), SIXTH, SIXTH._replace(remote="7f00::1")])
def test_others_are_not(socket: Socket) -> None:
    assert here(socket) == [False]


def test_an_address_that_another_socket_has_is() -> None:
    listener = Socket(TcpState.LISTEN, local="10.0.0.2", local_port=443, remote="0.0.0.0")
    assert here(Socket(), listener)[0]
    assert not here(Socket(), listener._replace(local="0.0.0.0"))[0]


@given(strategies.socket_lists)
def test_as_a_set_of_addresses_would_say(sockets: list[Socket]) -> None:
    own = {socket.local for socket in sockets if socket.state not in RESTING_STATES}
    assert here(*sockets) == [
        socket.remote in own | {socket.local} or ipaddress.ip_address(socket.remote).is_loopback
        for socket in sockets
    ]


def test_most_of_several_decide() -> None:
    table = strategies.table([Socket(remote="127.0.0.1"), Socket(), Socket(remote="127.0.0.2")])
    assert mostly_here(table, np.arange(3))
    assert not mostly_here(table, np.arange(2)), "as many here as elsewhere"
    assert not mostly_here(table, np.arange(0))
