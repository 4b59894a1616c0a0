"""One POST against real servers, good and bad: bounded in time, and without a secret told."""

import base64
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from sockmon.alert.notify.post import post
from sockmon.alert.notify.receiver import DeliveryError, RejectedError
from sockmon.alert.settings import Authorization, BasicAuth, HttpSettings, TlsConfig
from tests.lab import PATIENCE
from tests.pki import Authority
from tests.unit.alert.hooks import hook, talker

PATIENT, QUICK = HttpSettings(timeout=PATIENCE), HttpSettings(timeout=0.5)


def why_not(url: str, settings: HttpSettings = PATIENT) -> str:
    with pytest.raises(DeliveryError) as caught:
        post(url, b"{}", settings)
    text = str(caught.value)
    assert "hunter2" not in text
    assert "secret-path" not in text
    assert text.isprintable()
    return text


def test_posts_json() -> None:
    with hook() as server:
        post(server.url + "?a=1", b'{"x": 1}', PATIENT)
    assert server.bodies == [{"x": 1}]
    assert server.asked[0]["path"] == "/hook?a=1"
    assert server.asked[0]["Content-Type"] == "application/json"
    assert server.asked[0]["User-Agent"].startswith("sockmon/")


@pytest.mark.parametrize("status", [200, 202, 204, 299])
def test_any_2xx_will_do(status: int) -> None:
    with hook(status=status) as server:
        post(server.url, b"{}", PATIENT)


@pytest.mark.parametrize(
    ("status", "error", "says"),
    [
        (400, RejectedError, "answered 400 Bad Request"),
        (401, RejectedError, "answered 401 Unauthorized"),
        (408, DeliveryError, "answered 408 Request Timeout"),
        (429, DeliveryError, "answered 429 Too Many Requests"),
        (500, DeliveryError, "answered 500 Internal Server Error"),
        (599, DeliveryError, "answered 599"),
    ],
)
def test_other_answers_are_errors(status: int, error: type[DeliveryError], says: str) -> None:
    with hook(status=status) as server, pytest.raises(DeliveryError) as caught:
        post(server.url, b"{}", PATIENT)
    assert type(caught.value) is error
    assert str(caught.value) == says


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed_but_told(status: int) -> None:
    with hook() as other, hook(status=status) as server:
        server.headers = {"Location": other.url + "?key=hunter2"}
        origin = other.url.removesuffix("/hook")
        assert why_not(server.url) == f"redirects ({status}) to {origin}: not followed"
    assert other.asked == []


@pytest.mark.parametrize("location", ["/elsewhere?key=hunter2", "http://[hunter2", ""])
def test_a_redirect_to_nowhere_in_particular_is_told_too(location: str) -> None:
    with hook(status=302, headers={"Location": location}) as server:
        assert why_not(server.url) == "redirects (302) to another address: not followed"


def test_a_proxy_of_the_environment_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    with hook() as proxy, hook() as server:
        monkeypatch.setenv("http_proxy", proxy.url)
        post(server.url, b"{}", PATIENT)
    assert (len(proxy.asked), len(server.asked)) == (0, 1)


def test_a_dead_server_is_told() -> None:
    with hook() as server:
        pass
    assert why_not(server.url) == "cannot connect: Connection refused"


def test_a_name_that_does_not_exist_is_told() -> None:
    assert why_not("http://nowhere.invalid/").startswith("cannot connect: ")
    assert why_not(f"http://{'a' * 64}.invalid/").startswith("cannot connect: ")


def test_a_server_that_takes_too_long_is_left() -> None:
    with hook(delay=2.0) as server:
        assert why_not(server.url, QUICK) == "no complete answer within 0.5 s"


