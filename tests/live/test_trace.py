"""`sockmon trace` compared with tcpdump, over connections that end in every way."""

import os
import re
import socket
import subprocess
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest

from sockmon.drill.lab.addresses import AddressKind
from sockmon.drill.lab.sockets import accepted, connected, listening
from sockmon.drill.lab.veth_link import SERVER
from sockmon.kernel.packets.filters import tcp_filter
from sockmon.kernel.packets.headers import decode
from sockmon.kernel.packets.ring import PacketRing
from sockmon.model.segments import RST, SYN
from tests.lab import PATIENCE, Link, NetNs
from tests.lab.closes import WAYS, acknowledged, at_end, client_first, half_close, unread_bytes
from tests.tracing import SOCKMON, Documents, capturing, documents, trace, tracing

pytestmark = [pytest.mark.root, pytest.mark.component("tcpdump")]

NO_PORT = 9  # nobody listens there


ROUNDS = 3


def cells(found: Documents) -> Counter[tuple[object, ...]]:
    """How connections ended, counted."""
    return Counter(
        (
            *(one["how"], one["first"], one["segments"]),
            *(one["client"]["sent_bytes"], one["server"]["sent_bytes"]),
            one["conn_state"],
        )
        for one in found
        if one["type"] == "connection"
    )


@pytest.mark.parametrize(
    ("when", "segments"), [("on the listener", 3), ("before the FIN", 3), ("after the FIN", 4)]
)
def test_quick_acknowledgements_count_only_after_the_fin_has_come(
    netns: NetNs, when: str, segments: int
) -> None:
    """tcp_fin() puts a socket back into the mode of delayed acknowledgements.

    These wait 40 ms for a FIN of ours: on a busy machine, one of some closes is soon enough.
    """

    def quick(connection: socket.socket, at: str) -> None:
        if at == when:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)

    def close(listener: socket.socket) -> None:
        with connected(netns, AddressKind.IPV4, listener.getsockname()[1]) as client:
            server = accepted(listener)
            quick(server, "before the FIN")
            client.shutdown(socket.SHUT_WR)
            at_end(server)
            quick(server, "after the FIN")
            server.close()
            at_end(client)

    with (
        tracing(netns, "--format", "json", "--count", "20") as watch,
        listening(netns, AddressKind.IPV4) as listener,
    ):
        quick(listener, "on the listener")
        for _ in range(20):
            close(listener)
        *found, _ = watch.documents()
    assert {one["how"] for one in found} == {"closed"}
    assert min(one["segments"] for one in found) == segments


def refused(netns: NetNs, kind: AddressKind) -> None:
    with suppress(ConnectionRefusedError):
        connected(netns, kind, NO_PORT).close()


@pytest.mark.parametrize("kind", list(AddressKind))
def test_every_way_to_end_is_exact_live_and_in_a_file_of_tcpdump(
    netns: NetNs, tmp_path: Path, kind: AddressKind
) -> None:
    file = tmp_path / "all.pcap"
    expected = Counter(dict.fromkeys(WAYS.values(), ROUNDS))
    expected["refused", None, None, 0, 0, "REJ"] = ROUNDS
    with (
        capturing(netns, file) as tcpdump,
        tracing(netns, "--format", "json", "--count", str(expected.total())) as watch,
        listening(netns, kind) as listener,
    ):
        port = listener.getsockname()[1]
        for _ in range(ROUNDS):
            for way in WAYS:
                client = connected(netns, kind, port)
                way(client, accepted(listener))
            refused(netns, kind)
        live = watch.documents()
        tcpdump.stop()
    assert cells(live) == expected
    assert cells(from_json(file)) == expected
    assert live[-1]["dropped_packets"] == live[-1]["repeated_segments"] == 0


def test_a_file_reads_as_tcpdump_reads_it(netns: NetNs, tmp_path: Path) -> None:
    file, written = tmp_path / "all.pcap", tmp_path / "headers.pcap"
    with (
        capturing(netns, file) as tcpdump,
        tracing(netns, "--write", str(written), "--format", "lines", "--count", "3") as watch,
        listening(netns, AddressKind.IPV6) as listener,
    ):
        for way in (client_first, half_close, unread_bytes):
            way(connected(netns, AddressKind.IPV6, listener.getsockname()[1]), accepted(listener))
        watch.output()
        tcpdump.stop()
    theirs = tcpdump_reads(file)
    assert len(theirs) > 20
    assert trace("--read", str(file), "--format", "tcpdump").stdout.splitlines() == theirs
    again = trace("--read", str(written), "--format", "tcpdump").stdout.splitlines()
    assert [untimed(line) for line in again] == [untimed(line) for line in theirs]
    assert len(tcpdump_reads(written)) == len(theirs)


def from_json(file: Path) -> Documents:
    return documents(trace("--read", str(file), "--format", "json").stdout)


def untimed(line: str) -> str:
    """A line without its time: two sockets give a packet times of their own."""
    return line.split(" ", 2)[2]


def tcpdump_reads(file: Path) -> list[str]:
    """Tcpdump's reading, without TCP options, which sockmon does not keep."""
    argv = ["tcpdump", "-nS", "-tttt", "-r", str(file)]
    printed = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    lines = [re.sub(r", options \[[^]]*\]", "", line) for line in printed.splitlines()]
    # Of some ports tcpdump prints what they carry.
    return [re.sub(r"(length \d+).*", r"\1", line) for line in lines]


