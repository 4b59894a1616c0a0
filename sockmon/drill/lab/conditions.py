"""Real sockets in a condition that is a fault, or only looks like one, for as long as wanted.

Context managers that work in a `NetNs`, or across a `Link`, and clean up after themselves. Sockets
that would outlive their process when it is killed close with a reset instead, except for TIME_WAIT,
which the kernel keeps for a minute.
"""

import contextlib
import errno
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial

from sockmon.drill.lab.addresses import AddressKind, Direction, TcpState
from sockmon.drill.lab.held_sockets import HALF_CLOSED, Held, census, held_connections, settled
from sockmon.drill.lab.netns import NetNs
from sockmon.drill.lab.sockets import (
    Connections,
    accept_queue_length,
    accepted,
    close_in_turn,
    connected,
    connecting,
    connections,
    kept,
    listening,
    read_to_end,
    reset_on_close,
    retransmits,
)
from sockmon.drill.lab.veth_link import SERVER, Link
from sockmon.drill.lab.wait_until import eventually

#: The server of `late_close` closes so long after its clients.
SLOW_SECONDS = 6.0

_AGAIN_SECONDS = 0.05

REQUEST = b"GET /tcp HTTP/1.0\r\n\r\n"  # 21 bytes: with the FIN, a receive queue of 22

_ROUNDS = 20


@contextmanager
def unclosed(netns: NetNs, kind: AddressKind = AddressKind.IPV4, count: int = 1) -> Iterator[Held]:
    """The client sends 21 bytes and closes; the server never reads nor closes.

    The client's orphan leaves FIN_WAIT2 after tcp_fin_timeout; CLOSE_WAIT never ends.
    """
    with connections(netns, netns, kind, count) as made:
        for client in made.clients:
            client.sendall(REQUEST)
            client.close()
        yield held_connections(netns, made, Direction.INBOUND, HALF_CLOSED)


@contextmanager
def half_close(
    netns: NetNs, kind: AddressKind = AddressKind.IPV4, count: int = 1
) -> Iterator[Held]:
    """The client has sent everything, and the server streams a long answer: no leak."""
    with connections(netns, netns, kind, count) as made:
        _leave_no_trace(*made.clients, *made.servers)
        for client, server in made.pairs():
            client.sendall(REQUEST)
            client.shutdown(socket.SHUT_WR)
            read_to_end(server)
        with _streaming(made):
            yield held_connections(netns, made, Direction.INBOUND, HALF_CLOSED)


@contextmanager
def _streaming(made: Connections) -> Iterator[None]:
    """Send a little data from every server to its client, about twenty times a second."""

    def stream() -> None:
        for client, server in made.pairs():
            server.sendall(b"answer\n")
            client.recv(4096)

    with _repeating(stream):
        yield


@contextmanager
def _repeating(do: Callable[[], None]) -> Iterator[None]:
    done = threading.Event()

    def repeat() -> None:
        while not done.wait(_AGAIN_SECONDS):
            do()

    thread = threading.Thread(target=repeat)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


@contextmanager
def half_closed(netns: NetNs, kind: AddressKind, count: int) -> Iterator[Connections]:
    """The client has shut down its sending side; nothing is unread, and neither end closes."""
    with connections(netns, netns, kind, count) as made:
        _leave_no_trace(*made.clients, *made.servers)
        for client in made.clients:
            client.shutdown(socket.SHUT_WR)
        yield made


@contextmanager
def fin_wait2(netns: NetNs, kind: AddressKind = AddressKind.IPV4, count: int = 1) -> Iterator[Held]:
    """The client has shut down its sending side and keeps the descriptor; the server stays open.

    Having an owner, this FIN_WAIT2 outlives tcp_fin_timeout.
    """
    with half_closed(netns, kind, count) as made:
        yield held_connections(netns, made, Direction.OUTBOUND, HALF_CLOSED)


