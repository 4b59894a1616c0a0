"""The experiments of DIAGNOSIS.md: conditions that are trouble, or only look like it.

Those that hold one state still, and no more, are in `states`:

- fin-wait2: `states.fin_wait2`
- time-wait, closed first by client or server: `states.time_wait(closed_first_by=...)`
- syn-sent, the SYN lost: `states.syn_sent`
"""

import errno
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.lab.held import HALF_CLOSED, Held, census, held_connections, settled
from tests.lab.link import SERVER, Link
from tests.lab.netns import NetNs
from tests.lab.sockets import (
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
    service_address,
)
from tests.lab.terms import AddressKind, Role, TcpState
from tests.lab.waiting import eventually

REQUEST = b"GET /lab HTTP/1.0\r\n\r\n"  # 21 bytes: with the FIN, a receive queue of 22


@contextmanager
def close_wait_leak(
    netns: NetNs, kind: AddressKind = AddressKind.IPV4, count: int = 1
) -> Iterator[Held]:
    """The client sends 21 bytes and closes; the server never reads nor closes.

    The client's orphan leaves FIN_WAIT2 after tcp_fin_timeout; CLOSE_WAIT stays for ever.
    """
    with connections(netns, netns, kind, count) as made:
        for client in made.clients:
            client.sendall(REQUEST)
            client.close()
        yield held_connections(netns, made, Role.LISTENER, HALF_CLOSED)


@contextmanager
def orderly_close(
    netns: NetNs, kind: AddressKind = AddressKind.IPV4, count: int = 1
) -> Iterator[Held]:
    """The same client, and the server as it should be: it reads to the end of file and closes."""
    with connections(netns, netns, kind, count) as made:
        for client, server in made.pairs():
            client.sendall(REQUEST)
            close_in_turn(client, server)
        yield held_connections(netns, made, Role.REMOTE, {Role.REMOTE: TcpState.TIME_WAIT})


@contextmanager
def half_close(
    netns: NetNs, kind: AddressKind = AddressKind.IPV4, count: int = 1
) -> Iterator[Held]:
    """The client has said all it wants to say, and the server streams a long answer: no leak."""
    with connections(netns, netns, kind, count) as made:
        for client, server in made.pairs():
            client.sendall(REQUEST)
            client.shutdown(socket.SHUT_WR)
            read_to_end(server)
        with _streaming(made):
            yield held_connections(netns, made, Role.LISTENER, HALF_CLOSED)


@contextmanager
def _streaming(made: Connections) -> Iterator[None]:
    """A little data from every server to its client, some fifty times a second."""
    done = threading.Event()

    def stream() -> None:
        while not done.wait(0.02):
            for client, server in made.pairs():
                server.sendall(b"answer\n")
                client.recv(4096)

    thread = threading.Thread(target=stream)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


@contextmanager
def linger_zero(
    netns: NetNs, kind: AddressKind = AddressKind.IPV4, count: int = 1
) -> Iterator[Held]:
    """The client closes with SO_LINGER (1, 0): a reset, and nothing is left but the listener.

    `peers` are the server's ends, whose next read fails with ECONNRESET.
    """
    with connections(netns, netns, kind, count) as made:
        for client in made.clients:
            reset_on_close(client)
            client.close()
        yield settled(
            Held(
                netns,
                Role.LISTENER,
                TcpState.LISTEN,
                (made.port,),
                {(Role.LISTENER, TcpState.LISTEN): 1},
                sockets=(made.listener,),
                peers=made.servers,
            )
        )


@contextmanager
def rebind(netns: NetNs, kind: AddressKind = AddressKind.IPV4, count: int = 1) -> Iterator[Held]:
    """The server has closed its connections first, and then its listener: it wants to restart.

    While they are in TIME_WAIT, bind() to the port fails with EADDRINUSE, but for a socket with
    SO_REUSEADDR (which the closed listener had too: both need it).
    """
    with connections(netns, netns, kind, count) as made:
        for client, server in made.pairs():
            close_in_turn(server, client)
        made.listener.close()
        expected = {(Role.LISTENER, TcpState.TIME_WAIT): count}
        yield settled(Held(netns, Role.LISTENER, TcpState.TIME_WAIT, (made.port,), expected))


@dataclass(frozen=True, slots=True)
class PortExhaustion:
    """A namespace with few ephemeral ports, and two destinations to use them up for."""

    netns: NetNs
    kind: AddressKind
    ports: int  # in ip_local_port_range
    listeners: tuple[socket.socket, socket.socket]
    _stack: ExitStack

    def connect(self, listener: socket.socket) -> None:
        """Connect once more, to the end of the experiment; EADDRNOTAVAIL when no port is left."""
        port = listener.getsockname()[1]
        kept(self._stack, connected(self.netns, self.kind, port))
        kept(self._stack, accepted(listener))

    def exhaust(self, listener: socket.socket) -> int:
        """Connect until no port is left for this destination, and say how often that worked."""
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
    """Narrow the namespace's ip_local_port_range to so many ports; connecting is up to the body."""
    with listening(netns, kind) as one, listening(netns, kind) as other, ExitStack() as stack:
        netns.set_sysctl("net.ipv4.ip_local_port_range", f"20000 {20000 + ports - 1}")
        yield PortExhaustion(netns, kind, ports, (one, other), stack)


