"""Ports are watched while they are large and some time after, and none is told of another."""

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sockmon.history.sample import SLOTS
from sockmon.history.store import RANKED, History
from sockmon.model.counts import GroupKey
from tests.recorded import MIXED
from tests.unit.golden import observe
from tests.unit.polls import at, past_of, poll, rows_of, saw


@given(
    st.lists(
        st.dictionaries(st.integers(1, 40), st.integers(0, 5), max_size=25),
        min_size=1,
        max_size=30,
    )
)
def test_no_port_is_told_of_another(made: list[dict[int, int]]) -> None:
    history = History()
    since: dict[int, float] = {}
    sockets: dict[tuple[float, int], int] = {}
    for number, sizes in enumerate(made):
        moment = at(5 * number)
        # No two ports ever have the same number of sockets.
        groups = {port: 100 * size + port for port, size in sizes.items()}
        history.observe(poll(moment, saw(moment, 0, groups)), moment)
        watched = past_of(history).namespaces["host"].watched
        assert len({its.slot for its in watched.values()}) == len(watched) <= SLOTS
        largest = sorted(groups, key=lambda port: -groups[port])[:RANKED]
        assert {GroupKey("inbound", port) for port in largest} <= watched.keys()
        held = {key.port: its.since for key, its in watched.items() if key.port}
        kept = {port: since.get(port, moment.monotonic) for port in held}
        assert held == kept
        since = kept
        sockets.update({(moment.monotonic, port): groups[port] for port in held if port in groups})
    for key, its in past_of(history).namespaces["host"].watched.items():
        assert key.port is not None
        for row in rows_of(history, "hour"):
            if row.at >= its.since:
                told = row.high[its.columns][0]
                expected = sockets.get((row.at, key.port), np.nan)
                np.testing.assert_equal(told, np.float32(expected))


def test_the_longest_out_of_rank_makes_room() -> None:
    history = History()
    for number in range(SLOTS + 1):
        moment = at(5 * number)
        history.observe(poll(moment, saw(moment, 0, {80: 9, 1000 + number: 5})), moment)
    kept = {key.port for key in past_of(history).namespaces["host"].watched}
    assert kept == {80, *range(1002, 1001 + SLOTS)}


def test_one_that_comes_back_into_rank_in_time_keeps_its_past() -> None:
    history = History()
    halves = range(1, SLOTS // 2 + 1), range(SLOTS // 2 + 1, SLOTS + 1)
    for number, ports in enumerate(halves):
        moment, groups = at(5 * number), dict.fromkeys(ports, 50)
        history.observe(poll(moment, saw(moment, 0, groups)), moment)
    moment = at(15)
    history.observe(poll(moment, saw(moment, 0, {1: 7, 99: 8})), moment)
    watched = past_of(history).namespaces["host"].watched
    assert watched[GroupKey("inbound", 1)].since == at(0).monotonic


def test_other_is_no_port() -> None:
    history, moment = History(), at(0)
    seen = saw(moment, 0, {80: 1})
    assert seen.ports is not None
    (group,) = seen.ports.value.groups
    other = replace(group, key=GroupKey("inbound", None))
    value = replace(seen.ports.value, groups=(group, other))
    history.observe(poll(moment, replace(seen, ports=replace(seen.ports, value=value))), moment)
    assert past_of(history).namespaces["host"].watched.keys() == {group.key}


def test_the_groups_of_a_true_poll_come_largest_first() -> None:
    part = observe(MIXED).namespaces[0].ports
    assert part is not None
    sockets = [sum(group.states.values()) for group in part.value.groups if group.key.port]
    assert len(sockets) > RANKED
    assert sockets[:RANKED] == sorted(sockets, reverse=True)[:RANKED]
