"""A large table: trouble is read at every poll, everybody when the budget has a turn for that."""

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from itertools import pairwise

import pytest

from sockmon.kernel.netlink.source import KernelSource
from sockmon.kernel.netns.discovery import Place
from sockmon.model.moment import Moment
from sockmon.model.observation import NamespaceObservation
from sockmon.model.states import TcpState
from sockmon.poll.cpu_budget import MAX_AGE
from sockmon.poll.poller import Poller
from sockmon.settings import Config, parse
from tests.lab import AddressKind, NetNs, eventually, experiments, states
from tests.lab.sockets import connected, connections, kept, listening
from tests.polling import polling
from tests.resident import name_of, resident, seeing_pids

pytestmark = pytest.mark.root

#: Both ends of each make a table that is large.
CONNECTIONS = 10_100
INTERVAL = 5.0


class Expensive:
    """A clock of CPU time by which a poll costs what it does where a million sockets are."""

    def __init__(self) -> None:
        self.looks = 0

    def __call__(self) -> float:
        self.looks += 1
        return self.looks * 0.15


class Polls:
    """Polls a namespace, an interval of made-up time apart."""

    def __init__(self, netns: NetNs, config: Config) -> None:
        self._netns = netns
        self._cpu = Expensive()
        self.at = Moment(1000.0, 1_700_000_000.0)
        self.monitor = Poller(KernelSource.live(), config)

    def poll(self) -> NamespaceObservation:
        self.at = Moment(self.at.monotonic + INTERVAL, self.at.wall + INTERVAL)
        observation = self._netns.call(self.monitor.poll, lambda: self.at, self._cpu)
        assert observation.failures == ()
        (host,) = observation.namespaces
        assert observation.fresh(host, host.tcp, self.at.monotonic) is not None
        assert observation.fresh(host, host.ports, self.at.monotonic) is not None
        return host

    def until(self, kind: str) -> NamespaceObservation:
        """Poll until one was of this kind."""
        for _ in range(60):
            host = self.poll()
            if self.kind(host) == kind:
                return host
        raise AssertionError(f"no {kind} poll in {60 * INTERVAL} s")

    def kind(self, host: NamespaceObservation) -> str:
        """Return what the poll has read: whole, part or nothing."""
        assert host.tcp is not None
        if host.tcp.at == self.at:
            return "whole"
        return "part" if host.looked_at == self.at else "nothing"


@pytest.fixture(scope="module")
def crowded() -> Iterator[NetNs]:
    """Connections that nobody accepts: only one end of each costs a descriptor."""
    kind = AddressKind.IPV4
    with ExitStack() as stack:
        netns = stack.enter_context(NetNs())
        netns.set_sysctl("net.core.somaxconn", 60_000)
        listener = stack.enter_context(listening(netns, kind, backlog=60_000))
        port = listener.getsockname()[1]
        for _ in range(CONNECTIONS):
            kept(stack, connected(netns, kind, port))
        yield netns


@pytest.fixture
def polls(crowded: NetNs) -> Iterator[Polls]:
    config = parse(b"detect: {close_wait_leak: {stale_after: 1ms}}", "config")
    polls = Polls(crowded, config)
    yield polls
    polls.monitor.close()


def counted(host: NamespaceObservation) -> Counter[TcpState]:
    assert host.tcp is not None
    total: Counter[TcpState] = Counter()
    for counts in host.tcp.value.values():
        total.update({state: counts[state] for state in TcpState})
    assert host.ports is not None
    by_port: Counter[TcpState] = Counter()
    for group in host.ports.value.groups:
        by_port.update(group.states)
    assert +by_port == +total, "every socket is counted once under its port"
    return total


