"""Kernels made of a script: what SockDiag gets instead of a netlink socket."""

import errno
import socket
import struct
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sockmon.kernel.family import Family
from sockmon.kernel.interfaces import Transport
from sockmon.kernel.netlink.replay import ReplayTransport
from sockmon.kernel.netlink.source import KernelSource
from sockmon.kernel.netlink.uapi import Protocol
from tests import forge
from tests.forge import Message

#: The kernel's dump datagrams may be this long; a shorter buffer would lose the rest.
LARGEST_DATAGRAM = 32 * 1024


@dataclass(frozen=True, slots=True)
class Truncated:
    """A datagram of which only the beginning fitted."""

    datagram: bytes


@dataclass(frozen=True, slots=True)
class Refused:
    """A request that the kernel does not even take."""

    error: OSError


Step = bytes | Truncated | OSError | Refused


class Script:
    """Answers each request in turn with its own steps, over any number of transports."""

    def __init__(self, *answers: Iterable[Step]) -> None:
        self.answers = deque(answers)
        self.transports: list[ScriptedTransport] = []
        self.requests: list[bytes] = []

    def open(self) -> Transport:
        """Open one more transport."""
        self.transports.append(ScriptedTransport(self))
        return self.transports[-1]

    @property
    def open_transports(self) -> int:
        """How many have not been closed."""
        return sum(not transport.closed for transport in self.transports)


class ScriptedTransport:
    """One netlink socket of a Script: busy, as a real one, until its answer has been read."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._steps: deque[Step] = deque()
        self._sequence = 0
        self.closed = False

    def send(self, request: bytes) -> None:
        """Take the next answer of the script."""
        assert not self.closed, "a closed socket is no longer used"
        self._script.requests.append(request)
        if self._steps:
            raise OSError(errno.EBUSY, "a dump is in progress")
        self._sequence = int.from_bytes(request[8:12], "little")
        self._steps.extend(self._script.answers.popleft())
        if self._steps and isinstance(self._steps[0], Refused):
            raise self._steps[0].error

    def receive_into(self, buffer: memoryview) -> tuple[int, bool]:
        """Play the next step; BlockingIOError when there is none."""
        assert not self.closed, "a closed socket is no longer used"
        assert len(buffer) >= LARGEST_DATAGRAM, "any datagram of the kernel would fit"
        if not self._steps:
            raise BlockingIOError(errno.EAGAIN, "nothing there")
        step = self._steps.popleft()
        if isinstance(step, OSError):
            raise step
        assert not isinstance(step, Refused)
        truncated = isinstance(step, Truncated)
        datagram = step.datagram if isinstance(step, Truncated) else step
        chunk = forge.with_sequence(datagram, self._sequence)
        length = min(len(chunk), len(buffer))
        buffer[:length] = chunk[:length]
        return length, not truncated

    def close(self) -> None:
        """Never again."""
        assert not self.closed, "a socket is closed once"
        self.closed = True


class ForgedKernel:
    """A kernel with just these sockets, which answers every request with those that it names."""

    def __init__(
        self,
        tcp: Sequence[Message] = (),
        udp: Sequence[Message] = (),
        mptcp: Sequence[Message] = (),
        unix: Sequence[Message] = (),
    ) -> None:
        self.sockets = {Protocol.TCP: tcp, Protocol.UDP: udp, Protocol.MPTCP: mptcp}
        self.unix = unix
        # Protocols, or "unix", refused with this errno at the end of an empty dump.
        self.refused: dict[Protocol | str, int] = {}
        self.requests: list[bytes] = []

    def source(self, proc: Path) -> KernelSource:
        """The kernel with a copy of /proc beside it."""
        return KernelSource.over(lambda: _ForgedTransport(self), proc)


class _ForgedTransport:
    def __init__(self, kernel: ForgedKernel) -> None:
        self._kernel = kernel
        self._left: deque[bytes] = deque()

    def send(self, request: bytes) -> None:
        self._kernel.requests.append(request)
        if request[16] == socket.AF_UNIX:
            refused = self._kernel.refused.get("unix", 0)
            chosen = list(self._kernel.unix)
        else:
            family, number, _, _, states = struct.unpack_from("=BBBBI", request, 16)
            if not number:
                (number,) = struct.unpack_from("=I", request, len(request) - 4)
            refused = self._kernel.refused.get(Protocol(number), 0)
            chosen = [
                its
                for its in self._kernel.sockets[Protocol(number)]
                if its.field("family") == family and states >> its.field("state") & 1
            ]
        if refused:
            chosen = []
        sequence = int.from_bytes(request[8:12], "little")
        for answer in (
            [forge.join(its) for its in chosen],
            [forge.join(forge.done(-refused))],
        ):
            self._left.extend(forge.with_sequence(datagram, sequence) for datagram in answer)

    def receive_into(self, buffer: memoryview) -> tuple[int, bool]:
        if not self._left:
            raise BlockingIOError
        datagram = self._left.popleft()
        buffer[: len(datagram)] = datagram
        return len(datagram), True

    def close(self) -> None:
        self._left.clear()


#: Says with which error a request of this protocol, family and idiag_ext is refused, if at all.
Fault = Callable[[Protocol, Family, int], OSError | None]


class FaultyKernel:
    """A recorded kernel, some of whose dumps fail as long as `fault` says so."""

    def __init__(self, recording: Path) -> None:
        self._recording = recording
        self.fault: Fault = lambda *_: None
        self.source = KernelSource.over(self._open, recording / "proc")

    def fail(
        self, protocols: Sequence[Protocol] = tuple(Protocol), *families: Family, number: int
    ) -> None:
        """Refuse all dumps of these protocols and families (all of them if none is named)."""
        wanted = families or tuple(Family)

        def fault(protocol: Protocol, family: Family, _: int) -> OSError | None:
            if protocol in protocols and family in wanted:
                return OSError(number, "scripted")
            return None

        self.fault = fault

    def mend(self) -> None:
        """Answer again."""
        self.fault = lambda *_: None

    def _open(self) -> Transport:
        return _FaultyTransport(self, ReplayTransport(self._recording))


class _FaultyTransport:
    def __init__(self, kernel: FaultyKernel, replayed: ReplayTransport) -> None:
        self._kernel = kernel
        self._replayed = replayed

    def send(self, request: bytes) -> None:
        if request[16] != socket.AF_UNIX:
            error = self._kernel.fault(Protocol(request[17]), Family(request[16]), request[18])
            if error is not None:
                raise error
        self._replayed.send(request)

    def receive_into(self, buffer: memoryview) -> tuple[int, bool]:
        return self._replayed.receive_into(buffer)

    def close(self) -> None:
        self._replayed.close()
