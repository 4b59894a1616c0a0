"""Situations of the field: scratch."""

import contextlib
import ctypes
import os
import resource
import signal
import socket
import time

from tests import cgroups
from tests.cases.case import Expect, case
from tests.cases.clients import ask, ask_often, get
from tests.cases.stage import Stage, connect, every, fill, listen
from tests.cases.stories.programs import DEAF_SERVER, PG_POOL, STUCK_APP, gunicorn, nginx, postgres
from tests.lab import eventually

PLAY = r"tests\.cases\.play"


def call(port: int) -> socket.socket:
    """Connect to a server that may be about to listen."""

    def tried() -> socket.socket | None:
        with contextlib.suppress(ConnectionRefusedError):
            return connect(port)
        return None

    client = eventually(tried)
    assert client is not None
    return client


# 2
@case(
    Expect(
        "accept_queue", "critical", r"^sleep$", 8080,
        summary=[r"sleep does not accept on port 8080"],
        advice=[r"(Restart|End) sleep, PID \d+"],
    )
)  # fmt: skip
def listener_left_to_a_child(stage: Stage) -> None:
    """A service has died; a helper that it had started has inherited its listening socket."""

    def die() -> None:
        server = listen(8080, backlog=100)
        server.set_inheritable(True)
        if os.fork() == 0:
            os.execvp("sleep", ["sleep", "3600"])
        os._exit(0)

    stage.child(die)
    stage.listening(8080)
    ask_often(stage, 8080, 2, timeout=30)


# 4
@case()
def serial_server_of_small_backlog(stage: Stage) -> None:
    """A single-threaded server with listen(1), two clients that take turns, half a second each."""
    server = listen(8080, backlog=1)
    zero = listen(8081, backlog=0)

    def serve(listener: socket.socket) -> None:
        while True:
            connection = listener.accept()[0]
            connection.recv(1000)
            time.sleep(0.3)
            connection.send(b"HTTP/1.0 200 OK\r\n\r\nok")
            connection.close()

    stage.thread(serve, server)
    stage.thread(serve, zero)

    def client(port: int) -> None:
        while True:
            get(port, 10)

    for port, n in ((8080, 2), (8081, 1)):
        for _ in range(n):
            stage.thread(client, port)


# 5
@case(
    Expect(
        "accept_queue", "critical", None, 8080,
        summary=[r"does not accept on port 8080"],
        never=["Restart init", "Restart systemd"],
        anywhere=["systemctl|socket"],
    )
)  # fmt: skip
def socket_unit_whose_service_is_dead(stage: Stage) -> None:
    """systemd holds the socket of a service that does not start; clients wait."""
    stage.write("/srv/x", "")

    def hold() -> None:
        server = listen(8080, backlog=100)
        server.set_inheritable(True)
        os.execv("/bin/sleep", ["/lib/systemd/systemd", "3600"])

    stage.child(hold, unit="../init.scope")
    stage.listening(8080)
    ask_often(stage, 8080, 2, timeout=30)


# 6
@case(
    Expect(
        "accept_queue", "critical", r"^uwsgi\.service$", 8000,
        summary=[r"uwsgi\.service does not accept on port 8000"],
        advice=[r"systemctl restart uwsgi\.service"],
    )
)  # fmt: skip
def uwsgi_listen_queue(stage: Stage) -> None:
    """uWSGI with two processes in a call that never returns."""
    stage.write("/srv/orders.py", STUCK_APP.replace("def app", "def application"))
    stage.start(
        "uwsgi", "--plugin", "python3", "--http-socket", "127.0.0.1:8000", "--processes", "2",
        "--master", "--chdir", "/srv", "--module", "orders", "--listen", "64",
        unit="uwsgi.service",
    )  # fmt: skip
    stage.listening(8000)
    ask(stage, 8000, 30)


