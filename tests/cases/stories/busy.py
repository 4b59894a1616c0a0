"""Programs under load, at limits that they chose, and while they are replaced: all are well."""

import contextlib
import os
import resource
import socket
import subprocess
import time

from tests.cases.case import case
from tests.cases.clients import ask_often, get
from tests.cases.stage import Stage, called, connect, every, listen
from tests.cases.stories.programs import nginx, postgres
from tests.lab import eventually

_PGBENCH = ("/usr/lib/postgresql/15/bin/pgbench", "-h", "127.0.0.1", "-U", "postgres")
#: Half a second for each answer.
_SLOW_APP = """
import time
def app(environ, start_response):
    time.sleep(0.5)
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]
"""
#: A worker that shares port 8080, and ends by SIGTERM.
_WORKER = """
import signal, socket, sys
server = socket.create_server(("127.0.0.1", 8080), backlog=511, reuse_port=True)
signal.signal(signal.SIGTERM, lambda *_: sys.exit())
while True:
    connection = server.accept()[0]
    connection.recv(1000)
    connection.send(b"HTTP/1.0 200 OK\\r\\n\\r\\nok")
    connection.close()
"""


@case()
def nginx_under_load(stage: Stage) -> None:
    """wrk and ab with keep-alive, ab without it, against nginx with a worker."""
    nginx(stage, "server { listen 8080; location / { return 200 ok; } }")
    stage.listening(8080)
    for load in (
        "wrk -t1 -c60 -d20 http://127.0.0.1:8080/; sleep 2",
        "ab -k -c 20 -n 20000 http://127.0.0.1:8080/; sleep 3",
        "ab -c 20 -n 2000 http://127.0.0.1:8080/; sleep 5",
    ):
        stage.start("sh", "-c", f"while :; do {load}; done", unit=f"{load.split()[0]}.service")


@case()
def pgbench_and_bulk_transfers(stage: Stage) -> None:
    """pgbench; and 12 transfers whose receivers are slower than their senders."""
    postgres(stage)
    stage.run(*_PGBENCH, "-i", "postgres")
    stage.start(*_PGBENCH, "-c", "15", "-T", "600", "postgres", unit="bench.service")
    server = listen(5201)

    def receive(connection: socket.socket) -> None:
        while connection.recv(1 << 14):
            time.sleep(0.2)

    def send() -> None:
        client = connect(5201)
        while True:
            client.send(bytes(1 << 20))

    for _ in range(12):
        stage.thread(send)
        stage.thread(receive, server.accept()[0])


@case()
def pgbouncer_pool_exhausted(stage: Stage) -> None:
    """20 clients of pgbouncer, and two connections to PostgreSQL, whose queries run long."""
    postgres(stage)
    stage.write(
        "/etc/pgbouncer.ini",
        """
[databases]
postgres = host=127.0.0.1 port=5432 dbname=postgres user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = 6432
auth_type = any
default_pool_size = 2
query_wait_timeout = 3600
logfile = /tmp/pgbouncer.log
""",
    )
    stage.start("pgbouncer", "/etc/pgbouncer.ini", user="postgres", unit="pgbouncer.service")
    stage.listening(6432)
    stage.python(
        "shop.py",
        """
import psycopg2, threading
def run():
    connection = psycopg2.connect(host="127.0.0.1", port=6432, user="postgres", dbname="postgres")
    connection.cursor().execute("SELECT pg_sleep(3600)")
for _ in range(20):
    threading.Thread(target=run).start()
""",
        unit="shop.service",
    )


@case()
def sshd_at_max_startups(stage: Stage) -> None:
    """12 clients do not log in; whoever comes besides is turned away by MaxStartups."""
    stage.run("ssh-keygen", "-A")
    (stage.root / "run/sshd").mkdir(exist_ok=True)
    options = ("MaxStartups=12:100:12", "LoginGraceTime=0", "UsePAM=no")
    settings = [word for option in options for word in ("-o", option)]
    stage.start("/usr/sbin/sshd", "-D", "-e", "-p", "2222", *settings, unit="ssh.service")
    stage.listening(2222)
    for _ in range(12):
        client = connect(2222)
        client.recv(100)
        stage.keep.append(client)

    def knock() -> None:
        for _ in every(1):
            with contextlib.suppress(OSError), connect(2222) as client:
                client.recv(100)

    stage.thread(knock)


