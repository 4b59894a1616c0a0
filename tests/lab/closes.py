"""The ways in which a connection ends, and what `sockmon trace` must say of each."""

import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

from sockmon.drill.lab.addresses import AddressKind
from sockmon.drill.lab.netns import NetNs
from sockmon.drill.lab.sockets import accepted, connected, listening, reset_on_close
from sockmon.model.states import TcpState
from tests.lab.waiting import eventually

Way = Callable[[socket.socket, socket.socket], None]


def acknowledged(client: socket.socket) -> None:
    """Wait until the peer's kernel has acknowledged the FIN (tcp_info's first byte: the state)."""
    eventually(
        lambda: client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0],
        until=lambda state: state == TcpState.FIN_WAIT2,
    )


def at_end(connection: socket.socket) -> None:
    """Read to the end of file."""
    while connection.recv(5000):
        pass


def client_first(client: socket.socket, server: socket.socket) -> None:
    client.sendall(b"x" * 21)
    server.recv(100)
    client.close()
    at_end(server)
    server.close()


def server_first(client: socket.socket, server: socket.socket) -> None:
    client_first(server, client)


def four_segments(client: socket.socket, server: socket.socket) -> None:
    """The server closes only when its kernel has acknowledged the FIN by itself."""
    client.sendall(b"x" * 21)
    server.recv(100)
    client.shutdown(socket.SHUT_WR)
    acknowledged(client)
    server.close()
    at_end(client)
    client.close()


def half_close(client: socket.socket, server: socket.socket) -> None:
    client.sendall(b"hello")
    client.shutdown(socket.SHUT_WR)
    at_end(server)
    server.sendall(b"y" * 3500)
    server.close()
    at_end(client)
    client.close()


def linger_zero(client: socket.socket, server: socket.socket) -> None:
    reset_on_close(client)
    client.close()
    with suppress(ConnectionResetError):
        server.recv(1)
    server.close()


def unread_bytes(client: socket.socket, server: socket.socket) -> None:
    client.sendall(b"x" * 21)
    server.recv(1)
    server.close()
    with suppress(ConnectionResetError):
        client.recv(1)
    client.close()


#: How it ends, who was first, segments of the close, bytes of client and server, Zeek's word.
WAYS: dict[Way, tuple[object, ...]] = {
    client_first: ("closed", "client", 3, 21, 0, "SF"),
    server_first: ("closed", "server", 3, 0, 21, "SF"),
    four_segments: ("closed", "client", 4, 21, 0, "SF"),
    half_close: ("closed", "client", 4, 5, 3500, "SF"),
    linger_zero: ("reset", None, None, 0, 0, "RSTO"),
    unread_bytes: ("reset", None, None, 21, 0, "RSTR"),
}


@contextmanager
def whenever_watched(netns: NetNs, way: Way) -> Iterator[int]:
    """Have a connection end in this way as soon as somebody watches packets; yields its port."""
    with listening(netns, AddressKind.IPV4) as listener, ThreadPoolExecutor(1) as thread:
        port = listener.getsockname()[1]
        over = False

        def watch() -> None:
            while not over:
                if _watched(netns):
                    way(connected(netns, AddressKind.IPV4, port), accepted(listener))
                    eventually(lambda: over or not _watched(netns))
                time.sleep(0.05)

        thread.submit(watch)
        try:
            yield port
        finally:
            over = True


def _watched(netns: NetNs) -> bool:
    """Whether the namespace has a packet socket that receives (the column R)."""
    sockets = netns.call(Path("/proc/thread-self/net/packet").read_text)
    return any(line.split()[5] == "1" for line in sockets.splitlines()[1:])
