"""The helper does its work for those it trusts, and nothing else for anybody."""

import errno
import json
import socket
import struct
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from sockmon.kernel.errors import HelperError, NamespaceError
from sockmon.kernel.netlink import uapi
from sockmon.kernel.netlink.sockdiag import NetlinkTransport
from sockmon.kernel.netns.discovery import Place
from sockmon.kernel.netns.helper.client import HelperAccess
from sockmon.kernel.netns.helper.protocol import REQUEST_BYTES, Ask, Request
from tests.helping import CONFINED, RunningHelper, looked, running_helper
from tests.lab import PATIENCE, NetNs, eventually
from tests.resident import inode_of, open_files
from tests.unit.users import NOBODY, as_nobody

pytestmark = pytest.mark.root


@pytest.fixture
def helper() -> Iterator[RunningHelper]:
    with running_helper() as running:
        yield running


def test_whoever_is_not_of_its_users_is_refused() -> None:
    with running_helper(f"--user={NOBODY + 1}") as helper:
        access = HelperAccess(helper.socket)
        assert access.look() is not None, "root may"
        # Without CAP_CHOWN the socket is open to all: the helper itself tells them apart.
        with as_nobody():
            for _ in range(30):
                with pytest.raises(HelperError) as refused:
                    access.look()
                assert refused.value.reason in {"ECONNRESET", "EPIPE"}
        assert access.look() is not None
        access.close()
        told = [line for line in helper.log() if f" of user {NOBODY}: that user may not" in line]
    assert len(told) < 30, "ten a minute, and this may have begun in one and ended in the next"
    assert any(line.endswith("more of this kind are not logged in this minute") for line in told)


def test_its_user_may_ask() -> None:
    with running_helper(f"--user={NOBODY}", prefix=()) as helper:
        assert Path(helper.socket).stat().st_uid == NOBODY
        assert Path(helper.socket).stat().st_mode & 0o777 == 0o600
        with NetNs() as netns, helper.resident(netns):
            access = HelperAccess(helper.socket)
            with as_nobody():
                found = access.look()
            assert f"net:{inode_of(netns)}" in found
            access.close()


def connected(helper: RunningHelper) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    connection.settimeout(PATIENCE)
    try:
        connection.connect(helper.socket)
    except OSError:
        connection.close()
        raise
    return connection


@pytest.mark.parametrize(
    "garbage",
    [
        b"\0",
        b"\0" * REQUEST_BYTES,
        Request(Ask.LOOK).encode()[:-1],
        Request(Ask.LOOK).encode() + b"\0",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\xff" * 100_000,
    ],
)
def test_garbage_costs_its_sender_the_connection_and_nobody_else(
    helper: RunningHelper, garbage: bytes
) -> None:
    with connected(helper) as bad, connected(helper) as good:
        bad.send(garbage)
        assert bad.recv(1) == b""
        good.send(Request(Ask.LOOK, 5).encode())
        assert json.loads(good.recv(1 << 20))["number"] == 5
    (line,) = eventually(
        lambda: [line for line in helper.log() if "closed the connection of" in line]
    )
    assert "of user 0" in line


def test_descriptors_that_a_client_passes_are_not_taken(helper: RunningHelper) -> None:
    with connected(helper) as connection:
        connection.send(Request(Ask.LOOK).encode())
        connection.recv(1 << 20)
        before = helper.open_files()
        socket.send_fds(connection, [Request(Ask.LOOK).encode()], [0, 1, 2])
        connection.recv(1 << 20)
        assert helper.open_files() == before


def test_one_that_does_not_read_is_dropped(helper: RunningHelper) -> None:
    with connected(helper) as deaf:

        def dropped() -> bool:
            try:
                for _ in range(1000):
                    deaf.send(Request(Ask.LOOK).encode())
            except OSError:
                return True
            return False

        eventually(dropped)
    eventually(lambda: "does not read its answers" in helper.log()[-1])


def test_of_too_many_connections_the_one_that_is_quiet_longest_gives_way(
    helper: RunningHelper,
) -> None:
    with ExitStack() as stack:
        connections = [stack.enter_context(connected(helper)) for _ in range(5)]
        assert connections[0].recv(1) == b""
        for connection in connections[1:]:
            connection.send(Request(Ask.LOOK).encode())
            assert json.loads(connection.recv(1 << 20))["places"] is not None


def test_only_what_a_look_has_shown_can_be_asked_about(helper: RunningHelper) -> None:
    with NetNs() as netns, helper.resident(netns):
        access = HelperAccess(helper.socket)
        place = looked(access, netns)
        elsewhere = Place(Path("/proc/1/ns/net"), place.number + 1, 1, 1)
        with pytest.raises(NamespaceError) as refused:
            access.open_transport(elsewhere)
        assert refused.value.reason == "gone"
        with connected(helper) as other:  # it has not looked yet
            other.send(Request(Ask.OPEN, 1, place.number).encode())
            assert json.loads(other.recv(1 << 20))["error"][1] == "gone"
        access.close()