@contextmanager
def accept_queue(
    netns: NetNs, kind: AddressKind = AddressKind.IPV4, backlog: int = 4, overflow: int = 3
) -> Iterator[Held]:
    """A listener that never accepts: its queue is full, and the kernel drops `overflow` more SYNs.

    The queue takes one more than the backlog. To those outside, the service does not answer:
    SYN_SENT, with growing retransmits.
    """
    with listening(netns, kind, backlog=backlog) as listener, ExitStack() as stack:
        port = listener.getsockname()[1]
        queued = backlog + 1
        for length in range(1, queued + 1):
            kept(stack, connected(netns, kind, port))
            eventually(lambda: accept_queue_length(listener), until=length.__eq__)
        stalled = tuple(stack.enter_context(connecting(netns, kind, port)) for _ in range(overflow))
        expected = {
            (Role.LISTENER, TcpState.LISTEN): 1,
            (Role.LISTENER, TcpState.ESTABLISHED): queued,
            (Role.REMOTE, TcpState.ESTABLISHED): queued,
            (Role.REMOTE, TcpState.SYN_SENT): overflow,
        }
        yield settled(
            Held(
                netns,
                Role.REMOTE,
                TcpState.SYN_SENT,
                (port,),
                expected,
                sockets=stalled,
                peers=(listener,),
            )
        )


@contextmanager
def dead_peer(
    link: Link, kind: AddressKind = AddressKind.IPV4, count: int = 1, *, tries: int = 1
) -> Iterator[Held]:
    """The client's host dies, the server sends: ESTABLISHED, with at least `tries` retransmits.

    The first comes after 0.2 s, and each next after twice the time.
    """
    with connections(link.client, link.server, kind, count, host=SERVER) as made, _cut(link):
        for server in made.servers:
            server.sendall(REQUEST)
        for server in made.servers:
            eventually(partial(retransmits, server), until=tries.__le__, within=2.0**tries)
        yield held_connections(
            link.server, made, Role.LISTENER, {Role.LISTENER: TcpState.ESTABLISHED}
        )


@contextmanager
def last_ack(link: Link, kind: AddressKind = AddressKind.IPV4, count: int = 1) -> Iterator[Held]:
    """The client has closed, and the path dies before the server's own FIN gets through.

    The server has closed too, so nobody owns these sockets: the kernel alone tries on.
    """
    with connections(link.client, link.server, kind, count, host=SERVER) as made:
        for client, server in made.pairs():
            client.shutdown(socket.SHUT_WR)
            read_to_end(server)
        clients = Counter({(Role.REMOTE, TcpState.FIN_WAIT2): count})
        eventually(lambda: census(link.client, (made.port,)), until=clients.__eq__)
        with _cut(link):
            for server in made.servers:
                server.close()
            yield held_connections(
                link.server, made, Role.LISTENER, {Role.LISTENER: TcpState.LAST_ACK}
            )


@contextmanager
def _cut(link: Link) -> Iterator[None]:
    """Cut the link, and mend it before the sockets close: their resets must reach the orphans."""
    try:
        link.cut()
        yield
    finally:
        link.mend()


@dataclass(frozen=True, slots=True)
class LeakingProcess:
    """A process of its own that holds CLOSE_WAIT."""

    held: Held
    process: subprocess.Popen[str]

    def kill(self) -> None:
        """Kill it (SIGKILL), and wait until it is gone."""
        self.process.kill()
        self.process.wait()


@contextmanager
def process_killed(
    netns: NetNs, kind: AddressKind = AddressKind.IPV4, count: int = 1
) -> Iterator[LeakingProcess]:
    """`close_wait_leak` with the server in a process of its own, to be killed by the body."""
    address, port = service_address(kind)
    program = Path(__file__).with_name("leaking_server.py")
    argv = [sys.executable, "-I", str(program), address, str(port), str(count)]
    with netns.popen(argv) as process:
        assert process.stdout is not None
        process.stdout.readline()
        for _ in range(count):
            with connected(netns, kind, port) as client:
                client.sendall(REQUEST)
        process.stdout.readline()
        expected = {
            (Role.LISTENER, TcpState.LISTEN): 1,
            (Role.LISTENER, TcpState.CLOSE_WAIT): count,
            (Role.REMOTE, TcpState.FIN_WAIT2): count,
        }
        held = settled(Held(netns, Role.LISTENER, TcpState.CLOSE_WAIT, (port,), expected))
        yield LeakingProcess(held, process)
