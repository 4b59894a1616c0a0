"""Real programs that are only busy, or slow by design."""

import os
import signal
import socket
import time

from sockmon.drill.lab.netns import NetNs
from tests.cases.case import case
from tests.cases.clients import ask
from tests.cases.stage import Stage, connect, every, listen
from tests.cases.stories.programs import (
    PG_POOL,
    SLOW_ANSWER,
    ftp_server,
    gunicorn,
    nginx,
    postgres,
)
from tests.lab import eventually

_DOWNLOADS = "server { listen 8080; location / { root /srv; } }"


@case()
def nginx_reload_with_downloads(stage: Stage) -> None:
    """A graceful drain: an old worker goes on for minutes after a reload."""
    master = nginx(stage, _DOWNLOADS, "worker_processes 2;")
    stage.write("/srv/large", "x" * 20_000_000)
    stage.listening(8080)
    _download(stage, 12, "http://127.0.0.1:8080/large", 25_000)

    def reload() -> None:
        for _ in range(3):
            time.sleep(20)
            os.kill(master, signal.SIGHUP)

    stage.thread(reload)


@case()
def nginx_slow_readers(stage: Stage) -> None:
    """15 clients on another host download slowly, 3 kB/s each, but they read."""
    link = stage.peer()
    stage.sysctl("net.ipv4.tcp_wmem", "4096 16384 65536")
    link.client.set_sysctl("net.ipv4.tcp_rmem", "4096 65536 65536")
    nginx(stage, _DOWNLOADS)
    stage.write("/srv/large", "x" * 20_000_000)
    stage.listening(8080)
    _download(stage, 15, "http://10.77.0.2:8080/large", 1_500, netns=link.client)


def _download(stage: Stage, clients: int, url: str, size: int, netns: NetNs | None = None) -> None:
    """Read slowly but steadily, twice a second. (curl --limit-rate reads in bursts.)"""
    text = f"""
import threading, time, urllib.request
def read():
    with urllib.request.urlopen("{url}") as answer:
        while answer.fp.raw.read({size}):
            time.sleep(0.5)
for _ in range({clients}):
    threading.Thread(target=read).start()
"""
    stage.python("download.py", text, netns=netns)


@case()
def postgres_long_queries(stage: Stage) -> None:
    """Twelve queries that run for ten minutes, and their clients that wait."""
    postgres(stage)
    text = PG_POOL.format(host="127.0.0.1", count=12, query="SELECT pg_sleep(600)")
    stage.python("report.py", text, unit="report.service")
    eventually((stage.root / "tmp/connected").exists)


@case(says=("keeps (19|20) .*at rest",))
def postgres_idle_session_timeout(stage: Stage) -> None:
    """A pool whose idle sessions PostgreSQL has ended, with a message that nobody reads."""
    postgres(stage, "idle_session_timeout=10s")
    text = PG_POOL.format(host="127.0.0.1", count=20, query="SELECT 1")
    stage.python("pool.py", text, unit="shop.service")
    eventually((stage.root / "tmp/connected").exists)


@case(says=("20 sockets that the kernel has already closed: no harm if",))
def mariadb_wait_timeout(stage: Stage) -> None:
    """A pool whose idle connections MariaDB has closed after wait_timeout."""
    for directory in ("srv/mysql", "run/mysqld"):
        (stage.root / directory).mkdir(exist_ok=True)
    stage.run("chown", "mysql", "/srv/mysql", "/run/mysqld")
    stage.run(
        "mariadb-install-db", "--no-defaults", "--user=mysql", "--datadir=/srv/mysql",
        "--auth-root-authentication-method=normal", "--skip-test-db",
    )  # fmt: skip
    stage.start(
        "mariadbd", "--no-defaults", "--user=mysql", "--datadir=/srv/mysql", "--port=3306",
        "--bind-address=127.0.0.1", "--wait-timeout=10", "--skip-name-resolve",
        "--innodb-buffer-pool-size=16M", unit="mariadb.service",
    )  # fmt: skip
    stage.listening(3306)
    stage.python(
        "pool.py",
        """
import pymysql, time
pool = [pymysql.connect(host="127.0.0.1", user="root") for _ in range(20)]
for connection in pool:
    connection.cursor().execute("SELECT 1")
open("/tmp/connected", "w").close()
time.sleep(3600)
""",
        unit="shop.service",
    )
    eventually((stage.root / "tmp/connected").exists)


