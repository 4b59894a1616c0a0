"""Real sockets held in each of TCP's eleven states.

A state that a connection rests in is made on loopback. A state that lasts only until the peer
answers is made against a `TunPeer`, which never does. Those that `sockmon drill` makes too come
from `sockmon.drill.lab.conditions`.
"""

import os
import re
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Protocol

from sockmon.drill.lab.addresses import LOOPBACK, AddressKind, Direction, TcpState
from sockmon.drill.lab.conditions import fin_wait2, half_closed, time_wait
from sockmon.drill.lab.held_sockets import HALF_CLOSED, Held, held_connections, settled
from sockmon.drill.lab.netns import NetNs
from sockmon.drill.lab.sockets import (
    accepted,
    connecting,
    connections,
    kept,
    listening,
    read_to_end,
    reset_on_close,
)
from tests.lab.tunpeer import RemoteClient, tun_peer

__all__ = [
    "HOLD",
    "Hold",
    "close",
    "close_wait",
    "closing",
    "established",
    "fin_wait1",
    "fin_wait2",
    "last_ack",
    "listen",
    "syn_recv",
    "syn_sent",
    "time_wait",
]


@contextmanager
def established(
    netns: NetNs, kind: AddressKind = AddressKind.IPV4, count: int = 1
) -> Iterator[Held]:
    """Connections with both ends open."""
    both = {Direction.INBOUND: TcpState.ESTABLISHED, Direction.OUTBOUND: TcpState.ESTABLISHED}
    with connections(netns, netns, kind, count) as made:
        yield held_connections(netns, made, Direction.INBOUND, both)


@contextmanager
def syn_sent(netns: NetNs, kind: AddressKind = AddressKind.IPV4, count: int = 1) -> Iterator[Held]:
    """Calls to a host that never answers; the kernel gives up after tcp_syn_retries."""
    with tun_peer(netns) as peer, ExitStack() as stack:
        port = peer.service_port
        callers = tuple(
            stack.enter_context(connecting(netns, kind, port, host=peer.remote))
            for _ in range(count)
        )
        expected = {(Direction.OUTBOUND, TcpState.SYN_SENT): count}
        yield settled(
            Held(netns, Direction.OUTBOUND, TcpState.SYN_SENT, (port,), expected, callers)
        )


@contextmanager
def syn_recv(netns: NetNs, kind: AddressKind = AddressKind.IPV4, count: int = 1) -> Iterator[Held]:
    """Callers that never complete the handshake: half-open for tcp_synack_retries, about 63 s.

    Up to net.core.somaxconn of them: more do not fit the listener's backlog.
    """
    with (
        tun_peer(netns) as peer,
        listening(netns, kind, host=peer.host, backlog=count + 1) as listener,
    ):
        port = listener.getsockname()[1]
        for client in peer.clients(kind, port, count):
            client.syn()
        expected = {
            (Direction.INBOUND, TcpState.LISTEN): 1,
            (Direction.INBOUND, TcpState.SYN_RECV): count,
        }
        yield settled(Held(netns, Direction.INBOUND, TcpState.SYN_RECV, (port,), expected))


def fin_wait1(
    netns: NetNs, kind: AddressKind = AddressKind.IPV4, count: int = 1
) -> AbstractContextManager[Held]:
    """The service has closed; the peer acknowledges nothing."""

    def end(server: socket.socket, _: RemoteClient) -> None:
        server.shutdown(socket.SHUT_WR)

    return _unanswered(netns, kind, count, end, TcpState.FIN_WAIT1)


#: Whether this kernel lists sockets that are bound and not connected.
LISTS_BOUND = tuple(map(int, re.findall(r"\d+", os.uname().release)[:2])) >= (6, 8)


@contextmanager
def close(netns: NetNs, kind: AddressKind = AddressKind.IPV4, count: int = 1) -> Iterator[Held]:
    """Sockets bound to a port and connected to none: shown by sock_diag alone, and from Linux 6.8.

    Each holds an ephemeral port; without a listener or a peer, their service's port is 0.
    """
    with ExitStack() as stack:
        bound = tuple(stack.enter_context(netns.socket(kind.family)) for _ in range(count))
        for sock in bound:
            sock.bind((LOOPBACK.address(kind), 0))
        expected = {(Direction.OUTBOUND, TcpState.CLOSE): count} if LISTS_BOUND else {}
        yield Held(netns, Direction.OUTBOUND, TcpState.CLOSE, (0,), expected, bound)


