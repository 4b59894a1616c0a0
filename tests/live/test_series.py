"""How many series there are: connections that come and go make none, and a pod costs few."""

import socket
from collections.abc import Callable, Iterable
from contextlib import ExitStack

import pytest

from sockmon.clock import now
from sockmon.export.family import SeriesMemory
from sockmon.export.metrics import Build, Reload, families
from sockmon.kernel.netlink.source import KernelSource
from sockmon.model.moment import Moment
from sockmon.model.observation import Observation
from sockmon.poll.poller import Poller
from sockmon.settings import Config
from tests.lab import AddressKind, NetNs, states
from tests.lab.sockets import listening
from tests.polling import polling
from tests.resident import name_of, resident, seeing_pids

pytestmark = pytest.mark.root

INTERVAL = 4.0
POLLS = 45  # three minutes
DATA_CONNECTIONS = 60

#: Name, and labels with their values.
Series = tuple[str, tuple[tuple[str, str], ...]]


def series(observation: Observation, at: float, memory: SeriesMemory | None = None) -> set[Series]:
    """Every series of an answer to a scrape."""
    reload = Reload(successful=True, succeeded_at=0.0)
    return {
        (sample.name, tuple(sorted(sample.labels.items())))
        for family in families(observation, at, Build("1", "3"), reload, memory)
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


def transfers(netns: NetNs, stack: ExitStack) -> Iterable[socket.socket]:
    """Make passive data connections, as an FTP server does: some not accepted, some at rest."""
    for number in range(DATA_CONNECTIONS):
        listener = stack.enter_context(netns.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        yield listener
        stack.enter_context(netns.socket()).connect(listener.getsockname())
        if number % 3:
            stack.enter_context(listener.accept()[0])
        if number % 3 == 2:
            listener.close()


def clock(at: float) -> Callable[[], Moment]:
    began = now()
    return lambda: Moment(began.monotonic + at, began.wall + at)


@pytest.mark.parametrize("port_range", ["32768 60999", "1024 65535"])
def test_data_connections_that_come_and_go_make_no_series(netns: NetNs, port_range: str) -> None:
    netns.set_sysctl("net.ipv4.ip_local_port_range", port_range)
    poller = Poller(KernelSource.live(), Config())
    seen: set[Series] = set()
    used: set[str] = set()
    told: set[str] = set()
    after_the_first_minute = 0
    with ExitStack() as control:
        listener = control.enter_context(netns.socket())
        listener.bind(("127.0.0.1", 21))
        listener.listen()
        for number in range(POLLS):
            with ExitStack() as stack:
                used |= {str(s.getsockname()[1]) for s in transfers(netns, stack)}
                observation = netns.call(poller.poll, clock(number * INTERVAL))
            assert observation.failures == ()
            seen |= series(observation, observation.at.monotonic)
            for diagnosis in observation.diagnosed().values():
                told |= {str(finding.subject.port) for finding in diagnosis.findings}
            if number * INTERVAL <= 60:
                after_the_first_minute = len(seen)
    poller.close()
    assert len(used) > 500
    ports = {dict(labels)["port"] for _, labels in seen if "port" in dict(labels)}
    assert ports == {"21", "other"} if port_range.startswith("32768") else {"other"} <= ports
    assert not (ports | told) & used
    assert len(seen) - after_the_first_minute <= 7, "but for port 21, inside the larger range"


PODS = 10


def of(netns: NetNs, found: set[Series]) -> list[Series]:
    return [one for one in found if ("netns", name_of(netns)) in one[1]]


def test_pods_with_a_listener_each_cost_at_most_forty_series_each() -> None:
    with ExitStack() as stack:
        pods = [stack.enter_context(NetNs()) for _ in range(PODS)]
        pids = [stack.enter_context(resident(pod)) for pod in pods]
        for pod in pods:
            stack.enter_context(listening(pod, AddressKind.IPV4))
        poller = stack.enter_context(polling(seeing_pids(*pids)))
        poller.poll(clock(0))
        observation = poller.poll(clock(100))
        assert observation.failures == ()
        found = series(observation, observation.at.monotonic)
        assert {len(of(pod, found)) <= 40 for pod in pods} == {True}, len(of(pods[0], found))
        assert len(found) < 200 + 40 * PODS


def test_what_a_pod_had_comes_down_to_zero_before_it_ends() -> None:
    memory = SeriesMemory()
    with NetNs() as pod, resident(pod) as pid, polling(seeing_pids(pid)) as poller:

        def names(at: float) -> set[str]:
            observation = poller.poll(clock(at))
            found = series(observation, observation.at.monotonic, memory)
            return {name for name, _ in of(pod, found)}

        with listening(pod, AddressKind.IPV4):
            assert "sockmon_close_wait_oldest_seconds" not in names(0)
            with states.close_wait(pod, AddressKind.IPV4, count=3):
                assert "sockmon_close_wait_oldest_seconds" in names(10)
            assert "sockmon_close_wait_oldest_seconds" in names(20)
            assert "sockmon_close_wait_oldest_seconds" in names(600)
            assert "sockmon_close_wait_oldest_seconds" not in names(620)
            assert "sockmon_sockets" in names(630)
