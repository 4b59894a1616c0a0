"""The HTTP server, with limits: on connections, on the size of a request, and on every wait."""

import asyncio
import contextlib
import errno
import functools
import logging
import math
import resource
import socket
from asyncio.sslproto import SSLProtocol
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import h11
import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from sockmon.contained import COMPONENTS
from sockmon.web.security.access import KNOWN_CLIENT, UNIX_CLIENT
from sockmon.web.security.policy import Policy
from sockmon.web.security.tls import ServerTls

_KEEP_ALIVE_SECONDS = 25
_REQUEST_BYTES = 16 * 1024
_SWEEP_SECONDS = 1.0
_LINGER_SECONDS = 0.3
#: What is kept for one client that does not read: by the kernel, which counts it twice, and here.
SEND_BUFFER_BYTES = 64 * 1024
_PIECE_BYTES = 64 * 1024
#: How often it is logged that there are too few descriptors.
_COMPLAINT_SECONDS = 60.0
_OUT_OF_RESOURCES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)

# One TLS record. asyncio's default of 256 KiB for each connection would cost 64 MB for clients that
# only connect.
SSLProtocol.max_size = 16 * 1024

log = logging.getLogger("sockmon")


@dataclass(frozen=True, slots=True)
class Bounds:
    """How many clients there may be, and how long each may keep the server waiting.

    connections: with one more, one is closed: of the address that has most, the one that has been
    silent longest. request_seconds: for TLS's handshake and a complete request. response_seconds:
    to read what has been sent; of a stream, what has been sent so far.
    """

    connections: int = 256
    request_seconds: float = 10.0
    response_seconds: float = 30.0


BOUNDS = Bounds()


