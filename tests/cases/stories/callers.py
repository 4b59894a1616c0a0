"""Programs that call what does not answer: proxies, mail, tunnels, pools, replicas."""

import contextlib

from tests.cases.case import Expect, case
from tests.cases.clients import ask_often
from tests.cases.stage import Stage, connect, every
from tests.cases.stories.own_limits import postfix
from tests.cases.stories.programs import NGINX, REDIS, nginx, postgres
from tests.cases.stories.ways import more_addresses


@case(
    Expect(
        "connect_stalled", None, r"^nginx\.service$", 8000,
        summary=[r"nothing answers at 10\.77\.0\.11 port 8000", "every connect fails"],
    ),
    within=240, settled=30,
)  # fmt: skip
def nginx_one_of_two_upstreams_dead(stage: Stage) -> None:
    """nginx tries the dead one of two for 4 s, and leaves it out for 10 s (fail_timeout)."""
    link = stage.peer()
    more_addresses(link, range(10, 12))
    stage.write(
        "/etc/nginx/peer.conf",
        NGINX.format(
            http="server { listen 10.77.0.10:8000; location / { return 200 ok; } }",
            main="",
            connections=512,
        ),
    )
    stage.start("nginx", "-c", "/etc/nginx/peer.conf", netns=link.client)
    stage.start("iptables", "-A", "OUTPUT", "-d", "10.77.0.11", "-j", "DROP")
    nginx(
        stage,
        "upstream app { server 10.77.0.10:8000; server 10.77.0.11:8000; } "
        "server { listen 8080; location / { proxy_pass http://app; proxy_connect_timeout 4s; } }",
    )
    stage.listening(8080)
    ask_often(stage, 8080, 0.5, 10)


@case(
    Expect(
        "connect_stalled", None, r"^haproxy\.service$", 8000,
        summary=[r"nothing answers at 10\.77\.0\.12 port 8000"],
    ),
    within=260, settled=40,
)  # fmt: skip
def haproxy_checks_a_dead_server(stage: Stage) -> None:
    """HAProxy's checks find one of three servers dead, every 2 s, and leave it out."""
    link = stage.peer()
    more_addresses(link, range(10, 13))
    stage.start("iptables", "-A", "OUTPUT", "-d", "10.77.0.12", "-j", "DROP")
    stage.write(
        "/etc/nginx/peer.conf",
        NGINX.format(
            http="server { listen 8000; location / { return 200 ok; } }", main="", connections=512
        ),
    )
    stage.start("nginx", "-c", "/etc/nginx/peer.conf", netns=link.client)
    stage.write(
        "/etc/haproxy/case.cfg",
        """
defaults
  mode http
  timeout connect 1s
  timeout client 10m
  timeout server 10m
frontend front
  bind :8080
  default_backend back
backend back
  option httpchk GET /
  server one 10.77.0.10:8000 check inter 2s
  server two 10.77.0.11:8000 check inter 2s
  server three 10.77.0.12:8000 check inter 2s
""",
    )
    stage.start("haproxy", "-db", "-f", "/etc/haproxy/case.cfg", unit="haproxy.service")
    stage.listening(8080)
    ask_often(stage, 8080, 0.5, 10)


@case(
    Expect(
        "connect_stalled", "critical", r"^postfix@-\.service$", 25,
        summary=[r"nothing answers at \d+ addresses, port 25"],
    ),
    within=260,
)  # fmt: skip
def provider_blocks_port_25(stage: Stage) -> None:
    """A mail server whose provider drops all that goes to port 25."""
    link = stage.peer()
    more_addresses(link, range(10, 22))
    stage.start(
        "iptables", "-A", "OUTPUT", "-p", "tcp", "-d", "10.77.0.0/24", "--dport", "25", "-j", "DROP"
    )
    postfix(
        stage,
        "smtp_connect_timeout=10s",
        "minimal_backoff_time=20s",
        "maximal_backoff_time=40s",
        "queue_run_delay=10s",
    )
    for n in range(10, 22):
        stage.run("sh", "-c", f"echo hello | sendmail -f a@b.test user@[10.77.0.{n}]")


