"""What answers at --url: a daemon, or anything else that listens there."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from sockmon.client.snapshot import FetchError
from sockmon.top.daemon_source import Daemon
from tests.lab import PATIENCE
from tests.unit.top import making
from tests.unit.top.answering import Answering


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Answering]:
    monkeypatch.setenv("HOME", str(tmp_path))
    with Answering() as made:
        thread = threading.Thread(target=made.serve_forever, args=(0.01,))
        thread.start()
        yield made
        made.shutdown()
        thread.join()


@pytest.fixture
def daemon(server: Answering) -> Iterator[Daemon]:
    server.tells("/api/v1/observation", making.document(at=time.time()))
    made = Daemon(server.url)
    yield made
    made.close()


def refusal(daemon: Daemon) -> str:
    with pytest.raises(FetchError) as refused:
        daemon.look("port")
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_looks_share_one_connection(server: Answering, daemon: Daemon) -> None:
    for _ in range(3):
        assert daemon.look("port").snapshot.polls == 9
    assert server.connections == 1


def test_the_past_is_asked_for_once_and_after_every_absence(
    server: Answering, daemon: Daemon
) -> None:
    now = time.time()
    series = {label: [1, None, 3] for label in making.LABELS}
    server.tells(
        "/api/v1/history?range=hour", {"times": [now - 9, now - 5, now + 60], "max": series}
    )
    past = daemon.look("port").past
    assert [counts and counts[1] for _, counts in past] == [1, None]  # the third is no past
    assert past[1][0] - past[0][0] == pytest.approx(4)
    assert daemon.look("port").past == ()
    server.status = 503
    refusal(daemon)
    server.status = 200
    assert len(daemon.look("port").past) == 2


def test_a_finding_is_as_old_as_its_alert(server: Answering, daemon: Daemon) -> None:
    now = time.time()
    bad = making.namespace(now, findings=[making.finding()])
    labels = {"alertname": "SockmonCloseWaitLeak", "netns": "host", "direction": "inbound",
              "port": "10000", "owner": "shop", "severity": "warning"}  # fmt: skip
    alerts = [{"labels": labels, "since": since} for since in (now - 60, now - 600)]
    server.tells("/api/v1/observation", making.document(bad, at=now))
    server.tells("/api/v1/alerts", {"alerts": alerts})
    (since,) = daemon.look("port").since.values()
    assert since.at == pytest.approx(time.monotonic() - 600, abs=PATIENCE)
    assert not since.or_before
    server.tells("/api/v1/alerts", {"alerts": "none"})
    assert daemon.look("port").since == {}


def test_ages_are_right_whatever_the_clocks_say(server: Answering, daemon: Daemon) -> None:
    server.clock_runs_ahead = 86_400.0
    server.tells("/api/v1/observation", making.document(at=time.time() + 86_400 - 700))
    seen = daemon.look("port").snapshot
    assert time.monotonic() - seen.at.monotonic == pytest.approx(700, abs=PATIENCE)


def test_what_a_daemon_does_not_tell_is_said(daemon: Daemon) -> None:
    owners = daemon.look("owner").grouped
    assert owners.rows == ()
    assert owners.note is not None
    assert "without --url" in owners.note
    peers = daemon.look("peer").grouped
    assert [row.cells for row in peers.rows] == [("192.0.2.1:5432",)]
    assert peers.note is not None
    assert "without --url" in peers.note


@pytest.mark.parametrize(
    ("status", "body", "says"),
    [
        (200, b"<html>", "the server there is not a sockmon daemon"),
        (200, b"[" * 100_000, "the server there is not a sockmon daemon"),
        (200, b'{"taken_at": NaN}', "the server there is not a sockmon daemon"),
        (200, b"\xff\xfe", "the server there is not a sockmon daemon"),
        (200, b"{}", "its answer makes no sense to this version"),
        (503, b'{"error":"no poll has ended yet"}', "503 Service Unavailable: "),
        (503, b"\x1b[2Jmine\n" * 99, r"503 Service Unavailable: \x1b[2Jmine\n"),
        (403, b"for loopback clients", "it shows this only to clients on its own host"),
        (401, b"", "put them into ~/.netrc"),
        (302, b"", "302 Found"),
        (404, b"", "not a sockmon daemon"),
    ],
)
def test_what_is_no_good_answer_is_said_in_one_line(
    server: Answering, daemon: Daemon, status: int, body: bytes, says: str
) -> None:
    server.status, server.bodies["/api/v1/observation"] = status, body
    assert says in refusal(daemon)


def test_nobody_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert refusal(Daemon(f"http://127.0.0.1:{port}")) == "cannot connect: Connection refused"


@pytest.mark.parametrize(
    ("sent", "says"),
    [
        (b"SSH-2.0-x\r\n", "not HTTP"),
        (b"", "closed the connection"),
        (b"HTTP/1.1 200 OK\r\n\r\n", "not a sockmon"),
    ],
)
def test_somebody_else_there(sent: bytes, says: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(sent)

        thread = threading.Thread(target=answer)
        thread.start()
        assert says in refusal(Daemon(f"http://127.0.0.1:{listener.getsockname()[1]}"))
        thread.join()


@pytest.mark.usefixtures("daemon")
def test_a_password_comes_from_netrc(server: Answering, tmp_path: Path) -> None:
    netrc = tmp_path / ".netrc"
    netrc.write_text("machine 127.0.0.1 login ops password s3cret\n")
    netrc.chmod(0o600)
    assert authorization_of(server) == "Basic b3BzOnMzY3JldA=="
    netrc.write_text("nonsense\n")
    assert authorization_of(server) is None


def authorization_of(server: Answering) -> str | None:
    """What a new client says of itself."""
    with closing(Daemon(server.url)) as daemon:
        daemon.look("port")
    return server.asked[-1][1]


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("127.0.0.1:10776", "expected http://HOST:PORT"),
        ("ftp://localhost", "expected http://HOST:PORT"),
        ("http://", "expected http://HOST:PORT"),
        ("http://localhost:0", "expected http://HOST:PORT"),
        ("http://localhost:99999", "Port out of range"),
        ("http://localhost:port", "Port could not be cast"),
        ("http://localhost/?x=1", "expected http://HOST:PORT"),
        ("http://local host/", "expected http://HOST:PORT"),
        ("http://local\x07host/", "expected http://HOST:PORT"),
        ("http://[::1", "Invalid IPv6 URL"),
        ("http://ops:s3cret@localhost:10776", "put it into ~/.netrc"),
    ],
)
def test_a_bad_address_is_refused(url: str, says: str) -> None:
    with pytest.raises(ValueError, match=says) as refused:
        Daemon(url)
    assert "s3cret" not in str(refused.value)


def test_a_path_before_the_api_is_kept(server: Answering) -> None:
    server.tells("/sockmon/api/v1/observation", making.document(at=time.time()))
    made = Daemon(server.url + "/sockmon/")
    assert made.look("port").snapshot.polls == 9
    assert made.where == server.url + "/sockmon"
    made.close()