@contextmanager
def close_wait(
    netns: NetNs, kind: AddressKind = AddressKind.IPV4, count: int = 1
) -> Iterator[Held]:
    """The client has shut down its sending side; the server, nothing unread, does not close."""
    with half_closed(netns, kind, count) as made:
        yield held_connections(netns, made, Direction.INBOUND, HALF_CLOSED)


def last_ack(
    netns: NetNs, kind: AddressKind = AddressKind.IPV4, count: int = 1
) -> AbstractContextManager[Held]:
    """The peer has closed, then the service; the peer does not acknowledge it."""

    def end(server: socket.socket, client: RemoteClient) -> None:
        client.fin()
        read_to_end(server)
        server.shutdown(socket.SHUT_WR)

    return _unanswered(netns, kind, count, end, TcpState.LAST_ACK)


@contextmanager
def listen(netns: NetNs, kind: AddressKind = AddressKind.IPV4, count: int = 1) -> Iterator[Held]:
    """Listeners, each on a port of its own."""
    with ExitStack() as stack:
        listeners = tuple(stack.enter_context(listening(netns, kind)) for _ in range(count))
        ports = tuple(listener.getsockname()[1] for listener in listeners)
        expected = {(Direction.INBOUND, TcpState.LISTEN): count}
        yield settled(Held(netns, Direction.INBOUND, TcpState.LISTEN, ports, expected, listeners))


def closing(
    netns: NetNs, kind: AddressKind = AddressKind.IPV4, count: int = 1
) -> AbstractContextManager[Held]:
    """Both ends have closed and the FINs have crossed; the peer does not acknowledge ours."""

    def end(server: socket.socket, client: RemoteClient) -> None:
        server.shutdown(socket.SHUT_WR)
        client.fin()

    return _unanswered(netns, kind, count, end, TcpState.CLOSING)


class Hold(Protocol):
    """A context manager that holds `count` sockets in one state."""

    def __call__(
        self, netns: NetNs, kind: AddressKind = ..., count: int = ...
    ) -> AbstractContextManager[Held]:
        """Make the sockets."""


HOLD: Mapping[TcpState, Hold] = {
    TcpState.ESTABLISHED: established,
    TcpState.SYN_SENT: syn_sent,
    TcpState.SYN_RECV: syn_recv,
    TcpState.FIN_WAIT1: fin_wait1,
    TcpState.FIN_WAIT2: fin_wait2,
    TcpState.TIME_WAIT: time_wait,
    TcpState.CLOSE: close,
    TcpState.CLOSE_WAIT: close_wait,
    TcpState.LAST_ACK: last_ack,
    TcpState.LISTEN: listen,
    TcpState.CLOSING: closing,
}


@contextmanager
def _unanswered(
    netns: NetNs,
    kind: AddressKind,
    count: int,
    end: Callable[[socket.socket, RemoteClient], None],
    state: TcpState,
) -> Iterator[Held]:
    """Connections from a remote host, taken to their end by `end`; from then on it is silent.

    The service keeps its descriptors, and the kernel tries on for tcp_retries2, about 15 minutes.
    Closed, they would be orphans, which nobody could take out of a namespace.
    """
    with tun_peer(netns) as peer, ExitStack() as stack:
        listener = stack.enter_context(listening(netns, kind, host=peer.host))
        port = listener.getsockname()[1]
        servers = []
        for client in peer.clients(kind, port, count):
            client.connect()
            server = kept(stack, accepted(listener))
            reset_on_close(server)
            end(server, client)
            servers.append(server)
        expected = {(Direction.INBOUND, TcpState.LISTEN): 1, (Direction.INBOUND, state): count}
        yield settled(Held(netns, Direction.INBOUND, state, (port,), expected, tuple(servers)))
