"""Each trouble made for real ends in exactly its finding; what must not be one ends in none."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack

import pytest

from sockmon.model.finding import Command, Finding
from tests.lab import AddressKind, Direction, Link, NetNs, eventually, experiments, states
from tests.lab.sockets import connected, kept, listening
from tests.polling import Polling

pytestmark = pytest.mark.root

#: The defaults' minutes as seconds, and counts that a laboratory reaches.
QUICK = """
detect:
  close_wait_leak: {stale_after: 1s, warning_sockets: 2}
  closing_stalled: {stalled_after: 1s, warning_sockets: 2}
  fin_wait2_stuck: {warning_sockets: 2}
  connect_stalled: {unanswered_retransmits: 1, warning_sockets: 2}
  dead_peer: {unanswered_retransmits: 2, warning_sockets: 2}
"""

Watch = Callable[[NetNs], Polling]


@pytest.fixture
def watch() -> Iterator[Watch]:
    with ExitStack() as stack:

        def start(netns: NetNs) -> Polling:
            poller = Polling(netns, QUICK)
            stack.callback(poller.close)
            return poller

        yield start


def found_by(poller: Polling) -> set[str]:
    return {finding.detector for finding in poller.findings()}


def wait_for(poller: Polling, *detectors: str) -> tuple[Finding, ...]:
    """Return the findings as soon as they are those of these detectors and no other."""
    return eventually(
        poller.findings, until=lambda found: {one.detector for one in found} == set(detectors)
    )


def test_full_accept_queue(netns: NetNs, watch: Watch) -> None:
    # Whoever calls a full queue is stalled too: the same trouble from its other side.
    with experiments.full_queue(netns, backlog=4, overflow=3) as held:
        poller = watch(netns)
        found = wait_for(poller, "accept_queue", "connect_stalled")
        queue = next(f for f in found if f.detector == "accept_queue")
        assert (queue.subject.direction, queue.subject.port) == ("inbound", held.port)
        assert queue.value >= queue.limit
        stalled = next(f for f in found if f.detector == "connect_stalled")
        assert (stalled.subject.direction, stalled.subject.port, stalled.value) == (
            "outbound",
            held.port,
            3,
        )


def test_connections_that_nobody_answers(netns: NetNs, watch: Watch) -> None:
    with states.syn_sent(netns, count=3) as held:
        (found,) = wait_for(watch(netns), "connect_stalled")
        assert (found.subject.direction, found.subject.port) == ("outbound", held.port)


@pytest.mark.parametrize("make", [states.last_ack, states.fin_wait1, states.closing])
def test_closes_that_stall(netns: NetNs, watch: Watch, make: states.Hold) -> None:
    with make(netns, count=3) as held:
        (found,) = wait_for(watch(netns), "closing_stalled")
        assert (found.subject.port, found.value) == (held.port, 3)


def test_a_path_that_dies_after_the_last_fin(link: Link, watch: Watch) -> None:
    with experiments.last_ack(link, count=3) as held:
        (found,) = wait_for(watch(held.netns), "closing_stalled")
        assert (found.subject.port, found.value) == (held.port, 3)


def test_a_close_that_stalls_is_as_old_as_its_retransmissions(link: Link) -> None:
    """A first look knows, since each timeout is twice the one before."""

    def first_look() -> set[str]:
        poller = Polling(held.netns, QUICK)
        try:
            return found_by(poller)
        finally:
            poller.close()

    with experiments.last_ack(link, count=3) as held:
        eventually(first_look, until={"closing_stalled"}.__eq__)


def test_fin_wait2_that_outlives_its_timeout(netns: NetNs, watch: Watch) -> None:
    netns.set_sysctl("net.ipv4.tcp_fin_timeout", 1)
    with states.fin_wait2(netns, count=3) as held:
        # Nothing was asked, so no answer is due: the server's end leaks.
        found = wait_for(watch(netns), "close_wait_leak", "fin_wait2_stuck")
        (stuck,) = (one for one in found if one.detector == "fin_wait2_stuck")
        assert (stuck.subject.direction, stuck.subject.port) == ("outbound", held.port)


def test_a_half_close_in_use_outlives_the_timeout(netns: NetNs, watch: Watch) -> None:
    netns.set_sysctl("net.ipv4.tcp_fin_timeout", 1)
    with experiments.half_close(netns, count=3):
        poller = watch(netns)
        eventually(lambda: poller.diagnosis().oldest_close_wait, until=lambda age: age > 3)
        assert found_by(poller) == set()


def test_peers_that_have_vanished(link: Link, watch: Watch) -> None:
    with experiments.vanished_peers(link, count=3, tries=2) as held:
        (found,) = wait_for(watch(held.netns), "dead_peer")
        assert (found.subject.port, found.value) == (held.port, 3)


def test_ephemeral_ports_before_they_run_out(netns: NetNs, watch: Watch) -> None:
    with experiments.port_exhaustion(netns, ports=20) as experiment:
        poller = watch(netns)
        first, second = experiment.listeners
        for _ in range(13):
            experiment.connect(first)
        assert found_by(poller) == set()
        experiment.connect(first)  # 14 of 20: 70 %
        (found,) = wait_for(poller, "ephemeral_port_pressure")
        assert found.severity == "warning"
        assert found.value == pytest.approx(0.7)
        for _ in range(4):
            experiment.connect(first)
        (found,) = poller.findings()
        assert found.severity == "critical"
        assert found.value == pytest.approx(0.9)
        experiment.exhaust(first)
        (found,) = poller.findings()
        assert found.value == 1
        experiment.connect(second)
        assert found.subject.port == first.getsockname()[1]


def test_time_wait_buckets_before_they_overflow(netns: NetNs, watch: Watch) -> None:
    netns.set_sysctl("net.ipv4.tcp_max_tw_buckets", 100)
    poller = watch(netns)
    with states.time_wait(netns, count=79):
        assert found_by(poller) == set()
        with states.time_wait(netns, count=2, closed_first_by=Direction.INBOUND):
            (found,) = wait_for(poller, "time_wait_pressure")
            assert found.severity == "warning"
            assert found.value == pytest.approx(0.81)


def test_buckets_that_peers_fill_who_do_not_close(netns: NetNs, watch: Watch) -> None:
    netns.set_sysctl("net.ipv4.tcp_max_tw_buckets", 50)
    with experiments.unclosed(netns, count=45) as held:
        found = wait_for(watch(netns), "time_wait_pressure", "close_wait_leak")
        pressure = next(f for f in found if f.detector == "time_wait_pressure")
        assert "45 of them are in FIN_WAIT2: their peers, 45 times 127.0.0.1" in pressure.summary
        commands = [advice.command for advice in pressure.advice if advice.command]
        there = Command(f"ss -tnpo state close-wait '( sport = :{held.port} )'", "namespace")
        assert there in commands


def test_half_open_connections(netns: NetNs, watch: Watch) -> None:
    netns.set_sysctl("net.ipv4.tcp_syncookies", 0)
    with states.syn_recv(netns, count=20) as held:
        (found,) = wait_for(watch(netns), "syn_backlog")
        assert (found.subject.direction, found.subject.port) == ("inbound", held.port)


def nothing_much(netns: NetNs) -> AbstractContextManager[object]:
    return states.established(netns, count=30)


@pytest.mark.parametrize(
    "make",
    [
        nothing_much,
        experiments.half_close,
        experiments.orderly_close,
        experiments.linger_zero,
        experiments.rebind,
        states.time_wait,
        states.listen,
    ],
    ids=lambda make: make.__name__,
)
def test_what_is_no_trouble(
    netns: NetNs, watch: Watch, make: Callable[[NetNs], AbstractContextManager[object]]
) -> None:
    poller = watch(netns)
    with make(netns):
        for _ in range(4):
            assert found_by(poller) == set()


def test_ports_towards_many_destinations(netns: NetNs, watch: Watch) -> None:
    with ExitStack() as stack:
        listeners = [stack.enter_context(listening(netns, AddressKind.IPV4)) for _ in range(5)]
        netns.set_sysctl("net.ipv4.ip_local_port_range", "20000 20009")
        for listener in listeners:
            for _ in range(6):  # 30 connections with 10 ports, at 60 % of each destination's
                kept(stack, connected(netns, AddressKind.IPV4, listener.getsockname()[1]))
                kept(stack, listener.accept()[0])
        poller = watch(netns)
        assert found_by(poller) == set()
