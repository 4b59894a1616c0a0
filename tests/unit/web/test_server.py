"""The server's bounds, with and without TLS: nobody waits because somebody else is slow."""

import asyncio
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from sockmon.ui.web import tls
from sockmon.ui.web.guard import KNOWN_CLIENT
from sockmon.ui.web.policy import NO_DEMANDS, Policy
from sockmon.ui.web.server import Bounds
from sockmon.ui.web.webconfig import TlsServerConfig, WebConfig
from tests.lab import eventually
from tests.pki import Authority
from tests.unit.web.serving import PATIENCE, REQUEST, Serving, read_to_the_end, serving

SOON, LATE = 0.5, 60.0
FOR_REQUESTS = Bounds(request_seconds=SOON, response_seconds=LATE)  # a client that says nothing
FOR_ANSWERS = Bounds(request_seconds=LATE, response_seconds=SOON)  # a client that takes nothing
TICK = 0.2


class Application:
    """Answers at /, streams without an end at /ticks and /flood."""

    def __init__(self, body: bytes = b"answered") -> None:
        self.body = body
        self.streams = 0
        self.ended = threading.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._response(scope)(scope, receive, send)

    def _response(self, scope: Scope) -> Response:
        if scope["path"] == "/ticks":
            return StreamingResponse(self._stream(b"tick\n", TICK))
        if scope["path"] == "/flood":
            return StreamingResponse(self._stream(bytes(1 << 16), 0.0))
        if scope["path"] == "/known":
            return PlainTextResponse(str(scope["state"].get(KNOWN_CLIENT)))
        return Response(self.body)

    async def _stream(self, part: bytes, pause: float) -> AsyncIterator[bytes]:
        self.streams += 1
        try:
            while True:
                yield part
                await asyncio.sleep(pause)
        finally:
            self.streams -= 1
            self.ended.set()


def asking(path: str) -> bytes:
    return REQUEST.replace(b" / ", f" {path} ".encode(), 1)


def answer(connection: socket.socket, path: str = "/") -> bytes:
    """The answer to one request, by its Content-Length."""
    connection.sendall(asking(path))
    received = b""
    while b"\r\n\r\n" not in received:
        data = connection.recv(1 << 16)
        if not data:
            return received
        received += data
    head, _, body = received.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
    while len(body) < length:
        body += connection.recv(1 << 20)
    return body


@contextmanager
def streams(server: Serving, count: int, path: str = "/ticks") -> Iterator[list[socket.socket]]:
    with ExitStack() as stack:
        opened = []
        for _ in range(count):
            connection = stack.enter_context(server.connect())
            connection.sendall(asking(path))
            seen = b""
            while not seen.partition(b"\r\n\r\n")[2]:
                data = connection.recv(100)
                assert data
                seen += data
            opened.append(connection)
        yield opened


def test_a_stream_lives_as_long_as_its_client_reads() -> None:
    with serving(Application(), FOR_ANSWERS) as server, streams(server, 1) as (stream,):
        ticks = 0
        while ticks < 3.0 / TICK:  # six times what an answer may take
            data = stream.recv(1 << 16)
            assert data
            ticks += data.count(b"tick")


def test_a_stream_ends_when_its_client_stops_reading() -> None:
    application = Application()
    with serving(application, FOR_ANSWERS) as server, streams(server, 1, "/flood"):
        assert application.ended.wait(PATIENCE)
        eventually(lambda: server.connections() == 0)


def test_an_answer_that_nobody_takes_is_cut() -> None:
    with serving(Application(bytes(50 << 20)), FOR_ANSWERS) as server, server.connect() as client:
        client.sendall(REQUEST)
        eventually(lambda: server.connections() == 0, within=PATIENCE)


def test_a_stream_ends_when_its_client_is_gone() -> None:
    application = Application()
    with serving(application, FOR_ANSWERS) as server:
        with streams(server, 1):
            assert application.streams == 1
        assert application.ended.wait(PATIENCE)


