"""Whose sockets they are, and who must act: other programs, processes and hosts than it seems."""

import contextlib
import os
import resource
import signal
import socket
import time

from tests.cases.case import Expect, case
from tests.cases.clients import ask
from tests.cases.stage import Stage, called, connect, every, fill, listen
from tests.cases.stories.programs import PG_POOL, nginx, postgres
from tests.lab import eventually

#: Programs without a unit that accept on a port and close nothing: each is named by what it runs.
_LEAKS = {
    "leaky.py": """
import socket
server = socket.create_server(("127.0.0.1", 9001))
held = []
while True:
    held.append(server.accept())
""",
    "leak.rb": """
require "socket"
server = TCPServer.new("127.0.0.1", 9002)
held = []
loop { held << server.accept }
""",
    "leak.php": """<?php
$server = stream_socket_server("tcp://127.0.0.1:9003");
$held = [];
while (true) { $held[] = stream_socket_accept($server, 3600); }
""",
    "leak.js": """
const held = [];
require("net").createServer({allowHalfOpen: true, pauseOnConnect: true}, socket => {
  held.push(socket);
}).listen(9004, "127.0.0.1");
""",
    "leak.pl": """
use IO::Socket::INET;
my $server = IO::Socket::INET->new(LocalAddr => "127.0.0.1", LocalPort => 9005, Listen => 20);
my @held;
while (my $socket = $server->accept) { push @held, $socket }
""",
    "Leak.java": """
import java.net.*; import java.util.*;
public class Leak {
  public static void main(String[] arguments) throws Exception {
    ServerSocket server = new ServerSocket(9006, 50, InetAddress.getByName("127.0.0.1"));
    List<Socket> held = new ArrayList<>();
    while (true) held.add(server.accept());
  }
}
""",
}
_COMMANDS = (
    ("sh", "-c", "cd /srv && exec python3 -u -W ignore -m leaky --port 9001"),
    ("ruby", "-W0", "/srv/leak.rb", "9002"),
    ("php", "-d", "display_errors=1", "/srv/leak.php"),
    ("node", "--max-old-space-size=200", "/srv/leak.js"),
    ("perl", "-w", "/srv/leak.pl"),
    ("java", "-Xmx64m", "-Dspring.profiles.active=prod", "-jar", "/srv/shop-1.2.jar", "server"),
)


@case(
    Expect("close_wait_leak", "warning", r"^python3 -m leaky$", 9001),
    Expect("close_wait_leak", "warning", r"^ruby leak\.rb$", 9002),
    Expect("close_wait_leak", "warning", r"^php leak\.php$", 9003),
    Expect("close_wait_leak", "warning", r"^node leak\.js$", 9004),
    Expect("close_wait_leak", "warning", r"^perl leak\.pl$", 9005),
    Expect("close_wait_leak", "warning", r"^java shop-1\.2\.jar$", 9006),
)
def leaks_of_interpreters(stage: Stage) -> None:
    """Programs of six languages, none of a unit."""
    for name, text in _LEAKS.items():
        stage.write(f"/srv/{name}", text)
    stage.run("javac", "-d", "/srv", "/srv/Leak.java")
    stage.run(
        "jar", "--create", "--file", "/srv/shop-1.2.jar", "--main-class", "Leak", "-C", "/srv",
        "Leak.class",
    )  # fmt: skip
    for port, command in enumerate(_COMMANDS, 9001):
        stage.start(*command)
        stage.listening(port)
        for _ in range(14):
            with connect(port) as client:
                client.send(b"hello")