# 7
@case(
    Expect(
        "accept_queue", "critical", r"^apache2\.service$", 8080,
        summary=[r"apache2\.service does not accept on port 8080"],
    )
)  # fmt: skip
def apache_slow_loris(stage: Stage) -> None:
    """Apache prefork with 8 workers, without mod_reqtimeout; 8 slow loris, and others wait."""
    stage.write(
        "/etc/apache2/case.conf",
        """
ServerRoot /etc/apache2
PidFile /tmp/apache.pid
ErrorLog /tmp/apache.log
User www-data
Group www-data
ServerName x
LoadModule mpm_prefork_module /usr/lib/apache2/modules/mod_mpm_prefork.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
Listen 8080
StartServers 8
MaxRequestWorkers 8
ServerLimit 8
Timeout 3600
DocumentRoot /srv
""",
    )
    stage.start(
        "apache2",
        "-X" if False else "-DFOREGROUND",
        "-f",
        "/etc/apache2/case.conf",
        unit="apache2.service",
    )
    stage.listening(8080)
    time.sleep(2)
    loris = []
    for _ in range(8):
        client = connect(8080)
        client.send(b"GET / HTTP/1.1\r\nHost: x\r\n")
        loris.append(client)
    stage.keep.append(loris)

    def drip() -> None:
        for _ in every(5):
            for client in loris:
                with contextlib.suppress(OSError):
                    client.send(b"X-a: b\r\n")

    stage.thread(drip)
    time.sleep(1)
    ask_often(stage, 8080, 2, timeout=40)


# 8
@case()
def pgbouncer_pool_exhausted(stage: Stage) -> None:
    """pgbouncer with two server connections, whose queries run long; 20 clients wait for one."""
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
pool_mode = session
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
import psycopg2, threading, time
def run():
    connection = psycopg2.connect(host="127.0.0.1", port=6432, user="postgres", dbname="postgres")
    connection.cursor().execute("SELECT pg_sleep(3600)")
for _ in range(20):
    threading.Thread(target=run).start()
""",
        unit="shop.service",
    )


# 11
@case(
    Expect("close_wait_leak", "warning", r"^python3 -m leaky$", 9001),
    Expect("close_wait_leak", "warning", r"^ruby leak\.rb$", 9002),
    Expect("close_wait_leak", "warning", r"^php leak\.php$", 9003),
    Expect("close_wait_leak", "warning", r"^node leak\.js$", 9004),
    Expect("close_wait_leak", "warning", r"^perl leak\.pl$", 9005),
    Expect("close_wait_leak", "warning", r"^java shop-1\.2\.jar$", 9006),
)
def leaks_of_interpreters(stage: Stage) -> None:
    """Six programs of interpreters, none of a unit: each is named by what it runs."""
    stage.write(
        "/srv/leaky.py",
        "import socket\nserver = socket.create_server(('127.0.0.1', 9001))\nheld = []\nwhile True: held.append(server.accept())\n",
    )
    stage.write(
        "/srv/leak.rb",
        "require 'socket'\nserver = TCPServer.new('127.0.0.1', 9002)\nheld = []\nloop { held << server.accept }\n",
    )
    stage.write(
        "/srv/leak.php",
        "<?php $s = stream_socket_server('tcp://127.0.0.1:9003'); $h = []; while (true) { $c = stream_socket_accept($s, 3600); if ($c) $h[] = $c; }",
    )
    stage.write(
        "/srv/leak.js",
        "const held=[]; require('net').createServer({allowHalfOpen: true, pauseOnConnect: true}, s => held.push(s)).listen(9004, '127.0.0.1')\n",
    )
    stage.write(
        "/srv/leak.pl",
        "use IO::Socket::INET; my $s = IO::Socket::INET->new(LocalAddr=>'127.0.0.1', LocalPort=>9005, Listen=>20, ReuseAddr=>1); my @h; while (my $c = $s->accept) { push @h, $c }\n",
    )
    stage.write(
        "/srv/Leak.java",
        """
import java.net.*; import java.util.*;
public class Leak { public static void main(String[] a) throws Exception {
  ServerSocket s = new ServerSocket(9006, 50, InetAddress.getByName("127.0.0.1")); List<Socket> h = new ArrayList<>();
  while (true) h.add(s.accept()); } }
