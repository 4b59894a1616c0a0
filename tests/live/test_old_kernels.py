"""What Linux 4.18 and 5.4 answer, made of this kernel's answers: what they lack is taken out.

Neither can be had as a package to boot; docs/compatibility.md says which kernels are booted.
"""

import errno
import os
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial

import pytest

from sockmon.clock import now
from sockmon.kernel.interfaces import Transport
from sockmon.kernel.netlink import uapi
from sockmon.kernel.netlink.sockdiag import NetlinkTransport, SockDiag
from sockmon.kernel.netlink.source import KernelSource
from sockmon.model.finding import Finding
from sockmon.model.observation import Observation
from sockmon.poll.count import Selection, count
from sockmon.poll.poller import Poller
from sockmon.settings import parse
from tests.cgroups import living_in, make, tree
from tests.lab import NetNs, TcpState, eventually, states

pytestmark = pytest.mark.root

_MESSAGE, _ATTRIBUTE = struct.Struct("=IHHII"), struct.Struct("=HH")
_ATTRIBUTES_AT = uapi.NLMSG_HEADER_BYTES + uapi.INET_DIAG_MSG_BYTES
QUICK = parse(b"detect: {close_wait_leak: {stale_after: 1s, for: 1s}}", "config")


@dataclass(frozen=True, slots=True)
class OldKernel:
    """last: the last type of attribute that it has. info: bytes of its struct tcp_info.

    Sources: include/uapi/linux/inet_diag.h and tcp.h of these versions.
    """

    last: int
    info: int


#: INET_DIAG_MD5SIG, and up to tcpi_delivered_ce; INET_DIAG_ULP_INFO, and up to tcpi_snd_wnd.
KERNELS = {"4.18": OldKernel(18, 200), "5.4": OldKernel(19, 232)}


@dataclass
class OldTransport:
    """A sock_diag socket of an older kernel."""

    kernel: OldKernel
    its: Transport = field(default_factory=NetlinkTransport)

    def send(self, request: bytes) -> None:
        kind = _MESSAGE.unpack_from(request)[1]
        if kind == uapi.SOCK_DIAG_BY_FAMILY and request[17] == 0:
            raise FileNotFoundError(errno.ENOENT, "no protocol of more than 8 bits")
        self.its.send(request)

    def receive_into(self, buffer: memoryview) -> tuple[int, bool]:
        while True:
            size, truncated = self.its.receive_into(buffer)
            older = b"".join(self._messages(bytes(buffer[:size])))
            if older or not size:
                buffer[: len(older)] = older
                return len(older), truncated

    def close(self) -> None:
        self.its.close()

    def _messages(self, datagram: bytes) -> Iterator[bytes]:
        at = 0
        while at < len(datagram):
            length, kind, *rest = _MESSAGE.unpack_from(datagram, at)
            message = datagram[at : at + length]
            at += -(-length // 4) * 4
            if kind in (uapi.NLMSG_DONE, uapi.NLMSG_ERROR):
                yield message
            elif message[17] != TcpState.CLOSE:  # a bound socket, which is not listed
                kept = message[16:_ATTRIBUTES_AT] + b"".join(self._attributes(message))
                yield _MESSAGE.pack(16 + len(kept), kind, *rest) + kept

    def _attributes(self, message: bytes) -> Iterator[bytes]:
        at = _ATTRIBUTES_AT
        while at + 4 <= len(message):
            length, kind = _ATTRIBUTE.unpack_from(message, at)
            payload = message[at + 4 : at + length]
            at += -(-length // 4) * 4
            if kind > self.kernel.last:
                continue
            if kind == uapi.Attribute.INFO:
                payload = payload[: self.kernel.info]
            yield _ATTRIBUTE.pack(4 + len(payload), kind) + payload + bytes(-len(payload) % 4)


@pytest.fixture(params=list(KERNELS))
def source(request: pytest.FixtureRequest) -> KernelSource:
    transport = partial(OldTransport, KERNELS[request.param])
    return replace(KernelSource.live(), diag=SockDiag(transport))


Poll = Callable[[], Observation]


@pytest.fixture
def poll(source: KernelSource, netns: NetNs) -> Iterator[Poll]:
    poller = Poller(source, QUICK, patient=True)
    yield lambda: netns.call(poller.poll, now)
    poller.close()


def test_every_socket_that_it_lists_is_counted(netns: NetNs, poll: Poll) -> None:
    with (
        states.established(netns, count=3),
        states.listen(netns, count=2),
        states.close_wait(netns, count=4),
        states.time_wait(netns, count=2),
    ):
        observation = poll()
    (host,) = observation.namespaces
    assert all(failure.is_optional for failure in observation.failures), "of MPTCP"
    assert host.tcp is not None
    counts = host.tcp.value[4]
    assert counts[TcpState.CLOSE_WAIT] == 4
    assert counts[TcpState.ESTABLISHED] == 6
    assert counts[TcpState.TIME_WAIT] == 2


def test_that_bound_sockets_are_not_listed_is_known(netns: NetNs, poll: Poll) -> None:
    with netns.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        (host,) = poll().namespaces
    assert not host.lists_bound


def test_a_leak_has_its_age_and_its_process(netns: NetNs, poll: Poll) -> None:
    """The kernel tells no cgroup: the process that holds the socket says whose it is."""

    def leaks() -> tuple[Finding, ...]:
        diagnosis = poll().namespaces[0].diagnosis
        assert diagnosis is not None
        return tuple(f for f in diagnosis.value.findings if f.detector == "close_wait_leak")

    with states.close_wait(netns, count=12):
        (leak,) = eventually(leaks, until=lambda found: [f.value for f in found] == [12])
    assert leak.owner is not None
    assert [process.pid for process in leak.owner.processes] == [os.getpid()]


def test_sockets_are_counted_by_the_units_of_those_who_hold_them(
    netns: NetNs, source: KernelSource
) -> None:
    container = "c0ffee" * 10 + "beef"
    keys, waiting = ("unit", "container"), Selection(TcpState.CLOSE_WAIT)
    with (
        tree() as top,
        living_in(make(top / f"docker-{container}.scope")),
        states.close_wait(netns, count=2),
    ):
        counted = netns.call(count, source, keys, waiting, "sockmon")
    assert counted.groups == [((container[:12], container[:12]), 2)]
    assert counted.hints == ()
