"""Every socket is counted once, whatever the order in which the kernel listed it."""

from collections import Counter
from random import Random

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sockmon.model.counts import GroupKey, Groups, by_direction_and_port, by_family
from sockmon.model.direction import Listened, directions
from sockmon.model.limits import PortRange
from sockmon.model.states import STATE_SLOTS, TcpState
from tests.unit import naive
from tests.unit.strategies import Socket, port_ranges, socket_lists, table

LINUX = PortRange(32768, 60999)


def grouped(sockets: list[Socket], ports: PortRange = LINUX) -> Groups:
    made = table(sockets)
    return by_direction_and_port(made, directions(made, Listened().seen(made), ports))


def as_counters(groups: Groups) -> dict[naive.Group, Counter[TcpState]]:
    found = {}
    for row, counts in enumerate(groups.states.tolist()):
        key = groups.key(row)
        assert key.port is not None
        found[key.direction, key.port] = Counter({s: counts[s] for s in TcpState if counts[s]})
    return found


class TestByFamily:
    @given(socket_lists)
    def test_agrees_with_counting_one_by_one(self, sockets: list[Socket]) -> None:
        expected = Counter((socket.family, socket.state) for socket in sockets)
        counts = by_family(table(sockets))
        assert {(f, s): counts[f][s] for f in (4, 6) for s in TcpState} == {
            (f, s): expected[f, s] for f in (4, 6) for s in TcpState
        }

    @given(socket_lists)
    def test_sums_to_the_number_of_sockets(self, sockets: list[Socket]) -> None:
        counts = by_family(table(sockets))
        assert sum(map(sum, counts.values())) == len(sockets)
        assert {len(states) for states in counts.values()} == {STATE_SLOTS}

    @given(socket_lists, st.randoms())
    def test_does_not_depend_on_the_order(self, sockets: list[Socket], random: Random) -> None:
        shuffled = sorted(sockets, key=lambda _: random.random())
        assert by_family(table(shuffled)) == by_family(table(sockets))


class TestByRoleAndPort:
    @given(socket_lists, port_ranges)
    def test_agrees_with_counting_one_by_one(self, sockets: list[Socket], ports: PortRange) -> None:
        groups = grouped(sockets, ports)
        assert as_counters(groups) == naive.counts(sockets, naive.listened(sockets), ports)
        assert len(groups.codes) == len(as_counters(groups)), "no group comes twice"

    @given(socket_lists, port_ranges)
    def test_counts_each_socket_once(self, sockets: list[Socket], ports: PortRange) -> None:
        by_state = Counter(socket.state for socket in sockets)
        totals = grouped(sockets, ports).states.sum(axis=0).tolist()
        assert {s: totals[s] for s in TcpState} == {s: by_state[s] for s in TcpState}
        assert totals[0] == 0

    @given(socket_lists, st.randoms())
    def test_does_not_depend_on_the_order(self, sockets: list[Socket], random: Random) -> None:
        shuffled = sorted(sockets, key=lambda _: random.random())
        ours, theirs = grouped(sockets), grouped(shuffled)
        for column in Groups.__slots__:
            assert np.array_equal(getattr(ours, column), getattr(theirs, column))

    @given(socket_lists, port_ranges)
    def test_sums_the_queues_of_all_but_listeners(
        self, sockets: list[Socket], ports: PortRange
    ) -> None:
        groups = grouped(sockets, ports)
        sums = {
            (groups.key(row).direction, groups.key(row).port): queues
            for row, queues in enumerate(
                zip(groups.receive_queue.tolist(), groups.send_queue.tolist(), strict=True)
            )
        }
        assert sums == naive.queues(sockets, naive.listened(sockets), ports)

    @given(socket_lists, port_ranges)
    def test_finds_the_row_of_each_group_and_of_no_other(
        self, sockets: list[Socket], ports: PortRange
    ) -> None:
        groups = grouped(sockets, ports)
        keys = [groups.key(row) for row in range(len(groups.codes))]
        assert groups.rows(keys) == list(range(len(keys)))
        absent = [
            GroupKey(direction, port)
            for direction in ("inbound", "outbound")
            for port in (1, 80, 65535)
            if GroupKey(direction, port) not in keys
        ]
        assert groups.rows(absent) == [None] * len(absent)
        assert groups.of_direction("outbound").tolist() == [
            key.direction == "outbound" for key in keys
        ]
        assert groups.of_direction("inbound").tolist() == [
            key.direction == "inbound" for key in keys
        ]

    def test_of_no_sockets_is_empty(self) -> None:
        groups = grouped([])
        assert (len(groups.codes), groups.states.shape) == (0, (0, STATE_SLOTS))
        assert groups.rows([GroupKey("outbound", 443)]) == [None]