""",
    )
    stage.run("javac", "-d", "/srv", "/srv/Leak.java")
    stage.run(
        "sh", "-c", "cd /srv && jar --create --file shop-1.2.jar --main-class Leak Leak.class"
    )
    stage.start("sh", "-c", "cd /srv && exec python3 -u -W ignore -m leaky --port 9001")
    stage.start("ruby", "-W0", "/srv/leak.rb", "9002")
    stage.start("php", "-d", "display_errors=1", "/srv/leak.php")
    stage.start("node", "--max-old-space-size=200", "/srv/leak.js")
    stage.start("perl", "-w", "/srv/leak.pl")
    stage.start(
        "java",
        "-Xmx64m",
        "-Dspring.profiles.active=prod",
        "-jar",
        "/srv/shop-1.2.jar",
        "server",
        "x.yml",
    )
    for port in range(9001, 9007):
        stage.listening(port)
        for _ in range(14):
            client = connect(port)
            client.send(b"hello")
            client.close()


# 12
@case(
    Expect(
        "accept_queue", "critical", r"^api\.service$", 8080,
        summary=[r"api\.service does not accept on port 8080"],
        advice=["stopped", r"kill -CONT \d+"],
    )
)  # fmt: skip
def stopped_process(stage: Stage) -> None:
    """Somebody has stopped the service (SIGSTOP, ^Z): SIGCONT helps, a restart is not needed."""
    process = stage.python("api.py", DEAF_SERVER.replace("9000", "8080"), unit="api.service")
    stage.listening(8080)
    os.kill(process.pid, signal.SIGSTOP)
    ask_often(stage, 8080, 2, timeout=3600)


# 12b
@case(
    Expect(
        "accept_queue", "critical", r"^api\.service$", 8080,
        summary=[r"api\.service does not accept on port 8080"],
        advice=["debugger|traced"],
    )
)  # fmt: skip
def traced_process(stage: Stage) -> None:
    """A debugger has been left attached: the process stands still in its hands."""
    process = stage.python("api.py", DEAF_SERVER.replace("9000", "8080"), unit="api.service")
    stage.listening(8080)

    def trace() -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.ptrace(16, process.pid, 0, 0):
            raise OSError(ctypes.get_errno(), "ptrace")
        os.waitpid(process.pid, 0x40000000)
        signal.pause()

    stage.child(trace)
    ask_often(stage, 8080, 2, timeout=3600)


# 12c
@case(
    Expect(
        "unread_data", "warning", r"^api\.service$", 8080,
        summary=[r"api\.service has not read"],
        advice=["stopped", r"kill -CONT \d+"],
    ), within=240,
)  # fmt: skip
def stopped_reader(stage: Stage) -> None:
    """The same with accepted connections that send requests all the time."""
    process = stage.python(
        "api.py",
        DEAF_SERVER.replace("9000", "8080").replace(
            "held.append(server.accept()[0])",
            "held.append(server.accept()[0]); held[-1].setblocking(False)",
        ),
        unit="api.service",
    )
    stage.listening(8080)
    clients = [connect(8080) for _ in range(15)]
    stage.keep.append(clients)
    time.sleep(1)
    os.kill(process.pid, signal.SIGSTOP)
    for client in clients:
        client.send(b"GET / HTTP/1.1\r\n\r\n")


# 19
@case(
    Expect(
        "close_wait_leak", "warning", None, 8080,
        never=["as root"],
    ),
)  # fmt: skip
def passed_to_a_stuck_worker(stage: Stage) -> None:
    """A dispatcher accepts and passes connections to a worker over a Unix socket; it is stuck."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    def worker() -> None:
        ours.close()
        theirs.recv(1)  # none comes: stuck in effect
        signal.pause()

    def dispatcher() -> None:
        theirs.close()
        server = listen(8080)
        while True:
            connection = server.accept()[0]
            socket.send_fds(ours, [b"x"], [connection.fileno()])
            connection.close()

    def stuck() -> None:
        ours.close()
        signal.pause()

    stage.child(stuck)
    theirs2 = theirs
    stage.child(dispatcher)
    ours.close()
    theirs2.close()
    stage.listening(8080)
    for _ in range(20):
        client = connect(8080)
        client.send(b"hello")
        client.close()


# 22
@case(
    Expect(
        "unsent_data", "warning", r"^billing\.service$", 5672,
        summary=["made to port 5672 do not read"],
        never=["Restart"],
    ), within=240,
)  # fmt: skip
def broker_blocks_its_publishers(stage: Stage) -> None:
    """A broker on another host, at its memory limit, reads no more from those who publish."""
    link = stage.peer()
    server = link.client.call(listen, 5672, "10.77.0.1")
    stage.keep.append(server)

    def publish() -> None:
        held = []
        for _ in range(12):
            client = connect(5672, "10.77.0.1")
            fill(client)
            held.append(client)
        while True:
            signal.pause()

    stage.child(publish, unit="billing.service")
    for _ in range(12):
        stage.keep.append(server.accept()[0])


