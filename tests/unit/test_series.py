"""Series of (direction, port) groups neither break nor churn, and always sum to all sockets."""

from collections import Counter
from collections.abc import Collection, Iterable

from hypothesis import given
from hypothesis import strategies as st

from sockmon.model.counts import GroupKey, Groups, PortGroup, by_direction_and_port
from sockmon.model.direction import Direction, Listened, directions
from sockmon.model.limits import PortRange
from sockmon.model.newcomers import REFILL_SECONDS
from sockmon.model.series import Folded, SeriesMemory
from sockmon.model.states import TcpState
from tests.unit import naive
from tests.unit.strategies import PORTS, Socket, socket_lists, table

LINUX = PortRange(32768, 60999)
MINUTE = 60.0


class Folding:
    """A SeriesMemory through time, asserting what holds at every poll."""

    def __init__(self, top: int, always: Collection[int] = ()) -> None:
        self.top = top
        self.always = always
        self.now = 1000.0
        self._memory = SeriesMemory()
        self.folded = Folded((), 0)

    def poll(self, sockets: Iterable[Socket], after: float = 5.0) -> dict[GroupKey, PortGroup]:
        sockets = list(sockets)
        self.now += after
        self.folded, self._memory = self._memory.fold(
            groups_of(sockets), self.now, self.top, self.always
        )
        shown = {group.key: group for group in self.folded.groups}
        assert len(shown) == len(self.folded.groups), "no group is shown twice"
        by_state: Counter[TcpState] = Counter()
        for group in shown.values():
            by_state.update(group.states)
        actual = Counter(socket.state for socket in sockets)
        assert {s: by_state[s] for s in TcpState} == {s: actual[s] for s in TcpState}
        return shown


def groups_of(sockets: Iterable[Socket]) -> Groups:
    made = table(sockets)
    return by_direction_and_port(made, directions(made, Listened().seen(made), LINUX))


def to(port: int, count: int = 1, state: TcpState = TcpState.ESTABLISHED) -> list[Socket]:
    """So many sockets of a client of this port."""
    return [Socket(state, remote_port=port)] * count


def remote(port: int | None) -> GroupKey:
    return GroupKey("outbound", port)


OTHER = {GroupKey("inbound", None), GroupKey("outbound", None)}

polls = st.lists(
    st.tuples(st.sampled_from([0.1, 5.0, 200.0, 599.0, 601.0]), socket_lists), max_size=6
)
tops = st.sampled_from([0, 1, 2, 3, 50])
always_lists = st.lists(st.sampled_from(PORTS), max_size=3)


class TestEveryPoll:
    @given(polls, tops, always_lists)
    def test_counts_each_socket_once(
        self, polls: list[tuple[float, list[Socket]]], top: int, always: list[int]
    ) -> None:
        folding = Folding(top, always)
        for after, sockets in polls:
            folding.poll(sockets, after)  # which asserts it

    @given(polls, tops, always_lists)
    def test_shows_each_group_as_it_is_and_folds_the_others(
        self, polls: list[tuple[float, list[Socket]]], top: int, always: list[int]
    ) -> None:
        folding = Folding(top, always)
        for after, sockets in polls:
            shown = folding.poll(sockets, after)
            ports = naive.listened(sockets)
            counts = naive.counts(sockets, ports, LINUX)
            queues = naive.queues(sockets, ports, LINUX)
            folded: dict[Direction, Counter[TcpState]] = {
                "inbound": Counter(),
                "outbound": Counter(),
            }
            hidden = 0
            for (direction, port), states in counts.items():
                group = shown.get(GroupKey(direction, port))
                if group is None:
                    folded[direction] += states
                    hidden += 1
                    continue
                assert Counter(group.states) == states
                assert (group.receive_queue, group.send_queue) == queues[direction, port]
            assert hidden == folding.folded.folded
            for direction, states in folded.items():
                other = shown.get(GroupKey(direction, None))
                assert Counter(other.states if other else {}) == states

    @given(polls, tops, always_lists)
    def test_shows_the_largest_groups_and_those_of_always(
        self, polls: list[tuple[float, list[Socket]]], top: int, always: list[int]
    ) -> None:
        folding = Folding(top, always)
        for after, sockets in polls:
            shown = folding.poll(sockets, after)
            counts = naive.counts(sockets, naive.listened(sockets), LINUX)
            sizes = {GroupKey(*key): states.total() for key, states in counts.items()}
            assert {key for key in sizes if key.port in always} <= shown.keys()
            hidden = [size for key, size in sizes.items() if key not in shown]
            larger = sorted(sizes.values(), reverse=True)[:top]
            assert not hidden or (len(larger) == top and max(hidden) <= min(larger, default=2**9))

    @given(polls, tops, always_lists)
    def test_shows_again_every_state_a_group_has_shown(
        self, polls: list[tuple[float, list[Socket]]], top: int, always: list[int]
    ) -> None:
        folding = Folding(top, always)
        before: dict[GroupKey, PortGroup] = {}
        for after, sockets in polls:
            shown = folding.poll(sockets, after)
            for key in shown.keys() & before.keys():
                assert before[key].states.keys() <= shown[key].states.keys()
            assert OTHER & before.keys() <= shown.keys()
            before = shown


