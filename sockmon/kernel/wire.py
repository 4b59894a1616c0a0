"""sock_diag requests and replies as bytes: what the kernel is asked, what it answered.

Pure: no sockets, no clock. A reply is a run of datagrams ("chunks") of up to 32 KiB, each a run
of netlink messages of any mix of lengths. All chunks of a batch are walked in lock-step, one
message of every chunk at a time, so that the Python interpreter turns once per message of a
chunk instead of once per socket.
"""

import errno
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sockmon.kernel import uapi
from sockmon.kernel.errors import DumpError
from sockmon.kernel.uapi import Attribute, Family, Protocol
from sockmon.model.states import TcpState

Words = NDArray[np.uint32]
Index = NDArray[np.intp]

_HEADER = struct.Struct("=IHHII")  # struct nlmsghdr: length, type, flags, sequence, port id
_REQUEST = struct.Struct("=BBBBI48x")  # struct inet_diag_req_v2; the socket id filters no dump
_ERRNO = struct.Struct("=i")

_WORD = 4
_HEADER_WORDS = uapi.NLMSG_HEADER_BYTES // _WORD
_MESSAGE_WORDS = uapi.INET_DIAG_MSG_BYTES // _WORD
_ATTRIBUTES_AT = _HEADER_WORDS + _MESSAGE_WORDS
_MESSAGE_MINIMUM = uapi.NLMSG_HEADER_BYTES + uapi.INET_DIAG_MSG_BYTES
_TEMPLATES = 8


class DumpRequest(NamedTuple):
    """One question: the sockets of a family and protocol in any state of the mask."""

    protocol: Protocol
    family: Family
    states: int = uapi.ALL_STATES
    extensions: int = 0

    def encode(self, sequence: int) -> bytes:
        """Return the netlink message: 72 bytes."""
        body = _REQUEST.pack(self.family, self.protocol, self.extensions, 0, self.states)
        flags = uapi.NLM_F_REQUEST | uapi.NLM_F_DUMP
        length = _HEADER.size + len(body)
        return _HEADER.pack(length, uapi.SOCK_DIAG_BY_FAMILY, flags, sequence, 0) + body

    def __str__(self) -> str:
        return f"sock_diag dump of {self.protocol.name.lower()}/{self.family.name.lower()}"


class AttributeField(NamedTuple):
    """A fixed place inside an attribute's payload, copied out for every socket."""

    name: str
    attribute: Attribute
    offset: int
    dtype: np.dtype[Any]


#: Sent with every full socket, unasked.
CGROUP_ID = AttributeField("cgroup_id", Attribute.CGROUP_ID, 0, np.dtype(np.uint64))
#: SK_MEMINFO_DROPS: at a listener, the connections dropped there.
DROPS = AttributeField("drops", Attribute.SKMEMINFO, 32, np.dtype(np.uint32))
FIELDS = (CGROUP_ID, DROPS)


@dataclass(frozen=True, slots=True)
class Rows:
    """Sockets as the kernel described them: one row each, in the order they came.

    `messages` has dtype uapi.INET_DIAG_MSG; `fields` maps an AttributeField's name to unsigned
    64-bit numbers, 0 where the kernel sent no such attribute.
    """

    messages: NDArray[np.void]
    fields: dict[str, NDArray[np.uint64]]

    def __len__(self) -> int:
        return len(self.messages)

    @staticmethod
    def concatenate(parts: Sequence["Rows"]) -> "Rows":
        """Put dumps, or batches of one, behind one another."""
        if len(parts) == 1:
            return parts[0]
        if not parts:
            return Rows(
                np.empty(0, uapi.INET_DIAG_MSG),
                {field.name: np.empty(0, np.uint64) for field in FIELDS},
            )
        whole_rows = f"V{uapi.INET_DIAG_MSG_BYTES}"  # copied as bytes, not field by field
        return Rows(
            np.concatenate([part.messages.view(whole_rows) for part in parts]).view(
                uapi.INET_DIAG_MSG
            ),
            {f.name: np.concatenate([part.fields[f.name] for part in parts]) for f in FIELDS},
        )


