"""Real programs whose connections rest, are slow by design, or are turned away: all are well."""

import contextlib
import threading
import time

from tests.cases.case import case
from tests.cases.clients import get
from tests.cases.stage import Stage, connect, every
from tests.cases.stories.programs import NGINX, REDIS, nginx
from tests.lab import eventually

OK_NODE = """
require("http").createServer((q, a) => a.end("ok")).listen(%d, "0.0.0.0", 511);
"""


@case()
def mqtt_clients_idle(stage: Stage) -> None:
    """mosquitto, and 40 clients of which each says PINGREQ every 30 s, and half subscribe."""
    stage.write("/etc/mosquitto/case.conf", "listener 1883 0.0.0.0\nallow_anonymous true\n")
    stage.start("mosquitto", "-c", "/etc/mosquitto/case.conf", unit="mosquitto.service")
    stage.listening(1883)

    def client(n: int) -> None:
        with connect(1883) as it:
            name = b"c%02d" % n
            it.send(b"\x10\x0f\x00\x04MQTT\x04\x02\x00\x3c\x00\x03" + name)
            it.recv(100)
            if n % 2:
                it.send(b"\x82\x06\x00\x01\x00\x01a\x00")
                it.recv(100)
            for _ in every(30):
                it.send(b"\xc0\x00")
                it.recv(100)

    for n in range(40):
        stage.thread(client, n)


