"""Servers that stand still, have reached a limit of their own, or were never to accept."""

import ctypes
import os
import select
import signal
import socket
import time

from tests import cgroups
from tests.cases.case import Expect, case
from tests.cases.clients import ask, ask_often, get
from tests.cases.stage import Stage, connect, every, listen
from tests.cases.stories.programs import DEAF_SERVER, STUCK_APP, gunicorn

PLAY = r"tests\.cases\.play"
_PTRACE_ATTACH = 16  # sys/ptrace.h

#: It answers with events, without end.
_STREAM = """
import time
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/event-stream")])
    while True:
        yield b"data: tick\\n\\n"
        time.sleep(1)
"""


def _api(stage: Stage, unit: str = "api.service") -> int:
    """Start a server on port 8080; its PID."""
    pid = stage.python("api.py", DEAF_SERVER.replace("9000", "8080"), unit=unit).pid
    stage.listening(8080)
    return pid


@case(
    Expect(
        "accept_queue", "critical", r"^api\.service$", 8080,
        summary=[r"api\.service does not accept on port 8080", r"PID \d+ is stopped \(SIGSTOP\)"],
        advice=[r"kill -CONT \d+"],
    )
)  # fmt: skip
def stopped_process(stage: Stage) -> None:
    """Somebody has stopped a server (SIGSTOP, ^Z) and left: it needs SIGCONT, and no restart."""
    os.kill(_api(stage), signal.SIGSTOP)
    ask_often(stage, 8080, 2, timeout=3600)


@case(
    Expect(
        "unread_data", "warning", r"^api\.service$", 8080,
        summary=[r"api\.service has not read from 15", "is stopped"], advice=[r"kill -CONT \d+"],
    ),
    within=240,
)  # fmt: skip
def stopped_reader(stage: Stage) -> None:
    """The same, with connections that it has accepted before."""
    pid = _api(stage)
    clients = [connect(8080) for _ in range(15)]
    stage.keep.append(clients)
    time.sleep(1)
    os.kill(pid, signal.SIGSTOP)
    for client in clients:
        client.send(b"GET / HTTP/1.1\r\n\r\n")


@case(
    Expect(
        "accept_queue", "critical", r"^api\.service$", 8080,
        summary=[r"api\.service does not accept", r"halted by a debugger, PID \d+"],
        advice=["detach", r"ps -fp \d+"],
    )
)  # fmt: skip
def traced_process(stage: Stage) -> None:
    """A debugger was left attached: the server stands still in its hands."""
    pid = _api(stage)

    def trace() -> None:
        if ctypes.CDLL(None, use_errno=True).ptrace(_PTRACE_ATTACH, pid, 0, 0):
            raise OSError(ctypes.get_errno(), "ptrace")

    stage.child(trace)
    ask_often(stage, 8080, 2, timeout=3600)


@case(
    Expect(
        "accept_queue", "critical", "^0123456789ab$", 8080,
        summary=["^container 0123456789ab does not accept on port 8080", r"PID \d+ is frozen"],
        advice=["docker unpause 0123456789ab"],
    )
)  # fmt: skip
def paused_container(stage: Stage) -> None:
    """A container was paused and forgotten."""
    unit = f"docker-0123456789ab{'c' * 52}.scope"
    _api(stage, unit)
    cgroups.freeze(stage.place(unit))
    ask_often(stage, 8080, 2, timeout=3600)


@case(Expect("udp_drops", None, r"^syslog\.service$", 514, ["stopped"], ["kill -CONT"]))
def stopped_udp_receiver(stage: Stage) -> None:
    """A receiver of datagrams that somebody has stopped."""
    process = stage.python(
        "syslog.py",
        """
import socket
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
server.bind(("127.0.0.1", 514))
while True:
    server.recv(2000)
""",
        unit="syslog.service",
    )
    time.sleep(2)
    os.kill(process.pid, signal.SIGSTOP)
    client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    def send() -> None:
        for _ in every(0.02):
            client.sendto(bytes(1000), ("127.0.0.1", 514))

    stage.thread(send)


