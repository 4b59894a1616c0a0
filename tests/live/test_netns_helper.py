"""A helper enters namespaces for a daemon that may not."""

import json
import os
import re
import resource
import signal
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path

import pytest

from sockmon.clock import now
from sockmon.kernel.errors import HelperError, NamespaceError
from sockmon.kernel.inspector import Inspector
from sockmon.kernel.netlink.source import KernelSource
from sockmon.kernel.netns.helper.client import HelperAccess
from sockmon.kernel.netns.tracker import NamespaceTracker, OtherNamespace
from sockmon.kernel.procfs import read_limits
from sockmon.model.moment import Moment
from sockmon.model.observation import Observation
from sockmon.poll.namespace_poller import NamespacePoller
from sockmon.settings import Config, Poll, parse
from tests.helping import RunningHelper, looked, running_helper
from tests.lab import NetNs, eventually, experiments, states
from tests.polling import polling
from tests.resident import PROC, name_of, open_files
from tests.running import running_daemon

pytestmark = pytest.mark.root

INTERVAL = 5.0
#: As PrivateUsers=yes and an empty CapabilityBoundingSet= leave the daemon.
UNPRIVILEGED = (
    *("unshare", "--user", "--map-root-user"),
    *("setpriv", "--bounding-set=-all", "--inh-caps=-all"),
)


@pytest.fixture
def helper() -> Iterator[RunningHelper]:
    with running_helper() as running:
        yield running


def asking(helper: RunningHelper) -> Config:
    return Config(poll=Poll(namespaces="all", netns_helper_socket=helper.socket))


def seen(observation: Observation) -> set[str]:
    return {namespace.name for namespace in observation.namespaces}


