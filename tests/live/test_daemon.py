"""The daemon as a service: start, reload, stop, watchdog, and what it does when things fail."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab import PATIENCE, AddressKind, NetNs, eventually, states
from tests.lab.sockets import listening
from tests.running import PORT, RunningDaemon, running_daemon

pytestmark = pytest.mark.root

INTERVAL = 0.1
QUICK = "poll: {interval: 100ms}\n"
NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--bounding-set=-all")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(QUICK)
    return path


@pytest.fixture
def daemon(netns: NetNs, config: Path) -> Iterator[RunningDaemon]:
    with running_daemon(netns, "--config", str(config)) as running:
        yield running


class ServiceManager:
    """The other end of sd_notify(3)."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.settimeout(PATIENCE)

    def hear_until(self, line: str, at_most: int = 100) -> list[str]:
        """All lines up to those of the message that has this one."""
        heard: list[str] = []
        for _ in range(at_most):
            heard += self._socket.recv(4096).decode().splitlines()
            if line in heard:
                return heard
        raise AssertionError(f"{line} not heard, but {heard}")

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[ServiceManager]:
    made = ServiceManager(tmp_path / "notify")
    yield made
    made.close()


def test_polls_again_and_again_and_stops_when_told(daemon: RunningDaemon) -> None:
    daemon.wait_for_polls(3)
    assert daemon.stop() == 0
    assert "Traceback" not in daemon.log()


def test_works_with_no_configuration_at_all(netns: NetNs) -> None:
    with running_daemon(netns) as daemon:
        assert daemon.value("sockmon_config_last_reload_successful") == 1


def test_shows_what_changes(daemon: RunningDaemon, netns: NetNs) -> None:
    with states.close_wait(netns, count=7) as held:
        labels = {
            "netns": "host",
            "protocol": "tcp",
            "direction": "inbound",
            "port": str(held.port),
        }

        def close_wait() -> float | None:
            samples = daemon.samples("sockmon_port_sockets")
            return samples.get(frozenset({**labels, "state": "close_wait"}.items()))

        eventually(close_wait, until=lambda seen: seen == 7)
    eventually(close_wait, until=lambda seen: seen == 0)  # at zero, not gone


def test_tells_the_service_manager_how_it_fares(
    netns: NetNs, config: Path, manager: ServiceManager
) -> None:
    environment = {"NOTIFY_SOCKET": str(manager.path), "WATCHDOG_USEC": "300000"}
    with running_daemon(netns, "--config", str(config), environment=environment) as daemon:
        manager.hear_until("READY=1")
        manager.hear_until("WATCHDOG=1")
        daemon.signal(signal.SIGHUP)
        heard = manager.hear_until("RELOADING=1")
        assert any(re.fullmatch(r"MONOTONIC_USEC=\d+", line) for line in heard)
        manager.hear_until("READY=1")
        daemon.signal(signal.SIGTERM)
        manager.hear_until("STOPPING=1")
        assert daemon.process.wait(timeout=PATIENCE) == 0


def test_reads_its_configuration_again(daemon: RunningDaemon, config: Path) -> None:
    before = daemon.value("sockmon_config_last_reload_success_timestamp_seconds")
    config.write_text("poll: {interval: 200ms}\nports: {top: 7}\n")
    daemon.signal(signal.SIGHUP)
    eventually(
        lambda: daemon.value("sockmon_config_last_reload_success_timestamp_seconds") > before
    )
    assert daemon.value("sockmon_config_last_reload_successful") == 1
    daemon.wait_for_polls(2)


def test_a_bad_configuration_changes_nothing_but_is_told(
    daemon: RunningDaemon, config: Path
) -> None:
    config.write_text("poll: {interval: soon}\nprots: {}\n")
    daemon.signal(signal.SIGHUP)
    eventually(lambda: daemon.value("sockmon_config_last_reload_successful") == 0)
    assert f"{config}:1: poll.interval: expected a duration" in daemon.log()
    assert f"{config}:2: prots: unknown key" in daemon.log()
    daemon.wait_for_polls(2)
    config.write_text(QUICK)
    daemon.signal(signal.SIGHUP)
    eventually(lambda: daemon.value("sockmon_config_last_reload_successful") == 1)


def test_runs_without_any_privilege(netns: NetNs) -> None:
    with states.established(netns, count=3), running_daemon(netns, prefix=NOBODY) as daemon:
        established = daemon.value(
            "sockmon_sockets", netns="host", protocol="tcp", family="ipv4", state="established"
        )
        assert established >= 6


