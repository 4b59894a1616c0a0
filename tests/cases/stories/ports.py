"""Local ports, and connects that nobody answers."""

import contextlib
import errno
import socket
import struct
import threading
import time

from tests.cases.case import Expect, case
from tests.cases.stage import Stage, connect, deaf, every, listen, pairs

PLAY = r"tests\.cases\.play"
_ABORT = struct.pack("ii", 1, 0)
_IP_BIND_ADDRESS_NO_PORT, _IP_LOCAL_PORT_RANGE = 24, 51


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


@case(
    Expect("connect_stalled", "critical", PLAY, 8089, summary=["nothing answers"]),
    passing=("ephemeral_port_pressure",), says=("because of this, also",), settled=40,
)  # fmt: skip
def dead_place_takes_all_ports(stage: Stage) -> None:
    """Five connects a second to a place that does not answer, a minute each: one trouble."""
    stage.sysctl("net.ipv4.ip_local_port_range", "40000 40249")
    server = listen(8089)
    deaf(server)
    stage.keep.append(server)

    def call() -> None:
        for _ in every(0.2):
            client = socket.socket()
            client.settimeout(0)
            if client.connect_ex(("127.0.0.1", 8089)) == errno.EINPROGRESS:
                threading.Timer(60, client.close).start()
            else:
                client.close()

    stage.thread(call)


@case(
    Expect(
        "ephemeral_port_pressure", "warning", PLAY, 8087,
        summary=[r"^python -m tests\.cases\.play: connections from .* use 80 %"],
        advice=["Most are in CLOSE_WAIT: the application here does not close"],
    ),
    within=240, settled=60,
)  # fmt: skip
def dead_pool_takes_ports(stage: Stage) -> None:
    """A pool keeps 200 connections that its server has closed, of 250 ports: that is some harm."""
    stage.sysctl("net.ipv4.ip_local_port_range", "40000 40249")
    for client, served in pairs(listen(8087, backlog=300), 200):
        stage.keep.append(client)
        served.close()


@case(
    Expect(
        "ephemeral_port_pressure", "warning", PLAY, 8087,
        summary=[r"^python -m tests\.cases\.play: .* use 80 % .* \(80 of 100\)"],
    )
)  # fmt: skip
def reserved_ports(stage: Stage) -> None:
    """300 of 400 ports are reserved: 80 connections use 80 % of the rest."""
    stage.sysctl("net.ipv4.ip_local_port_range", "40000 40399")
    stage.sysctl("net.ipv4.ip_local_reserved_ports", "40000-40299")
    stage.keep.append(list(pairs(listen(8087, backlog=300), 80)))


@case(says=("those from 40000 to 40099, and no other: .*IP_LOCAL_PORT_RANGE",), watched=90)
def range_of_a_socket(stage: Stage) -> None:
    """A program keeps itself to 100 ports by IP_LOCAL_PORT_RANGE, and has used them up."""
    server = listen(8087, backlog=300)
    first_and_last = struct.pack("I", 40_099 << 16 | 40_000)
    for _ in range(100):
        client = socket.socket()
        client.setsockopt(socket.IPPROTO_IP, _IP_LOCAL_PORT_RANGE, first_and_last)
        client.connect(("127.0.0.1", 8087))
        stage.keep.append((client, server.accept()))


@case(watched=120)
def several_sources(stage: Stage) -> None:
    """Three source addresses (IP_BIND_ADDRESS_NO_PORT), 60 % of the ports of each in use."""
    stage.sysctl("net.ipv4.ip_local_port_range", "40000 40299")
    server = listen(8087, backlog=600)
    for n in range(540):
        client = socket.socket()
        client.setsockopt(socket.IPPROTO_IP, _IP_BIND_ADDRESS_NO_PORT, 1)
        client.bind((f"127.0.0.{5 + n % 3}", 0))
        client.connect(("127.0.0.1", 8087))
        stage.keep.append((client, server.accept()))


@case(
    Expect(
        "time_wait_pressure", "critical", summary=["of 100"],
        anywhere=["accepted connections, most of port 8080: this host closes first"],
    )
)  # fmt: skip
def few_time_wait_buckets(stage: Stage) -> None:
    """tcp_max_tw_buckets is 100, as an old guide says; a server closes ten connections a second."""
    stage.sysctl("net.ipv4.tcp_max_tw_buckets", 100)
    link = stage.peer()
    server = listen(8080, "10.77.0.2")

    def serve() -> None:
        while True:
            server.accept()[0].close()

    def ask() -> None:
        for _ in every(0.1):
            with link.client.call(connect, 8080, "10.77.0.2") as client:
                client.recv(100)

    stage.thread(serve)
    stage.thread(ask)


def _closing_server(stage: Stage) -> None:
    """Make a server at port 8080 of the other host, whose clients close first."""
    server = stage.peer().client.call(listen, 8080, "10.77.0.1", backlog=100)

    def serve() -> None:
        while True:
            with server.accept()[0] as connection:
                connection.recv(10)

    stage.thread(serve)


@case(watched=120)
def time_wait_is_taken_over(stage: Stage) -> None:
    """Ten connections a second by 250 ports, and tcp_tw_reuse is 1: ports are used again."""
    stage.sysctl("net.ipv4.ip_local_port_range", "40000 40249")
    stage.sysctl("net.ipv4.tcp_tw_reuse", 1)
    _closing_server(stage)

    def call() -> None:
        for _ in every(0.1):
            connect(8080, "10.77.0.1").close()

    stage.thread(call)


@case(
    Expect(
        "ephemeral_port_pressure", None, r"^billing\.service$", 8080,
        summary=[r"^billing\.service: connections from 10\.77\.0\.2 to 10\.77\.0\.1:8080 use"],
        advice=["sysctl -w net.ipv4.tcp_tw_reuse=1"],
    )
)  # fmt: skip
def ports_of_a_mapped_client(stage: Stage) -> None:
    """A client of IPv6 sockets calls ::ffff:10.77.0.1 for each of eight requests a second."""
    stage.sysctl("net.ipv4.ip_local_port_range", "40000 40299")
    _closing_server(stage)
    stage.python(
        "billing.py",
        """
import socket, threading, time
def call():
    try:
        client = socket.socket(socket.AF_INET6)
        client.connect(("::ffff:10.77.0.1", 8080))
        time.sleep(0.2)
        client.close()
    except OSError:
        pass
while True:
    threading.Thread(target=call).start()
    time.sleep(0.12)
""",
        unit="billing.service",
    )


@case(watched=120, ports=(45000,))
def mesh(stage: Stage) -> None:
    """A node of a mesh calls forty others from its own port, which is theirs too."""
    stage.keep.append(listen(45_000, reuseport=True))
    for n in range(1, 41):
        node = listen(45_000, f"127.0.2.{n}", reuseport=True)
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        client.bind(("127.0.0.1", 45_000))
        client.connect((f"127.0.2.{n}", 45_000))
        stage.keep.append((client, node.accept(), node))