def _pool(stage: Stage, name: str, text: str) -> None:
    """Start nginx that closes idle connections after 5 s, and a client with a pool of 20."""
    nginx(stage, "keepalive_timeout 5; server { listen 8080; location / { return 200 ok; } }")
    stage.listening(8080)
    stage.python(name, text, unit="shop.service")


@case(says=("keeps (19|20) .*at rest",))
def requests_pool(stage: Stage) -> None:
    """requests: a session whose 20 connections the server has closed."""
    _pool(
        stage,
        "shop.py",
        """
import concurrent.futures, requests, requests.adapters, threading, time
session = requests.Session()
session.mount("http://", requests.adapters.HTTPAdapter(pool_maxsize=20))
gate = threading.Barrier(20)
def ask(_):
    with session.get("http://127.0.0.1:8080/", stream=True) as answer:
        gate.wait()
        answer.content
with concurrent.futures.ThreadPoolExecutor(20) as threads:
    list(threads.map(ask, range(20)))
while True:
    time.sleep(15)
    session.get("http://127.0.0.1:8080/")
""",
    )


@case(says=("keeps (19|20) .*at rest",))
def httpx_pool(stage: Stage) -> None:
    """The same with httpx."""
    _pool(
        stage,
        "shop.py",
        """
import concurrent.futures, httpx, threading, time
client = httpx.Client(limits=httpx.Limits(keepalive_expiry=None))
gate = threading.Barrier(20)
def ask(_):
    with client.stream("GET", "http://127.0.0.1:8080/") as answer:
        gate.wait()
        answer.read()
with concurrent.futures.ThreadPoolExecutor(20) as threads:
    list(threads.map(ask, range(20)))
time.sleep(3600)
""",
    )


@case(says=("keeps (19|20) .*at rest",))
def requests_tls_pool(stage: Stage) -> None:
    """requests over TLS: the server's last words are a close alert."""
    stage.run(
        "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=x", "-days", "9",
        "-keyout", "/srv/key", "-out", "/srv/cert",
    )  # fmt: skip
    nginx(
        stage,
        "keepalive_timeout 5; ssl_certificate /srv/cert; ssl_certificate_key /srv/key; "
        "server { listen 8443 ssl; location / { return 200 ok; } }",
    )
    stage.listening(8443)
    stage.python(
        "shop.py",
        """
import concurrent.futures, requests, requests.adapters, threading, time, urllib3
urllib3.disable_warnings()
session = requests.Session()
session.verify = False
session.mount("https://", requests.adapters.HTTPAdapter(pool_maxsize=20))
gate = threading.Barrier(20)
def ask(_):
    with session.get("https://127.0.0.1:8443/", stream=True) as answer:
        gate.wait()
        answer.content
with concurrent.futures.ThreadPoolExecutor(20) as threads:
    list(threads.map(ask, range(20)))
time.sleep(3600)
""",
        unit="shop.service",
    )


@case()
def node_keepalive_agent(stage: Stage) -> None:
    """Node.js with a keep-alive agent: it closes what the server has closed."""
    nginx(stage, "keepalive_timeout 5; server { listen 8080; location / { return 200 ok; } }")
    stage.listening(8080)
    stage.write(
        "/srv/client.js",
        """
const http = require("http");
const agent = new http.Agent({keepAlive: true, maxSockets: 20});
function ask() {
  for (let n = 0; n < 20; n++) http.get("http://127.0.0.1:8080/", {agent}, r => r.resume());
}
ask();
setInterval(ask, 30000);
""",
    )
    stage.start("node", "/srv/client.js", unit="shop.service")


@case()
def websockets_idle(stage: Stage) -> None:
    """30 websockets on which nobody says a word for minutes."""
    stage.python(
        "chat.py",
        """
import asyncio, websockets
async def talk(socket, path=None):
    async for message in socket:
        pass
async def main():
    async with websockets.serve(talk, "127.0.0.1", 8765, ping_interval=None):
        url = "ws://127.0.0.1:8765"
        held = [await websockets.connect(url, ping_interval=None) for _ in range(30)]
        await asyncio.sleep(3600)
asyncio.run(main())
""",
        unit="chat.service",
    )
    stage.listening(8765)


