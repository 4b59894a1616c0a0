"""Leaked sockets that have left the table while a process still holds them."""

from dataclasses import replace
from typing import Any

import pytest

from sockmon.model.descriptors import Descriptors
from sockmon.model.owner import Owners, Process
from sockmon.model.states import TcpState
from sockmon.model.vanished import Vanished
from tests.unit.detect.builders import Sock, accepted, listening, sight

SHOP = Process(7, "shop")
LEAKED = accepted(TcpState.CLOSE_WAIT, age=99.0, inode=100)


def polls(first: list[Sock], second: list[Sock]) -> Vanished:
    seen = Vanished()
    for socks in (first, second):
        data = sight([listening(), *socks])
        seen = seen.seen(data.aged, data.table, data.directions, data.now, 60.0)
    return seen


def held(*inodes: int) -> Owners:
    return Owners.of(dict.fromkeys(inodes, (SHOP,)), {})


@pytest.mark.parametrize("kind", [{"multipath": True}, {"timer": 2}])
def test_are_held_closed_sockets(kind: dict[str, Any]) -> None:
    gone = polls(replace(LEAKED, **kind).times(12), [])
    assert gone.gone == set(range(100, 112))
    (use,) = gone.added((), held(*range(100, 110)))
    assert (use.process, use.closed, use.leaked) == (SHOP, 10, 10)
    (use,) = gone.added([Descriptors(SHOP, closed=30)], held(100))
    assert (use.closed, use.leaked) == (30, 1)


def test_are_forgotten_when_nobody_holds_them() -> None:
    gone = polls(replace(LEAKED, timer=2).times(3), [])
    assert gone.still_held(held(101)).gone == {101}
    assert gone.still_held(Owners.of({}, {}, pending=[100])).gone == {100}


@pytest.mark.parametrize(
    "other",
    [
        LEAKED,  # nothing but close() ends it
        replace(LEAKED, timer=2, age=5.0),
        replace(LEAKED, timer=2, local_port=40_000, remote_port=443),  # of a pool, perhaps
    ],
)
def test_are_none_that_the_application_has_closed(other: Sock) -> None:
    assert polls([other], []).gone == frozenset()


def test_are_none_that_are_there_again() -> None:
    leaked = replace(LEAKED, timer=2)
    assert polls([leaked], [leaked]).gone == frozenset()