def run_to_its_end(
    netns: NetNs, *arguments: str, prefix: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    command = [*prefix, sys.executable, "-m", "sockmon", "run", *arguments]
    return netns.run(command, check=False)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--web.listen-address", "192.0.2.1:9000"), "no interface of this host has that address"),
        (("--web.listen-address", "localhost"), "expected ADDRESS:PORT"),
        (("--config", "/nonexistent.yaml"), "cannot read it: No such file or directory"),
        (("--config", "/proc"), "cannot read it: not a regular file"),
    ],
)
def test_says_in_one_line_why_it_cannot_start(
    netns: NetNs, arguments: tuple[str, ...], says: str
) -> None:
    ended = run_to_its_end(netns, *arguments)
    assert ended.returncode == 2
    assert says in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_says_that_the_port_is_taken(netns: NetNs) -> None:
    with netns.socket() as other:
        other.bind(("127.0.0.1", PORT))
        other.listen()
        ended = run_to_its_end(netns)
    assert ended.returncode == 1  # unlike 2, it is tried again by systemd
    assert f"cannot listen on 127.0.0.1:{PORT}: Address already in use" in ended.stderr


def test_says_that_it_may_not_read_its_configuration(netns: NetNs, config: Path) -> None:
    config.chmod(0)
    config.parent.chmod(0o755)
    ended = run_to_its_end(netns, "--config", str(config), prefix=NOBODY)
    assert ended.returncode == 2
    assert "Permission denied" in ended.stderr


def test_serves_on_ipv6_and_on_all_addresses(netns: NetNs) -> None:
    with running_daemon(netns, "--web.listen-address", f":{PORT}") as daemon:
        assert daemon.get("/-/healthy", host="::1").status == 200
        assert daemon.get("/-/healthy", host="127.0.0.1").status == 200


def test_serves_on_every_address_of_the_command_line(netns: NetNs) -> None:
    addresses = (f"127.0.0.1:{PORT}", f"[::1]:{PORT}", "127.0.0.2:10777")
    options = [word for address in addresses for word in ("--web.listen-address", address)]
    with running_daemon(netns, *options) as daemon:
        assert daemon.get("/-/healthy", host="127.0.0.1").status == 200
        assert daemon.get("/-/healthy", host="::1").status == 200
        assert listened_on(netns) == set(addresses)
        for address in addresses:
            assert f"serving http://{address}/" in daemon.log()


def test_and_of_the_configuration(netns: NetNs, config: Path) -> None:
    config.write_text(f"web: {{listen_address: ['127.0.0.1:{PORT}', '127.0.0.2:{PORT}']}}\n")
    with running_daemon(netns, "--config", str(config)):
        assert listened_on(netns) == {f"127.0.0.1:{PORT}", f"127.0.0.2:{PORT}"}


def listened_on(netns: NetNs) -> set[str]:
    """The addresses with listening TCP sockets, by ss."""
    lines = netns.run(["ss", "-Htln"]).stdout.splitlines()
    return {line.split()[3] for line in lines}


def test_works_with_ipv6_switched_off(netns: NetNs) -> None:
    netns.set_sysctl("net.ipv6.conf.all.disable_ipv6", 1)
    with listening(netns, AddressKind.IPV4), running_daemon(netns) as daemon:
        assert daemon.samples("sockmon_poll_errors_total") == {}


def test_a_paused_daemon_does_not_poll_all_that_it_missed(daemon: RunningDaemon) -> None:
    before = daemon.value("sockmon_polls_total")
    daemon.signal(signal.SIGSTOP)
    eventually(lambda: _state_of(daemon.process.pid) == "T")
    stopped = time.monotonic()
    eventually(lambda: time.monotonic() > stopped + 30 * INTERVAL)  # thirty polls are missed
    resumed = time.monotonic()
    daemon.signal(signal.SIGCONT)
    daemon.wait_for_polls(1)
    polls = daemon.value("sockmon_polls_total") - before
    # Those since it goes on, and what had begun when it was stopped: none that were missed.
    assert polls <= (time.monotonic() - resumed) / INTERVAL + 5


def _state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_a_configuration_that_became_a_pipe_does_not_stop_it(
    daemon: RunningDaemon, config: Path
) -> None:
    config.unlink()
    os.mkfifo(config)
    daemon.signal(signal.SIGHUP)
    eventually(lambda: daemon.value("sockmon_config_last_reload_successful") == 0)
    assert "not a regular file" in daemon.log()
    assert daemon.stop() == 0
