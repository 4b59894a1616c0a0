"""The HTTP client of commands and receivers: every wait and every size has a limit."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import pytest

from sockmon.http import Answer, HttpClient, HttpError
from tests.lab import PATIENCE

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"

#: What one connection's thread does with it, until `over` is set.
Behaviour = Callable[[socket.socket, threading.Event], None]


@contextmanager
def served(*behaviours: Behaviour) -> Iterator[str]:
    """Serve so many connections, one after the other; yields the URL."""
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            for behave in behaviours:
                connection, _ = listener.accept()
                with connection:
                    try:
                        behave(connection, over)
                    except OSError:
                        continue  # the client has had enough

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            over.set()
            thread.join()


def answers(*bodies: bytes) -> Behaviour:
    """Answer so many requests, then close."""

    def behave(connection: socket.socket, _: threading.Event) -> None:
        for body in bodies:
            connection.recv(65536)
            connection.sendall(body)

    return behave


def drips(start: bytes, drop: bytes) -> Behaviour:
    """Send a little again and again, always in time for a timeout of each read."""

    def behave(connection: socket.socket, over: threading.Event) -> None:
        connection.recv(65536)
        connection.sendall(start)
        while not over.wait(0.05):
            connection.sendall(drop)

    return behave


def never_reads(connection: socket.socket, over: threading.Event) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    over.wait()


def get(client: HttpClient, limit: int = 1 << 20) -> Answer:
    return client.request("GET", "/", limit=limit)


def why_not(
    url: str, body: bytes | None = None, limit: int = 1 << 20, within: float = PATIENCE
) -> str:
    with closing(HttpClient(url, within)) as client, pytest.raises(HttpError) as refused:
        client.request("POST", "/secret", body, limit=limit)
    assert "secret" not in str(refused.value)
    return str(refused.value)


def test_a_connection_is_kept() -> None:
    with served(answers(OK, OK)) as url, closing(HttpClient(url, PATIENCE)) as client:
        assert [get(client).body, get(client).body] == [b"hi", b"hi"]


def test_one_that_the_server_has_closed_is_opened_again() -> None:
    with served(answers(OK), answers(OK)) as url, closing(HttpClient(url, PATIENCE)) as client:
        assert [get(client).body, get(client).body] == [b"hi", b"hi"]


def test_but_a_new_one_is_not_tried_twice() -> None:
    with served(answers(b""), answers(OK)) as url:
        assert why_not(url) in (
            "it closed the connection without an answer",
            "Connection reset by peer",
        )
        with closing(HttpClient(url, PATIENCE)) as client:
            assert get(client).status == 200


def test_after_an_error_the_next_request_has_a_connection_of_its_own() -> None:
    banner = answers(b"SSH-2.0\r\n")
    with served(banner, answers(OK)) as url, closing(HttpClient(url, PATIENCE)) as client:
        with pytest.raises(HttpError, match="not HTTP"):
            get(client)
        assert get(client).body == b"hi"


def test_a_body_that_is_not_asked_for_is_not_read() -> None:
    endless = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n"
    with served(drips(endless, b"x")) as url, closing(HttpClient(url, PATIENCE)) as client:
        answer = client.request("GET", "/")
    assert (answer.status, answer.body) == (200, b"")


def test_a_body_larger_than_the_limit_is_refused() -> None:
    body = b"HTTP/1.1 200 OK\r\nContent-Length: 3145728\r\n\r\n" + b"x" * (3 << 20)
    with served(answers(body)) as url:
        assert why_not(url, limit=2 << 20) == "its answer is larger than 2 MiB"


@pytest.mark.parametrize(
    ("start", "drop"),
    [
        (b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
        (b"HTTP/1.1 200 ", b"O"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", b"x"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
    ],
    ids=["headers", "status", "continue", "body", "chunks"],
)
def test_an_answer_that_drips_ends_at_the_deadline(start: bytes, drop: bytes) -> None:
    with served(drips(start, drop)) as url:
        assert why_not(url, within=0.5) == "no complete answer within 0.5 s"


def test_so_does_a_request_that_the_server_does_not_read() -> None:
    with served(never_reads) as url:
        assert why_not(url, b"x" * (32 << 20), within=0.5) == "no complete answer within 0.5 s"


def test_a_server_that_does_not_speak_tls_is_said_to_have_no_answer_in_time() -> None:
    with served(drips(b"", b"")) as at:
        url = at.replace("http:", "https:")
        assert why_not(url, within=0.5) == "no complete answer within 0.5 s"