@case()
def long_polling(stage: Stage) -> None:
    """30 clients ask, and get an answer after 70 s; then they ask again."""
    stage.python(
        "news.py",
        """
import asyncio
from aiohttp import web
async def wait(request):
    await asyncio.sleep(70)
    return web.Response(text="nothing new")
app = web.Application()
app.add_routes([web.get("/", wait)])
web.run_app(app, port=8080)
""",
        unit="news.service",
    )
    stage.listening(8080)

    def poll() -> None:
        client = connect(8080)
        while True:
            client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            client.recv(1000)

    for _ in range(30):
        stage.thread(poll)


@case()
def haproxy_checks(stage: Stage) -> None:
    """HAProxy's health checks, ten a second: connect, and a reset instead of a close."""
    nginx(stage, "server { listen 8000; location / { return 200 ok; } }")
    stage.listening(8000)
    servers = "".join(f"  server s{n} 127.0.0.1:8000 check inter 500\n" for n in range(5))
    stage.write(
        "/etc/haproxy/case.cfg",
        f"""
defaults
  mode http
  timeout connect 5s
  timeout client 1m
  timeout server 1m
frontend front
  bind :8080
  default_backend back
backend back
{servers}""",
    )
    stage.start("haproxy", "-db", "-f", "/etc/haproxy/case.cfg", unit="haproxy.service")
    stage.listening(8080)


@case()
def haproxy_queue(stage: Stage) -> None:
    """HAProxy queues 30 clients before a server with maxconn 2, whose answers take long."""
    gunicorn(stage)
    stage.write(
        "/etc/haproxy/case.cfg",
        """
defaults
  mode http
  timeout connect 5s
  timeout queue 30m
  timeout client 30m
  timeout server 30m
frontend front
  bind :8080
  default_backend back
backend back
  server one 127.0.0.1:8000 maxconn 2
""",
    )
    stage.start("haproxy", "-db", "-f", "/etc/haproxy/case.cfg", unit="haproxy.service")
    stage.listening(8080)
    ask(stage, 8080, 30)


@case()
def nginx_worker_connections(stage: Stage) -> None:
    """nginx at its worker_connections accepts and closes at once: no table shows that."""
    nginx(
        stage,
        "server { listen 8080; client_header_timeout 30m; location / { return 200 ok; } }",
        "worker_processes 1;",
        32,
    )
    stage.listening(8080)
    for _ in range(28):
        client = connect(8080)
        client.send(b"POST / HTTP/1.1\r\nHost: x\r\n")
        stage.keep.append(client)

    def call() -> None:
        for _ in every(0.5):
            connect(8080).close()

    stage.thread(call)


@case()
def ftp_passive_transfers(stage: Stage) -> None:
    """20 FTP clients in passive mode, slow transfers one after the other."""
    ftp_server(stage)
    stage.python(
        "mirror.py",
        """
import ftplib, threading, time
def mirror():
    while True:
        ftp = ftplib.FTP()
        ftp.connect("127.0.0.1", 2121)
        ftp.login()
        connection = ftp.transfercmd("RETR large")
        for _ in range(60):
            connection.recv(4096)
            time.sleep(0.5)
        connection.close()
        ftp.close()
for _ in range(20):
    threading.Thread(target=mirror).start()
""",
        unit="mirror.service",
    )


@case()
def gunicorn_reloads(stage: Stage) -> None:
    """A server under load that is reloaded every 20 s."""
    stage.write(
        "/srv/fast.py",
        "def app(environ, start_response):\n    start_response('200 OK', [])\n    return [b'ok']\n",
    )
    master = stage.start(
        "gunicorn", "--chdir", "/srv", "--workers", "3", "--bind", "127.0.0.1:8000", "fast:app",
        unit="fast.service",
    )  # fmt: skip
    stage.listening(8000)

    def call() -> None:
        for _ in every(0.1):
            client = connect(8000)
            client.send(b"GET / HTTP/1.0\r\n\r\n")
            client.recv(1000)
            client.close()

    def reload() -> None:
        for _ in every(20):
            os.kill(master.pid, signal.SIGHUP)

    stage.thread(call)
    stage.thread(reload)


@case()
def refused_connects(stage: Stage) -> None:
    """A service that is down: each connect is refused at once, which its client sees itself."""
    for _ in range(4):
        stage.start("sh", "-c", "while :; do curl -s http://127.0.0.1:9999/; sleep 0.2; done")


