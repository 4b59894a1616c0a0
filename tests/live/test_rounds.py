"""Whose turn it is among real namespaces, when the budget does not allow all of them."""

import errno
import resource
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from sockmon.kernel.errors import ProcError
from sockmon.kernel.netns.discovery import Place
from sockmon.model.observation import NamespaceObservation
from sockmon.poll.poller import Poller
from sockmon.settings import parse
from tests.clocks import clock, costing
from tests.lab import NetNs, experiments, states
from tests.polling import polling
from tests.resident import inode_of, name_of, resident, seeing_pids

pytestmark = pytest.mark.root

INTERVAL = 5.0
#: What each look at a clock of CPU time adds, so that a poll costs as much as a large one.
DEAR = 0.05


@pytest.fixture
def namespaces() -> Iterator[tuple[list[NetNs], list[int]]]:
    with ExitStack() as stack:
        made = [stack.enter_context(NetNs()) for _ in range(12)]
        pids = [stack.enter_context(resident(netns)) for netns in made]
        for netns in made:
            stack.enter_context(states.listen(netns))
        yield made, pids


def polls(
    monitor: Poller, count: int, cpu: Callable[[], float]
) -> list[dict[str, NamespaceObservation]]:
    """Poll so often, an interval apart, and see the other namespaces each time."""
    seen = []
    for number in range(count):
        observation = monitor.poll(clock(1000.0 + number * INTERVAL), cpu)
        assert observation.failures == ()
        for namespace in observation.namespaces:
            if namespace.tcp is not None:
                fresh = observation.fresh(namespace, namespace.tcp, observation.at.monotonic)
                assert fresh is not None, "nobody is withdrawn because it was not his turn"
        seen.append({n.name: n for n in observation.namespaces[1:]})
    return seen


def looked(seen: list[dict[str, NamespaceObservation]], name: str) -> int:
    """How many of the polls looked at it."""
    return len({n[name].looked_at for n in seen if n[name].looked_at is not None})


def test_the_quiet_are_polled_in_turn_and_the_troubled_every_time(
    namespaces: tuple[list[NetNs], list[int]],
) -> None:
    made, pids = namespaces
    text = b"detect: {close_wait_leak: {stale_after: 1s, warning_sockets: 2}}"
    config = parse(text + b"\npoll: {namespaces: all}", "config")
    with polling(seeing_pids(*pids), config) as monitor:
        first = polls(monitor, 20, costing(DEAR))
        times = [looked(first, name_of(netns)) for netns in made]
        assert max(times) - min(times) <= 1
        assert 1 <= min(times) <= 12, "less often than every time"
    with (
        experiments.unclosed(made[7], count=3),
        polling(seeing_pids(*pids), config) as monitor,
    ):
        seen = polls(monitor, 30, costing(DEAR))
        troubled = looked(seen, name_of(made[7]))
        others = [looked(seen, name_of(netns)) for netns in made if netns is not made[7]]
        assert min(others) >= 1
        assert troubled >= 2 * max(others)
        assert max(n.beat for n in seen[-1].values()) > INTERVAL


def test_within_the_budget_all_are_polled_every_time(
    namespaces: tuple[list[NetNs], list[int]],
) -> None:
    made, pids = namespaces
    config = parse(b"poll: {namespaces: all}", "config")
    with polling(seeing_pids(*pids), config) as monitor:
        seen = polls(monitor, 5, lambda: 0.0)
        assert {looked(seen, name_of(netns)) for netns in made} == {5}


def test_a_cap_bounds_the_namespaces_that_have_series(
    namespaces: tuple[list[NetNs], list[int]],
) -> None:
    made, pids = namespaces
    config = parse(b"poll: {namespaces: all, top_namespaces: 5}", "config")
    with polling(seeing_pids(*pids), config) as monitor:
        (seen,) = polls(monitor, 1, lambda: 0.0)
    assert sum(not n.folded for n in seen.values()) == 5
    assert len(seen) == len(made)


def test_a_namespace_that_fails_is_told_of_and_withdrawn() -> None:
    """It has a name and no process, and of a sudden its name is no namespace's."""
    with NetNs() as netns, states.listen(netns):
        good = Place(Path(netns.path), inode_of(netns), None, None, "blue")
        places = {good.key: good}
        config = parse(b"poll: {namespaces: all}", "config")
        with polling(lambda: places, config) as monitor:
            (seen,) = polls(monitor, 1, lambda: 0.0)
            assert set(seen) == {"blue"}
            other = Path("/proc/self/ns/uts")
            places[good.key] = replace(good, path=other, inode=other.stat().st_ino)
            believed = []
            for number in range(1, 6):
                observation = monitor.poll(clock(1000.0 + number * INTERVAL))
                (failure,) = observation.failures
                assert failure.netns == "blue"
                blue = observation.namespaces[1]
                part = observation.fresh(blue, blue.tcp, observation.at.monotonic)
                believed.append(part is not None)
                assert observation.unseen == frozenset({"blue"})
            assert believed == [True, True, True, False, False]
            for later in range(0, 1200, 300):  # not to be seen is neither empty nor ended
                observation = monitor.poll(clock(1100.0 + later))
                assert [n.name for n in observation.namespaces] == ["host", "blue"]


def test_who_cannot_look_around_does_not_say_that_all_have_ended() -> None:
    def look() -> Mapping[str, Place]:
        raise ProcError.from_errno("look for network namespaces", errno.EACCES)

    with polling(look) as monitor:
        observation = monitor.poll(clock(1000.0))
    assert [failure.reason for failure in observation.failures] == ["EACCES"]
    assert observation.unseen is None


def test_what_was_known_of_a_namespace_survives_a_restart() -> None:
    config = parse(b"poll: {namespaces: all}", "config")
    with NetNs() as netns, resident(netns) as pid, states.fin_wait1(netns, count=2):
        with polling(seeing_pids(pid), config) as monitor:
            monitor.poll(clock(1000.0))
            record = monitor.remember()()
        with polling(seeing_pids(pid), config) as again:
            again.recall(record)
            diagnosis = again.poll(clock(1100.0)).namespaces[1].diagnosis
            assert diagnosis is not None
            ages = next(a for s, a in diagnosis.value.ages.items() if s.name == "FIN_WAIT1")
            assert ages[5] == sum(ages) == 2  # 60 s to 120 s, as seen before the restart


@contextmanager
def few_descriptors() -> Iterator[None]:
    """So few that the namespaces would take all."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = len([*Path("/proc/self/fd").iterdir()])
    resource.setrlimit(resource.RLIMIT_NOFILE, ((used + 6) * 4 // 3, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_namespaces_leave_descriptors_for_the_hosts_own(
    namespaces: tuple[list[NetNs], list[int]],
) -> None:
    _, pids = namespaces
    config = parse(b"poll: {namespaces: all}", "config")
    with polling(seeing_pids(*pids), config) as monitor:
        with few_descriptors():
            for number in range(3):
                observation = monitor.poll(clock(1000.0 + INTERVAL * number))
                host = observation.namespaces[0]
                assert host.tcp is not None
                assert host.tcp.at == observation.at
                assert {failure.reason for failure in observation.failures} == {"EMFILE"}
                assert "host" not in {failure.netns for failure in observation.failures}
        observation = monitor.poll(clock(1100.0))
        assert observation.failures == ()
        assert all(namespace.tcp is not None for namespace in observation.namespaces)
