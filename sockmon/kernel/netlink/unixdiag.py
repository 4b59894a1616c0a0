"""Unix sockets over sock_diag, listeners or all: the request, and the parsing of its reply.

Pure: no sockets, no clock. Sources: include/uapi/linux/unix_diag.h, net/unix/diag.c.
"""

import struct
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from sockmon.kernel.errors import DumpError
from sockmon.kernel.netlink import uapi
from sockmon.kernel.netlink.wire import check_end, malformed
from sockmon.model.states import TcpState
from sockmon.model.unix_listeners import UNIX_STATES, UnixListener, UnixSocket

T = TypeVar("T")

OPERATION = "sock_diag dump of unix listeners"
OPERATION_ALL = "sock_diag dump of unix sockets"
OPERATION_ONE = "sock_diag look at a unix listener"

AF_UNIX = 1
_HEADER = struct.Struct("=IHHII")  # struct nlmsghdr: length, type, flags, sequence, port id
_REQUEST = struct.Struct("=BBHIIIQ")  # struct unix_diag_req
_ANY_COOKIE = 2**64 - 1  # twice INET_DIAG_NOCOOKIE
_MESSAGE = struct.Struct("=BBBxIQ")  # struct unix_diag_msg
_ATTRIBUTE = struct.Struct("=HH")
_QUEUE = struct.Struct("=II")  # struct unix_diag_rqlen: at a listener, waiting and their limit

_NAME, _ICONS, _RQLEN = 0, 3, 4
_SHOW_NAME, _SHOW_ICONS, _SHOW_RQLEN = 1 << 0, 1 << 3, 1 << 4


def request(sequence: int) -> bytes:
    """Return the netlink message that asks for all listeners: 40 bytes."""
    show = _SHOW_NAME | _SHOW_RQLEN
    return _request(sequence, uapi.NLM_F_DUMP, 1 << TcpState.LISTEN, 0, show)


def request_all(sequence: int) -> bytes:
    """Return the netlink message that asks for all sockets: 40 bytes."""
    return _request(sequence, uapi.NLM_F_DUMP, 0xFFFFFFFF, 0, _SHOW_NAME)


def request_waiting(sequence: int, inode: int) -> bytes:
    """Return the message that asks who waits at one listener."""
    return _request(sequence, 0, 0, inode, _SHOW_ICONS)


def _request(sequence: int, flags: int, states: int, inode: int, show: int) -> bytes:
    length = _HEADER.size + _REQUEST.size
    flags |= uapi.NLM_F_REQUEST
    header = _HEADER.pack(length, uapi.SOCK_DIAG_BY_FAMILY, flags, sequence, 0)
    return header + _REQUEST.pack(AF_UNIX, 0, 0, states, inode, show, _ANY_COOKIE)


def parse_waiting(sequence: int, datagrams: Iterable[bytes]) -> tuple[int, ...]:
    """Parse the reply to request_waiting(): inodes of the clients' sockets, the first one first.

    0 for a client that has given up. Raises DumpError, EMSGSIZE where a thousand or more wait: the
    kernel fits its answer into a page (unix_diag_get_exact()).
    """
    for kind, number, body in _messages(datagrams):
        if number != sequence:
            raise DumpError(OPERATION_ONE, "sequence", "a reply to another request")
        if kind != uapi.SOCK_DIAG_BY_FAMILY:
            check_end(OPERATION_ONE, kind, body, "unix_diag")
        elif len(body) >= _MESSAGE.size:
            clients = dict(_attributes(body)).get(_ICONS, b"")
            return struct.unpack(f"={len(clients) // 4}I", clients[: len(clients) // 4 * 4])
    raise DumpError(OPERATION_ONE, "incomplete", "no reply")


def parse(sequence: int, datagrams: Iterable[bytes]) -> tuple[UnixListener, ...]:
    """Parse the whole reply to the request of this sequence number; raises DumpError."""
    return _parse(sequence, datagrams, _listener)


def parse_all(sequence: int, datagrams: Iterable[bytes]) -> tuple[UnixSocket, ...]:
    """Parse the reply to request_all() likewise."""
    return _parse(sequence, datagrams, _socket)


def _parse(sequence: int, datagrams: Iterable[bytes], make: Callable[[bytes], T]) -> tuple[T, ...]:
    found: list[T] = []
    done = False
    for kind, number, body in _messages(datagrams):
        if done:
            raise _malformed("a message after NLMSG_DONE")
        if number != sequence:
            raise DumpError(OPERATION, "sequence", "a reply to another request")
        if kind == uapi.SOCK_DIAG_BY_FAMILY:
            found.append(make(body))
        elif kind != uapi.NLMSG_NOOP:
            check_end(OPERATION, kind, body, "unix_diag")
            done = True
    if not done:
        raise DumpError(OPERATION, "incomplete", "the reply ended before NLMSG_DONE")
    return tuple(found)


def _messages(datagrams: Iterable[bytes]) -> Iterator[tuple[int, int, bytes]]:
    """Yield type, sequence number and body of each message."""
    for datagram in datagrams:
        at = 0
        while at < len(datagram):
            if len(datagram) - at < _HEADER.size:
                raise _malformed("bytes after the last message")
            length, kind, _flags, number, _port = _HEADER.unpack_from(datagram, at)
            if not _HEADER.size <= length <= len(datagram) - at:
                raise _malformed("a message shorter than its header, or longer than its datagram")
            yield kind, number, datagram[at + _HEADER.size : at + length]
            at += length + 3 & ~3


def _listener(body: bytes) -> UnixListener:
    state, inode, cookie = _head(body)
    if state != TcpState.LISTEN:
        raise _malformed("a socket that is no Unix listener")
    name, length, limit = b"", 0, 0
    for kind, payload in _attributes(body):
        if kind == _NAME:
            name = payload
        elif kind == _RQLEN and len(payload) >= _QUEUE.size:
            length, limit = _QUEUE.unpack_from(payload)
    return UnixListener(inode, cookie, name, length, limit)


def _socket(body: bytes) -> UnixSocket:
    state, inode, _cookie = _head(body)
    if state not in UNIX_STATES:
        raise _malformed(f"a socket in state {state}")
    names = [payload for kind, payload in _attributes(body) if kind == _NAME]
    return UnixSocket(TcpState(state), inode, names[0] if names else b"")


def _head(body: bytes) -> tuple[int, int, int]:
    """Return a socket's state, inode and cookie."""
    if len(body) < _MESSAGE.size:
        raise _malformed("a socket shorter than struct unix_diag_msg")
    family, _type, state, inode, cookie = _MESSAGE.unpack_from(body)
    if family != AF_UNIX:
        raise _malformed("a socket that is no Unix socket")
    return state, inode, cookie


def _attributes(body: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the type and payload of each attribute after struct unix_diag_msg."""
    at = _MESSAGE.size
    while at < len(body):
        if len(body) - at < _ATTRIBUTE.size:
            raise _malformed("bytes after the last attribute")
        size, kind = _ATTRIBUTE.unpack_from(body, at)
        if not _ATTRIBUTE.size <= size <= len(body) - at:
            raise _malformed("an attribute of impossible length")
        yield kind, body[at + _ATTRIBUTE.size : at + size]
        at += size + 3 & ~3


def _malformed(what: str) -> DumpError:
    return malformed(OPERATION, what)
