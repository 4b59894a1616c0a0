"""Packets as they come, from a packet socket's ring: the only file that opens packet sockets.

packet(7), https://docs.kernel.org/networking/packet_mmap.html (TPACKET_V3, Linux 3.2).
The daemon must not open one: a process that holds a packet socket can also send any packet.
"""

import ctypes
import errno
import mmap
import select
import socket
import struct
from typing import Self

import numpy as np
from numpy.typing import NDArray

from sockmon.kernel.errors import KernelError
from sockmon.kernel.packets.headers import RAW, Packets

_SOL_PACKET = 263
_PACKET_RX_RING, _PACKET_STATISTICS, _PACKET_VERSION = 5, 6, 10
_SO_ATTACH_FILTER, _SO_LOCK_FILTER = 26, 44
_TPACKET_V3 = 2
_ETH_P_ALL = 3
_BLOCK_READY = 1  # TP_STATUS_USER
_OUTGOING = 4

#: The kernel hands over a block when it is full, or after this many milliseconds. With many small
#: blocks a reader may sleep for seconds, however few packets come.
_HAND_OVER_MS = 60
_BLOCK = 1 << 16
_FRAME = 256
# struct tpacket3_hdr, and the struct sockaddr_ll behind it: offsets.
_NEXT, _SECONDS, _NANOSECONDS, _CAPTURED, _LENGTH, _NET = 0, 4, 8, 12, 16, 26
_DEVICE, _PACKET_TYPE = 52, 58
_RUN = 16  # packets of one size, from which on they are found at once

_HINT = "sudo, or tcpdump -w FILE elsewhere and sockmon trace --read FILE"


class PacketRing:
    """A packet socket and its ring. One thread may use it.

    read: packets handed over. dropped: those that the kernel dropped because the ring was full.
    """

    def __init__(self, program: bytes, device: str | None = None, blocks: int = 128) -> None:
        """Begin to receive what passes the filter.

        device: its name; None: all. blocks: of 64 KiB. Raises KernelError.
        """
        self.read = self.dropped = 0
        self._device = device
        self._blocks = blocks
        self._next = 0
        try:
            # Protocol 0: nothing is received until the filter is in place, and bind() asks for all.
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        except OSError as error:
            raise _failed("watching packets takes CAP_NET_RAW", error) from error
        try:
            self._set_up(program, blocks)
            self._bind(device)
        except OSError as error:
            self._socket.close()
            raise _failed("packet socket", error) from error
        except KernelError:
            self._socket.close()
            raise
        self._poll = select.poll()
        self._poll.register(self._socket, select.POLLIN)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def wait(self, seconds: float) -> Packets | None:
        """Return the packets of the blocks that are ready; None if there are none in time.

        They are valid until release(). Raises KernelError when the device has gone.
        """
        if not self._ready():
            for _, event in self._poll.poll(seconds * 1000):
                if event & select.POLLERR:
                    self._clear_error()
        blocks = self._ready()
        if not blocks:
            return None
        at = self._offsets(blocks)
        self.read += len(at)
        return self._packets(at)

    def release(self) -> None:
        """Give the blocks of the last wait() back to the kernel."""
        for block in self._given:
            self._words[block // 4 + 2] = 0
        self._next = (self._next + len(self._given)) % self._blocks
        self._given: list[int] = []

    def count_dropped(self) -> int:
        """Return `dropped`, up to now."""
        raw = self._socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 12)
        _, dropped, _ = struct.unpack("=3I", raw)  # reading sets the kernel's counters to 0
        self.dropped += dropped
        return self.dropped

    def _set_up(self, program: bytes, blocks: int) -> None:
        code = ctypes.create_string_buffer(program)
        described = struct.pack("@HP", len(program) // 8, ctypes.addressof(code))
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, described)
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_LOCK_FILTER, 1)
        self._socket.setsockopt(_SOL_PACKET, _PACKET_VERSION, _TPACKET_V3)
        frames = _BLOCK // _FRAME * blocks
        request = struct.pack("=7I", _BLOCK, blocks, _FRAME, frames, _HAND_OVER_MS, 0, 0)
        self._socket.setsockopt(_SOL_PACKET, _PACKET_RX_RING, request)
        self._map = mmap.mmap(self._socket.fileno(), _BLOCK * blocks)
        self._octets = np.frombuffer(self._map, np.uint8)
        self._halves = np.frombuffer(self._map, np.uint16)
        self._columns = np.frombuffer(self._map, np.uint32)
        self._words = memoryview(self._map).cast("I")
        self._given = []

    def _bind(self, device: str | None) -> None:
        """Bind as bind(2) does: Python's own does not know how to bind to all devices."""
        index = 0 if device is None else _index(device)
        family, protocol = int(socket.AF_PACKET), socket.htons(_ETH_P_ALL)
        address = struct.pack("=HHiHBB8s", family, protocol, index, 0, 0, 0, b"")
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.bind(self._socket.fileno(), address, len(address)):
            raise OSError(ctypes.get_errno(), "bind")

    def _clear_error(self) -> None:
        """Go on after a device went down, but not after it has gone."""
        self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if self._device is not None:
            _index(self._device)

    def _ready(self) -> list[tuple[int, int, int]]:
        """Return the blocks that are ready: where each is, how many packets, where the first is."""
        found = []
        for number in range(self._blocks):
            at = (self._next + number) % self._blocks * _BLOCK
            status, count, first = self._words[at // 4 + 2 : at // 4 + 5].tolist()
            if not status & _BLOCK_READY:
                break
            found.append((at, count, first))
        self._given = [at for at, _, _ in found]
        return found

    def _offsets(self, blocks: list[tuple[int, int, int]]) -> NDArray[np.int64]:
        """Return where the packets of the blocks are."""
        parts = []
        for block, count, first in blocks:
            at, left = block + first, count
            while left:
                run = self._run(at, left, block + _BLOCK)
                parts.append(run)
                left -= len(run)
                at = int(run[-1]) + self._words[int(run[-1]) // 4]
        return np.concatenate(parts) if parts else np.empty(0, np.int64)

    def _run(self, at: int, count: int, end: int) -> NDArray[np.int64]:
        """Return the next packets, at once if all that are left have one size."""
        step = self._words[at // 4]
        if count > _RUN and step and at + step * (count - 1) < end - _PACKET_TYPE:
            run = np.arange(at, at + step * count, step)
            if (self._columns[run[:-1] // 4] == step).all():
                return run
        walked = []
        for _ in range(min(count, 256)):
            walked.append(at)
            at += self._words[at // 4]
        return np.array(walked, np.int64)

    def _packets(self, at: NDArray[np.int64]) -> Packets:
        def column(offset: int) -> NDArray[np.int64]:
            return self._columns[(at + offset) // 4].astype(np.int64)

        start = at + self._halves[(at + _NET) // 2]
        is_outgoing = self._octets[at + _PACKET_TYPE] == _OUTGOING
        return Packets(
            self._octets,
            start,
            start + column(_CAPTURED),
            column(_LENGTH),
            column(_SECONDS) * 1_000_000_000 + column(_NANOSECONDS),
            np.full(len(at), RAW, np.int64),
            column(_DEVICE) << 1 | is_outgoing,
        )


def _index(device: str) -> int:
    try:
        return socket.if_nametoindex(device)
    except OSError as error:
        raise KernelError(f"device {device}", "ENODEV", "there is no such device") from error


def _failed(operation: str, error: OSError) -> KernelError:
    hint = _HINT if error.errno in {errno.EPERM, errno.EACCES} else ""
    return KernelError.from_errno(operation, error.errno or errno.EIO, hint)
