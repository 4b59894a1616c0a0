"""Real programs in trouble."""

import contextlib
import os
import signal
import socket
import time
from pathlib import Path

from tests.cases.case import Expect, case
from tests.cases.clients import ask, ask_often, get, get_for_ever
from tests.cases.stage import Stage, connect, every
from tests.lab import eventually

NGINX = """
daemon off; user www-data; pid /tmp/nginx.pid; error_log /tmp/nginx.log; {main}
events {{ worker_connections {connections}; }}
http {{ access_log off; {http} }}
"""
#: An application behind a server: it never answers.
STUCK_APP = """
import time
def app(environ, start_response):
    time.sleep(3600)
"""
SLOW_ANSWER = """    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]
"""
#: A server on 127.0.0.1:9000 that accepts everything, and reads nothing.
DEAF_SERVER = """
import socket, time
server = socket.create_server(("127.0.0.1", 9000), backlog=511)
held = []
while True:
    held.append(server.accept()[0])
"""


def nginx(stage: Stage, http: str, main: str = "", connections: int = 512) -> int:
    """Start nginx; its master's PID."""
    stage.write("/etc/nginx/case.conf", NGINX.format(http=http, main=main, connections=connections))
    return stage.start("nginx", "-c", "/etc/nginx/case.conf", unit="nginx.service").pid


def gunicorn(stage: Stage, *options: str, text: str = STUCK_APP) -> None:
    """Start an application, one that never answers if none is given, on port 8000."""
    stage.write("/srv/orders.py", text)
    stage.start(
        "gunicorn", "--chdir", "/srv", "--workers", "2", "--timeout", "0", "--bind",
        "127.0.0.1:8000", *options, "orders:app", unit="orders.service",
    )  # fmt: skip
    stage.listening(8000)