def bounds_for(descriptors: int) -> Bounds:
    """Return the limits for a process that may have so many descriptors (RLIMIT_NOFILE).

    A burst of connections is accepted before any is closed, and polls need descriptors too.
    """
    if descriptors == resource.RLIM_INFINITY:
        return BOUNDS
    return replace(BOUNDS, connections=max(4, min(BOUNDS.connections, descriptors // 4)))


class BoundedProtocol(H11Protocol):
    """uvicorn's HTTP/1.1, inside TLS where the policy requires it.

    A connection counts from the moment it is accepted, and every wait for its client has an end.
    """

    def __init__(self, policy: Callable[[], Policy], bounds: Bounds, **uvicorns: Any) -> None:
        super().__init__(**uvicorns)
        self._bounds = bounds
        self._policy = policy()
        self._retired = False
        self.waiting_since = self.loop.time()
        self._early = b""
        #: The plain transport below TLS: unlike TLS, it can be aborted at any time.
        self._line: asyncio.Transport
        self.address = ""
        self._handshake: asyncio.Task[None]

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Make room for it, if there is none; then begin TLS, or HTTP."""
        self._line = self.transport = transport
        peer = transport.get_extra_info("peername")
        self.address = peer[0] if isinstance(peer, tuple) else ""  # all Unix clients are as one
        if transport.get_extra_info("socket").family == socket.AF_UNIX:
            self.app_state = {**self.app_state, UNIX_CLIENT: True}
        self._make_room()
        self.connections.add(self)
        if self._policy.tls is None:
            super().connection_made(transport)
        else:
            transport.pause_reading()
            self._handshake = self.loop.create_task(self._shake_hands(self._policy.tls))

    def _make_room(self) -> None:
        """Close one connection of the address that has most of them, if there are too many.

        The one that has been silent longest; if none is silent, the one served longest.
        """
        held = [other for other in self.connections if isinstance(other, BoundedProtocol)]
        if len(held) < self._bounds.connections:
            return
        count = Counter(other.address for other in held)
        count[self.address] += 1
        most = max(count[other.address] for other in held)
        longest = min(
            (other for other in held if count[other.address] == most),
            key=lambda other: (not other.awaits_request(), other.waiting_since),
        )
        longest.abort()
        self.connections.discard(longest)

    async def _shake_hands(self, tls: ServerTls) -> None:
        encrypted = None
        with contextlib.suppress(OSError):  # bad certificates, and what is not TLS: not logged
            encrypted = await self.loop.start_tls(
                self._line,
                self,
                tls.context,
                server_side=True,
                ssl_handshake_timeout=self._bounds.request_seconds,
                ssl_shutdown_timeout=self._bounds.request_seconds,
            )
        client = encrypted.get_extra_info("ssl_object") if encrypted else None
        if encrypted is None or client is None or not tls.admits(client):
            self.connections.discard(self)
            self.abort()
            return
        self.app_state = {**self.app_state, KNOWN_CLIENT: tls.knows(client)}
        encrypted.set_write_buffer_limits(high=_PIECE_BYTES)
        super().connection_made(encrypted)
        if self._early:
            self.data_received(self._early)

    def data_received(self, data: bytes) -> None:
        """Count a response's time from its request; close on what is not HTTP."""
        if self.flow is None:  # it came with the end of the handshake, before connection_made()
            self._early += data
            return
        waited = self.awaits_request()
        if waited and self.timeout_keep_alive_task is not None:
            self.waiting_since = self.loop.time()  # a kept connection's next request begins
        try:
            super().data_received(data)
        except h11.ProtocolError:  # uvicorn answers 400, which is too late after another answer
            self.abort()
        if waited and not self.awaits_request():
            self.waiting_since = self.loop.time()

    def on_response_complete(self) -> None:
        """Count the wait for the next request from now on."""
        self.waiting_since = self.loop.time()
        super().on_response_complete()

    def awaits_request(self) -> bool:
        """Return whether the client has to send the next bytes."""
        return self.cycle is None or self.cycle.response_complete

    def sweep(self, now: float, policy: Policy) -> None:
        """End the connection if its client's time is over, or an earlier policy accepted it."""
        if policy is not self._policy and not self._retired:
            self._retired = True
            self.waiting_since = now
            if not self.transport.is_closing():
                self.shutdown()
        answering, unsent = not self.awaits_request(), self._line.get_write_buffer_size() > 0
        if answering and not unsent and not self._retired:
            self.waiting_since = now  # the client has read all of the stream so far
        elif answering or unsent or self.transport.is_closing():
            self._abort_after(self._bounds.response_seconds, now)
        elif self.timeout_keep_alive_task is None:  # else uvicorn's timer of kept connections runs
            self._abort_after(self._bounds.request_seconds, now)

    def _abort_after(self, seconds: float, now: float) -> None:
        if now - self.waiting_since > seconds:
            self.abort()

    def abort(self) -> None:
        """Close the connection at once, without an answer."""
        self._line.abort()


def _is_our_mistake(record: logging.LogRecord) -> bool:
    """Return whether a bug caused it: what clients send is not logged."""
    error = record.exc_info[1] if record.exc_info else None
    # Cancelled: the server stops. A protocol error: the client has broken the protocol meanwhile.
    return error is not None and not isinstance(error, asyncio.CancelledError | h11.ProtocolError)


class _LoopErrors:
    """What the event loop reports outside of any request: little of it is worth a traceback."""

    def __init__(self) -> None:
        self._complained_at = -math.inf

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Log it, unless a client caused it (see loop.set_exception_handler())."""
        error = context.get("exception")
        if isinstance(error, h11.ProtocolError):
            return
        if isinstance(error, OSError) and error.errno in _OUT_OF_RESOURCES:
            if loop.time() - self._complained_at >= _COMPLAINT_SECONDS:
                self._complained_at = loop.time()
                log.error("cannot accept connections: %s", error.strerror)
            return
        loop.default_exception_handler(context)


def _in_pieces(app: ASGIApp) -> ASGIApp:
    """Send long bodies piece by piece: what a client does not read is then not copied for it."""

    async def pieces(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_pieces(message: Message) -> None:
            body = message.get("body", b"")
            last = max(0, len(body) - 1) // _PIECE_BYTES * _PIECE_BYTES
            for start in range(0, last, _PIECE_BYTES):
                piece = body[start : start + _PIECE_BYTES]
                await send({**message, "body": piece, "more_body": True})
            await send({**message, "body": body[last:]} if last else message)

        await app(scope, receive, send_pieces)

    return pieces


class WebServer(uvicorn.Server):
    """Serves an application on open sockets until stopped; leaves signals to the daemon.

    `policy` returns what is required of clients from now on: when it returns another object,
    earlier connections are closed after their current answer.
    """

    def __init__(
        self, app: ASGIApp, policy: Callable[[], Policy], bounds: Bounds | None = None
    ) -> None:
        """bounds: by default those that fit RLIMIT_NOFILE."""
        if bounds is None:
            bounds = bounds_for(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
        super().__init__(
            uvicorn.Config(
                _in_pieces(app),
                http=functools.partial(BoundedProtocol, policy, bounds),  # type: ignore[arg-type]
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                timeout_keep_alive=_KEEP_ALIVE_SECONDS,
                h11_max_incomplete_event_size=_REQUEST_BYTES,
                backlog=bounds.connections,  # asyncio accepts as many at once before one is closed
            )
        )
        self._policy = policy
        logging.getLogger("uvicorn.error").addFilter(_is_our_mistake)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle no signals (uvicorn's own context manager)."""
        yield

    async def run_on(self, listeners: list[socket.socket]) -> None:
        """Serve until stop() is called."""
        asyncio.get_running_loop().set_exception_handler(_LoopErrors())
        sweeper = asyncio.create_task(self._sweep())
        try:
            await self.serve(sockets=listeners)
        finally:
            sweeper.cancel()

    async def stop(self) -> None:
        """Stop soon: answers that are being sent have a moment, then they are cut off."""
        self.should_exit = True
        await asyncio.sleep(_LINGER_SECONDS)
        self.force_exit = True
        for connection in self._connections():
            connection.abort()

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            now, policy = asyncio.get_running_loop().time(), self._policy()
            for connection in self._connections():
                sweep = functools.partial(connection.sweep, now, policy)
                COMPONENTS.run("web.sweep", sweep)

    def _connections(self) -> list[BoundedProtocol]:
        return [held for held in self.server_state.connections if isinstance(held, BoundedProtocol)]
