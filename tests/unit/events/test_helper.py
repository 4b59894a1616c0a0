"""The helper and the daemon's side of it understand each other, and survive everything else."""

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sockmon.kernel.errors import HelperError, KernelError
from sockmon.kernel.events.helper import protocol
from sockmon.kernel.events.helper.client import Asking
from sockmon.kernel.events.helper.protocol import Listener, MessageError
from sockmon.kernel.events.helper.server import serve
from sockmon.kernel.events.loader import Descriptors, EventCounter
from tests.lab import eventually

LISTENERS = st.lists(st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 65535)), max_size=50)


@given(LISTENERS)
def test_a_request_is_understood(listeners: list[Listener]) -> None:
    assert protocol.parse_request(protocol.encode_request(listeners)) == listeners


def test_no_more_listeners_are_told_than_fit() -> None:
    many = [(1, port % 65536) for port in range(protocol.LISTENERS_AT_MOST + 5)]
    data = protocol.encode_request(many)
    assert len(data) == protocol.REQUEST_BYTES
    assert len(protocol.parse_request(data)) == protocol.LISTENERS_AT_MOST


@given(st.binary(max_size=40))
def test_any_other_request_is_refused(data: bytes) -> None:
    with suppress(MessageError):
        assert protocol.encode_request(protocol.parse_request(data)) == data


@given(st.binary(max_size=60) | st.sampled_from([b"[" * 4000, b'{"error": [1, 2]}', b"null"]))
def test_any_other_answer_is_refused(data: bytes) -> None:
    with pytest.raises(MessageError):
        protocol.parse_answer(data)


def test_an_answer_of_another_version_is_named() -> None:
    with pytest.raises(MessageError, match="version 99, not 2"):
        protocol.parse_answer(b'{"version": 99, "rows": 1, "words": 2}')


@contextmanager
def served(tmp_path: Path, answer: Callable[[socket.socket], object]) -> Iterator[str]:
    """A socket on which this answers one connection."""
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(path)
        listener.listen()

        def work() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(protocol.REQUEST_BYTES)
                answer(connection)

        thread = threading.Thread(target=work)
        thread.start()
        yield path
        thread.join()


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def asked(path: str) -> Descriptors:
    asking = Asking(path, [(1, 80)], 0)
    got = eventually(lambda: asking.answer(1))
    assert got is not None
    return got


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (lambda _: None, "closed the connection"),
        (lambda its: its.send(b"hello"), "malformed: it is not JSON; restart"),
        (lambda its: its.send(protocol.encode_answer()), "malformed: 0 descriptors, not 4"),
        (
            lambda its: its.send(protocol.encode_answer(KernelError("loading", "EPERM", "no"))),
            "loading: no",
        ),
    ],
)
def test_an_answer_that_is_none_says_what_to_do(
    tmp_path: Path, answer: Callable[[socket.socket], object], says: str
) -> None:
    with served(tmp_path, answer) as path, pytest.raises(KernelError, match=says):
        asked(path)


def test_a_helper_that_hangs_is_given_up_and_never_waited_for(tmp_path: Path) -> None:
    over = threading.Event()
    with served(tmp_path, lambda _: over.wait()) as path:
        asking = Asking(path, [], 100)
        assert asking.answer(101) is None
        assert asking.answer(129) is None
        with pytest.raises(HelperError, match="no answer in time; see systemctl"):
            asking.answer(131)
        over.set()


def test_a_helper_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(HelperError, match=r"ENOENT .*journalctl -u sockmon-events"):
        Asking(str(tmp_path / "nowhere"), [], 0)


def test_descriptors_of_something_else_are_refused_and_closed(tmp_path: Path) -> None:
    before = open_files()
    reading, writing = os.pipe()
    passed = [reading, writing, reading, writing]
    with served(
        tmp_path, lambda its: socket.send_fds(its, [protocol.encode_answer()], passed)
    ) as path:
        descriptors = asked(path)
    with pytest.raises(KernelError, match="no memory of this version"):
        EventCounter(descriptors)
    os.close(reading)
    os.close(writing)
    eventually(open_files, until=before.__ge__)


@contextmanager
def serving(path: Path, users: frozenset[int], load: Callable[..., Descriptors]) -> Iterator[str]:
    """The real server; it has ended when the context is left."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(str(path / "socket"))
        listener.listen()
        thread = threading.Thread(
            target=serve, args=(listener, users, load), kwargs={"idle_seconds": 0.3}
        )
        thread.start()
        yield str(path / "socket")
        thread.join()


def pipes(told: list[list[Listener]]) -> Callable[[list[Listener]], Descriptors]:
    def load(listeners: list[Listener]) -> Descriptors:
        told.append(listeners)
        return Descriptors(*os.pipe(), *os.pipe())

    return load


def test_the_server_passes_what_it_loaded_and_ends(tmp_path: Path) -> None:
    told: list[list[Listener]] = []
    with serving(tmp_path, frozenset({os.geteuid()}), pipes(told)) as path:
        descriptors = asked(path)
    descriptors.close()
    assert told == [[(1, 80)]]


def test_another_user_is_refused(tmp_path: Path) -> None:
    told: list[list[Listener]] = []
    with (
        serving(tmp_path, frozenset({os.geteuid() + 1}), pipes(told)) as path,
        pytest.raises(HelperError, match="closed the connection"),
    ):
        asked(path)
    assert told == []


def test_a_request_that_is_none_ends_only_its_connection(tmp_path: Path) -> None:
    told: list[list[Listener]] = []
    with serving(tmp_path, frozenset({os.geteuid()}), pipes(told)) as path:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
            client.connect(path)
            client.send(b"x" * 100)
            with suppress(ConnectionResetError):
                assert client.recv(1) == b""
        asked(path).close()
    assert told == [[(1, 80)]]


def test_why_nothing_could_be_loaded_reaches_the_daemon(tmp_path: Path) -> None:
    def load(_: list[Listener]) -> Descriptors:
        raise KernelError("making the eBPF map", "EPERM", "EPERM (not permitted)", "CAP_BPF")

    with (
        serving(tmp_path, frozenset({os.geteuid()}), load) as path,
        pytest.raises(KernelError, match=r"making the eBPF map: EPERM \(not permitted\); CAP_BPF"),
    ):
        asked(path)
