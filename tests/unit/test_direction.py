"""The one rule behind every per-port figure, and its memory of listeners that went away."""

from hypothesis import given
from hypothesis import strategies as st

from sockmon.model.direction import Directions, Listened, directions
from sockmon.model.limits import PortRange
from sockmon.model.states import TcpState
from tests.unit import naive
from tests.unit.strategies import Socket, port_ranges, socket_lists, table

LINUX = PortRange(32768, 60999)


def as_groups(found: Directions) -> list[naive.Group]:
    return [
        ("inbound" if is_inbound else "outbound", port)
        for is_inbound, port in zip(found.is_inbound.tolist(), found.port.tolist(), strict=True)
    ]


def groups(*sockets: Socket, before: Listened | None = None) -> list[naive.Group]:
    made = table(sockets)
    return as_groups(directions(made, (before or Listened()).seen(made), LINUX))


def listener(port: int, family: int = 4) -> Socket:
    anyone = {4: "0.0.0.0", 6: "::"}[family]
    return Socket(TcpState.LISTEN, family, anyone, port, anyone, 0)


def served(port: int, client: int = 50000) -> Socket:
    return Socket(local_port=port, remote_port=client)


class TestTheRule:
    def test_a_socket_on_a_port_listened_on_is_its_listeners(self) -> None:
        assert groups(listener(8080), served(8080, 443)) == [("inbound", 8080)] * 2

    def test_so_it_is_on_an_ephemeral_port(self) -> None:
        assert groups(listener(40000), served(40000, 443)) == [("inbound", 40000)] * 2

    def test_both_ends_of_a_loopback_connection_are_told_apart(self) -> None:
        both = served(8080, 40000), served(40000, 8080)
        assert groups(listener(8080), *both)[1:] == [("inbound", 8080), ("outbound", 8080)]

    def test_without_a_listener_an_outside_port_called_from_inside_is_a_listeners(self) -> None:
        assert groups(served(8080, 40000)) == [("inbound", 8080)]

    def test_any_other_socket_is_a_clients(self) -> None:
        assert groups(served(40000, 443)) == [("outbound", 443)], "inside to outside"
        assert groups(served(40000, 40001)) == [("outbound", 40001)], "inside to inside"
        assert groups(served(8080, 443)) == [("outbound", 443)], "outside to outside"

    def test_the_range_includes_both_its_ends(self) -> None:
        for inside in (32768, 60999):
            assert groups(served(8080, inside)) == [("inbound", 8080)]
            assert groups(served(inside, 8080)) == [("outbound", 8080)]
        for outside in (32767, 61000):
            assert groups(served(outside, 40000)) == [("inbound", outside)]

    def test_reserved_ports_are_still_inside_the_range(self) -> None:
        ports = PortRange(32768, 60999, ((40000, 40000),))
        made = table([served(40000, 443)])
        assert as_groups(directions(made, Listened().seen(made), ports)) == [("outbound", 443)]

    def test_a_dual_stack_listener_counts_for_both_families(self) -> None:
        client = Socket(local_port=40000, remote_port=443)
        sixth = Socket(
            family=6, local="fd00::1", local_port=40000, remote="fd00::2", remote_port=443
        )
        assert groups(listener(40000, family=6), client, sixth) == [("inbound", 40000)] * 3

    def test_a_bound_socket_without_a_peer_is_nobodys_listener(self) -> None:
        assert groups(Socket(TcpState.CLOSE, local_port=40000, remote_port=0)) == [("outbound", 0)]

    def test_a_port_that_two_of_few_connections_share_is_a_services(self) -> None:
        assert groups(served(40001, 50000), served(40001, 50002)) == [("inbound", 40001)] * 2

    def test_one_that_two_of_sixty_share_was_given_twice_by_chance(self) -> None:
        calls = [served(40000 + 2 * min(n, 58), 50001 + 2 * n) for n in range(60)]
        assert {direction for direction, _ in groups(*calls)} == {"outbound"}

    def test_three_of_sixty_do_not_share_one_by_chance(self) -> None:
        calls = [served(40000 + 2 * min(n, 57), 50001 + 2 * n) for n in range(60)]
        assert groups(*calls)[56:] == [("outbound", 50113)] + [("inbound", 40114)] * 3

    def test_data_connections_of_an_ftp_server_are_told_by_parity(self) -> None:
        accepted = [served(40001 + 2 * n, 50000 + 2 * n) for n in range(8)]
        made = [served(socket.remote_port, socket.local_port) for socket in accepted]
        assert {direction for direction, _ in groups(*accepted)} == {"inbound"}
        assert {direction for direction, _ in groups(*made)} == {"outbound"}
        both = [direction for direction, _ in groups(*accepted, *made)]
        assert both == ["inbound"] * 8 + ["outbound"] * 8

    def test_so_they_are_if_it_chooses_its_ports_itself(self) -> None:
        accepted = [served(40001 + n, 50000 + 2 * n) for n in range(8)]
        made = [served(socket.remote_port, socket.local_port) for socket in accepted]
        assert {direction for direction, _ in groups(*accepted)} == {"inbound"}
        assert {direction for direction, _ in groups(*made)} == {"outbound"}

    def test_udp_chooses_ports_of_either_parity(self) -> None:
        made = table(served(40001 + 2 * n, 50000 + 2 * n) for n in range(8))
        found = directions(made, Listened(), LINUX, parity=False)
        assert not found.is_inbound.any()

    def test_of_a_few_parity_tells_nothing(self) -> None:
        few = [served(40001 + 2 * n, 50000 + 2 * n) for n in range(7)]
        assert {direction for direction, _ in groups(*few)} == {"outbound"}

    @given(socket_lists, port_ranges, st.sets(st.sampled_from([22, 40000, 65535])))
    def test_agrees_with_deciding_one_by_one(
        self, sockets: list[Socket], ports: PortRange, earlier: set[int]
    ) -> None:
        made = table(sockets)
        memory = Listened().seen(table(map(listener, earlier))).seen(made)
        in_use = {socket.local_port for socket in sockets}
        remembered = naive.listened(sockets) | earlier & in_use
        expected = [naive.group(socket, remembered, ports, sockets) for socket in sockets]
        assert as_groups(directions(made, memory, ports)) == expected


class TestMemory:
    def test_a_listener_that_went_away_keeps_its_sockets_as_long_as_they_live(self) -> None:
        memory = Listened().seen(table([listener(40000), served(40000, 443)]))
        for _ in range(3):
            memory = memory.seen(table([served(40000, 443), served(9, 10)]))
            assert groups(served(40000, 443), before=memory) == [("inbound", 40000)]

    def test_it_is_forgotten_with_its_last_socket(self) -> None:
        memory = Listened().seen(table([listener(40000), served(40000, 443)]))
        memory = memory.seen(table([served(9, 10)]))
        assert groups(served(40000, 443), before=memory) == [("outbound", 443)]

    def test_sockets_older_than_the_first_poll_have_no_such_memory(self) -> None:
        assert groups(served(40000, 443)) == [("outbound", 443)]

    def test_what_was_remembered_does_not_change_afterwards(self) -> None:
        before = Listened().seen(table([listener(40000)]))
        before.seen(table([]))
        assert groups(served(40000, 443), before=before) == [("inbound", 40000)]