@contextmanager
def time_wait(
    netns: NetNs,
    kind: AddressKind = AddressKind.IPV4,
    count: int = 1,
    *,
    closed_first_by: Direction = Direction.OUTBOUND,
) -> Iterator[Held]:
    """Connections that were closed properly: 60 s of TIME_WAIT for the end that closes first.

    No descriptor is left to close: they end after a minute, or with the namespace. On loopback a
    connect may reuse the port of one of them (tcp_tw_reuse), so only the kernel's count is right.
    """
    with listening(netns, kind) as listener:
        port = listener.getsockname()[1]
        for _ in range(_ROUNDS):
            missing = count - census(netns, (port,))[closed_first_by, TcpState.TIME_WAIT]
            if missing <= 0:
                break
            for _ in range(missing):
                with connected(netns, kind, port) as client, accepted(listener) as server:
                    ends = (
                        (client, server)
                        if closed_first_by is Direction.OUTBOUND
                        else (server, client)
                    )
                    close_in_turn(*ends)
        expected = {
            (Direction.INBOUND, TcpState.LISTEN): 1,
            (closed_first_by, TcpState.TIME_WAIT): count,
        }
        yield settled(Held(netns, closed_first_by, TcpState.TIME_WAIT, (port,), expected))


@dataclass(frozen=True, slots=True)
class PortExhaustion:
    """A namespace with few ephemeral ports, and two destinations to use them up."""

    netns: NetNs
    kind: AddressKind
    ports: int  # in ip_local_port_range
    listeners: tuple[socket.socket, socket.socket]
    _stack: ExitStack

    def connect(self, listener: socket.socket) -> None:
        """Connect again, until the condition ends; EADDRNOTAVAIL if no port is left."""
        port = listener.getsockname()[1]
        _leave_no_trace(kept(self._stack, connected(self.netns, self.kind, port)))
        _leave_no_trace(kept(self._stack, accepted(listener)))

    def exhaust(self, listener: socket.socket) -> int:
        """Connect until no port is left for this destination; return how often that worked."""
        for connected_before in range(self.ports + 1):
            try:
                self.connect(listener)
            except OSError as error:
                if error.errno == errno.EADDRNOTAVAIL:
                    return connected_before
                raise
        raise AssertionError(f"more than {self.ports} connections to one destination")


@contextmanager
def port_exhaustion(
    netns: NetNs, kind: AddressKind = AddressKind.IPV4, ports: int = 10
) -> Iterator[PortExhaustion]:
    """Narrow the namespace's ip_local_port_range to so many ports; the body connects."""
    with listening(netns, kind) as one, listening(netns, kind) as other, ExitStack() as stack:
        netns.set_sysctl("net.ipv4.ip_local_port_range", port_range(ports))
        yield PortExhaustion(netns, kind, ports, (one, other), stack)


def port_range(ports: int) -> str:
    """Return an ip_local_port_range of so many ports, none of which a service of ours uses."""
    return f"20000 {20000 + ports - 1}"


@contextmanager
def ports_exhausted(netns: NetNs, count: int = 10) -> Iterator[Held]:
    """`port_exhaustion` to its end: one destination holds every port of the range."""
    with port_exhaustion(netns, ports=count) as experiment:
        listener = experiment.listeners[0]
        experiment.exhaust(listener)
        expected = {
            (Direction.INBOUND, TcpState.LISTEN): 1,
            (Direction.INBOUND, TcpState.ESTABLISHED): count,
            (Direction.OUTBOUND, TcpState.ESTABLISHED): count,
        }
        port = listener.getsockname()[1]
        yield settled(Held(netns, Direction.OUTBOUND, TcpState.ESTABLISHED, (port,), expected))


@contextmanager
def full_queue(
    netns: NetNs, kind: AddressKind = AddressKind.IPV4, backlog: int = 4, overflow: int = 3
) -> Iterator[Held]:
    """A listener that never accepts: its queue is full, and the kernel drops `overflow` more SYNs.

    The queue takes one more than the backlog. To other clients the service does not answer: they
    are in SYN_SENT, and retransmit.
    """
    with listening(netns, kind, backlog=backlog) as listener, ExitStack() as stack:
        port = listener.getsockname()[1]
        queued = backlog + 1
        for length in range(1, queued + 1):
            _leave_no_trace(kept(stack, connected(netns, kind, port)))
            eventually(lambda: accept_queue_length(listener), until=length.__eq__)
        stalled = tuple(stack.enter_context(connecting(netns, kind, port)) for _ in range(overflow))
        expected = {
            (Direction.INBOUND, TcpState.LISTEN): 1,
            (Direction.INBOUND, TcpState.ESTABLISHED): queued,
            (Direction.OUTBOUND, TcpState.ESTABLISHED): queued,
            (Direction.OUTBOUND, TcpState.SYN_SENT): overflow,
        }
        yield settled(
            Held(
                netns,
                Direction.OUTBOUND,
                TcpState.SYN_SENT,
                (port,),
                expected,
                sockets=stalled,
                peers=(listener,),
            )
        )


