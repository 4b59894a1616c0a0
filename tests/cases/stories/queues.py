"""Connections that are not accepted, data that is not read or not taken."""

import contextlib
import os
import resource
import signal
import socket
import threading
import time

from sockmon.drill.lab.addresses import AddressKind
from sockmon.drill.lab.netns import CurrentNetNs
from tests.cases.case import Expect, case
from tests.cases.stage import FAMILIES, Stage, connect, deaf, every, fill, listen
from tests.lab.tunpeer import TunPeer, tun_peer

PLAY = r"tests\.cases\.play"
REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


@case(
    *(
        Expect(
            "accept_queue", "critical", PLAY, port,
            summary=["does not accept", "30 connections wait", "the clients of 30 have given up"],
            advice=["Restart"],
        )
        for port in (8081, 8082, 8083)
    )
)  # fmt: skip
def unaccepted_close_wait(stage: Stage) -> None:
    """30 clients sent a request, waited and gave up; nobody ever accepted them."""
    for port, (address, to) in enumerate(FAMILIES, 8081):
        stage.keep.append(listen(port, address, backlog=2048))
        clients = [connect(port, to) for _ in range(30)]
        for client in clients:
            client.send(REQUEST)
            client.close()


@case(
    Expect(
        "accept_queue", "warning", PLAY, 8090,
        summary=["1 of 4 queues of port 8090 is not emptied", "about 25 % of new connections"],
        advice=["Restart"],
    )
)  # fmt: skip
def reuseport_one_hung(stage: Stage) -> None:
    """Four workers share a port by SO_REUSEPORT; one hangs, clients give up after 30 s."""

    def work(worker: int) -> None:
        server = listen(8090, backlog=511, reuseport=True)
        while not worker:
            signal.pause()
        while True:
            connection, _ = server.accept()
            connection.recv(100)
            connection.send(b"HTTP/1.0 200 OK\r\n\r\nok")
            connection.close()

    for worker in range(4):
        stage.child(work, worker)
    stage.listening(8090)

    def get() -> None:
        with connect(8090) as client, contextlib.suppress(TimeoutError):
            client.settimeout(30)
            client.send(b"GET / HTTP/1.0\r\n\r\n")
            client.recv(100)

    def ask() -> None:
        for _ in every(0.25):
            threading.Thread(target=get, daemon=True).start()

    stage.child(ask)


@case(
    Expect(
        "accept_queue", None, PLAY, 9501,
        summary=["of 4 queues of port 9501 are not emptied"],
    )
)  # fmt: skip
def reuseport_small_queues(stage: Stage) -> None:
    """Four listeners of one port with room for 8 each; only the first accepts."""
    servers = [listen(9501, backlog=8, reuseport=True) for _ in range(4)]

    def accept() -> None:
        while True:
            stage.keep.append(servers[0].accept())

    stage.thread(accept)
    for _ in range(60):
        client = socket.socket()
        client.settimeout(0)
        with contextlib.suppress(BlockingIOError):
            client.connect(("127.0.0.1", 9501))
        stage.keep.append(client)
        time.sleep(0.002)
    stage.keep.append(servers)


@case(
    Expect(
        "descriptor_pressure", "critical", PLAY,
        summary=["all of its 100 file descriptors"], advice=["prlimit"],
    )
)  # fmt: skip
def out_of_descriptors(stage: Stage) -> None:
    """accept() fails with EMFILE; clients just wait. The queue is the symptom."""
    server = listen(8096, backlog=511)

    def call() -> None:
        held = []
        for _ in range(125):
            client = connect(8096)
            client.send(b"hello")
            held.append(client)
        signal.pause()

    stage.child(call)

    def serve() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))
        held = []
        while True:
            try:
                held.append(server.accept()[0])
                held[-1].recv(100)
            except OSError:
                time.sleep(10)

    stage.child(serve)
    server.close()