@case(
    Expect(
        "connect_stalled", "critical", r"ssh", 5432,
        summary=[r"nothing answers at 10\.77\.0\.1 port 5432"],
    ),
    within=300,
)  # fmt: skip
def ssh_tunnel_to_a_dead_host(stage: Stage) -> None:
    """ssh -L: what is at the tunnel's other end does not answer; the tunnel itself is well."""
    stage.peer().cut()
    stage.run("ssh-keygen", "-A")
    stage.run(
        "sh",
        "-c",
        "mkdir -p /run/sshd /root/.ssh; ssh-keygen -q -N '' -f /root/.ssh/id_rsa; "
        "cp /root/.ssh/id_rsa.pub /root/.ssh/authorized_keys; chmod 700 /root/.ssh",
    )
    stage.start(
        "/usr/sbin/sshd",
        "-D",
        "-e",
        "-p",
        "2222",
        "-o",
        "UsePAM=no",
        "-o",
        "StrictModes=no",
        unit="ssh.service",
    )
    stage.listening(2222)
    stage.start(
        "ssh",
        "-N",
        "-p",
        "2222",
        "-o",
        "StrictHostKeyChecking=no",
        "-L",
        "15432:10.77.0.1:5432",
        "root@127.0.0.1",
        unit="tunnel.service",
        environment={"HOME": "/root"},
    )
    stage.listening(15432)

    def query() -> None:
        for _ in every(3):
            with contextlib.suppress(OSError), connect(15432) as client:
                client.settimeout(60)
                client.send(bytes(8))
                client.recv(1)

    for _ in range(12):
        stage.thread(query)


@case(
    Expect(
        "connect_stalled", "critical", r"^postgresql@15-main\.service$", 113,
        summary=[r"nothing answers at 10\.77\.0\.1 port 113"],
    ),
    within=260,
)  # fmt: skip
def postgres_asks_ident(stage: Stage) -> None:
    """PostgreSQL asks each client's host who it is (ident, port 113), where a firewall drops."""
    link = stage.peer()
    postgres(stage)
    stage.write("/srv/pg/pg_hba.conf", "host all all 10.77.0.0/24 ident\nlocal all all trust\n")
    stage.run("sh", "-c", "kill -HUP $(head -1 /srv/pg/postmaster.pid)")
    stage.start("iptables", "-A", "OUTPUT", "-p", "tcp", "--dport", "113", "-j", "DROP")
    stage.python(
        "shop.py",
        """
import psycopg2, threading
def run():
    while True:
        try:
            psycopg2.connect(host="10.77.0.2", user="postgres", dbname="postgres")
        except psycopg2.Error:
            pass
for _ in range(8):
    threading.Thread(target=run).start()
""",
        netns=link.client,
    )


@case(
    Expect(
        "connect_stalled", None, r"^redis-server\.service$", 6379,
        summary=[r"nothing answers at 10\.77\.0\.1 port 6379"],
    ),
    settled=40,
)  # fmt: skip
def redis_replica_of_a_dead_primary(stage: Stage) -> None:
    """A replica tries to reach its primary, whose host has gone: a connect of 60 s at a time."""
    stage.peer().cut()
    stage.start(*REDIS, "--replicaof", "10.77.0.1", "6379", unit="redis-server.service")
    stage.listening(6379)


@case(
    Expect(
        "connect_stalled", None, r"^pgbouncer\.service$", 5432,
        summary=[r"nothing answers at 10\.77\.0\.1 port 5432"],
    ),
    settled=40,
)  # fmt: skip
def pgbouncer_database_host_down(stage: Stage) -> None:
    """pgbouncer tries to reach a database, 15 s each time, and pauses; 20 clients wait for it."""
    stage.peer().cut()
    stage.write(
        "/etc/pgbouncer.ini",
        """
[databases]
postgres = host=10.77.0.1 port=5432 dbname=postgres user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = 6432
auth_type = any
default_pool_size = 5
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
    while True:
        try:
            psycopg2.connect(host="127.0.0.1", port=6432, user="postgres", dbname="postgres")
        except psycopg2.Error:
            time.sleep(1)
for _ in range(20):
    threading.Thread(target=run).start()
""",
        unit="shop.service",
    )
