"""The daemon's alerts from the first finding to the last word, kill -9 in between."""

import json
import platform
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.lab import PATIENCE, NetNs, eventually, experiments
from tests.running import RunningDaemon, running_daemon

pytestmark = pytest.mark.root


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(
        f"""
poll: {{interval: 100ms}}
detect:
  close_wait_leak: {{stale_after: 1s, for: 1s, keep_firing_for: 1s}}
alerting:
  labels: {{cluster: laboratory}}
state_dir: {tmp_path}
"""
    )
    return path


def alerts(daemon: RunningDaemon) -> list[dict[str, Any]]:
    answer: list[dict[str, Any]] = json.loads(daemon.get("/api/v1/alerts").body)["alerts"]
    return answer


def states(daemon: RunningDaemon) -> list[str]:
    return [alert["state"] for alert in alerts(daemon)]


def told_on_disk(config: Path) -> list[str]:
    """The states of the alerts that, by the state file, have been logged."""
    if not (config.parent / "state").exists():
        return []
    state = json.loads((config.parent / "state").read_bytes().partition(b"\n")[2])
    reported = state["sections"]["alerts"]["reported"]
    return [alert["state"] for sent in reported.values() for alert in sent]


def counted(daemon: RunningDaemon) -> dict[str, float]:
    """The values of sockmon_alerts by state."""
    samples = daemon.samples("sockmon_alerts")
    return {dict(labels)["state"]: value for labels, value in samples.items()}


def test_an_alert_lives_through_kill_9_and_ends_with_its_cause(netns: NetNs, config: Path) -> None:
    arguments, quick = ("--config", str(config)), config.read_text()
    config.write_text(quick.replace("for: 1s", "for: 1h", 1))  # pending until that is changed
    with experiments.process_killed(netns, count=12) as leaking:
        with running_daemon(netns, *arguments) as daemon:
            eventually(lambda: states(daemon), until=["pending"].__eq__)
            assert counted(daemon) == {"pending": 1}
            config.write_text(quick)
            daemon.signal(signal.SIGHUP)
            (firing,) = eventually(
                lambda: alerts(daemon), until=lambda a: a[0]["state"] == "firing"
            )
            assert firing["labels"] == {
                "alertname": "SockmonCloseWaitLeak",
                "cluster": "laboratory",
                "instance": platform.node(),
                "netns": "host",
                "owner": firing["labels"]["owner"],
                "port": str(leaking.held.port),
                "direction": "inbound",
                "severity": "warning",
                "source": "sockmon",
            }
            assert set(firing["annotations"]) == {"summary", "description", "runbook_url"}
            # What is told is saved first, and that may take a moment.
            eventually(lambda: daemon.log().count("firing: SockmonCloseWaitLeak") == 1)
            # The disk knows that the log was told: a kill before that may tell it twice.
            eventually(lambda: told_on_disk(config), until=lambda told: told == ["firing"])
            daemon.signal(signal.SIGKILL)
            daemon.process.wait(timeout=PATIENCE)
        with running_daemon(netns, *arguments) as again:
            (alive,) = alerts(again)
            assert (alive["state"], alive["since"]) == ("firing", firing["since"])
            again.wait_for_polls(5)
            assert "firing: " not in again.log()  # it was told already
            # The ages survived too: no younger than the first daemon knew them.
            assert again.value("sockmon_close_wait_oldest_seconds", netns="host") > 2
            leaking.kill()
            eventually(lambda: "resolved: SockmonCloseWaitLeak" in again.log())
            eventually(lambda: counted(again), until={}.__eq__)


def test_a_torn_state_file_costs_a_warning_and_nothing_else(netns: NetNs, config: Path) -> None:
    (config.parent / "state").write_bytes(b"sockmon-state 1 torn")
    with running_daemon(netns, "--config", str(config)) as daemon:
        assert "starting without them" in daemon.log()
        daemon.wait_for_polls(2)
        assert daemon.stop() == 0


def test_a_state_dir_that_cannot_be_written_costs_a_warning(netns: NetNs, config: Path) -> None:
    config.write_text(config.read_text().replace(str(config.parent), "/proc/nowhere"))
    with (
        experiments.unclosed(netns, count=12),
        running_daemon(netns, "--config", str(config)) as daemon,
    ):
        eventually(lambda: states(daemon), until=lambda s: s == ["firing"])
        eventually(lambda: "/proc/nowhere" in daemon.log())
        assert daemon.stop() == 0
        assert "Traceback" not in daemon.log()


def test_a_second_daemon_leaves_the_firsts_state_alone(netns: NetNs, config: Path) -> None:
    arguments = ("--config", str(config))
    with running_daemon(netns, *arguments) as first:
        with NetNs() as elsewhere, running_daemon(elsewhere, *arguments) as second:
            assert f"{config.parent}: another sockmon uses it" in second.log()
            assert second.stop() == 0
            assert not (config.parent / "state").exists()  # written at every stop
        first.signal(signal.SIGKILL)  # what it had is free, however it ends
        first.process.wait(timeout=PATIENCE)
    with running_daemon(netns, *arguments) as third:
        assert "another sockmon" not in third.log()


def test_limits_change_at_reload(netns: NetNs, config: Path) -> None:
    with (
        experiments.unclosed(netns, count=12),
        running_daemon(netns, "--config", str(config)) as daemon,
    ):
        eventually(lambda: states(daemon), until=lambda s: s == ["firing"])
        text = config.read_text().replace("cluster: laboratory", "cluster: elsewhere")
        config.write_text(text)
        daemon.signal(signal.SIGHUP)
        eventually(lambda: "alerts keep theirs until they end: 1" in daemon.log())
        config.write_text(text.replace("for: 1s", "for: 1s, warning_sockets: 50", 1))
        daemon.signal(signal.SIGHUP)
        eventually(lambda: states(daemon), until=lambda s: s in ([], ["resolved"]))
