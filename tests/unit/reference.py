"""A slow and obvious decoder of sock_diag replies, for the fast one to be compared with.

Written from include/uapi/linux/{netlink,inet_diag}.h, one message and one attribute at a time.
It refuses what a kernel would not send; which mistake it finds first does not matter.
"""

import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple


class RefusedError(Exception):
    """This is no whole, well-formed dump."""


class Row(NamedTuple):
    """One socket as the kernel described it; numbers in host byte order, addresses as bytes."""

    family: int
    state: int
    timer: int
    retransmits: int
    local_port: int
    remote_port: int
    local: bytes
    remote: bytes
    interface: int
    cookie: int
    expires: int
    receive_queue: int
    send_queue: int
    uid: int
    inode: int
    cgroup_id: int
    drops: int


def decode(family: int, sequence: int, datagrams: Sequence[bytes]) -> list[Row]:
    """Every socket of one dump; raises RefusedError."""
    rows = []
    done = False
    for datagram in datagrams:
        for kind, flags, its_sequence, body in _messages(datagram):
            _require(not done, "a message after the end")
            _require(its_sequence == sequence, "another's sequence number")
            _require(not flags & 0x10, "NLM_F_DUMP_INTR")
            if kind == 20:
                rows.append(_row(family, body))
            elif kind == 3:
                _require(len(body) < 4 or body[:4] == b"\0\0\0\0", "an errno in NLMSG_DONE")
                done = True
            else:
                _require(kind == 1, "NLMSG_ERROR, or an unknown type")
    _require(done, "no NLMSG_DONE")
    return rows


def _messages(datagram: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    _require(len(datagram) >= 16, "an empty datagram")
    _require(len(datagram) % 4 == 0, "a datagram without its padding")
    while datagram:
        _require(len(datagram) >= 16, "half a header")
        length, kind, flags, sequence, _ = struct.unpack("=IHHII", datagram[:16])
        _require(16 <= length <= len(datagram), "an impossible length")
        yield kind, flags, sequence, datagram[16:length]
        datagram = datagram[(length + 3) // 4 * 4 :]


def _row(family: int, body: bytes) -> Row:
    _require(len(body) >= 72, "half a socket")
    _require(body[0] == family, "another family")
    _require(1 <= body[1] <= 11, "no TCP state")
    cgroup_id = drops = 0
    attributes = body[72:]
    while attributes:
        _require(len(attributes) >= 4, "half an attribute")
        length, kind = struct.unpack("=HH", attributes[:4])
        _require(4 <= length <= len(attributes), "an impossible length")
        payload = attributes[4:length]
        if kind == 21 and len(payload) >= 8:
            (cgroup_id,) = struct.unpack("=Q", payload[:8])
        if kind == 7 and len(payload) >= 36:
            (drops,) = struct.unpack("=I", payload[32:36])
        attributes = attributes[(length + 3) // 4 * 4 :]
    interface, cookie, expires, receive, send, uid, inode = struct.unpack("=IQ5I", body[40:72])
    return Row(
        body[0],
        body[1],
        body[2],
        body[3],
        int.from_bytes(body[4:6], "big"),
        int.from_bytes(body[6:8], "big"),
        body[8:24],
        body[24:40],
        interface,
        cookie,
        expires,
        receive,
        send,
        uid,
        inode,
        cgroup_id,
        drops,
    )


def _require(condition: bool, otherwise: str) -> None:  # noqa: FBT001 - it reads as `assert` does
    if not condition:
        raise RefusedError(otherwise)
