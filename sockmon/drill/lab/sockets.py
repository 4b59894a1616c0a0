"""Listeners, connections, and closing them without a trace."""

import errno
import itertools
import secrets
import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from sockmon.drill.lab.addresses import LOOPBACK, AddressKind, Host
from sockmon.drill.lab.netns import NetNs

_TIMEOUT = 30.0
_BACKLOG = 128
_TRIED = 1000  # ports in use, before it is concluded that none is free

# As with real services, the port lies outside ip_local_port_range; the kernel would choose one
# inside. They begin anywhere above sockmon's own, since TIME_WAIT sockets of an earlier drill may
# still have a port.
_first = 11000 + secrets.randbelow(9000)
_service_ports = itertools.cycle([*range(_first, 20000), *range(11000, _first)])


@dataclass(frozen=True, slots=True)
class Connections:
    """Established connections to one listener, client n being the other end of server n."""

    port: int
    listener: socket.socket
    clients: tuple[socket.socket, ...]
    servers: tuple[socket.socket, ...]

    def pairs(self) -> Iterator[tuple[socket.socket, socket.socket]]:
        """Each client with its server."""
        return zip(self.clients, self.servers, strict=True)


def service_address(kind: AddressKind, host: Host = LOOPBACK) -> tuple[str, int]:
    """Return an address for a service of `host`; a dual-stack one listens on all. No port twice."""
    address = "::" if kind is AddressKind.MAPPED else host.address(kind)
    return address, next(_service_ports)


def listening(
    netns: NetNs, kind: AddressKind, *, host: Host = LOOPBACK, backlog: int = _BACKLOG
) -> socket.socket:
    """Return a listener, with SO_REUSEADDR as servers have it, on a port that is free."""
    for _ in range(_TRIED):
        try:
            listener = netns.call(
                socket.create_server,
                service_address(kind, host),
                family=kind.family,
                backlog=backlog,
                dualstack_ipv6=kind is AddressKind.MAPPED,
            )
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
        else:
            listener.settimeout(_TIMEOUT)
            return listener
    raise OSError(errno.EADDRINUSE, f"none of {_TRIED} ports is free to listen on")


def accepted(listener: socket.socket) -> socket.socket:
    """The next connection of a listener."""
    connection, _ = listener.accept()
    connection.settimeout(_TIMEOUT)
    return connection


def connected(
    netns: NetNs, kind: AddressKind, port: int, *, host: Host = LOOPBACK
) -> socket.socket:
    """A client's socket, connected."""
    client = netns.socket(kind.family)
    client.settimeout(_TIMEOUT)
    try:
        client.connect((host.address(kind), port))
    except OSError:
        client.close()
        raise
    return client


def connecting(
    netns: NetNs, kind: AddressKind, port: int, *, host: Host = LOOPBACK
) -> socket.socket:
    """Return a client's socket that has sent its SYN and does not wait for the answer."""
    client = netns.socket(kind.family)
    client.settimeout(0)
    client.connect_ex((host.address(kind), port))
    return client


@contextmanager
def connections(
    client: NetNs, server: NetNs, kind: AddressKind, count: int, *, host: Host = LOOPBACK
) -> Iterator[Connections]:
    """Connect `count` times to a listener of `host`, which accepts each."""
    with ExitStack() as stack:
        listener = stack.enter_context(listening(server, kind, host=host))
        port = listener.getsockname()[1]
        clients, servers = [], []
        for _ in range(count):
            clients.append(kept(stack, connected(client, kind, port, host=host)))
            servers.append(kept(stack, accepted(listener)))
        yield Connections(port, listener, tuple(clients), tuple(servers))


def kept(stack: ExitStack, connection: socket.socket) -> socket.socket:
    """Have `stack` abort the connection at its end, unless it is closed before."""
    stack.callback(abort, connection)
    return connection


def abort(connection: socket.socket) -> None:
    """Close with a reset, so that no socket remains at either end."""
    if connection.fileno() != -1:
        reset_on_close(connection)
    connection.close()


def reset_on_close(connection: socket.socket) -> None:
    """Make every close a reset, even the one when the process is killed."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def close_in_turn(first: socket.socket, second: socket.socket) -> None:
    """Close one end, and the other when it has read to the end of file."""
    first.close()
    read_to_end(second)
    second.close()


def read_to_end(connection: socket.socket) -> None:
    """Read until the peer's end of file."""
    while connection.recv(4096):
        pass


def retransmits(connection: socket.socket) -> int:
    """Return how often the oldest unanswered segment was sent again (tcpi_retransmits)."""
    return connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 3)[2]


def accept_queue_length(listener: socket.socket) -> int:
    """Return how many connections wait to be accepted: tcpi_unacked of a listener."""
    info = listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 28)
    (length,) = struct.unpack_from("=I", info, 24)
    return int(length)
