"""Sockets that are not closed, or only look like it."""

import resource
import socket
import time

from tests.cases.case import Expect, case
from tests.cases.stage import FAMILIES, Stage, connect, every, listen, pairs

PLAY = r"tests\.cases\.play"
_MPTCP = 262


@case(
    Expect(
        "close_wait_leak", "warning", PLAY, summary=[r"made to 60 ports of 127\.0\.0\.2"],
        advice=["Restart"],
    )
)  # fmt: skip
def many_ports_leak(stage: Stage) -> None:
    """An FTP client's data connections, a crawler: 60 to as many ports of a peer, none closed."""
    for _ in range(60):
        listener = listen(0, "127.0.0.2")
        ((client, server),) = pairs(listener, 1, "127.0.0.2")
        server.send(b"listing")
        client.recv(100)
        server.close()
        listener.close()
        stage.keep.append(client)


@case(
    Expect(
        "descriptor_pressure", None, PLAY, summary=["sockets that the kernel has already closed"],
        advice=["Restart"],
    ),
    within=280,
)  # fmt: skip
def keepalive_hides_leak(stage: Stage) -> None:
    """A server with keepalive (Go's default) that closes nothing: a reset ends what it leaks."""
    server = listen(8101)

    def leak() -> None:
        for _ in every(2):
            client = connect(8101)
            client.send(b"hello")
            served, _ = server.accept()
            served.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            served.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 15)
            served.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 15)
            stage.keep.append(served)
            client.close()

    stage.thread(leak)


@case(
    Expect(
        "descriptor_pressure",
        "critical",
        PLAY,
        summary=["of 128 file descriptors, .* a minute|all of its 128 file descriptors"],
    )
)
def established_leak(stage: Stage) -> None:
    """A client that opens a connection a second, and keeps them all: a session for each request."""
    server = listen(8102)

    def serve() -> None:
        held = []
        while True:
            held.append(server.accept()[0])

    stage.child(serve)

    def leak() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (128, 128))
        held = []
        for _ in every(1):
            try:
                held.append(connect(8102))
            except OSError:
                time.sleep(20)

    stage.child(leak)


@case(
    Expect(
        "close_wait_leak", "warning", PLAY, 8094, summary=["has not closed 20 connections"],
        advice=[r"tests\.cases\.play, PID \d+, and sleep, PID \d+"],
    )
)  # fmt: skip
def inherited(stage: Stage) -> None:
    """A child has inherited what its parent leaks: restarting one of them frees nothing."""
    server = listen(8094)
    held = []
    for client, served in pairs(server, 20):
        held.append(served)
        client.close()

    def become_sleep() -> None:
        import os

        for sock in held:
            sock.set_inheritable(True)
        os.execvp("sleep", ["sleep", "1800"])

    stage.child(become_sleep)
    stage.keep.append(held)


@case(
    Expect(
        "descriptor_pressure", "warning", PLAY,
        summary=["holds 20 sockets that the kernel has already closed: they never come back"],
    ),
    passing=("close_wait_leak",), within=280,
)  # fmt: skip
def mptcp_leak(stage: Stage) -> None:
    """Clients send and close, the server never does; a minute later no table has them any more."""
    server = listen(9504, protocol=_MPTCP)
    for _ in range(20):
        client = connect(9504, protocol=_MPTCP)
        served = server.accept()[0]
        client.send(b"hello server123456789")
        served.recv(100)
        client.send(b"more")
        time.sleep(0.01)
        client.close()
        stage.keep.append(served)


@case(
    Expect("close_wait_leak", "warning", PLAY, 9501, summary=["has not closed 15"]),
    Expect("close_wait_leak", "warning", PLAY, 9502, summary=["has not closed 15"]),
    Expect("close_wait_leak", "warning", PLAY, 9503, summary=["has not closed 15"]),
)
def leaks_of_all_families(stage: Stage) -> None:
    """IPv4, IPv6, and IPv4 by a dual-stack listener: 15 each, and 15 established beside them."""
    for port, (address, to) in enumerate(FAMILIES, 9501):
        server = listen(port, address)
        for client, served in pairs(server, 15, to):
            client.send(b"request")
            client.close()
            stage.keep.append(served)
        stage.keep.append(list(pairs(server, 15, to)))


