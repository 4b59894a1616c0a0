"""Bytes to rows: equal to a slow reference and to pyroute2, or DumpError; never half a dump."""

import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyroute2.netlink.diag import inet_diag_msg

from sockmon.kernel.errors import DumpError
from sockmon.kernel.family import Family
from sockmon.kernel.netlink.rows import INFO_FIELDS, RowBuffer, Rows
from sockmon.kernel.netlink.uapi import Protocol
from sockmon.kernel.netlink.wire import Decoder, DumpRequest, decode
from tests import forge
from tests.forge import Message
from tests.recorded import MIXED, QUIET
from tests.unit import reference
from tests.unit.reference import RefusedError, Row

SEQUENCE = 7
TCP4 = DumpRequest(Protocol.TCP, Family.IPV4)
BOTH = DumpRequest(Protocol.TCP, None, states=1 << 8, extensions=0x02)
OLD_KIND = 18

recorded = pytest.mark.parametrize(
    ("recording", "name"),
    forge.recorded_dumps([MIXED, QUIET]),
    ids=lambda part: part.name if isinstance(part, Path) else part,
)


def request_of(name: str) -> DumpRequest:
    """The request that a recorded dump answers."""
    protocol, family, *_ = name.upper().split("-")
    return DumpRequest(Protocol[protocol], Family[family])


def as_rows(rows: Rows) -> list[Row]:
    """sockmon's columns in the reference's words."""
    messages = rows.messages
    columns = [messages[name] for name in Row._fields if name in (messages.dtype.names or ())]
    values = [
        [words.tobytes() for words in column] if column.ndim == 2 else column.tolist()
        for column in columns
    ]
    fields = rows.fields["cgroup_id"].tolist(), rows.fields["drops"].tolist()
    return [Row(*row) for row in zip(*values, *fields, strict=True)]


def decode_in_batches(
    chunks: Sequence[bytes], batch_sizes: Iterator[int], request: DumpRequest = TCP4
) -> Rows:
    """Decode as SockDiag does, several chunks of one buffer at once, with rubbish around each."""
    rows = RowBuffer()
    decoder = Decoder(request, SEQUENCE, rows)
    left = list(chunks)
    while left:
        size = next(batch_sizes)
        batch, left = left[:size], left[size:]
        buffer = bytearray(b"\xff" * 8)
        starts, ends = [], []
        for chunk in batch:
            starts.append(len(buffer))
            ends.append(len(buffer) + len(chunk))
            buffer += chunk + b"\xff" * (-len(chunk) % 4 + 8)
        decoder.feed(np.frombuffer(bytes(buffer), np.uint32), starts, ends)
    if not decoder.done:
        raise DumpError(str(request), "incomplete")
    return rows.rows()


def decode_one(*messages: Message) -> list[Row]:
    """Decode one datagram's messages, and the end of the dump."""
    return as_rows(decode(TCP4, 1, [forge.join(*messages), forge.join(forge.done())]))


def refused(chunks: Sequence[bytes], sequence: int = 1) -> DumpError:
    """The error that these chunks raise."""
    with pytest.raises(DumpError) as caught:
        decode(TCP4, sequence, chunks)
    return caught.value


# What kernels send: INFO, MEMINFO and TCLASS grow or come and go with version, family and state.
_attributes = st.one_of(
    st.builds(forge.cgroup_id, st.integers(0, 2**64 - 1)),
    st.builds(forge.memory_info, st.integers(0, 2**32 - 1)),
    st.builds(
        forge.attribute,
        st.sampled_from([forge.CGROUP_ID, forge.SKMEMINFO, forge.SHUTDOWN, forge.MARK, 22, 999]),
        st.binary(max_size=48),
    ),
    st.builds(forge.attribute, st.just(forge.INFO), st.binary(max_size=280)),
)


