"""Any SocketTable, made of rows that a plain Python model can read too."""

import ipaddress
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from hypothesis import strategies as st

from sockmon.model.finding import UNITS, Evidence, Quantity
from sockmon.model.limits import PortRange
from sockmon.model.states import TcpState
from sockmon.model.table import SocketTable

#: Few of each, so that sockets share ports, addresses and destinations.
PORTS = [0, 22, 80, 443, 32767, 32768, 32769, 40000, 40001, 60999, 61000, 65535]
ADDRESSES = {
    4: ["10.0.0.1", "10.0.0.2", "127.0.0.1", "127.200.0.9", "192.0.2.77"],
    6: ["fd00::1", "fd00::2", "::1", "2001:db8::127"],
}
RANGES = [
    PortRange(32768, 60999),
    PortRange(32768, 60999, ((40000, 40000), (60000, 65535))),
    PortRange(32768, 32769),
    PortRange(40000, 40000, ((40000, 40000),)),
    PortRange(0, 65535),
    PortRange(1024, 50000, ((80, 80), (1024, 33000))),
]


class Socket(NamedTuple):
    """One socket; an established IPv4 client's unless said otherwise."""

    state: TcpState = TcpState.ESTABLISHED
    family: int = 4
    local: str = "10.0.0.1"
    local_port: int = 40000
    remote: str = "10.0.0.2"
    remote_port: int = 443
    timer: int = 0
    expires: int = 0
    receive_queue: int = 0
    send_queue: int = 0
    cookie: int = 0
    drops: int = 0


def table(sockets: Iterable[Socket]) -> SocketTable:
    """The table of these sockets; those without a cookie get one of their own."""
    rows = list(sockets)

    def numbers(name: str, dtype: type[np.generic]) -> np.ndarray[tuple[int], np.dtype[np.generic]]:
        return np.array([getattr(row, name) for row in rows], dtype)

    return SocketTable(
        state=numbers("state", np.uint8),
        family=numbers("family", np.uint8),
        local_port=numbers("local_port", np.uint16),
        remote_port=numbers("remote_port", np.uint16),
        local=_words(row.local for row in rows),
        remote=_words(row.remote for row in rows),
        timer=numbers("timer", np.uint8),
        retransmits=np.zeros(len(rows), np.uint8),
        expires=numbers("expires", np.uint32),
        receive_queue=numbers("receive_queue", np.uint32),
        send_queue=numbers("send_queue", np.uint32),
        cookie=np.array([row.cookie or 1000 + at for at, row in enumerate(rows)], np.uint64),
        uid=np.zeros(len(rows), np.uint32),
        inode=np.zeros(len(rows), np.uint32),
        cgroup_id=np.zeros(len(rows), np.uint64),
        drops=numbers("drops", np.uint64),
        multipath=np.zeros(len(rows), np.bool_),
    )


def _words(addresses: Iterable[str]) -> np.ndarray[tuple[int, int], np.dtype[np.uint32]]:
    packed = b"".join(ipaddress.ip_address(text).packed.ljust(16, b"\0") for text in addresses)
    return np.frombuffer(packed, np.uint32).reshape(-1, 4)


@st.composite
def sockets(draw: st.DrawFn) -> Socket:
    """Any socket of the few ports and addresses."""
    family = draw(st.sampled_from([4, 6]))
    address, port = st.sampled_from(ADDRESSES[family]), st.sampled_from(PORTS)
    queue = st.sampled_from([0, 0, 1, 22, 2**32 - 1])
    return Socket(
        state=draw(st.sampled_from(TcpState)),
        family=family,
        local=draw(address),
        local_port=draw(port),
        remote=draw(address),
        remote_port=draw(port),
        timer=draw(st.integers(0, 4)),
        expires=draw(st.sampled_from([0, 1000, 58_999, 59_000, 59_001, 60_000])),
        receive_queue=draw(queue),
        send_queue=draw(queue),
    )


socket_lists = st.lists(sockets(), max_size=30)
port_ranges = st.sampled_from(RANGES)


def any_evidence(texts: st.SearchStrategy[str]) -> st.SearchStrategy[Evidence]:
    """Evidence of any names and numbers, its texts from this strategy."""
    quantities = st.builds(Quantity, st.integers() | st.floats(), st.sampled_from(UNITS))
    quantities |= st.builds(Quantity, texts, st.just("text"))
    parts = st.lists(st.tuples(texts, quantities), max_size=3).map(tuple)
    return st.dictionaries(texts, quantities | parts, max_size=5)