@case(
    Expect("unread_data", "warning", PLAY, 8084, summary=["has not read from 40 connections"]),
    Expect("unread_data", "warning", PLAY, 8085, summary=["has not read from 40 connections"]),
    Expect("unread_data", "warning", PLAY, 8086, summary=["has not read from 40 connections"]),
)
def unread_established(stage: Stage) -> None:
    """A server that has accepted and stopped reading."""
    for port, (address, to) in enumerate(FAMILIES, 8084):
        for client, served in pairs(listen(port, address), 40, to):
            client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            stage.keep.append((client, served))


@case(watched=180, says=("keeps (19|20) .*at rest",))
def idle_pool(stage: Stage) -> None:
    """20 keep-alive connections that their server has closed; one is used every 20 s."""
    server = listen(8083)
    stage.thread(_serve, stage, server)
    pool = [_used(connect(8083)) for _ in range(20)]

    def go_on() -> None:
        for _ in every(20):
            pool.append(_used(pool.pop()))

    stage.thread(go_on)


def _serve(stage: Stage, server: socket.socket) -> None:
    """Answer, and close what was idle for 5 s."""

    def answer(connection: socket.socket) -> None:
        connection.settimeout(5)
        try:
            while connection.recv(4096):
                connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        except TimeoutError:
            pass
        connection.close()

    while True:
        stage.thread(answer, server.accept()[0])


def _used(connection: socket.socket) -> socket.socket:
    """Ask by a connection of the pool, or by a new one if the server has closed it."""
    try:
        connection.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        if connection.recv(4096):
            return connection
    except OSError:
        pass
    connection.close()
    return _used(connect(8083))


@case(watched=180)
def silent_half_close(stage: Stage) -> None:
    """Clients have sent a job and shut down (`nc -N`); the server computes for five minutes."""
    server = listen(8092)
    for client, served in pairs(server, 12):
        client.send(b"job\n")
        client.shutdown(socket.SHUT_WR)
        while served.recv(100):
            pass
        stage.keep.append((client, served))


@case(watched=180)
def half_close_in_use(stage: Stage) -> None:
    """The same, and a server on another host that answers in small pieces for minutes."""
    link = stage.peer()
    server = listen(8093, "10.77.0.2")
    clients = []
    for _ in range(12):
        client = link.client.call(connect, 8093, "10.77.0.2")
        client.send(b"job\n")
        client.shutdown(socket.SHUT_WR)
        clients.append(client)
        stage.keep.append(client)
    served = [server.accept()[0] for _ in clients]

    def answer() -> None:
        for _ in every(2):
            for connection in served:
                connection.send(b"a line\n")
            for client in clients:
                client.recv(100)

    stage.thread(answer)


@case(
    Expect(
        "close_wait_leak", "critical", r"^shop\.service$", 8095,
        summary=[r"shop\.service has not closed \d+ connections"], advice=["Restart"],
    ),
    says=("because of this, also",), passing=("descriptor_pressure", "accept_queue"), within=240,
)  # fmt: skip
def leak_has_used_up_descriptors(stage: Stage) -> None:
    """A leak has taken all descriptors, so that nobody is accepted any more: one trouble."""
    server = listen(8095, backlog=511)

    def serve() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (60, 60))
        held = []
        while True:
            try:
                held.append(server.accept()[0])
                held[-1].recv(100)
            except OSError:
                time.sleep(10)

    stage.child(serve, unit="shop.service")
    server.close()

    def call() -> None:
        held = []
        for _ in every(0.2, 100):
            client = connect(8095)
            client.send(b"hello")
            held.append(client)
            if len(held) > 10:
                held.pop(0).close()
        while True:
            time.sleep(60)

    stage.child(call)