def test_trouble_is_seen_at_once_and_everybody_in_turn(crowded: NetNs, polls: Polls) -> None:
    assert polls.kind(polls.poll()) == "whole"
    before = counted(polls.until("part"))
    assert before[TcpState.ESTABLISHED] == 2 * CONNECTIONS
    made = connections(crowded, crowded, AddressKind.IPV6, 5)
    with experiments.unclosed(crowded, AddressKind.MAPPED, 12), made:
        part = counted(polls.until("part"))
        assert part[TcpState.CLOSE_WAIT] == 12
        assert part[TcpState.LISTEN] == before[TcpState.LISTEN] + 2
        assert part[TcpState.ESTABLISHED] == 2 * CONNECTIONS, "as they were read last"

        def found() -> list[str]:
            diagnosis = polls.until("part").diagnosis
            return [f.detector for f in diagnosis.value.findings] if diagnosis else []

        # A finding waits until it is known who holds its sockets.
        assert eventually(found) == ["close_wait_leak"]
        whole = counted(polls.until("whole"))
        assert whole[TcpState.ESTABLISHED] == 2 * CONNECTIONS + 10
        assert whole[TcpState.CLOSE_WAIT] == 12
    assert counted(polls.until("part"))[TcpState.CLOSE_WAIT] == 0


def test_its_age_is_told_and_nobody_waits_for_ever(polls: Polls) -> None:
    read = []
    for _ in range(60):
        host = polls.poll()
        assert host.tcp is not None
        if polls.kind(host) == "whole":
            read.append(polls.at.monotonic)
        elif read:
            assert host.beat >= polls.at.monotonic - host.tcp.at.monotonic
    gaps = [later - earlier for earlier, later in pairwise(read)]
    assert gaps
    assert INTERVAL < max(gaps) <= 30 * INTERVAL


def test_it_takes_turns_with_namespaces_in_trouble(crowded: NetNs) -> None:
    """Even its part costs more than an interval earns: who comes first gets all there is."""
    config = parse(b"poll: {namespaces: all}", "config")
    with (
        NetNs() as netns,
        resident(netns) as pid,
        states.close_wait(netns, count=2),
    ):
        cpu, looked = Expensive(), set()
        with polling(seeing_pids(pid), config) as monitor:
            for number in range(120):
                at = Moment(1000.0 + INTERVAL * number, 0.0)
                seen = crowded.call(monitor.poll, lambda: at, cpu)  # noqa: B023 - called now
                assert seen.failures == ()
                looked |= {(n.name, n.looked_at) for n in seen.namespaces if n.looked_at}
        polls = Counter(name for name, _ in looked)
        assert polls[name_of(netns)] >= polls["host"] / 3


def test_namespaces_that_come_and_go_do_not_freeze_its_counts(crowded: NetNs) -> None:
    """At every poll there is another namespace that was never polled before."""
    with NetNs() as netns, resident(netns) as pid, states.listen(netns):
        see, looks, cpu = seeing_pids(pid), itertools.count(), Expensive()

        def look() -> Mapping[str, Place]:
            number = next(looks)
            return {f"{key} {number}": place for key, place in see().items()}

        read = set()
        with polling(look, parse(b"poll: {namespaces: all}", "config")) as poller:
            for number in range(120):
                at = Moment(1000.0 + INTERVAL * number, 0.0)
                host, *_ = crowded.call(poller.poll, lambda: at, cpu).namespaces  # noqa: B023 - called now
                assert host.tcp is not None
                read.add(host.tcp.at.monotonic)
                assert at.monotonic - host.tcp.at.monotonic < MAX_AGE + INTERVAL
        assert len(read) > 4


def test_without_a_budget_to_keep_it_is_read_whole(crowded: NetNs) -> None:
    monitor = Poller(KernelSource.live(), Config())
    try:
        for number in range(4):
            at = Moment(1000.0 + INTERVAL * number, 0.0)
            (host,) = crowded.call(monitor.poll, lambda: at).namespaces  # noqa: B023 - called now
            assert host.tcp is not None
            assert host.tcp.at == at
    finally:
        monitor.close()
