"""SockDiag gives all of a dump or an error, whatever the kernel does in the middle of one."""

import errno
import itertools
import os
import socket
import struct
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sockmon.kernel.errors import DumpError
from sockmon.kernel.family import Family
from sockmon.kernel.interfaces import Transport
from sockmon.kernel.netlink import uapi
from sockmon.kernel.netlink.replay import ReplayTransport, replay
from sockmon.kernel.netlink.rows import RowBuffer, Rows
from sockmon.kernel.netlink.sockdiag import NetlinkTransport, SockDiag
from sockmon.kernel.netlink.uapi import Protocol
from sockmon.kernel.netlink.wire import DumpRequest
from tests import forge
from tests.recorded import MIXED, QUIET
from tests.unit import reference
from tests.unit.transports import Refused, Script, Step, Truncated

TCP4 = DumpRequest(Protocol.TCP, Family.IPV4)
TCP6 = DumpRequest(Protocol.TCP, Family.IPV6)
END = forge.join(forge.done())
CGROUPS = 7_000_000


def sockets(*cookies: int) -> bytes:
    """Sockets with these cookies, each in a cgroup of its own."""
    return forge.join(
        *(forge.socket(forge.cgroup_id(cookie + CGROUPS), cookie=cookie) for cookie in cookies)
    )


def cookies(rows: Rows) -> list[int]:
    found: list[int] = rows.messages["cookie"].tolist()
    return found


def failure(diag: SockDiag, *requests: DumpRequest) -> DumpError:
    with pytest.raises(DumpError) as caught:
        diag.dump(*requests)
    return caught.value


GOOD: list[Step] = [sockets(1, 2), sockets(3), END]

#: What can go wrong in the middle of a dump, and the reason that says so.
FAULTS: dict[str, tuple[Iterable[Step], str]] = {
    "the socket is busy": ([Refused(OSError(errno.EBUSY, ""))], "EBUSY"),
    "the receive buffer overran": ([sockets(1), OSError(errno.ENOBUFS, "")], "ENOBUFS"),
    "a signal came": ([sockets(1), OSError(errno.EINTR, "")], "EINTR"),
    "a datagram did not fit": ([sockets(1), Truncated(sockets(2)), END], "truncated"),
    "the first datagram did not fit": ([Truncated(sockets(1)), END], "truncated"),
    "nothing came": ([], "incomplete"),
    "the end did not come": ([sockets(1), sockets(2)], "incomplete"),
    "the kernel was interrupted": (
        [forge.join(replace(forge.socket(), flags=forge.DUMP_INTERRUPTED)), END],
        "interrupted",
    ),
    "a reply was broken": ([forge.join(forge.socket(state=0)), END], "malformed"),
    "the kernel refused": ([forge.join(forge.error(-errno.EBUSY))], "EBUSY"),
    "the kernel gave up": ([sockets(1), forge.join(forge.done(-errno.ENOMEM))], "ENOMEM"),
}
every_fault = pytest.mark.parametrize(("steps", "reason"), FAULTS.values(), ids=FAULTS.keys())


