"""The sockets that the web server listens on: its own, or those that systemd has passed."""

import contextlib
import errno
import ipaddress
import os
import socket
from collections.abc import Iterable, Iterator, Sequence

from sockmon.config.fields import ListenAddress
from sockmon.web.server import BOUNDS, SEND_BUFFER_BYTES


class ListenError(Exception):
    """There is nothing to listen on; the text says why and what to do."""


class PortInUseError(ListenError):
    """Another process listens there, and may have ended by the next attempt."""


@contextlib.contextmanager
def listening(
    addresses: Iterable[ListenAddress], passed: Sequence[socket.socket] | None = None
) -> Iterator[list[socket.socket]]:
    """Yield a listening socket for each address, or those that systemd has `passed`.

    They are closed when the context is left. Raises ListenError.
    """
    with contextlib.ExitStack() as stack:
        for listener in passed or ():
            stack.enter_context(listener)
        if passed is not None:
            adopt(passed)
            yield list(passed)
        else:
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
    _prepare(listener)
    return listener


def _advice(number: int | None) -> str:
    if number == errno.EADDRINUSE:
        return "; something else listens there: choose another with --web.listen-address"
    if number == errno.EADDRNOTAVAIL:
        return "; no interface of this host has that address"
    if number == errno.EACCES:
        return "; ports below 1024 need CAP_NET_BIND_SERVICE"
    return ""


def adopt(passed: Sequence[socket.socket]) -> None:
    """Prepare sockets that systemd has passed, TCP or Unix; raises ListenError."""
    if not passed:
        raise ListenError(
            "--web.systemd-socket: systemd has passed no socket: start sockmon.socket, not only "
            "sockmon.service"
        )
    for listener in passed:
        if not _is_stream(listener):
            raise ListenError(
                f"--web.systemd-socket: descriptor {listener.fileno()} is no listening TCP or Unix "
                "socket: use ListenStream= without Accept=yes"
            )
        _prepare(listener)


def _is_stream(listener: socket.socket) -> bool:
    return (
        listener.family in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX)
        and listener.type == socket.SOCK_STREAM
        and listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1
    )


def _prepare(listener: socket.socket) -> None:
    """Set the options that accepted connections inherit.

    No answer waits for an acknowledgement that the client delays (asyncio sets TCP_NODELAY only on
    sockets that it has made itself), the kernel ends a connection whose client has vanished, and it
    buffers little for one that does not read.
    """
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
    if listener.family != socket.AF_UNIX:
        milliseconds = int(BOUNDS.response_seconds * 1000)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)


def url(listener: socket.socket, scheme: str) -> str:
    """Return where it serves, in words for the log."""
    name = listener.getsockname()
    if listener.family != socket.AF_UNIX:
        return f"{scheme}://{ListenAddress(*name[:2])}/"
    path = os.fsdecode(name)  # of an abstract name Python returns bytes
    return f"{scheme} on unix:{ascii(path.replace(chr(0), '@', 1))[1:-1]}"


def is_exposed(listener: socket.socket) -> bool:
    """Return whether other hosts can connect."""
    if listener.family == socket.AF_UNIX:
        return False
    return not ipaddress.ip_address(listener.getsockname()[0]).is_loopback
