"""The server's bounds: nobody waits because somebody else is slow."""

import asyncio
import fcntl
import gc
import os
import resource
import socket
import sys
import termios
import time
from contextlib import ExitStack, suppress

import pytest
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from sockmon.web.server import Bounds, bounds_for
from tests.lab import PATIENCE, eventually
from tests.unit.web.serving import (
    FOR_ANSWERS,
    FOR_REQUESTS,
    REQUEST,
    TICK,
    Application,
    answer,
    read_to_the_end,
    serving,
    streams,
)

CHUNKED = REQUEST[:-2] + b"Transfer-Encoding: chunked\r\n\r\n"


async def broken(_scope: Scope, _receive: Receive, _send: Send) -> None:
    raise LookupError("a mistake of ours")


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
        eventually(lambda: server.connections() == 0)


def test_a_mistake_of_ours_is_logged_and_strangers_nonsense_is_not(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with serving(broken) as server:
        for request in (b"nonsense\r\n\r\n", REQUEST):
            with server.connect() as client:
                client.sendall(request)
                client.shutdown(socket.SHUT_WR)
                read_to_the_end(client)
    (record,) = caplog.records
    assert record.exc_info is not None
    assert str(record.exc_info[1]) == "a mistake of ours"


@pytest.mark.parametrize(
    "spoken",
    [
        [b"nonsense\r\n\r\n"],
        [REQUEST, b"nonsense\r\n\r\n"],
        [REQUEST + b"nonsense\r\n\r\n"],
        [CHUNKED, b"zz\r\n"],
        [CHUNKED + b"zz\r\n"],
        [CHUNKED + b"1\r\nxyz\r\n"],
        [CHUNKED, b"0\r\n\r\nnonsense\r\n\r\n"],
        [REQUEST[:-2] + b"Content-Length: 5\r\n\r\n", b"0123456789\r\n\r\n"],
        [REQUEST[:-2] + b"Content-Length: 5\r\n\r\n" + b"0123456789\r\n\r\n"],
        [REQUEST[:-2] + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n"],
        [REQUEST[:-2] + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n", b"\0" * 99],
        [REQUEST[:-2] + b"Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n", b"\xff" * 99],
        [b"GET /ticks HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", b"zz\r\n"],
        [b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n", b"zz\r\n\r\n"],
        [b"CONNECT / HTTP/1.1\r\nHost: x\r\n\r\n", b"zz\r\n\r\n"],
        [b"GET / HTTP/1.0\r\n\r\n", b"zz\r\n\r\n"],
        [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"],
    ],
)
@pytest.mark.parametrize("pause", [0.0, 0.05])
def test_nothing_that_a_client_sends_is_logged(
    caplog: pytest.LogCaptureFixture, spoken: list[bytes], pause: float
) -> None:
    """pause: how long the application takes, so that the rest comes before or after its answer."""

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.sleep(pause)
        await Application()(scope, receive, send)

    with serving(slow) as server, server.connect() as client, suppress(OSError):
        for words in spoken:
            client.sendall(words)
            if not pause:
                client.recv(1 << 16)
        client.shutdown(socket.SHUT_WR)
        client.settimeout(1.0)
        with suppress(TimeoutError):
            while client.recv(1 << 16):
                pass
    gc.collect()  # a task whose exception nobody has retrieved says so when it is collected
    assert caplog.records == []


def test_little_is_kept_for_a_client_that_does_not_read() -> None:
    body = bytes(8 << 20)
    with serving(Application(body)) as server, server.connect() as client:
        client.sendall(REQUEST)
        (held,) = eventually(lambda: list(server.web.server_state.connections))
        transport = held.transport
        eventually(transport.get_write_buffer_size)  # the client's and the kernel's are full
        unsent = fcntl.ioctl(transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, b"0000")
        kept = transport.get_write_buffer_size() + int.from_bytes(unsent, sys.byteorder)
        assert kept < 1 << 19
        assert read_to_the_end_of(client, len(body)) == body


def read_to_the_end_of(client: socket.socket, length: int) -> bytes:
    """The body of an answer."""
    received = b""
    while len(body := received.partition(b"\r\n\r\n")[2]) < length:
        received += client.recv(1 << 20)
    return body


def test_the_address_with_most_connections_makes_room() -> None:
    with serving(Application(), Bounds(connections=4)) as server, ExitStack() as stack:
        first = stack.enter_context(server.connect(source="127.0.0.2"))
        assert answer(first) == b"answered"
        flood = [stack.enter_context(server.connect()) for _ in range(20)]
        assert answer(flood[-1]) == b"answered"
        assert answer(first) == b"answered"
        newcomer = stack.enter_context(server.connect(source="127.0.0.3"))
        assert answer(newcomer) == b"answered"
        assert answer(first) == b"answered"


@pytest.mark.parametrize(
    ("descriptors", "connections"),
    [(16, 4), (100, 25), (1024, 256), (524_288, 256), (resource.RLIM_INFINITY, 256)],
)
def test_connections_leave_descriptors_for_polls(descriptors: int, connections: int) -> None:
    assert bounds_for(descriptors).connections == connections


def test_running_out_of_descriptors_is_one_line_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    with serving(Application()) as server:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        with ExitStack() as stack:
            clients = [stack.enter_context(socket.socket()) for _ in range(20)]
            lowest = os.dup(0)
            os.close(lowest)
            resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
            try:
                for client in clients:
                    client.connect(server.address)
                eventually(lambda: caplog.records)
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        with server.connect() as client:
            assert answer(client) == b"answered"
    assert caplog.messages == ["cannot accept connections: Too many open files"]


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


def test_a_client_that_drips_its_request_is_closed() -> None:
    with serving(Application(), FOR_REQUESTS) as server, server.connect() as connection:
        assert answer(connection) == b"answered"
        connection.settimeout(0.1)
        until = time.monotonic() + PATIENCE
        with suppress(ConnectionError):
            while time.monotonic() < until:  # on a kept connection, a byte at a time
                connection.sendall(b"G")
                with suppress(TimeoutError):
                    assert connection.recv(1) == b""
                    return
            pytest.fail("still open")