class TestDumps:
    def test_hold_every_socket_in_order(self) -> None:
        diag = SockDiag(Script(GOOD).open)
        assert cookies(diag.dump(TCP4)) == [1, 2, 3]

    def test_may_end_in_the_datagram_of_their_last_sockets(self) -> None:
        last = forge.join(forge.socket(cookie=2), forge.done())
        diag = SockDiag(Script([sockets(1), last], GOOD).open)
        assert cookies(diag.dump(TCP4)) == [1, 2]
        assert cookies(diag.dump(TCP4)) == [1, 2, 3]

    def test_of_several_requests_stand_behind_one_another(self) -> None:
        many = [sockets(*range(first, first + 100)) for first in range(4, 3004, 100)]
        sixth = [forge.join(forge.socket(cookie=9, family=forge.AF_INET6)), END]
        script = Script(GOOD, sixth, [*many, END])
        rows = SockDiag(script.open).dump(TCP4, TCP6, TCP4)
        expected = [1, 2, 3, 9, *range(4, 3004)]
        assert cookies(rows) == expected
        in_cgroups = [CGROUPS + cookie for cookie in expected]
        in_cgroups[3] = 0
        assert rows.fields["cgroup_id"].tolist() == in_cgroups
        families = [request[16] for request in script.requests]
        assert families == [forge.AF_INET, forge.AF_INET6, forge.AF_INET]

    def test_of_nothing_are_empty(self) -> None:
        assert len(SockDiag(Script([END]).open).dump(TCP4)) == 0
        assert len(SockDiag(Script().open).dump()) == 0

    def test_share_one_socket(self) -> None:
        script = Script(GOOD, GOOD, GOOD)
        diag = SockDiag(script.open)
        diag.dump(TCP4, TCP4)
        diag.dump(TCP4)
        assert len(script.transports) == script.open_transports == 1

    def test_have_a_sequence_number_each(self) -> None:
        script = Script(GOOD, GOOD, GOOD)
        diag = SockDiag(script.open)
        diag.dump(TCP4, TCP4)
        diag.dump(TCP4)
        assert len({request[8:12] for request in script.requests}) == 3

    def test_keep_their_rows_when_the_next_one_is_read(self) -> None:
        """The buffer is used again; what was returned must not change."""
        diag = SockDiag(Script(GOOD, [sockets(7, 8, 9), END]).open)
        first = diag.dump(TCP4)
        diag.dump(TCP4)
        assert cookies(first) == [1, 2, 3]

    def test_may_share_memory_with_the_one_before(self) -> None:
        """As polls do: what was in it is forgotten, also by a dump that fails."""
        buffer = RowBuffer()
        many = [sockets(*range(first, first + 100)) for first in range(0, 3000, 100)]
        script = Script([*many, END], GOOD, [sockets(5)], [sockets(6)], [END])
        diag = SockDiag(script.open)
        rows = diag.dump(TCP4, into=buffer)
        assert cookies(rows) == list(range(3000))
        assert rows.fields["cgroup_id"].tolist() == list(range(CGROUPS, CGROUPS + 3000))
        assert cookies(diag.dump(TCP4, into=buffer)) == [1, 2, 3]
        with pytest.raises(DumpError):
            diag.dump(TCP4, into=buffer)
        assert len(diag.dump(TCP4, into=buffer)) == 0

    def test_have_no_attributes_of_those_whose_memory_they_share(self) -> None:
        buffer = RowBuffer()
        full = forge.socket(forge.cgroup_id(7), forge.memory_info(8))
        script = Script([forge.join(full, forge.done())], [forge.join(forge.socket()), END])
        diag = SockDiag(script.open)
        assert diag.dump(TCP4, into=buffer).fields["cgroup_id"].tolist() == [7]
        bare = diag.dump(TCP4, into=buffer)
        assert {name: values.tolist() for name, values in bare.fields.items()} == {
            "cgroup_id": [0],
            "drops": [0],
        }

    def test_may_be_larger_than_one_batch(self) -> None:
        each, count = 360, 600  # 19 MB; a batch is 16
        header = struct.pack("=IHHII", 88, uapi.SOCK_DIAG_BY_FAMILY, 2, 1, 0)
        one = np.dtype([("header", "V16"), ("socket", uapi.INET_DIAG_MSG)])
        messages = np.zeros(each * count, one)
        messages["header"] = np.void(header)
        messages["socket"]["family"] = forge.AF_INET
        messages["socket"]["state"] = 6
        messages["socket"]["cookie"] = np.arange(each * count)
        datagrams = [messages[at : at + each].tobytes() for at in range(0, each * count, each)]
        assert sum(map(len, datagrams)) > 1.1 * 16 * 1024 * 1024
        transport = _Datagrams([*datagrams, END])
        rows = SockDiag(lambda: transport).dump(TCP4)
        assert np.array_equal(rows.messages["cookie"], np.arange(each * count))

    @pytest.mark.parametrize("recording", [MIXED, QUIET], ids=lambda path: path.name)
    def test_of_a_recording_hold_what_the_reference_reads(self, recording: Path) -> None:
        source = replay(recording)
        asked = ("400-40", "2bfe-0")  # listeners, and all others
        names = [f"tcp-{family}-{states}" for states in asked for family in ("ipv4", "ipv6")]
        expected = [
            row.cookie
            for name in names
            for row in reference.decode(
                Family[name.split("-")[1].upper()], 1, forge.recorded_dump(recording, name)
            )
        ]
        assert source.tcp(source.families()).cookie.tolist() == expected

    def test_that_were_never_recorded_are_an_error(self) -> None:
        diag = SockDiag(lambda: ReplayTransport(MIXED))
        assert failure(diag, replace_states(TCP4, 2)).reason == "ENOENT"


