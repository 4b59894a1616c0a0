"""The server's bounds: nobody waits because somebody else is slow."""

import socket
import time
from contextlib import suppress

import pytest
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from sockmon.web.server import Bounds
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
