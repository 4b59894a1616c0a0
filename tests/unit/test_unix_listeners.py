"""Listening Unix sockets: what the kernel answers, their names, for how long nobody accepts."""

import contextlib
import errno
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sockmon.kernel.errors import DumpError
from sockmon.kernel.netlink import unixdiag
from sockmon.kernel.netlink.replay import replay
from sockmon.model.unix_listeners import (
    LONGEST_PATH,
    PATHS_SHOWN,
    UnixListener,
    UnixListeners,
    UnixQueue,
    shown_path,
)
from tests import forge
from tests.forge import Message
from tests.recorded import QUIET
from tests.unit.transports import ForgedKernel

SEQUENCE = 7
STREAM, LISTEN = 1, 10
NAME, PEER, ICONS, RQLEN = 0, 2, 3, 4

names = st.one_of(
    st.binary(min_size=1, max_size=107),
    st.binary(max_size=107).map(lambda rest: b"\0" + rest),
)
listeners = st.builds(
    UnixListener,
    inode=st.integers(0, 2**32 - 1),
    cookie=st.integers(0, 2**64 - 1),
    name=names,
    length=st.integers(0, 2**32 - 1),
    limit=st.integers(0, 2**32 - 1),
    waiting=st.just(()),
)


def message(its: UnixListener, *attributes: bytes, state: int = LISTEN) -> Message:
    body = struct.pack("=BBBxIQ", 1, STREAM, state, its.inode, its.cookie)
    queue = struct.pack("=II", its.length, its.limit)
    told = (forge.attribute(NAME, its.name), forge.attribute(RQLEN, queue), *attributes)
    return Message(body + b"".join(told), sequence=SEQUENCE)


def end(number: int = 0) -> bytes:
    return forge.with_sequence(forge.join(forge.done(number)), SEQUENCE)


LISTENER = UnixListener(inode=11, cookie=12, name=b"/run/x.sock\0", length=5, limit=4)


class TestRequest:
    def test_is_40_bytes_with_every_field_in_its_place(self) -> None:
        encoded = unixdiag.request(SEQUENCE)
        assert struct.unpack_from("=IHHII", encoded) == (40, 20, 0x301, SEQUENCE, 0)
        family, protocol, states, inode, show = struct.unpack_from("=BBxxIII", encoded, 16)
        assert (family, protocol, states, inode) == (1, 0, 1 << LISTEN, 0)
        assert show == 0x01 | 0x10, "UDIAG_SHOW_NAME and UDIAG_SHOW_RQLEN"


class TestWhoWaits:
    def test_is_asked_of_one_listener(self) -> None:
        encoded = unixdiag.request_waiting(SEQUENCE, 4711)
        assert struct.unpack_from("=IHHII", encoded) == (40, 20, 0x001, SEQUENCE, 0)
        fields = struct.unpack_from("=BBxxIIIQ", encoded, 16)
        assert fields == (1, 0, 0, 4711, 0x08, 2**64 - 1), "UDIAG_SHOW_ICONS, INET_DIAG_NOCOOKIE"

    @given(st.lists(st.integers(0, 2**32 - 1), max_size=50))
    def test_is_in_the_reply(self, clients: list[int]) -> None:
        icons = forge.attribute(ICONS, struct.pack(f"={len(clients)}I", *clients))
        reply = forge.join(message(LISTENER, icons))
        assert unixdiag.parse_waiting(SEQUENCE, [reply]) == tuple(clients)

    @pytest.mark.parametrize("reply", [[], [end(-90)], [end(-2)]], ids=["none", "EMSGSIZE", "gone"])
    def test_or_an_error(self, reply: list[bytes]) -> None:
        with pytest.raises(DumpError):
            unixdiag.parse_waiting(SEQUENCE, reply)


class TestAQueue:
    """That becomes no shorter; the first in it wait, or are taken."""

    @pytest.mark.parametrize(
        ("now", "idle"),
        [
            ((11, 12, 13), 10.0),
            ((11, 12, 13, 14), 10.0),
            ((0, 12, 0), 10.0),  # who has given up stays in it
            ((12, 13, 14), 0.0),
            ((), 10.0),  # the kernel does not tell
        ],
    )
    def test_stands_still_or_moves(self, now: tuple[int, ...], idle: float) -> None:
        before = LISTENER._replace(length=3, waiting=(11, 12, 13))
        after = LISTENER._replace(length=max(3, len(now)), waiting=now)
        memory = UnixListeners().seen((before,), 100.0).seen((after,), 110.0)
        assert memory.idle(after, 110.0) == idle


