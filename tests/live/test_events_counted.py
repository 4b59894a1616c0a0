"""The program in the kernel counts each connection's opening, failure and close, exactly."""

import errno
import mmap
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress

import pytest

from sockmon.drill.lab.sockets import reset_on_close
from sockmon.kernel.events import layout
from sockmon.kernel.events.loader import EventCounter, load
from tests.eventing import Tally, counting, held_by, listed, named
from tests.lab import AddressKind, NetNs, closes, eventually, states
from tests.lab.tunpeer import tun_peer
from tests.resident import inode_of

pytestmark = pytest.mark.root

#: Counters of the connecting and of the accepting end, for each way to end a connection.
ENDS = {
    closes.client_first: ("closed_here", "closed_there"),
    closes.server_first: ("closed_there", "closed_here"),
    closes.half_close: ("closed_here", "closed_there"),
    closes.linger_zero: ("aborted_here", "aborted_there"),
    closes.unread_bytes: ("aborted_there", "aborted_here"),
}
PORT = 20000
_TCP_USER_TIMEOUT = 18  # in milliseconds; then the kernel gives up, as after all its tries


@pytest.fixture(scope="module")
def counting_all_the_time() -> Iterator[Tally]:
    with counting() as counted:
        yield counted


@pytest.fixture
def tally(request: pytest.FixtureRequest, counting_all_the_time: Tally) -> Tally:
    """What is counted from now on: a namespace gets the inode of one that has ended."""
    request.getfixturevalue("free_rows")
    counting_all_the_time.read()
    counting_all_the_time.counts.clear()
    return counting_all_the_time