@case(
    Expect(
        "accept_queue", "warning", PLAY, 8091,
        summary=["in bursts", "room for 17"], never=["Restart"],
    )
)  # fmt: skip
def burst_overflow(stage: Stage) -> None:
    """80 connections at once every 20 s, backlog 16; accepted within half a second."""
    server = listen(8091, backlog=16)
    server.settimeout(0)

    def burst() -> None:
        for _ in every(20):
            clients = []
            for _ in range(80):
                client = socket.socket()
                client.settimeout(0)
                client.connect_ex(("127.0.0.1", 8091))
                clients.append(client)
            time.sleep(0.5)
            with contextlib.suppress(BlockingIOError):
                while True:
                    server.accept()[0].close()
            for client in clients:
                client.close()

    stage.thread(burst)


@case(
    Expect(
        "accept_queue", "critical", PLAY,
        summary=["does not accept on /run/app.sock", "fail with EAGAIN"], advice=["Restart"],
    )
)  # fmt: skip
def unix_full(stage: Stage) -> None:
    """A Unix stream server that does not accept, its backlog of 4 full."""
    server = socket.socket(socket.AF_UNIX)
    server.bind("/run/app.sock")
    server.listen(4)
    stage.keep.append(server)
    for _ in range(20):
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(0)
        with contextlib.suppress(BlockingIOError):
            client.connect("/run/app.sock")
        stage.keep.append(client)


@case(Expect("udp_drops", None, PLAY, 9502, summary=["dropped", "9502"]))
def udp_nobody_reads(stage: Stage) -> None:
    """A UDP server that does not read: datagrams into a small buffer, a hundred a second."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
    server.bind(("127.0.0.1", 9502))
    client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    stage.keep.append(server)

    def send() -> None:
        for _ in every(0.01):
            client.sendto(bytes(1000), ("127.0.0.1", 9502))

    stage.thread(send)


@case(Expect("udp_drops", "critical", PLAY, 8125, summary=["8125", "dropped"]))
def statsd_too_slow(stage: Stage) -> None:
    """A dual-stack statsd reads 200 datagrams a second of 2,000."""
    server = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    server.bind(("::", 8125))
    client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    def read() -> None:
        for _ in every(0.005):
            server.recv(2000)

    def send() -> None:
        for _ in every(0.01):
            for _ in range(20):
                client.sendto(b"a.b.c:1|c", ("127.0.0.1", 8125))

    stage.thread(read)
    stage.thread(send)


@case(watched=90)
def udp_with_a_filter(stage: Stage) -> None:
    """A UDP socket whose BPF filter lets nothing pass: what that drops is wanted."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 5300))
    deaf(server)
    stage.keep.append(server)
    client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    def send() -> None:
        for _ in every(0.01):
            client.sendto(b"x", ("127.0.0.1", 5300))

    stage.thread(send)


@case(
    Expect(
        "udp_drops", "critical", r"^collector\.service$", 8125,
        summary=["does not read 1 of 4 sockets of UDP port 8125"],
    )
)  # fmt: skip
def one_of_four_udp_workers_hangs(stage: Stage) -> None:
    """Four workers share a UDP port by SO_REUSEPORT; one hangs."""
    stage.python(
        "collector.py",
        """
import os, signal, socket
for worker in range(4):
    if os.fork() == 0:
        server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        server.bind(("127.0.0.1", 8125))
        while worker == 0:
            signal.pause()
        while True:
            server.recv(2000)
signal.pause()
""",
        unit="collector.service",
    )
    clients = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(40)]

    def send() -> None:
        for _ in every(0.02):
            for client in clients:
                with contextlib.suppress(ConnectionRefusedError):
                    client.sendto(bytes(200), ("127.0.0.1", 8125))

    stage.thread(send)


@case(
    Expect(
        "unread_data", "warning", PLAY, 8097, summary=["has not read from 15 connections"],
    )
)  # fmt: skip
def slow_readers(stage: Stage) -> None:
    """Subscribers on this host that have stopped reading; the server's data piles up."""
    server = listen(8097)

    def subscribe() -> None:
        held = [connect(8097) for _ in range(15)]
        signal.pause()
        del held

    stage.child(subscribe)
    for _ in range(15):
        connection = server.accept()[0]
        fill(connection)
        stage.keep.append(connection)