# 27
@case(
    Expect(
        "close_wait_leak", "warning", r"^nginx\.service$", 8080,
        summary=[r"nginx\.service has not closed \d+ connections"],
    ), within=240,
)  # fmt: skip
def nginx_ignores_client_abort(stage: Stage) -> None:
    """proxy_ignore_client_abort: clients gave up on reports that take an hour; nginx waits on."""
    stage.python(
        "reports.py",
        """
import asyncio
from aiohttp import web
async def wait(request):
    await asyncio.sleep(3600)
    return web.Response(text="done")
app = web.Application()
app.add_routes([web.get("/", wait)])
web.run_app(app, host="127.0.0.1", port=9000)
""",
        unit="reports.service",
    )
    stage.listening(9000)
    nginx(
        stage,
        "server { listen 8080; location / { proxy_pass http://127.0.0.1:9000; proxy_ignore_client_abort on; proxy_read_timeout 2h; } }",
    )
    stage.listening(8080)
    ask(stage, 8080, 20, timeout=10)


# 29b
@case(
    Expect(
        "accept_queue", "critical", r"^haproxy\.service$", 8080,
        summary=[r"haproxy\.service does not accept on port 8080"],
        anywhere=["maxconn"],
    )
)  # fmt: skip
def haproxy_at_maxconn(stage: Stage) -> None:
    """HAProxy at its maxconn of 20: websockets hold all, and are busy; others wait."""
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


# 30
@case()
def busy_and_healthy(stage: Stage) -> None:
    """wrk and ab with keep-alive against nginx, pgbench against PostgreSQL."""
    nginx(stage, "server { listen 8080; location / { return 200 ok; } }", "worker_processes 2;")
    stage.listening(8080)
    stage.start(
        "sh", "-c", "while :; do wrk -t1 -c60 -d20 http://127.0.0.1:8080/; done", unit="wrk.service"
    )
    stage.start(
        "sh",
        "-c",
        "while :; do ab -k -c 20 -n 20000 http://127.0.0.1:8080/; sleep 1; done",
        unit="ab.service",
    )
    stage.start(
        "sh",
        "-c",
        "while :; do ab -c 20 -n 2000 http://127.0.0.1:8080/; sleep 5; done",
        unit="ab2.service",
    )


@case()
def pgbench_and_bulk(stage: Stage) -> None:
    """pgbench; and 12 bulk transfers whose receiver is slower than the sender."""
    postgres(stage)
    stage.run(
        "/usr/lib/postgresql/15/bin/pgbench", "-h", "127.0.0.1", "-U", "postgres", "-i", "postgres"
    )
    stage.start(
        "/usr/lib/postgresql/15/bin/pgbench",
        "-h",
        "127.0.0.1",
        "-U",
        "postgres",
        "-c",
        "15",
        "-T",
        "600",
        "postgres",
        unit="bench.service",
    )
    server = listen(5201)

    def sink(connection: socket.socket) -> None:
        while connection.recv(1 << 14):
            time.sleep(0.2)

    def source() -> None:
        client = connect(5201)
        while True:
            client.send(bytes(1 << 20))

    for _ in range(12):
        stage.thread(source)
        stage.thread(sink, server.accept()[0])


# 35
@case()
def sshd_silent_clients(stage: Stage) -> None:
    """12 clients connect to sshd and say nothing; those beyond MaxStartups are turned away."""
    stage.run("ssh-keygen", "-A")
    (stage.root / "run/sshd").mkdir(exist_ok=True)
    stage.start(
        "/usr/sbin/sshd",
        "-D",
        "-e",
        "-p",
        "2222",
        "-o",
        "MaxStartups=12:100:12",
        "-o",
        "LoginGraceTime=0",
        "-o",
        "UsePAM=no",
        unit="ssh.service",
    )
    stage.listening(2222)
    for _ in range(12):
        stage.keep.append(connect(2222))
        stage.keep[-1].recv(100)

    def more() -> None:
        for _ in every(1):
            with contextlib.suppress(OSError):
                client = connect(2222)
                client.recv(100)
                client.close()

    stage.thread(more)


