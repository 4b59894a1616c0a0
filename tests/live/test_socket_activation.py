"""The daemon on sockets that systemd passes: systemd's own program for it opens them."""

import http.client
import json
import socket
import sys
from pathlib import Path

import pytest

from sockmon.kernel.listening import ListenError as HelperListenError
from sockmon.kernel.listening import inherited
from sockmon.web.listeners import ListenError, listening
from tests.lab import PATIENCE, NetNs
from tests.running import PORT, running_daemon

pytestmark = pytest.mark.root


class UnixConnection(http.client.HTTPConnection):
    """HTTP to a Unix socket. The network namespace matters only to abstract names."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=PATIENCE)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self._path)


def status(path: str, url: str, host: str = "localhost") -> int:
    connection = UnixConnection(path)
    connection.request("GET", url, headers={"Host": host})
    answered = connection.getresponse().status
    connection.close()
    return answered


@pytest.mark.component("systemd-socket-activate")
def test_serves_on_every_socket_that_systemd_passes(netns: NetNs, tmp_path: Path) -> None:
    path, config = str(tmp_path / "socket"), tmp_path / "config.yaml"
    config.write_text(f"web: {{listen_address: '127.0.0.9:{PORT}'}}\n")
    addresses = [f"127.0.0.1:{PORT}", f"[::1]:{PORT}", path]
    activate = ["systemd-socket-activate", *(f"--listen={address}" for address in addresses)]
    options = ("--config", str(config), "--web.systemd-socket")
    with running_daemon(netns, *options, prefix=activate) as daemon:
        assert daemon.get("/-/ready", host="::1").status == 200
        # A client of the Unix socket is on this host, and the rules for those hold.
        assert status(path, "/metrics") == status(path, "/api/v1/alerts") == 200
        assert status(path, "/api/v1/alerts", host="evil.example") == 403
        for address in (f"://127.0.0.1:{PORT}/", f"://[::1]:{PORT}/", f" on unix:{path}"):
            assert f"serving http{address}\n" in daemon.log()
        assert "everyone who can connect" not in daemon.log()
        listened_on = netns.run(["ss", "-Htln"]).stdout
        assert "127.0.0.9" not in listened_on
        assert json.loads(daemon.get("/api/v1/observation").body)["namespaces"]
        assert daemon.stop() == 0
    assert Path(path).is_socket()  # systemd's: it goes on listening


@pytest.mark.parametrize(
    ("options", "passed", "says"),
    [
        ("--web.systemd-socket", "", "systemd has passed no socket: start sockmon.socket, not"),
        (
            "--web.systemd-socket",
            "LISTEN_FDS=1 LISTEN_PID=$$",
            "descriptor 3, passed by systemd: Socket operation on non-socket",
        ),
        ("--web.systemd-socket", "LISTEN_FDS=1 LISTEN_PID=1", "systemd has passed no socket"),
        (
            "--web.systemd-socket --web.listen-address=:1",
            "",
            "argument --web.listen-address: not allowed with argument --web.systemd-socket",
        ),
    ],
)
def test_says_in_one_line_what_was_passed_instead(
    netns: NetNs, options: str, passed: str, says: str
) -> None:
    line = f"{passed} exec {sys.executable} -m sockmon run {options} 3</dev/null"
    ended = netns.run(["sh", "-c", line], check=False)
    assert ended.returncode == 2
    assert says in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM, socket.SOCK_SEQPACKET])
def test_what_is_no_listening_stream_is_refused(kind: socket.SocketKind) -> None:
    family = socket.AF_UNIX if kind == socket.SOCK_SEQPACKET else socket.AF_INET
    with socket.socket(family, kind) as passed:
        if kind == socket.SOCK_SEQPACKET:
            passed.bind("")  # an abstract name that the kernel chooses
            passed.listen()
        with pytest.raises(ListenError, match="is no listening TCP or Unix socket"):
            listening((), [passed]).__enter__()
        assert passed.fileno() == -1


def test_the_helper_takes_one_socket() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as one:
        assert inherited([one], "s.socket") is one
        with pytest.raises(HelperListenError, match="2 sockets were passed"):
            inherited([one, one], "s.socket")