@st.composite
def socket_messages(draw: st.DrawFn) -> Message:
    """Any socket of an IPv4 dump with any attributes."""
    body = bytearray(draw(st.binary(min_size=72, max_size=72)))
    body[0] = forge.AF_INET
    body[1] = draw(st.integers(1, 11))
    attributes = draw(st.lists(_attributes, max_size=5))
    return Message(bytes(body) + b"".join(attributes), sequence=SEQUENCE)


DONE = replace(forge.done(), sequence=SEQUENCE)


@st.composite
def dumps(draw: st.DrawFn, max_size: int = 25) -> list[bytes]:
    """Any dump in any datagrams, NLMSG_DONE in one of its own or behind the last sockets."""
    messages = draw(st.lists(socket_messages(), max_size=max_size))
    return draw(chunked([*messages, DONE]))


@st.composite
def chunked(draw: st.DrawFn, messages: Sequence[Message]) -> list[bytes]:
    """These messages in any datagrams."""
    cuts = draw(st.sets(st.integers(1, len(messages)), max_size=6)) | {0, len(messages)}
    return [forge.join(*messages[a:b]) for a, b in pairwise(sorted(cuts))]


class TestRequests:
    def test_are_72_bytes_with_every_field_in_its_place(self) -> None:
        request = DumpRequest(Protocol.UDP, Family.IPV6, states=0x2BFE, extensions=0x40)
        encoded = request.encode(0x01020304)
        assert len(encoded) == 72
        length, kind, flags, sequence, port_id = struct.unpack_from("=IHHII", encoded)
        assert (length, kind, sequence, port_id) == (72, 20, 0x01020304, 0)
        assert flags == 0x001 | 0x100 | 0x200, "NLM_F_REQUEST, NLM_F_ROOT and NLM_F_MATCH"
        assert struct.unpack_from("=BBBBI", encoded, 16) == (10, 17, 0x40, 0, 0x2BFE)
        assert encoded[24:] == bytes(48), "the socket id filters nothing"

    def test_of_both_families_are_in_the_old_form(self) -> None:
        encoded = BOTH.encode(7)
        assert len(encoded) == 76
        length, kind, flags, sequence, port_id = struct.unpack_from("=IHHII", encoded)
        assert (length, kind, flags, sequence, port_id) == (76, 18, 0x301, 7, 0)
        assert struct.unpack_from("=BBBB", encoded, 16) == (0, 0, 0, 0x02)
        assert encoded[20:68] == bytes(48), "the socket id filters nothing"
        assert struct.unpack_from("=II", encoded, 68) == (0x0100, 0), "states, and no bytecode"
        assert str(BOTH) == "sock_diag dump of tcp/ipv4+ipv6"

    def test_ask_for_every_state_unless_told_otherwise(self) -> None:
        (states,) = struct.unpack_from("=I", TCP4.encode(1), 20)
        assert states == sum(1 << state for state in range(1, 12)) | 1 << 13


class TestBothFamilies:
    def test_come_in_one_reply(self) -> None:
        rows = [
            replace(forge.socket(family=family, cookie=cookie), kind=OLD_KIND)
            for cookie, family in enumerate([forge.AF_INET, forge.AF_INET6, forge.AF_INET], 1)
        ]
        decoded = decode(BOTH, 1, [forge.join(*rows), forge.join(forge.done())])
        assert decoded.messages["cookie"].tolist() == [1, 2, 3]
        assert decoded.messages["family"].tolist() == [2, 10, 2]

    @pytest.mark.parametrize(
        ("row", "reason"),
        [
            (forge.socket(), "a message of type 20"),
            (replace(forge.socket(family=1), kind=OLD_KIND), "another family"),
            (replace(forge.socket(family=9), kind=OLD_KIND), "another family"),
        ],
    )
    def test_what_was_not_asked_for_is_refused(self, row: Message, reason: str) -> None:
        with pytest.raises(DumpError, match=reason):
            decode(BOTH, 1, [forge.join(row), forge.join(forge.done())])