@case(watched=120)
def load_generators(stage: Stage) -> None:
    """wrk and ab ask nginx on this host as fast as they can, and iperf3 sends: all is well."""
    nginx(stage, "server { listen 8080; location / { return 200 ok; } }", "worker_processes 2;")
    stage.listening(8080)
    url = "http://127.0.0.1:8080/"
    stage.start("wrk", "-t1", "-c50", "-d400s", url)
    stage.start("sh", "-c", f"while :; do ab -q -n 2000 -c 20 {url}; sleep 1; done")
    stage.start("iperf3", "-s", "-p", "5201")
    stage.listening(5201)
    stage.start("sh", "-c", "sleep 1; iperf3 -c 127.0.0.1 -p 5201 -P 4 -b 10M -t 400")


@case(watched=120)
def pgbench_connects(stage: Stage) -> None:
    """pgbench -C: a connection for each transaction, on loopback, where ports are taken over."""
    postgres(stage)
    pgbench = "/usr/lib/postgresql/15/bin/pgbench"
    where = ("-U", "postgres", "-h", "127.0.0.1", "postgres")
    stage.run(pgbench, "-i", *where)
    stage.start(pgbench, "-C", "-c", "4", "-T", "400", "-S", *where, unit="bench.service")


@case(watched=120)
def proxy_without_upstream_keepalive(stage: Stage) -> None:
    """nginx before gunicorn: a new connection to the application for each request, under load."""
    gunicorn(stage, text=f"def app(environ, start_response):\n{SLOW_ANSWER}")
    nginx(stage, "server { listen 8080; location / { proxy_pass http://127.0.0.1:8000; } }")
    stage.listening(8080)
    ask_again = "while :; do ab -q -k -n 1000 -c 10 http://127.0.0.1:8080/; sleep 0.5; done"
    stage.start("sh", "-c", ask_again)


@case(watched=120)
def haproxy_with_a_source(stage: Stage) -> None:
    """HAProxy has a source address, and 200 connections to four servers: no port is lost."""
    stage.sysctl("net.ipv4.ip_local_port_range", "40000 40249")
    for n in range(1, 5):
        stage.thread(_keep_all, stage, listen(9000, f"127.0.3.{n}", backlog=300))
    servers = "".join(f"  server s{n} 127.0.3.{n}:9000 source 127.0.0.9\n" for n in range(1, 5))
    stage.write(
        "/etc/haproxy/case.cfg",
        f"""
defaults
  mode tcp
  timeout connect 5s
  timeout client 30m
  timeout server 30m
frontend front
  bind :8080
  default_backend back
backend back
{servers}""",
    )
    stage.start("haproxy", "-db", "-f", "/etc/haproxy/case.cfg", unit="haproxy.service")
    stage.listening(8080)
    link = stage.peer()
    for _ in range(200):
        stage.keep.append(link.client.call(connect, 8080, "10.77.0.2"))


def _keep_all(stage: Stage, server: socket.socket) -> None:
    while True:
        stage.keep.append(server.accept())


@case(watched=120)
def dns_forwarder(stage: Stage) -> None:
    """dnsmasq asks a server 50 ms away for each name: a socket and a port for each question."""
    stage.python(
        "names.py",
        """
import socket, threading
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("127.0.0.5", 53))
while True:
    question, client = server.recvfrom(2000)
    answer = question[:2] + b"\\x81\\x83" + question[4:]
    threading.Timer(0.05, server.sendto, (answer, client)).start()
""",
    )
    stage.start(
        "dnsmasq", "-k", "-u", "root", "--no-resolv", "--no-hosts", "--server=127.0.0.5",
        "--port=5353", "--cache-size=0", "--pid-file=/tmp/dnsmasq.pid", unit="dnsmasq.service",
    )  # fmt: skip
    ask = "dig +tries=1 +time=1 @127.0.0.1 -p 5353 x$n.example.org >/dev/null &"
    stage.start("sh", "-c", f"while :; do for n in 1 2 3 4 5 6 7 8; do {ask} done; wait; done")


@case(watched=120)
def ftp_active(stage: Stage) -> None:
    """Active FTP: five transfers a second from port 20 to ports of the client, each a new one."""
    link = stage.peer()

    def transfer() -> None:
        for _ in every(0.2):
            listener = link.client.call(listen, 0, "10.77.0.1")
            with socket.socket() as data:
                data.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                data.bind(("10.77.0.2", 20))
                data.connect(listener.getsockname())
                client = listener.accept()[0]
                data.send(bytes(1000))
            client.close()
            listener.close()

    stage.thread(transfer)
