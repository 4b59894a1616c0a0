"""What sockmon counts is what is there: every state, made for real, against ss and /proc."""

import json
import os
import re
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from sockmon.kernel.netlink.source import KernelSource
from sockmon.model.ages import LastHeard
from sockmon.model.counts import GroupKey
from sockmon.model.states import RESTING_STATES
from sockmon.model.table import SocketTable
from tests.lab import AddressKind, NetNs, TcpState, eventually, experiments, states
from tests.lab.sockets import connections, listening
from tests.lab.states import HOLD
from tests.polling import Polling

pytestmark = pytest.mark.root

every_kind = pytest.mark.parametrize("kind", list(AddressKind))
every_state = pytest.mark.parametrize("state", list(TcpState), ids=lambda state: state.name)

#: States that can stand together in one namespace for the length of a test.
QUIET = [TcpState.ESTABLISHED, TcpState.CLOSE_WAIT, TcpState.TIME_WAIT, TcpState.LISTEN]


@pytest.fixture
def poller(netns: NetNs) -> Iterator[Polling]:
    made = Polling(netns)
    yield made
    made.close()


@every_state
@every_kind
def test_counts_each_state_in_its_family(
    netns: NetNs, poller: Polling, state: TcpState, kind: AddressKind
) -> None:
    with HOLD[state](netns, kind, count=3) as held:
        expected: Counter[TcpState] = Counter()
        for (_, other), count in held.expected.items():
            expected[other] += count
        listeners = expected.pop(TcpState.LISTEN, 0)
        by_family = poller.tcp()
        family = 6 if kind is AddressKind.IPV6 else 4
        # A dual-stack listener is bound to ::, and so an IPv6 socket.
        listening_family = 4 if kind is AddressKind.IPV4 else 6
        assert by_family[listening_family].pop(TcpState.LISTEN, 0) == listeners
        assert by_family[family] == expected
        assert by_family[10 - family] == Counter()


@every_state
@every_kind
def test_counts_each_socket_under_its_direction_and_port(
    netns: NetNs, poller: Polling, state: TcpState, kind: AddressKind
) -> None:
    with HOLD[state](netns, kind, count=3) as held:
        counted: Counter[tuple[str, str]] = Counter()
        for group in poller.ports().groups:
            if group.key.port in held.ports:
                for other, count in group.states.items():
                    counted[group.key.direction, other.name] += count
        assert counted == {
            (direction, other.name): n for (direction, other), n in held.expected.items()
        }


@pytest.fixture
def crowded(netns: NetNs) -> Iterator[NetNs]:
    """A quiet table: several states of every kind of address, nothing on its way."""
    with ExitStack() as stack:
        for kind in AddressKind:
            for count, state in enumerate(QUIET, start=2):
                stack.enter_context(HOLD[state](netns, kind, count=count))
        yield netns


def test_agrees_with_ss_state_by_state(crowded: NetNs, poller: Polling) -> None:
    names = {"ESTAB": "established", "UNCONN": "close"}
    lines = crowded.run(["ss", "-Htan"]).stdout.splitlines()
    words = (line.split()[0] for line in lines)
    by_ss = Counter(
        names.get(word, re.sub(r"-(?=\d)", "", word).replace("-", "_").lower()) for word in words
    )
    counted: Counter[str] = Counter()
    for states_of_family in poller.tcp().values():
        counted.update({state.name.lower(): n for state, n in states_of_family.items()})
    assert counted == by_ss


def test_agrees_with_sockstat(crowded: NetNs, poller: Polling) -> None:
    def read() -> str:
        net = Path("/proc/thread-self/net")
        return (net / "sockstat").read_text() + (net / "sockstat6").read_text()

    text = crowded.call(read)
    in_use = sum(int(number) for number in re.findall(r"^TCP6?: inuse (\d+)", text, re.MULTILINE))
    found = re.search(r"^TCP: .* tw (\d+)", text, re.MULTILINE)
    assert found is not None
    total: Counter[TcpState] = sum(poller.tcp().values(), Counter())
    assert total.pop(TcpState.TIME_WAIT) == int(found[1])
    assert total.total() == in_use


@pytest.mark.parametrize(
    ("names", "pipeline"),
    [
        ("ss", "ss -a | grep ^tcp | awk '{s[$2]++} END {for (k in s) print k, s[k]}'"),
        ("netstat", "netstat -an | awk '/^tcp/ {s[$NF]++} END {for (k in s) print k, s[k]}'"),
    ],
)
def test_plain_count_prints_what_the_one_liner_prints(
    crowded: NetNs, names: str, pipeline: str
) -> None:
    with states.close(crowded, count=2):  # which neither tool lists
        by_hand = crowded.run(["sh", "-c", pipeline]).stdout
        command = [
            sys.executable,
            "-m",
            "sockmon",
            "count",
            "--format",
            "plain",
            "--state-names",
            names,
        ]
        ours = crowded.run(command).stdout
    assert sorted(ours.splitlines()) == sorted(by_hand.splitlines())


