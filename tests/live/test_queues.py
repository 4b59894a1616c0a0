"""Queues that nobody moves are found, named by whom they wait for, and told apart."""

import ctypes
import os
import re
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from sockmon.model.finding import Finding
from sockmon.model.states import TcpState
from tests.lab import AddressKind, NetNs, eventually, queues
from tests.polling import Polling

pytestmark = pytest.mark.root

QUICK = """
detect:
  accept_queue: {stalled_after: 1s}
  unread_data: {stalled_after: 1s, warning_sockets: 3}
  unsent_data: {stalled_after: 1s, warning_sockets: 3}
  dead_peer: {unanswered_probes: 2}
  close_wait_leak: {stale_after: 1s, warning_sockets: 2}
"""
_SO_ATTACH_FILTER, _SO_DETACH_FILTER = 26, 27
every_kind = pytest.mark.parametrize("kind", list(AddressKind))

Wait = Callable[..., tuple[Finding, ...]]


@contextmanager
def polled(netns: NetNs) -> Iterator[Wait]:
    """Wait for findings of just these detectors."""
    with ExitStack() as stack:
        poller = Polling(netns, QUICK)
        stack.callback(poller.close)

        def wait(*detectors: str) -> tuple[Finding, ...]:
            return eventually(
                poller.findings, until=lambda found: {f.detector for f in found} == set(detectors)
            )

        yield wait


@every_kind
def test_a_server_that_accepts_nobody(netns: NetNs, kind: AddressKind) -> None:
    with queues.unaccepted(netns, kind, 5, gone=False) as port, polled(netns) as wait:
        (found,) = wait("accept_queue")
        assert (found.subject.direction, found.subject.port) == ("inbound", port)
        assert found.severity == "critical"
        assert f"does not accept on port {port}: 5 connections wait" in found.summary
        assert found.owner is not None
        assert found.owner.processes


@every_kind
def test_clients_that_nobody_accepted_and_that_gave_up_are_no_leak(
    netns: NetNs, kind: AddressKind
) -> None:
    with queues.unaccepted(netns, kind, 5, gone=True), polled(netns) as wait:
        (found,) = wait("accept_queue")
        assert found.summary.endswith("the clients of 5 have given up")


@pytest.mark.parametrize("kind", [AddressKind.IPV4, AddressKind.IPV6])
def test_one_of_several_queues_of_a_port(netns: NetNs, kind: AddressKind) -> None:
    with queues.one_of_several_hangs(netns, kind, 5) as port, polled(netns) as wait:
        (found,) = wait("accept_queue")
        assert found.severity == "warning"
        assert f"1 of 2 queues of port {port} is not emptied by" in found.summary


@pytest.mark.parametrize("backlog", [4, 100], ids=["full", "hardly used"])
def test_a_unix_server_that_accepts_nobody(netns: NetNs, tmp_path: Path, backlog: int) -> None:
    path = str(tmp_path / "x.sock")
    with queues.unaccepted_unix(netns, path, 5, backlog), polled(netns) as wait:
        (found,) = wait("accept_queue")
        assert (found.severity, found.subject.path) == ("critical", path)
        if backlog == 4:  # a full queue is a finding before time has shown that nobody accepts
            assert found.summary.startswith(f"5 connections to {path} wait for ")
            assert "further connects fail with EAGAIN" in found.summary
        else:
            assert f"does not accept on {path}: 5 connections wait" in found.summary
        assert found.owner is not None
        assert os.getpid() in [process.pid for process in found.owner.processes]


def test_a_unix_server_that_accepts_as_many_as_come(netns: NetNs, tmp_path: Path) -> None:
    """Its queue becomes no shorter, but others wait in it each time."""
    path = str(tmp_path / "x.sock")
    with queues.unaccepted_unix(netns, path, 5, backlog=100) as serve_one, ExitStack() as stack:
        poller = Polling(netns, QUICK)
        stack.callback(poller.close)
        eventually(poller.findings, until=bool)

        def findings() -> tuple[Finding, ...]:
            serve_one()
            return poller.findings()

        eventually(findings, until=lambda found: not found)
        for _ in range(4):
            assert findings() == ()


def test_an_abstract_unix_socket_by_its_name(netns: NetNs) -> None:
    with queues.unaccepted_unix(netns, b"\0odd\n", 5, 4), polled(netns) as wait:
        (found,) = wait("accept_queue")
        assert found.subject.path == r"@odd\x0a"