class Decoder:
    """Turns the chunks of one dump into Rows, or raises DumpError; never a part of a dump."""

    def __init__(self, request: DumpRequest, sequence: int) -> None:
        self._operation = str(request)
        self._family = int(request.family)
        self._sequence = sequence
        self._parts: list[Rows] = []
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
        is_socket = kinds == uapi.SOCK_DIAG_BY_FAMILY
        if not is_socket.all():
            self._control(words, heads, kinds)
            heads = heads[is_socket]
        if heads.size:
            self._parts.append(self._sockets(words, heads))

    @property
    def done(self) -> bool:
        """Whether NLMSG_DONE has come."""
        return self._done

    def batches(self) -> list[Rows]:
        """Return every socket of the dump; raises DumpError when its end has not come."""
        if not self._done:
            raise DumpError(self._operation, "incomplete", "the reply ended before NLMSG_DONE")
        return self._parts

    def _malformed(self, what: str) -> DumpError:
        return DumpError(self._operation, "malformed", f"malformed reply: {what}")

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
        found: list[Index] = []
        for _ in range(int((end - at).max()) // _HEADER_WORDS):
            found.append(at)
            at = at + (words[at].astype(np.intp) + 3 >> 2)
            inside = at < end
            if not inside.all():
                if (at > end).any():
                    raise self._malformed("a message longer than its chunk")
                at, end = at[inside], end[inside]
                if (end - at < _HEADER_WORDS).any():
                    raise self._malformed("bytes after the last message")
                if not at.size:
                    break
        heads = np.concatenate(found)
        if (words[heads] < uapi.NLMSG_HEADER_BYTES).any():
            raise self._malformed("a message shorter than its header")
        heads.sort()  # back to the order in which the kernel sent them
        return heads

    def _control(self, words: Words, heads: Index, kinds: Words) -> None:
        """Act on the few messages that are not sockets."""
        for head, kind in zip(
            heads[kinds != uapi.SOCK_DIAG_BY_FAMILY].tolist(),
            kinds[kinds != uapi.SOCK_DIAG_BY_FAMILY].tolist(),
            strict=True,
        ):
            if kind == uapi.NLMSG_NOOP:
                continue
            if kind not in (uapi.NLMSG_ERROR, uapi.NLMSG_DONE):
                raise self._malformed(f"a message of type {kind}")
            # NLMSG_DONE carries an errno too: a missing protocol module says so there alone.
            number = 0
            if words[head] >= uapi.NLMSG_HEADER_BYTES + _ERRNO.size:
                (number,) = _ERRNO.unpack(words[head + _HEADER_WORDS].tobytes())
            elif kind == uapi.NLMSG_ERROR:
                raise self._malformed("NLMSG_ERROR without an errno")
            if number < 0:
                raise DumpError.from_errno(self._operation, -number, _hint(-number))
            if kind == uapi.NLMSG_ERROR or number > 0:
                raise self._malformed("an acknowledgement nobody asked for")
            if head != heads[-1]:
                raise self._malformed("a message after NLMSG_DONE")
            self._done = True

    def _sockets(self, words: Words, heads: Index) -> Rows:
        lengths = words[heads]
        if (lengths < _MESSAGE_MINIMUM).any():
            raise self._malformed("a socket shorter than struct inet_diag_msg")
        messages = _gather(words, heads + _HEADER_WORDS, uapi.INET_DIAG_MSG)
        states = messages["state"]
        if (states < TcpState.ESTABLISHED).any() or (states > TcpState.CLOSING).any():
            raise self._malformed("a state that no TCP knows")
        if (messages["family"] != self._family).any():
            raise self._malformed("a socket of another family")
        return Rows(messages, self._attributes(words, heads, lengths))

    def _attributes(
        self, words: Words, heads: Index, lengths: Words
    ) -> dict[str, NDArray[np.uint64]]:
        """Copy FIELDS out of the attributes of every socket.

        Most sockets of a dump carry the same attributes in the same places, so one socket's
        layout is compared with all at once; what is left after a few layouts is walked.
        """
        fields = {field.name: np.zeros(heads.size, np.uint64) for field in FIELDS}
        rows = np.flatnonzero(lengths > _MESSAGE_MINIMUM)
        for _ in range(_TEMPLATES):
            if not rows.size:
                return fields
            at, length = heads[rows], int(lengths[rows[0]])
            layout = self._layout(words, int(at[0]), length)
            same = lengths[rows] == length
            for place, header in layout:
                # Clipped, since a shorter message at the buffer's end has no such place.
                same &= words.take(at + place, mode="clip") == header
            if same.all():
                _copy(fields, words, at, rows, layout)
                return fields
            _copy(fields, words, at[same], rows[same], layout)
            rows = rows[~same]
        for row in rows.tolist():
            layout = self._layout(words, int(heads[row]), int(lengths[row]))
            _copy(fields, words, heads[row : row + 1], np.array([row]), layout)
        return fields

    def _layout(self, words: Words, head: int, length: int) -> list[tuple[int, int]]:
        """Walk one message's attributes: (word offset from the message, attribute header)."""
        layout = []
        place, end = _ATTRIBUTES_AT, (length + 3) // _WORD
        while place < end:
            header = int(words[head + place])
            size = header & 0xFFFF
            if size < uapi.ATTRIBUTE_HEADER_BYTES:
                raise self._malformed("an attribute shorter than its header")
            if place * _WORD + size > length:
                raise self._malformed("an attribute longer than its message")
            layout.append((place, header))
            place += (size + 3) // _WORD
        return layout


def decode(request: DumpRequest, sequence: int, chunks: Iterable[bytes]) -> Rows:
    """Decode one whole dump given as its datagrams; raises DumpError."""
    decoder = Decoder(request, sequence)
    for chunk in chunks:
        padded = chunk + bytes(-len(chunk) % _WORD)
        decoder.feed(np.frombuffer(padded, np.uint32), [0], [len(chunk)])
    return Rows.concatenate(decoder.batches())


def _gather(words: Words, at: Index, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Copy one value of `dtype`, of at least a word, from each word offset: one copy each."""
    overlapping = np.lib.stride_tricks.as_strided(
        words[: dtype.itemsize // _WORD].view(f"V{dtype.itemsize}"),
        shape=(words.size - dtype.itemsize // _WORD + 1,),
        strides=(_WORD,),
        writeable=False,
    )
    return overlapping[at].view(dtype)


def _copy(
    fields: dict[str, NDArray[np.uint64]],
    words: Words,
    at: Index,
    rows: Index,
    layout: list[tuple[int, int]],
) -> None:
    """Copy FIELDS of messages at word offsets `at`, which share a layout, into their rows."""
    for place, header in layout:
        for field in FIELDS:
            payload = (header & 0xFFFF) - uapi.ATTRIBUTE_HEADER_BYTES
            if header >> 16 == field.attribute and payload >= field.offset + field.dtype.itemsize:
                first = place + 1 + field.offset // _WORD
                fields[field.name][rows] = _gather(words, at + first, field.dtype)


def _hint(number: int) -> str:
    if number == errno.ENOENT:
        return "the kernel module that lists them is missing (modprobe tcp_diag udp_diag)"
    return ""