class TestRecordings:
    @recorded
    def test_decode_as_the_reference_does(self, recording: Path, name: str) -> None:
        request = request_of(name)
        chunks = forge.recorded_dump(recording, name)
        expected = reference.decode(request.families[0], 1, chunks)
        assert as_rows(decode(request, 1, chunks)) == expected

    @recorded
    def test_decode_as_pyroute2_does(self, recording: Path, name: str) -> None:
        chunks = forge.recorded_dump(recording, name)
        theirs = [
            _as_pyroute2_sees_it(message)
            for chunk in chunks
            for message in forge.split(chunk)
            if message.kind == forge.SOCKET
        ]
        assert as_rows(decode(request_of(name), 1, chunks)) == theirs

    @pytest.mark.parametrize("name", ["tcp-ipv4-120-2", "tcp-ipv6-120-2"])
    def test_tell_when_sockets_last_sent_and_heard_as_pyroute2_does(self, name: str) -> None:
        chunks = forge.recorded_dump(MIXED, name)
        rows = RowBuffer(INFO_FIELDS)
        decoder = Decoder(request_of(name), 1, rows)
        for chunk in chunks:
            decoder.feed(np.frombuffer(chunk, np.uint32), [0], [len(chunk)])
        sockets = [m for chunk in chunks for m in forge.split(chunk) if m.kind == forge.SOCKET]
        infos = [_pyroute2(message).get_attr("INET_DIAG_INFO") or {} for message in sockets]
        assert sum(map(bool, infos)) > 20
        for column, their_name in (
            ("data_sent_ms", "tcpi_last_data_sent"),
            ("ack_received_ms", "tcpi_last_ack_recv"),
        ):
            theirs = [info.get(their_name, 0) for info in infos]
            assert rows.rows().fields[column].tolist() == theirs

    def test_hold_enough_to_be_worth_it(self) -> None:
        chunks = forge.recorded_dump(MIXED, "tcp-ipv4-2bfe-0")
        lengths = [len(message.body) for chunk in chunks for message in forge.split(chunk)]
        changes = sum(a != b for a, b in pairwise(lengths))
        assert sum(len(chunk) > 30_000 for chunk in chunks) >= 3
        assert changes > len(lengths) // 3, "the lengths of its messages alternate"

    @recorded
    def test_one_message_a_datagram_gives_equal_rows(self, recording: Path, name: str) -> None:
        chunks = forge.recorded_dump(recording, name)
        single = [forge.join(message) for chunk in chunks for message in forge.split(chunk)]
        expected = as_rows(decode(request_of(name), 1, chunks))
        assert as_rows(decode(request_of(name), 1, single)) == expected

    @recorded
    def test_all_in_one_datagram_gives_equal_rows(self, recording: Path, name: str) -> None:
        chunks = forge.recorded_dump(recording, name)
        expected = as_rows(decode(request_of(name), 1, chunks))
        assert as_rows(decode(request_of(name), 1, [b"".join(chunks)])) == expected

    @recorded
    @pytest.mark.parametrize("size", [1, 2, 3, 1000])
    def test_batches_of_any_size_give_equal_rows(
        self, recording: Path, name: str, size: int
    ) -> None:
        chunks = forge.recorded_dump(recording, name, SEQUENCE)
        expected = as_rows(decode(request_of(name), SEQUENCE, chunks))
        sizes = iter([size] * len(chunks))
        assert as_rows(decode_in_batches(chunks, sizes, request_of(name))) == expected

    @recorded
    def test_what_net_admin_alone_is_shown_changes_nothing(
        self, recording: Path, name: str
    ) -> None:
        chunks = forge.recorded_dump(recording, name)
        unprivileged = [
            forge.join(*(_without_mark(message) for message in forge.split(chunk)))
            for chunk in chunks
        ]
        expected = as_rows(decode(request_of(name), 1, chunks))
        assert as_rows(decode(request_of(name), 1, unprivileged)) == expected

    @given(data=st.data())
    def test_cut_anywhere_are_refused(self, data: st.DataObject) -> None:
        chunks = forge.recorded_dump(MIXED, "tcp-ipv4-2bfe-0")
        at = data.draw(st.integers(0, sum(map(len, chunks)) - 1))
        refused(list(_cut(chunks, at)))


