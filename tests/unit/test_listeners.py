"""Accept queues, and a counter of dropped connections that never falls."""

from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sockmon.model.listeners import (
    ListenDrops,
    ListeningMemory,
    ListenQueue,
    listen_queues,
    listeners,
    scopes,
)
from sockmon.model.newcomers import REFILL_SECONDS
from sockmon.model.states import TcpState
from tests.unit.strategies import Socket, socket_lists, table


class Listener(NamedTuple):
    """A listening socket; `drops` as the kernel counts them, from 0 to 2**32 - 1."""

    port: int
    cookie: int = 1
    drops: int = 0
    queue: int = 0
    limit: int = 128

    def socket(self) -> Socket:
        return Socket(
            TcpState.LISTEN,
            local_port=self.port,
            remote_port=0,
            receive_queue=self.queue,
            send_queue=self.limit,
            cookie=self.cookie,
            drops=self.drops,
        )


def queues(*listening: Listener) -> tuple[ListenQueue, ...]:
    return listen_queues(table(listener.socket() for listener in listening))


def seen(before: ListenDrops, *listening: Listener) -> ListenDrops:
    return before.seen(table(listener.socket() for listener in listening))


@given(socket_lists)
def test_listeners_are_the_listening_sockets_alone(sockets: list[Socket]) -> None:
    expected = [socket.local_port for socket in sockets if socket.state is TcpState.LISTEN]
    assert listeners(table(sockets)).local_port.tolist() == expected


class TestQueues:
    def test_are_one_for_each_port_by_port(self) -> None:
        found = queues(Listener(443, 1, queue=3), Listener(80, 2, queue=0, limit=5))
        assert found == (ListenQueue(80, 0, 5), ListenQueue(443, 3, 128))

    @pytest.mark.parametrize("order", [1, -1])
    def test_of_several_listeners_are_the_fullest(self, order: int) -> None:
        few_of_few, many_of_many = Listener(80, 1, 0, 4, 5), Listener(80, 2, 0, 100, 4096)
        assert queues(*(few_of_few, many_of_many)[::order]) == (ListenQueue(80, 4, 5),)

    @pytest.mark.parametrize("order", [1, -1])
    def test_that_are_equally_full_give_the_smaller_limit(self, order: int) -> None:
        small, large = Listener(80, 1, 0, 0, 5), Listener(80, 2, 0, 0, 4096)
        assert queues(*(small, large)[::order]) == (ListenQueue(80, 0, 5),)

    @pytest.mark.parametrize("order", [1, -1])
    def test_with_a_limit_of_nothing_are_full_with_one(self, order: int) -> None:
        """listen(fd, 0) lets one connection in."""
        empty, half = Listener(80, 1, 0, 0, 0), Listener(80, 2, 0, 3, 5)
        assert queues(*(empty, half)[::order]) == (ListenQueue(80, 3, 5),)
        full = empty._replace(queue=1)
        assert queues(*(full, half)[::order]) == (ListenQueue(80, 1, 0),)

    def test_of_no_listeners_are_none(self) -> None:
        assert queues() == ()


