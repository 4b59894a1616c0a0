"""The daemon's history of real sockets: over restarts, a kill -9, a reboot and a full disk."""

import gzip
import json
import math
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sockmon.history.file import HistoryFile
from sockmon.model.moment import Moment
from sockmon.state.file import boot_id
from tests.lab import PATIENCE, NetNs, eventually, experiments, states
from tests.running import PORT, RunningDaemon, running_daemon

pytestmark = pytest.mark.root


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    directory = tmp_path / "state"
    directory.mkdir()
    return directory


@pytest.fixture
def config(tmp_path: Path, state_dir: Path) -> str:
    path = tmp_path / "config.yaml"
    path.write_text(
        f"""
poll: {{interval: 100ms}}
detect:
  close_wait_leak: {{stale_after: 1s, for: 1s, keep_firing_for: 1s}}
state_dir: {state_dir}
"""
    )
    return str(path)


def history(daemon: RunningDaemon, query: str = "") -> dict[str, Any]:
    answer = daemon.get(f"/api/v1/history{query}")
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    told: dict[str, Any] = json.loads(answer.body)
    assert told["times"] == sorted(told["times"])
    return told


def close_waits(daemon: RunningDaemon, port: int) -> list[int | None]:
    """CLOSE_WAIT at a listener's port over the last hour; what repeats itself is told once."""
    for group in history(daemon, "?groups=16")["groups"]:
        if (group["direction"], group["port"]) == ("inbound", port):
            told: list[int | None] = group["max"]["close_wait"]
            return [
                value for number, value in enumerate(told) if told[number - 1 : number] != [value]
            ]
    return []


def gaps(daemon: RunningDaemon) -> int:
    """Rows of nothing."""
    every: list[int | None] = history(daemon)["max"]["established"]
    return every.count(None)


def alert_changes(daemon: RunningDaemon) -> list[str]:
    return [change["state"] for change in history(daemon)["alert_changes"]]


def known(series: list[float | None]) -> list[float]:
    """Leave out the times of which nothing is known, such as that of a poll that was late."""
    return [value for value in series if value is not None]


def test_a_leak_is_seen_when_it_is_over(netns: NetNs, config: str) -> None:
    with running_daemon(netns, "--config", config) as daemon:
        eventually(lambda: len(history(daemon)["times"]) > 1)
        with experiments.unclosed(netns, count=12) as held:
            eventually(lambda: alert_changes(daemon), until=lambda c: c == ["firing"])
        eventually(lambda: alert_changes(daemon), until=lambda c: c == ["firing", "resolved"])
        # Of connections that are made or closed amid a poll it sees a part.
        seen = close_waits(daemon, held.port)
        assert (seen[0], max(filter(None, seen)), seen[-1]) == (None, 12, 0)
        hour, day = history(daemon), history(daemon, "?range=day&netns=host")
        assert max(known(hour["max"]["findings_warning"])) >= 1
        assert max(known(hour["max"]["close_wait_stale_sockets"])) == 12
        assert max(known(day["max"]["close_wait"])) >= 12 > min(known(day["min"]["close_wait"]))
        begun, ended = hour["alert_changes"]
        assert begun["labels"]["alertname"] == "SockmonCloseWaitLeak"
        assert begun["at"] == begun["firing_since"] == ended["firing_since"] < ended["at"]
        assert "12" in begun["summary"]


def leave_a_past(netns: NetNs, config: str) -> int:
    """Run a daemon for some polls, with 7 sockets in CLOSE_WAIT; returns their port."""
    with (
        states.close_wait(netns, count=7) as held,
        running_daemon(netns, "--config", config) as daemon,
    ):
        eventually(lambda: close_waits(daemon, held.port), until=lambda seen: seen == [7])
        assert daemon.stop() == 0
    return held.port


def age(path: Path, boot: str, seconds: float) -> Moment:
    """Make a saved history older, as one of this boot or of another; when it really was saved."""
    past = HistoryFile(path, boot_id()).read(Moment(math.inf, math.inf))
    assert past is not None
    later = replace(past.at, wall=past.at.wall + seconds)
    older = past.adopted(later, same_boot=False)
    before = Moment(past.at.monotonic - seconds, past.at.wall - seconds)
    HistoryFile(path, boot).write(replace(older, at=before))
    return past.at