@case(
    Expect(
        "unsent_data", "warning", PLAY, 8097,
        summary=["the peers of 15 connections accepted on port 8097 do not read"],
    )
)  # fmt: skip
def slow_readers_elsewhere(stage: Stage) -> None:
    """The same, with subscribers on another host."""
    link = stage.peer()
    server = listen(8097, "10.77.0.2")
    for _ in range(15):
        stage.keep.append(link.client.call(connect, 8097, "10.77.0.2"))
        connection = server.accept()[0]
        fill(connection)
        stage.keep.append(connection)


@case(
    Expect(
        "unread_data",
        "warning",
        r"^reader\.service$",
        8098,
        summary=["has not read from 15 connections"],
    ),
    within=280,
)
def zero_window_fin(stage: Stage) -> None:
    """The server has given up on subscribers that do not read: FIN_WAIT1 behind a closed window."""
    server = listen(8098)

    def subscribe() -> None:
        held = [connect(8098) for _ in range(15)]
        signal.pause()
        del held

    stage.child(subscribe, unit="reader.service")
    for _ in range(15):
        connection = server.accept()[0]
        fill(connection)
        connection.close()


@case(watched=180)
def burst_once(stage: Stage) -> None:
    """One burst of 80 connections over a backlog of 16, gone within a minute."""
    server = listen(8091, backlog=16)
    clients = []
    for _ in range(80):
        client = socket.socket()
        client.settimeout(0)
        client.connect_ex(("127.0.0.1", 8091))
        clients.append(client)

    def accept() -> None:
        time.sleep(1)
        while True:
            server.accept()[0].close()

    stage.thread(accept)
    time.sleep(3)
    for client in clients:
        client.close()
    stage.keep.append(os.getpid())


@case(
    Expect("syn_backlog", None, PLAY, 8443, summary=[r"connections to port 8443 are half-open"]),
)
def syn_flood_of_both_families(stage: Stage) -> None:
    """50 SYNs by IPv4 and 50 by IPv6, for a dual-stack listener of backlog 128: neither is half."""
    stage.keep.append(listen(8443, "::", backlog=128))
    peer = _remote(stage)

    def flood() -> None:
        for turn in every(15):
            for kind in (AddressKind.IPV4, AddressKind.IPV6):
                for client in peer.clients(kind, 8443, 50 * (turn + 1))[50 * turn :]:
                    client.syn()

    stage.thread(flood)


@case(Expect("syn_backlog", "critical", PLAY, 8443, summary=["SYNs are dropped"]))
def syn_flood_without_cookies(stage: Stage) -> None:
    """A SYN flood of a hundred a second, and tcp_syncookies is 0."""
    stage.sysctl("net.ipv4.tcp_syncookies", 0)
    stage.keep.append(listen(8443, "0.0.0.0", backlog=128))
    peer = _remote(stage)

    def flood() -> None:
        for turn in every(1):
            for client in peer.clients(AddressKind.IPV4, 8443, 100 * (turn % 300 + 1))[-100:]:
                client.syn()

    stage.thread(flood)


@case(watched=180)
def half_open_health_checks(stage: Stage) -> None:
    """A load balancer's checks, ten a second: SYN, SYN-ACK, and a reset."""
    stage.keep.append(listen(8443, "::", backlog=128))
    peer = _remote(stage)

    def check() -> None:
        for turn in every(0.1):
            client = peer.clients(AddressKind.IPV4, 8443, turn % 5000 + 1)[-1]
            client.syn()
            client.reset()

    stage.thread(check)


def _remote(stage: Stage) -> TunPeer:
    """Return a remote host that is played by hand."""
    manager = tun_peer(CurrentNetNs())
    stage.keep.append(manager)
    return manager.__enter__()
