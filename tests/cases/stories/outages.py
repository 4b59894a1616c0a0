"""Outages as they are reported: forgotten flows, VRFs, sidecars, userland proxies, hung receivers.

Where they were reported: cockroachdb/cockroach#13823 (15 minutes for a write on an idle connection
that NAT has forgotten), moby/libnetwork#2465 and kubernetes/kubernetes#18354 (a userland proxy
before a server that does not close), istio/istio#39371 (an application behind a sidecar),
fluent/fluent-bit#4373 (one output that hangs).
"""

import contextlib
import socket
import struct
import threading
import time

from tests.cases.case import Expect, case
from tests.cases.stage import Stage, connect, every, listen
from tests.cases.stories.ways import iptables
from tests.lab import Link, eventually

PLAY = r"tests\.cases\.play"
_ABORT = struct.pack("ii", 1, 0)


def echo(server: socket.socket) -> None:
    """Answer each connection what it says."""

    def answer(connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            while got := connection.recv(1000):
                connection.send(got)

    while True:
        threading.Thread(target=answer, args=(server.accept()[0],), daemon=True).start()


def _forgets(stage: Stage, link: Link, port: int) -> None:
    """Let the other host's firewall forget a flow that is idle for 5 s, and drop what it says."""
    iptables(
        stage, f"-A INPUT -p tcp --dport {port} -m conntrack --ctstate INVALID -j DROP", link.client
    )
    link.client.set_sysctl("net.netfilter.nf_conntrack_tcp_loose", "0")
    link.client.set_sysctl("net.netfilter.nf_conntrack_tcp_timeout_established", "5")


@case(
    Expect(
        "dead_peer", "critical", r"^shop\.service$", 5432,
        summary=[r"8 of \d+ established connections", r"10\.77\.0\.1"],
        anywhere=["TCP_USER_TIMEOUT", "answer"],
        never=["lost power"],
    ),
    within=240,
)  # fmt: skip
def nat_forgets_a_pool_in_use(stage: Stage) -> None:
    """NAT forgets an idle pool; its next queries hang, while the connections made since work."""
    link = stage.peer()
    stage.thread(echo, link.client.call(listen, 5432, "10.77.0.1"))
    _forgets(stage, link, 5432)
    stage.python(
        "shop.py",
        """
import socket, threading, time
old = [socket.create_connection(("10.77.0.1", 5432)) for _ in range(8)]
time.sleep(12)
def query(s):
    while True:
        s.send(b"SELECT 1"); s.recv(100); time.sleep(1)
for s in old:
    threading.Thread(target=query, args=(s,)).start()
time.sleep(3)
for _ in range(4):
    threading.Thread(target=query, args=(socket.create_connection(("10.77.0.1", 5432)),)).start()
""",
        unit="shop.service",
    )


@case(
    Expect(
        "connect_stalled", "critical", PLAY, 443, summary=["every connect fails"],
    ),
)  # fmt: skip
def policy_route_of_a_source(stage: Stage) -> None:
    """A rule sends what comes from one address by a dead uplink; others go well."""
    link = stage.peer()
    link.client.ip("addr add 198.51.100.7/32 dev lo")
    link.server.ip(
        "link add far type veth peer name gone", "link set far up", "link set gone up",
        "addr add 10.88.0.2/24 dev far",
        "route add default via 10.88.0.1 table 10", "route add default via 10.77.0.1",
        "rule add from 10.88.0.2 lookup 10",
        "neigh replace 10.88.0.1 lladdr 02:00:00:00:88:01 nud permanent dev far",
    )  # fmt: skip

    def call() -> None:
        while True:
            with contextlib.suppress(OSError):
                socket.create_connection(
                    ("198.51.100.7", 443), timeout=5, source_address=("10.88.0.2", 0)
                )

    for _ in range(6):
        stage.thread(call)


@case(
    Expect("connect_stalled", "critical", PLAY, 8080, summary=["every connect fails"]),
)
def fast_open_to_a_dead_place(stage: Stage) -> None:
    """TCP Fast Open: connect() has returned, and data waits with the SYN that nobody answers."""
    stage.peer().cut()

    def call() -> None:
        while True:
            with contextlib.suppress(OSError), socket.socket() as client:
                client.settimeout(8)
                client.setsockopt(socket.IPPROTO_TCP, 30, 1)  # TCP_FASTOPEN_CONNECT
                client.connect(("10.77.0.1", 8080))
                client.send(b"GET / HTTP/1.1\r\n\r\n")
                client.recv(100)

    for _ in range(6):
        stage.thread(call)


@case(
    Expect("connect_stalled", "critical", r"^shop\.service$", 5432, summary=["every connect fail"]),
    passing=("dead_peer",), settled=40, within=240,
)  # fmt: skip
def user_timeout_ends_a_dead_pool(stage: Stage) -> None:
    """TCP_USER_TIMEOUT of 15 s ends the pool of a lost host; it is then called in vain."""
    link = stage.peer()
    stage.thread(echo, link.client.call(listen, 5432, "10.77.0.1"))
    stage.python(
        "shop.py",
        """
import socket, threading, time
def work():
    while True:
        try:
            with socket.create_connection(("10.77.0.1", 5432), timeout=20) as s:
                s.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 15000)
                s.settimeout(None)
                while True:
                    s.send(b"x"); s.recv(10); time.sleep(0.5)
                    open("/tmp/works", "w").close()
        except OSError: time.sleep(0.5)
for _ in range(6): threading.Thread(target=work).start()
""",
        unit="shop.service",
    )
    eventually((stage.root / "tmp/works").exists)
    link.cut()


@case(
    Expect("connect_stalled", "critical", None, 53, summary=[r"10\.77\.0\.1"]), settled=30,
)  # fmt: skip
def dns_over_tcp_to_a_dead_resolver(stage: Stage) -> None:
    """dig +tcp asks a resolver that is not there, again and again: a process each time."""
    stage.peer().cut()
    stage.start(
        "sh", "-c", "while :; do dig +tcp +time=4 +tries=1 @10.77.0.1 example.com; done",
        unit="resolve.service",
    )  # fmt: skip


@case(
    Expect(
        "close_wait_leak",
        "warning",
        r"^shop\.service$",
        15001,
        summary=["made to port 15001"],
        never=["haproxy"],
    ),
)
def application_leaks_behind_its_sidecar(stage: Stage) -> None:
    """An application leaves each connection to its sidecar open, which that has closed."""
    stage.thread(echo, listen(9000))
    stage.write(
        "/etc/haproxy/haproxy.cfg",
        "defaults\n mode tcp\n timeout client 3s\n timeout server 3s\n timeout connect 3s\n"
        "listen out\n bind 127.0.0.1:15001\n server a 127.0.0.1:9000\n",
    )
    stage.start("haproxy", "-db", "-f", "/etc/haproxy/haproxy.cfg", unit="sidecar.service")
    stage.listening(15001)
    stage.python(
        "shop.py",
        """
import socket, time
kept = []
while True:
    s = socket.create_connection(("127.0.0.1", 15001)); s.send(b"x"); s.recv(10); kept.append(s)
    time.sleep(1)
""",
        unit="shop.service",
    )


_USERLAND_PROXY = """
import socket, threading
def copy(a, b, done):
    try:
        while got := a.recv(65536): b.sendall(got)
        b.shutdown(socket.SHUT_WR)
    except OSError: pass
    done.release()
def serve(a):
    b = socket.create_connection(("10.77.0.1", 80)); done = threading.Semaphore(0)
    for x, y in ((a, b), (b, a)): threading.Thread(target=copy, args=(x, y, done)).start()
    done.acquire(); done.acquire(); a.close(); b.close()
s = socket.create_server(("0.0.0.0", 8080), backlog=100)
while True: threading.Thread(target=serve, args=(s.accept()[0],)).start()
"""


@case(
    Expect(
        "fin_wait2_stuck", "warning", r"^docker\.service$", 80,
        summary=["kept open by their peers"], never=["[Rr]estart docker"],
    ),
    within=240,
)  # fmt: skip
def userland_proxy_of_a_hung_container(stage: Stage) -> None:
    """docker-proxy waits for a server in a container that does not close; its clients have gone."""
    link = stage.peer()
    server = link.client.call(listen, 80, "10.77.0.1", backlog=200)

    def hang() -> None:
        while True:
            stage.keep.append(server.accept())

    stage.thread(hang)
    stage.python("docker-proxy", _USERLAND_PROXY, unit="docker.service")
    stage.listening(8080)

    def clients() -> None:
        for _ in every(1.0, 60):
            with connect(8080) as client:
                client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                client.settimeout(0.5)
                with contextlib.suppress(OSError):
                    client.recv(10)

    stage.child(clients)


@case(
    Expect(
        "accept_queue", "critical", r"^api\.service$", 8080,
        summary=["does not accept on port 8080", "clients of 21 have given up"],
        advice=["Restart api"],
    ),
    within=240,
)  # fmt: skip
def checks_that_reset_fill_a_hung_queue(stage: Stage) -> None:
    """A load balancer's checks give up by RST; the server hangs, and its queue holds only those."""
    link = stage.peer()
    stage.python(
        "api.py",
        """
import socket, time
s = socket.create_server(("10.77.0.2", 8080), backlog=20)
time.sleep(3600)
""",
        unit="api.service",
    )

    def check() -> None:
        for _ in every(2.0):
            with contextlib.suppress(OSError):
                client = socket.create_connection(("10.77.0.2", 8080), timeout=1)
                client.send(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
                time.sleep(1)
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
                client.close()

    stage.thread(link.client.call, check)


@case(watched=150)
def nginx_499_storm(stage: Stage) -> None:
    """15 clients a second give up after 1 s on answers that take 5: nginx closes its upstreams."""
    stage.python(
        "slow.py",
        """
import http.server, time
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        time.sleep(5)
        try: self.send_response(200); self.end_headers(); self.wfile.write(b"ok")
        except OSError: pass
    def log_message(self, *a): pass
class S(http.server.ThreadingHTTPServer): request_queue_size = 200
S(("127.0.0.1", 9000), H).serve_forever()
""",
        unit="orders.service",
    )
    stage.write(
        "/etc/nginx/nginx.conf",
        "daemon off;\nevents {}\nhttp { server { listen 8080;"
        " location / { proxy_pass http://127.0.0.1:9000; } } }\n",
    )
    stage.listening(9000)
    stage.start("nginx", unit="nginx.service")
    stage.listening(8080)

    def ask() -> None:
        with contextlib.suppress(OSError), connect(8080) as client:
            client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            client.settimeout(1)
            client.recv(10)

    def clients() -> None:
        for _ in every(1 / 15):
            threading.Thread(target=ask, daemon=True).start()

    stage.child(clients)


@case(watched=150)
def herd_after_an_outage(stage: Stage) -> None:
    """400 clients lose their server, and all connect again as it comes back: seconds of drops."""
    text = """
import socket, threading, time
s = socket.create_server(("127.0.0.1", 8080), backlog=64)
def hold(c):
    try:
        while c.recv(100): c.send(b"y")
    except OSError: pass
    c.close()
while True:
    c = s.accept()[0]; time.sleep(0.005)
    threading.Thread(target=hold, args=(c,), daemon=True).start()
"""
    first = stage.python("push.py", text, unit="push.service")
    stage.listening(8080)

    def client() -> None:
        while True:
            with contextlib.suppress(OSError), connect(8080) as mine:
                while True:
                    mine.send(b"x")
                    if not mine.recv(10):
                        break
                    time.sleep(2)
            time.sleep(1)

    def clients() -> None:
        for _ in range(400):
            threading.Thread(target=client, daemon=True).start()

    stage.child(clients)
    time.sleep(10)
    first.kill()
    first.wait()
    time.sleep(4)
    stage.python("push.py", text, unit="push.service")


@case(watched=130)
def cron_job_of_many_connections(stage: Stage) -> None:
    """A job opens 3,000 connections, holds them for 50 s, and closes them; then again."""
    text = """
import selectors, socket
s = socket.create_server(("127.0.0.1", 8080), backlog=3000)
wait = selectors.DefaultSelector()
wait.register(s, selectors.EVENT_READ)
while True:
    for key, _ in wait.select():
        if key.fileobj is s:
            wait.register(s.accept()[0], selectors.EVENT_READ)
        elif not key.fileobj.recv(10):
            wait.unregister(key.fileobj)
            key.fileobj.close()
"""
    stage.python("api.py", text, unit="api.service", descriptors=20000)
    stage.listening(8080)
    stage.python(
        "job.py",
        """
import socket, time
while True:
    held = [socket.create_connection(("127.0.0.1", 8080)) for _ in range(3000)]
    time.sleep(50)
    for s in held: s.close()
    time.sleep(10)
""",
        unit="cron.service", descriptors=20000,
    )  # fmt: skip


def _hung_receiver(stage: Stage, link: Link, port: int) -> None:
    server = link.client.call(listen, port, "10.77.0.1")

    def hold() -> None:
        while True:
            stage.keep.append(server.accept())

    stage.thread(hold)


@case(
    says=(r"rsyslog\.service", r"port 514", "does not (read|take)|do not read"),
    watched=170,
)
def log_shipper_with_a_hung_receiver(stage: Stage) -> None:
    """rsyslog's one connection is stuck in sending: the log server has stopped reading."""
    link = stage.peer()
    _hung_receiver(stage, link, 514)
    stage.write(
        "/etc/rsyslog.conf",
        'module(load="imfile")\n'
        'input(type="imfile" File="/tmp/app" Tag="app")\n'
        'action(type="omfwd" Target="10.77.0.1" Port="514" Protocol="tcp")\n',
    )
    stage.write("/tmp/app", "a line of a log, of some length\n" * 400_000)
    stage.start("rsyslogd", "-n", "-i", "/tmp/pid", unit="rsyslog.service")


@case(
    Expect(
        "unsent_data", "warning", r"^billing\.service$", 5672,
        summary=[r"4 (of 4 )?connections made to port 5672 do not read"],
    ),
    within=260,
)  # fmt: skip
def four_of_four_publishers_blocked(stage: Stage) -> None:
    """All four connections to a message broker are blocked: it does not read."""
    link = stage.peer()
    _hung_receiver(stage, link, 5672)
    stage.python(
        "billing.py",
        """
import socket, threading
def publish():
    s = socket.create_connection(("10.77.0.1", 5672))
    while True: s.sendall(bytes(1000))
for _ in range(4): threading.Thread(target=publish).start()
""",
        unit="billing.service",
    )


@case(watched=150)
def stopped_download(stage: Stage) -> None:
    """A user has stopped a download (^Z): nginx waits for one connection, as it should."""
    stage.write("/srv/file", "x" * 30_000_000)
    stage.write(
        "/etc/nginx/nginx.conf",
        "daemon off;\nevents {}\nhttp { send_timeout 600s; server { listen 8080; root /srv; } }\n",
    )
    stage.start("nginx", unit="nginx.service")
    stage.listening(8080)
    link = stage.peer()
    client = link.client.call(connect, 8080, "10.77.0.2")
    client.send(b"GET /file HTTP/1.1\r\nHost: x\r\n\r\n")
    stage.keep.append(client)


@case(
    Expect("dead_peer", "critical", PLAY, 8080, summary=["6 of 6"]), within=260,
)  # fmt: skip
def mptcp_host_lost(stage: Stage) -> None:
    """MPTCP: a pool in use to a host that is lost."""
    link = stage.peer()
    server = link.client.call(listen, 8080, "10.77.0.1", protocol=262)
    held = []
    for _ in range(6):
        held.append(connect(8080, "10.77.0.1", 262))
        stage.keep.append(server.accept())
    for each in held:
        each.send(b"hello")
    time.sleep(1)
    link.cut()
    for each in held:
        each.send(b"query")
    stage.keep.append(held)


@case(watched=170)
def uploads_to_slow_receivers(stage: Stage) -> None:
    """Three uploads whose receivers read 4 KiB every 5 s: the windows are closed nearly always."""
    link = stage.peer()
    server = link.client.call(listen, 8080, "10.77.0.1")

    def read_slowly() -> None:
        held = [server.accept()[0] for _ in range(3)]
        for _ in every(5.0):
            for each in held:
                each.recv(4096)

    stage.thread(read_slowly)
    stage.python(
        "backup.py",
        """
import socket, threading
def upload():
    s = socket.create_connection(("10.77.0.1", 8080))
    while True: s.sendall(bytes(1000))
for _ in range(3): threading.Thread(target=upload).start()
""",
        unit="backup.service",
    )


@case(
    Expect(
        "dead_peer", "critical", r"^shop\.service$", 5432, summary=["8 of 8"],
        anywhere=["TCP_USER_TIMEOUT"],
    ),
    passing=("connect_stalled",), within=240,
)  # fmt: skip
def address_moves_to_a_host_that_drops(stage: Stage) -> None:
    """A failover: the address moves to a host whose firewall drops what it does not know."""
    link = stage.peer()
    stage.thread(echo, link.client.call(listen, 5432, "10.77.0.1"))
    stage.python(
        "shop.py",
        """
import socket, threading, time
def query(s):
    while True:
        s.send(b"SELECT 1"); s.recv(100); open("/tmp/works", "w").close(); time.sleep(1)
for _ in range(8):
    threading.Thread(target=query, args=(socket.create_connection(("10.77.0.1", 5432)),)).start()
""",
        unit="shop.service",
    )
    eventually((stage.root / "tmp/works").exists)
    iptables(stage, "-A INPUT -p tcp --dport 5432 ! --syn -j DROP", link.client)