def _pyroute2(message: Message) -> Any:
    decoded = inet_diag_msg(message.encode())
    decoded.decode()
    return decoded


def _as_pyroute2_sees_it(message: Message) -> Row:
    theirs = _pyroute2(message)
    memory = (theirs.get_attr("INET_DIAG_SKMEMINFO") or ":".join(["00"] * 36)).split(":")
    return Row(
        theirs["idiag_family"],
        theirs["idiag_state"],
        theirs["idiag_timer"],
        theirs["idiag_retrans"],
        theirs["idiag_sport"],
        theirs["idiag_dport"],
        _packed(theirs["idiag_src"]),
        _packed(theirs["idiag_dst"]),
        theirs["idiag_if"],
        theirs["idiag_cookie"],
        theirs["idiag_expires"],
        theirs["idiag_rqueue"],
        theirs["idiag_wqueue"],
        theirs["idiag_uid"],
        theirs["idiag_inode"],
        theirs.get_attr("INET_DIAG_CGROUP_ID") or 0,
        int.from_bytes(bytes.fromhex("".join(memory[32:36])), "little"),
    )


def _packed(address: str) -> bytes:
    import socket

    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return socket.inet_pton(family, address).ljust(16, b"\0")


def _without_mark(message: Message) -> Message:
    if message.kind != forge.SOCKET:
        return message
    kept = []
    left = message.attributes
    while left:
        length, kind = forge.ATTRIBUTE.unpack_from(left)
        if kind != forge.MARK:
            kept.append(left[: length + 3 & ~3])
        left = left[length + 3 & ~3 :]
    return message.with_attributes(*kept)


def _cut(chunks: Sequence[bytes], at: int) -> Iterator[bytes]:
    """The first `at` bytes of a dump."""
    for chunk in chunks:
        if at > 0:
            yield chunk[:at]
        at -= len(chunk)


class TestAnyDump:
    @given(dumps())
    def test_decodes_as_the_reference_does(self, chunks: list[bytes]) -> None:
        rows = decode(TCP4, SEQUENCE, chunks)
        assert as_rows(rows) == reference.decode(Family.IPV4, SEQUENCE, chunks)
        assert len(rows) == sum(m.kind == forge.SOCKET for c in chunks for m in forge.split(c))

    @given(st.data())
    def test_may_come_in_any_datagrams_and_batches(self, data: st.DataObject) -> None:
        messages = [*data.draw(st.lists(socket_messages(), max_size=25)), DONE]
        one_way, another = data.draw(chunked(messages)), data.draw(chunked(messages))
        sizes = (data.draw(st.integers(1, 5)) for _ in another)
        expected = as_rows(decode(TCP4, SEQUENCE, one_way))
        assert as_rows(decode_in_batches(another, sizes)) == expected

    @given(st.lists(socket_messages(), min_size=1, max_size=8))
    def test_may_be_split_at_each_message(self, sockets: list[Message]) -> None:
        messages = [*sockets, DONE]
        whole = as_rows(decode(TCP4, SEQUENCE, [forge.join(*messages)]))
        for at in range(1, len(messages)):
            halves = [forge.join(*messages[:at]), forge.join(*messages[at:])]
            assert as_rows(decode(TCP4, SEQUENCE, halves)) == whole
            assert as_rows(decode_in_batches(halves, iter([2]))) == whole

    @given(dumps(max_size=4))
    def test_cut_at_any_byte_is_refused(self, chunks: list[bytes]) -> None:
        for at in range(sum(map(len, chunks))):
            refused(list(_cut(chunks, at)), SEQUENCE)

    @pytest.mark.parametrize("layouts", [7, 8, 9, 40])
    def test_may_have_any_number_of_layouts(self, layouts: int) -> None:
        """The fast way is for eight of them; here each comes three times, in turn."""
        sockets = [
            forge.socket(
                *(forge.attribute(100 + place, b"") for place in range(row % layouts)),
                forge.cgroup_id(row + 1),
                forge.memory_info(row + 2),
                cookie=row,
            )
            for row in range(3 * layouts)
        ]
        rows = decode_one(*sockets)
        assert [row.cookie for row in rows] == list(range(3 * layouts))
        assert [row.cgroup_id for row in rows] == list(range(1, 3 * layouts + 1))
        assert [row.drops for row in rows] == list(range(2, 3 * layouts + 2))

    def test_may_have_equal_lengths_and_other_attributes(self) -> None:
        sockets = [
            forge.socket(forge.cgroup_id(5), forge.attribute(99, bytes(8))),
            forge.socket(forge.attribute(99, bytes(8)), forge.cgroup_id(6)),
            forge.socket(forge.attribute(99, bytes(8)), forge.attribute(98, bytes(8))),
        ]
        assert [row.cgroup_id for row in decode_one(*sockets)] == [5, 6, 0]


