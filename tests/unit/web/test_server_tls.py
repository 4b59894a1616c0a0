"""The server's bounds inside TLS: handshakes keep nobody waiting either."""

import socket
import ssl
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from sockmon.web.security import tls
from sockmon.web.security.policy import NO_DEMANDS, Policy
from sockmon.web.security.web_config import TlsServerConfig, WebConfig
from sockmon.web.server import Bounds
from tests.lab import PATIENCE, eventually
from tests.pki import Authority
from tests.unit.web.serving import (
    FOR_ANSWERS,
    FOR_REQUESTS,
    REQUEST,
    Application,
    answer,
    asking,
    read_to_the_end,
    serving,
    streams,
)

pytestmark = pytest.mark.component("openssl")


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


def test_answers_inside_tls_again_and_again(encrypted: Encrypted, trusting: ssl.SSLContext) -> None:
    body = bytes(range(256)) * 20_000
    with serving(Application(body), policy=encrypted()) as server:
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            trusting.maximum_version = version
            with server.connect_tls(trusting) as connection:
                assert [answer(connection) for _ in range(3)] == [body] * 3


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
        eventually(lambda: server.connections() == 0)


def test_who_ends_the_handshake_and_says_nothing_is_closed(
    encrypted: Encrypted, trusting: ssl.SSLContext
) -> None:
    with serving(Application(), FOR_REQUESTS, encrypted()) as server:
        with server.connect_tls(trusting) as connection:
            assert read_to_the_end(connection) == b""
        eventually(lambda: server.connections() == 0)


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
        eventually(lambda: server.connections() == 0)


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