def test_a_restart_is_a_gap_and_a_kill_9_costs_what_was_not_saved(
    netns: NetNs, config: str, state_dir: Path
) -> None:
    port = leave_a_past(netns, config)
    age(state_dir / "history", boot_id(), seconds=60)
    saved = (state_dir / "history").stat().st_ino
    with running_daemon(netns, "--config", config) as daemon:
        assert close_waits(daemon, port) == [7, None]
        assert gaps(daemon) == 1
        eventually(lambda: (state_dir / "history").stat().st_ino != saved)
        daemon.signal(signal.SIGKILL)
        daemon.process.wait(timeout=PATIENCE)
    with running_daemon(netns, "--config", config) as daemon:
        assert close_waits(daemon, port) == [7, None]
        assert daemon.stop() == 0
        assert "history" not in daemon.log()


def test_a_reboot_keeps_the_past(netns: NetNs, config: str, state_dir: Path) -> None:
    port = leave_a_past(netns, config)
    at = age(state_dir / "history", "another-boot", seconds=600)
    with running_daemon(netns, "--config", config) as daemon:
        assert close_waits(daemon, port) == [7, None]
        assert gaps(daemon) == 1
        ages = [at.wall - told for told in history(daemon)["times"]]
        assert min(age for age in ages if age > 1) == pytest.approx(600, abs=PATIENCE)


def test_a_full_disk_costs_a_warning_and_the_rest_works(
    netns: NetNs, config: str, state_dir: Path
) -> None:
    full = (
        'mount -t tmpfs -o size=64k tmpfs "$0" && head -c 65536 /dev/zero >"$0/full" && exec "$@"'
    )
    prefix = ("unshare", "--mount", "sh", "-c", full, str(state_dir))
    with running_daemon(netns, "--config", config, prefix=prefix) as daemon:
        eventually(lambda: "cannot save history" in daemon.log())
        assert "No space left on device" in daemon.log()
        assert set(history(daemon)["max"]["listen"]) == {1}  # the daemon's own
        inside = Path(f"/proc/{daemon.process.pid}/root{state_dir}")
        assert {path.name for path in inside.iterdir()} == {"full", "lock"}
        (inside / "full").unlink()
        assert daemon.stop() == 0
        assert "save.history works again" in daemon.log()
        assert "Traceback" not in daemon.log()


def test_what_is_asked_wrongly_is_told(netns: NetNs) -> None:
    with running_daemon(netns) as daemon:
        for query, status, error in (
            ("range=week", 400, "range: expected hour or day"),
            ("groups=17", 400, "groups: expected a number from 0 to 16"),
            ("groups=-1", 400, "groups: expected a number from 0 to 16"),
            ("groups=%D9%A3", 400, "groups: expected a number from 0 to 16"),
            ("rnage=day", 400, "unknown parameter: expected netns, range, groups or rows"),
            ("netns=%1b[31m", 404, "netns: there is no network namespace of this name"),
        ):
            answer = daemon.get(f"/api/v1/history?{query}")
            assert (answer.status, json.loads(answer.body)) == (status, {"error": error})


def test_is_compressed_when_asked(netns: NetNs, tmp_path: Path) -> None:
    config = tmp_path / "seldom.yaml"
    config.write_text("poll: {interval: 1h}\n")
    with running_daemon(netns, "--config", str(config)) as daemon:
        plain = daemon.get("/api/v1/history")
        zipped = daemon.get("/api/v1/history", {"Accept-Encoding": "gzip"})
        assert zipped.headers["content-encoding"] == "gzip"
        assert gzip.decompress(zipped.body) == plain.body


def test_ports_are_shown_to_loopback_clients_alone(netns: NetNs) -> None:
    netns.ip("addr add 10.77.9.1/32 dev lo")
    with running_daemon(netns, "--web.listen-address", f":{PORT}") as daemon:
        assert daemon.get("/api/v1/history", host="10.77.9.1").status == 403
        assert daemon.get("/api/v1/history", {"Host": "evil.example"}).status == 403
        assert history(daemon)["netns"] == "host"
