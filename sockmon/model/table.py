"""SocketTable: one namespace's sockets at one moment, as columns."""

import ipaddress
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sockmon.model.distinct import equals

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

AF_INET, AF_INET6 = 2, 10
_MAPPED = np.frombuffer(b"\x00\x00\xff\xff", np.uint32)[0]

Column = NDArray[Any]


@dataclass(frozen=True, slots=True)
class SocketTable:
    """Sockets as NumPy columns of equal length; one row is one socket, no row twice.

    state        uint8   TcpState
    family       uint8   4 or 6; a v4-mapped socket is 4
    local_port   uint16  host byte order, as is remote_port
    local        uint32 x 4 in network byte order, as is remote; IPv4 in the first word
    timer        uint8   0 none, 1 retransmit, 2 keepalive, 3 time-wait, 4 zero-window probe
    retransmits  uint8   tries so far, or probes sent
    expires      uint32  milliseconds until the timer fires
    receive_queue, send_queue  uint32 bytes; at a listener the accept queue and its limit
    cookie       uint64  the socket's identity in this namespace since boot
    uid, inode   uint32  0 in TIME_WAIT and for half-open connections
    cgroup_id    uint64  of the cgroup v2 directory; 0 where the kernel sends none
    drops        uint64  at a listener, connections dropped there; 0 if not asked for
    multipath    bool    an MPTCP connection (mptcp.py); its receive queue counts memory, not bytes
    """

    state: Column
    family: Column
    local_port: Column
    remote_port: Column
    local: Column
    remote: Column
    timer: Column
    retransmits: Column
    expires: Column
    receive_queue: Column
    send_queue: Column
    cookie: Column
    uid: Column
    inode: Column
    cgroup_id: Column
    drops: Column
    multipath: Column

    def __len__(self) -> int:
        return len(self.state)

    def select(self, rows: Column) -> "SocketTable":
        """Return the rows of an index or a boolean mask."""
        return SocketTable(*(getattr(self, name)[rows] for name in self.__slots__))

    def remote_ends(self, rows: Column) -> list[Column]:
        """Return the remote ports and addresses of some rows, as columns of numbers."""
        return [self.remote_port[rows], *self.addresses(self.remote, rows)]

    def addresses(self, addresses: Column, rows: Column) -> list[Column]:
        """Return local or remote addresses of some rows, as columns of numbers."""
        family = self.family[rows]
        return [family, *(addresses[rows, word] for word in words_of(family))]

    def rows_of(self, inodes: Collection[int]) -> NDArray[np.intp]:
        """Return the rows of these inodes, as far as they are here."""
        wanted = np.array(sorted(inodes), np.uint32)
        if not wanted.size:
            return np.empty(0, np.intp)
        at = np.minimum(np.searchsorted(wanted, self.inode), wanted.size - 1)
        return np.flatnonzero(wanted[at] == self.inode)

    @staticmethod
    def concatenate(tables: Sequence["SocketTable"]) -> "SocketTable":
        """Return the rows of several namespaces' tables in one, in memory of its own."""
        names = SocketTable.__slots__
        return SocketTable(*(np.concatenate([getattr(t, n) for t in tables]) for n in names))

    @staticmethod
    def from_messages(
        messages: NDArray[np.void], cgroup_id: Column, drops: Column, *, multipath: bool = False
    ) -> "SocketTable":
        """Build the table from struct inet_diag_msg rows in the order in which they came.

        multipath: they are MPTCP connections.
        The rows become the table's own: its addresses are put right in place.
        A dump is no snapshot: a socket that moved meanwhile can come twice, with one cookie.
        Its last row is the truth.
        """
        last = _last_of_each(messages["cookie"])
        if last is not None:
            messages, cgroup_id, drops = messages[last], cgroup_id[last], drops[last]
        local, remote = messages["local"], messages["remote"]
        family = np.where(messages["family"] == AF_INET, np.uint8(4), np.uint8(6))
        mapped = _v4_mapped(local, remote, family)
        family[mapped] = 4
        if mapped.size:
            for words in (local, remote):
                words[mapped, 0] = words[mapped, 3]
                words[mapped, 1:] = 0
        return SocketTable(
            state=messages["state"].copy(),  # asked for often: side by side it is read faster
            family=family,
            local_port=messages["local_port"].astype(np.uint16),
            remote_port=messages["remote_port"].astype(np.uint16),
            local=local,
            remote=remote,
            timer=messages["timer"],
            retransmits=messages["retransmits"],
            expires=messages["expires"],
            receive_queue=messages["receive_queue"],
            send_queue=messages["send_queue"],
            cookie=messages["cookie"],
            uid=messages["uid"],
            inode=messages["inode"],
            cgroup_id=cgroup_id,
            drops=drops,
            multipath=np.full(len(messages), multipath),
        )


def words_of(family: Column) -> range:
    """Return which words of such addresses are not always 0."""
    return range(1 if (family == 4).all() else 4)


def address(family: int, words: Column) -> IPAddress:
    """Return one row's address: `family` 4 or 6, `words` four uint32 in network byte order."""
    if family == 4:
        return ipaddress.IPv4Address(words[:1].tobytes())
    return ipaddress.IPv6Address(words.tobytes())


def _last_of_each(cookies: Column) -> Column | None:
    """Rows that hold the last occurrence of each cookie; None when no cookie comes twice."""
    rows = np.arange(cookies.size)
    one_of = equals(np.ascontiguousarray(cookies))
    if (one_of == rows).all():
        return None
    last = rows.copy()
    np.maximum.at(last, one_of, rows)
    return np.flatnonzero(last[one_of] == rows)


def _v4_mapped(local: Column, remote: Column, family: Column) -> NDArray[np.intp]:
    """Rows of AF_INET6 sockets that use IPv4 (::ffff:a.b.c.d at either end)."""
    rows = np.flatnonzero(family == 6)
    found = _mapped(local[rows])
    others = np.flatnonzero(~found)
    found[others] = _mapped(remote[rows[others]])
    return rows[found]


def _mapped(words: Column) -> NDArray[np.bool_]:
    mapped: NDArray[np.bool_] = words[:, 2] == _MAPPED
    mapped &= (words[:, 0] == 0) & (words[:, 1] == 0)
    return mapped