class TestAttributes:
    @pytest.mark.parametrize("length", [0, 1, 104, 192, 232, 248, 4000])
    def test_info_of_any_length_is_skipped(self, length: int) -> None:
        info = forge.attribute(forge.INFO, b"\xee" * length)
        (row,) = decode_one(forge.socket(info, forge.cgroup_id(77)))
        assert (row.cgroup_id, row.drops) == (77, 0)

    @pytest.mark.parametrize("kind", [0, 1, 6, 8, 20, 22, 23, 255, 0x3FFF])
    def test_unknown_ones_are_skipped(self, kind: int) -> None:
        unknown = forge.attribute(kind, b"\xee" * 40)
        (row,) = decode_one(forge.socket(unknown, forge.memory_info(9), unknown))
        assert (row.cgroup_id, row.drops) == (0, 9)

    def test_too_short_for_their_number_count_as_absent(self) -> None:
        short = forge.attribute(forge.CGROUP_ID, b"\xee" * 4)
        shorter = forge.attribute(forge.SKMEMINFO, b"\xee" * 32)
        (row,) = decode_one(forge.socket(short, shorter))
        assert (row.cgroup_id, row.drops) == (0, 0)

    def test_longer_than_today_are_read_as_today(self) -> None:
        longer = forge.attribute(forge.SKMEMINFO, struct.pack("=11I", *range(11)))
        (row,) = decode_one(forge.socket(longer))
        assert row.drops == 8

    def test_absent_ones_are_zero_beside_sockets_that_have_them(self) -> None:
        rows = decode_one(
            forge.socket(forge.cgroup_id(1)), forge.socket(), forge.socket(forge.cgroup_id(2))
        )
        assert [row.cgroup_id for row in rows] == [1, 0, 2]

    @pytest.mark.parametrize("length", [0, 1, 3, 17, 0x7FFF, 0xFFFF])
    @pytest.mark.parametrize("place", [0, 1])
    def test_with_impossible_lengths_are_refused(self, length: int, place: int) -> None:
        attributes = [forge.attribute(99, b"")]
        attributes.insert(place, forge.attribute(forge.CGROUP_ID, bytes(8), length))
        liar = forge.socket(*attributes)
        behind = [forge.socket(forge.cgroup_id(1))] * 1000  # there to be read, wrongly
        error = refused([forge.join(liar, *behind), forge.join(forge.done())])
        assert error.reason == "malformed"

    @pytest.mark.parametrize("length", [0, 1, 3, 17, 0x7FFF, 0xFFFF])
    def test_with_impossible_lengths_are_found_behind_many_layouts(self, length: int) -> None:
        layouts = [  # so many that the fast way gives up
            forge.socket(*(forge.attribute(100 + place, b"") for place in range(row)))
            for row in range(20)
        ]
        liar = forge.socket(forge.attribute(99, b""), forge.attribute(98, bytes(8), length))
        assert refused([forge.join(*layouts, liar, forge.done())]).reason == "malformed"

    @pytest.mark.parametrize("length", [0, 1, 2, 3])
    def test_shorter_than_their_header_are_refused_even_at_the_end(self, length: int) -> None:
        for before in ([], [forge.cgroup_id(1)]):
            liar = forge.socket(*before, forge.attribute(99, b"", length))
            assert refused([forge.join(liar, forge.done())]).reason == "malformed"

    @pytest.mark.parametrize("rest", [1, 2, 3])
    def test_cut_short_are_refused(self, rest: int) -> None:
        liar = forge.socket(forge.cgroup_id(1))
        liar = replace(liar, length=16 + 72 + 12 + rest, body=liar.body + bytes(rest))
        assert refused([forge.join(liar, forge.done())]).reason == "malformed"