@case(
    Expect(
        "accept_queue", "critical", r"^haproxy\.service$", 8080,
        summary=[r"haproxy\.service does not accept on port 8080", "it still serves 20 others"],
        advice=[r"Do not restart haproxy\.service before", "maxconn"],
    ),
    passing=("connect_stalled",),
)  # fmt: skip
def haproxy_at_maxconn(stage: Stage) -> None:
    """20 websockets, all in use, hold HAProxy's maxconn; others wait."""
    stage.python(
        "chat.py",
        """
import asyncio, websockets
async def talk(socket, path=None):
    async for message in socket:
        await socket.send(message)
async def main():
    async with websockets.serve(talk, "127.0.0.1", 8765, ping_interval=None):
        await asyncio.sleep(3600)
asyncio.run(main())
""",
        unit="chat.service",
    )
    stage.listening(8765)
    stage.write(
        "/etc/haproxy/case.cfg",
        """
global
  maxconn 20
defaults
  mode tcp
  timeout connect 5s
  timeout client 10m
  timeout server 10m
frontend front
  bind :8080
  default_backend back
backend back
  server one 127.0.0.1:8765
""",
    )
    stage.start("haproxy", "-db", "-f", "/etc/haproxy/case.cfg", unit="haproxy.service")
    stage.listening(8080)
    stage.python(
        "clients.py",
        """
import asyncio, websockets
async def main():
    held = [await websockets.connect("ws://127.0.0.1:8080", ping_interval=None) for _ in range(20)]
    while True:
        for one in held:
            await one.send("hello")
            await one.recv()
        await asyncio.sleep(2)
asyncio.run(main())
""",
        unit="clients.service",
    )
    time.sleep(3)
    ask_often(stage, 8080, 2, timeout=30)


@case(
    Expect(
        "accept_queue", "critical", r"^orders\.service$", 8000,
        summary=[r"orders\.service does not accept on port 8000", "it still serves 2 others"],
        advice=["Do not restart", "sport = :8000"],
    )
)  # fmt: skip
def gunicorn_workers_stream(stage: Stage) -> None:
    """Both sync workers send events to a browser each, without end; others wait."""
    gunicorn(stage, text=_STREAM)

    def read() -> None:
        with connect(8000) as client:
            client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            while client.recv(1000):
                pass

    stage.thread(read)
    stage.thread(read)
    time.sleep(2)
    ask_often(stage, 8000, 2, timeout=60)


@case(
    Expect(
        "accept_queue", "critical", PLAY, 8080,
        summary=["does not accept on port 8080: 6 connections wait", "it still serves 12 others"],
        advice=["Do not restart"],
    )
)  # fmt: skip
def at_its_limit_over_both_families(stage: Stage) -> None:
    """A dual-stack server at its limit of 12 connections, all in use; six more wait."""
    server = listen(8080, "::")
    stage.keep.append(server)

    def call(turn: int) -> socket.socket:
        return connect(8080, "::1" if turn % 2 else "::ffff:127.0.0.1")

    held = [(call(turn), server.accept()[0]) for turn in range(12)]

    def talk() -> None:
        for _ in every(3):
            for client, served in held:
                client.send(b"ping")
                served.recv(10)
                served.send(b"pong")
                client.recv(10)

    stage.thread(talk)
    for turn in range(6):
        waiting = call(turn)
        waiting.send(b"hello")
        stage.keep.append(waiting)


@case(
    Expect(
        "accept_queue", "critical", "^sleep$", 8080,
        summary=["sleep does not accept on port 8080"], advice=[r"sleep, PID \d+"],
        anywhere=["has inherited the socket from a service that has ended"],
    )
)  # fmt: skip
def listener_left_to_a_child(stage: Stage) -> None:
    """A service has died; a job that it had started has inherited its listening socket."""

    def die() -> None:
        server = listen(8080, backlog=100)
        server.set_inheritable(True)
        if os.fork() == 0:
            os.execvp("sleep", ["sleep", "3600"])
        os._exit(0)

    stage.child(die)
    stage.listening(8080)
    ask_often(stage, 8080, 2, timeout=30)


@case(
    Expect(
        "accept_queue", "critical", None, 8080,
        summary=["systemd does not accept on port 8080", "the service that it keeps the socket"],
        advice=["systemctl list-sockets"], never=["[Rr]estart"],
    ),
    passing=("connect_stalled",),
)  # fmt: skip
def socket_unit_whose_service_is_dead(stage: Stage) -> None:
    """systemd holds the socket of a service that does not start (played by its name here)."""

    def keep() -> None:
        server = listen(8080, backlog=1000)
        server.set_inheritable(True)
        os.execv("/bin/sleep", ["/lib/systemd/systemd", "3600"])

    stage.child(keep, unit="../init.scope")
    stage.listening(8080)
    ask_often(stage, 8080, 2, timeout=30)


@case(
    Expect(
        "accept_queue", "critical", r"^inetd\.service$", 8080,
        summary=[r"inetd\.service does not accept on port 8080"],
        anywhere=[r"held by inetd, PID \d+, and sleep, PID \d+"],
    )
)  # fmt: skip
def inetd_whose_service_hangs(stage: Stage) -> None:
    """inetd has given its listening socket (wait) to a service that does not accept."""
    stage.write("/etc/inetd.case", "8080 stream tcp wait root /bin/sleep sleep 3600\n")
    stage.start("inetd", "-i", "/etc/inetd.case", unit="inetd.service")
    stage.listening(8080)
    ask_often(stage, 8080, 2, timeout=3600)