# 40
@case(
    Expect(
        "close_wait_leak", "warning", r"^python3 old\.py$", 9000,
        summary=[r"python3 old\.py has not closed 20 connections"],
    ), within=240,
)  # fmt: skip
def leak_of_the_old_version(stage: Stage) -> None:
    """The old version has closed its listener and does not end; it leaks. The new one is well."""
    old = stage.python(
        "old.py",
        """
import socket, signal
server = socket.create_server(("127.0.0.1", 9000), backlog=511, reuse_port=True)
held = []
server.settimeout(1)
def stop(*_):
    global server
    server.close()
signal.signal(signal.SIGUSR1, stop)
while True:
    try:
        held.append(server.accept()[0])
    except TimeoutError:
        pass
    except OSError:
        signal.pause()
""",
    )
    stage.listening(9000)
    for _ in range(19):
        client = connect(9000)
        client.send(b"hello")
        client.close()
    time.sleep(1)
    stage.python(
        "new.py",
        """
import socket
server = socket.create_server(("127.0.0.1", 9000), backlog=511, reuse_port=True)
while True:
    c = server.accept()[0]
    c.recv(100)
    c.send(b"ok")
    c.close()
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


# 60
@case(
    Expect(
        "accept_queue", None, r"^python3 old\.py$", 8080,
        summary=[r"python3 old\.py does not accept on port 8080", "about 50 % of new connections"],
    ), within=240,
)  # fmt: skip
def reuseport_with_the_old_version(stage: Stage) -> None:
    """A process of the last deployment still shares the port, and hangs: half get no answer."""
    stage.python(
        "old.py",
        """
import socket, time
server = socket.create_server(("127.0.0.1", 8080), backlog=511, reuse_port=True)
time.sleep(3600)
""",
    )
    stage.listening(8080)
    stage.python(
        "new.py",
        """
import socket
server = socket.create_server(("127.0.0.1", 8080), backlog=511, reuse_port=True)
while True:
    c = server.accept()[0]
    c.recv(100)
    c.send(b"HTTP/1.0 200 OK\\r\\n\\r\\nok")
    c.close()
""",
    )
    time.sleep(1)
    ask_often(stage, 8080, 0.5, timeout=30)


# 41
@case(
    Expect(
        "close_wait_leak", "warning", r"^sleep$", 8080,
        summary=[r"sleep has not closed 20 connections"],
        advice=[r"sleep, PID"],
    )
)  # fmt: skip
def job_keeps_its_parents_connections(stage: Stage) -> None:
    """A job has inherited its parent's connections; the parent closes them, the job does not."""

    def serve() -> None:
        server = listen(8080)
        held = [server.accept()[0] for _ in range(20)]
        for connection in held:
            connection.set_inheritable(True)
        if os.fork() == 0:
            server.close()
            os.execvp("sleep", ["sleep", "3600"])
        for connection in held:
            connection.close()
        while True:
            server.accept()[0].close()

    stage.child(serve)
    clients = [call(8080) for _ in range(20)]
    time.sleep(2)
    for client in clients:
        client.close()


# 43
@case(
    Expect("close_wait_leak", "warning", r"^shop\.service$", 8001, summary=["has not closed"]),
    Expect("accept_queue", "critical", r"^mail\.service$", 8002, summary=["does not accept"]),
    Expect("unread_data", "warning", r"^chat\.service$", 8003, summary=["has not read"]),
    Expect("descriptor_pressure", "critical", r"^files\.service$"),
    within=240,
)
def four_troubles(stage: Stage) -> None:
    """Four services, each with a trouble of its own."""

    def shop() -> object:
        server = listen(8001)
        return [server.accept()[0] for _ in range(15)]

    def mail() -> object:
        return listen(8002)

    def chat() -> object:
        server = listen(8003)
        return [server.accept()[0] for _ in range(15)]

    def files() -> object:
        resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))
        held = []
        with contextlib.suppress(OSError):
            while True:
                held.append(open("/dev/null"))
        return held

    stage.child(shop, unit="shop.service")
    stage.child(mail, unit="mail.service")
    stage.child(chat, unit="chat.service")
    stage.child(files, unit="files.service")
    for _ in range(15):
        for port in (8001, 8002, 8003):
            client = call(port)
            client.send(b"hello")
            if port == 8001:
                client.close()
            else:
                stage.keep.append(client)


# 45
@case(
    Expect(
        "accept_queue", "critical", r"^inetd\.service$", 8080,
        summary=[r"inetd\.service does not accept on port 8080"],
        anywhere=["sleep"],
    )
)  # fmt: skip
def inetd_whose_service_hangs(stage: Stage) -> None:
    """inetd (wait) has given its listening socket to a service that hangs."""
    stage.write("/etc/inetd.case", "8080 stream tcp wait root /bin/sleep sleep 3600\n")
    stage.start("inetd", "-i", "/etc/inetd.case", unit="inetd.service")
    stage.listening(8080)
    ask_often(stage, 8080, 2, timeout=3600)