class TestReply:
    @given(st.lists(listeners, max_size=5))
    def test_holds_what_was_sent(self, sent: list[UnixListener]) -> None:
        datagrams = [forge.join(*map(message, sent)), end()] if sent else [end()]
        assert unixdiag.parse(SEQUENCE, datagrams) == tuple(sent)
        one_each = [*(forge.join(message(its)) for its in sent), end()]
        assert unixdiag.parse(SEQUENCE, one_each) == tuple(sent)

    @given(st.lists(listeners, min_size=1, max_size=3), st.data())
    def test_cut_anywhere_is_refused(self, sent: list[UnixListener], data: st.DataObject) -> None:
        whole = forge.join(*map(message, sent)) + end()
        cut = data.draw(st.integers(0, len(whole) - 1))
        with pytest.raises(DumpError):
            unixdiag.parse(SEQUENCE, [whole[:cut]])

    @given(st.binary(max_size=200))
    def test_of_any_bytes_is_refused(self, noise: bytes) -> None:
        with pytest.raises(DumpError):
            unixdiag.parse(SEQUENCE, [noise])

    @given(st.binary(max_size=60))
    def test_with_any_attributes_is_refused_or_parsed(self, noise: bytes) -> None:
        body = struct.pack("=BBBxIQ", 1, STREAM, LISTEN, 11, 12) + noise
        datagrams = [forge.join(Message(body, sequence=SEQUENCE)), end()]
        with contextlib.suppress(DumpError):
            (found,) = unixdiag.parse(SEQUENCE, datagrams)
            assert (found.inode, found.cookie) == (11, 12)

    def test_attributes_that_were_not_asked_for_are_skipped(self) -> None:
        peer = forge.attribute(PEER, bytes(4))
        assert unixdiag.parse(SEQUENCE, [forge.join(message(LISTENER, peer)), end()]) == (LISTENER,)

    @pytest.mark.parametrize("number", [errno.ENOENT, errno.ENOMEM])
    def test_that_is_an_error_says_which(self, number: int) -> None:
        for reply in (forge.done(-number), forge.error(-number)):
            with pytest.raises(DumpError) as caught:
                unixdiag.parse(SEQUENCE, [forge.with_sequence(forge.join(reply), SEQUENCE)])
            assert caught.value.reason == errno.errorcode[number]
            assert (number != errno.ENOENT) or "modprobe unix_diag" in str(caught.value)

    @pytest.mark.parametrize(
        ("datagrams", "reason"),
        [
            ([forge.join(message(LISTENER))], "incomplete"),
            ([end(), end()], "malformed"),
            ([forge.join(message(LISTENER, state=1)), end()], "malformed"),
            ([forge.with_sequence(end(), 8)], "sequence"),
        ],
    )
    def test_that_cannot_be_is_refused(self, datagrams: list[bytes], reason: str) -> None:
        with pytest.raises(DumpError) as caught:
            unixdiag.parse(SEQUENCE, datagrams)
        assert caught.value.reason == reason


class TestReading:
    def test_a_missing_module_is_said_once(self) -> None:
        kernel = ForgedKernel(unix=[message(LISTENER)])
        kernel.refused["unix"] = errno.ENOENT
        source = kernel.source(QUIET / "proc")
        for expected in (["ENOENT"], []):
            assert source.unix_listeners() == ()
            assert [error.reason for error in source.take_errors()] == expected

    def test_any_other_error_is_said_each_time_and_does_not_last(self) -> None:
        kernel = ForgedKernel(unix=[message(LISTENER)])
        kernel.refused["unix"] = errno.ENOMEM
        source = kernel.source(QUIET / "proc")
        assert source.unix_listeners() == ()
        assert [error.reason for error in source.take_errors()] == ["ENOMEM"]
        del kernel.refused["unix"]
        assert source.unix_listeners() == (LISTENER,)
        assert source.take_errors() == []

    def test_a_recording_without_them_is_no_error(self) -> None:
        source = replay(QUIET)
        assert source.unix_listeners() == ()
        assert source.take_errors() == []

    def test_a_recording_may_have_them(self, tmp_path: Path) -> None:
        (tmp_path / "dumps").mkdir()
        datagrams = [forge.join(message(LISTENER)), end()]
        recorded = b"".join(len(each).to_bytes(4, "little") + each for each in datagrams)
        (tmp_path / "dumps/unix").write_bytes(recorded)
        assert replay(tmp_path).unix_listeners() == (LISTENER,)


