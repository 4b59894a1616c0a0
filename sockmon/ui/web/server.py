"""The HTTP server, bounded: in connections, in the size of a request, and in every wait."""

import asyncio
import contextlib
import errno
import logging
import os
import socket
from collections.abc import Iterator

import uvicorn
from starlette.applications import Starlette
from uvicorn.protocols.http.h11_impl import H11Protocol

from sockmon.config import ListenAddress

#: Most connections at a time; one more, and the one that has waited longest is closed.
CONNECTIONS = 256
#: A client has this long to send a request whole.
REQUEST_SECONDS = 10.0
#: And this long to take the answer.
RESPONSE_SECONDS = 30.0

_KEEP_ALIVE_SECONDS = 25
_REQUEST_BYTES = 16 * 1024
_SWEEP_SECONDS = 1.0
_LINGER_SECONDS = 0.3


class ListenError(Exception):
    """The address cannot be listened on; the text says why and what to do."""


def listen(address: ListenAddress) -> socket.socket:
    """Open the listening socket; raises ListenError."""
    host = address.host or "::"
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server(
            (host, address.port),
            family=family,
            backlog=CONNECTIONS,
            dualstack_ipv6=host == "::",
        )
    except (OSError, ValueError) as error:
        number = error.errno if isinstance(error, OSError) else None
        if not address.host and number == errno.EAFNOSUPPORT:  # a kernel without IPv6
            return listen(ListenAddress("0.0.0.0", address.port))  # noqa: S104 - asked for: all
        reason = os.strerror(number) if number else str(error)
        raise ListenError(f"cannot listen on {address}: {reason}{_advice(number)}") from error


def _advice(number: int | None) -> str:
    if number == errno.EADDRINUSE:
        return "; something else listens there: choose another with --web.listen-address"
    if number == errno.EADDRNOTAVAIL:
        return "; no interface of this host has that address"
    if number == errno.EACCES:
        return "; ports below 1024 need CAP_NET_BIND_SERVICE"
    return ""


class BoundedProtocol(H11Protocol):
    """uvicorn's HTTP/1.1, with a time by which every wait for the client ends."""

    waiting_since = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Make room first, when there is none."""
        super().connection_made(transport)
        self.waiting_since = self.loop.time()
        if len(self.connections) > CONNECTIONS:
            idle = [other for other in self.connections if other.awaits_request()]  # type: ignore[union-attr]
            longest = min(idle, key=lambda other: other.waiting_since)  # type: ignore[union-attr]
            longest.transport.abort()
            self.connections.discard(longest)

    def on_response_complete(self) -> None:
        """Wait for the next request from now on."""
        self.waiting_since = self.loop.time()
        super().on_response_complete()

    def data_received(self, data: bytes) -> None:
        """Count a response's time from the request that asked for it."""
        waited = self.awaits_request()
        if waited and self.timeout_keep_alive_task is not None:
            self.waiting_since = self.loop.time()  # a kept connection's next request begins
        super().data_received(data)
        if waited and not self.awaits_request():
            self.waiting_since = self.loop.time()

    def awaits_request(self) -> bool:
        """Whether it is the client's turn to speak."""
        return self.cycle is None or self.cycle.response_complete

    def overdue(self, now: float) -> bool:
        """Whether the client has had its time. Kept connections have uvicorn's own timer."""
        waited = now - self.waiting_since
        if not self.awaits_request():
            return waited > RESPONSE_SECONDS
        if self.transport.is_closing() or self.transport.get_write_buffer_size():
            return waited > RESPONSE_SECONDS
        return self.timeout_keep_alive_task is None and waited > REQUEST_SECONDS


class WebServer(uvicorn.Server):
    """Serves an application on an open socket until stopped; leaves signals to the daemon."""

    def __init__(self, app: Starlette) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=BoundedProtocol,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                timeout_keep_alive=_KEEP_ALIVE_SECONDS,
                h11_max_incomplete_event_size=_REQUEST_BYTES,
                backlog=CONNECTIONS,  # asyncio accepts as many before any can be pushed out
            )
        )
        # What strangers send is no news for the journal.
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave them alone."""
        yield

    async def run_on(self, listener: socket.socket) -> None:
        """Serve until stop() is called."""
        sweeper = asyncio.create_task(self._sweep())
        try:
            await self.serve(sockets=[listener])
        finally:
            sweeper.cancel()

    async def stop(self) -> None:
        """Stop soon: answers under way have a moment, then are cut."""
        self.should_exit = True
        await asyncio.sleep(_LINGER_SECONDS)
        self.force_exit = True
        for connection in list(self.server_state.connections):
            connection.transport.abort()

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            now = asyncio.get_running_loop().time()
            for connection in list(self.server_state.connections):
                if isinstance(connection, BoundedProtocol) and connection.overdue(now):
                    connection.transport.abort()
