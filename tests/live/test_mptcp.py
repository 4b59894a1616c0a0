"""MPTCP connections are counted once and diagnosed as TCP's are."""

import pytest

from sockmon.model.states import TcpState
from tests.lab import AddressKind, NetNs, eventually, mptcp
from tests.live.test_queues import polled
from tests.polling import Polling

pytestmark = pytest.mark.root
every_kind = pytest.mark.parametrize("kind", list(AddressKind))


def counted(netns: NetNs, kind: AddressKind) -> dict[TcpState, int]:
    poller = Polling(netns)
    try:
        return dict(poller.tcp()[6 if kind is AddressKind.IPV6 else 4])
    finally:
        poller.close()


@every_kind
def test_each_connection_counts_once(netns: NetNs, kind: AddressKind) -> None:
    family = {} if kind is AddressKind.MAPPED else {TcpState.LISTEN: 1}
    with mptcp.established(netns, kind, 3):
        assert counted(netns, kind) == {TcpState.ESTABLISHED: 6, **family}


@every_kind
def test_what_the_server_does_not_close_is_a_leak(netns: NetNs, kind: AddressKind) -> None:
    with mptcp.leaked(netns, kind, 4) as made, polled(netns) as wait:
        expected = {TcpState.CLOSE_WAIT: 4, TcpState.FIN_WAIT2: 4}
        expected |= {} if kind is AddressKind.MAPPED else {TcpState.LISTEN: 1}
        assert eventually(lambda: counted(netns, kind), until=lambda n: n == expected)
        (found,) = wait("close_wait_leak")
        assert (found.subject.direction, found.subject.port) == ("inbound", made.port)
        assert found.value == 4
        assert found.owner is not None
        assert found.owner.processes
        lines = [advice.command.line for advice in found.advice if advice.command]
        assert f"ss -tMnpo state close-wait '( sport = :{made.port} )'" in lines


@every_kind
def test_what_nobody_accepts_waits_in_the_accept_queue(netns: NetNs, kind: AddressKind) -> None:
    with mptcp.waiting(netns, kind, 5) as made, polled(netns) as wait:
        (found,) = wait("accept_queue")
        assert f"does not accept on port {made.port}: 5 connections wait" in found.summary


@every_kind
def test_accepted_connections_wait_in_no_accept_queue(netns: NetNs, kind: AddressKind) -> None:
    with mptcp.established(netns, kind, 5), polled(netns) as wait:
        wait()