class TestMessages:
    @pytest.mark.parametrize("length", [0, 1, 4, 15, 87, 1 << 16, 1 << 31, 0xFFFFFFFF])
    @pytest.mark.parametrize("place", [0, 1, 2])
    def test_with_impossible_lengths_are_refused(self, length: int, place: int) -> None:
        sockets = [forge.socket(forge.cgroup_id(n)) for n in range(3)]
        sockets[place] = replace(sockets[place], length=length)
        assert refused([forge.join(*sockets), forge.join(forge.done())]).reason == "malformed"

    @pytest.mark.parametrize("length", [0, 1, 15, 0xFFFFFFFF])
    def test_with_impossible_lengths_are_refused_among_true_datagrams(self, length: int) -> None:
        true = forge.recorded_dump(MIXED, "tcp-ipv4-2bfe-0", SEQUENCE)
        lying = forge.edited(true[1:2], 100, lambda message: replace(message, length=length))
        with pytest.raises(DumpError) as caught:
            decode_in_batches([true[0], *lying, *true[2:]], iter([100]))
        assert caught.value.reason == "malformed"

    @pytest.mark.parametrize("word", [0, 1, 15, 16, 17, 0xFFFFFFFF])
    def test_of_nothing_but_one_number_end(self, word: int) -> None:
        """64 KiB of it: a walk that does not advance would hang here."""
        refused([struct.pack("=I", word) * (1 << 14)])

    def test_reaching_into_the_next_datagram_are_refused(self) -> None:
        messages = [replace(forge.socket(), sequence=SEQUENCE) for _ in range(2)]
        lie = replace(messages[0], length=88 + 8 + 88)  # to the end of the second, over the gap
        chunks = [forge.join(lie), forge.join(messages[1]), forge.join(DONE)]
        with pytest.raises(DumpError):
            decode_in_batches(chunks, iter([3]))

    def test_shorter_than_a_socket_are_refused(self) -> None:
        short = replace(forge.socket(), body=bytes([forge.AF_INET, 1]) + bytes(66))
        assert refused([forge.join(short, forge.done())]).reason == "malformed"

    @pytest.mark.parametrize("rest", [1, 2, 3, 4, 8, 15])
    def test_followed_by_half_a_header_are_refused(self, rest: int) -> None:
        for rubbish in (bytes(rest), b"\xff" * rest):
            for last in (forge.socket(), forge.done(), Message(kind=forge.NOOP)):
                chunks = [forge.join(last) + rubbish, forge.join(forge.done())]
                assert refused(chunks).reason == "malformed"

    def test_that_are_none_are_refused(self) -> None:
        assert refused([b"", forge.join(forge.done())]).reason == "malformed"

    @pytest.mark.parametrize("state", [0, 12, 13, 255])
    def test_in_no_state_of_tcp_are_refused(self, state: int) -> None:
        sockets = [forge.socket(), forge.socket(state=state)]
        assert refused([forge.join(*sockets, forge.done())]).reason == "malformed"

    @pytest.mark.parametrize("family", [0, 1, forge.AF_INET6, 255])
    def test_of_another_family_are_refused(self, family: int) -> None:
        sockets = [forge.socket(), forge.socket(family=family)]
        assert refused([forge.join(*sockets, forge.done())]).reason == "malformed"

    @pytest.mark.parametrize("kind", [0, 4, 19, 21, 0x14FF, 0xFFFF])
    def test_of_unknown_type_are_refused(self, kind: int) -> None:
        unknown = replace(forge.socket(), kind=kind)
        error = refused([forge.join(forge.socket(), unknown, forge.done())])
        assert error.reason == "malformed"

    def test_of_type_noop_are_skipped(self) -> None:
        noop = Message(kind=forge.NOOP)
        assert [row.cookie for row in decode_one(noop, forge.socket(cookie=5), noop)] == [5]

    @pytest.mark.parametrize("row", [0, 1, -1])
    def test_answering_another_request_are_refused(self, row: int) -> None:
        dump = [forge.join(forge.socket(), forge.socket(), forge.done())]
        assert refused(dump, sequence=2).reason == "sequence"
        foreign = forge.edited(dump, row, lambda message: replace(message, sequence=2))
        assert refused(foreign).reason == "sequence"

    @pytest.mark.parametrize("row", [0, 1, -1])
    def test_of_an_interrupted_dump_are_refused(self, row: int) -> None:
        dump = [forge.join(forge.socket(), forge.socket(), forge.done())]
        flags = forge.MULTI | forge.DUMP_INTERRUPTED
        interrupted = forge.edited(dump, row, lambda message: replace(message, flags=flags))
        assert refused(interrupted).reason == "interrupted"

    def test_with_other_flags_are_accepted(self) -> None:
        filtered = replace(forge.socket(cookie=5), flags=forge.MULTI | 0x20)
        assert [row.cookie for row in decode_one(filtered)] == [5]


