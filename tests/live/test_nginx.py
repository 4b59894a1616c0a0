"""A real nginx before an upstream: with keepalive it uses few ports, without it one a request."""

import http.client
import http.server
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path

import pytest

from sockmon.model.counts import GroupKey
from sockmon.model.states import TcpState
from tests.conftest import component
from tests.lab import PATIENCE, NetNs, eventually
from tests.polling import Polling

pytestmark = [pytest.mark.root, pytest.mark.component("nginx")]

FRONT, UPSTREAM = 18080, 18081
REQUESTS = 60

CONFIG = """
daemon off; master_process off; pid {directory}/pid; error_log {directory}/error.log;
events {{ worker_connections 512; }}
http {{
  access_log off;
  client_body_temp_path {directory}; proxy_temp_path {directory};
  fastcgi_temp_path {directory}; uwsgi_temp_path {directory}; scgi_temp_path {directory};
  upstream backend {{ server 127.0.0.1:{upstream}; {keepalive} }}
  server {{
    listen 127.0.0.1:{front};
    location / {{
      proxy_pass http://backend;
      {connection}
    }}
  }}
}}
"""
WITHOUT_KEEPALIVE = {"keepalive": "", "connection": ""}
WITH_KEEPALIVE = {
    "keepalive": "keepalive 8;",
    "connection": 'proxy_http_version 1.1; proxy_set_header Connection "";',
}


class Upstream(http.server.BaseHTTPRequestHandler):
    """Answers, and leaves it to its client to close."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")
        self.close_connection = False

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        pass


@contextmanager
def upstream(netns: NetNs) -> Iterator[None]:
    server = netns.call(http.server.ThreadingHTTPServer, ("127.0.0.1", UPSTREAM), Upstream)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def nginx(netns: NetNs, directory: Path, settings: dict[str, str]) -> Iterator[None]:
    program = component("nginx")
    assert program is not None
    config = directory / "nginx.conf"
    config.write_text(
        CONFIG.format(directory=directory, front=FRONT, upstream=UPSTREAM, **settings)
    )
    command = [program, "-p", str(directory), "-c", str(config)]
    with (directory / "output").open("wb") as output:
        process = netns.call(subprocess.Popen[bytes], command, stdout=output, stderr=output)
    try:
        yield
    finally:
        process.terminate()
        process.wait(timeout=PATIENCE)


def ask(netns: NetNs, times: int) -> None:
    """Send requests over one kept connection, so that only nginx's own behaviour shows."""

    def inside() -> None:
        front = http.client.HTTPConnection("127.0.0.1", FRONT, timeout=PATIENCE)
        front.connect()
        for _ in range(times):
            front.request("GET", "/")
            answer = front.getresponse()
            assert (answer.status, answer.read()) == (200, b"ok")
        front.close()

    netns.call(inside)


def _listens(netns: NetNs) -> bool:
    with netns.socket() as probe:
        return probe.connect_ex(("127.0.0.1", FRONT)) == 0


@pytest.mark.parametrize(
    ("settings", "grows"),
    [(WITHOUT_KEEPALIVE, True), (WITH_KEEPALIVE, False)],
    ids=["without keepalive", "with keepalive"],
)
def test_ports_towards_the_upstream(
    netns: NetNs, tmp_path: Path, settings: dict[str, str], *, grows: bool
) -> None:
    netns.set_sysctl("net.ipv4.tcp_tw_reuse", 0)
    poller = Polling(netns)
    try:
        with upstream(netns), nginx(netns, tmp_path, settings):
            eventually(lambda: _listens(netns))
            ask(netns, REQUESTS)
            ports = poller.ports()
            towards = {group.key: group.states for group in ports.groups}[
                GroupKey("outbound", UPSTREAM)
            ]
            waiting = towards.get(TcpState.TIME_WAIT, 0)
            if grows:
                assert waiting >= REQUESTS - 1
                assert ports.ephemeral.used_max >= REQUESTS - 1
                assert ports.ephemeral.busiest[0].destination.port == UPSTREAM
            else:
                assert waiting <= 1
                assert towards[TcpState.ESTABLISHED] <= 8
                assert ports.ephemeral.used_max <= 9
    finally:
        poller.close()
