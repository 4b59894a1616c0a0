"""Resets that real kernels and programs make: which are a burst, and which only look like one.

The counts are the kernel's; the time between them is an argument of those who judge.
"""

import os
import signal
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from sockmon.detect import reset_burst
from sockmon.model.connection_events import BUCKET_SECONDS, BURST_SECONDS
from sockmon.model.names import HOST
from sockmon.poll.event_window import EventWindow
from sockmon.poll.events import by_name
from tests.conftest import component
from tests.eventing import Tally, counting
from tests.lab import NetNs, closes, eventually
from tests.live.test_events_counted import connect_in, listener_in
from tests.pki import Authority
from tests.resident import inode_of
from tests.unit.detect.builders import sight

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("free_rows")]

PORT = 20000
MANY = 25


class Judge:
    """Reads what was counted, and judges it; time passes when it is told to."""

    def __init__(self, tally: Tally, netns: NetNs) -> None:
        self._tally, self._inode, self._now = tally, inode_of(netns), 0.0
        self._window = EventWindow()
        self._window.follow([HOST], 0.0)
        self.ended = 0

    def look(self) -> dict[str, str]:
        """The findings' summaries by direction."""
        increments = self._tally.counter.read(self._now)
        self._window.add(by_name(increments, {self._inode: HOST}), self._now)
        recent = self._window.recent(HOST, self._now)
        assert recent is not None
        inbound = [its for (direction, _), its in recent.ports.items() if direction == "inbound"]
        self.ended = sum(
            sum(counts.closed.values()) + sum(counts.aborted.values()) for counts in inbound
        )
        data = replace(sight(), events=recent)
        found = reset_burst.find(data, reset_burst.Thresholds())
        return {str(its.subject.direction): str(its.summary) for its in found}

    def wait_for(self, ended: int) -> dict[str, str]:
        """Look until so many inbound connections have ended, in all."""
        return eventually(lambda: (self.look(), self.ended), until=lambda it: it[1] >= ended)[0]

    def let_it_be_usual(self) -> None:
        """Let time pass, so that what was is no part of a burst."""
        self._now += BURST_SECONDS + BUCKET_SECONDS
        self.look()
        self._now += BUCKET_SECONDS


@pytest.fixture
def judge(netns: NetNs) -> Iterator[Judge]:
    with counting() as tally:
        yield Judge(tally, netns)


def play(netns: NetNs, listener: socket.socket, way: closes.Way, times: int = MANY) -> None:
    for _ in range(times):
        client = connect_in(netns)
        way(client, listener.accept()[0])


@contextmanager
def usually_closed(netns: NetNs, judge: Judge) -> Iterator[socket.socket]:
    """A listener whose connections have been closed in good order so far."""
    with listener_in(netns) as listener:
        play(netns, listener, closes.client_first)
        play(netns, listener, closes.server_first, 5)
        assert not judge.wait_for(MANY + 5)
        judge.let_it_be_usual()
        yield listener


def test_a_server_that_begins_to_abort_is_a_burst_at_both_ends(netns: NetNs, judge: Judge) -> None:
    with usually_closed(netns, judge) as listener:
        play(netns, listener, closes.unread_bytes)
        found = judge.wait_for(2 * MANY + 5)
        assert found["inbound"].startswith(f"this host has reset {MANY} open connections of port")
        assert found["outbound"].startswith(f"the other end has reset {MANY} open connections to")


def test_a_listener_that_closes_with_connections_in_its_queue(netns: NetNs, judge: Judge) -> None:
    with usually_closed(netns, judge) as listener, ExitStack() as stack:
        for _ in range(MANY):
            stack.enter_context(connect_in(netns))
        listener.close()
        assert set(judge.wait_for(2 * MANY + 5)) == {"inbound", "outbound"}


def test_a_full_queue_that_aborts_is_seen_at_the_callers(netns: NetNs, judge: Judge) -> None:
    """tcp_abort_on_overflow aborts handshakes that end when the queue is full.

    On loopback a handshake is over at once, and a full queue drops SYNs: it is made to last.
    """
    netns.set_sysctl("net.ipv4.tcp_abort_on_overflow", 1)
    with usually_closed(netns, judge) as listener, ExitStack() as stack:
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 30)
        clients = [stack.enter_context(connect_in(netns)) for _ in range(MANY + 5)]
        listener.listen(1)
        for client in clients:
            client.sendall(b"x")
        found = eventually(judge.look)
        assert set(found) == {"outbound"}, "here, they were never connections"


def clients_abort(client: socket.socket, server: socket.socket) -> None:
    """As health checks do (SO_LINGER 0)."""
    closes.linger_zero(client, server)


def clients_leave(client: socket.socket, server: socket.socket) -> None:
    """As load generators and browsers do: with an answer unread."""
    closes.unread_bytes(server, client)