def listener_in(netns: NetNs, port: int = PORT, host: str = "::") -> socket.socket:
    made = netns.call(
        socket.create_server, (host, port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=64
    )
    made.settimeout(10)
    return made


def connect_in(netns: NetNs, port: int = PORT, host: str = "127.0.0.1") -> socket.socket:
    client = netns.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    client.settimeout(10)
    client.connect((host, port))
    return client


def play(netns: NetNs, times: int) -> dict[tuple[str, int], dict[str, int]]:
    """Connections that end in all ways, and refused ones; returns what is to be counted."""
    with listener_in(netns) as listener:
        for number in range(times):
            for way in ENDS:
                client = connect_in(netns, host=("127.0.0.1", "::1")[number % 2])
                server, _ = listener.accept()
                server.settimeout(10)
                way(client, server)
    for _ in range(times):
        with netns.socket() as client, pytest.raises(ConnectionRefusedError):
            client.connect(("127.0.0.1", PORT + 1))
    return what_is_counted_of(times)


def what_is_counted_of(times: int) -> dict[tuple[str, int], dict[str, int]]:
    """Of so many connections that end in each way, and as many refused ones."""
    outbound, inbound = ({"opened": 5 * times, "lifetime": 5 * times} for _ in range(2))
    for here, there in ENDS.values():
        outbound[here] = outbound.get(here, 0) + times
        inbound[there] = inbound.get(there, 0) + times
    outbound |= {"connect": 5 * times, "close_wait": times}
    inbound |= {"close_wait": 2 * times}
    return {
        ("outbound", PORT): outbound,
        ("inbound", PORT): inbound,
        ("outbound", PORT + 1): {"failed_refused": times},
    }


def test_every_cell_is_exact_in_several_namespaces_at_once(tally: Tally) -> None:
    with ExitStack() as stack:
        namespaces = [stack.enter_context(NetNs()) for _ in range(3)]
        wanted: dict[int, object] = {}

        def work(index: int) -> None:
            wanted[index] = play(namespaces[index], 8 + index)

        threads = [threading.Thread(target=work, args=(index,)) for index in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for index, netns in enumerate(namespaces):
            eventually(lambda: tally.of(netns), until=wanted[index].__eq__)  # noqa: B023 - called now


#: Of all kinds together; as many as fit into the time that a test may take.
A_SECOND, NAMESPACES, OF_EACH_KIND = 5000, 2, 700


def paced(times: int, a_second: float) -> None:
    """As play() in this process's namespace, so many a second."""
    ways, begun = list(ENDS), time.monotonic()
    with socket.create_server(("127.0.0.1", PORT), backlog=64) as listener:
        for number in range(times * (len(ways) + 1)):
            time.sleep(max(0.0, begun + number / a_second - time.monotonic()))
            client = socket.socket()
            if number % (len(ways) + 1) == len(ways):
                with client:
                    assert client.connect_ex(("127.0.0.1", PORT + 1)) == errno.ECONNREFUSED
                continue
            client.connect(("127.0.0.1", PORT))
            ways[number % (len(ways) + 1)](client, listener.accept()[0])


def test_thousands_a_second_are_exact_in_several_namespaces_at_once(tally: Tally) -> None:
    call = f"paced({OF_EACH_KIND}, {A_SECOND / NAMESPACES})"
    command = [sys.executable, "-c", f"from tests.live.test_events_counted import paced; {call}"]
    with ExitStack() as stack:
        namespaces = [stack.enter_context(NetNs()) for _ in range(NAMESPACES)]
        for netns in namespaces:
            netns.set_sysctl("net.ipv4.ip_local_port_range", "21000 65000")
        at_work = [
            stack.enter_context(netns.call(subprocess.Popen[bytes], command))
            for netns in namespaces
        ]
        for each in at_work:
            eventually(lambda: (tally.read(), each.poll())[1] is not None)  # noqa: B023 - called now
            assert each.returncode == 0
        for netns in namespaces:
            wanted = what_is_counted_of(OF_EACH_KIND)
            eventually(lambda: tally.of(netns), until=wanted.__eq__)  # noqa: B023 - called now


@pytest.mark.parametrize("missing", ["link", "second_link"])
def test_what_one_of_the_two_programs_misses_the_other_counts(missing: str) -> None:
    """The kernel leaves out a program that it has interrupted; here one is detached in between."""
    with NetNs() as netns, listener_in(netns) as listener:
        descriptors = load()
        with closing(EventCounter(descriptors)) as counter:
            tally, pairs = Tally(counter), []
            for _ in ENDS:
                client = connect_in(netns)
                pairs.append((client, listener.accept()[0]))
            os.dup2(descriptors.control, getattr(descriptors, missing))  # closes the link
            for way, (client, server) in zip(ENDS, pairs, strict=True):
                server.settimeout(10)
                way(client, server)
            wanted = what_is_counted_of(1)
            del wanted["outbound", PORT + 1]
            eventually(lambda: tally.of(netns), until=wanted.__eq__)


def test_the_time_to_close_is_that_of_the_application(tally: Tally) -> None:
    with NetNs() as netns, listener_in(netns) as listener:
        client = connect_in(netns)
        server, _ = listener.accept()
        client.shutdown(socket.SHUT_WR)
        closes.at_end(server)
        threading.Event().wait(0.25)  # the application takes its time
        server.close()
        closes.at_end(client)
        client.close()
        inode = inode_of(netns)
        counts = eventually(
            lambda: tally.read()[inode, "inbound", PORT],
            until=lambda counts: counts.histogram("close_wait").count == 1,
        )
    waited = counts.histogram("close_wait")
    assert waited.quantile_bound(1) >= 1.0, "it is counted above 0.2 s"
    assert waited.seconds >= 0.25


def abandoned(netns: NetNs, _: ExitStack) -> int:
    """connect() to a host that does not answer; the application gives up."""
    with states.syn_sent(netns) as held:
        return held.ports[0]


def timed_out(netns: NetNs, stack: ExitStack) -> int:
    """The same; the kernel gives up."""
    peer = stack.enter_context(tun_peer(netns))
    with netns.socket() as client:
        client.setsockopt(socket.IPPROTO_TCP, _TCP_USER_TIMEOUT, 300)
        with pytest.raises(TimeoutError):
            client.connect((peer.remote.address(AddressKind.IPV4), peer.service_port))
    return peer.service_port


def without_port(netns: NetNs, stack: ExitStack) -> int:
    """connect() when the only port is taken."""
    netns.set_sysctl("net.ipv4.ip_local_port_range", "50000 50000")
    stack.enter_context(listener_in(netns))
    stack.enter_context(connect_in(netns))
    client = stack.enter_context(netns.socket())
    with pytest.raises(OSError, match="Cannot assign requested address"):
        client.connect(("127.0.0.1", PORT))
    return PORT


@pytest.mark.parametrize(
    ("fail", "reason"),
    [(abandoned, "abandoned"), (without_port, "no_port"), (timed_out, "timed_out")],
)
def test_why_a_connection_fails(
    tally: Tally, fail: Callable[[NetNs, ExitStack], int], reason: str
) -> None:
    with NetNs() as netns, ExitStack() as stack:
        port = fail(netns, stack)

        def failures() -> dict[str, int]:
            counted = tally.of(netns).get(("outbound", port), {})
            return {name: number for name, number in counted.items() if "failed" in name}

        eventually(failures, until={f"failed_{reason}": 1}.__eq__)


def test_connections_older_than_the_program_are_counted_where_they_belong() -> None:
    with NetNs() as netns, listener_in(netns) as listener:
        pairs = []
        for _ in range(3):
            client = connect_in(netns)
            pairs.append((client, listener.accept()[0]))
        with counting([(inode_of(netns), PORT)]) as tally:
            for client, server in pairs:
                closes.client_first(client, server)
            wanted = {
                ("outbound", PORT): {"closed_here": 3, "unseen": 3},
                ("inbound", PORT): {"closed_there": 3, "unseen": 3, "close_wait": 3},
            }
            eventually(lambda: tally.of(netns), until=wanted.__eq__)


def test_an_abort_of_an_older_connection_is_its_listeners() -> None:
    """The local port is given back before the end is told, except in inet_sport."""
    with NetNs() as netns, listener_in(netns) as listener:
        client = connect_in(netns)
        server = listener.accept()[0]
        with counting([(inode_of(netns), PORT)]) as tally:
            reset_on_close(server)
            server.close()
            client.close()
            wanted = {
                ("outbound", PORT): {"aborted_there": 1, "unseen": 1},
                ("inbound", PORT): {"aborted_here": 1, "unseen": 1},
            }
            eventually(lambda: tally.of(netns), until=wanted.__eq__)


def goodbye(client: socket.socket, server: socket.socket) -> None:
    """The server closes first; the client sends something after that, as TLS does."""
    server.close()
    closes.at_end(client)
    client.sendall(b"goodbye")
    client.close()


def left_unread(client: socket.socket, server: socket.socket) -> None:
    """The client closes first; the server closes with what it was sent unread."""
    client.sendall(b"x" * 21)
    client.close()
    eventually(lambda: server.recv(100, socket.MSG_PEEK))
    server.close()


def more_comes(client: socket.socket, server: socket.socket) -> None:
    """The client closes while the server sends."""
    server.sendall(b"x" * 21)
    assert client.recv(100)
    client.close()
    with suppress(ConnectionError):
        for _ in range(3):
            server.sendall(b"more")
    server.close()


@pytest.mark.parametrize(
    ("way", "outbound", "inbound"),
    [
        (goodbye, "closed_there", "closed_here"),
        (left_unread, "closed_here", "closed_there"),
        (more_comes, "closed_here", "closed_there"),
    ],
)
def test_a_reset_after_a_fin_ends_nothing(
    tally: Tally, way: closes.Way, outbound: str, inbound: str
) -> None:
    with NetNs() as netns, listener_in(netns) as listener:
        for _ in range(5):
            client = connect_in(netns)
            way(client, listener.accept()[0])

        def ends() -> dict[str, dict[str, int]]:
            return {
                direction: {name: n for name, n in its.items() if name[:5] in ("close", "abort")}
                for (direction, _), its in tally.of(netns).items()
            }

        def wanted(seen: dict[str, dict[str, int]]) -> bool:
            for its in seen.values():
                its.pop("close_wait", None)
            return seen == {"outbound": {outbound: 5}, "inbound": {inbound: 5}}

        eventually(ends, until=wanted)


def refuse(netns: NetNs, ports: range) -> None:
    """Connect to ports on which nobody listens: to each once."""

    def connect() -> None:
        for port in ports:
            with socket.socket() as client:
                assert client.connect_ex(("127.0.0.1", port)) == errno.ECONNREFUSED

    netns.call(connect)


@pytest.mark.usefixtures("all_rows")
def test_more_ports_than_rows_are_counted_in_generations() -> None:
    ports = layout.ROWS // 2 + 100
    with NetNs() as netns, counting() as tally:
        for generation in range(3):
            first = 1000 + generation * ports
            refuse(netns, range(first, first + ports))
            eventually(lambda: tally.read() and tally.counter.in_use < layout.ROWS // 2)
        own = [counts for where, counts in tally.read().items() if where[0] == inode_of(netns)]
        assert [named(counts) for counts in own] == [{"failed_refused": 1}] * 3 * ports


@pytest.mark.usefixtures("all_rows")
def test_what_no_row_is_free_for_is_counted_without_its_port() -> None:
    """In one go, before the daemon has read once: on a host of 100,000 ports."""
    with NetNs() as netns, counting() as tally:
        refuse(netns, range(1000, 1000 + layout.ROWS + 500))
        counted = tally.read()
        own = [counts for where, counts in counted.items() if where[0] == inode_of(netns)]
        unplaced = named(counted[0, "outbound", 0])["failed_refused"]
        assert len(own) <= layout.ROWS
        assert unplaced >= layout.ROWS + 500 - len(own), "others on this host may be among them"


def test_nothing_is_left_in_the_kernel() -> None:
    others = held_by()
    with closing(load()):
        held = held_by() - others
        assert {kind for kind, _ in held} == {"prog", "map"}
        assert held <= listed()
    eventually(lambda: not held & listed())


def test_a_process_cannot_write_what_is_counted() -> None:
    with closing(load()) as descriptors:
        with pytest.raises(PermissionError):
            mmap.mmap(descriptors.rows, 4096, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        assert os.get_inheritable(descriptors.rows) is False