# 48
@case(
    Expect(
        "accept_queue", "warning", PLAY, 8080,
        summary=["accepts too slowly on port 8080"],
        never=["Restart"],
    ), within=240,
)  # fmt: skip
def edge_triggered_accept(stage: Stage) -> None:
    """epoll, edge-triggered, one accept() an event: a burst stays in the queue for ever."""
    import select

    server = listen(8080)
    server.setblocking(False)
    poll = select.epoll()
    poll.register(server, select.EPOLLIN | select.EPOLLET)

    def serve() -> None:
        while True:
            poll.poll()
            connection = server.accept()[0]
            connection.setblocking(True)
            connection.recv(100)
            connection.send(b"HTTP/1.0 200 OK\r\n\r\nok")
            connection.close()

    stage.keep.append(poll)
    for _ in range(8):
        stage.child(get, 8080, 3600)
    time.sleep(1)
    stage.thread(serve)
    ask_often(stage, 8080, 10, timeout=3600)


# 73
@case(
    Expect(
        "close_wait_leak", "warning", r"^ftpd\.service$",
        summary=[r"ftpd\.service has not closed 30 connections"],
        never=["made to"],
    )
)  # fmt: skip
def ftp_server_leaks_data_connections(stage: Stage) -> None:
    """An FTP server that does not close its passive data connections after an upload."""

    def serve() -> object:
        held = []
        control = listen(2121)
        for _ in range(30):
            connection = control.accept()[0]
            passive = listen(0)
            connection.send(str(passive.getsockname()[1]).encode())
            held.append(passive.accept()[0])
            held[-1].recv(100)
            passive.close()
            connection.close()
        return held

    stage.child(serve, unit="ftpd.service")
    for _ in range(30):
        control = call(2121)
        data = connect(int(control.recv(100)))
        data.send(b"upload")
        data.close()
        control.close()


# 1b
@case(
    Expect(
        "fin_wait2_stuck", "warning", r"^relay\.service$", 9000,
    ), within=240,
)  # fmt: skip
def relay_whose_backend_never_closes(stage: Stage) -> None:
    """A relay passes half-closes on; the application on another host never closes."""
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


# 37
@case()
def graceful_shutdown(stage: Stage) -> None:
    """A server has closed its listener and waits for 30 idle keep-alive connections to end."""

    def serve() -> object:
        server = listen(8080)
        held = [server.accept()[0] for _ in range(30)]
        server.close()
        return held

    stage.child(serve, unit="api.service")
    for _ in range(30):
        client = call(8080)
        client.send(b"")
        stage.keep.append(client)


# 47
@case(
    Expect(
        "accept_queue", "critical", r"^python3 (tool|status)\.py$", 8080,
        summary=["does not accept on port 8080"],
    )
)  # fmt: skip
def single_thread_held_by_one_client(stage: Stage) -> None:
    """http.server without threads: one silent connection (a browser's spare) holds it."""
    stage.python(
        "status.py",
        """
import http.server
http.server.HTTPServer(("127.0.0.1", 8080), http.server.SimpleHTTPRequestHandler).serve_forever()
""",
    )
    stage.listening(8080)
    time.sleep(1)
    stage.keep.append(connect(8080))
    time.sleep(1)
    for _ in range(5):
        client = connect(8080)
        client.send(b"GET / HTTP/1.1\r\n\r\n")
        stage.keep.append(client)


# 75
@case()
def rolling_restart(stage: Stage) -> None:
    """Four workers under SO_REUSEPORT, restarted one after the other under load; clients retry."""
    stage.write(
        "/srv/worker.py",
        """
import socket, signal, sys
server = socket.socket()
server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
server.bind(("127.0.0.1", 8080))
server.listen(511)
signal.signal(signal.SIGTERM, lambda *_: sys.exit())
while True:
    c = server.accept()[0]
    c.recv(1000)
    c.send(b"HTTP/1.0 200 OK\\r\\n\\r\\nok")
    c.close()
""",
    )
    workers = [stage.start("python3", "/srv/worker.py", unit="web.service") for _ in range(4)]
    stage.listening(8080)

    def restart() -> None:
        for turn in every(10):
            workers[turn % 4].terminate()
            workers[turn % 4].wait()
            workers[turn % 4] = stage.start("python3", "/srv/worker.py", unit="web.service")

    stage.thread(restart)

    def client() -> None:
        while True:
            get(8080, 5)
            time.sleep(0.01)

    for _ in range(10):
        stage.thread(client)


