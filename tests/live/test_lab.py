"""The laboratory makes what it says: proved by ss, /proc and sock_diag, without sockmon."""

import errno
import os
import re
import socket
import struct
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from pathlib import Path

import pytest

from tests.lab import (
    PATIENCE,
    SERVER,
    AddressKind,
    Direction,
    Held,
    Link,
    NetNs,
    TcpState,
    eventually,
    experiments,
    states,
)
from tests.lab.sockets import connections, retransmits

pytestmark = pytest.mark.root

SS_NAMES = {
    "ESTAB": TcpState.ESTABLISHED,
    "SYN-SENT": TcpState.SYN_SENT,
    "SYN-RECV": TcpState.SYN_RECV,
    "FIN-WAIT-1": TcpState.FIN_WAIT1,
    "FIN-WAIT-2": TcpState.FIN_WAIT2,
    "TIME-WAIT": TcpState.TIME_WAIT,
    "CLOSE-WAIT": TcpState.CLOSE_WAIT,
    "LAST-ACK": TcpState.LAST_ACK,
    "LISTEN": TcpState.LISTEN,
    "CLOSING": TcpState.CLOSING,
}

LISTENING = (Direction.INBOUND, TcpState.LISTEN)

HELD_BY_THE_KERNEL_ALONE = {TcpState.SYN_RECV, TcpState.TIME_WAIT}


every_kind = pytest.mark.parametrize("kind", list(AddressKind))
every_state = pytest.mark.parametrize("state", list(TcpState), ids=lambda state: state.name)
every_state_of_ss = pytest.mark.parametrize(
    "state", list(SS_NAMES.values()), ids=lambda state: state.name
)


def ss(netns: NetNs, *options: str) -> list[list[str]]:
    """The lines of `ss -Htan`, in words: state, receive queue, send queue, local, remote, ...

    Asked for a single state, ss leaves the first word out.
    """
    lines = netns.run(["ss", "-Htan", *options]).stdout.splitlines()
    return [line.split() for line in lines]


def by_state(netns: NetNs) -> Counter[TcpState]:
    return Counter(SS_NAMES[name] for name, *_ in ss(netns))


def by_direction_and_state(held: Held, *options: str) -> Counter[tuple[Direction, TcpState]]:
    seen: Counter[tuple[Direction, TcpState]] = Counter()
    for name, _, _, local, remote, *_ in ss(held.netns, *options):
        if port_of(local) in held.ports:
            seen[Direction.INBOUND, SS_NAMES[name]] += 1
        elif port_of(remote) in held.ports:
            seen[Direction.OUTBOUND, SS_NAMES[name]] += 1
    return seen


def port_of(address: str) -> int:
    port = address.rpartition(":")[2]
    return 0 if port == "*" else int(port)


def bound_inactive(netns: NetNs, family: int) -> int:
    """Count them by asking sock_diag by hand: ss of iproute2 6.1 does not know how."""
    header, dump_request, done, state_bit = struct.Struct("=IHHII"), 0x301, 3, 1 << 13
    body = struct.pack("=BBBBI48x", family, socket.IPPROTO_TCP, 0, 0, state_bit)
    with netns.call(socket.socket, socket.AF_NETLINK, socket.SOCK_RAW, 4) as diag:
        diag.send(header.pack(header.size + len(body), 20, dump_request, 1, 0) + body)
        rows = 0
        while reply := diag.recv(1 << 16):
            while reply:
                length, kind, *_ = header.unpack_from(reply)
                if kind == done:
                    return rows
                assert reply[header.size + 1] == TcpState.CLOSE
                rows += 1
                reply = reply[length:]
    raise AssertionError("the dump has no end")


def tcp_ext(netns: NetNs, counter: str) -> int:
    """A TcpExt counter of the namespace."""
    names, values = (
        line.split()
        for line in netns.run(["cat", "/proc/net/netstat"]).stdout.splitlines()
        if line.startswith("TcpExt:")
    )
    return int(dict(zip(names, values, strict=True))[counter])


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


class TestNetNs:
    def test_it_is_a_namespace_of_its_own_with_lo_up(self, netns: NetNs) -> None:
        def inside() -> Path:
            return Path("/proc/thread-self/ns/net").readlink()

        assert netns.call(inside) != inside()
        assert "LOOPBACK,UP" in netns.run(["ip", "link", "show", "lo"]).stdout
        assert ss(netns) == []

    def test_its_path_serves_other_programs(self, netns: NetNs) -> None:
        argv = ["nsenter", f"--net={netns.path}", "readlink", "/proc/self/ns/net"]
        entered = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
        assert entered == netns.run(["readlink", "/proc/self/ns/net"]).stdout

    def test_call_returns_and_raises_as_the_function_does(self, netns: NetNs) -> None:
        assert netns.call(int, "21") == 21
        with pytest.raises(ValueError, match="invalid literal"):
            netns.call(int, "twenty-one")

    def test_a_failing_command_says_why(self, netns: NetNs) -> None:
        with pytest.raises(subprocess.CalledProcessError) as failed:
            netns.ip("link set nowhere up")
        assert any("nowhere" in note for note in failed.value.__notes__)

    def test_sysctls_are_its_own(self, netns: NetNs) -> None:
        netns.set_sysctl("net.ipv4.tcp_fin_timeout", 7)
        assert netns.sysctl("net.ipv4.tcp_fin_timeout") == "7"
        with NetNs() as other:
            assert other.sysctl("net.ipv4.tcp_fin_timeout") == "60"