class TestTheEnd:
    def test_of_a_dump_without_sockets_gives_none(self) -> None:
        rows = decode(TCP4, 1, [forge.join(forge.done())])
        assert len(rows) == 0
        assert as_rows(rows) == []

    def test_with_an_errno_is_that_error(self) -> None:
        error = refused([forge.join(forge.done(-2))])
        assert error.reason == "ENOENT"
        assert "tcp/ipv4" in error.operation
        assert "modprobe" in error.hint, "a missing module is the usual reason"

    def test_with_an_errno_behind_sockets_is_that_error(self) -> None:
        assert refused([forge.join(forge.socket(), forge.done(-105))]).reason == "ENOBUFS"

    def test_without_room_for_an_errno_is_good(self) -> None:
        empty = Message(kind=forge.DONE)
        assert len(decode(TCP4, 1, [forge.join(forge.socket(), empty)])) == 1

    @pytest.mark.parametrize(("number", "reason"), [(-1, "EPERM"), (-16, "EBUSY"), (-22, "EINVAL")])
    def test_by_nlmsg_error_is_that_error(self, number: int, reason: str) -> None:
        assert refused([forge.join(forge.error(number))]).reason == reason

    def test_by_an_errno_nobody_has_named_still_says_its_number(self) -> None:
        error = refused([forge.join(forge.error(-4095))])
        assert error.reason == "errno"
        assert "4095" in str(error)

    @pytest.mark.parametrize("number", [-4096, -(2**31), 2**31 - 1])
    def test_by_what_no_errno_can_be_is_refused(self, number: int) -> None:
        refused([forge.join(forge.error(number))])
        refused([forge.join(forge.socket(), forge.done(number))])

    @pytest.mark.parametrize("number", [0, 1])
    def test_by_an_acknowledgement_is_refused(self, number: int) -> None:
        assert refused([forge.join(forge.error(number))]).reason == "malformed"
        assert refused([forge.join(forge.done(1))]).reason == "malformed"

    def test_by_nlmsg_error_without_an_errno_is_refused(self) -> None:
        short = Message(kind=forge.ERROR)
        assert refused([forge.join(short, forge.done())]).reason == "malformed"

    @pytest.mark.parametrize("late", [forge.socket(), forge.done(), Message(kind=forge.NOOP)])
    def test_is_the_end(self, late: Message) -> None:
        assert refused([forge.join(forge.done(), late)]).reason == "malformed"
        assert refused([forge.join(forge.done()), forge.join(late)]).reason == "malformed"

    @pytest.mark.parametrize("chunks", [[], [forge.join(forge.socket())]])
    def test_that_never_comes_is_an_incomplete_dump(self, chunks: list[bytes]) -> None:
        assert refused(chunks).reason == "incomplete"