# 76
@case(
    Expect(
        "accept_queue", "critical", r"^api\.service$", 8080,
        summary=[r"api\.service does not accept on port 8080"],
        advice=["takes no signal"],
    )
)  # fmt: skip
def process_in_d_state(stage: Stage) -> None:
    """The server waits for a disk or NFS without end (state D): here, for a vfork()ed child."""
    stage.write(
        "/srv/d.c",
        """
#include <unistd.h>
#include <sys/socket.h>
#include <netinet/in.h>
int main() {
  int s = socket(AF_INET, SOCK_STREAM, 0);
  struct sockaddr_in a = {AF_INET, htons(8080), {htonl(0x7f000001)}};
  bind(s, (void *)&a, sizeof a);
  listen(s, 100);
  if (vfork() == 0) { close(s); for (;;) pause(); }
  return 0;
}
""",
    )
    import subprocess

    subprocess.run(
        ["gcc", "-o", str(stage.root / "srv/d"), str(stage.root / "srv/d.c")], check=True
    )
    stage.start("/srv/d", unit="api.service")
    stage.listening(8080)
    ask_often(stage, 8080, 2, timeout=3600)


# R2-1
@case(
    Expect(
        "accept_queue", "critical", r"^0123456789ab$", 8080,
        summary=["^container 0123456789ab does not accept on port 8080", "frozen"],
        advice=["docker unpause 0123456789ab"],
    )
)  # fmt: skip
def paused_container(stage: Stage) -> None:
    """A container that was paused, and forgotten: docker unpause, and no restart."""
    unit = f"docker-0123456789ab{'c' * 52}.scope"
    stage.python("api.py", DEAF_SERVER.replace("9000", "8080"), unit=unit)
    stage.listening(8080)
    cgroups.freeze(stage.place(unit))
    ask_often(stage, 8080, 2, timeout=3600)


# R2-6
@case(
    Expect(
        "accept_queue", "critical", r"^orders\.service$", 8000,
        summary=[r"orders\.service does not accept on port 8000", "still serves 2 others"],
        advice=[r"Do not restart", "sport = :8000"],
    )
)  # fmt: skip
def gunicorn_workers_stream(stage: Stage) -> None:
    """Both sync workers stream events to a browser each, for ever; others wait."""
    gunicorn(
        stage,
        text="""
import time
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/event-stream")])
    while True:
        yield b"data: tick\\n\\n"
        time.sleep(1)
""",
    )

    def listen_to() -> None:
        with connect(8000) as client:
            client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            while client.recv(1000):
                pass

    stage.thread(listen_to)
    stage.thread(listen_to)
    time.sleep(2)
    ask_often(stage, 8000, 2, timeout=60)


# R2-18
@case()
def sandboxed_with_descriptors(stage: Stage) -> None:
    """A sandbox has set its own limit of descriptors to 1, once it had opened 30."""

    def sandbox() -> object:
        held = [open("/dev/null") for _ in range(30)]
        resource.setrlimit(resource.RLIMIT_NOFILE, (1, 1))
        return held

    stage.child(sandbox, unit="browser.service")


# R2-21
@case(
    Expect(
        "closing_stalled", "warning", None, 8080,
        summary=["cannot finish closing", "do not read"], never=["Restart"],
    ), within=240,
)  # fmt: skip
def killed_server_leaves_unsent_data(stage: Stage) -> None:
    """A server was killed; clients on another host do not read its last data."""
    link = stage.peer()

    def serve() -> object:
        server = listen(8080, "10.77.0.2")
        held = [server.accept()[0] for _ in range(15)]
        for one in held:
            fill(one)
        os._exit(0)

    stage.child(serve, unit="stream.service")
    time.sleep(2)
    for _ in range(15):
        stage.keep.append(link.client.call(connect, 8080, "10.77.0.2"))


# R2-27
@case()
def unix_closed_loop(stage: Stage) -> None:
    """gunicorn with 2 workers on a Unix socket, 12 clients in turn, each answer half a second."""
    stage.write(
        "/srv/orders.py",
        "import time\ndef app(e, s):\n    time.sleep(0.5)\n"
        + '    s("200 OK", [("Content-Length", "2")])\n    return [b"ok"]\n',
    )
    stage.start(
        "gunicorn",
        "--chdir",
        "/srv",
        "--workers",
        "2",
        "--bind",
        "unix:/run/o.sock",
        "orders:app",
        unit="orders.service",
    )
    stage.start(
        "gunicorn",
        "--chdir",
        "/srv",
        "--workers",
        "2",
        "--bind",
        "127.0.0.1:8000",
        "orders:app",
        unit="orders2.service",
    )
    path = str(stage.root / "run/o.sock")
    stage.listening(8000)
    eventually((stage.root / "run/o.sock").exists)

    def client() -> None:
        while True:
            with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as one:
                one.connect(path)
                one.send(b"GET / HTTP/1.0\r\n\r\n")
                while one.recv(1000):
                    pass

    def tcp() -> None:
        while True:
            get(8000, 60)

    for _ in range(12):
        stage.thread(client)
        stage.thread(tcp)


