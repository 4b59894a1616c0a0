"""The table holds what the kernel said: each socket once, v4-mapped ones as IPv4."""

import ipaddress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sockmon.kernel.family import Family
from sockmon.model.table import SocketTable, address
from tests import forge
from tests.forge import Message
from tests.unit.transports import ForgedKernel

LISTEN = 10


def packed(text: str) -> bytes:
    return ipaddress.ip_address(text).packed.ljust(16, b"\0")


def table_of(*messages: Message) -> SocketTable:
    """The table of these sockets, as it comes of the kernel's dumps: IPv4 first, then IPv6."""
    return ForgedKernel(tcp=messages).source(Path("/nowhere")).tcp(tuple(Family))


def ends(table: SocketTable, row: int) -> tuple[str, str]:
    family = int(table.family[row])
    return str(address(family, table.local[row])), str(address(family, table.remote[row]))


def v6(local: str, remote: str, cookie: int = 1) -> Message:
    return forge.socket(
        family=forge.AF_INET6, local=packed(local), remote=packed(remote), cookie=cookie
    )


def test_every_column_holds_its_own_field() -> None:
    message = forge.socket(
        forge.cgroup_id(2**40),
        forge.memory_info(31),
        state=4,
        timer=1,
        retransmits=5,
        local_port=forge.port(0x1234),
        remote_port=forge.port(65535),
        local=packed("192.0.2.1"),
        remote=packed("203.0.113.9"),
        interface=3,
        cookie=2**63,
        expires=199,
        receive_queue=11,
        send_queue=2**32 - 1,
        uid=1000,
        inode=77,
    )
    table = table_of(message)
    assert ends(table, 0) == ("192.0.2.1", "203.0.113.9")
    numbers = {
        name: int(getattr(table, name)[0])
        for name in SocketTable.__slots__
        if name not in ("local", "remote")
    }
    assert numbers == {
        "state": 4,
        "family": 4,
        "local_port": 0x1234,
        "remote_port": 65535,
        "timer": 1,
        "retransmits": 5,
        "expires": 199,
        "receive_queue": 11,
        "send_queue": 2**32 - 1,
        "cookie": 2**63,
        "uid": 1000,
        "inode": 77,
        "cgroup_id": 2**40,
        "drops": 31,
        "multipath": 0,
    }


@pytest.mark.parametrize(
    ("local", "remote"),
    [
        ("::ffff:10.0.0.1", "::ffff:10.0.0.2"),
        ("::ffff:10.0.0.1", "::"),
        ("::", "::ffff:10.0.0.2"),
        ("::ffff:0.0.0.0", "::ffff:255.255.255.255"),
    ],
    ids=["connected", "listening", "remote alone", "edges"],
)
def test_a_v4_mapped_socket_is_ipv4(local: str, remote: str) -> None:
    table = table_of(v6(local, remote))
    assert table.family.tolist() == [4]
    expected = [
        "0.0.0.0" if text == "::" else text.removeprefix("::ffff:") for text in (local, remote)
    ]
    assert list(ends(table, 0)) == expected


@pytest.mark.parametrize(
    "text",
    [
        "::",
        "::1",
        "::10.0.0.1",
        "::ffff:0:a00:1",
        "::1:ffff:10.0.0.1",
        "1::ffff:a00:1",
        "0:0:1::ffff:a00:1",
    ],
)
def test_what_only_looks_mapped_stays_ipv6(text: str) -> None:
    table = table_of(v6(text, "2001:db8::1"))
    assert table.family.tolist() == [6]
    assert ends(table, 0) == (str(ipaddress.ip_address(text)), "2001:db8::1")


def test_mapped_sockets_leave_their_neighbours_alone() -> None:
    table = table_of(
        forge.socket(local=packed("192.0.2.1"), remote=packed("192.0.2.2"), cookie=1),
        v6("fd00::1", "fd00::2", 2),
        v6("::ffff:10.0.0.1", "::ffff:10.0.0.2", 3),
        v6("fd00::3", "fd00::4", 4),
    )
    assert table.family.tolist() == [4, 6, 4, 6]
    assert [ends(table, row) for row in range(4)] == [
        ("192.0.2.1", "192.0.2.2"),
        ("fd00::1", "fd00::2"),
        ("10.0.0.1", "10.0.0.2"),
        ("fd00::3", "fd00::4"),
    ]


def test_a_mapped_address_is_as_the_kernel_writes_it_for_ipv4() -> None:
    table = table_of(
        forge.socket(local=packed("10.0.0.1"), cookie=1), v6("::ffff:10.0.0.1", "::", 2)
    )
    assert table.local[0].tolist() == table.local[1].tolist()


def test_a_socket_that_came_twice_counts_once_as_it_was_last() -> None:
    table = table_of(
        forge.socket(cookie=1, state=1),
        forge.socket(cookie=2, state=1),
        forge.socket(cookie=1, state=8),
    )
    assert table.cookie.tolist() == [2, 1]
    assert table.state.tolist() == [1, 8]


def test_a_socket_of_both_dumps_counts_once() -> None:
    """As a listener that was closed, and its first connection: one cookie, another state."""
    first = forge.socket(forge.cgroup_id(5), cookie=1, state=10)
    again = forge.socket(forge.cgroup_id(6), forge.memory_info(7), cookie=1, state=7)
    table = table_of(first, v6("fd00::1", "::", 2), again)
    assert (len(table), table.cgroup_id.tolist(), table.drops.tolist()) == (2, [6, 0], [7, 0])


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 11), st.integers(0, 9))))
def test_any_table_holds_the_last_row_of_each_cookie(rows: list[tuple[int, int, int]]) -> None:
    messages = [
        forge.socket(forge.cgroup_id(group), cookie=cookie, state=state)
        for cookie, state, group in rows
    ]
    in_order = sorted(rows, key=lambda row: row[1] != LISTEN)  # listeners are asked for first
    expected = {cookie: (state, group) for cookie, state, group in in_order}
    table = table_of(*messages)
    assert len(table) == len(expected)
    columns = table.cookie.tolist(), table.state.tolist(), table.cgroup_id.tolist()
    assert {c: (s, g) for c, s, g in zip(*columns, strict=True)} == expected


def test_no_sockets_make_an_empty_table() -> None:
    table = table_of()
    assert len(table) == 0
    assert len(table.select(np.zeros(0, np.intp))) == 0
    assert all(len(getattr(table, name)) == 0 for name in SocketTable.__slots__)


def test_selecting_takes_whole_rows_by_mask_or_index() -> None:
    table = table_of(*(v6(f"fd00::{n}", "::", n) for n in (1, 2, 3)))
    for rows in (np.array([False, False, True]), np.array([2])):
        chosen = table.select(rows)
        assert (len(chosen), chosen.cookie.tolist()) == (1, [3])
        assert ends(chosen, 0) == ("fd00::3", "::")