class TestLink:
    @every_kind
    def test_it_delivers_unless_it_is_cut(self, link: Link, kind: AddressKind) -> None:
        with connections(link.client, link.server, kind, 1, host=SERVER) as made:
            (client,), (server,) = made.clients, made.servers
            link.cut()
            client.sendall(b"lost")
            eventually(lambda: retransmits(client))
            server.settimeout(0)
            with pytest.raises(BlockingIOError):
                server.recv(4)
            link.mend()
            server.settimeout(PATIENCE)
            assert server.recv(4) == b"lost"


class TestStates:
    @every_kind
    @every_state_of_ss
    def test_ss_sees_it_and_nothing_stays(
        self, netns: NetNs, state: TcpState, kind: AddressKind
    ) -> None:
        with states.HOLD[state](netns, kind, 3) as held:
            assert (held.state, held.count) == (state, 3)
            assert len(held.sockets) == (0 if state in HELD_BY_THE_KERNEL_ALONE else 3)
            family = "inet" if kind is AddressKind.IPV4 else "inet6"
            assert by_direction_and_state(held, "-f", family) == Counter(held.expected)
        left = Counter({TcpState.TIME_WAIT: 3 if state is TcpState.TIME_WAIT else 0})
        eventually(lambda: by_state(netns), until=left.__eq__)

    @pytest.mark.skipif(not states.LISTS_BOUND, reason="sock_diag shows them from Linux 6.8 on")
    @every_kind
    def test_sock_diag_sees_close(self, netns: NetNs, kind: AddressKind) -> None:
        with states.close(netns, kind, 3) as held:
            assert all(sock.getsockname()[1] for sock in held.sockets)
            assert bound_inactive(netns, kind.family) == held.count == 3
        assert bound_inactive(netns, kind.family) == 0

    def test_all_eleven_share_a_namespace(self, netns: NetNs) -> None:
        expected: Counter[TcpState] = Counter()
        with ExitStack() as stack:
            for hold in states.HOLD.values():
                held = stack.enter_context(hold(netns, count=2))
                for (_, state), count in held.expected.items():
                    expected[state] += count
            assert bound_inactive(netns, socket.AF_INET) == expected.pop(TcpState.CLOSE, 0)
            assert by_state(netns) == expected

    @every_state
    def test_a_failing_body_leaves_no_descriptor(self, netns: NetNs, state: TcpState) -> None:
        before = open_descriptors()
        with pytest.raises(ZeroDivisionError), states.HOLD[state](netns):
            _ = 1 / 0
        assert open_descriptors() == before

    @pytest.mark.parametrize("first", list(Direction))
    def test_time_wait_is_with_whoever_closed_first(self, netns: NetNs, first: Direction) -> None:
        with states.time_wait(netns, count=3, closed_first_by=first) as held:
            assert by_direction_and_state(held) == {LISTENING: 1, (first, TcpState.TIME_WAIT): 3}

    def test_a_killed_laboratory_leaves_nothing(self, netns: NetNs) -> None:
        with subprocess.Popen(
            [sys.executable, "-c", LABORATORY],
            cwd=Path(__file__).parents[2],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as laboratory:
            assert laboratory.stdout is not None
            path = laboratory.stdout.readline().strip()
            # One end of a veth goes with the namespace of the other.
            netns.ip(f"link add witness type veth peer name far netns {path}")
            laboratory.kill()
        eventually(lambda: "witness" not in netns.run(["ip", "link"]).stdout)


LABORATORY = """
import sys
from contextlib import ExitStack

from tests.lab import NetNs, states

with ExitStack() as stack:
    netns = stack.enter_context(NetNs())
    for hold in states.HOLD.values():
        stack.enter_context(hold(netns))
    print(netns.path, flush=True)
    sys.stdin.read()
"""


class TestExperiments:
    @pytest.mark.parametrize(
        "experiment",
        [
            experiments.unclosed,
            experiments.orderly_close,
            experiments.half_close,
            experiments.linger_zero,
            experiments.rebind,
            experiments.full_queue,
            experiments.port_exhaustion,
            experiments.process_killed,
        ],
        ids=lambda experiment: experiment.__name__,
    )
    def test_a_failing_body_leaves_no_descriptor(
        self, netns: NetNs, experiment: Callable[[NetNs], AbstractContextManager[object]]
    ) -> None:
        before = open_descriptors()
        with pytest.raises(ZeroDivisionError), experiment(netns):
            _ = 1 / 0
        assert open_descriptors() == before

    @every_kind
    def test_close_wait_leak(self, netns: NetNs, kind: AddressKind) -> None:
        with experiments.unclosed(netns, kind, 3) as held:
            assert by_direction_and_state(held) == Counter(held.expected)
            receive_queues = {line[0] for line in ss(netns, "state", "close-wait")}
            assert receive_queues == {"22"}, "21 bytes and the FIN"

    def test_only_an_orphan_leaves_fin_wait2(self, netns: NetNs) -> None:
        netns.set_sysctl("net.ipv4.tcp_fin_timeout", 1)
        with states.fin_wait2(netns) as owned, experiments.unclosed(netns) as leak:
            orphaned = {
                LISTENING: 1,
                (Direction.INBOUND, TcpState.CLOSE_WAIT): 1,
            }
            eventually(lambda: by_direction_and_state(leak), until=orphaned.__eq__)
            assert by_direction_and_state(owned) == Counter(owned.expected)

    @every_kind
    def test_orderly_close(self, netns: NetNs, kind: AddressKind) -> None:
        with experiments.orderly_close(netns, kind, 3) as held:
            assert by_direction_and_state(held) == {
                LISTENING: 1,
                (Direction.OUTBOUND, TcpState.TIME_WAIT): 3,
            }

    @every_kind
    def test_half_close_streams_on(self, netns: NetNs, kind: AddressKind) -> None:
        def answered() -> list[int]:
            info = netns.run(["ss", "-Htin", "state", "close-wait"]).stdout
            return [int(sent) for sent in re.findall(r"bytes_acked:(\d+)", info)]

        with experiments.half_close(netns, kind, 2) as held:
            before = eventually(answered, until=lambda sent: len(sent) == 2)
            eventually(answered, until=lambda sent: min(sent) > max(before))
            assert by_direction_and_state(held) == Counter(held.expected)

    @every_kind
    def test_linger_zero(self, netns: NetNs, kind: AddressKind) -> None:
        with experiments.linger_zero(netns, kind, 3) as held:
            assert by_direction_and_state(held) == {LISTENING: 1}
            for server in held.peers:
                with pytest.raises(ConnectionResetError):
                    server.recv(1)

    @every_kind
    def test_rebind(self, netns: NetNs, kind: AddressKind) -> None:
        with experiments.rebind(netns, kind) as held, netns.socket(kind.family) as restarted:
            assert by_direction_and_state(held) == {(Direction.INBOUND, TcpState.TIME_WAIT): 1}
            with pytest.raises(OSError, match=os.strerror(errno.EADDRINUSE)):
                restarted.bind(("", held.port))
            restarted.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            restarted.bind(("", held.port))

    @every_kind
    def test_port_exhaustion(self, netns: NetNs, kind: AddressKind) -> None:
        with experiments.port_exhaustion(netns, kind, ports=10) as range_of_ten:
            one, other = range_of_ten.listeners
            assert range_of_ten.exhaust(one) == 10
            assert by_state(netns)[TcpState.ESTABLISHED] == 2 * 10
            assert range_of_ten.exhaust(other) == 10

    @every_kind
    def test_accept_queue(self, netns: NetNs, kind: AddressKind) -> None:
        with experiments.full_queue(netns, kind, backlog=4, overflow=3) as held:
            assert by_direction_and_state(held) == Counter(held.expected)
            ((length, limit, *_),) = ss(netns, "state", "listening")
            assert (length, limit) == ("5", "4")
            assert tcp_ext(netns, "ListenOverflows") >= 3
            for stalled in held.sockets:
                eventually(partial(retransmits, stalled))

    @every_kind
    def test_dead_peer(self, link: Link, kind: AddressKind) -> None:
        with experiments.vanished_peers(link, kind, 2, tries=2) as held:
            assert by_direction_and_state(held) == Counter(held.expected)
            timers = [line[-1] for line in ss(link.server, "-o", "state", "established")]
            assert [re.fullmatch(r"timer:\(on,.*,[2-9]\)", timer) is not None for timer in timers]
        eventually(lambda: not ss(link.server) and not ss(link.client))

    @every_kind
    def test_last_ack(self, link: Link, kind: AddressKind) -> None:
        with experiments.last_ack(link, kind, 2) as held:
            assert by_direction_and_state(held) == Counter(held.expected)
            assert by_state(link.client) == {TcpState.FIN_WAIT2: 2}
            assert all("ino:0" in line for line in ss(link.server, "-e", "state", "last-ack"))
        eventually(lambda: not ss(link.server) and not ss(link.client))

    @every_kind
    def test_process_killed(self, netns: NetNs, kind: AddressKind) -> None:
        with experiments.process_killed(netns, kind, 3) as leaking:
            assert by_direction_and_state(leaking.held) == Counter(leaking.held.expected)
            owners = netns.run(["ss", "-Htnp", "state", "close-wait"]).stdout
            assert owners.count(f"pid={leaking.process.pid},") == 3
            leaking.kill()
            eventually(lambda: not ss(netns))