@case()
def sandboxed_with_descriptors(stage: Stage) -> None:
    """A sandbox has set its limit of descriptors to 1, once it had opened all it needs."""

    def sandbox() -> object:
        held = [os.open("/dev/null", os.O_RDONLY) for _ in range(30)]
        resource.setrlimit(resource.RLIMIT_NOFILE, (1, 1))
        return held

    stage.child(sandbox, unit="browser.service")


@case()
def queues_that_are_never_empty(stage: Stage) -> None:
    """gunicorn with two workers on TCP, and on a Unix socket; 12 clients each, in turn."""
    stage.write("/srv/orders.py", _SLOW_APP)
    for place in ("127.0.0.1:8000", "unix:/run/orders.sock"):
        stage.start(
            "gunicorn", "--chdir", "/srv", "--workers", "2", "--bind", place, "orders:app",
            unit="orders.service",
        )  # fmt: skip
    path = stage.root / "run/orders.sock"
    stage.listening(8000)
    eventually(path.exists)

    def by_tcp() -> None:
        while True:
            get(8000, 60)

    def by_unix() -> None:
        while True:
            with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as client:
                client.connect(str(path))
                client.send(b"GET / HTTP/1.0\r\n\r\n")
                while client.recv(1000):
                    pass

    for _ in range(12):
        stage.thread(by_tcp)
        stage.thread(by_unix)


@case()
def tiny_backlogs(stage: Stage) -> None:
    """Servers of one thread with backlogs of 1 and 0, and as many clients as they have room for."""

    def serve(server: socket.socket) -> None:
        while True:
            connection = server.accept()[0]
            connection.recv(1000)
            time.sleep(0.3)
            connection.send(b"HTTP/1.0 200 OK\r\n\r\nok")
            connection.close()

    def ask(port: int) -> None:
        while True:
            get(port, 10)

    for port, backlog in ((8080, 1), (8081, 0)):
        stage.thread(serve, listen(port, backlog=backlog))
        for _ in range(backlog + 1):
            stage.thread(ask, port)


@case()
def rolling_restart(stage: Stage) -> None:
    """Four workers that share a port are replaced, one every 10 s, under load."""
    stage.write("/srv/worker.py", _WORKER)

    def start() -> subprocess.Popen[bytes]:
        return stage.start("python3", "/srv/worker.py", unit="web.service")

    workers = [start() for _ in range(4)]
    stage.listening(8080)

    def restart() -> None:
        for turn in every(10):
            workers[turn % 4].terminate()
            workers[turn % 4].wait()
            workers[turn % 4] = start()

    def ask() -> None:
        while True:
            get(8080, 5)
            time.sleep(0.01)

    stage.thread(restart)
    for _ in range(10):
        stage.thread(ask)


@case()
def graceful_shutdown(stage: Stage) -> None:
    """A server has closed its listener, and waits for 30 idle keep-alive connections to end."""

    def serve() -> object:
        server = listen(8080)
        held = [server.accept()[0] for _ in range(30)]
        server.close()
        return held

    stage.child(serve, unit="api.service")
    for _ in range(30):
        stage.keep.append(called(8080))


@case()
def clients_that_give_up_and_try_again(stage: Stage) -> None:
    """Each answer takes 12 s, and clients wait for 3 s; the server closes each in the end."""
    stage.python(
        "slow.py",
        """
import socketserver, time
class Handler(socketserver.BaseRequestHandler):
    def handle(self):
        self.request.recv(1000)
        time.sleep(12)
        try:
            self.request.sendall(b"HTTP/1.0 200 OK\\r\\n\\r\\nok")
        except OSError:
            pass
class Server(socketserver.ThreadingTCPServer):
    request_queue_size = 100
Server(("127.0.0.1", 8080), Handler).serve_forever()
""",
        unit="slow.service",
    )
    stage.listening(8080)
    ask_often(stage, 8080, 0.3, timeout=3)