# R2-33
@case(
    Expect(
        "close_wait_leak", "warning", r"^postgresql@15-main\.service$", 5432,
        summary=["has not closed 15 connections"],
        advice=[r"End those|no hurry|does not grow"], anywhere=["process of its own"],
    ), within=240,
)  # fmt: skip
def postgres_queries_of_clients_that_went(stage: Stage) -> None:
    """15 long queries whose clients have been killed: each backend computes on."""
    postgres(stage)
    text = PG_POOL.format(host="127.0.0.1", count=15, query="SELECT pg_sleep(3600)")
    client = stage.python("report.py", text, unit="report.service")
    eventually((stage.root / "tmp/connected").exists)
    time.sleep(3)
    client.kill()


# R2 v6 of serving
@case(
    Expect(
        "accept_queue", "critical", PLAY, 8080,
        summary=["does not accept on port 8080", "still serves 12 others"],
        advice=["Do not restart"],
    )
)  # fmt: skip
def at_its_limit_over_both_families(stage: Stage) -> None:
    """A dual-stack server at its limit of 12 connections, which it serves; others wait."""
    server = listen(8080, "::")
    stage.keep.append(server)
    held = []
    for n in range(12):
        client = connect(8080, "::1" if n % 2 else "::ffff:127.0.0.1")
        held.append((client, server.accept()[0]))

    def talk() -> None:
        for _ in every(3):
            for client, served in held:
                client.send(b"ping")
                served.recv(10)
                served.send(b"pong")
                client.recv(10)

    stage.thread(talk)
    for n in range(6):
        client = connect(8080, "::1" if n % 2 else "::ffff:127.0.0.1")
        client.send(b"hello")
        stage.keep.append(client)


# R2 dispatcher in a unit
@case(
    Expect("close_wait_leak", "warning", r"^dispatch\.service$", 8080),
)
def passed_within_a_unit(stage: Stage) -> None:
    """The same as passed_to_a_stuck_worker in a unit: its cgroup names it."""

    def dispatcher() -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        server = listen(8080)
        while True:
            connection = server.accept()[0]
            socket.send_fds(ours, [b"x"], [connection.fileno()])
            connection.close()

    stage.child(dispatcher, unit="dispatch.service")
    for _ in range(20):
        client = call(8080)
        client.send(b"hello")
        client.close()


# R2 slow graceful drain with unread? clients keep sending to a draining server that reads
@case()
def chat_server_long_poll_many(stage: Stage) -> None:
    """40 clients long-poll by new connections each 25 s; the answers come after 20 s."""
    stage.python(
        "news.py",
        """
import asyncio
from aiohttp import web
async def wait(request):
    await asyncio.sleep(20)
    return web.Response(text="nothing new")
app = web.Application()
app.add_routes([web.get("/", wait)])
web.run_app(app, port=8080)
""",
        unit="news.service",
    )
    stage.listening(8080)

    def poll() -> None:
        while True:
            get(8080, 60)
            time.sleep(5)

    for _ in range(40):
        stage.thread(poll)


# R2 clients that abort: long answers, server notices late but does
@case()
def clients_abort_and_retry(stage: Stage) -> None:
    """Clients give up after 3 s and try again; each answer takes 12 s, and then it is closed."""
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
    allow_reuse_address = True
Server(("127.0.0.1", 8080), Handler).serve_forever()
""",
        unit="slow.service",
    )
    stage.listening(8080)
    ask_often(stage, 8080, 0.3, timeout=3)


# R2 udp receiver stopped
@case(
    Expect(
        "udp_drops", None, r"^syslog\.service$", 514, summary=["stopped"], advice=["kill -CONT"]
    ),
)
def stopped_udp_receiver(stage: Stage) -> None:
    """A syslog receiver that somebody has stopped."""
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
            with contextlib.suppress(OSError):
                client.sendto(bytes(1000), ("127.0.0.1", 514))

    stage.thread(send)
