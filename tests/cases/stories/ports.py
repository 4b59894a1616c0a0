"""Local ports, and connects that nobody answers."""

import contextlib
import socket
import struct
import time

from tests.cases.case import Expect, case
from tests.cases.stage import Stage, connect, deaf, every, listen, pairs

PLAY = r"tests\.cases\.play"
_ABORT = struct.pack("ii", 1, 0)


@case(
    Expect(
        "ephemeral_port_pressure", "critical", PLAY,
        summary=["held by bind", "400"], anywhere=["IP_BIND_ADDRESS_NO_PORT"],
    )
)  # fmt: skip
def bind_before_connect(stage: Stage) -> None:
    """A pool with a source address: bind() takes ports from all destinations at once."""
    stage.sysctl("net.ipv4.ip_local_port_range", "40000 40399")
    servers = [listen(8087, f"127.0.1.{n}", backlog=500) for n in range(1, 6)]
    with contextlib.suppress(OSError):
        for turn in range(500):
            to = servers[turn % 5].getsockname()
            client = socket.create_connection(to, source_address=("127.0.0.9", 0))
            stage.keep.append((client, servers[turn % 5].accept()[0]))
    stage.keep.append(servers)


@case(
    Expect(
        "connect_stalled", "critical", PLAY, 8089,
        summary=["nothing answers at 127.0.0.1 port 8089", "every connect fails"],
    )
)  # fmt: skip
def short_connect_timeouts(stage: Stage) -> None:
    """A dead upstream behind a connect timeout of 1 s: no SYN is retransmitted twice."""
    server = listen(8089)
    deaf(server)
    stage.keep.append(server)

    def try_() -> None:
        while True:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", 8089), timeout=1)

    for _ in range(20):
        stage.thread(try_)


@case(watched=180)
def port_plateau(stage: Stage) -> None:
    """2.5 connections a second, closed first by the client: 150 of 250 ports, and no more."""
    stage.sysctl("net.ipv4.ip_local_port_range", "40000 40249")
    stage.sysctl("net.ipv4.tcp_tw_reuse", 0)
    server = listen(8100)

    def go_on() -> None:
        for _ in every(0.4):
            client = connect(8100)
            served = server.accept()[0]
            client.close()
            served.recv(1)
            served.close()

    stage.thread(go_on)


@case(watched=180)
def many_destinations(stage: Stage) -> None:
    """All ports of a small range are used towards each of six destinations but for a third."""
    stage.sysctl("net.ipv4.ip_local_port_range", "40000 40299")
    for n in range(1, 7):
        server = listen(8087, f"127.0.1.{n}", backlog=300)
        stage.keep.append(list(pairs(server, 180, f"127.0.1.{n}")))


@case(watched=180)
def busy_server_time_wait(stage: Stage) -> None:
    """A server that closes first: thousands of TIME_WAIT on its port."""
    link = stage.peer()
    server = listen(8080, "10.77.0.2", backlog=1000)

    def serve() -> None:
        while True:
            connection = server.accept()[0]
            connection.send(b"ok")
            connection.close()

    def ask() -> None:
        for _ in every(0.01):
            client = link.client.call(connect, 8080, "10.77.0.2")
            while client.recv(100):
                pass
            client.close()

    stage.thread(serve)
    stage.thread(ask)


@case(watched=180)
def passive_data_connections(stage: Stage) -> None:
    """Passive FTP: 40 data connections, replaced every 10 s, each with a listener of its own."""
    held: list[tuple[socket.socket, socket.socket]] = []

    def replace() -> None:
        for _ in every(10):
            new = []
            for _ in range(40):
                listener = listen(0, backlog=1)
                client = socket.socket()
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
                client.connect(listener.getsockname())
                new.append((client, listener.accept()[0]))
                listener.close()
            for client, served in held:
                client.close()
                served.close()
            held[:] = new

    stage.thread(replace)


@case(watched=180, ports=(50051,))
def drained_server(stage: Stage) -> None:
    """A server on a port inside the ephemeral range stops listening and keeps 50 connections."""
    server = listen(50051)
    stage.keep.append(list(pairs(server, 50)))

    def stop() -> None:
        time.sleep(20)
        server.close()

    stage.thread(stop)


@case(watched=180)
def short_lived(stage: Stage) -> None:
    """Fifty connections a second, each gone without a trace."""
    server = listen(9503)

    def go_on() -> None:
        for _ in every(0.02):
            client = connect(9503)
            served = server.accept()[0]
            served.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
            served.close()
            client.close()

    stage.thread(go_on)


@case(watched=180, says=("20 connections .* no keepalive",))
def idle_clients(stage: Stage) -> None:
    """20 clients that connect and stay silent, without keepalive: said, but no finding."""
    server = listen(9507)
    stage.keep.append(list(pairs(server, 20)))


@case(watched=180)
def one_ipv6_listener(stage: Stage) -> None:
    """Nothing but one IPv6 listener and one UDP6 socket."""
    stage.keep.append(listen(9505, "::1"))
    datagrams = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    datagrams.bind(("::1", 9505))
    stage.keep.append(datagrams)
