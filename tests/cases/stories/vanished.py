"""Peers that have gone without a word."""

import contextlib
import socket

from tests.cases.case import Expect, case
from tests.cases.stage import FAMILIES, Stage, connect, deaf, listen, pairs

PLAY = r"tests\.cases\.play"


def _probe(sock: socket.socket, idle: int = 5, interval: int = 10, most: int = 30) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, idle)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, interval)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, most)


@case(
    *(
        Expect(
            "dead_peer", "critical", None, port,
            summary=["20 of 20 established connections", "keepalive probes"],
        )
        for port in (8088, 8089, 8090)
    )
)  # fmt: skip
def keepalive_unanswered(stage: Stage) -> None:
    """Idle connections whose peers have vanished; no probe is answered."""
    for port, (address, to) in enumerate(FAMILIES, 8088):
        for client, served in pairs(listen(port, address), 20, to):
            _probe(served)
            deaf(client)
            stage.keep.append((client, served))


@case(
    Expect(
        "dead_peer", "critical", None, 5432, summary=["8 of 8 established connections", "no answer"]
    )
)
def host_lost_in_mid_answer(stage: Stage) -> None:
    """A database's clients are on a host that has lost its network, and it has data for them."""
    link = stage.peer()
    server = listen(5432, "10.77.0.2")
    held = []
    for _ in range(8):
        stage.keep.append(link.client.call(connect, 5432, "10.77.0.2"))
        held.append(server.accept()[0])
    link.cut()
    for connection in held:
        connection.send(b"a row\n")
    stage.keep.append(held)


@case(watched=180)
def mobile_clients(stage: Stage) -> None:
    """800 clients, of whom 20 have vanished: a normal day."""
    server = listen(8443, backlog=1000)
    for turn, (client, served) in enumerate(pairs(server, 800)):
        _probe(served, 10, 10, 60)
        if turn % 40 == 0:
            deaf(client)
        stage.keep.append((client, served))


@case(
    Expect(
        "connect_stalled", "critical", None, 5432,
        summary=[r"nothing answers at 10\.77\.0\.1 port 5432", "every connect fails"],
    ),
    says=("because of this, also", "4 of 4 established connections made to port 5432"),
    passing=("dead_peer",), within=240, settled=60,
)  # fmt: skip
def database_host_lost(stage: Stage) -> None:
    """Four connections to a database whose host is lost, in use; and who tries to connect again."""
    link = stage.peer()
    server = link.client.call(listen, 5432, "10.77.0.1")
    pool = []
    for _ in range(4):
        pool.append(connect(5432, "10.77.0.1"))
        stage.keep.append(server.accept())
    link.cut()

    def query() -> None:
        for connection in pool:
            connection.send(b"SELECT 1")

    def again() -> None:
        while True:
            with contextlib.suppress(OSError):
                socket.create_connection(("10.77.0.1", 5432), timeout=3)

    query()
    stage.keep.append(pool)
    for _ in range(6):
        stage.thread(again)