def says_goodbye(client: socket.socket, server: socket.socket) -> None:
    """The end that closes second sends something, as TLS does: a reset answers it."""
    server.close()
    closes.at_end(client)
    client.sendall(b"goodbye")
    client.close()


@pytest.mark.parametrize("way", [clients_abort, clients_leave, says_goodbye, closes.half_close])
def test_what_clients_do_by_design_is_no_burst(netns: NetNs, judge: Judge, way: closes.Way) -> None:
    with usually_closed(netns, judge) as listener:
        play(netns, listener, way, 2 * MANY)
        assert not judge.wait_for(3 * MANY + 5)


def test_a_server_that_always_aborts_is_no_burst(netns: NetNs, judge: Judge) -> None:
    with listener_in(netns) as listener:
        for round_ in range(1, 4):
            play(netns, listener, closes.unread_bytes)
            assert not judge.wait_for(round_ * MANY), "nobody knows yet, and then it is usual"
            judge.let_it_be_usual()


def test_tls_that_says_goodbye_is_closed_and_not_aborted(
    netns: NetNs, judge: Judge, tmp_path: Path
) -> None:
    """An HTTPS client whose server closes first: the kernel resets what comes after that."""
    certificate, key = Authority(tmp_path).issue("server", "IP:127.0.0.1")
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(certificate, key)
    calling = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    calling.check_hostname, calling.verify_mode = False, ssl.CERT_NONE

    def way(client: socket.socket, server: socket.socket) -> None:
        pending = [
            context.wrap_socket(end, server_side=end is server, do_handshake_on_connect=False)
            for end, context in ((client, calling), (server, serving))
        ]
        shake_hands(*pending)
        secure_client, secure_server = pending
        secure_server.sendall(b"answer")
        secure_server.close()
        secure_client.settimeout(10)
        while secure_client.recv(100):
            pass
        with suppress(OSError):
            secure_client.unwrap()  # sends its last message, which nobody reads
        secure_client.close()

    with usually_closed(netns, judge) as listener:
        play(netns, listener, way, 2 * MANY)
        assert not judge.wait_for(3 * MANY + 5)


def shake_hands(*ends: ssl.SSLSocket) -> None:
    """Both in one thread, in turn."""
    waiting = list(ends)
    for end in ends:
        end.settimeout(0)
    while waiting:
        for end in tuple(waiting):
            try:
                end.do_handshake()
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                continue
            waiting.remove(end)
    for end in ends:
        end.settimeout(10)


NGINX = """
daemon off; pid {directory}/pid; error_log {directory}/error.log; worker_processes 1;
events {{ worker_connections 512; }}
http {{
  access_log off;
  client_body_temp_path {directory}; proxy_temp_path {directory};
  fastcgi_temp_path {directory}; uwsgi_temp_path {directory}; scgi_temp_path {directory};
  server {{ listen 127.0.0.1:20000; location / {{ return 200 ok; }} }}
}}
"""


@contextmanager
def nginx(netns: NetNs, directory: Path) -> Iterator[Callable[[], int]]:
    """A real nginx; yields what returns its worker's PID."""
    program = component("nginx")
    assert program is not None
    config = directory / "nginx.conf"
    config.write_text(NGINX.format(directory=directory))
    command = [program, "-p", str(directory), "-c", str(config)]
    with (directory / "output").open("wb") as output:
        process = netns.call(subprocess.Popen[bytes], command, stdout=output, stderr=output)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")

    def worker() -> int:
        return int(eventually(lambda: children.read_text().split())[0])

    def answers() -> bool:
        with netns.socket() as client:
            return client.connect_ex(("127.0.0.1", PORT)) == 0

    try:
        eventually(answers)
        yield worker
    finally:
        process.terminate()
        process.wait(10)


def ask(netns: NetNs, *, close: bool) -> socket.socket:
    client = connect_in(netns)
    ending = "Connection: close\r\n" if close else ""
    client.sendall(f"GET / HTTP/1.1\r\nHost: x\r\n{ending}\r\n".encode())
    return client


@pytest.mark.component("nginx")
def test_a_worker_of_nginx_that_is_killed_with_requests_unread(
    netns: NetNs, judge: Judge, tmp_path: Path
) -> None:
    with nginx(netns, tmp_path) as worker, ExitStack() as stack:
        for _ in range(MANY):
            with ask(netns, close=True) as client:
                closes.at_end(client)
        assert not judge.wait_for(1 + MANY)
        judge.let_it_be_usual()
        clients = [stack.enter_context(ask(netns, close=False)) for _ in range(MANY)]
        for client in clients:
            assert client.recv(500)
        pid = worker()
        os.kill(pid, signal.SIGSTOP)
        for client in clients:
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        os.kill(pid, signal.SIGKILL)
        assert set(judge.wait_for(1 + 2 * MANY)) == {"inbound", "outbound"}