def test_counts_udp_by_family_connected_or_not(netns: NetNs, poller: Polling) -> None:
    with ExitStack() as stack:

        def udp(family: socket.AddressFamily, address: str) -> socket.socket:
            made = stack.enter_context(netns.socket(family, socket.SOCK_DGRAM))
            made.bind((address, 0))
            return made

        receiver = udp(socket.AF_INET, "127.0.0.1")
        udp(socket.AF_INET, "127.0.0.1").connect(receiver.getsockname())
        udp(socket.AF_INET6, "::1")
        mapped = udp(socket.AF_INET6, "::")
        mapped.connect(("::ffff:127.0.0.1", receiver.getsockname()[1]))
        part = poller.poll().namespaces[0].udp
        assert part is not None
        assert part.value[4][TcpState.ESTABLISHED] == 2
        assert part.value[4][TcpState.CLOSE] == 1
        assert part.value[6][TcpState.ESTABLISHED] == 0
        assert part.value[6][TcpState.CLOSE] == 1


def test_a_listener_that_has_gone_keeps_its_sockets(netns: NetNs, poller: Polling) -> None:
    with connections(netns, netns, AddressKind.IPV4, 4) as made:
        assert len(made.servers) == 4
        poller.poll()
        port = made.port
        made.listener.close()
        groups = {group.key: group.states for group in poller.ports().groups}
        assert groups[GroupKey("inbound", port)][TcpState.ESTABLISHED] == 4
        assert groups[GroupKey("inbound", port)][TcpState.LISTEN] == 0
        assert groups[GroupKey("outbound", port)][TcpState.ESTABLISHED] == 4


def test_drops_are_counted_at_the_listener_that_dropped(netns: NetNs, poller: Polling) -> None:
    with listening(netns, AddressKind.IPV4) as idle, experiments.full_queue(netns) as full:
        ports = eventually(poller.ports, until=lambda p: p.listen_drops[full.port] > 0)
        assert ports.listen_drops[idle.getsockname()[1]] == 0
        queue = next(queue for queue in ports.listen_queues if queue.port == full.port)
        assert queue.length > queue.limit


def test_ports_are_exhausted_exactly_when_connect_fails(netns: NetNs, poller: Polling) -> None:
    with experiments.port_exhaustion(netns) as experiment:
        before = poller.ports().ephemeral
        assert before.used_max == 0
        assert before.usable == experiment.ports
        first, second = experiment.listeners
        for used in range(1, experiment.ports + 1):
            experiment.connect(first)
            assert poller.ports().ephemeral.used_max == used
        assert experiment.exhaust(first) == 0
        experiment.connect(second)  # another destination has ports of its own
        assert poller.ports().ephemeral.used_max == experiment.ports


def test_bound_ports_are_lost_for_every_destination(netns: NetNs, poller: Polling) -> None:
    before = poller.ports().ephemeral
    with states.close(netns, count=5):
        after = poller.ports().ephemeral
        seen = 5 if states.LISTS_BOUND else 0
        assert after.bound == (5 if states.LISTS_BOUND else None)
        assert after.usable == before.usable - seen


def test_says_whether_the_kernel_lists_bound_ports(netns: NetNs, poller: Polling) -> None:
    assert poller.poll().namespaces[0].lists_bound == states.LISTS_BOUND
    counting = [sys.executable, "-m", "sockmon", "count", "--state", "close"]
    said = netns.run(counting).stderr
    assert ("sock_diag lists them since Linux 6.8" in said) != states.LISTS_BOUND


def test_an_unprivileged_user_sees_every_socket(crowded: NetNs, poller: Polling) -> None:
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--bounding-set=-all"]
    counting = [sys.executable, "-m", "sockmon", "count", "--format", "json"]
    try:
        ours = crowded.run([*nobody, *counting]).stdout
    except subprocess.CalledProcessError as error:
        pytest.fail(f"{error}: {error.stderr}")
    total = sum((counts.total() for counts in poller.tcp().values()), 0)
    found = re.search(r'"total": (\d+)', ours)
    assert found is not None
    assert int(found[1]) == total


def test_counts_by_the_process_that_holds_the_sockets(netns: NetNs) -> None:
    counting = ["count", "--by", "owner", "--state", "close_wait", "--format", "json"]
    with states.close_wait(netns, count=6):
        ours = netns.run([sys.executable, "-m", "sockmon", *counting]).stdout
    (group,) = json.loads(ours)["groups"]
    assert group["count"] == 6
    assert group["owner"].endswith(f"[{os.getpid()}]")


def test_a_full_accept_queue_is_shown_whatever_its_rank(netns: NetNs) -> None:
    poller = Polling(netns, "ports: {top: 0}")
    try:
        with experiments.full_queue(netns) as full, listening(netns, AddressKind.IPV4):
            assert [queue.port for queue in poller.ports().listen_queues] == [full.port]
    finally:
        poller.close()


def test_what_is_not_at_rest_is_read_at_once(crowded: NetNs) -> None:
    source = KernelSource.live()

    def read() -> tuple[SocketTable, LastHeard, SocketTable, LastHeard]:
        families = source.families()
        whole = SocketTable.concatenate([source.tcp(families)])
        return whole, source.last_heard(families), *source.passing(families)

    whole, heard, part, heard_at_once = crowded.call(read)
    source.close()
    others = whole.select(~np.isin(whole.state, RESTING_STATES))
    for name in ("state", "family", "local_port", "remote_port", "inode", "cgroup_id", "drops"):
        expected = dict(zip(others.cookie.tolist(), getattr(others, name).tolist(), strict=True))
        assert (
            dict(zip(part.cookie.tolist(), getattr(part, name).tolist(), strict=True)) == expected
        )
    assert {1, 10} <= {*whole.state.tolist()}
    assert heard_at_once.cookie.size
    assert heard_at_once.cookie.tolist() == heard.cookie.tolist()