class TestDrops:
    def test_count_what_each_poll_adds(self) -> None:
        drops = seen(ListenDrops(), Listener(80, drops=5))
        assert drops.totals == {80: 5}
        drops = seen(drops, Listener(80, drops=5))
        assert drops.totals == {80: 5}
        assert seen(drops, Listener(80, drops=9)).totals == {80: 9}

    def test_go_on_when_the_kernels_counter_wraps(self) -> None:
        drops = seen(ListenDrops(), Listener(80, drops=2**32 - 2))
        assert seen(drops, Listener(80, drops=3)).totals == {80: 2**32 + 3}

    def test_of_several_listeners_are_summed(self) -> None:
        drops = seen(ListenDrops(), Listener(80, 1, 5), Listener(80, 2, 7), Listener(443, 3, 1))
        assert drops.totals == {80: 12, 443: 1}

    def test_do_not_fall_when_one_of_several_goes(self) -> None:
        drops = seen(ListenDrops(), Listener(80, 1, 5), Listener(80, 2, 7))
        assert seen(drops, Listener(80, 2, 8)).totals == {80: 13}

    def test_go_on_when_the_listener_is_another(self) -> None:
        """A server that restarts between two polls: the new socket counts from zero."""
        drops = seen(ListenDrops(), Listener(80, 1, 5))
        assert seen(drops, Listener(80, 2, 2)).totals == {80: 7}

    def test_are_forgotten_with_the_last_listener_of_a_port(self) -> None:
        drops = seen(seen(ListenDrops(), Listener(80, 1, 5)))
        assert (drops.totals, drops.by_cookie) == ({}, {})
        assert seen(drops, Listener(80, 1, 5)).totals == {80: 5}

    @given(st.data())
    def test_never_fall_while_a_port_is_listened_on(self, data: st.DataObject) -> None:
        """And count just what was dropped, as long as no counter turns over between two polls."""
        alive: dict[int, Listener] = {}
        expected: dict[int, int] = {}
        drops = ListenDrops()
        for poll in range(data.draw(st.integers(1, 8))):
            for cookie in data.draw(st.sets(st.sampled_from(sorted(alive) or [0]))):
                alive.pop(cookie, None)
            for number in range(data.draw(st.integers(0, 3))):
                cookie = 1 + 10 * poll + number
                alive[cookie] = Listener(data.draw(st.sampled_from([80, 443])), cookie)
            expected = {
                port: total
                for port, total in expected.items()
                if any(listener.port == port for listener in alive.values())
            }
            for cookie, listener in alive.items():
                more = data.draw(st.sampled_from([0, 1, 1000, 2**31, 2**32 - 1]))
                alive[cookie] = listener._replace(drops=(listener.drops + more) % 2**32)
                expected[listener.port] = expected.get(listener.port, 0) + more
            before = drops.totals
            drops = seen(drops, *alive.values())
            assert drops.totals == expected
            assert all(drops.totals[port] >= before.get(port, 0) for port in drops.totals)
            assert drops.by_cookie.keys() == alive.keys(), "no departed listener is remembered"


class TestListening:
    def test_scopes_of_a_port(self) -> None:
        local = {"0.0.0.0": 4, "127.0.0.2": 4, "192.0.2.1": 4, "::": 6, "::1": 6, "fd00::1": 6}
        made = table(
            Socket(TcpState.LISTEN, family, address, port, remote_port=0)
            for port, (address, family) in enumerate(local.items(), start=1)
        )
        expected = ["any", "loopback", "address"] * 2
        assert sorted(scopes(made)) == list(zip(range(1, 7), expected, strict=True))

    def test_one_that_has_gone_is_shown_at_zero_for_ten_minutes(self) -> None:
        shown, memory = ListeningMemory().seen([(80, "any"), (22, "any")], 0.0, 10)
        assert [(its.port, its.listens) for its in shown] == [(22, True), (80, True)]
        shown, memory = memory.seen([(22, "any")], 599.0, 10)
        assert [(its.port, its.listens) for its in shown] == [(22, True), (80, False)]
        shown, memory = memory.seen([(22, "any"), (80, "loopback")], 600.0, 10)
        assert [(its.port, its.scope) for its in shown] == [(22, "any"), (80, "loopback")]

    def test_one_that_others_keep_out_of_rank_has_not_gone(self) -> None:
        _, memory = ListeningMemory().seen([(80, "any"), (443, "any")], 0.0, 2)
        shown, _ = memory.seen([(22, "any"), (80, "any"), (443, "any")], 5.0, 2)
        assert [(its.port, its.listens) for its in shown] == [(80, True), (443, True)]

    def test_they_are_bounded_at_a_time_and_over_time(self) -> None:
        memory, ever = ListeningMemory(), set[int]()
        for first in range(0, 1000, 10):
            there = [(port, "any") for port in range(first, first + 10)]
            shown, memory = memory.seen(there, float(first), 15)  # type: ignore[arg-type]
            assert len(shown) <= 15
            ever |= {its.port for its in shown}
        assert 15 < len(ever) <= 15 + 1000 * 15 / REFILL_SECONDS


def test_drops_before_the_first_poll_are_not_of_this_process() -> None:
    drops = seen(ListenDrops(), Listener(80, 1, 5))
    assert drops.since_first == {80: 0}
    drops = seen(drops, Listener(80, 1, 7), Listener(443, 2, 3))
    assert drops.since_first == {80: 2, 443: 3}
    drops = seen(seen(drops, Listener(443, 2, 3)), Listener(80, 3, 1), Listener(443, 2, 3))
    assert drops.since_first == {80: 1, 443: 3}
