"""MPTCP connections: one row each, joined with their subflows, and never a reason to fail."""

import errno
import struct
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sockmon.kernel.family import Family
from sockmon.kernel.netlink.uapi import Protocol
from sockmon.kernel.netlink.wire import DumpRequest
from sockmon.model.mptcp import joined
from sockmon.model.states import TcpState
from sockmon.model.table import SocketTable
from tests import forge
from tests.forge import Message
from tests.unit import strategies
from tests.unit.strategies import Socket
from tests.unit.transports import ForgedKernel

#: Offsets of struct mptcp_info (include/uapi/linux/mptcp.h).
_SUBFLOWS_TOTAL, _LAST_SENT, _INFO_BYTES = 80, 84, 96

Row = tuple[Socket, int]  # and its inode


def with_inodes(rows: Sequence[Row], *, multipath: bool = False) -> SocketTable:
    table = strategies.table(socket for socket, _ in rows)
    return replace(
        table,
        inode=np.array([inode for _, inode in rows], np.uint32),
        multipath=np.full(len(rows), multipath),
    )


def connection(state: TcpState = TcpState.ESTABLISHED, **others: Any) -> Socket:
    return Socket(state, local_port=9504, remote_port=33954)._replace(**others)


def test_a_connection_takes_the_place_of_its_first_subflow() -> None:
    listener = Socket(TcpState.LISTEN, local_port=9504, remote_port=0, cookie=1)
    tcp = with_inodes([(listener, 7), (connection(cookie=2), 8)])
    waiting = connection(TcpState.CLOSE_WAIT, receive_queue=836, cookie=3)
    table = joined(tcp, with_inodes([(waiting, 8)], multipath=True))
    assert table.state.tolist() == [TcpState.LISTEN, TcpState.CLOSE_WAIT]
    assert table.cookie.tolist() == [1, 3]
    assert table.receive_queue.tolist() == [0, 836]
    assert table.multipath.tolist() == [False, True]


def test_other_subflows_are_known_by_their_inode() -> None:
    path = replace_address(connection(cookie=4), "10.9.9.9")
    tcp = with_inodes([(connection(cookie=2), 8), (path, 8), (replace_port(path), 0)])
    table = joined(tcp, with_inodes([(connection(cookie=3), 8)], multipath=True))
    assert sorted(table.cookie.tolist()) == [3, 1002], "one of nobody is no subflow of anybody"


def replace_address(socket: Socket, local: str) -> Socket:
    return socket._replace(local=local)


def replace_port(socket: Socket) -> Socket:
    return socket._replace(local_port=9505, cookie=0)


def test_a_connection_that_nobody_accepted_yet_counts_once() -> None:
    table = joined(
        with_inodes([(connection(cookie=2), 0)]),
        with_inodes([(connection(TcpState.CLOSE_WAIT, cookie=3), 0)], multipath=True),
    )
    assert (table.state.tolist(), table.inode.tolist()) == ([TcpState.CLOSE_WAIT], [0])


@pytest.mark.parametrize(
    ("subflow", "own", "shown"), [(1, 0, 1), (4, 0, 4), (0, 2, 2), (2, 1, 2), (0, 0, 0)]
)
def test_the_timer_is_the_subflows_if_it_runs(subflow: int, own: int, shown: int) -> None:
    table = joined(
        with_inodes([(connection(timer=subflow, expires=100, cookie=2), 8)]),
        with_inodes([(connection(timer=own, expires=200, cookie=3), 8)], multipath=True),
    )
    assert table.timer.tolist() == [shown]
    assert table.expires.tolist() == [100 if subflow else 200]


def test_a_connection_without_subflows_is_a_row_of_its_own() -> None:
    gone = connection(TcpState.LAST_ACK, cookie=3)
    table = joined(with_inodes([]), with_inodes([(gone, 0)], multipath=True))
    assert table.cookie.tolist() == [3]


def test_a_time_wait_socket_is_no_subflow() -> None:
    left = connection(TcpState.TIME_WAIT, timer=3, cookie=2)
    table = joined(
        with_inodes([(left, 0)]), with_inodes([(connection(cookie=3), 8)], multipath=True)
    )
    assert table.cookie.tolist() == [2, 3]


rows = st.lists(st.tuples(strategies.sockets(), st.integers(0, 3)), max_size=15)


@given(rows, rows)
def test_every_connection_is_there_once_and_no_listener_goes(
    tcp: list[Row], own: list[Row]
) -> None:
    own = [(s, i) for s, i in own if s.state is not TcpState.LISTEN]
    mptcp = replace(with_inodes(own, multipath=True), cookie=np.arange(1, len(own) + 1))
    table = joined(with_inodes(tcp), mptcp)
    multipath = table.multipath
    assert len(table) <= len(tcp) + len(own)
    listeners = sum(s.state is TcpState.LISTEN for s, _ in tcp)
    assert int((table.state == TcpState.LISTEN).sum()) == listeners
    ours = {(s[1:6], inode) for s, inode in own}
    for row in np.flatnonzero(~multipath & (table.state != TcpState.LISTEN)).tolist():
        if table.timer[row] != 3:
            there = next(s[1:6] for n, (s, _) in enumerate(tcp) if 1000 + n == table.cookie[row])
            assert there not in {ends for ends, _ in ours}
            assert table.inode[row] == 0 or table.inode[row] not in {i for _, i in ours}
    distinct = len({ends for ends, _ in ours})
    assert int(multipath.sum()) >= min(distinct, len(own))


