"""Captures of packets, pcap or pcapng -> Packets, in chunks of bounded memory. Pure.

https://www.tcpdump.org/manpages/pcap-savefile.5.html,
https://www.ietf.org/archive/id/draft-ietf-opsawg-pcapng-02.html
"""

from collections.abc import Callable, Iterator
from typing import Protocol

from sockmon.kernel.packets.batch import Batch, CaptureError
from sockmon.kernel.packets.headers import Packets
from sockmon.kernel.packets.pcap import PCAP_MAGICS, Pcap
from sockmon.kernel.packets.pcapng import SECTION_HEADER, PcapNg

_CHUNK = 1 << 20
_OTHERS = {
    b"\x1f\x8b": "compressed by gzip: zcat FILE | sockmon trace --read -",
    b"\x28\xb5\x2f\xfd": "compressed by zstd: zstdcat FILE | sockmon trace --read -",
    b"\xfd7zXZ": "compressed by xz: xzcat FILE | sockmon trace --read -",
    b"BZh": "compressed by bzip2: bzcat FILE | sockmon trace --read -",
}


class _Format(Protocol):
    """One of the formats. dropped: packets that the capturing program says were lost."""

    dropped: int

    def take(self, data: bytes, at: int, batch: Batch) -> int:
        """Add the whole packets of `data` to the batch; return how many bytes they take.

        at: where `data` begins in the capture, for messages. Raises CaptureError.
        """
        ...


class Capture:
    """Reads one capture. read: returns at most so many bytes, none at the end."""

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._read = read
        self._format: _Format | None = None

    @property
    def dropped(self) -> int:
        """Return how many packets were lost, as far as the capture says so."""
        return 0 if self._format is None else self._format.dropped

    def packets(self) -> Iterator[Packets]:
        """Return the packets, some at a time; raises CaptureError after those before the fault."""
        data, at = b"", 0
        while chunk := self._read(_CHUNK):
            data += chunk
            if self._format is None:
                if len(data) < 24:
                    continue
                self._format = _format_of(data)
            batch = Batch()
            fault = None
            try:
                used = self._format.take(data, at, batch)
            except CaptureError as error:
                fault = error
            if batch.start:
                yield batch.packets(data)
            if fault is not None:
                raise fault
            data, at = data[used:], at + used
        if self._format is None:
            self._format = _format_of(data)  # says what else it is
        if data or not at:
            raise CaptureError(f"cut off at byte {at + len(data)}, amid what begins at byte {at}")


def _format_of(data: bytes) -> _Format:
    if data[:4] in PCAP_MAGICS:
        return Pcap()
    if data[:4] == SECTION_HEADER:
        return PcapNg()
    for magic, what in _OTHERS.items():
        if data.startswith(magic):
            raise CaptureError(what)
    raise CaptureError("neither pcap nor pcapng" if data else "empty")
