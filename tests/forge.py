"""Builds sock_diag replies byte by byte, and edits recorded ones: true ones, odd ones and lies.

A `Message` encodes as the kernel would write it unless `length` says otherwise. To edit one field
of one message of a dump: `split()` the datagram, `dataclasses.replace()` or `with_fields()`, and
`join()` again.
"""

import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sockmon.kernel.netlink.replay import datagrams

NOOP, ERROR, DONE, SOCKET = 1, 2, 3, 20
DUMP_INTERRUPTED = 0x10
MULTI = 0x02

AF_INET, AF_INET6 = 2, 10
SKMEMINFO, SHUTDOWN, MARK, CGROUP_ID, INFO = 7, 8, 15, 21, 2

HEADER = struct.Struct("=IHHII")
ATTRIBUTE = struct.Struct("=HH")
SOCKET_FIELDS = (
    ("family", "B"),
    ("state", "B"),
    ("timer", "B"),
    ("retransmits", "B"),
    ("local_port", "2s"),
    ("remote_port", "2s"),
    ("local", "16s"),
    ("remote", "16s"),
    ("interface", "I"),
    ("cookie", "Q"),
    ("expires", "I"),
    ("receive_queue", "I"),
    ("send_queue", "I"),
    ("uid", "I"),
    ("inode", "I"),
)
BODY = struct.Struct("=" + "".join(code for _, code in SOCKET_FIELDS))
NAMES = tuple(name for name, _ in SOCKET_FIELDS)


@dataclass(frozen=True, slots=True)
class Message:
    """One netlink message; `length` is the truth unless set."""

    body: bytes = b""
    kind: int = SOCKET
    flags: int = MULTI
    sequence: int = 1
    port_id: int = 4711
    length: int | None = None

    def encode(self) -> bytes:
        """The message and its padding."""
        length = HEADER.size + len(self.body) if self.length is None else self.length
        header = HEADER.pack(length, self.kind, self.flags, self.sequence, self.port_id)
        return header + self.body + bytes(-len(self.body) % 4)

    @property
    def attributes(self) -> bytes:
        """What follows a socket's struct inet_diag_msg."""
        return self.body[BODY.size :]

    def field(self, name: str) -> Any:
        """One field of a socket's struct inet_diag_msg."""
        return BODY.unpack_from(self.body)[NAMES.index(name)]

    def with_fields(self, **fields: int | bytes) -> "Message":
        """The same socket with other fields."""
        values = dict(zip(NAMES, BODY.unpack_from(self.body), strict=True)) | fields
        return replace(self, body=BODY.pack(*values.values()) + self.attributes)

    def with_attributes(self, *attributes: bytes) -> "Message":
        """The same socket with these attributes and no others."""
        return replace(self, body=self.body[: BODY.size] + b"".join(attributes))


def port(number: int) -> bytes:
    """A port in network byte order."""
    return number.to_bytes(2, "big")


def socket(*attributes: bytes, **fields: int | bytes) -> Message:
    """One socket, ESTABLISHED and IPv4 unless said otherwise."""
    blank = Message(bytes(BODY.size)).with_attributes(*attributes)
    return blank.with_fields(**{"family": AF_INET, "state": 1, **fields})


def attribute(kind: int, payload: bytes, length: int | None = None) -> bytes:
    """One attribute and its padding; `length` is the truth unless set."""
    said = ATTRIBUTE.size + len(payload) if length is None else length
    return ATTRIBUTE.pack(said, kind) + payload + bytes(-len(payload) % 4)


def cgroup_id(number: int) -> bytes:
    """The attribute of every full socket."""
    return attribute(CGROUP_ID, struct.pack("=Q", number))


def memory_info(drops: int) -> bytes:
    """SKMEMINFO, whose ninth word counts drops."""
    return attribute(SKMEMINFO, struct.pack("=9I", *range(1, 9), drops))


def done(errno: int = 0) -> Message:
    """The end of a dump: good with 0, else with a negative errno."""
    return Message(struct.pack("=i", errno), DONE)


def error(errno: int) -> Message:
    """A refusal with a negative errno, and the request it answers, as the kernel sends it."""
    return Message(struct.pack("=i", errno) + bytes(HEADER.size), ERROR, flags=0)


def join(*messages: Message) -> bytes:
    """One datagram."""
    return b"".join(message.encode() for message in messages)


def split(datagram: bytes) -> list[Message]:
    """The messages of a true datagram."""
    messages = []
    at = 0
    while at < len(datagram):
        length, kind, flags, sequence, port_id = HEADER.unpack_from(datagram, at)
        body = datagram[at + HEADER.size : at + length]
        messages.append(Message(body, kind, flags, sequence, port_id))
        at += length + 3 & ~3
    return messages


def with_sequence(datagram: bytes, sequence: int) -> bytes:
    """A true datagram as the answer to another request."""
    return join(*(replace(message, sequence=sequence) for message in split(datagram)))


def edited(dump: Sequence[bytes], row: int, change: Callable[[Message], Message]) -> list[bytes]:
    """A dump with one message changed: the `row`-th of all, negative from the end."""
    messages = [(at, message) for at, datagram in enumerate(dump) for message in split(datagram)]
    row %= len(messages)
    return [
        join(
            *(
                change(message) if number == row else message
                for number, (its, message) in enumerate(messages)
                if its == at
            )
        )
        for at in range(len(dump))
    ]


def recorded_dump(recording: Path, name: str, sequence: int = 1) -> list[bytes]:
    """The datagrams of one recorded dump such as tcp-ipv4-2bfe-0."""
    return [
        with_sequence(datagram, sequence)
        for datagram in datagrams((recording / "dumps" / name).read_bytes())
    ]


def recorded_dumps(recordings: Iterable[Path]) -> list[tuple[Path, str]]:
    """Every recorded dump: its recording and its name."""
    return [
        (recording, file.name)
        for recording in recordings
        for file in sorted((recording / "dumps").iterdir())
    ]
