"""The HTTP server, bounded: in connections, in the size of a request, and in every wait."""

import asyncio
import contextlib
import errno
import functools
import logging
import os
import socket
from asyncio.sslproto import SSLProtocol
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from sockmon.config.fields import ListenAddress
from sockmon.web.security.access import KNOWN_CLIENT
from sockmon.web.security.policy import Policy
from sockmon.web.security.tls import ServerTls

_KEEP_ALIVE_SECONDS = 25
_REQUEST_BYTES = 16 * 1024
_SWEEP_SECONDS = 1.0
_LINGER_SECONDS = 0.3

# One TLS record. asyncio's own 256 KiB for each connection are 64 MB for those who only connect.
SSLProtocol.max_size = 16 * 1024


@dataclass(frozen=True, slots=True)
class Bounds:
    """How many clients there may be, and how long each may keep the server waiting."""

    #: One more, and the one that has been silent longest is closed.
    connections: int = 256
    #: A client has so long for TLS's handshake and to send a request whole.
    request_seconds: float = 10.0
    #: And so long to take what it is sent; of a stream, whatever has been sent so far.
    response_seconds: float = 30.0


BOUNDS = Bounds()


class ListenError(Exception):
    """The address cannot be listened on; the text says why and what to do."""


class PortInUseError(ListenError):
    """Another process listens there, and may have ended by the next attempt."""


@contextlib.contextmanager
def listening(addresses: Iterable[ListenAddress]) -> Iterator[list[socket.socket]]:
    """Open a listening socket for each address, until the context is left; raises ListenError."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(listen(address)) for address in addresses]


def listen(address: ListenAddress) -> socket.socket:
    """Open one listening socket; raises ListenError."""
    host = address.host or "::"
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server(
            (host, address.port),
            family=family,
            backlog=BOUNDS.connections,
            dualstack_ipv6=host == "::",
        )
    except (OSError, ValueError) as error:
        number = error.errno if isinstance(error, OSError) else None
        if not address.host and number == errno.EAFNOSUPPORT:  # a kernel without IPv6
            return listen(ListenAddress("0.0.0.0", address.port))  # noqa: S104 - asked for: all
        reason = os.strerror(number) if number else str(error)
        kind = PortInUseError if number == errno.EADDRINUSE else ListenError
        raise kind(f"cannot listen on {address}: {reason}{_advice(number)}") from error
    # Accepted connections inherit both options: no answer waits for an acknowledgement that the
    # client delays (asyncio sets TCP_NODELAY only on sockets that it has made itself), and the
    # kernel ends a connection whose client has vanished.
    patience = int(BOUNDS.response_seconds * 1000)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, patience)
    return listener


def _advice(number: int | None) -> str:
    if number == errno.EADDRINUSE:
        return "; another process listens there: choose another with --web.listen-address"
    if number == errno.EADDRNOTAVAIL:
        return "; no interface of this host has that address"
    if number == errno.EACCES:
        return "; ports below 1024 need CAP_NET_BIND_SERVICE"
    return ""


class BoundedProtocol(H11Protocol):
    """uvicorn's HTTP/1.1, inside TLS where the policy demands it.

    A connection counts from the moment it is accepted, and every wait for its client ends.
    """

    def __init__(self, policy: Callable[[], Policy], bounds: Bounds, **uvicorns: Any) -> None:
        super().__init__(**uvicorns)
        self._bounds = bounds
        self._policy = policy()
        self._retired = False
        self.waiting_since = self.loop.time()
        self._early = b""
        #: What the bytes go through, encrypted or not: unlike TLS, it can be aborted at any time.
        self._line: asyncio.Transport
        self._handshake: asyncio.Task[None]

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Make room for it, if there is none; then begin with TLS, or with HTTP."""
        self._line = self.transport = transport
        self._make_room()
        self.connections.add(self)
        if self._policy.tls is None:
            super().connection_made(transport)
        else:
            transport.pause_reading()
            self._handshake = self.loop.create_task(self._shake_hands(self._policy.tls))

    def _make_room(self) -> None:
        """Close the connection that has been silent longest; if none is, the longest served."""
        held = [other for other in self.connections if isinstance(other, BoundedProtocol)]
        if len(held) >= self._bounds.connections:
            longest = min(held, key=lambda other: (not other.awaits_request(), other.waiting_since))
            longest.abort()
            self.connections.discard(longest)

    async def _shake_hands(self, tls: ServerTls) -> None:
        encrypted = None
        with contextlib.suppress(OSError):  # strangers' nonsense and bad certificates: no news
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
        super().connection_made(encrypted)
        if self._early:
            self.data_received(self._early)

    def data_received(self, data: bytes) -> None:
        """Count a response's time from the request that asked for it."""
        if self.flow is None:  # it came with the end of the handshake, before anybody was told
            self._early += data
            return
        waited = self.awaits_request()
        if waited and self.timeout_keep_alive_task is not None:
            self.waiting_since = self.loop.time()  # a kept connection's next request begins
        super().data_received(data)
        if waited and not self.awaits_request():
            self.waiting_since = self.loop.time()

    def on_response_complete(self) -> None:
        """Wait for the next request from now on."""
        self.waiting_since = self.loop.time()
        super().on_response_complete()

    def awaits_request(self) -> bool:
        """Whether it is the client's turn to speak."""
        return self.cycle is None or self.cycle.response_complete

    def sweep(self, now: float, policy: Policy) -> None:
        """End the connection, if its client has had its time, or was let in by another policy."""
        if policy is not self._policy and not self._retired:
            self._retired = True
            self.waiting_since = now
            if not self.transport.is_closing():
                self.shutdown()
        answering, unsent = not self.awaits_request(), self._line.get_write_buffer_size() > 0
        if answering and not unsent and not self._retired:
            self.waiting_since = now  # it has taken all that a stream has brought so far
        elif answering or unsent or self.transport.is_closing():
            self._abort_after(self._bounds.response_seconds, now)
        elif self.timeout_keep_alive_task is None:  # uvicorn's own timer of kept connections
            self._abort_after(self._bounds.request_seconds, now)

    def _abort_after(self, seconds: float, now: float) -> None:
        if now - self.waiting_since > seconds:
            self.abort()

    def abort(self) -> None:
        """End it now, without a word."""
        self._line.abort()


