"""TLS, client certificates and passwords with real clients: curl and Prometheus."""

import base64
import http.client
import select
import socket
import ssl
import subprocess
import sys
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from sockmon.web.security.passwords import WAITING_OF_ONE
from tests.lab import PATIENCE, NetNs, eventually, states
from tests.pki import Authority
from tests.running import PORT
from tests.secured import certified, hashed, secured_daemon
from tests.servers import prometheus

pytestmark = [pytest.mark.root, pytest.mark.component("curl"), pytest.mark.component("openssl")]

TLS = """\
tls_server_config:
  cert_file: server.crt
  key_file: server.key
"""
REQUIRE = f"""{TLS}\
  client_auth_type: RequireAndVerifyClientCert
  client_ca_file: authority.crt
"""
ELSEWHERE = "10.77.9.1"  # an address of the namespace that is not loopback
EVERYWHERE = ("--web.listen-address", f":{PORT}")


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return certified(tmp_path)


@pytest.fixture
def trust(authority: Authority) -> tuple[str, str]:
    """curl's option to believe the server."""
    return "--cacert", str(authority.certificate)


@pytest.fixture
def elsewhere(netns: NetNs) -> str:
    netns.ip(f"addr add {ELSEWHERE}/32 dev lo")
    return f"https://{ELSEWHERE}:{PORT}"


def certificate(authority: Authority, name: str, *sans: str) -> tuple[str, ...]:
    """curl's options to show a certificate."""
    made, key = authority.issue(name, *sans)
    return "--cert", str(made), "--key", str(key)


def test_speaks_tls_and_nothing_else(netns: NetNs, tmp_path: Path, trust: tuple[str, str]) -> None:
    with secured_daemon(netns, tmp_path, TLS, *trust) as daemon:
        assert "sockmon_sockets{" in daemon.get("/metrics")
        assert f"serving https://127.0.0.1:{PORT}/" in daemon.log()
        for option in ("--tlsv1.3", "--tls-max=1.2", "--http2", "--http1.0"):
            name, _, value = option.partition("=")
            options = (name, value) if value else (name,)
            assert daemon.curl("/-/ready", *trust, *options).status == 200
        old = ("--tls-max", "1.1", "--ciphers", "DEFAULT:@SECLEVEL=0")
        assert daemon.curl("/-/ready", *trust, *old).exit_status == 35  # could not agree
        assert daemon.curl(f"http://127.0.0.1:{PORT}/-/ready").status == 0
        assert daemon.curl("/-/ready").exit_status == 60  # whom the client does not trust


def test_a_client_certificate_lets_in_and_shows_all(
    netns: NetNs,
    tmp_path: Path,
    authority: Authority,
    trust: tuple[str, str],
    elsewhere: str,
) -> None:
    good = certificate(authority, "prometheus", "DNS:prometheus.example")
    misnamed = certificate(authority, "grafana", "DNS:grafana.example")
    foreign_directory = tmp_path / "foreign"
    foreign_directory.mkdir()
    foreign = certificate(Authority(foreign_directory), "prometheus", "DNS:prometheus.example")
    config = f"{REQUIRE}  client_allowed_sans: [prometheus.example]\n"
    with secured_daemon(netns, tmp_path, config, *trust, *good, arguments=EVERYWHERE) as daemon:
        for path in ("/metrics", "/-/healthy", "/api/v1/observation"):
            assert daemon.curl(elsewhere + path, *trust, *good).status == 200
            for bad in ((), misnamed, foreign):
                refused = daemon.curl(elsewhere + path, *trust, *bad)
                assert (refused.status, refused.exit_status != 0) == (0, True)
        assert "everyone who can connect" not in daemon.log()


def test_a_certificate_if_given_shows_what_others_may_not_see(
    netns: NetNs,
    tmp_path: Path,
    authority: Authority,
    trust: tuple[str, str],
    elsewhere: str,
) -> None:
    good = certificate(authority, "ops", "email:ops@example.com")
    config = REQUIRE.replace("RequireAndVerifyClientCert", "VerifyClientCertIfGiven")
    with secured_daemon(netns, tmp_path, config, *trust, arguments=EVERYWHERE) as daemon:
        assert daemon.curl(f"{elsewhere}/metrics", *trust).status == 200
        assert daemon.curl(f"{elsewhere}/api/v1/observation", *trust).status == 403
        assert daemon.curl(f"{elsewhere}/api/v1/observation", *trust, *good).status == 200
        assert "everyone who can connect may read /metrics" in daemon.log()


