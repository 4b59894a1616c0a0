"""sock_diag requests and replies as bytes.

Pure: no sockets, no clock. A reply is a run of datagrams ("chunks") of up to 32 KiB, each a run
of netlink messages of any mix of lengths. All chunks of a batch are walked in lock-step, one
message of every chunk at a time, so that the Python interpreter turns once per message of a
chunk instead of once per socket.
"""

import errno
import struct
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sockmon.kernel.errors import DumpError
from sockmon.kernel.family import Family
from sockmon.kernel.netlink import uapi
from sockmon.kernel.netlink.rows import RowBuffer, Rows
from sockmon.kernel.netlink.uapi import Protocol
from sockmon.model.states import TcpState

Words = NDArray[np.uint32]
Index = NDArray[np.intp]
Fields = dict[str, NDArray[np.uint64]]

_HEADER = struct.Struct("=IHHII")  # struct nlmsghdr: length, type, flags, sequence, port id
# Of the socket id only the ports filter a dump, and there is no bytecode.
_REQUEST = struct.Struct("=BBBBI")  # struct inet_diag_req_v2, without its
_SOCKET_ID = struct.Struct(">HH44x")  # struct inet_diag_sockid
_OLD_REQUEST = struct.Struct("=BBBB48xII")  # struct inet_diag_req
_PROTOCOL_ATTRIBUTE = struct.Struct("=HHI")
_LARGEST_IN_REQUEST = 255  # sdiag_protocol has 8 bits
_ERRNO = struct.Struct("=i")

_WORD = 4
_HEADER_WORDS = uapi.NLMSG_HEADER_BYTES // _WORD
_MESSAGE_WORDS = uapi.INET_DIAG_MSG_BYTES // _WORD
_ATTRIBUTES_AT = _HEADER_WORDS + _MESSAGE_WORDS
_MESSAGE_MINIMUM = uapi.NLMSG_HEADER_BYTES + uapi.INET_DIAG_MSG_BYTES
_MESSAGE_MAXIMUM = 1 << 20
_OPAQUE = f"V{uapi.INET_DIAG_MSG_BYTES}"
_LARGEST_ERRNO = 4095  # MAX_ERRNO, include/linux/err.h
_TEMPLATES = 8
_MODULES = {Protocol.MPTCP: "mptcp_diag"}
_FEW = 8  # chunks


class DumpRequest(NamedTuple):
    """One request: the sockets of a family and protocol in any state of the mask.

    family: None for both, in one walk over the table instead of two; of TCP only.
    local_port, remote_port: only sockets with these; 0 for any. Not with family None.
    """

    protocol: Protocol
    family: Family | None
    states: int = uapi.ALL_STATES
    extensions: int = 0
    local_port: int = 0
    remote_port: int = 0

    def encode(self, sequence: int) -> bytes:
        """Return the netlink message: 72 to 80 bytes.

        A protocol of more than 8 bits is in an attribute. To a kernel that does not know it (before
        5.9) this is a request for protocol 0, which it refuses with ENOENT.
        """
        if self.family is None:
            # net/ipv4/inet_diag.c, inet_diag_dump_compat(): all families are dumped in any case.
            body = _OLD_REQUEST.pack(0, 0, 0, self.extensions, self.states, 0)
        else:
            large = self.protocol > _LARGEST_IN_REQUEST
            protocol = 0 if large else self.protocol
            body = _REQUEST.pack(self.family, protocol, self.extensions, 0, self.states)
            body += _SOCKET_ID.pack(self.local_port, self.remote_port)
            if large:
                size = _PROTOCOL_ATTRIBUTE.size
                body += _PROTOCOL_ATTRIBUTE.pack(size, uapi.REQ_PROTOCOL, self.protocol)
        flags = uapi.NLM_F_REQUEST | uapi.NLM_F_DUMP
        length = _HEADER.size + len(body)
        return _HEADER.pack(length, self.kind, flags, sequence, 0) + body

    @property
    def kind(self) -> int:
        """The netlink type of the request, and of each socket in the reply."""
        return uapi.TCPDIAG_GETSOCK if self.family is None else uapi.SOCK_DIAG_BY_FAMILY

    @property
    def families(self) -> tuple[Family, ...]:
        """The families of the sockets in the reply."""
        return tuple(Family) if self.family is None else (self.family,)

    def __str__(self) -> str:
        families = "+".join(family.name.lower() for family in self.families)
        return f"sock_diag dump of {self.protocol.name.lower()}/{families}"


