"""Queues that nobody moves, made with real sockets."""

import contextlib
import ctypes
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from sockmon.drill.lab.addresses import LOOPBACK, AddressKind
from sockmon.drill.lab.conditions import REQUEST
from sockmon.drill.lab.netns import NetNs
from sockmon.drill.lab.sockets import (
    Connections,
    abort,
    accept_queue_length,
    connected,
    connections,
    kept,
    listening,
)
from sockmon.drill.lab.wait_until import eventually

_SO_ATTACH_FILTER = 26
_CHUNK = bytes(64 * 1024)


@contextmanager
def unaccepted(netns: NetNs, kind: AddressKind, count: int, *, gone: bool) -> Iterator[int]:
    """Clients that nobody accepts, and that have given up if `gone`; yields the service's port."""
    with ExitStack() as stack:
        listener = stack.enter_context(listening(netns, kind))
        port = int(listener.getsockname()[1])
        clients = [kept(stack, connected(netns, kind, port)) for _ in range(count)]
        eventually(lambda: accept_queue_length(listener), until=lambda length: length == count)
        if gone:
            for client in clients:
                client.sendall(REQUEST)
                client.close()
        yield port
        _drain(listener)


def _drain(listener: socket.socket) -> None:
    """Accept and abort what waits, so that it leaves no trace."""
    listener.settimeout(0)
    while True:
        try:
            connection, _ = listener.accept()
        except BlockingIOError:
            return
        abort(connection)


@contextmanager
def one_of_several_hangs(netns: NetNs, kind: AddressKind, count: int) -> Iterator[int]:
    """Two listeners share a port by SO_REUSEPORT; only one accepts, the other's queue has `count`.

    Yields the port.
    """
    with ExitStack() as stack:
        address = (LOOPBACK.address(kind), 0)

        def made(at: tuple[str, int]) -> socket.socket:
            opened = socket.socket(kind.family, socket.SOCK_STREAM)
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            opened.bind(at)
            opened.listen(count + 50)
            opened.settimeout(0)
            return opened

        well = stack.enter_context(netns.call(made, address))
        port = int(well.getsockname()[1])
        hung = stack.enter_context(netns.call(made, (address[0], port)))

        def more() -> int:
            kept(stack, connected(netns, kind, port))
            with contextlib.suppress(BlockingIOError):
                kept(stack, well.accept()[0])
            return accept_queue_length(hung)

        eventually(more, until=lambda length: length >= count)
        yield port
        _drain(hung)


@contextmanager
def unaccepted_unix(
    netns: NetNs, name: str | bytes, count: int, backlog: int
) -> Iterator[Callable[[], None]]:
    """Clients that a Unix socket's server does not accept; `name` of bytes is an abstract one.

    Yields what lets one more client connect, and then accepts the first.
    """
    with ExitStack() as stack:

        def made() -> socket.socket:
            return stack.enter_context(
                netns.call(socket.socket, socket.AF_UNIX, socket.SOCK_STREAM)
            )

        def connect() -> None:
            client = made()
            client.settimeout(0)
            client.connect(name)

        def serve_one() -> None:
            connect()
            stack.enter_context(listener.accept()[0])

        listener = made()
        listener.bind(name)
        listener.listen(backlog)
        for _ in range(count):
            connect()
        yield serve_one


@contextmanager
def silent(netns: NetNs, kind: AddressKind, count: int) -> Iterator[int]:
    """Clients that connect to a listener with TCP_DEFER_ACCEPT, and send nothing; yields its port.

    They take up half of its backlog.
    """
    with ExitStack() as stack:
        listener = stack.enter_context(listening(netns, kind, backlog=2 * count))
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 60)
        port = int(listener.getsockname()[1])
        for _ in range(count):
            kept(stack, connected(netns, kind, port))
        yield port


@contextmanager
def unread(netns: NetNs, kind: AddressKind, count: int) -> Iterator[Connections]:
    """The server has accepted `count` requests and does not read them."""
    with connections(netns, netns, kind, count) as made:
        for client in made.clients:
            client.sendall(REQUEST)
        yield made


@contextmanager
def closed_windows(netns: NetNs, kind: AddressKind, count: int) -> Iterator[Connections]:
    """The server has sent until the windows of its clients, which do not read, were closed."""
    with connections(netns, netns, kind, count) as made:
        for server in made.servers:
            server.settimeout(0)
            with contextlib.suppress(BlockingIOError):
                while True:
                    server.send(_CHUNK)
        yield made


#: A window opens again when a good part of the receive buffer is free.
_TAKEN = 100_000


@contextmanager
def outpaced(netns: NetNs, kind: AddressKind, count: int) -> Iterator[Callable[[], None]]:
    """Clients that read, but less than the server sends: yields what sends and reads again.

    The queues of both ends stay full.
    """
    with closed_windows(netns, kind, count) as made:

        def once_more() -> None:
            for client, server in zip(made.clients, made.servers, strict=True):
                client.recv(_TAKEN)
                with contextlib.suppress(BlockingIOError):
                    while True:
                        server.send(_CHUNK)

        yield once_more


@contextmanager
def keepalive_unanswered(
    netns: NetNs, kind: AddressKind, count: int, unread: int = 0
) -> Iterator[Connections]:
    """The server's keepalive probes to `count` clients are dropped on their way: they are deaf.

    So many others do not read what the server has sent to them.
    """
    with connections(netns, netns, kind, count + unread) as made:
        for server in made.servers[count:]:
            server.sendall(REQUEST)
        for client in made.clients[:count]:
            _drop_all(client)
        for server in made.servers[:count]:
            server.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            server.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 1)
            server.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 1)
            server.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 100)
        yield made


def _drop_all(end: socket.socket) -> None:
    """Let the kernel drop whatever comes in for this socket (classic BPF: return 0)."""
    program = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))  # BPF_RET | BPF_K
    filter_ = struct.pack("HL", 1, ctypes.addressof(program))
    end.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, filter_)