@case(
    Expect(
        "close_wait_leak", "warning", r"^python3 old\.py$", 9000,
        summary=[r"python3 old\.py has not closed 20 connections"],
    ),
    within=240,
)  # fmt: skip
def leak_of_the_old_version(stage: Stage) -> None:
    """The old version has closed its listener and does not end; the new one is well."""
    old = stage.python(
        "old.py",
        """
import signal, socket, sys
server = socket.create_server(("127.0.0.1", 9000), backlog=511, reuse_port=True)
held = []
signal.signal(signal.SIGUSR1, lambda *_: (server.close(), signal.pause()))
while True:
    held.append(server.accept()[0])
""",
    )
    stage.listening(9000)
    for _ in range(19):
        with connect(9000) as client:
            client.send(b"hello")
    time.sleep(1)
    stage.python(
        "new.py",
        """
import socket
server = socket.create_server(("127.0.0.1", 9000), backlog=511, reuse_port=True)
while True:
    connection = server.accept()[0]
    connection.recv(100)
    connection.send(b"ok")
    connection.close()
""",
    )
    time.sleep(1)
    os.kill(old.pid, signal.SIGUSR1)
    time.sleep(2)

    def call() -> None:
        for _ in every(0.5):
            with contextlib.suppress(OSError), connect(9000) as client:
                client.send(b"x")
                client.recv(10)

    stage.thread(call)


@case(
    Expect(
        "close_wait_leak", "warning", "^sleep$", 8080,
        summary=["sleep has not closed 20 connections"], advice=[r"sleep, PID \d+"],
    )
)  # fmt: skip
def job_keeps_its_parents_connections(stage: Stage) -> None:
    """A job has inherited connections of its parent, which has closed them; the job has not."""

    def serve() -> None:
        server = listen(8080)
        held = [server.accept()[0] for _ in range(20)]
        for connection in held:
            connection.set_inheritable(True)
        if os.fork() == 0:
            os.execvp("sleep", ["sleep", "3600"])
        for connection in held:
            connection.close()
        while True:
            server.accept()[0].close()

    stage.child(serve)
    clients = [called(8080) for _ in range(20)]
    time.sleep(2)
    for client in clients:
        client.close()


@case(
    Expect(
        "close_wait_leak", "warning", r"^postgresql@15-main\.service$", 5432,
        summary=["has not closed 15 connections"],
        anywhere=["Each is held by a process of its own"],
    ),
    within=240,
)  # fmt: skip
def postgres_queries_of_clients_that_went(stage: Stage) -> None:
    """15 long queries whose client was killed: only their processes need to end."""
    postgres(stage)
    text = PG_POOL.format(host="127.0.0.1", count=15, query="SELECT pg_sleep(3600)")
    client = stage.python("report.py", text, unit="report.service")
    eventually((stage.root / "tmp/connected").exists)
    time.sleep(3)
    client.kill()


@case(
    Expect(
        "close_wait_leak", "warning", None, 8080, summary=["^an unknown process has not closed 20"],
        advice=["sent through a Unix socket to a process that does not receive them"],
        never=["as root"],
    )
)  # fmt: skip
def passed_to_a_stuck_worker(stage: Stage) -> None:
    """A dispatcher passes connections to a worker that does not receive them: no one has them."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    def dispatch() -> None:
        server = listen(8080)
        while True:
            connection = server.accept()[0]
            socket.send_fds(ours, [b"x"], [connection.fileno()])
            connection.close()

    stage.child(lambda: theirs)
    stage.child(dispatch)
    for _ in range(20):
        with called(8080) as client:
            client.send(b"hello")


@case(
    Expect(
        "fin_wait2_stuck", "warning", r"^relay\.service$", 9000,
        summary=["are kept open by their peers", "made to port 9000"],
    ),
    says=(r"because of this, also .* relay\.service has not closed \d+ connections",),
    passing=("close_wait_leak",), within=240, settled=30,
)  # fmt: skip
def relay_whose_backend_never_closes(stage: Stage) -> None:
    """Clients of a relay gave up; the application on another host never closes its side."""
    link = stage.peer()
    server = link.client.call(listen, 9000, "10.77.0.1")

    def accept() -> None:
        while True:
            connection = server.accept()[0]
            connection.recv(1000)
            stage.keep.append(connection)

    stage.thread(accept)
    stage.start(
        "socat", "-t", "3600", "TCP4-LISTEN:8080,fork,reuseaddr,backlog=100",
        "TCP4:10.77.0.1:9000", unit="relay.service",
    )  # fmt: skip
    stage.listening(8080)
    ask(stage, 8080, 20, timeout=8)


@case(
    Expect(
        "close_wait_leak", "warning", r"^nginx\.service$", 8080,
        summary=[r"nginx\.service has not closed 20 connections"],
    ),
    within=240,
)  # fmt: skip
def nginx_ignores_client_abort(stage: Stage) -> None:
    """Clients gave up on reports that take an hour; nginx waits for them all the same."""
    stage.python(
        "reports.py",
        """