def test_an_idle_connection_makes_room_before_a_stream_does() -> None:
    application = Application()
    with (
        serving(application, Bounds(connections=3)) as server,
        streams(server, 2) as (first, second),
        server.connect() as idle,
        server.connect() as newcomer,
    ):
        assert answer(newcomer) == b"answered"
        assert read_to_the_end(idle) == b""
        assert first.recv(100)
        assert second.recv(100)


def test_a_request_is_answered_although_streams_hold_every_connection() -> None:
    application = Application()
    with (
        serving(application, Bounds(connections=3)) as server,
        streams(server, 3),
        server.connect() as newcomer,
    ):
        assert answer(newcomer) == b"answered"
        eventually(lambda: application.streams == 2)


def test_what_is_accepted_neither_waits_for_acknowledgements_nor_for_the_dead() -> None:
    options: list[int] = []

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await PlainTextResponse("")(scope, receive, send)

    with serving(application) as server, server.connect() as connection:
        assert answer(connection) == b""
        (held,) = server.web.server_state.connections
        accepted = held.transport.get_extra_info("socket")
        options += [
            accepted.getsockopt(socket.IPPROTO_TCP, option)
            for option in (socket.TCP_NODELAY, socket.TCP_USER_TIMEOUT)
        ]
    assert options == [1, 30_000]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    made = Authority(tmp_path_factory.mktemp("pki"))
    made.issue("server", "DNS:localhost")
    return made


@pytest.fixture(scope="module")
def certificate(authority: Authority) -> tuple[Path, Path]:
    return authority.issue("client", "DNS:prometheus.example")


Encrypted = Callable[..., Policy]


@pytest.fixture
def encrypted(authority: Authority) -> Encrypted:
    def policy(**options: object) -> Policy:
        directory = authority.certificate.parent
        config = TlsServerConfig(
            cert_file=str(directory / "server.crt"),
            key_file=str(directory / "server.key"),
            **options,  # type: ignore[arg-type]
        )
        return Policy(WebConfig(config), tls.load(config, "web.yml"))

    return policy


@pytest.fixture
def trusting(authority: Authority) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(authority.certificate))


pki = pytest.mark.component("openssl")


@pki
def test_answers_inside_tls_again_and_again(encrypted: Encrypted, trusting: ssl.SSLContext) -> None:
    body = bytes(range(256)) * 20_000
    with serving(Application(body), policy=encrypted()) as server:
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            trusting.maximum_version = version
            with server.connect_tls(trusting) as connection:
                assert [answer(connection) for _ in range(3)] == [body] * 3


@pki
def test_a_request_that_comes_with_the_handshakes_end_is_answered(
    encrypted: Encrypted, trusting: ssl.SSLContext
) -> None:
    with serving(Application(), policy=encrypted()) as server, server.connect() as connection:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = trusting.wrap_bio(incoming, outgoing, server_hostname="localhost")
        finished = False
        while not finished:
            try:
                client.do_handshake()
                finished = True
            except ssl.SSLWantReadError:
                connection.sendall(outgoing.read())
                incoming.write(connection.recv(1 << 16))
        client.write(REQUEST)
        connection.sendall(outgoing.read())
        received = b""
        while b"answered" not in received:
            try:
                received += client.read()
            except ssl.SSLWantReadError:
                data = connection.recv(1 << 16)
                assert data
                incoming.write(data)


def silent(_: socket.socket) -> None:
    pass


def half_a_hello(connection: socket.socket) -> None:
    connection.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100))


def plain_http(connection: socket.socket) -> None:
    connection.sendall(REQUEST)


def garbage(connection: socket.socket) -> None:
    connection.sendall(bytes(range(256)) * 10)


def gone(connection: socket.socket) -> None:
    half_a_hello(connection)
    connection.shutdown(socket.SHUT_WR)