class TestPath:
    @pytest.mark.parametrize(
        ("name", "path"),
        [
            (b"/run/x.sock\0", "/run/x.sock"),
            (b"/run/my app.sock", "/run/my app.sock"),
            (b"\0abstract", "@abstract"),
            (b"\0a\0b\n", r"@a\x00b\x0a"),
            (b"\0", "@"),
            (b"@file\0", "./@file"),
            (b"a\\x41", r"a\x5cx41"),
            ("/run/é".encode(), r"/run/\xc3\xa9"),
            (b"", ""),
        ],
    )
    def test_is_the_name_in_printable_ascii(self, name: bytes, path: str) -> None:
        assert shown_path(name) == path

    @given(names, names)
    def test_is_bounded_printable_and_never_anothers(self, one: bytes, other: bytes) -> None:
        path = shown_path(one)
        assert len(path) <= LONGEST_PATH
        assert path.isascii()
        assert path.isprintable()
        if path == shown_path(other) and one[:1] == b"\0":
            assert one == other

    def test_of_a_long_name_ends_in_a_hash(self) -> None:
        one, other = (shown_path(b"\0" + b"\xff" * 100 + bytes([n])) for n in (1, 2))
        assert len(one) == len(other) == LONGEST_PATH
        assert one[:-16] == other[:-16]
        assert one != other


def queue(
    length: int, cookie: int = 1, name: bytes = b"/run/x.sock", limit: int = 4
) -> UnixListener:
    return UnixListener(cookie, cookie, name, length, limit)


class TestFromPollToPoll:
    def test_a_queue_is_idle_as_long_as_it_is_not_shorter(self) -> None:
        seen = UnixListeners()
        for now, length, idle in (
            (10.0, 3, 0.0), (15.0, 3, 5.0), (20.0, 4, 10.0), (25.0, 3, 0.0), (30.0, 0, 0.0),
            (35.0, 3, 0.0), (40.0, 3, 5.0),
        ):  # fmt: skip
            seen = seen.seen((queue(length),), now)
            assert seen.idle(queue(length), now) == idle
        assert seen.began == 10.0

    def test_another_socket_of_the_same_path_begins_for_itself(self) -> None:
        seen = UnixListeners().seen((queue(3, cookie=1),), 10.0).seen((queue(3, cookie=2),), 20.0)
        assert seen.idle(queue(3, cookie=2), 20.0) == 0.0

    def test_what_is_shown_has_waited_lately(self) -> None:
        others = (queue(0, 2, b"/run/idle"),)
        seen = UnixListeners().seen((queue(3), *others), 10.0)
        assert seen.shown() == (UnixQueue("/run/x.sock", 3, 4),)
        seen = seen.seen((queue(0), *others), 600.0)
        assert seen.shown() == (UnixQueue("/run/x.sock", 0, 4),), "at zero, for ten minutes"
        assert seen.seen((queue(0), *others), 610.0).shown() == ()

    def test_of_one_path_the_fullest_is_shown(self) -> None:
        both = (queue(1, cookie=1), queue(3, cookie=2), queue(2, cookie=3))
        assert UnixListeners().seen(both, 1.0).shown() == (UnixQueue("/run/x.sock", 3, 4),)

    def test_only_so_many_are_shown(self) -> None:
        many = tuple(queue(n, n, b"/run/%d" % n, limit=100) for n in range(1, PATHS_SHOWN + 10))
        shown = UnixListeners().seen(many, 1.0).shown()
        assert [its.length for its in shown] == list(range(PATHS_SHOWN + 9, 9, -1))