class Decoder:
    """Appends the sockets of one dump to a buffer, or raises DumpError."""

    def __init__(self, request: DumpRequest, sequence: int, rows: RowBuffer) -> None:
        self._rows = rows
        self._operation = str(request)
        self._kind = request.kind
        self._modules = _MODULES.get(request.protocol, "tcp_diag udp_diag")
        self._families = request.families
        self._sequence = sequence
        self._done = False

    def feed(self, words: Words, starts: Sequence[int], ends: Sequence[int]) -> None:
        """Decode chunks that lie in `words` at byte offsets [start, end), in their order.

        Raises DumpError for anything the kernel reported or that cannot be what it meant.
        """
        if self._done:
            raise self._malformed("a message after NLMSG_DONE")
        heads = self._walk(words, starts, ends)
        kinds_and_flags = words[heads + 1]
        kinds = kinds_and_flags & np.uint32(0xFFFF)
        if (words[heads + 2] != self._sequence).any():
            raise DumpError(self._operation, "sequence", "a reply to another request")
        if (kinds_and_flags & uapi.NLM_F_DUMP_INTR << 16).any():
            raise DumpError(self._operation, "interrupted", "the kernel's table changed meanwhile")
        is_socket = kinds == self._kind
        if not is_socket.all():
            self._control(words, heads, ~is_socket)
            heads = heads[is_socket]
        if heads.size:
            self._sockets(words, heads)

    @property
    def done(self) -> bool:
        """Whether NLMSG_DONE has come."""
        return self._done

    def _malformed(self, what: str) -> DumpError:
        return malformed(self._operation, what)

    def _walk(self, words: Words, starts: Sequence[int], ends: Sequence[int]) -> Index:
        """Find every message: word offsets of the headers, in the kernel's order.

        No length that anybody wrote can make it read beyond a chunk, or take more steps than the
        largest chunk has room for headers.
        """
        first = np.asarray(starts, dtype=np.intp)
        bound = np.asarray(ends, dtype=np.intp)
        if ((first | bound) & 3).any() or (bound - first < uapi.NLMSG_HEADER_BYTES).any():
            raise self._malformed("a chunk that holds no whole message")
        at, end = first // _WORD, bound // _WORD
        walk = self._one_by_one if at.size < _FEW else self._together
        heads = walk(words, at, end)
        # One unsigned comparison for both: a length below the header's wraps to a huge one.
        if (words.take(heads) - np.uint32(uapi.NLMSG_HEADER_BYTES) > _MESSAGE_MAXIMUM).any():
            raise self._malformed("a message shorter than its header, or longer than any")
        heads.sort(kind="stable")  # the order of the kernel; made of runs in order, each step one
        return heads

    def _one_by_one(self, words: Words, at: Index, end: Index) -> Index:
        """Walk a few chunks: too few for a vector operation to pay."""
        view = words.data
        found = []
        for start, bound in zip(at.tolist(), end.tolist(), strict=True):
            place = start
            while bound - place >= _HEADER_WORDS:
                found.append(place)
                place += max(_HEADER_WORDS, view[place] + 3 >> 2)
            if place != bound:
                raise self._malformed("bytes after the last message, or a message beyond its chunk")
        return np.array(found, np.intp)

    def _together(self, words: Words, at: Index, end: Index) -> Index:
        """Walk many chunks in lock-step."""
        found: list[Index] = []
        three, two = np.uint32(3), np.uint32(2)
        for _ in range(int((end - at).max()) // _HEADER_WORDS):
            found.append(at)
            at = at + (words.take(at) + three >> two)
            inside = at < end
            if not inside.all():
                if (at > end).any():
                    raise self._malformed("a message longer than its chunk")
                at, end = at[inside], end[inside]
                if (end - at < _HEADER_WORDS).any():
                    raise self._malformed("bytes after the last message")
                if not at.size:
                    break
        else:
            raise self._malformed("bytes after the last message")
        return np.concatenate(found)

    def _control(self, words: Words, heads: Index, rows: NDArray[np.bool_]) -> None:
        """Handle the few messages that are not sockets."""
        for head in heads[rows].tolist():
            kind = int(words[head + 1]) & 0xFFFF
            if kind == uapi.NLMSG_NOOP:
                continue
            has_errno = words[head] >= uapi.NLMSG_HEADER_BYTES + _ERRNO.size
            body = words[head + _HEADER_WORDS].tobytes() if has_errno else b""
            check_end(self._operation, kind, body, self._modules)
            if head != heads[-1]:
                raise self._malformed("a message after NLMSG_DONE")
            self._done = True

    def _sockets(self, words: Words, heads: Index) -> None:
        lengths = words[heads]
        if (lengths < _MESSAGE_MINIMUM).any():
            raise self._malformed("a socket shorter than struct inet_diag_msg")
        messages = _gather(words, heads + _HEADER_WORDS, uapi.INET_DIAG_MSG)
        states = messages["state"]
        if (states < TcpState.ESTABLISHED).any() or (states > TcpState.CLOSING).any():
            raise self._malformed("a state that no TCP knows")
        first, last = min(self._families), max(self._families)
        family = messages["family"]
        if ((family != first) & (family != last)).any():
            raise self._malformed("a socket of another family")
        new = self._rows.append(heads.size)
        new.messages.view(_OPAQUE)[:] = messages.view(_OPAQUE)  # as bytes, not field by field
        self._attributes(words, heads, lengths, new.fields)

    def _attributes(self, words: Words, heads: Index, lengths: Words, fields: Fields) -> None:
        """Copy the buffer's fields out of the attributes of every socket.

        Most sockets of a dump carry the same attributes in the same places, so one socket's
        layout is compared with all at once; what is left after a few layouts is walked.
        """
        for values in fields.values():
            values[:] = 0
        rows = np.flatnonzero(lengths > _MESSAGE_MINIMUM)
        for _ in range(_TEMPLATES):
            if not rows.size:
                return
            length = int(lengths[rows[0]])
            layout = self._layout(words, int(heads[rows[0]]), length)
            like = lengths[rows] == length
            alike = rows if like.all() else rows[like]
            payload = _payload(words, heads[alike], length)
            same = np.ones(alike.size, np.bool_)
            for place, header in layout:
                same &= payload[:, place] == header
            if same.all():
                self._copy(fields, payload, alike, layout)
                rows = rows[~like]
                continue
            self._copy(fields, payload[same], alike[same], layout)
            like[like] = same
            rows = rows[~like]
        for row in rows.tolist():
            length = int(lengths[row])
            layout = self._layout(words, int(heads[row]), length)
            payload = _payload(words, heads[row : row + 1], length)
            self._copy(fields, payload, np.array([row]), layout)

    def _copy(
        self, fields: Fields, payload: Words, rows: Index, layout: list[tuple[int, int]]
    ) -> None:
        """Copy the buffer's fields out of attributes that share a layout, into their rows."""
        for place, header in layout:
            for field in self._rows.fields:
                size = (header & 0xFFFF) - uapi.ATTRIBUTE_HEADER_BYTES
                if header >> 16 != field.attribute or size < field.offset + field.words * _WORD:
                    continue
                first = place + 1 + field.offset // _WORD
                values = payload[:, first].astype(np.uint64)
                if field.words == 2:
                    values |= payload[:, first + 1].astype(np.uint64) << np.uint64(32)
                fields[field.name][rows] = values

    def _layout(self, words: Words, head: int, length: int) -> list[tuple[int, int]]:
        """Walk one message's attributes: (word offset from the first, attribute header)."""
        layout = []
        place, end = 0, (length - _MESSAGE_MINIMUM + 3) // _WORD
        while place < end:
            header = int(words[head + _ATTRIBUTES_AT + place])
            size = header & 0xFFFF
            if size < uapi.ATTRIBUTE_HEADER_BYTES:
                raise self._malformed("an attribute shorter than its header")
            if _MESSAGE_MINIMUM + place * _WORD + size > length:
                raise self._malformed("an attribute longer than its message")
            layout.append((place, header))
            place += (size + 3) // _WORD
        return layout


def check_end(operation: str, kind: int, body: bytes, modules: str) -> None:
    """Raise DumpError unless a message that is no socket says that a dump has ended well.

    modules: those of the kernel that the dump needs.
    """
    if kind not in (uapi.NLMSG_ERROR, uapi.NLMSG_DONE):
        raise malformed(operation, f"a message of type {kind}")
    # NLMSG_DONE carries an errno too: only there a missing protocol module is reported.
    number = 0
    if len(body) >= _ERRNO.size:
        (number,) = _ERRNO.unpack_from(body)
    elif kind == uapi.NLMSG_ERROR:
        raise malformed(operation, "NLMSG_ERROR without an errno")
    if -_LARGEST_ERRNO <= number < 0:
        raise DumpError.from_errno(operation, -number, _hint(-number, modules))
    if kind == uapi.NLMSG_ERROR or number != 0:
        raise malformed(operation, "an acknowledgement that was not requested")


def malformed(operation: str, what: str) -> DumpError:
    """Return the error of a reply that cannot be what the kernel meant."""
    return DumpError(operation, "malformed", f"malformed reply: {what}")


def decode(request: DumpRequest, sequence: int, chunks: Iterable[bytes]) -> Rows:
    """Decode one whole dump given as its datagrams; raises DumpError."""
    buffer = RowBuffer()
    decoder = Decoder(request, sequence, buffer)
    for chunk in chunks:
        padded = chunk + bytes(-len(chunk) % _WORD)
        decoder.feed(np.frombuffer(padded, np.uint32), [0], [len(chunk)])
    if not decoder.done:
        raise DumpError(str(request), "incomplete", "the reply ended before NLMSG_DONE")
    return buffer.rows()


def _gather(words: Words, at: Index, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Copy one value of `dtype`, of at least a word, from each word offset: one copy each."""
    overlapping = np.lib.stride_tricks.as_strided(
        words[: dtype.itemsize // _WORD].view(f"V{dtype.itemsize}"),
        shape=(words.size - dtype.itemsize // _WORD + 1,),
        strides=(_WORD,),
        writeable=False,
    )
    return overlapping[at].view(dtype)


def _payload(words: Words, heads: Index, length: int) -> Words:
    """Copy the attributes of messages that are all `length` bytes long: a row of words each."""
    count = (length - _MESSAGE_MINIMUM + 3) // _WORD
    block = np.dtype((np.void, count * _WORD))
    return _gather(words, heads + _ATTRIBUTES_AT, block).view(np.uint32).reshape(-1, count)


def _hint(number: int, modules: str) -> str:
    if number == errno.ENOENT:
        return f"the kernel module that lists them is missing (modprobe {modules})"
    return ""