@pki
@pytest.mark.parametrize("begin", [silent, half_a_hello, plain_http, garbage, gone])
def test_who_never_ends_the_handshake_is_closed_and_keeps_nobody_waiting(
    encrypted: Encrypted, trusting: ssl.SSLContext, begin: Callable[[socket.socket], None]
) -> None:
    with ExitStack() as stack:
        server = stack.enter_context(serving(Application(), FOR_REQUESTS, encrypted()))
        held = [stack.enter_context(server.connect()) for _ in range(30)]
        for connection in held:
            begin(connection)
        with server.connect_tls(trusting) as connection:
            assert answer(connection) == b"answered"
        for connection in held:
            assert b"answered" not in read_to_the_end(connection)
        eventually(lambda: server.connections() == 0, within=PATIENCE)


@pki
def test_who_ends_the_handshake_and_says_nothing_is_closed(
    encrypted: Encrypted, trusting: ssl.SSLContext
) -> None:
    with serving(Application(), FOR_REQUESTS, encrypted()) as server:
        with server.connect_tls(trusting) as connection:
            assert read_to_the_end(connection) == b""
        eventually(lambda: server.connections() == 0, within=PATIENCE)


@pki
def test_who_does_not_read_inside_tls_is_cut(
    encrypted: Encrypted, trusting: ssl.SSLContext
) -> None:
    application = Application()
    with (
        serving(application, FOR_ANSWERS, encrypted()) as server,
        server.connect_tls(trusting) as connection,
    ):
        connection.sendall(asking("/flood"))
        assert application.ended.wait(PATIENCE)
        eventually(lambda: server.connections() == 0, within=PATIENCE)


@pki
def test_handshakes_that_hold_every_connection_make_room(
    encrypted: Encrypted, trusting: ssl.SSLContext
) -> None:
    with ExitStack() as stack:
        server = stack.enter_context(serving(Application(), Bounds(connections=3), encrypted()))
        held = [stack.enter_context(server.connect()) for _ in range(20)]
        with server.connect_tls(trusting) as connection:
            assert answer(connection) == b"answered"
            assert server.connections() <= 4
        assert read_to_the_end(held[0]) == b""


@pki
def test_only_a_client_with_a_good_certificate_and_an_allowed_name_is_known(
    encrypted: Encrypted,
    trusting: ssl.SSLContext,
    authority: Authority,
    certificate: tuple[Path, Path],
) -> None:
    optional = {
        "client_auth_type": "VerifyClientCertIfGiven",
        "client_ca_file": str(authority.certificate),
    }
    with serving(Application(), policy=encrypted(**optional)) as server:
        with server.connect_tls(trusting) as connection:
            assert answer(connection, "/known") == b"False"
        trusting.load_cert_chain(*certificate)
        with server.connect_tls(trusting) as connection:
            assert answer(connection, "/known") == b"True"
        required = {**optional, "client_auth_type": "RequireAndVerifyClientCert"}
        for name, known in (("prometheus.example", b"True"), ("grafana.example", b"")):
            server.policy = encrypted(**required, client_allowed_sans=(name,))
            with server.connect_tls(trusting) as connection:
                try:
                    told = answer(connection, "/known")
                except OSError:  # reset in the middle
                    told = b""
                assert told == known


@pki
def test_another_policy_ends_what_was_let_in_before(
    encrypted: Encrypted, trusting: ssl.SSLContext
) -> None:
    application = Application()
    with (
        serving(application, FOR_ANSWERS) as server,
        server.connect() as kept,
        streams(server, 1) as (stream,),
    ):
        assert answer(kept) == b"answered"
        server.policy = encrypted()
        assert read_to_the_end(kept) == b""
        assert read_to_the_end(stream)
        assert application.ended.wait(PATIENCE)
        with server.connect_tls(trusting) as connection:
            assert answer(connection) == b"answered"
            server.policy = NO_DEMANDS
            assert read_to_the_end(connection) == b""
        with server.connect() as plain:
            assert answer(plain) == b"answered"