def children(pid: int) -> list[int]:
    """PIDs of a process's children."""
    return [int(it) for it in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@case(
    Expect(
        "accept_queue", "warning", r"^nginx\.service$", 8080,
        summary=["1 of 4 queues of port 8080 is not emptied", "about 25 % of new connections"],
        advice=[r"nginx\.service"],
    )
)  # fmt: skip
def nginx_reuseport_worker_stopped(stage: Stage) -> None:
    """nginx with a queue for each worker; one worker hangs (SIGSTOP)."""
    master = nginx(
        stage,
        "server { listen 127.0.0.1:8080 reuseport; location / { return 200 ok; } }",
        "worker_processes 4;",
    )
    stage.listening(8080)
    workers = eventually(lambda: children(master), until=lambda its: len(its) == 4)
    os.kill(workers[0], signal.SIGSTOP)
    ask_often(stage, 8080, 0.25, timeout=30)


@case(
    Expect(
        "accept_queue", "critical", r"^nginx\.service$", 8080,
        summary=[r"nginx\.service does not accept on port 8080"],
        advice=[r"systemctl restart nginx\.service"],
    )
)  # fmt: skip
def nginx_all_stopped(stage: Stage) -> None:
    """nginx with one queue for all; its workers hang."""
    master = nginx(
        stage, "server { listen 8080; location / { return 200 ok; } }", "worker_processes 2;"
    )
    stage.listening(8080)
    for worker in eventually(lambda: children(master), until=lambda its: len(its) == 2):
        os.kill(worker, signal.SIGSTOP)
    ask_often(stage, 8080, 0.5, timeout=30)


@case(
    Expect(
        "accept_queue", "critical", r"^orders\.service$", 8000,
        summary=[r"orders\.service does not accept on port 8000"],
        advice=[r"systemctl restart orders\.service"],
    )
)  # fmt: skip
def gunicorn_all_workers_stuck(stage: Stage) -> None:
    """Both sync workers of gunicorn are in a call that never returns; 30 clients wait."""
    gunicorn(stage)
    ask(stage, 8000, 30)


@case(
    Expect(
        "accept_queue", "warning", r"^orders\.service$", 8000,
        summary=[r"orders\.service accepts too slowly on port 8000: \d+ connections wait"],
        never=["Restart"],
    ),
    within=240,
)  # fmt: skip
def gunicorn_too_slow(stage: Stage) -> None:
    """Each answer takes 8 s, of one worker: all of 20 clients are served, after minutes."""
    gunicorn(stage, "--workers", "1", text=STUCK_APP.replace("3600", "8") + SLOW_ANSWER)
    for _ in range(20):
        stage.thread(get_for_ever, 8000)


@case(
    Expect(
        "accept_queue", "critical", r"^orders\.service$", 8000,
        summary=[r"orders\.service does not accept on port 8000", "have given up"],
    )
)  # fmt: skip
def nginx_before_stuck_gunicorn(stage: Stage) -> None:
    """The same behind nginx; clients come all the time, and give up after 20 s."""
    gunicorn(stage)
    nginx(stage, "server { listen 8080; location / { proxy_pass http://127.0.0.1:8000; } }")
    stage.listening(8080)
    ask_often(stage, 8080, 1, timeout=20)


@case(
    Expect(
        "unread_data", "warning", r"^backend\.service$", 9000,
        summary=[r"backend\.service has not read from \d+ connections accepted on port 9000"],
    ),
    within=240,
)  # fmt: skip
def haproxy_hung_backend(stage: Stage) -> None:
    """A backend that reads nothing, behind HAProxy; clients have given up: one trouble."""
    stage.python("backend.py", DEAF_SERVER, unit="backend.service")
    stage.write(
        "/etc/haproxy/case.cfg",
        """
defaults
  mode http
  timeout connect 5s
  timeout client 10m
  timeout server 10m
frontend front
  bind :8080
  default_backend back
backend back
  server one 127.0.0.1:9000
""",
    )
    stage.start("haproxy", "-db", "-f", "/etc/haproxy/case.cfg", unit="haproxy.service")
    stage.listening(9000)
    stage.listening(8080)
    ask(stage, 8080, 40, timeout=15)


@case(
    Expect(
        "unread_data", "warning", r"^backend\.service$", 9000,
        summary=[r"backend\.service has not read from \d+ connections accepted on port 9000"],
    ),
    within=240,
)  # fmt: skip
def socat_relay_hung_backend(stage: Stage) -> None:
    """The same behind a relay that keeps half-closed connections, as docker-proxy does."""
    stage.python("backend.py", DEAF_SERVER, unit="backend.service")
    stage.listening(9000)
    stage.start(
        "socat", "-t", "3600", "TCP4-LISTEN:8080,fork,reuseaddr,backlog=100",
        "TCP4:127.0.0.1:9000", unit="relay.service",
    )  # fmt: skip
    stage.listening(8080)
    ask(stage, 8080, 30)


@case(
    Expect(
        "close_wait_leak", "warning", r"^backend\.service$", 9000,
        summary=[r"backend\.service has not closed \d+ connections"],
    ),
    within=240,
)  # fmt: skip
def socat_relay_of_clients_that_gave_up(stage: Stage) -> None:
    """The backend reads the request and forgets it; the relay's clients have gone."""
    stage.python(
        "backend.py", DEAF_SERVER.replace("held.append(server.accept()[0])",
        "held.append(server.accept()[0]); held[-1].recv(65536)"), unit="backend.service",
    )  # fmt: skip
    stage.listening(9000)
    stage.start(
        "socat", "-t", "3600", "TCP4-LISTEN:8080,fork,reuseaddr,backlog=100",
        "TCP4:127.0.0.1:9000", unit="relay.service",
    )  # fmt: skip
    stage.listening(8080)
    ask(stage, 8080, 30, timeout=10)


REDIS = (
    "redis-server", "--port", "6379", "--protected-mode", "no", "--save", "",
    "--client-output-buffer-limit", "pubsub", "0", "0", "0", "--enable-debug-command", "yes",
)  # fmt: skip


@case(
    Expect(
        "unsent_data", "warning", r"^redis-server\.service$", 6379,
        summary=["the peers of 15 connections accepted on port 6379 do not read"],
        never=["Restart", "network fault"],
    )
)  # fmt: skip
def redis_subscribers_do_not_read(stage: Stage) -> None:
    """Subscribers on another host that have stopped reading."""
    stage.sysctl("net.ipv4.tcp_wmem", "4096 16384 65536")
    link = stage.peer()
    link.client.set_sysctl("net.ipv4.tcp_rmem", "4096 65536 65536")
    stage.start(*REDIS, unit="redis-server.service")
    stage.listening(6379)
    for _ in range(15):
        subscriber = link.client.call(connect, 6379, "10.77.0.2")
        subscriber.send(b"SUBSCRIBE news\r\n")
        stage.keep.append(subscriber)
    time.sleep(1)
    publisher = connect(6379)
    stage.keep.append(publisher)

    def publish() -> None:
        for _ in every(2, 30):
            publisher.send(
                b"*3\r\n$7\r\nPUBLISH\r\n$4\r\nnews\r\n$100000\r\n" + bytes(100000) + b"\r\n"
            )

    stage.thread(publish)


@case(
    Expect(
        "accept_queue", "critical", r"^redis-server\.service$", 6379,
        summary=[r"redis-server\.service does not accept on port 6379: \d+ connections wait"],
    ),
    says=(r"because of this, also .* has not read from \d+ connections",), settled=45,
)  # fmt: skip
def redis_blocked_by_a_command(stage: Stage) -> None:
    """One command runs for minutes (DEBUG SLEEP; KEYS or Lua in life): nobody else is served."""
    stage.start(*REDIS, unit="redis-server.service")
    stage.listening(6379)
    clients = [connect(6379) for _ in range(25)]
    for client in clients:
        client.send(b"PING\r\n")
        client.recv(100)
    clients[0].send(b"DEBUG SLEEP 900\r\n")
    time.sleep(1)
    for client in clients[1:]:
        client.send(b"GET x\r\n")
    stage.keep.append(clients)

    def more() -> None:
        for _ in every(3):
            client = connect(6379)
            client.send(b"GET x\r\n")
            stage.keep.append(client)

    stage.thread(more)


@case(
    Expect(
        "accept_queue", "critical", r"^php8\.2-fpm\.service$",
        summary=[r"php8\.2-fpm\.service does not accept on /run/php/app\.sock"],
        advice=[r"php8\.2-fpm\.service"],
    ),
    alone="26 connections wait to be accepted on /run/php/app.sock",
)  # fmt: skip
def php_fpm_all_children_busy(stage: Stage) -> None:
    """nginx before PHP-FPM on a Unix socket; its four children wait for something for minutes."""
    stage.write("/srv/slow.php", "<?php sleep(1800);")
    stage.write(
        "/etc/php/case.conf",
        """
[global]
daemonize = no
error_log = /tmp/fpm.log
[www]
user = www-data
group = www-data
listen = /run/php/app.sock
listen.owner = www-data
pm = static
pm.max_children = 4
""",
    )
    (stage.root / "run/php").mkdir(exist_ok=True)
    stage.start("php-fpm8.2", "-y", "/etc/php/case.conf", unit="php8.2-fpm.service")
    eventually((stage.root / "run/php/app.sock").exists)
    nginx(
        stage,
        "server { listen 8080; location / { fastcgi_read_timeout 30m; "
        "fastcgi_pass unix:/run/php/app.sock; "
        "fastcgi_param SCRIPT_FILENAME /srv/slow.php; fastcgi_param REQUEST_METHOD GET; } }",
    )
    stage.listening(8080)
    ask(stage, 8080, 30)


POSTGRES = ("/usr/lib/postgresql/15/bin/postgres", "-D", "/srv/pg", "-c", "listen_addresses=*")


def postgres(stage: Stage, *settings: str) -> None:
    """Start PostgreSQL on port 5432; everybody may come in."""
    (stage.root / "srv/pg").mkdir()
    (stage.root / "run/postgresql").mkdir(exist_ok=True)
    stage.run("chown", "postgres", "/srv/pg", "/run/postgresql")
    stage.run(
        "/usr/lib/postgresql/15/bin/initdb", "-N", "-A", "trust", "-D", "/srv/pg", user="postgres"
    )
    stage.write("/srv/pg/pg_hba.conf", "host all all all trust\nlocal all all trust\n")
    options = [word for setting in settings for word in ("-c", setting)]
    stage.start(*POSTGRES, *options, user="postgres", unit="postgresql@15-main.service")
    stage.listening(5432)


#: Connections to a database that lie in a pool; `{query}` runs once in each.
PG_POOL = """
import psycopg2, threading, time
pool = [psycopg2.connect(host="{host}", user="postgres", dbname="postgres") for _ in range({count})]
open("/tmp/connected", "w").close()
def run(connection):
    cursor = connection.cursor()
    cursor.execute("{query}")
    connection.commit()
threads = [threading.Thread(target=run, args=(each,)) for each in pool]
[thread.start() for thread in threads]
time.sleep(3600)
"""


@case(
    Expect(
        "dead_peer", "critical", None, 5432,
        summary=["12 of 12 established connections", "keepalive probes"],
    ),
    within=240,
)  # fmt: skip
def postgres_clients_gone_dead(stage: Stage) -> None:
    """An application server has lost its power; PostgreSQL's keepalive asks in vain."""
    link = stage.peer()
    postgres(
        stage, "tcp_keepalives_idle=10", "tcp_keepalives_interval=10", "tcp_keepalives_count=30"
    )
    text = PG_POOL.format(host="10.77.0.2", count=12, query="SELECT 1")
    stage.python("pool.py", text, netns=link.client)
    eventually((stage.root / "tmp/connected").exists)
    time.sleep(3)
    link.cut()


@case(
    Expect(
        "close_wait_leak", "warning", r"^mirror\.service$",
        summary=[r"mirror\.service has not closed \d+ connections", r"made to \d+ ports of 127"],
    )
)  # fmt: skip
def ftp_client_forgets_data_connections(stage: Stage) -> None:
    """pyftpdlib, and ftplib's ntransfercmd() without a close: passive data connections."""
    ftp_server(stage)
    stage.python(
        "mirror.py",
        """
import ftplib, time
held = []
ftp = ftplib.FTP()
ftp.connect("127.0.0.1", 2121)
ftp.login()
for _ in range(40):
    connection, _ = ftp.ntransfercmd("LIST")
    held.append(connection)
    ftp.voidresp()
time.sleep(3600)
""",
        unit="mirror.service",
    )


def ftp_server(stage: Stage) -> None:
    """Start an FTP server on port 2121 with a large file."""
    stage.write("/srv/ftp/large", "x" * 30_000_000)
    stage.python(
        "ftpd.py",
        """
from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.handlers import FTPHandler
from pyftpdlib.servers import FTPServer
FTPHandler.authorizer = DummyAuthorizer()
FTPHandler.authorizer.add_anonymous("/srv/ftp")
FTPServer(("127.0.0.1", 2121), FTPHandler).serve_forever()
""",
        unit="ftpd.service",
    )
    stage.listening(2121)


@case(
    Expect(
        "descriptor_pressure", "critical", r"^memcached\.service$",
        summary=[r"of 40 file descriptors|all of its 40"],
    )
)  # fmt: skip
def memcached_at_its_limit(stage: Stage) -> None:
    """memcached -c 40, whose descriptors are as many: who comes then is refused."""
    stage.start("memcached", "-u", "nobody", "-c", "40", "-t", "2", unit="memcached.service")
    stage.listening(11211)

    def hold() -> None:
        while True:
            with contextlib.suppress(OSError):
                client = connect(11211)
                client.send(b"version\r\n")
                while client.recv(100):
                    pass
            time.sleep(1)

    for _ in range(60):
        stage.thread(hold)


@case(
    Expect(
        "close_wait_leak", "warning", r"^chat\.service$", 8080,
        summary=[r"chat\.service has not closed 25 connections"],
        advice=[r"systemctl restart chat\.service"],
    )
)  # fmt: skip
def node_allow_half_open(stage: Stage) -> None:
    """A Node.js server with allowHalfOpen that never calls end()."""
    stage.write(
        "/srv/server.js",
        """
require("net").createServer({allowHalfOpen: true}, socket => {
  socket.on("data", () => {});
  socket.on("error", () => {});
}).listen(8080, "0.0.0.0", 511);
""",
    )
    stage.start("node", "/srv/server.js", unit="chat.service")
    stage.listening(8080)
    for _ in range(24):
        client = connect(8080)
        client.send(b"hello")
        client.close()


@case(
    Expect(
        "unread_data", "warning", r"^java Pool$", 8080,
        summary=["java Pool has not read from 30 connections accepted on port 8080"],
    )
)  # fmt: skip
def java_thread_pool_full(stage: Stage) -> None:
    """A Java server that accepts everything, and whose two threads wait for something."""
    stage.write(
        "/srv/Pool.java",
        """
import java.net.*; import java.util.concurrent.*;
public class Pool {
  public static void main(String[] args) throws Exception {
    ExecutorService pool = Executors.newFixedThreadPool(2);
    ServerSocket server = new ServerSocket(8080, 100);
    while (true) {
      Socket client = server.accept();
      pool.submit(() -> {
        client.getInputStream().read(new byte[999]);
        Thread.sleep(3600000);
        return 0;
      });
    }
  }
}
""",
    )
    stage.run("javac", "-d", "/srv", "/srv/Pool.java")
    stage.start("java", "-Xmx64m", "-cp", "/srv", "Pool")
    stage.listening(8080)
    time.sleep(1)
    ask(stage, 8080, 31)


@case(
    Expect(
        "close_wait_leak", "warning", r"^crawler\.service$", 8080,
        summary=[r"crawler\.service has not closed \d+ connections"],
    ),
    within=240, passing=("descriptor_pressure",),
)  # fmt: skip
def java_forgets_sockets(stage: Stage) -> None:
    """A Java client that opens a Socket for each request and forgets to close it."""
    stage.write(
        "/srv/Crawler.java",
        """
import java.net.*; import java.util.*;
public class Crawler {
  public static void main(String[] args) throws Exception {
    List<Socket> kept = new ArrayList<>();
    while (true) {
      Socket socket = new Socket("127.0.0.1", 8080);
      socket.getOutputStream().write("GET / HTTP/1.0\\r\\n\\r\\n".getBytes());
      while (socket.getInputStream().read(new byte[999]) > 0) {}
      kept.add(socket);
      Thread.sleep(500);
    }
  }
}
""",
    )
    stage.run("javac", "-d", "/srv", "/srv/Crawler.java")
    nginx(stage, "server { listen 8080; location / { return 200 ok; } }")
    stage.listening(8080)
    stage.start("java", "-Xmx64m", "-cp", "/srv", "Crawler", unit="crawler.service")


@case(
    Expect(
        "descriptor_pressure", None, r"^fetcher\.service$",
        summary=["sockets that the kernel has already closed: they never come back"],
    ),
    within=280, passing=("close_wait_leak",),
)  # fmt: skip
def go_body_not_closed(stage: Stage) -> None:
    """A Go client that does not close the bodies of its answers: each keeps its connection."""
    stage.write(
        "/srv/fetcher.go",
        """
package main

import ("net/http"; "time")

func main() {
  kept := []*http.Response{}
  for {
    answer, err := http.Get("http://127.0.0.1:8080/")
    if err == nil { kept = append(kept, answer) }
    time.Sleep(time.Second)
  }
}
""",
    )
    nginx(
        stage,
        "keepalive_timeout 5; "
        "server { listen 8080; location / { root /srv; try_files /page =404; } }",
    )
    stage.write("/srv/page", "x" * 20_000)
    stage.run(
        "env",
        "HOME=/tmp",
        "GO111MODULE=off",
        "go",
        "build",
        "-o",
        "/srv/fetcher",
        "/srv/fetcher.go",
    )
    stage.listening(8080)
    stage.start("/srv/fetcher", unit="fetcher.service")


@case(
    Expect(
        "connect_stalled", "critical", None, 9999,
        summary=[r"nothing answers at 10\.77\.0\.1 port 9999", "every connect fails"],
    )
)  # fmt: skip
def curl_into_a_black_hole(stage: Stage) -> None:
    """Health checks: eight loops of curl --connect-timeout 2 to a host that has gone."""
    stage.peer().cut()
    for _ in range(8):
        stage.start(
            "sh", "-c",
            "while :; do curl -s --connect-timeout 2 http://10.77.0.1:9999/; done",
            unit="check.service",
        )  # fmt: skip


@case(
    Expect(
        "descriptor_pressure", "critical", r"^python3 bot\.py$",
        summary=[r"of 200 file descriptors|all of its 200"],
    ),
    within=280,
)  # fmt: skip
def aiohttp_forgets_sessions(stage: Stage) -> None:
    """aiohttp with a new ClientSession for each request, none closed; limit 200."""
    nginx(stage, "keepalive_timeout 20m; server { listen 8080; location / { return 200 ok; } }")
    stage.listening(8080)
    stage.python(
        "bot.py",
        """
import aiohttp, asyncio
kept = []
async def main():
    while True:
        try:
            kept_alive = aiohttp.TCPConnector(keepalive_timeout=3600)
            session = aiohttp.ClientSession(connector=kept_alive)
            kept.append((session, await session.get("http://127.0.0.1:8080/")))
        except OSError:
            pass
        await asyncio.sleep(0.8)
asyncio.run(main())
""",
        descriptors=200,
    )


@case(
    Expect(
        "descriptor_pressure", "critical", r"^nginx\.service$", summary=["all of its 60"],
        advice=["prlimit"],
    )
)  # fmt: skip
def nginx_out_of_descriptors(stage: Stage) -> None:
    """worker_rlimit_nofile 60: slow uploads hold them, accept4() fails with EMFILE."""
    nginx(
        stage,
        "server { listen 8080; client_header_timeout 30m; location / { return 200 ok; } }",
        "worker_processes 1; worker_rlimit_nofile 60;",
    )
    stage.listening(8080)
    for _ in range(100):
        client = connect(8080)
        client.send(b"POST / HTTP/1.1\r\nHost: x\r\n")
        stage.keep.append(client)


@case(Expect("udp_drops", None, r"^rsyslog\.service$", 514, summary=["514"]))
def rsyslog_too_slow(stage: Stage) -> None:
    """A syslog receiver that gets too little time: datagrams come faster than it reads."""
    stage.write(
        "/etc/rsyslog.case",
        'module(load="imudp")\ninput(type="imudp" port="514")\n'
        '*.* action(type="omfile" file="/tmp/all")\n',
    )
    daemon = stage.start(
        "rsyslogd",
        "-n",
        "-f",
        "/etc/rsyslog.case",
        "-i",
        "/tmp/rsyslog.pid",
        unit="rsyslog.service",
    )
    time.sleep(3)

    def send() -> None:
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        for _ in every(0.005):
            with contextlib.suppress(OSError):
                client.sendto(b"<13>app: " + b"x" * 1000, ("127.0.0.1", 514))

    def starve() -> None:
        for _ in every(4):
            os.kill(daemon.pid, signal.SIGSTOP)
            time.sleep(3)
            os.kill(daemon.pid, signal.SIGCONT)

    stage.thread(send)
    stage.thread(starve)


@case(
    Expect(
        "accept_queue", "critical", r"^api\.service$", 8080,
        summary=[r"api\.service does not accept on port 8080: \d+ connections wait"],
    ),
    says=(r"because of this, also .* has not read from \d+ connections",), settled=45,
)  # fmt: skip
def aiohttp_loop_blocked(stage: Stage) -> None:
    """An asyncio server whose event loop is in a blocking call: old and new clients wait."""
    stage.python(
        "api.py",
        """
import time
from aiohttp import web
async def answer(request):
    return web.Response(text="ok")
async def block(request):
    time.sleep(3600)
app = web.Application()
app.add_routes([web.get("/", answer), web.get("/block", block)])
web.run_app(app, port=8080)
""",
        unit="api.service",
    )
    stage.listening(8080)
    clients = [connect(8080) for _ in range(20)]
    for client in clients:
        client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = b""
        while not answer.endswith(b"ok"):
            answer += client.recv(1000)
    stage.thread(get, 8080, 3600.0, "/block")
    time.sleep(1)
    for client in clients:
        client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    stage.keep.append(clients)
    ask_often(stage, 8080, 2, timeout=30)


@case(
    Expect(
        "close_wait_leak", "warning", "", 9000,
        summary=["^container 0123456789ab has not closed 20 connections"],
        advice=[r"docker restart 0123456789ab"],
    )
)  # fmt: skip
def leak_in_a_container(stage: Stage) -> None:
    """A leak in a container: it is restarted by its engine, and not by systemd."""
    _leak(stage, f"docker-0123456789ab{'c' * 52}.scope")


@case(
    Expect(
        "close_wait_leak", "warning", "notes.service", 9000,
        advice=[r"systemctl --user .*restart notes\.service"],
    )
)  # fmt: skip
def leak_in_a_user_unit(stage: Stage) -> None:
    """A leak in a unit of a user's own service manager."""
    user = "user.slice/user-1000.slice/user@1000.service/app.slice"
    _leak(stage, f"../{user}/notes.service")


def _leak(stage: Stage, unit: str) -> None:
    stage.python("leak.py", DEAF_SERVER, unit=unit)
    stage.listening(9000)
    for _ in range(19):
        client = connect(9000)
        client.send(b"hello")
        client.close()


@case(
    Expect(
        "close_wait_leak", None, r"^tomcat10\.service$", 8080,
        summary=[r"tomcat10\.service has not closed \d+ connections"],
        never=["at rest"],
    ),
    within=240,
)  # fmt: skip
def java_server_leaks(stage: Stage) -> None:
    """A Java server that forgets a connection after each answer; two clients a second."""
    stage.write(
        "/srv/Leak.java",
        """
import java.net.*; import java.util.*;
public class Leak {
  public static void main(String[] args) throws Exception {
    ServerSocket server = new ServerSocket(8080, 100);
    List<Socket> kept = new ArrayList<>();
    byte[] answer = "HTTP/1.0 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok".getBytes();
    while (true) {
      Socket client = server.accept();
      client.getInputStream().read(new byte[999]);
      client.getOutputStream().write(answer);
      kept.add(client);
    }
  }
}
""",
    )
    stage.run("javac", "-d", "/srv", "/srv/Leak.java")
    stage.start("java", "-Xmx64m", "-cp", "/srv", "Leak", unit="tomcat10.service")
    stage.listening(8080)

    def clients() -> None:
        for _ in every(0.5):
            with connect(8080) as client:
                client.send(b"GET / HTTP/1.0\r\n\r\n")
                client.recv(100)

    stage.thread(clients)


@case(
    Expect(
        "unsent_data", "warning", r"^nginx\.service$", 8080,
        summary=["the peers of 15 connections accepted on port 8080 do not read"],
    ),
    within=240, settled=30,
)  # fmt: skip
def nginx_backpressure(stage: Stage) -> None:
    """Clients on another host stop reading a stream: nginx, and the application, wait for them."""
    stage.sysctl("net.ipv4.tcp_wmem", "4096 16384 65536")
    stage.sysctl("net.ipv4.tcp_rmem", "4096 65536 65536")
    link = stage.peer()
    stage.python(
        "stream.py",
        """
from aiohttp import web
async def stream(request):
    answer = web.StreamResponse()
    await answer.prepare(request)
    while True:
        await answer.write(bytes(65536))
app = web.Application()
app.add_routes([web.get("/", stream)])
web.run_app(app, host="127.0.0.1", port=9000)
""",
        unit="stream.service",
    )
    stage.listening(9000)
    nginx(
        stage,
        "server { listen 8080; location / { proxy_pass http://127.0.0.1:9000; "
        "proxy_buffering off; proxy_read_timeout 1h; send_timeout 1h; } }",
    )
    stage.listening(8080)
    for _ in range(15):
        client = link.client.call(connect, 8080, "10.77.0.2")
        client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        stage.keep.append(client)


@case(
    Expect(
        "accept_queue", "critical", r"^orders\.service$", 8000,
        summary=[r"orders\.service does not accept on port 8000", "more are dropped"],
    ),
    says=("because of this, also",), passing=("connect_stalled", "syn_backlog"),
)  # fmt: skip
def gunicorn_backlog_overflows(stage: Stage) -> None:
    """The same with a backlog of 8: those who come then get no answer, on this host too."""
    gunicorn(stage, "--backlog", "8")
    ask(stage, 8000, 60)


@case(
    Expect(
        "ephemeral_port_pressure", None, None, 8080,
        summary=[r"connections from 10\.77\.0\.2 to 10\.77\.0\.1:8080 use \d+ % of"],
        anywhere=["TIME_WAIT"],
    ),
)  # fmt: skip
def requests_without_session(stage: Stage) -> None:
    """requests.get() for each of 10 requests a second, to a server on another host; 250 ports."""
    stage.sysctl("net.ipv4.ip_local_port_range", "40000 40249")
    link = stage.peer()
    stage.write(
        "/etc/nginx/peer.conf",
        NGINX.format(
            http="server { listen 8080; location / { return 200 ok; } }", main="", connections=512
        ),
    )
    stage.start("nginx", "-c", "/etc/nginx/peer.conf", netns=link.client)
    stage.python(
        "billing.py",
        """
import requests, time
while True:
    try:
        requests.get("http://10.77.0.1:8080/")
    except requests.RequestException:
        pass
    time.sleep(0.1)
""",
        unit="billing.service",
    )


@case(
    Expect(
        "ephemeral_port_pressure", None, r"^nginx\.service$", 8000,
        summary=[r"^nginx\.service: connections from 10\.77\.0\.2 to 10\.77\.0\.1:8000 use"],
        advice=["sysctl -w net.ipv4.tcp_tw_reuse=1"], anywhere=["keepalive in the upstream block"],
    )
)  # fmt: skip
def nginx_closes_its_upstream_first(stage: Stage) -> None:
    """nginx closes what its upstream keeps open, six times a second: TIME_WAIT of 400 ports."""
    stage.sysctl("net.ipv4.ip_local_port_range", "40000 40399")
    link = stage.peer()
    stage.python(
        "orders.py",
        """
import socket, threading, time
server = socket.create_server(("10.77.0.1", 8000), backlog=100)
def serve(connection):
    connection.recv(1000)
    time.sleep(0.1)
    connection.send(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok")
    while connection.recv(1000):
        pass
    connection.close()
while True:
    threading.Thread(target=serve, args=(server.accept()[0],)).start()
""",
        netns=link.client,
    )
    nginx(
        stage,
        "server { listen 8080; location / { proxy_pass http://10.77.0.1:8000; "
        "proxy_http_version 1.1; proxy_set_header Connection ''; } }",
    )
    stage.listening(8080)

    def call() -> None:
        for _ in every(0.16):
            get(8080, 5.0)

    stage.thread(call)