def _is_our_mistake(record: logging.LogRecord) -> bool:
    """Return whether an answer failed by itself: what strangers send is no news for the journal."""
    error = record.exc_info[1] if record.exc_info else None
    # The latter two: the server stops, or the client has broken the protocol meanwhile.
    return error is not None and not isinstance(error, asyncio.CancelledError | h11.ProtocolError)


class WebServer(uvicorn.Server):
    """Serves an application on an open socket until stopped; leaves signals to the daemon.

    `policy` tells what is demanded of clients from now on: when it returns another object,
    connections of before are ended as soon as their answers are.
    """

    def __init__(self, app: ASGIApp, policy: Callable[[], Policy], bounds: Bounds = BOUNDS) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=functools.partial(BoundedProtocol, policy, bounds),  # type: ignore[arg-type]
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                timeout_keep_alive=_KEEP_ALIVE_SECONDS,
                h11_max_incomplete_event_size=_REQUEST_BYTES,
                backlog=bounds.connections,  # asyncio accepts as many before any is pushed out
            )
        )
        self._policy = policy
        logging.getLogger("uvicorn.error").addFilter(_is_our_mistake)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave them alone."""
        yield

    async def run_on(self, listeners: list[socket.socket]) -> None:
        """Serve until stop() is called."""
        sweeper = asyncio.create_task(self._sweep())
        try:
            await self.serve(sockets=listeners)
        finally:
            sweeper.cancel()

    async def stop(self) -> None:
        """Stop soon: answers under way have a moment, then are cut."""
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
                connection.sweep(now, policy)

    def _connections(self) -> list[BoundedProtocol]:
        return [held for held in self.server_state.connections if isinstance(held, BoundedProtocol)]