def test_a_connect_that_nobody_answers(link: Link) -> None:
    link.client.set_sysctl("net.ipv4.tcp_syn_retries", 1)
    link.cut()
    with tracing(link.client, "--format", "json", "--count", "1") as watch:
        with pytest.raises(TimeoutError):
            link.client.call(socket.create_connection, (SERVER.ipv4, 80))
        (found, _) = watch.documents()
    assert (found["how"], found["conn_state"]) == ("no_answer", "S0")
    # Linux 6.5 and newer send `tcp_syn_linear_timeouts` more of them.
    assert found["client"]["syns"] >= 2


def test_an_end_that_does_not_close_is_reported_while_it_lasts(netns: NetNs) -> None:
    with (
        tracing(netns, "--count", "1") as watch,
        listening(netns, AddressKind.IPV4) as listener,
        connected(netns, AddressKind.IPV4, listener.getsockname()[1]) as client,
        accepted(listener) as server,
        connected(netns, AddressKind.IPV4, listener.getsockname()[1]) as other,
        accepted(listener) as others_server,
    ):
        client.sendall(b"x" * 21)
        client.shutdown(socket.SHUT_WR)
        acknowledged(client)
        other.shutdown(socket.SHUT_WR)
        out = watch.output()
        server.close()
        others_server.close()
    assert "half closed by the client for 1" in out
    assert "Recv-Q 22: 21 bytes and the FIN are unread" in flowed(out)
    assert f"[{os.getpid()}] must call close()." in flowed(out)
    assert re.search(r"Others of this port in CLOSE_WAIT: 1, the oldest for \ds\.", flowed(out))


def flowed(text: str) -> str:
    """A text without its line breaks."""
    return " ".join(text.split())


def test_ports_and_hosts_are_filtered_in_the_kernel(netns: NetNs) -> None:
    for program in (
        {"ports": frozenset({NO_PORT})},
        {"hosts": frozenset({socket.inet_pton(socket.AF_INET6, "::1")})},
        {"hosts": frozenset({bytes(10) + b"\xff\xff" + socket.inet_aton("127.0.0.1")})},
    ):
        with netns.call(PacketRing, tcp_filter(**program, data=False)) as ring:
            for kind in (AddressKind.IPV4, AddressKind.IPV6):
                refused(netns, kind)
                with suppress(ConnectionRefusedError):
                    connected(netns, kind, NO_PORT + 1)
            assert drained(ring) == 4


def drained(ring: PacketRing) -> int:
    """How many packets it hands over until none come any more."""
    while (packets := ring.wait(0.3)) is not None:
        segments = decode(packets).segments
        assert all(flags & (SYN | RST) for flags in segments.flags)
        ring.release()
    return ring.read


def test_what_is_read_and_what_is_dropped_are_all_there_was(netns: NetNs) -> None:
    connects = 4000
    with netns.call(PacketRing, tcp_filter(data=False), None, 1) as ring:

        def flood() -> None:
            for _ in range(connects):
                with socket.socket() as one:
                    assert one.connect_ex(("127.0.0.1", NO_PORT))

        netns.call(flood)
        read = drained(ring)
        assert ring.count_dropped() > 0
        assert read + ring.dropped == 2 * connects  # a SYN and an RST each


def test_without_the_capability_one_line_says_what_to_do() -> None:
    argv = ["setpriv", "--bounding-set=-net_raw", "--inh-caps=-net_raw"]
    command = [*argv, "python3", "-m", "sockmon", "trace"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == (
        "sockmon: watching packets takes CAP_NET_RAW: EPERM (Operation not permitted); sudo, or "
        "tcpdump -w FILE elsewhere and sockmon trace --read FILE\n"
    )


def test_a_drill_shows_its_segments(netns: NetNs) -> None:
    argv = [*SOCKMON, "drill", "close-wait", "--count", "2", "--hold", "0", "--trace"]
    done = netns.run(argv)
    assert done.stdout.count("reset by the server after") == 2
    assert "2 connections, " in done.stdout


def test_a_device_that_goes_ends_it_with_one_line(link: Link) -> None:
    with tracing(link.client, "--device", "eth0") as watch:
        link.client.ip("link delete eth0")
        _, error = watch.process.communicate(timeout=PATIENCE)
    assert watch.process.returncode == 2
    assert error == "sockmon: device eth0: there is no such device\n"


def test_connections_that_stay_open_are_only_counted(netns: NetNs) -> None:
    with (
        listening(netns, AddressKind.IPV4) as listener,
        tracing(netns, "--format", "text") as watch,
        connected(netns, AddressKind.IPV4, listener.getsockname()[1]) as client,
        accepted(listener) as server,
    ):
        refused(netns, AddressKind.IPV4)
        assert watch.process.stdout is not None
        first = watch.process.stdout.readline()
        rest = watch.stop()
        client.close()
        server.close()
    assert "refused by the server" in first
    assert "ESTABLISHED" not in rest
    assert rest.splitlines()[-1].startswith("2 connections, 5 segments;")