def test_where_there_are_users_everything_needs_a_password(
    netns: NetNs, tmp_path: Path, trust: tuple[str, str], elsewhere: str
) -> None:
    config = f"{TLS}basic_auth_users:\n  ops: {hashed('hunter2')}\n  prometheus: {hashed('1:2')}\n"
    ops, machine = ("--user", "ops:hunter2"), ("--user", "prometheus:1:2")
    with secured_daemon(netns, tmp_path, config, *trust, *ops, arguments=EVERYWHERE) as daemon:
        for path in ("/metrics", "/-/healthy", "/-/ready", "/api/v1/alerts", "/nowhere"):
            for url in (path, elsewhere + path):
                assert daemon.curl(url, *trust).status == 401
                assert daemon.curl(url, *trust, "--user", "ops:1:2").status == 401
                assert daemon.curl(url, *trust, "--user", "nobody:hunter2").status == 401
                right = 404 if path == "/nowhere" else 200
                assert daemon.curl(url, *trust, *ops).status == right
        assert daemon.curl("/metrics", *trust, *machine).status == 200
        for path in ("/", "/api/v1/events", "/api/v1/history"):
            assert daemon.curl(path, *trust).status == 401
        challenge = daemon.curl("/metrics", *trust).headers["www-authenticate"]
        assert challenge == ['Basic realm="sockmon", charset="UTF-8"']
        assert "hunter2" not in daemon.log()
        assert "everyone who can connect" not in daemon.log()


def test_certificates_and_users_change_without_a_restart(
    netns: NetNs, tmp_path: Path, authority: Authority, trust: tuple[str, str]
) -> None:
    ops, successor = ("--user", "ops:one"), ("--user", "successor:two")
    before = f"{TLS}basic_auth_users: {{ops: {hashed('one')}}}\n"
    after = f"{TLS}basic_auth_users: {{successor: {hashed('two')}}}\n"
    with secured_daemon(netns, tmp_path, before, *trust, *ops) as daemon:
        pid = daemon.pid
        daemon.web_config.write_text("basic_auth_users: {ops: no hash}\n")  # no TLS, too
        eventually(lambda: daemon.value("sockmon_config_last_reload_successful") == 0)
        log = daemon.log()
        assert f"{daemon.web_config}:1: basic_auth_users.ops: expected a bcrypt hash" in log
        assert "web configuration not reloaded; the previous one stays in use" in log
        assert daemon.curl("/metrics", *trust).status == 401

        daemon.web_config.write_text(after)
        eventually(lambda: daemon.curl("/metrics", *trust, *successor).status == 200)
        assert daemon.curl("/metrics", *trust, *ops).status == 401

        renewed = tmp_path / "renewed"
        renewed.mkdir()
        now_trusted = ("--cacert", str(certified(renewed).certificate))
        for name in ("server.crt", "server.key"):
            (renewed / name).replace(tmp_path / name)
        eventually(lambda: daemon.curl("/metrics", *now_trusted, *successor).status == 200)
        assert daemon.curl("/metrics", *trust, *successor).exit_status == 60
        assert daemon.pid == pid
        assert authority.certificate.exists()
        metrics = daemon.curl("/metrics", *now_trusted, *successor).body
        assert "sockmon_config_last_reload_successful 1" in metrics


def test_configured_headers_are_sent(netns: NetNs, tmp_path: Path, trust: tuple[str, str]) -> None:
    config = f"""{TLS}\
http_server_config:
  http2: true
  headers:
    X-Frame-Options: deny
    Strict-Transport-Security: max-age=31536000; includeSubDomains
    X-XSS-Protection: 1
"""
    with secured_daemon(netns, tmp_path, config, *trust) as daemon:
        headers = daemon.curl("/metrics", *trust, "--http2").headers
        assert headers["x-frame-options"] == ["deny"]
        assert headers["strict-transport-security"] == ["max-age=31536000; includeSubDomains"]
        assert headers["x-xss-protection"] == ["1"]
        assert headers["x-content-type-options"] == ["nosniff"]


def test_the_rate_limit_holds(netns: NetNs, tmp_path: Path) -> None:
    config = "rate_limit: {interval: 1h, burst: 100}\n"
    with secured_daemon(netns, tmp_path, config) as daemon:
        asked = [daemon.curl("/metrics").status for _ in range(101)]
        assert asked[0] == 200
        assert asked[-1] == 429


def test_a_flood_of_wrong_passwords_keeps_no_scrape_waiting(netns: NetNs, tmp_path: Path) -> None:
    # Checking one takes a fifth of a second: this flood could fill twelve.
    config = f"basic_auth_users: {{ops: {hashed('right', cost=12)}}}\n"
    with (
        secured_daemon(netns, tmp_path, config, "--user", "ops:right"),
        ExitStack() as stack,
    ):
        scraper = stack.enter_context(connected(netns))
        assert scrape(scraper, "ops:right") == 200
        flood = [stack.enter_context(connected(netns)) for _ in range(60)]
        for number, connection in enumerate(flood):
            connection.sendall(request(f"ops:wrong{number}"))
        assert [scrape(scraper, "ops:right") for _ in range(5)] == [200] * 5
        answered, _, _ = select.select(flood, [], [], 0)
        assert len(answered) < len(flood)  # the scrapes went before them
        statuses = [connection.recv(65536).split()[1] for connection in flood]
        checked = statuses.count(b"401")
        assert WAITING_OF_ONE <= checked < len(flood) / 2
        assert statuses.count(b"429") == len(flood) - checked