@every_kind
def test_clients_that_say_nothing_are_no_flood(netns: NetNs, kind: AddressKind) -> None:
    """TCP_DEFER_ACCEPT keeps them in the backlog, as half-open ones are."""
    with queues.silent(netns, kind, 8), ExitStack() as stack:
        poller = Polling(netns)
        stack.callback(poller.close)

        def ages() -> bool:
            """Whether the first SYN-ACK's timeout is over for all."""
            young, *older = poller.diagnosis().ages[TcpState.SYN_RECV]
            return not young and sum(older) == 8

        eventually(ages, until=bool)
        assert eventually(poller.findings, until=lambda found: not found) == ()


@every_kind
def test_requests_that_nobody_reads(netns: NetNs, kind: AddressKind) -> None:
    with queues.unread(netns, kind, 4) as made, polled(netns) as wait:
        (found,) = wait("unread_data")
        assert (found.subject.direction, found.subject.port) == ("inbound", made.port)
        assert found.value == 4


@every_kind
def test_peers_that_do_not_read_are_the_cause_of_what_waits_for_them(
    netns: NetNs, kind: AddressKind
) -> None:
    with queues.closed_windows(netns, kind, 3) as made, polled(netns) as wait:
        found = {finding.detector: finding for finding in wait("unread_data", "unsent_data")}
        unread, unsent = found["unread_data"], found["unsent_data"]
        assert (unread.subject.direction, unread.subject.port) == ("outbound", made.port)
        assert (unsent.subject.direction, unsent.subject.port) == ("inbound", made.port)
        assert unsent.cause == unread.key
        assert unread.cause is None


@every_kind
def test_who_reads_less_than_is_sent_reads(netns: NetNs, kind: AddressKind) -> None:
    with queues.outpaced(netns, kind, 4) as once_more, ExitStack() as stack:
        poller = Polling(netns, QUICK)
        stack.callback(poller.close)

        def findings() -> tuple[Finding, ...]:
            once_more()
            return poller.findings()

        eventually(poller.findings, until=lambda found: len(found) == 2)
        eventually(findings, until=lambda found: not found)
        for _ in range(4):
            assert findings() == ()


@every_kind
def test_keepalive_that_nobody_answers(netns: NetNs, kind: AddressKind) -> None:
    with queues.keepalive_unanswered(netns, kind, 4), polled(netns) as wait:
        (found,) = wait("dead_peer")
        assert found.severity == "critical"
        assert "4 of 4 established connections" in found.summary
        assert "keepalive probes" in found.summary


def test_few_that_are_gone_are_few_whatever_else_is_known(netns: NetNs) -> None:
    """Who holds the others is known, because these have a finding."""
    with queues.keepalive_unanswered(netns, AddressKind.IPV4, 4, unread=96) as made:

        def probed() -> list[str]:
            lines = netns.run(["ss", "-Htno", f"( sport = :{made.port} )"]).stdout.splitlines()
            return [line for line in lines if re.search(r"keepalive,[^,]*,[3-9]\)", line)]

        eventually(probed, until=lambda lines: len(lines) == 4)
        with ExitStack() as stack:
            poller = Polling(netns, QUICK)
            stack.callback(poller.close)
            eventually(poller.findings, until=bool)
            for _ in range(4):
                assert [found.detector for found in poller.findings()] == ["unread_data"]


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_datagrams_for_which_a_buffer_has_no_room(
    netns: NetNs, family: socket.AddressFamily
) -> None:
    """And none that a socket's own filter refuses: it counts these among its drops, too."""
    address = "127.0.0.1" if family == socket.AF_INET else "::1"
    with ExitStack() as stack:
        server, client = (
            stack.enter_context(netns.socket(family, socket.SOCK_DGRAM)) for _ in range(2)
        )
        server.bind((address, 5300))
        refuse = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))  # BPF: return 0
        program = struct.pack("HL", 1, ctypes.addressof(refuse))
        server.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)
        poller = Polling(netns)
        stack.callback(poller.close)

        def findings() -> tuple[Finding, ...]:
            for _ in range(100):
                client.sendto(bytes(1000), (address, 5300))
            return tuple(found for found in poller.findings() if found.detector == "udp_drops")

        assert [findings() for _ in range(4)] == [()] * 4
        server.setsockopt(socket.SOL_SOCKET, _SO_DETACH_FILTER, 0)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        (found,) = eventually(findings, until=bool)
        assert found.subject.port == 5300
