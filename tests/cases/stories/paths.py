"""What is on the way to another host: small MTUs, this host's own firewall and routes, scanners."""

import contextlib
import socket
import time

from tests.cases.case import Expect, case
from tests.cases.stage import Stage, connect, every, fill, listen
from tests.cases.stories.ways import call_again, iptables
from tests.lab import Link

PLAY = r"tests\.cases\.play"


def _pool(
    stage: Stage, link: Link, port: int, count: int
) -> list[tuple[socket.socket, socket.socket]]:
    """Make connections of this host to the other: our ends and theirs."""
    server = link.client.call(listen, port, "10.77.0.1")
    held = [(connect(port, "10.77.0.1"), server.accept()[0]) for _ in range(count)]
    stage.keep.append((server, held))
    return held


@case(
    Expect("dead_peer", None, PLAY, 8080, anywhere=["MTU"]),
    within=240,
)
def mtu_black_hole(stage: Stage) -> None:
    """A tunnel loses large packets without a word: requests come in, no large answer arrives."""
    link = stage.peer()
    iptables(stage, "-A INPUT -m length --length 1000:65535 -j DROP", link.client)
    server = listen(8080, "10.77.0.2")
    for _ in range(10):
        client = link.client.call(connect, 8080, "10.77.0.2")
        served = server.accept()[0]
        client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        served.recv(100)
        served.send(bytes(20000))
        stage.keep.append((client, served))


@case(Expect("syn_backlog", "warning", None, 8080, advice=["do not find their way back"]))
def answers_to_syns_are_lost(stage: Stage) -> None:
    """Ten clients call over a route whose way back is broken: half-open."""
    link = stage.peer()
    stage.keep.append(listen(8080, "10.77.0.2"))
    iptables(stage, "-A INPUT -p tcp --sport 8080 -j DROP", link.client)

    def call() -> None:
        link.client.call(call_again, "10.77.0.2", 8080, 5.0, 1.0)

    for _ in range(10):
        stage.thread(call)


@case(
    Expect(
        "connect_stalled", "critical", PLAY, 9200, summary=["every connect fails"],
        advice=["This host itself does not send them", "nft list ruleset"],
    ),
)  # fmt: skip
def own_firewall(stage: Stage) -> None:
    """This host's own firewall drops what ten callers send."""
    stage.peer()
    iptables(stage, "-A OUTPUT -p tcp --dport 9200 -j DROP")
    for _ in range(10):
        stage.thread(call_again, "10.77.0.1", 9200, 10.0, 0.5)


@case(watched=100)
def port_scanner(stage: Stage) -> None:
    """Another host asks each port of this one, again and again; four are open."""
    link = stage.peer()
    for port in (22, 80, 443, 5432):
        server = listen(port, "10.77.0.2", backlog=200)
        stage.keep.append(server)

        def serve(server: socket.socket = server) -> None:
            while True:
                server.accept()[0].close()

        stage.thread(serve)

    def scan() -> None:
        while True:
            for port in range(1, 8000):
                with contextlib.suppress(OSError):
                    socket.create_connection(("10.77.0.2", port), timeout=1).close()
                time.sleep(0.002)

    stage.thread(link.client.call, scan)


@case(
    Expect("dead_peer", "critical", PLAY, 5432, summary=["8 of 8"]),
    within=240,
)
def route_withdrawn(stage: Stage) -> None:
    """A pool in use, and its route is made unreachable on this host."""
    link = stage.peer()
    held = _pool(stage, link, 5432, 8)
    link.server.ip("route add unreachable 10.77.0.1/32")
    for mine, _ in held:
        mine.send(b"query")


@case(
    Expect("dead_peer", "critical", PLAY, 8080, summary=["8 of 8"]),
    within=300, passing=("unsent_data",),
)  # fmt: skip
def host_lost_behind_closed_window(stage: Stage) -> None:
    """Clients that read slowly have closed their windows; then their host loses its network."""
    link = stage.peer()
    server = listen(8080, "10.77.0.2")
    for _ in range(8):
        client = link.client.call(connect, 8080, "10.77.0.2")
        served = server.accept()[0]
        fill(served)
        stage.keep.append((client, served))
    link.cut()


@case(watched=150)
def network_blinks(stage: Stage) -> None:
    """A link that loses all for 5 s every half minute: a pool of ten that is in use survives."""
    link = stage.peer()
    held = _pool(stage, link, 5432, 10)

    def echo(served: socket.socket) -> None:
        while served.recv(100):
            served.send(b"rows")

    def ask(mine: socket.socket) -> None:
        while True:
            mine.send(b"query")
            mine.recv(100)
            time.sleep(0.2)

    for mine, served in held:
        stage.thread(echo, served)
        stage.thread(ask, mine)

    def blink() -> None:
        for _ in every(30.0):
            iptables(stage, "-A INPUT -i eth0 -j DROP")
            time.sleep(5)
            iptables(stage, "-D INPUT -i eth0 -j DROP")

    stage.thread(blink)