def replace_states(request: DumpRequest, states: int) -> DumpRequest:
    return request._replace(states=states)


class _Datagrams:
    """One dump's datagrams, all of sequence 1, without a look inside."""

    def __init__(self, datagrams: Iterable[bytes]) -> None:
        self._left = iter(datagrams)

    def send(self, request: bytes) -> None:
        assert request[8:12] == struct.pack("=I", 1)

    def receive_into(self, buffer: memoryview) -> tuple[int, bool]:
        datagram = next(self._left)
        buffer[: len(datagram)] = datagram
        return len(datagram), True

    def close(self) -> None:
        pass


class TestFaults:
    @every_fault
    def test_once_are_tried_again_and_forgotten(self, steps: list[Step], reason: str) -> None:
        script = Script(steps, GOOD)
        assert cookies(SockDiag(script.open).dump(TCP4)) == [1, 2, 3], reason
        assert len(script.requests) == 2

    @every_fault
    def test_twice_are_an_error_that_names_the_dump(self, steps: list[Step], reason: str) -> None:
        script = Script(steps, steps, GOOD)
        error = failure(SockDiag(script.open), TCP4)
        assert (error.reason, error.operation) == (reason, "sock_diag dump of tcp/ipv4")
        assert str(error).startswith("sock_diag dump of tcp/ipv4: ")
        assert len(script.requests) == 2, "tried once more, not for ever"

    @every_fault
    def test_close_the_socket_each_time(self, steps: list[Step], reason: str) -> None:
        script = Script(steps, steps, GOOD)
        diag = SockDiag(script.open)
        assert failure(diag, TCP4).reason == reason
        assert (len(script.transports), script.open_transports) == (2, 0)
        assert cookies(diag.dump(TCP4)) == [1, 2, 3], "and the next dump opens a new one"

    @pytest.mark.parametrize("other", FAULTS.values(), ids=FAULTS.keys())
    def test_of_two_kinds_report_the_second(self, other: tuple[Iterable[Step], str]) -> None:
        steps, reason = other
        script = Script([OSError(errno.EIO, "")], steps)
        assert failure(SockDiag(script.open), TCP4).reason == reason

    def test_repeat_the_failed_request_alone(self) -> None:
        answer = [forge.join(forge.socket(cookie=9, family=forge.AF_INET6)), END]
        script = Script(GOOD, [OSError(errno.ENOBUFS, "")], answer)
        assert cookies(SockDiag(script.open).dump(TCP4, TCP6)) == [1, 2, 3, 9]

    def test_in_a_later_request_leave_nothing_of_the_earlier(self) -> None:
        script = Script(GOOD, [], [], GOOD)
        diag = SockDiag(script.open)
        assert failure(diag, TCP4, TCP6).operation == "sock_diag dump of tcp/ipv6"
        assert cookies(diag.dump(TCP4)) == [1, 2, 3]

    def test_of_opening_are_tried_again_and_then_an_error(self) -> None:
        refusals = [PermissionError(errno.EPERM, ""), PermissionError(errno.EPERM, "")]
        script = Script(GOOD)

        def open_transport() -> Transport:
            if refusals:
                raise refusals.pop()
            return script.open()

        diag = SockDiag(open_transport)
        assert failure(diag, TCP4).reason == "EPERM"
        assert cookies(diag.dump(TCP4)) == [1, 2, 3]

    def test_say_the_errno_in_words(self) -> None:
        script = Script([OSError(errno.ENOBUFS, "")], [OSError(errno.ENOBUFS, "")])
        assert os.strerror(errno.ENOBUFS) in str(failure(SockDiag(script.open), TCP4))

    def test_without_an_errno_are_input_output_errors(self) -> None:
        script = Script([OSError("no number")], [OSError("no number")])
        assert failure(SockDiag(script.open), TCP4).reason == "EIO"


