"""Namespaces come and go, and so do their processes; sockmon follows, and keeps none alive."""

import json
import os
import resource
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from sockmon.clock import now
from sockmon.config import parse
from sockmon.model.observation import Observation
from tests.lab import NetNs, eventually, experiments, states
from tests.polling import EVERYWHERE, polling
from tests.resident import Nomad, name_of, nomad, open_files, resident, seeing_pids
from tests.running import running_daemon

pytestmark = pytest.mark.root

_KEPT_BYTES_AT_MOST = 8 * 1024 * 1024


def names(observation: Observation) -> set[str]:
    assert observation.failures == ()
    return {namespace.name for namespace in observation.namespaces} - {"host"}


def test_a_process_that_moves_is_followed_and_what_it_left_is_let_go() -> None:
    with nomad() as traveller, polling(seeing_pids(traveller.pid)) as monitor:
        for _ in range(5):
            inode = traveller.move()
            assert names(monitor.poll(now)) == {f"netns-{inode}"}
        traveller.move(listen=False)
        assert names(monitor.poll(now)) == set()


def test_a_namespace_outlives_the_process_by_which_it_was_found() -> None:
    with NetNs() as netns, resident(netns) as second, ExitStack() as first, states.listen(netns):
        pid = first.enter_context(resident(netns))
        lowest, other = sorted([pid, second])
        with polling(seeing_pids(pid, second)) as monitor:
            (seen,) = names(monitor.poll(now))
            os.kill(lowest, signal.SIGKILL)
            eventually(lambda: not Path(f"/proc/{lowest}/ns/net").exists())
            for _ in range(2):
                observation = monitor.poll(now)
                assert names(observation) == {seen}
            found = observation.namespaces[1]
            assert found.tcp is not None
            assert found.tcp.at == observation.at, "it was read, not remembered"
            assert other != lowest


def test_namespaces_that_come_and_go_amid_a_poll_are_no_failures() -> None:
    with nomad() as one, nomad() as two, polling(seeing_pids(one.pid, two.pid)) as monitor:
        travelling = threading.Event()

        def travel(traveller: Nomad) -> None:
            while not travelling.is_set():
                traveller.move()

        seen: set[str] = set()

        def see() -> set[str]:
            seen.update(names(monitor.poll(now)))
            return seen

        with ThreadPoolExecutor(2) as threads:
            journeys = [threads.submit(travel, traveller) for traveller in (one, two)]
            try:
                eventually(see, until=lambda seen: len(seen) >= 20, within=60)
            finally:
                travelling.set()
        assert all(journey.exception() is None for journey in journeys)
        one.end()
        two.end()
        assert names(monitor.poll(now)) == set()


def test_nothing_is_kept_alive() -> None:
    """The kernel takes a device away with its namespace: the other end of each pair tells."""
    with NetNs() as observer, ExitStack() as stack:
        pids, ends = [], set()
        for number in range(8):
            netns = stack.enter_context(NetNs())
            pids.append(stack.enter_context(resident(netns)))
            observer.ip(f"link add end{number} type veth peer name eth0 netns {netns.path}")
            ends.add(f"end{number}")
            stack.enter_context(states.listen(netns))

        def left() -> set[str]:
            links = observer.run(["ip", "-o", "link"]).stdout
            return {end for end in ends if f" {end}@" in links}

        with polling(seeing_pids(*pids)) as monitor:
            assert len(names(monitor.poll(now))) == 8
            stack.close()
            assert left() == ends, "the netlink sockets hold them still"
            monitor.poll(now)
            eventually(left, until=lambda alive: not alive, within=20)


def test_descriptors_and_memory_are_flat_over_a_thousand_namespaces() -> None:
    with nomad() as traveller, polling(seeing_pids(traveller.pid)) as monitor:

        def live(creations: int) -> tuple[int, int]:
            for _ in range(creations):
                traveller.move()
                assert len(monitor.poll(now).namespaces) == 2
            return open_files(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

        files, peak = live(100)
        later_files, later_peak = live(900)
        assert later_files == files
        assert later_peak - peak < _KEPT_BYTES_AT_MOST


def test_a_leak_in_a_namespace_is_found_named_and_resolved() -> None:
    text = b"detect: {close_wait_leak: {stale_after: 1s, warning_sockets: 2}}"
    config = replace(parse(text, "config"), poll=EVERYWHERE.poll)
    with NetNs() as netns, resident(netns) as pid, polling(seeing_pids(pid), config) as monitor:
        with experiments.close_wait_leak(netns, count=3) as held:

            def found() -> list[tuple[str, int | None]]:
                _, *others = monitor.poll(now).namespaces
                diagnoses = [n.diagnosis.value for n in others if n.diagnosis]
                return [(f.netns, f.subject.port) for d in diagnoses for f in d.findings]

            eventually(found, until=[(name_of(netns), held.port)].__eq__, within=20)
            diagnosis = monitor.poll(now).namespaces[1].diagnosis
            assert diagnosis is not None
            (finding,) = diagnosis.value.findings
            assert finding.owner is not None
            assert finding.owner.processes[0].pid == os.getpid()
        eventually(found, until=[].__eq__, within=10)


@pytest.fixture
def config_file(tmp_path: Path) -> Path:
    file = tmp_path / "config.yaml"
    file.write_text(
        "poll: {interval: 200ms, namespaces: all, budget: 1}\n"
        "detect: {close_wait_leak: {stale_after: 1s, warning_sockets: 2, for: 0s,"
        " keep_firing_for: 0s}}\n"
    )
    return file


def test_the_daemon_alerts_for_a_namespace_and_stops_when_it_ends(config_file: Path) -> None:
    with NetNs() as ours, running_daemon(ours, "--config", str(config_file)) as daemon:
        with ExitStack() as stack:
            netns = stack.enter_context(NetNs())
            name = name_of(netns)
            stack.enter_context(resident(netns))
            stack.enter_context(experiments.close_wait_leak(netns, count=3))

            def shown(metric: str) -> list[float]:
                samples = daemon.samples(metric)
                return [v for labels, v in samples.items() if ("netns", name) in labels]

            def alerts() -> set[str]:
                answer = json.loads(daemon.get("/api/v1/alerts").body)["alerts"]
                return {a["state"] for a in answer if a["labels"].get("netns") == name}

            eventually(alerts, until={"firing"}.__eq__, within=20)
            assert shown("sockmon_close_wait_stale_sockets") == [3]
            assert shown("sockmon_poll_last_success_timestamp_seconds")
        eventually(lambda: shown("sockmon_sockets"), until=[].__eq__, within=20)
        eventually(alerts, until=lambda states: "firing" not in states, within=20)
        assert daemon.stop() == 0
        assert "Traceback" not in daemon.log()


def test_a_reload_begins_and_ends_looking_at_other_namespaces(config_file: Path) -> None:
    everywhere = config_file.read_text()
    config_file.write_text(everywhere.replace("all", "host"))
    with NetNs() as ours, NetNs() as netns, resident(netns), states.listen(netns):
        name = name_of(netns)
        with running_daemon(ours, "--config", str(config_file)) as daemon:

            def seen() -> bool:
                samples = daemon.samples("sockmon_sockets")
                return any(("netns", name) in labels for labels in samples)

            daemon.wait_for_polls()
            assert not seen()
            config_file.write_text(everywhere)
            daemon.signal(signal.SIGHUP)
            eventually(seen, within=20)
            config_file.write_text(everywhere.replace("all", "host"))
            daemon.signal(signal.SIGHUP)
            eventually(lambda: not seen(), within=20)