@case()
def apache_proxy_pool_at_rest(stage: Stage) -> None:
    """mod_proxy keeps a connection for each child, and Node closes it after 5 s of rest."""
    stage.write("/srv/app.js", OK_NODE % 8000)
    stage.start("node", "/srv/app.js", unit="app.service")
    stage.listening(8000)
    stage.write(
        "/etc/apache2/case.conf",
        """
ServerRoot /usr/lib/apache2
PidFile /tmp/apache.pid
ErrorLog /tmp/apache-error.log
Listen 8080
ServerName x
LoadModule mpm_prefork_module modules/mod_mpm_prefork.so
LoadModule authz_core_module modules/mod_authz_core.so
LoadModule proxy_module modules/mod_proxy.so
LoadModule proxy_http_module modules/mod_proxy_http.so
StartServers 25
MinSpareServers 25
MaxSpareServers 40
User www-data
KeepAlive Off
ProxyPass / http://127.0.0.1:8000/ keepalive=On
""",
    )
    stage.start("apache2", "-f", "/etc/apache2/case.conf", "-DFOREGROUND", unit="apache2.service")
    stage.listening(8080)

    def bursts() -> None:
        for _ in every(20):
            threads = [threading.Thread(target=get, args=(8080, 30.0)) for _ in range(60)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

    stage.thread(bursts)


@case()
def node_keep_alive_behind_nginx(stage: Stage) -> None:
    """nginx keeps 32 connections to Node, which closes each after 5 s; requests come in waves."""
    stage.write("/srv/app.js", OK_NODE % 8000)
    stage.start("node", "/srv/app.js", unit="app.service")
    stage.listening(8000)
    nginx(
        stage,
        "upstream app { server 127.0.0.1:8000; keepalive 32; } server { listen 8080; location / { "
        "proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection ''; } }",
    )
    stage.listening(8080)

    def waves() -> None:
        for _ in every(7):
            for _ in range(60):
                threading.Thread(target=get, args=(8080, 30.0), daemon=True).start()

    stage.thread(waves)


@case()
def downloads_with_a_rate_limit(stage: Stage) -> None:
    """curl --limit-rate: 15 downloads on this host, which read a little every few seconds."""
    nginx(stage, "send_timeout 1h; server { listen 8080; location / { root /srv; } }")
    stage.run("truncate", "-s", "2G", "/srv/large")
    stage.listening(8080)
    for _ in range(15):
        stage.start(
            "curl",
            "-s",
            "-o",
            "/dev/null",
            "--limit-rate",
            "500k",
            "http://127.0.0.1:8080/large",
            unit="backup.service",
        )


@case()
def redis_at_maxclients(stage: Stage) -> None:
    """Redis at maxclients answers with an error and closes; clients of a pool try again."""
    stage.start(*REDIS, "--maxclients", "20", unit="redis-server.service")
    stage.listening(6379)

    def hold() -> None:
        while True:
            with contextlib.suppress(OSError), connect(6379) as client:
                client.send(b"PING\r\n")
                while b"PONG" in client.recv(100):
                    time.sleep(5)
                    client.send(b"PING\r\n")
            time.sleep(0.5)

    for _ in range(40):
        stage.thread(hold)


@case()
def go_max_idle_conns(stage: Stage) -> None:
    """Go keeps two idle connections for each host, and twenty workers ask all the time."""
    nginx(stage, "server { listen 8080; location / { return 200 ok; } }")
    stage.listening(8080)
    stage.write(
        "/srv/work.go",
        """
package main

import ("io"; "net/http"; "time")

func main() {
  for n := 0; n < 20; n++ {
    go func() {
      for {
        answer, err := http.Get("http://127.0.0.1:8080/")
        if err == nil { io.Copy(io.Discard, answer.Body); answer.Body.Close() }
        time.Sleep(300 * time.Millisecond)
      }
    }()
  }
  select {}
}
""",
    )
    stage.run(
        "env", "HOME=/tmp", "GO111MODULE=off", "go", "build", "-o", "/srv/work", "/srv/work.go"
    )
    stage.start("/srv/work", unit="work.service")


@case()
def squid_tunnels_idle(stage: Stage) -> None:
    """Squid with 30 CONNECT tunnels on which nothing is said."""
    stage.write("/srv/app.js", 'require("net").createServer(s => s.write("hi")).listen(9443);\n')
    stage.start("node", "/srv/app.js", unit="app.service")
    stage.listening(9443)
    stage.write(
        "/etc/squid/case.conf",
        "http_port 3128\nhttp_access allow all\npid_filename none\n"
        "cache_log /tmp/squid.log\naccess_log none\ncache deny all\nshutdown_lifetime 0\n",
    )
    stage.start("squid", "-N", "-f", "/etc/squid/case.conf", unit="squid.service")
    stage.listening(3128)
    for _ in range(30):
        client = connect(3128)
        client.send(b"CONNECT 127.0.0.1:9443 HTTP/1.1\r\n\r\n")
        while not client.recv(100).endswith(b"hi"):
            pass
        stage.keep.append(client)


@case()
def broken_ipv6_beside_ipv4(stage: Stage) -> None:
    """A name with an IPv6 address that does not answer: curl goes on by IPv4 after 200 ms."""
    link = stage.peer()
    stage.write("/etc/hosts", "127.0.0.1 localhost\nfd77::1 api.test\n10.77.0.1 api.test\n")
    stage.start("ip6tables", "-A", "OUTPUT", "-p", "tcp", "-j", "DROP")
    stage.write(
        "/etc/nginx/peer.conf",
        NGINX.format(
            http="server { listen 8080; location / { return 200 ok; } }", main="", connections=512
        ),
    )
    stage.start("nginx", "-c", "/etc/nginx/peer.conf", netns=link.client)
    stage.start(
        "sh",
        "-c",
        "while :; do curl -s -o /dev/null http://api.test:8080/; sleep 0.2; done",
        unit="sync.service",
    )


@case()
def celery_workers_idle(stage: Stage) -> None:
    """Celery's workers wait for jobs in Redis (BRPOP), for minutes."""
    stage.start(*REDIS, unit="redis-server.service")
    stage.listening(6379)
    stage.write("/srv/jobs.py", "import celery\napp = celery.Celery(broker='redis://127.0.0.1')\n")
    for n in range(3):
        stage.start(
            "python3", "-m", "celery", "--workdir", "/srv", "-A", "jobs", "worker", "-c", "2",
            "-n", f"w{n}", unit="celery.service", environment={"C_FORCE_ROOT": "1"},
        )  # fmt: skip

    def clients() -> int:
        with connect(6379) as client:
            client.send(b"INFO clients\r\n")
            return int(client.recv(4000).partition(b"connected_clients:")[2].split()[0])

    eventually(clients, until=lambda number: number > 6, within=180)
