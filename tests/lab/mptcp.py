"""MPTCP connections, made with real sockets (Linux 5.6 and later)."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from sockmon.drill.lab.addresses import LOOPBACK, AddressKind
from sockmon.drill.lab.conditions import REQUEST
from sockmon.drill.lab.netns import NetNs
from sockmon.drill.lab.sockets import Connections, accepted, kept, service_address

_TIMEOUT = 5.0


@contextmanager
def established(netns: NetNs, kind: AddressKind, count: int) -> Iterator[Connections]:
    """Connections whose two ends speak MPTCP."""
    with waiting(netns, kind, count) as made, ExitStack() as stack:
        servers = tuple(kept(stack, accepted(made.listener)) for _ in range(count))
        yield Connections(made.port, made.listener, made.clients, servers)


@contextmanager
def waiting(netns: NetNs, kind: AddressKind, count: int) -> Iterator[Connections]:
    """Connections that nobody accepted; they have no servers."""
    with ExitStack() as stack:
        listener = stack.enter_context(_socket(netns, kind))
        if kind is AddressKind.MAPPED:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        address = service_address(kind)
        listener.bind(address)
        listener.listen(count + 50)
        clients = []
        for _ in range(count):
            clients.append(kept(stack, _socket(netns, kind)))
            clients[-1].connect((LOOPBACK.address(kind), address[1]))
        yield Connections(address[1], listener, tuple(clients), ())


@contextmanager
def leaked(netns: NetNs, kind: AddressKind, count: int) -> Iterator[Connections]:
    """The clients have closed, and the server has neither read everything nor closed."""
    with established(netns, kind, count) as made:
        for client in made.clients:
            client.sendall(REQUEST)
            client.close()
        yield made


def _socket(netns: NetNs, kind: AddressKind) -> socket.socket:
    made = netns.call(socket.socket, kind.family, socket.SOCK_STREAM, socket.IPPROTO_MPTCP)
    made.settimeout(_TIMEOUT)
    return made