@pytest.mark.parametrize(
    "words",
    [
        [b"HTTP/1.1 200 OK\r\n", *[b"X: y\r\n"] * 90],  # headers without end
        [bytes([byte]) for byte in b"HTTP/1.1 200 " + b"O" * 100],
        [b"HTTP/1.1 100 Continue\r\n\r\n"] * 100,
    ],
    ids=["headers", "status", "continue"],
)
def test_a_server_that_drips_is_left(words: list[bytes]) -> None:
    with talker(*words, every=0.1) as url:
        assert why_not(url, QUICK) == "no complete answer within 0.5 s"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([b""], "it closed the connection without an answer"),
        ([b"220 smtp.example ESMTP hunter2\r\n"], "its answer is not HTTP (BadStatusLine)"),
        ([b"HTTP/1.1 200 OK\r\n" + b"X: " + b"y" * 70_000], "its answer is not HTTP (LineTooLong)"),
        ([b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200], "its answer is not HTTP (HTTPException)"),
    ],
)
def test_what_is_not_http_is_told_without_repeating_it(words: list[bytes], says: str) -> None:
    with talker(*words) as url:
        assert why_not(url) in (says, "Connection reset by peer")


def with_token(path: Path, scheme: str = "Bearer") -> HttpSettings:
    return HttpSettings(timeout=PATIENCE, authorization=Authorization(str(path), scheme))


def test_secrets_are_read_again_at_each_use(tmp_path: Path) -> None:
    token = tmp_path / "token"
    with hook() as server:
        for secret in ("first", "second\n"):
            token.write_text(secret)
            post(server.url, b"{}", with_token(token, "Token"))
    assert [asked["Authorization"] for asked in server.asked] == ["Token first", "Token second"]


def test_basic_authentication(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("hünter2:\n")
    settings = HttpSettings(
        timeout=PATIENCE, basic_auth=BasicAuth("sockmon", str(tmp_path / "password"))
    )
    with hook() as server:
        post(server.url, b"{}", settings)
    pair = base64.b64decode(server.asked[0]["Authorization"].removeprefix("Basic "))
    assert pair == "sockmon:hünter2:".encode()


@pytest.mark.parametrize(
    ("secret", "says"),
    [
        (b"", "empty"),
        (b"\n", "empty"),
        (b"hunter2\r\nX-Evil: 1", "not one line of printable ASCII"),
        (b"hunter2\xff", "not one line of printable ASCII"),
        (b"hunter2" * 10_000, "too long for a secret"),
    ],
)
def test_a_secret_that_cannot_be_sent_is_not_told(tmp_path: Path, secret: bytes, says: str) -> None:
    (tmp_path / "token").write_bytes(secret)
    with hook() as server:
        assert says in why_not(server.url, with_token(tmp_path / "token"))
    assert server.asked == []


def test_a_secret_that_is_not_there_is_told(tmp_path: Path) -> None:
    path = tmp_path / "token"
    says = f"credentials_file: {path}: No such file or directory"
    assert why_not("http://127.0.0.1:1/", with_token(path)) == says


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """One that lacks what Python 3.13 demands by default, as many in use do."""
    return Authority(tmp_path_factory.mktemp("tls"), home_made=True)


@pytest.fixture(scope="module")
def certificate(authority: Authority) -> Path:
    return authority.certificate


@pytest.fixture
def port(authority: Authority) -> Iterator[int]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    class Server(HTTPServer):
        def handle_error(self, request: object, client_address: object) -> None:
            pass

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue("server", "DNS:localhost"))
    with Server(("127.0.0.1", 0), Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def test_a_trusted_certificate_will_do(certificate: Path, port: int) -> None:
    settings = HttpSettings(timeout=PATIENCE, tls_config=TlsConfig(ca_file=str(certificate)))
    post(f"https://localhost:{port}/", b"{}", settings)


def test_an_unknown_certificate_is_refused(port: int) -> None:
    says = why_not(f"https://localhost:{port}/")
    assert says.startswith("its certificate is not trusted: unable to get local issuer")


def test_another_hosts_certificate_is_refused(certificate: Path, port: int) -> None:
    settings = HttpSettings(timeout=PATIENCE, tls_config=TlsConfig(ca_file=str(certificate)))
    says = why_not(f"https://127.0.0.1:{port}/", settings)
    assert says.startswith("its certificate is not trusted: ")


def test_a_ca_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    settings = HttpSettings(tls_config=TlsConfig(ca_file=str(tmp_path / "none")))
    assert why_not("https://localhost/", settings) == "tls_config: No such file or directory"


def test_a_handshake_that_drips_is_left() -> None:
    with talker(b"\x16\x03\x03\x40\x00", *[b"\x02"] * 100, every=0.1) as url:
        assert why_not(url.replace("http:", "https:"), QUICK) == "no complete answer within 0.5 s"
