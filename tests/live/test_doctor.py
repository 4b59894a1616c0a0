"""`sockmon doctor` on a host whose daemon has watched for longer than it looks."""

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from sockmon.drill.lab.sockets import accepted, connected, connections, listening
from tests.lab import AddressKind, NetNs, eventually, experiments
from tests.running import PORT, running_daemon

pytestmark = pytest.mark.root

#: One look of a second is too short for growth, which takes a fifth of the window to be known.
LEAK = "{stale_after: 1s, warning_sockets: 2, critical_age: 2s, growth_window: 20s}"


def written(path: Path, leak: str) -> Path:
    path.write_text(f"poll: {{interval: 200ms}}\ndetect: {{close_wait_leak: {leak}}}\n")
    return path


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return written(tmp_path / "sockmon.yaml", LEAK)


@contextmanager
def growing_leak(netns: NetNs) -> Iterator[int]:
    """A server that never closes, and a client that comes and goes; the server's port."""
    done, leaked = threading.Event(), list[socket.socket]()
    with listening(netns, AddressKind.IPV4) as listener:
        port = listener.getsockname()[1]

        def leak() -> None:
            while not done.wait(0.1):
                connected(netns, AddressKind.IPV4, port).close()
                leaked.append(accepted(listener))

        thread = threading.Thread(target=leak)
        thread.start()
        try:
            yield port
        finally:
            done.set()
            thread.join()
            for held in leaked:
                held.close()


def test_ages_that_keepalive_hides_are_lower_bounds(netns: NetNs, config: Path) -> None:
    with connections(netns, netns, AddressKind.IPV4, 6) as made:
        for client, server in made.pairs():
            server.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            client.shutdown(socket.SHUT_WR)
        written(config, "{warning_sockets: 100}")
        answer = doctor(netns, config).stdout
    assert "6 sockets in CLOSE_WAIT have keepalive, which hides for how long" in answer
    assert "6 of them in CLOSE_WAIT, the oldest for at least " in answer


def doctor(netns: NetNs, config: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sockmon", "doctor", "--config", str(config), *arguments]
    return netns.run(command, check=False)


def diagnosed(netns: NetNs, config: Path) -> tuple[int, dict[str, Any]]:
    ended = doctor(netns, config, "--format", "json")
    answer: dict[str, Any] = json.loads(ended.stdout)
    return ended.returncode, answer


def test_what_only_a_daemon_can_know_is_told_in_its_words(netns: NetNs, config: Path) -> None:
    with growing_leak(netns) as port:
        _, alone = eventually(lambda: diagnosed(netns, config), until=lambda told: told[0] == 1)
        assert (alone["daemon"], alone["config"]) == (None, str(config))
        assert [found["source"] for found in alone["findings"]] == ["doctor"]
        assert "note: one look: growth and forecasts are unknown" in doctor(netns, config).stdout
        with running_daemon(netns, "--config", str(config)):
            status, answer = eventually(
                lambda: diagnosed(netns, config), until=lambda told: told[0] == 2
            )
            assert (status, answer["status"]) == (2, "critical")
            assert answer["daemon"]["url"] == f"http://127.0.0.1:{PORT}"
            assert answer["daemon"]["watched_seconds"] > 1
            (found,) = answer["findings"]
            assert (found["source"], found["severity"]) == ("daemon", "critical")
            assert found["subject"]["port"] == port
            assert found["evidence"]["growth"]["value"] > 0
            text = eventually(
                lambda: doctor(netns, config).stdout,
                until=lambda text: text.startswith("CRITICAL: "),
            )
            assert "\n  as the daemon says, which has watched for " in text
            assert "\n  Critical because " in text
            assert f"note: configuration: {config}\n" in text


def test_what_the_daemon_alone_finds_counts_too(netns: NetNs, config: Path, tmp_path: Path) -> None:
    lenient = written(tmp_path / "lenient.yaml", "{stale_after: 1s, warning_sockets: 1000}")
    with (
        experiments.unclosed(netns, count=12),
        running_daemon(netns, "--config", str(config)),
    ):
        eventually(
            lambda: doctor(netns, lenient).stdout,
            until=lambda text: "\n  as the daemon alone says, which has watched for " in text,
        )
        status, answer = diagnosed(netns, lenient)
        assert (status, [found["source"] for found in answer["findings"]]) == (1, ["daemon"])


def test_what_the_daemon_cannot_see_is_not_called_well(netns: NetNs, tmp_path: Path) -> None:
    config = tmp_path / "sockmon.yaml"
    config.write_text(
        "poll: {interval: 200ms, namespaces: all, netns_helper_socket: /nowhere/socket}"
    )
    with running_daemon(netns, "--config", str(config)):
        ended = doctor(netns, config, "--namespaces=host")
    assert ended.returncode == 3
    assert (
        "note: the daemon says: no other network namespace is seen: poll.netns_helper_socket"
        in ended.stdout
    )
    assert doctor(netns, config, "--namespaces=host").returncode == 0
