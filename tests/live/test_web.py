"""The HTTP side under real clients, good, slow and hostile."""

import contextlib
import gzip
import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as openmetrics_families,
)

from tests.lab import PATIENCE, NetNs, eventually, states
from tests.running import PORT, RunningDaemon, running_daemon

pytestmark = pytest.mark.root


@pytest.fixture
def daemon(netns: NetNs) -> Iterator[RunningDaemon]:
    with running_daemon(netns) as running:
        yield running


def connect(netns: NetNs, host: str = "127.0.0.1") -> socket.socket:
    connection = netns.socket()
    connection.settimeout(PATIENCE)
    connection.connect((host, PORT))
    return connection


def closed_by_the_server(connection: socket.socket) -> bool:
    with contextlib.suppress(ConnectionResetError):
        while connection.recv(65536):
            pass
    return True


def test_speaks_openmetrics_and_gzip_when_asked(daemon: RunningDaemon) -> None:
    accept = {"Accept": "application/openmetrics-text; version=1.0.0", "Accept-Encoding": "gzip"}
    answer = daemon.get("/metrics", accept)
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.headers["content-encoding"] == "gzip"
    text = gzip.decompress(answer.body).decode()
    names = {family.name for family in openmetrics_families(text)}  # type: ignore[no-untyped-call]
    assert {"sockmon_sockets", "sockmon_polls", "process_resident_memory_bytes"} <= names


def test_a_client_cannot_make_up_formats(daemon: RunningDaemon) -> None:
    for version in ("1.0.77", "9", "x"):
        answer = daemon.get(
            "/metrics", {"Accept": f"application/openmetrics-text;version={version}"}
        )
        assert answer.status == 200
        assert version not in answer.headers["content-type"].partition("version=")[2].split(";")[0]


def test_speaks_plain_text_otherwise(daemon: RunningDaemon) -> None:
    answer = daemon.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    assert "content-encoding" not in answer.headers


def test_a_storm_of_scrapes_costs_no_poll(netns: NetNs, tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("poll: {interval: 1h}\n")
    with running_daemon(netns, "--config", str(config)) as daemon:
        for _ in range(300):
            assert daemon.get("/metrics").status == 200
        assert daemon.value("sockmon_polls_total") == 1


def test_health_and_readiness(daemon: RunningDaemon) -> None:
    assert daemon.get("/-/healthy").body == b"sockmon is healthy\n"
    assert daemon.get("/-/ready").body == b"sockmon is ready\n"


def test_unknown_paths_and_methods_are_refused(daemon: RunningDaemon, netns: NetNs) -> None:
    assert daemon.get("/nowhere").status == 404
    with connect(netns) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")
        assert b" 405 " in connection.recv(65536)


def test_the_whole_observation_as_json(daemon: RunningDaemon, netns: NetNs) -> None:
    with states.established(netns, count=5) as held:

        def group() -> dict[str, int] | None:
            host = json.loads(daemon.get("/api/v1/observation").body)["namespaces"][0]
            for found in host["ports"]["groups"]:
                if (found["direction"], found["port"]) == ("inbound", held.port):
                    states_of_group: dict[str, int] = found["states"]
                    return states_of_group
            return None

        assert eventually(group) == {"established": 5, "listen": 1}


def test_one_namespace_of_the_observation(daemon: RunningDaemon) -> None:
    told = json.loads(daemon.get("/api/v1/observation?netns=host").body)
    assert [namespace["netns"] for namespace in told["namespaces"]] == ["host"]
    for query, status, error in (
        ("netns=elsewhere", 404, "netns: there is no network namespace of this name"),
        ("nsten=host", 400, "unknown parameter: expected netns"),
    ):
        answer = daemon.get(f"/api/v1/observation?{query}")
        assert (answer.status, json.loads(answer.body)) == (status, {"error": error})


def test_peers_are_shown_to_loopback_clients_alone(netns: NetNs) -> None:
    netns.ip("addr add 10.77.9.1/32 dev lo")
    with running_daemon(netns, "--web.listen-address", f":{PORT}") as daemon:
        for path in ("/", "/api/v1/observation", "/api/v1/alerts", "/nowhere"):
            answer = daemon.get(path, host="10.77.9.1")
            assert answer.status == 403
            assert answer.body.startswith(b"Only clients on this host")
        for path in ("/metrics", "/-/healthy", "/-/ready"):
            assert daemon.get(path, host="10.77.9.1").status == 200
        for host in ("127.0.0.1", "::1"):
            assert daemon.get("/api/v1/observation", host=host).status == 200
        assert "everyone who can connect may read /metrics" in daemon.log()


def test_peers_are_not_shown_through_a_proxy(daemon: RunningDaemon) -> None:
    for header in ("X-Forwarded-For", "Forwarded", "X-Real-IP"):
        assert daemon.get("/api/v1/observation", {header: "for=192.0.2.1"}).status == 403


def test_no_other_site_is_let_near(daemon: RunningDaemon) -> None:
    for path in ("/metrics", "/api/v1/observation", "/nowhere"):
        headers = daemon.get(path, {"Origin": "https://evil.example"}).headers
        assert headers["content-security-policy"].startswith("default-src 'none';")
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert headers["x-content-type-options"] == "nosniff"
        assert "access-control-allow-origin" not in headers


def test_no_page_of_a_browser_reads_peers_by_rebinding_its_name(daemon: RunningDaemon) -> None:
    for host, status in (("evil.example", 403), ("localhost:10776", 200), ("[::1]", 200)):
        assert daemon.get("/api/v1/observation", {"Host": host}).status == status
    assert daemon.get("/metrics", {"Host": "evil.example"}).status == 200
    assert daemon.get("/metrics/", {"Host": "evil.example"}).status == 403


def test_two_hundred_silent_clients_keep_no_scrape_waiting_and_are_closed(
    daemon: RunningDaemon, netns: NetNs
) -> None:
    with ExitStack() as stack:
        silent = []
        for number in range(200):
            connection = stack.enter_context(connect(netns))
            if number % 2:
                connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: half")
            silent.append(connection)
        assert daemon.get("/metrics").status == 200
        assert all(closed_by_the_server(connection) for connection in silent)


def test_more_connections_than_fit_push_out_the_longest_silent(
    daemon: RunningDaemon, netns: NetNs
) -> None:
    with ExitStack() as stack:
        first = stack.enter_context(connect(netns))
        for _ in range(300):
            stack.enter_context(connect(netns))
        assert closed_by_the_server(first)
        assert daemon.get("/metrics").status == 200


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),  # TLS to a plain port
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"X-Many: 1\r\n" * 20_000 + b"\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nHost: \x00\r\n\r\n",
        b"\r\n\r\n\r\n",
        b"GET /api/../../etc/passwd HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    ],
    ids=["tls", "version", "long-path", "many-headers", "length", "bytes", "empty", "dots"],
)
def test_garbage_harms_nobody(daemon: RunningDaemon, netns: NetNs, garbage: bytes) -> None:
    # The server may hang up in the middle of it.
    with connect(netns) as connection, contextlib.suppress(OSError):
        connection.sendall(garbage)
        connection.shutdown(socket.SHUT_WR)
        closed_by_the_server(connection)
    assert daemon.get("/metrics").status == 200
    assert "Traceback" not in daemon.log()
    assert daemon.stop() == 0


def test_stops_although_clients_hold_connections_open(daemon: RunningDaemon, netns: NetNs) -> None:
    with connect(netns), connect(netns) as slow:
        slow.sendall(b"GET /metrics HTTP/1.1\r\n")
        assert daemon.stop() == 0
