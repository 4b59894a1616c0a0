"""The web server on a real socket, in a thread with an event loop of its own."""

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from starlette.types import ASGIApp

from sockmon.config import ListenAddress
from sockmon.ui.web.policy import NO_DEMANDS, Policy
from sockmon.ui.web.server import BOUNDS, Bounds, WebServer, listen

REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
PATIENCE = 20.0


@dataclass(slots=True)
class Serving:
    """A server under a policy that a test may change."""

    policy: Policy
    address: tuple[str, int]
    web: WebServer

    def connect(self) -> socket.socket:
        connection = socket.create_connection(self.address)
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
        served = asyncio.create_task(web.run_on(listener))
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