import asyncio
from aiohttp import web
async def report(request):
    await asyncio.sleep(3600)
app = web.Application()
app.add_routes([web.get("/", report)])
web.run_app(app, host="127.0.0.1", port=9000)
""",
        unit="reports.service",
    )
    stage.listening(9000)
    nginx(
        stage,
        "server { listen 8080; location / { proxy_pass http://127.0.0.1:9000; "
        "proxy_ignore_client_abort on; proxy_read_timeout 2h; } }",
    )
    stage.listening(8080)
    ask(stage, 8080, 20, timeout=10)


@case(
    Expect(
        "unsent_data", "warning", r"^billing\.service$", 5672,
        summary=["the peers of 12 connections made to port 5672 do not read"], never=["Restart"],
    ),
    within=240,
)  # fmt: skip
def broker_blocks_its_publishers(stage: Stage) -> None:
    """A broker on another host, at its memory limit, reads no more from those who publish."""
    link = stage.peer()
    server = link.client.call(listen, 5672, "10.77.0.1")
    stage.keep.append(server)

    def publish() -> list[socket.socket]:
        held = [connect(5672, "10.77.0.1") for _ in range(12)]
        for client in held:
            fill(client)
        return held

    stage.child(publish, unit="billing.service")
    for _ in range(12):
        stage.keep.append(server.accept()[0])


@case(
    Expect(
        "closing_stalled", "warning", None, 8080,
        summary=["15 connections", "cannot finish closing: their peers do not read"],
        never=["Restart"],
    ),
    within=240,
)  # fmt: skip
def killed_server_leaves_unsent_data(stage: Stage) -> None:
    """A server was killed; clients on another host do not read its last data."""
    link = stage.peer()
    server = listen(8080, "10.77.0.2")

    def serve() -> None:
        held = [server.accept()[0] for _ in range(15)]
        for one in held:
            fill(one)
        os._exit(0)

    stage.child(serve, unit="stream.service")
    server.close()
    for _ in range(15):
        stage.keep.append(link.client.call(connect, 8080, "10.77.0.2"))


@case(
    Expect("close_wait_leak", "warning", r"^shop\.service$", 8001, ["has not closed 15"]),
    Expect("accept_queue", "critical", r"^mail\.service$", 8002, ["does not accept"]),
    Expect("unread_data", "warning", r"^chat\.service$", 8003, ["has not read from 15"]),
    Expect("descriptor_pressure", "critical", r"^files\.service$", None, ["all of its 100 file"]),
    within=240,
)
def four_troubles(stage: Stage) -> None:
    """Four services at once, each with a trouble of its own."""

    def accept(port: int, count: int) -> object:
        server = listen(port)
        return server, [server.accept()[0] for _ in range(count)]

    def open_files() -> object:
        resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))
        held = []
        with contextlib.suppress(OSError):
            while True:
                held.append(os.open("/dev/null", os.O_RDONLY))
        return held

    stage.child(accept, 8001, 15, unit="shop.service")
    stage.child(accept, 8002, 0, unit="mail.service")
    stage.child(accept, 8003, 15, unit="chat.service")
    stage.child(open_files, unit="files.service")
    for port in (8001, 8002, 8003):
        clients = [called(port) for _ in range(15)]
        for client in clients:
            client.send(b"hello")
            if port == 8001:
                client.close()
        stage.keep.append(clients)