class TestStopping:
    def test_ends_a_dump_at_once_and_is_not_tried_again(self) -> None:
        script = Script(GOOD, GOOD)
        diag = SockDiag(script.open, lambda: True)
        assert failure(diag, TCP4).reason == "stopped"
        assert len(script.requests) == 1
        assert script.open_transports == 0

    def test_ends_even_a_dump_that_has_no_end(self) -> None:
        asked = iter([False, False, True])
        datagrams = itertools.repeat(forge.join(*[forge.socket(state=6)] * 360))
        diag = SockDiag(lambda: _Datagrams(datagrams), lambda: next(asked))
        assert failure(diag, TCP4).reason == "stopped"


class TestClosing:
    def test_closes_the_socket_and_the_next_dump_opens_another(self) -> None:
        script = Script(GOOD, GOOD)
        diag = SockDiag(script.open)
        diag.close()
        diag.dump(TCP4)
        diag.close()
        diag.close()
        assert script.open_transports == 0
        assert cookies(diag.dump(TCP4)) == [1, 2, 3]
        assert len(script.transports) == 2


class TestNetlinkTransport:
    """The real one."""

    @pytest.mark.root  # who else may send to a stranger's netlink socket?
    @pytest.mark.parametrize("length", [16, 100_000], ids=["small", "too large for the buffer"])
    def test_takes_nothing_from_anybody_but_the_kernel(self, length: int) -> None:
        before = set(_netlink_sockets())
        transport = NetlinkTransport()
        (port_id,) = [
            port_id for inode, port_id in _netlink_sockets().items() if inode not in before
        ]
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, uapi.NETLINK_SOCK_DIAG) as stranger:
            with pytest.raises(ConnectionRefusedError):
                stranger.sendto(forge.join(forge.done()).ljust(length, b"\0"), (port_id, 0))
            transport.send(replace_states(TCP4, uapi.LISTENING).encode(0x1234567))
            room = bytearray(64 * 1024)
            received, whole = transport.receive_into(memoryview(room))
        transport.close()
        assert whole
        assert {message.sequence for message in forge.split(bytes(room[:received]))} == {0x1234567}

    def test_says_when_a_datagram_did_not_fit(self) -> None:
        transport = NetlinkTransport()
        transport.send(TCP4.encode(1))
        length, whole = transport.receive_into(memoryview(bytearray(8)))
        assert length > 8
        assert not whole
        transport.close()

    def test_never_waits(self) -> None:
        transport = NetlinkTransport()
        with pytest.raises(BlockingIOError):
            transport.receive_into(memoryview(bytearray(8)))
        transport.close()


def _netlink_sockets() -> dict[str, int]:
    """This process's netlink sockets: port id by inode."""
    links = (link for link in Path("/proc/self/fd").iterdir() if link.is_symlink())
    own = {str(link.readlink()) for link in links}
    lines = Path("/proc/self/net/netlink").read_text().splitlines()[1:]
    every = {words[9]: int(words[2]) for words in map(str.split, lines)}
    return {inode: port_id for inode, port_id in every.items() if f"socket:[{inode}]" in own}
