"""A leak in another namespace: found, named, alerted; resolved when it is closed, or has ended."""

import os
import signal
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from sockmon.clock import now
from sockmon.settings import parse
from tests.everywhere import CONFIG, leaks, shown, watching
from tests.lab import NetNs, eventually, experiments, states
from tests.polling import EVERYWHERE, polling
from tests.resident import name_of, resident, seeing_pids
from tests.world import World

pytestmark = pytest.mark.root


def test_a_leak_in_a_namespace_is_found_named_and_resolved() -> None:
    text = b"detect: {close_wait_leak: {stale_after: 1s, warning_sockets: 2}}"
    config = replace(parse(text, "config"), poll=EVERYWHERE.poll)
    with NetNs() as netns, resident(netns) as pid, polling(seeing_pids(pid), config) as monitor:
        with experiments.unclosed(netns, count=3) as held:

            def found() -> list[tuple[str, int | None]]:
                _, *others = monitor.poll(now).namespaces
                diagnoses = [n.diagnosis.value for n in others if n.diagnosis]
                return [(f.netns, f.subject.port) for d in diagnoses for f in d.findings]

            eventually(found, until=[(name_of(netns), held.port)].__eq__)
            diagnosis = monitor.poll(now).namespaces[1].diagnosis
            assert diagnosis is not None
            (finding,) = diagnosis.value.findings
            assert finding.owner is not None
            assert finding.owner.processes[0].pid == os.getpid()
        eventually(found, until=[].__eq__)


def test_the_daemon_alerts_for_a_namespace_until_it_closes_its_sockets(
    world: World, tmp_path: Path
) -> None:
    with world.netns() as netns, resident(netns), watching(tmp_path, world) as daemon:
        name = name_of(netns)
        with experiments.unclosed(netns, count=3):
            eventually(lambda: leaks(daemon, name))
            assert shown(daemon, "sockmon_close_wait_stale_sockets", name) == [3]
        eventually(lambda: leaks(daemon, name), until=[].__eq__)
        # Zero for a while, then no series.
        assert sum(shown(daemon, "sockmon_close_wait_stale_sockets", name)) == 0


def test_the_daemon_alerts_for_a_namespace_until_it_ends(world: World, tmp_path: Path) -> None:
    with watching(tmp_path, world) as daemon:
        with ExitStack() as stack:
            netns = stack.enter_context(world.netns())
            name = name_of(netns)
            stack.enter_context(resident(netns))
            stack.enter_context(experiments.unclosed(netns, count=3))
            eventually(lambda: leaks(daemon, name))
            assert shown(daemon, "sockmon_poll_last_success_timestamp_seconds", name)
        eventually(lambda: shown(daemon, "sockmon_sockets", name), until=[].__eq__)
        eventually(lambda: leaks(daemon, name), until=[].__eq__)


def test_a_reload_begins_and_ends_looking_at_other_namespaces(world: World, tmp_path: Path) -> None:
    alone = CONFIG.replace("all", "host")
    with (
        world.netns() as netns,
        resident(netns),
        states.listen(netns),
        watching(tmp_path, world, alone) as daemon,
    ):

        def seen() -> bool:
            return bool(shown(daemon, "sockmon_sockets", name_of(netns)))

        daemon.wait_for_polls()
        assert not seen()
        for config, expected in ((CONFIG, True), (alone, False)):
            (tmp_path / "config.yaml").write_text(config)
            daemon.signal(signal.SIGHUP)
            eventually(seen, until=expected.__eq__)