class TestStates:
    def test_stay_at_zero_once_shown(self) -> None:
        folding = Folding(top=5)
        folding.poll(to(443) + to(443, 2, TcpState.CLOSE_WAIT))
        shown = folding.poll(to(443))
        expected = {TcpState.ESTABLISHED: 1, TcpState.CLOSE_WAIT: 0}
        assert shown[remote(443)].states == expected

    def test_that_never_came_are_not_shown(self) -> None:
        shown = Folding(top=5).poll(to(443))
        assert shown[remote(443)].states == {TcpState.ESTABLISHED: 1}

    def test_of_a_group_without_sockets_are_all_zero(self) -> None:
        folding = Folding(top=5)
        folding.poll(to(443) + to(443, 1, TcpState.SYN_SENT))
        shown = folding.poll([])
        expected = {TcpState.ESTABLISHED: 0, TcpState.SYN_SENT: 0}
        assert shown[remote(443)].states == expected

    def test_of_the_folded_stay_too(self) -> None:
        folding = Folding(top=1)
        folding.poll(to(443, 2) + to(80, 1, TcpState.LAST_ACK))
        assert folding.poll(to(443))[remote(None)].states == {TcpState.LAST_ACK: 0}


class TestGroupsOutOfRank:
    def test_stay_for_ten_minutes_and_then_go(self) -> None:
        folding = Folding(top=1)
        assert remote(80) in folding.poll(to(80))
        larger = to(443, 2) + to(80)
        for _ in range(9):
            assert folding.poll(larger, after=MINUTE)[remote(80)].states[TcpState.ESTABLISHED] == 1
        assert remote(80) in folding.poll(larger, after=MINUTE - 1)
        shown = folding.poll(larger, after=1)
        assert shown.keys() == {remote(443), remote(None)}
        assert folding.folded.folded == 1

    def test_stay_as_long_when_they_have_no_socket_left(self) -> None:
        folding = Folding(top=5)
        folding.poll(to(80))
        assert remote(80) in folding.poll([], after=10 * MINUTE - 1)
        assert folding.poll([], after=1) == {}

    def test_begin_their_ten_minutes_anew_when_they_were_in_rank_again(self) -> None:
        folding = Folding(top=1)
        folding.poll(to(80))
        folding.poll(to(443, 2) + to(80), after=9 * MINUTE)
        folding.poll(to(443) + to(80, 2), after=MINUTE / 2)
        assert remote(80) in folding.poll(to(443, 2) + to(80), after=9 * MINUTE)

    def test_start_with_fresh_states_when_they_come_back(self) -> None:
        folding = Folding(top=1)
        folding.poll(to(80, 1, TcpState.CLOSING))
        folding.poll([], after=10 * MINUTE)
        assert folding.poll(to(80))[remote(80)].states == {TcpState.ESTABLISHED: 1}

    def test_are_bounded_under_churn_at_a_time_and_over_time(self) -> None:
        """Whoever opens ports and leaves them makes no more series than are shown at a time."""
        folding = Folding(top=3, always=[9000, 9001])
        bound, ever = 4 * 3, set[GroupKey]()
        for first in range(1000, 7000, 20):
            newcomers = [socket for port in range(first, first + 20) for socket in to(port)]
            shown = folding.poll([*newcomers, *to(9000), *to(9001)], after=1)
            assert len(shown) <= bound + len(OTHER)
            assert {remote(9000), remote(9001)} <= shown.keys()
            ever |= shown.keys() - OTHER
        assert bound < len(ever) <= 2 + bound + 300 * bound / REFILL_SECONDS

    def test_let_a_large_newcomer_in_before_small_ones(self) -> None:
        folding = Folding(top=3)
        for first in range(1000, 2000, 20):
            folding.poll([s for port in range(first, first + 20) for s in to(port)], after=1)
        for first in range(2000, 6000, 20):
            churn = [s for port in range(first, first + 20) for s in to(port)]
            shown = folding.poll([*churn, *to(443, 7)], after=1)
        assert shown[remote(443)].states == {TcpState.ESTABLISHED: 7}

    @given(st.lists(socket_lists, max_size=12), st.sampled_from([0, 1, 2]), always_lists)
    def test_are_bounded_whatever_comes(
        self, polls: list[list[Socket]], top: int, always: list[int]
    ) -> None:
        folding = Folding(top, always)
        for sockets in polls:
            named = len(folding.poll(sockets).keys() - OTHER)
            assert named <= max(4 * top, top + 2 * len(set(always)))