def test_a_scraper_never_seen_is_served_amid_guesses_from_many_addresses(
    netns: NetNs, tmp_path: Path
) -> None:
    config = f"basic_auth_users: {{ops: {hashed('right', cost=10)}}}\n"
    with (
        secured_daemon(netns, tmp_path, config, "--user", "ops:right"),
        ExitStack() as stack,
    ):
        for number in range(160):
            connection = stack.enter_context(connected(netns, f"127.0.1.{number % 40}"))
            connection.sendall(request(f"ops:wrong{number}"))
        scraper = stack.enter_context(connected(netns, "127.0.2.1"))
        assert scrape(scraper, "ops:right ") == 401
        assert scrape(scraper, "ops:right") == 200


def connected(netns: NetNs, source: str = "127.0.0.1") -> socket.socket:
    connection = netns.socket()
    connection.settimeout(PATIENCE)
    connection.bind((source, 0))
    connection.connect(("127.0.0.1", PORT))
    return connection


def request(credentials: str) -> bytes:
    encoded = base64.b64encode(credentials.encode()).decode()
    return f"GET /metrics HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {encoded}\r\n\r\n".encode()


def scrape(connection: socket.socket, credentials: str) -> int:
    """The status of an answer that has come whole."""
    connection.sendall(request(credentials))
    response = http.client.HTTPResponse(connection)
    response.begin()
    response.read()
    return response.status


def test_two_hundred_who_only_connect_keep_no_scrape_waiting_and_are_closed(
    netns: NetNs, tmp_path: Path, authority: Authority, trust: tuple[str, str]
) -> None:
    context = ssl.create_default_context(cafile=str(authority.certificate))
    with secured_daemon(netns, tmp_path, TLS, *trust) as daemon, ExitStack() as stack:
        silent: list[socket.socket] = []
        for number in range(200):
            connection = stack.enter_context(connected(netns))
            if number % 3 == 1:
                connection.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100))
            elif number % 3 == 2:
                connection = context.wrap_socket(connection, server_hostname="localhost")
                stack.enter_context(connection)
                connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: half")
            silent.append(connection)
        assert daemon.get("/metrics")
        for connection in silent:
            with suppress(ConnectionResetError):
                assert connection.recv(65536) == b""
        assert daemon.get("/metrics")


SCRAPE = """
global: {{scrape_interval: 1s}}
scrape_configs:
  - job_name: sockmon
    scheme: https
    basic_auth: {{username: prometheus, password: '{password}'}}
    tls_config:
      ca_file: {directory}/authority.crt
      cert_file: {directory}/prometheus.crt
      key_file: {directory}/prometheus.key
    static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
"""


@pytest.mark.component("prometheus")
def test_a_real_prometheus_scrapes_with_certificate_and_password(
    netns: NetNs, tmp_path: Path, authority: Authority, trust: tuple[str, str]
) -> None:
    own = certificate(authority, "prometheus", "DNS:prometheus.example")
    web_config = f"{REQUIRE}basic_auth_users: {{prometheus: {hashed('secret', cost=10)}}}\n"
    let_in = (*trust, *own, "--user", "prometheus:secret")
    scrape = SCRAPE.format(password="secret", directory=tmp_path, port=PORT)
    data = tmp_path / "prometheus"
    data.mkdir()
    with (
        states.close_wait(netns, count=6),
        secured_daemon(netns, tmp_path, web_config, *let_in),
        prometheus(netns, data, scrape) as server,
    ):
        eventually(lambda: server.query('up{job="sockmon"}'), until=lambda s: 1 in s.values())
        closing = 'sum(sockmon_sockets{state="close_wait"})'
        eventually(lambda: server.query(closing), until=lambda s: 6 in s.values())


@pytest.mark.parametrize(
    ("web_config", "says"),
    [
        (
            "tls_server_config: {cert_file: somefile, key_file: server.key}\n",
            "somefile: No such file",
        ),
        (TLS + "  client_auth_type: RequireAnyClientCert\n", "use RequireAndVerifyClientCert"),
        ("basic_auth_users: {john: doe}\n", "basic_auth_users.john: expected a bcrypt hash"),
        ("tls_server_config: [\n", "not YAML"),
    ],
)
def test_says_in_one_line_why_it_cannot_start(
    netns: NetNs, tmp_path: Path, web_config: str, says: str
) -> None:
    path = tmp_path / "web.yml"
    path.write_text(web_config)
    command = [sys.executable, "-m", "sockmon", "run", "--web.config.file", str(path)]
    ended: subprocess.CompletedProcess[str] = netns.run(command, check=False)
    assert ended.returncode == 2
    assert says in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
