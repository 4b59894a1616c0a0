"""Dumps over netlink sock_diag: the only file that opens netlink sockets."""

import contextlib
import errno
import socket
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from sockmon.kernel.errors import DumpError
from sockmon.kernel.interfaces import Transport
from sockmon.kernel.netlink import uapi
from sockmon.kernel.netlink.rows import RowBuffer, Rows
from sockmon.kernel.netlink.wire import Decoder, DumpRequest

T = TypeVar("T")
Parts = Sequence[bytes]

# The kernel fills datagrams of up to 32 KiB; a smaller buffer would lose the rest of one.
_DATAGRAM_ROOM = 64 * 1024
_MSG_TRUNC = int(socket.MSG_TRUNC)  # as an IntFlag it would cost more than the receive itself
# Datagrams decoded at once: enough for the lock-step walk to be faster, and little memory.
_BATCH_BYTES = 16 * 1024 * 1024


class NetlinkTransport:
    """The kernel itself, in the network namespace of the thread that opens it."""

    def __init__(self, opened: socket.socket | None = None) -> None:
        """opened: a netlink socket that was opened elsewhere; without it one is opened here."""
        if opened is not None:
            opened.settimeout(0)
            self._socket = opened
            return
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, uapi.NETLINK_SOCK_DIAG
        )
        try:
            # The kernel fills the next datagram of a dump while the last one is received, so
            # there is never anything to wait for, and nothing can hang.
            self._socket.settimeout(0)
            self._socket.bind((0, 0))
            # Connected to the kernel (port id 0): datagrams of other processes are refused.
            self._socket.connect((0, 0))
        except OSError:
            self._socket.close()
            raise

    def fileno(self) -> int:
        """Return the socket's descriptor."""
        return self._socket.fileno()

    def send(self, request: bytes) -> None:
        """Send to the kernel."""
        self._socket.send(request)

    def receive_into(self, buffer: memoryview) -> tuple[int, bool]:
        """Receive from the kernel; MSG_TRUNC makes it return the datagram's full length."""
        length = self._socket.recv_into(buffer, 0, _MSG_TRUNC)
        return length, length <= len(buffer)

    def close(self) -> None:
        """Close the socket; the kernel forgets a dump in progress."""
        self._socket.close()


def receiving_room() -> NDArray[np.uint32]:
    """Return a buffer for a batch of datagrams. Pages that are never used cost no memory."""
    return np.empty((_BATCH_BYTES + _DATAGRAM_ROOM) // 4, np.uint32)


class SockDiag:
    """Dumps of one network namespace, over one socket that is opened when first needed.

    Not for use by two threads at once: a second dump on a busy netlink socket is EBUSY.
    """

    def __init__(
        self,
        open_transport: Callable[[], Transport] = NetlinkTransport,
        stop_requested: Callable[[], bool] = lambda: False,
        room: NDArray[np.uint32] | None = None,
    ) -> None:
        """room: the buffer to receive into, from receiving_room(); it may be shared."""
        self._open_transport = open_transport
        self._stop_requested = stop_requested
        self._transport: Transport | None = None
        self._sequence = 0
        self._buffer = receiving_room() if room is None else room

    def dump(self, *requests: DumpRequest, into: RowBuffer | None = None) -> Rows:
        """Return every socket that the requests name, in a buffer that is cleared for them.

        After a failure that may be temporary (EBUSY, ENOBUFS, EINTR, a broken reply) the request is
        sent again on a new socket. Raises DumpError; a partial dump is never returned.
        """
        buffer = RowBuffer() if into is None else into
        buffer.truncate()
        for request in requests:
            complete = len(buffer)
            try:
                self._dump_once(request, buffer)
            except DumpError as error:
                if error.reason == "stopped":
                    raise
                buffer.truncate(complete)
                self._dump_once(request, buffer)
        return buffer.rows()

    def datagrams(
        self, operation: str, request: Callable[[int], bytes], parse: Callable[[int, Parts], T]
    ) -> T:
        """Send a request for a dump and return what parse makes of its datagrams.

        request, parse: given the sequence number. Fails and tries again as dump() does; parse
        raises DumpError for a reply that is not whole.
        """
        try:
            return self._datagrams_once(operation, request, parse)
        except DumpError as error:
            if error.reason in ("stopped", "ENOENT"):
                raise
        return self._datagrams_once(operation, request, parse)

    def _datagrams_once(
        self, operation: str, request: Callable[[int], bytes], parse: Callable[[int, Parts], T]
    ) -> T:
        self._sequence = self._sequence % 0x7FFFFFFF + 1
        room = self._buffer.view(np.uint8).data
        received: list[bytes] = []
        try:
            if self._transport is None:
                self._transport = self._open_transport()
            self._transport.send(request(self._sequence))
            with contextlib.suppress(BlockingIOError):
                while True:
                    self._check_stopped(operation)
                    length = _receive(self._transport, room[:_DATAGRAM_ROOM], operation)
                    received.append(bytes(room[:length]))
            return parse(self._sequence, received)
        except OSError as error:
            self.close()
            raise DumpError.from_errno(operation, error.errno or errno.EIO) from error
        except DumpError:
            self.close()  # an unfinished dump would leave the socket busy
            raise

    @property
    def is_open(self) -> bool:
        """Whether a netlink socket is open, which keeps its namespace alive."""
        return self._transport is not None

    def close(self) -> None:
        """Close the netlink socket, if one is open."""
        if self._transport is not None:
            with contextlib.suppress(OSError):
                self._transport.close()
            self._transport = None

    def _dump_once(self, request: DumpRequest, buffer: RowBuffer) -> None:
        self._sequence = self._sequence % 0x7FFFFFFF + 1
        decoder = Decoder(request, self._sequence, buffer)
        try:
            if self._transport is None:
                self._transport = self._open_transport()
            self._transport.send(request.encode(self._sequence))
            while not decoder.done:
                self._receive_batch(self._transport, decoder, str(request))
        except OSError as error:
            self.close()
            raise DumpError.from_errno(str(request), error.errno or errno.EIO) from error
        except DumpError:
            self.close()  # an unfinished dump would leave the socket busy
            raise

    def _check_stopped(self, operation: str) -> None:
        if self._stop_requested():
            raise DumpError(operation, "stopped", "stopped while reading")

    def _receive_batch(self, transport: Transport, decoder: Decoder, operation: str) -> None:
        """Receive datagrams until the buffer is full or the dump has ended; decode them."""
        room = self._buffer.view(np.uint8).data
        starts: list[int] = []
        ends: list[int] = []
        used = 0
        self._check_stopped(operation)
        while used < _BATCH_BYTES:
            try:
                length = _receive(transport, room[used : used + _DATAGRAM_ROOM], operation)
            except BlockingIOError:
                if not starts:
                    raise DumpError(operation, "incomplete", "no NLMSG_DONE came") from None
                break
            starts.append(used)
            ends.append(used + length)
            first_kind = int(self._buffer[used // 4 + 1]) & 0xFFFF if length >= 8 else 0
            used += length + 3 & ~3
            if first_kind in (uapi.NLMSG_DONE, uapi.NLMSG_ERROR):
                break  # the usual end; anywhere else in a datagram the next receive finds it
        decoder.feed(self._buffer, starts, ends)


def _receive(transport: Transport, room: memoryview, operation: str) -> int:
    """Receive a datagram and return its length; raises DumpError if it did not fit."""
    length, whole = transport.receive_into(room)
    if not whole:
        raise DumpError(operation, "truncated", "the kernel's datagram did not fit")
    return length
