"""Connections that a program forgets: it does not close, read or end them."""

from tests.cases.case import Expect, case
from tests.cases.stage import Stage
from tests.cases.stories.programs import nginx


@case(
    Expect(
        "close_wait_leak", "warning", r"^ftpd\.service$",
        summary=[r"ftpd\.service has not closed \d+ connections", "accepted on"],
        never=["made to"],
    )
)  # fmt: skip
def ftp_server_leaks_data_connections(stage: Stage) -> None:
    """An FTP server that forgets the passive data connections that it has accepted."""
    stage.python(
        "ftpd.py",
        """
import socket, threading
kept = []
def serve(control):
    control.send(b"220 ready\\r\\n")
    for line in control.makefile("r"):
        word = line.split()[0].upper()
        if word == "PASV":
            passive = socket.create_server(("0.0.0.0", 0))
            port = passive.getsockname()[1]
            control.send(b"227 (127,0,0,1,%d,%d)\\r\\n" % divmod(port, 256))
        elif word == "STOR":
            control.send(b"150 go\\r\\n")
            data = passive.accept()[0]
            passive.close()
            while data.recv(65536):
                pass
            kept.append(data)
            control.send(b"226 done\\r\\n")
        else:
            control.send(b"230 fine\\r\\n")
server = socket.create_server(("127.0.0.1", 2121))
while True:
    threading.Thread(target=serve, args=(server.accept()[0],)).start()
""",
        unit="ftpd.service",
    )
    stage.listening(2121)
    stage.python(
        "send.py",
        """
import ftplib, io, time
ftp = ftplib.FTP()
ftp.connect("127.0.0.1", 2121)
ftp.login()
for _ in range(30):
    ftp.storbinary("STOR x", io.BytesIO(bytes(100000)))
time.sleep(3600)
""",
        unit="upload.service",
    )


@case(
    Expect(
        "unread_data", "warning", r"^feeds\.service$", 8080,
        summary=[r"feeds\.service has not read from \d+ connections made to port 8080"],
    ),
    within=260,
)  # fmt: skip
def node_answers_not_consumed(stage: Stage) -> None:
    """Node: http.get() whose answer nobody reads (no resume()): each keeps its connection."""
    nginx(stage, "send_timeout 1h; server { listen 8080; location / { root /srv; } }")
    stage.write("/srv/feed", "x" * 20_000_000)
    stage.listening(8080)
    stage.write(
        "/srv/feeds.js",
        """
const http = require("http");
const kept = [];
setInterval(() => http.get("http://127.0.0.1:8080/feed", answer => kept.push(answer)), 2000);
""",
    )
    stage.start("node", "/srv/feeds.js", unit="feeds.service")


@case(
    Expect(
        "descriptor_pressure", "critical", r"^fetch\.service$",
        summary=[r"of 200 file descriptors|all of its 200"],
    ),
    within=300,
)  # fmt: skip
def go_client_without_timeout(stage: Stage) -> None:
    """Go: http.Get() has no timeout, and the server on another host does not answer any more."""
    link = stage.peer()
    stage.python(
        "app.py",
        """
import socket
server, held = socket.create_server(("10.77.0.1", 8000), backlog=100), []
while True:
    held.append(server.accept()[0])
    held[-1].recv(1000)
""",
        netns=link.client,
    )
    stage.write(
        "/srv/fetch.go",
        """
package main

import ("net/http"; "time")

func main() {
  for {
    go http.Get("http://10.77.0.1:8000/")
    time.Sleep(time.Second)
  }
}
""",
    )
    stage.run(
        "env", "HOME=/tmp", "GO111MODULE=off", "go", "build", "-o", "/srv/fetch", "/srv/fetch.go"
    )
    stage.start("/srv/fetch", unit="fetch.service", descriptors=200)


@case(
    Expect(
        "close_wait_leak", "warning", r"^legacy\.service$", 7000,
        summary=[r"legacy\.service has not closed \d+ connections"],
    ),
    within=260,
)  # fmt: skip
def stunnel_before_a_leak(stage: Stage) -> None:
    """stunnel before a service that never closes what its clients have closed."""
    stage.python(
        "legacy.py",
        """
import socket
server, held = socket.create_server(("127.0.0.1", 7000), backlog=100), []
while True:
    held.append(server.accept()[0])
    held[-1].recv(1000)
    held[-1].send(b"ok")
""",
        unit="legacy.service",
    )
    stage.listening(7000)
    stage.run(
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-subj",
        "/CN=x",
        "-keyout",
        "/tmp/key.pem",
        "-out",
        "/tmp/cert.pem",
    )
    stage.write(
        "/etc/stunnel/case.conf",
        "foreground = yes\npid =\n[a]\naccept = 7443\nconnect = 127.0.0.1:7000\n"
        "cert = /tmp/cert.pem\nkey = /tmp/key.pem\nTIMEOUTclose = 0\n",
    )
    stage.start("stunnel4", "/etc/stunnel/case.conf", unit="stunnel4.service")
    stage.listening(7443)
    stage.python(
        "client.py",
        """
import socket, ssl, time
context = ssl._create_unverified_context()
while True:
    with context.wrap_socket(socket.create_connection(("127.0.0.1", 7443))) as it:
        it.send(b"hello")
        it.recv(100)
    time.sleep(2)
""",
        unit="client.service",
    )