class TestLies:
    @given(st.lists(st.binary(max_size=400), max_size=4))
    def test_random_bytes_are_refused(self, chunks: list[bytes]) -> None:
        refused(chunks)

    @given(st.lists(st.binary(min_size=4, max_size=100).map(lambda b: b[: len(b) & ~3])))
    def test_random_bodies_of_sockets_are_refused_or_decoded(self, bodies: list[bytes]) -> None:
        chunks = [forge.join(*map(Message, bodies), forge.done())]
        compare(chunks, 1)

    @settings(max_examples=4 * settings().max_examples)
    @given(st.data())
    def test_a_changed_dump_is_refused_just_when_the_reference_refuses_it(
        self, data: st.DataObject
    ) -> None:
        chunks = [bytearray(chunk) for chunk in data.draw(dumps(max_size=5))]
        for _ in range(data.draw(st.integers(1, 3))):
            chunk = data.draw(st.sampled_from(chunks))
            change = data.draw(st.sampled_from(CHANGES))
            at = data.draw(st.integers(0, len(chunk) // 4)) * 4
            change(chunk, at, data.draw(st.sampled_from(HOSTILE) | st.integers(0, 2**32 - 1)))
        compare([bytes(chunk) for chunk in chunks], SEQUENCE)


#: Lengths and types that tell a careless reader from a careful one.
HOSTILE = [0, 1, 3, 4, 5, 15, 16, 17, 20, 72, 87, 88, 96, 0xFFFF, 0x10000, 2**31, 2**32 - 1]


def _overwrite(chunk: bytearray, at: int, word: int) -> None:
    chunk[at : at + 4] = struct.pack("=I", word)[: max(0, len(chunk) - at)]


def _overwrite_half(chunk: bytearray, at: int, word: int) -> None:
    chunk[at : at + 2] = struct.pack("=H", word & 0xFFFF)[: max(0, len(chunk) - at)]


def _insert(chunk: bytearray, at: int, word: int) -> None:
    chunk[at:at] = struct.pack("=I", word)


def _remove(chunk: bytearray, at: int, word: int) -> None:
    del chunk[at : at + 4 * (word % 8)]


CHANGES: list[Callable[[bytearray, int, int], None]] = [
    _overwrite,
    _overwrite_half,
    _insert,
    _remove,
]


def compare(chunks: Sequence[bytes], sequence: int) -> None:
    """Both decoders refuse these chunks, or both read the same rows; batched or not."""
    try:
        expected = reference.decode(Family.IPV4, sequence, chunks)
    except RefusedError:
        refused(chunks, sequence)
        if sequence == SEQUENCE:
            with pytest.raises(DumpError):
                decode_in_batches(chunks, iter([len(chunks)]))
    else:
        assert as_rows(decode(TCP4, sequence, chunks)) == expected
