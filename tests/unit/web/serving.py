"""The web server on a real socket, in a thread with an event loop of its own, and its clients."""

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from sockmon.config.fields import ListenAddress
from sockmon.web.listeners import listen
from sockmon.web.security.access import KNOWN_CLIENT
from sockmon.web.security.policy import NO_DEMANDS, Policy
from sockmon.web.server import BOUNDS, Bounds, WebServer
from tests.lab import PATIENCE

REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
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


@dataclass(slots=True)
class Serving:
    """A server under a policy that a test may change."""

    policy: Policy
    address: tuple[str, int]
    web: WebServer

    def connect(self, source: str = "127.0.0.1") -> socket.socket:
        connection = socket.create_connection(self.address, source_address=(source, 0))
        connection.settimeout(PATIENCE)
        return connection

    def connect_tls(self, context: ssl.SSLContext) -> ssl.SSLSocket:
        return context.wrap_socket(self.connect(), server_hostname="localhost")

    def connections(self) -> int:
        """How many the server holds."""
        return len(self.web.server_state.connections)


@contextmanager
def serving(
    app: ASGIApp, bounds: Bounds = BOUNDS, policy: Policy = NO_DEMANDS
) -> Iterator[Serving]:
    """Serve until the context is left."""
    listener = listen(ListenAddress("127.0.0.1", 0))
    made: Serving
    web = WebServer(app, lambda: made.policy, bounds)
    made = Serving(policy, listener.getsockname(), web)
    loop, stop = asyncio.new_event_loop(), asyncio.Event()

    async def serve() -> None:
        served = asyncio.create_task(web.run_on([listener]))
        await stop.wait()
        await web.stop()
        await served

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    try:
        yield made
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()
        listener.close()


def read_to_the_end(connection: socket.socket) -> bytes:
    """All that comes until the server closes; TimeoutError if it does not."""
    received = b""
    with contextlib.suppress(ConnectionResetError, ssl.SSLError):
        while data := connection.recv(1 << 20):
            received += data
    return received


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
