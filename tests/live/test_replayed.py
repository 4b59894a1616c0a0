"""`sockmon run --replay`: what it serves is of the recording, and nothing of this host."""

from pathlib import Path

import pytest

from sockmon.commands.cli import main
from sockmon.drill.lab.conditions import refused_connects
from sockmon.model.connection_events import column
from sockmon.recording.playback import Playback
from tests.lab import NetNs
from tests.recorded import CASES
from tests.running import running_daemon

pytestmark = pytest.mark.root


def test_nothing_of_this_host_is_read_or_written(netns: NetNs, tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    config = tmp_path / "sockmon.yaml"
    config.write_text(
        "poll: {interval: 100ms, namespaces: all, netns_helper_socket: /nowhere/socket}\n"
        "events: {enabled: true, helper_socket: /nowhere/socket}\n"
        f"state_dir: {state}\n"
    )
    leak = str(CASES / "leak.rec")
    with running_daemon(netns, "--replay", leak, "--config", str(config)) as daemon:
        daemon.wait_for_polls(0)
        assert daemon.value("sockmon_sockets", netns="host", **_CLOSE_WAIT) == 12
        assert daemon.samples("sockmon_poll_errors_total") == {}
    assert list(state.iterdir()) == []


_CLOSE_WAIT = {"protocol": "tcp", "family": "ipv4", "state": "close_wait"}


def test_what_happens_between_polls_is_recorded(netns: NetNs, tmp_path: Path) -> None:
    path = tmp_path / "fault.rec"
    with refused_connects(netns):
        assert netns.call(main, ["record", str(path), "--for", "1s", "--events"]) == 0
    playback = Playback(path)
    playback.finish()
    assert playback.events is not None
    assert playback.events.read(0.0).columns[:, column("failed_refused")].sum() > 0
    playback.close()
