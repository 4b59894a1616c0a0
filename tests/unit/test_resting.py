"""Sockets at rest, as the last whole read knew them, and the others of now make the whole again."""

import numpy as np
from hypothesis import given

from sockmon.model.counts import Groups, by_direction_and_port, by_family
from sockmon.model.direction import Directions, Listened, directions
from sockmon.model.limits import PortRange
from sockmon.model.ports import ephemeral_ports
from sockmon.model.resting import Resting
from sockmon.model.states import RESTING_STATES
from sockmon.model.table import SocketTable
from tests.unit.strategies import Socket, port_ranges, socket_lists, table


def whole_and_resting(sockets: list[Socket], ports: PortRange) -> tuple[SocketTable, Directions]:
    made = table(sockets)
    return made, directions(made, Listened().seen(made), ports)


def at_rest(made: SocketTable, by_direction: Directions, ports: PortRange) -> Resting:
    groups = by_direction_and_port(made, by_direction)
    return Resting.of(made, by_direction, groups, ephemeral_ports(made, by_direction, ports, None))


def others(made: SocketTable, by_direction: Directions) -> tuple[SocketTable, Directions]:
    rows = np.flatnonzero(~np.isin(made.state, RESTING_STATES))
    return made.select(rows), Directions(by_direction.is_inbound[rows], by_direction.port[rows])


def same(one: Groups, other: Groups) -> bool:
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in one.__slots__)


@given(socket_lists, port_ranges)
def test_with_the_others_they_are_everybody(sockets: list[Socket], ports: PortRange) -> None:
    made, by_direction = whole_and_resting(sockets, ports)
    resting = at_rest(made, by_direction, ports)
    part, part_directions = others(made, by_direction)
    assert resting.with_others(by_family(part)) == by_family(made)
    groups = resting.groups_with(by_direction_and_port(part, part_directions))
    assert same(groups, by_direction_and_port(made, by_direction))


@given(socket_lists, port_ranges)
def test_without_them_only_those_at_rest_are_left(sockets: list[Socket], ports: PortRange) -> None:
    made, by_direction = whole_and_resting(sockets, ports)
    resting = at_rest(made, by_direction, ports)
    rows = np.flatnonzero(np.isin(made.state, RESTING_STATES))
    alone = by_direction_and_port(
        made.select(rows), Directions(by_direction.is_inbound[rows], by_direction.port[rows])
    )
    assert same(resting.groups, alone)
    assert dict(resting.by_family) == by_family(made.select(rows))


@given(socket_lists, socket_lists)
def test_a_part_forgets_no_listener(before: list[Socket], part: list[Socket]) -> None:
    known = Listened().seen(table(before))
    after = known.seen_in_part(table(part))
    assert (after.ports | known.ports == after.ports).all()
    assert (after.ports == (known.ports | Listened().seen(table(part)).ports)).all()
