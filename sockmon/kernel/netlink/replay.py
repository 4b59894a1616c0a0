"""Recorded kernels: a directory of dumps and /proc files that stands in for the real one.

Tests and the golden /metrics read recordings; everything above the netlink socket is the real
code. A recording holds

    dumps/tcp-ipv4-3bfe-0   the datagrams answering one request (protocol, family, states in hex,
                            extensions in hex), each behind its length as 4 bytes little-endian
    dumps/unix              the same for Unix listeners; unix-all for all Unix sockets, and
                            unix-4711 for who waits at the listener of inode 4711
    proc/...                the files of procfs.FILES
"""

import struct
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from sockmon.kernel import procfs
from sockmon.kernel.errors import DumpError
from sockmon.kernel.family import Family
from sockmon.kernel.interfaces import Transport
from sockmon.kernel.netlink import unixdiag
from sockmon.kernel.netlink.sockdiag import NetlinkTransport
from sockmon.kernel.netlink.source import KernelSource
from sockmon.kernel.netlink.uapi import NLMSG_HEADER_BYTES, Protocol
from sockmon.model.states import TcpState

#: Before each datagram of a dump's file.
LENGTH = struct.Struct("<I")
_SEQUENCE_AT = 8
_UNIX = "unix"
_REQUEST_BODY = struct.Struct("=BBBBI")
_UNIX_BODY = struct.Struct("=BBHII")  # the beginning of struct unix_diag_req
_PROTOCOL = struct.Struct("=I")  # at the end of a request whose protocol has more than 8 bits


def replay(directory: Path) -> KernelSource:
    """Open a recording as if it were the kernel; raises FileNotFoundError when there is none."""
    if not (directory / "dumps").is_dir():
        raise FileNotFoundError(f"{directory}: no recording there")
    return KernelSource.over(lambda: ReplayTransport(directory), directory / "proc")


def record(directory: Path, proc: Path = Path("/proc")) -> None:
    """Record the calling thread's namespace; raises KernelError and OSError."""
    (directory / "dumps").mkdir(parents=True, exist_ok=True)
    source = KernelSource.over(lambda: _RecordingTransport(directory), proc)
    try:
        source.tcp(source.families())
        source.udp(source.families())
        source.unix_listeners()
        source.last_heard(source.families())
    finally:
        source.diag.close()
    for name in procfs.FILES:
        if (proc / name).exists():
            copy = directory / "proc" / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes((proc / name).read_bytes())


def datagrams(recorded: bytes) -> Iterator[bytes]:
    """Split a dump's file into its datagrams."""
    at = 0
    while at < len(recorded):
        (length,) = LENGTH.unpack_from(recorded, at)
        yield recorded[at + LENGTH.size : at + LENGTH.size + length]
        at += LENGTH.size + length


class ReplayTransport:
    """Answers each request as the recorded kernel did."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._answer: deque[bytes] = deque()

    def send(self, request: bytes) -> None:
        """Find the recorded answer.

        Raises FileNotFoundError when there is none to this request, DumpError when the recording is
        of a sockmon that did not read Unix sockets.
        """
        file = self._directory / "dumps" / name_of(request)
        if file.name.startswith(_UNIX) and not file.exists():
            raise DumpError(unixdiag.OPERATION, "not_recorded")
        recorded = file.read_bytes()
        sequence = request[_SEQUENCE_AT : _SEQUENCE_AT + 4]
        self._answer.extend(_with_sequence(chunk, sequence) for chunk in datagrams(recorded))

    def receive_into(self, buffer: memoryview) -> tuple[int, bool]:
        """Hand out the next datagram; raises BlockingIOError when there is none."""
        if not self._answer:
            raise BlockingIOError
        chunk = self._answer.popleft()
        length = min(len(chunk), len(buffer))
        buffer[:length] = chunk[:length]
        return length, length == len(chunk)

    def close(self) -> None:
        """Drop what has not been received."""
        self._answer.clear()


class _RecordingTransport:
    """The kernel, with all its answers written to files."""

    def __init__(self, directory: Path) -> None:
        self._kernel: Transport = NetlinkTransport()
        self._directory = directory
        self._file = directory

    def send(self, request: bytes) -> None:
        self._file = self._directory / "dumps" / name_of(request)
        self._file.write_bytes(b"")
        self._kernel.send(request)

    def receive_into(self, buffer: memoryview) -> tuple[int, bool]:
        length, whole = self._kernel.receive_into(buffer)
        with self._file.open("ab") as file:
            file.write(LENGTH.pack(length) + buffer[:length])
        return length, whole

    def close(self) -> None:
        self._kernel.close()


def name_of(request: bytes) -> str:
    """Return the name of the file that has the answer to a request."""
    if request[NLMSG_HEADER_BYTES] == unixdiag.AF_UNIX:
        *_, states, inode = _UNIX_BODY.unpack_from(request, NLMSG_HEADER_BYTES)
        if inode:
            return f"{_UNIX}-{inode}"
        return _UNIX if states == 1 << TcpState.LISTEN else f"{_UNIX}-all"
    family, protocol, extensions, _, states = _REQUEST_BODY.unpack_from(request, NLMSG_HEADER_BYTES)
    if not protocol:
        (protocol,) = _PROTOCOL.unpack_from(request, len(request) - _PROTOCOL.size)
    names = Protocol(protocol).name.lower(), Family(family).name.lower()
    return f"{names[0]}-{names[1]}-{states:x}-{extensions:x}"


def _with_sequence(chunk: bytes, sequence: bytes) -> bytes:
    """Put the request's sequence number into every message, as the kernel does."""
    answer = bytearray(chunk)
    at = 0
    while at + NLMSG_HEADER_BYTES <= len(answer):
        answer[at + _SEQUENCE_AT : at + _SEQUENCE_AT + 4] = sequence
        (length,) = struct.unpack_from("=I", answer, at)
        at += max(NLMSG_HEADER_BYTES, length + 3 & ~3)
    return bytes(answer)