@contextmanager
def vanished_peers(
    link: Link, kind: AddressKind = AddressKind.IPV4, count: int = 1, *, tries: int = 1
) -> Iterator[Held]:
    """The client's host dies, the server sends: ESTABLISHED, with at least `tries` retransmits.

    The first comes after 0.2 s, each next one after twice the time.
    """
    with connections(link.client, link.server, kind, count, host=SERVER) as made, _cut(link):
        _leave_no_trace(*made.clients, *made.servers)
        for server in made.servers:
            server.sendall(REQUEST)
        for server in made.servers:
            eventually(partial(retransmits, server), until=tries.__le__, within=2.0**tries)
        yield held_connections(
            link.server, made, Direction.INBOUND, {Direction.INBOUND: TcpState.ESTABLISHED}
        )


@contextmanager
def last_ack(
    link: Link, kind: AddressKind = AddressKind.IPV4, count: int = 1, *, orphaned: bool = True
) -> Iterator[Held]:
    """The client has closed, and the path dies before the server's own FIN gets through.

    orphaned: the server has closed too, so no process owns these sockets: only the kernel retries,
    and keeps their namespace as long, even if we are killed. Else it has shut down its sending
    side.
    """
    with connections(link.client, link.server, kind, count, host=SERVER) as made:
        for client, server in made.pairs():
            client.shutdown(socket.SHUT_WR)
            read_to_end(server)
        clients = Counter({(Direction.OUTBOUND, TcpState.FIN_WAIT2): count})
        eventually(lambda: census(link.client, (made.port,)), until=clients.__eq__)
        with _cut(link):
            for server in made.servers:
                if orphaned:
                    server.close()
                else:
                    _leave_no_trace(server)
                    server.shutdown(socket.SHUT_WR)
            yield held_connections(
                link.server, made, Direction.INBOUND, {Direction.INBOUND: TcpState.LAST_ACK}
            )


@contextmanager
def refused_connects(
    netns: NetNs, kind: AddressKind = AddressKind.IPV4, count: int = 1
) -> Iterator[Held]:
    """So many connects to a port that nobody listens on, and one more every 50 ms."""
    with listening(netns, kind) as listener:
        port = listener.getsockname()[1]

    def refused() -> None:
        with contextlib.suppress(ConnectionRefusedError):
            connected(netns, kind, port).close()

    for _ in range(count):
        refused()
    with _repeating(refused):
        yield Held(netns, Direction.OUTBOUND, TcpState.SYN_SENT, (port,), {})


@contextmanager
def late_close(
    netns: NetNs,
    kind: AddressKind = AddressKind.IPV4,
    count: int = 1,
    *,
    after: float = SLOW_SECONDS,
) -> Iterator[Held]:
    """The clients have shut down their sending side; the server does so seconds later."""
    with half_closed(netns, kind, count) as made:

        def close() -> None:
            for server in made.servers:
                server.shutdown(socket.SHUT_WR)

        timer = threading.Timer(after, close)
        timer.start()
        try:
            yield held_connections(netns, made, Direction.INBOUND, HALF_CLOSED)
        finally:
            timer.cancel()
            timer.join()


@contextmanager
def begins_to_abort(
    netns: NetNs, kind: AddressKind = AddressKind.IPV4, count: int = 1, *, after: float = 0.0
) -> Iterator[Held]:
    """So many connections are closed in good order; later the server aborts as many, with data
    unread, and one more every 50 ms."""
    with listening(netns, kind) as listener:
        port = listener.getsockname()[1]
        for _ in range(count):
            with connected(netns, kind, port) as client, accepted(listener) as server:
                close_in_turn(client, server)
        begins = time.monotonic() + after
        missing = count

        def abort() -> None:
            nonlocal missing
            if time.monotonic() < begins:
                return
            for _ in range(max(1, missing)):
                with connected(netns, kind, port) as client, accepted(listener) as server:
                    client.sendall(REQUEST)
                    server.recv(1)
                    server.close()
            missing = 0

        with _repeating(abort):
            yield Held(netns, Direction.INBOUND, TcpState.CLOSE, (port,), {})


@contextmanager
def _cut(link: Link) -> Iterator[None]:
    """Cut the link, and mend it before the sockets close: their resets must reach the orphans."""
    try:
        link.cut()
        yield
    finally:
        link.mend()


def _leave_no_trace(*ends: socket.socket) -> None:
    """Let even a kill of the process reset these connections."""
    for end in ends:
        reset_on_close(end)