def destroy(transport: NetlinkTransport, port: int) -> int:
    """Ask the kernel to destroy the listener on a port of 127.0.0.1; returns its errno."""
    address = socket.inet_aton("127.0.0.1") + bytes(12)
    identity = struct.pack(">HH", port, 0) + address + bytes(16) + struct.pack("=III", 0, *_ANY)
    body = struct.pack("=BBBBI", socket.AF_INET, socket.IPPROTO_TCP, 0, 0, -1 & 0xFFFFFFFF)
    length = uapi.NLMSG_HEADER_BYTES + len(body) + len(identity)
    header = struct.pack("=IHHII", length, _SOCK_DESTROY, uapi.NLM_F_REQUEST | _NLM_F_ACK, 1, 0)
    transport.send(header + body + identity)
    answer = bytearray(4096)
    size, _ = transport.receive_into(memoryview(answer))
    kind, error = struct.unpack_from("=4xH10xi", answer[:size])
    assert kind == uapi.NLMSG_ERROR
    return -int(error)


_SOCK_DESTROY, _NLM_F_ACK = 21, 4  # linux/sock_diag.h, linux/netlink.h
_ANY = (0xFFFFFFFF, 0xFFFFFFFF)  # INET_DIAG_NOCOOKIE


@pytest.mark.parametrize("prefix", [CONFINED, ()])
def test_what_is_passed_destroys_no_socket_whoever_has_opened_it(prefix: tuple[str, ...]) -> None:
    """The kernel asks for CAP_NET_ADMIN of who sends: see sock_diag_destroy().

    One without CONFIG_INET_DIAG_DESTROY, as User Mode Linux, destroys none for root either.
    """
    with running_helper(prefix=prefix) as helper, NetNs() as netns, helper.resident(netns):
        listener = netns.socket()
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        access = HelperAccess(helper.socket)
        passed = access.open_transport(looked(access, netns))
        with as_nobody():
            refused = destroy(passed, port)
        assert netns.run(["ss", "-Hltn"]).stdout.count("LISTEN") == 1
        able = destroy(passed, port) != errno.EOPNOTSUPP
        assert refused == (errno.EPERM if able else errno.EOPNOTSUPP)
        left = netns.run(["ss", "-Hltn"]).stdout.count("LISTEN")
        assert left == (0 if able else 1), "with the capability it would be done"
        for held in (passed, listener, access):
            held.close()


HOSTILE = {
    "nothing": (b"", "ECONNRESET"),
    "garbage": (b"\xff\xfe", "malformed"),
    "another's answer": (b'{"number": 99, "cpu": 0.0}', "malformed"),
    "no places": (b'{"number": 1, "cpu": 0.0, "more": false}', "malformed"),
    "cut off": (b'{"number": 1, "cpu": 0.0, "places": ["' + b"x" * 120_000, "malformed"),
}


@contextmanager
def hostile(path: str, *answers: tuple[bytes, list[int]]) -> Iterator[None]:
    """Somebody who answers one connection's requests like that, and closes it."""

    def serve(listener: socket.socket) -> None:
        with listener.accept()[0] as connection:
            for answer, fds in answers:
                connection.recv(64)
                socket.send_fds(connection, [answer], fds)

    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(path)
        listener.listen()
        with ThreadPoolExecutor(1) as thread:
            serving = thread.submit(serve, listener)
            yield
            serving.result()


@pytest.mark.parametrize("name", HOSTILE)
def test_a_helper_that_answers_nonsense_is_not_believed(name: str, tmp_path: Path) -> None:
    answer, reason = HOSTILE[name]
    path = str(tmp_path / "socket")
    before = open_files()
    with hostile(path, (answer, [0])):
        with pytest.raises(HelperError) as refused:
            HelperAccess(path).look()
        assert refused.value.reason == reason
    assert open_files() <= before, "nor is what came along kept"


def test_only_a_sock_diag_socket_is_taken(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    place = Place(Path("/proc/1/ns/net"), 1, 1, 1)
    looked_at = b'{"number": 1, "cpu": 0.0, "places": [], "more": false}', [0]
    opened = b'{"number": 2, "cpu": 0.0}'
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as other:
        before = open_files()
        for number, fds in enumerate(([], [0], [other.fileno()])):
            its = f"{path}{number}"
            access = HelperAccess(its)
            with hostile(its, looked_at, (opened, fds)):
                assert access.look() == {}
                with pytest.raises(HelperError) as refused:
                    access.open_transport(place)
            assert refused.value.reason == "malformed"
        assert open_files() <= before
