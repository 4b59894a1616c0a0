"""Capture files: opened, read, written."""

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from sockmon.kernel.packets.batch import CaptureError
from sockmon.kernel.packets.capture import Capture
from sockmon.kernel.packets.headers import Packets
from sockmon.kernel.packets.pcap import pcap_header, pcap_packets

_STDIN = 0


@contextmanager
def open_capture(name: str) -> Iterator[Capture]:
    """Open a capture; `-` is standard input. Raises CaptureError, as reading it does."""
    if name == "-":
        yield Capture(lambda size: _read(_STDIN, size))
        return
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise CaptureError(error.strerror or str(error)) from error
    try:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise CaptureError("a directory, not a capture")
        yield Capture(lambda size: _read(descriptor, size))
    finally:
        os.close(descriptor)


def in_order(names: Sequence[str]) -> list[str]:
    """Return captures in the order of their first packets, as far as all are files.

    A capture that was written in parts is often given in the order of their names, in which the
    tenth comes before the second.
    """
    if not all(Path(name).is_file() for name in names):
        return list(names)
    return sorted(names, key=_begins_at)


def _begins_at(name: str) -> int:
    try:
        with open_capture(name) as capture:
            for packets in capture.packets():
                return int(packets.time[0])
    except CaptureError:
        pass  # the reader reports it
    return 0


def _read(descriptor: int, size: int) -> bytes:
    try:
        return os.read(descriptor, size)
    except OSError as error:
        raise CaptureError(f"cannot be read: {error.strerror}") from error


class CaptureWriter:
    """Writes IP and TCP headers into a pcap file. Raises OSError."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._file = Path(name).open("wb", buffering=0)  # noqa: SIM115 - close() closes it
        self._write(pcap_header())

    def write(self, packets: Packets) -> None:
        """Add packets, each from its IP header on; see headers.Decoded."""
        self._write(pcap_packets(packets))

    def _write(self, data: bytes) -> None:
        left = memoryview(data)
        while left:
            left = left[self._file.write(left) :]

    def close(self) -> None:
        """Close the file."""
        self._file.close()