def test_a_daemon_without_privilege_counts_what_ss_counts_inside(
    helper: RunningHelper, tmp_path: Path
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(
        "poll: {interval: 200ms, namespaces: all, cpu_budget: 1, "
        f"netns_helper_socket: {helper.socket}}}"
    )
    held = [states.established, states.close_wait, states.time_wait, states.fin_wait2]
    with ExitStack() as stack:
        ours = stack.enter_context(NetNs())
        inside = {}
        for number, hold in enumerate(held):
            netns = stack.enter_context(NetNs())
            stack.enter_context(helper.resident(netns))
            stack.enter_context(hold(netns, count=number + 2))
            inside[name_of(netns)] = netns
        command = ("--config", str(config))
        daemon = stack.enter_context(running_daemon(ours, *command, prefix=UNPRIVILEGED))
        status = Path(f"/proc/{daemon.process.pid}/status").read_text()
        assert re.search(r"^CapEff:\t0+$", status, re.MULTILINE)
        its_users, ours_users = (
            Path(f"/proc/{pid}/ns/user").readlink() for pid in (daemon.process.pid, "self")
        )
        assert its_users != ours_users

        def observed() -> dict[str, dict[str, object]]:
            told = json.loads(daemon.get("/api/v1/observation").body)
            return {namespace["netns"]: namespace for namespace in told["namespaces"]}

        told = eventually(observed, until=lambda told: all_read(told, inside))
        for name, netns in inside.items():
            assert by_state(told[name]) == by_ss(netns)
            assert told[name]["degraded"] is False
        assert name_of(ours) not in told, "its own is `host`"


def all_read(told: dict[str, dict[str, object]], names: Iterable[str]) -> bool:
    return all(name in told and told[name]["tcp"] is not None for name in names)


def by_state(namespace: dict[str, object]) -> Counter[str]:
    told: Counter[str] = Counter()
    for family in ("ipv4", "ipv6"):
        told.update(namespace["tcp"][family])  # type: ignore[index]
    return +told


def by_ss(netns: NetNs) -> Counter[str]:
    names = {"ESTAB": "established"}
    words = (line.split()[0] for line in netns.run(["ss", "-Htan"]).stdout.splitlines())
    return Counter(
        names.get(word, re.sub(r"-(?=\d)", "", word).replace("-", "_").lower()) for word in words
    )


def neighbour(neighbourhood: NamespaceTracker, name: str) -> OtherNamespace | None:
    return next((one for one in neighbourhood.look() if one.name == name), None)


def test_a_leak_is_found_and_ends_with_its_namespace(helper: RunningHelper) -> None:
    text = b"detect: {close_wait_leak: {stale_after: 1s, warning_sockets: 2}}"
    config = parse(text, "config")
    with closing(NamespaceTracker(KernelSource.live(), helper.socket)) as neighbourhood:
        with ExitStack() as stack:
            netns = stack.enter_context(NetNs())
            name = name_of(netns)
            stack.enter_context(helper.resident(netns))
            held = stack.enter_context(experiments.unclosed(netns, count=3))
            one = neighbour(neighbourhood, name)
            assert one is not None
            assert one.occupied()
            monitor = NamespacePoller(one.open(), Inspector(Path("/proc")))

            def found() -> list[int | None]:
                observation, failures = monitor.poll(now(), now, config)
                assert failures == []
                diagnosis = observation.diagnosis
                return [f.subject.port for f in diagnosis.value.findings] if diagnosis else []

            eventually(found, until=[held.port].__eq__)
        assert neighbour(neighbourhood, name) is None
        assert neighbourhood.cpu > 0, "what the helper has spent is told, for the budget"


def test_limits_are_those_inside(helper: RunningHelper) -> None:
    with NetNs() as netns, helper.resident(netns):
        netns.set_sysctl("net.ipv4.tcp_fin_timeout", 17)
        netns.set_sysctl("net.ipv4.ip_local_reserved_ports", "40000-40002")
        access = HelperAccess(helper.socket)
        place = looked(access, netns)
        limits, failed = access.limits(place, None)
        assert failed == []
        inside, _ = netns.call(read_limits, PROC)
        # Orphans and memory are the host's, where others come and go.
        assert replace(limits, sockstat=None) == replace(inside, sockstat=None)
        assert access.port_range(place) == limits.port_range
        later, _ = access.limits(place, limits)
        assert replace(later, sockstat=None) == replace(limits, sockstat=None)
        assert later.sockstat is not None
        access.close()


def test_nothing_is_kept_open_and_what_is_passed_is_not_inherited(helper: RunningHelper) -> None:
    with NetNs() as netns, helper.resident(netns), states.listen(netns):
        access = HelperAccess(helper.socket)
        place = looked(access, netns)
        before = helper.open_files(), open_files()
        transport = access.open_transport(place)
        assert not os.get_inheritable(transport.fileno())
        assert access.cpu > 0
        transport.close()
        assert open_files() <= before[1]
        eventually(helper.open_files, until=before[0].__eq__)
        access.close()
        eventually(lambda: helper.open_files() == before[0] - 1)


def test_to_be_out_of_descriptors_is_a_failure_like_any_other(helper: RunningHelper) -> None:
    with NetNs() as netns, helper.resident(netns), closing(HelperAccess(helper.socket)) as access:
        place = looked(access, netns)
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        free = os.dup(0)
        os.close(free)
        resource.setrlimit(resource.RLIMIT_NOFILE, (free, before[1]))
        try:
            with pytest.raises(NamespaceError) as refused:
                access.open_transport(place)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
        assert refused.value.reason == "EMFILE"
        access.open_transport(place).close()


def test_descriptors_are_flat_as_namespaces_come_and_go(helper: RunningHelper) -> None:
    with closing(NamespaceTracker(KernelSource.live(), helper.socket)) as neighbourhood:

        def live(namespaces: int) -> tuple[int, int]:
            for _ in range(namespaces):
                with NetNs() as netns, helper.resident(netns), states.listen(netns):
                    one = neighbour(neighbourhood, name_of(netns))
                    assert one is not None
                    source = one.open()
                    assert len(source.tcp(source.families())) == 1
            assert neighbourhood.look() == ()
            return helper.open_files(), open_files()

        of_helper, own = live(3)
        later = live(30)
        assert later[0] == of_helper
        assert later[1] < own + 27  # one kept for each namespace; pytest opens some, too


def clock(at: float) -> Callable[[], Moment]:
    return lambda: Moment(at, 1e9 + at)


def others(observation: Observation, name: str) -> bool:
    """Whether the namespace's sockets are still believed."""
    for namespace in observation.namespaces:
        if namespace.name == name and namespace.tcp is not None:
            at = observation.at.monotonic
            return observation.fresh(namespace, namespace.tcp, at) is not None
    return False


@pytest.mark.parametrize(("number", "polls"), [(signal.SIGKILL, 5), (signal.SIGSTOP, 1)])
def test_a_helper_that_is_gone_or_hangs_is_told_of_once_and_found_again(
    helper: RunningHelper, number: signal.Signals, polls: int
) -> None:
    with (
        NetNs() as netns,
        helper.resident(netns),
        states.listen(netns),
        polling(None, asking(helper)) as monitor,
    ):
        name = name_of(netns)
        first = monitor.poll(clock(1000.0))
        assert others(first, name)
        assert not first.failures
        assert not first.hints
        helper.signal(number)
        believed = []
        for turn in range(1, polls + 1):
            observation = monitor.poll(clock(1000.0 + turn * INTERVAL))
            (failure,) = observation.failures
            assert failure.netns == "host"
            assert "sockmon-netns" in failure.message
            (hint,) = observation.hints
            assert helper.socket in hint
            believed.append(others(observation, name))
            assert others(observation, "host"), "it is polled as ever"
        assert believed == [True, True, True, False, False][:polls]
        if number == signal.SIGKILL:
            helper.start()
        else:
            helper.signal(signal.SIGCONT)
        again = eventually(lambda: monitor.poll(clock(1030.0)), until=lambda o: not o.failures)
        assert others(again, name)
        assert again.hints == ()


def test_another_helper_is_asked_as_soon_as_the_configuration_says_so(
    helper: RunningHelper,
) -> None:
    nowhere = replace(
        asking(helper), poll=Poll(namespaces="all", netns_helper_socket="/nowhere/socket")
    )
    with (
        NetNs() as netns,
        helper.resident(netns),
        states.listen(netns),
        polling(None, nowhere) as monitor,
    ):
        (failure,) = monitor.poll(now).failures
        assert failure.reason == "ENOENT"
        monitor.config = asking(helper)
        observation = monitor.poll(now)
        assert not observation.failures
        assert others(observation, name_of(netns))


def test_who_has_not_answered_once_is_not_asked_again_until_the_next_look(
    helper: RunningHelper,
) -> None:
    with NetNs() as netns, helper.resident(netns), states.listen(netns):
        access = HelperAccess(helper.socket)
        place = looked(access, netns)
        helper.signal(signal.SIGSTOP)
        reasons = []
        for _ in range(2):
            with pytest.raises(HelperError) as refused:
                access.limits(place, None)
            reasons.append(refused.value.reason)
        assert reasons == ["ETIMEDOUT", "gone"]
        helper.signal(signal.SIGCONT)
        assert looked(access, netns) == place
        access.close()