class TestRequests:
    def test_name_the_protocol_in_an_attribute(self) -> None:
        encoded = DumpRequest(Protocol.MPTCP, Family.IPV4, states=0x100).encode(1)
        assert len(encoded) == 80
        assert struct.unpack_from("=I", encoded) == (80,)
        assert encoded[17] == 0, "an older kernel knows no protocol 0, and says so"
        assert struct.unpack_from("=HHI", encoded, 72) == (8, 3, 262)


def info(sent: int, received: int, acknowledged: int, size: int = _INFO_BYTES) -> bytes:
    """The attribute INFO of an MPTCP connection, cut to `size`."""
    whole = bytearray(_INFO_BYTES)
    whole[_SUBFLOWS_TOTAL] = 1
    struct.pack_into("=III", whole, _LAST_SENT, sent, received, acknowledged)
    return forge.attribute(forge.INFO, bytes(whole[:size]))


def message(*attributes: bytes, state: int = 8, **fields: int | bytes) -> Message:
    return forge.socket(
        *attributes,
        state=state,
        local_port=forge.port(9504),
        remote_port=forge.port(33954),
        **fields,
    )


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """That of a kernel with MPTCP."""
    (tmp_path / "sys/net/mptcp").mkdir(parents=True)
    (tmp_path / "sys/net/mptcp/enabled").write_text("1\n")
    return tmp_path


def forged(*connections: Message) -> ForgedKernel:
    return ForgedKernel(
        tcp=[message(state=1, cookie=2, inode=8)], mptcp=[*connections, message(state=10, cookie=9)]
    )


class TestReading:
    def test_knows_when_a_connection_last_sent_and_heard(self, proc: Path) -> None:
        source = forged(message(info(3000, 2000, 1000), cookie=3, inode=8)).source(proc)
        table = source.tcp(tuple(Family))
        assert table.state.tolist() == [TcpState.CLOSE_WAIT]
        assert table.multipath.tolist() == [True]
        heard = source.last_heard(tuple(Family))
        assert heard.cookie.tolist() == [3]
        assert heard.data_sent_ms.tolist() == [3000]
        assert heard.data_received_ms.tolist() == [2000]
        assert heard.ack_received_ms.tolist() == [1000]

    def test_a_kernel_before_6_10_does_not_know_the_times(self, proc: Path) -> None:
        source = forged(message(info(1, 2, 3, size=84), cookie=3, inode=8)).source(proc)
        assert source.tcp(tuple(Family)).state.tolist() == [TcpState.CLOSE_WAIT]
        assert source.last_heard(tuple(Family)).cookie.tolist() == []

    def test_a_read_in_part_has_them_too(self, proc: Path) -> None:
        source = forged(message(info(3000, 2000, 1000), cookie=3, inode=8)).source(proc)
        table, heard = source.passing(tuple(Family))
        assert table.cookie.tolist() == heard.cookie.tolist() == [3]

    def test_a_kernel_without_mptcp_is_not_asked(self, tmp_path: Path) -> None:
        kernel = forged(message(cookie=3, inode=8))
        table = kernel.source(tmp_path).tcp(tuple(Family))
        assert table.state.tolist() == [TcpState.ESTABLISHED]
        assert all(request[17] == Protocol.TCP for request in kernel.requests)

    def test_a_missing_module_is_said_once_and_fails_nothing(self, proc: Path) -> None:
        kernel = forged(message(cookie=3, inode=8))
        kernel.refused[Protocol.MPTCP] = errno.ENOENT
        source = kernel.source(proc)
        for expected in (["ENOENT"], []):
            assert source.tcp(tuple(Family)).state.tolist() == [TcpState.ESTABLISHED]
            assert [error.reason for error in source.take_errors()] == expected
        other = source.of_namespace("pod", source.files)
        other.tcp(tuple(Family))
        assert other.take_errors() == [], "the kernel is the same"

    def test_any_other_error_is_said_each_time(self, proc: Path) -> None:
        kernel = forged(message(cookie=3, inode=8))
        kernel.refused[Protocol.MPTCP] = errno.ENOMEM
        source = kernel.source(proc)
        for _ in range(2):
            assert source.tcp(tuple(Family)).state.tolist() == [TcpState.ESTABLISHED]
            assert [error.reason for error in source.take_errors()] == ["ENOMEM"]