class TestAlways:
    def test_keeps_a_small_port_in_both_directions(self) -> None:
        listening = Socket(TcpState.LISTEN, local_port=22, remote_port=0)
        shown = Folding(top=1, always=[22]).poll([*to(443, 5), *to(80, 4), listening, *to(22)])
        expected = {remote(443), remote(22), GroupKey("inbound", 22), remote(None)}
        assert shown.keys() == expected

    def test_shows_no_port_before_it_has_a_socket(self) -> None:
        assert Folding(top=1, always=[22]).poll(to(443)).keys() == {remote(443)}

    def test_keeps_a_port_for_ever_once_shown(self) -> None:
        folding = Folding(top=1, always=[22])
        folding.poll(to(22))
        for _ in range(3):
            shown = folding.poll([], after=9 * MINUTE)
        assert shown[remote(22)].states == {TcpState.ESTABLISHED: 0}

    def test_with_no_top_all_others_are_folded(self) -> None:
        folding = Folding(top=0, always=[22])
        shown = folding.poll(to(22) + to(80) + to(443))
        assert shown.keys() == {remote(22), remote(None)}
        assert shown[remote(None)].states == {TcpState.ESTABLISHED: 2}
        assert folding.folded.folded == 2

    def test_dropped_from_the_configuration_stays_for_ten_minutes(self) -> None:
        folding = Folding(top=1, always=[22])
        folding.poll(to(22) + to(443, 2))
        folding.always = []
        assert remote(22) in folding.poll(to(22) + to(443, 2), after=10 * MINUTE - 1)
        assert remote(22) not in folding.poll(to(22) + to(443, 2), after=1)


class TestOther:
    def test_is_not_shown_as_long_as_nothing_is_folded(self) -> None:
        folding = Folding(top=2)
        assert folding.poll(to(80) + to(443)).keys() == {remote(80), remote(443)}
        assert folding.folded.folded == 0

    def test_stays_at_zero_when_nothing_is_folded_any_more(self) -> None:
        folding = Folding(top=1)
        folding.poll(to(80) + to(443, 2))
        other = folding.poll([], after=60 * MINUTE)[remote(None)]
        assert (other.states, other.receive_queue) == ({TcpState.ESTABLISHED: 0}, 0)
        assert folding.folded.folded == 0

    def test_is_one_for_each_direction(self) -> None:
        served = [Socket(local_port=port, remote_port=40000) for port in (7, 9)]
        shown = Folding(top=1).poll([*to(443, 3), *to(80, 2), *served])
        assert shown[remote(None)].states == {TcpState.ESTABLISHED: 2}
        assert shown[GroupKey("inbound", None)].states == {TcpState.ESTABLISHED: 2}