@case(
    Expect(
        "accept_queue", "critical", r"^python3 old\.py$", 8080,
        summary=[r"python3 old\.py does not accept on port 8080", "about 50 % of new connections"],
    ),
    within=240,
)  # fmt: skip
def reuseport_with_the_old_version(stage: Stage) -> None:
    """A process of the last deployment still shares the port, and hangs."""
    server = """
import socket, time
server = socket.create_server(("127.0.0.1", 8080), backlog=511, reuse_port=True)
"""
    stage.python("old.py", server + "time.sleep(3600)\n")
    stage.listening(8080)
    stage.python(
        "new.py",
        server
        + """
while True:
    connection = server.accept()[0]
    connection.recv(100)
    connection.send(b"HTTP/1.0 200 OK\\r\\n\\r\\nok")
    connection.close()
""",
    )
    time.sleep(1)
    ask_often(stage, 8080, 0.5, timeout=30)


@case(
    Expect(
        "accept_queue", "warning", PLAY, 8080,
        summary=["accepts too slowly on port 8080"], never=["Restart"],
    ),
    within=240,
)  # fmt: skip
def edge_triggered_accept(stage: Stage) -> None:
    """epoll, edge-triggered, and one accept() for each event: a burst stays in the queue."""
    server = listen(8080)
    poll = select.epoll()
    poll.register(server, select.EPOLLIN | select.EPOLLET)
    stage.keep.append(poll)
    for _ in range(8):
        stage.child(get, 8080, 3600)
    time.sleep(1)

    def serve() -> None:
        while True:
            poll.poll()
            connection = server.accept()[0]
            connection.recv(100)
            connection.send(b"HTTP/1.0 200 OK\r\n\r\nok")
            connection.close()

    stage.thread(serve)
    ask_often(stage, 8080, 10, timeout=3600)


@case(
    Expect(
        "accept_queue", "critical", r"^python3 status\.py$", 8080,
        summary=["does not accept on port 8080: 2 connections wait"],
    ),
    passing=("connect_stalled",),
)  # fmt: skip
def single_thread_held_by_one_client(stage: Stage) -> None:
    """A server of one thread and backlog 1 is held by a silent connection (a browser's spare)."""
    stage.python(
        "status.py",
        """
import http.server
http.server.HTTPServer.request_queue_size = 1
http.server.HTTPServer(("127.0.0.1", 8080), http.server.SimpleHTTPRequestHandler).serve_forever()
""",
    )
    stage.listening(8080)
    time.sleep(1)
    stage.keep.append(connect(8080))
    time.sleep(1)
    for _ in range(2):
        client = connect(8080)
        client.send(b"GET / HTTP/1.1\r\n\r\n")
        stage.keep.append(client)


@case(
    Expect(
        "accept_queue", "critical", r"^apache2\.service$", 8080,
        summary=[r"apache2\.service does not accept on port 8080"],
        advice=[r"systemctl restart apache2\.service"],
    )
)  # fmt: skip
def apache_slow_loris(stage: Stage) -> None:
    """Eight clients send a header every 5 s, to Apache with eight workers; others wait."""
    modules = "/usr/lib/apache2/modules"
    stage.write(
        "/etc/apache2/case.conf",
        f"""
ServerRoot /etc/apache2
PidFile /tmp/apache.pid
ErrorLog /tmp/apache.log
User www-data
Group www-data
ServerName x
LoadModule mpm_prefork_module {modules}/mod_mpm_prefork.so
LoadModule authz_core_module {modules}/mod_authz_core.so
Listen 8080
StartServers 8
MaxRequestWorkers 8
ServerLimit 8
Timeout 3600
DocumentRoot /srv
""",
    )
    stage.start(
        "apache2", "-DFOREGROUND", "-f", "/etc/apache2/case.conf", unit="apache2.service"
    )  # fmt: skip
    stage.listening(8080)
    time.sleep(2)
    slow = [connect(8080) for _ in range(8)]

    def drip() -> None:
        for turn in every(5):
            for client in slow:
                client.send(b"X-a: b\r\n" if turn else b"GET / HTTP/1.1\r\nHost: x\r\n")

    stage.thread(drip)
    time.sleep(1)
    ask_often(stage, 8080, 2, timeout=40)


@case(
    Expect(
        "accept_queue", "critical", r"^uwsgi\.service$", 8000,
        summary=[r"uwsgi\.service does not accept on port 8000"],
        advice=[r"systemctl restart uwsgi\.service"],
    )
)  # fmt: skip
def uwsgi_listen_queue(stage: Stage) -> None:
    """Both processes of uWSGI are in a call that never returns; 30 clients wait."""
    stage.write("/srv/orders.py", STUCK_APP.replace("def app", "def application"))
    stage.start(
        "uwsgi", "--plugin", "python3", "--http-socket", "127.0.0.1:8000", "--processes", "2",
        "--master", "--chdir", "/srv", "--module", "orders", "--listen", "64",
        unit="uwsgi.service",
    )  # fmt: skip
    stage.listening(8000)
    ask(stage, 8000, 30)
