"""`sockmon drill` from end to end: the alert comes when it was said to, goes, and nothing stays."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from sockmon.drill.lab import conditions
from tests.eventing import counting
from tests.lab import PATIENCE, NetNs, eventually, states
from tests.running import PORT, RunningDaemon, running_daemon
from tests.servers import Alertmanager, hook_in

pytestmark = pytest.mark.root

#: Polls often, and waits for little; what a drill needs to be over in seconds.
LIMITS = """
poll: {interval: 100ms}
detect:
  close_wait_leak: {stale_after: 1s, for: 1s, keep_firing_for: 1s}
  fin_wait2_stuck: {for: 1s, keep_firing_for: 1s}
  time_wait_pressure: {warning_ratio: %s, for: 1s, keep_firing_for: 1s}
  connect_stalled: {for: 1s, keep_firing_for: 1s, unanswered_retransmits: 1}
  accept_queue: {for: 1s, keep_firing_for: 1s}
  ephemeral_port_pressure: {for: 1s, keep_firing_for: 1s}
  dead_peer: {for: 1s, keep_firing_for: 1s, unanswered_retransmits: 2}
  connect_failures: {for: 1s, keep_firing_for: 1s}
  closing_stalled: {stalled_after: 1s, for: 1s, keep_firing_for: 1s}
"""

ALERTS = {
    "close-wait": "SockmonCloseWaitLeak",
    "fin-wait2": "SockmonFinWait2Stuck",
    "syn-sent": "SockmonConnectStalled",
    "accept-queue": "SockmonAcceptQueue",
    "port-exhaustion": "SockmonEphemeralPortPressure",
    "dead-peer": "SockmonDeadPeer",
    "last-ack": "SockmonClosingStalled",
}
#: Their daemons count what was, and keep it for longer than a test lasts.
COUNTED = {
    "connect-failures": "SockmonConnectFailures",
    "slow-close": "SockmonSlowClose",
    "resets": "SockmonResetBurst",
}
APART = ("port-exhaustion", "dead-peer", "last-ack", *COUNTED)

NO_PRIVILEGE = ("setpriv", "--bounding-set=-all", "--inh-caps=-all")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "sockmon.yaml"
    path.write_text(LIMITS % 0.1)
    return path


@pytest.fixture
def daemon(netns: NetNs, config: Path) -> Iterator[RunningDaemon]:
    netns.set_sysctl("net.ipv4.tcp_fin_timeout", 1)
    with running_daemon(netns, "--config", str(config)) as running:
        yield running


@contextmanager
def started(netns: NetNs, *arguments: object, prefix: tuple[str, ...] = ()) -> Iterator[Drill]:
    process = netns.call(
        subprocess.Popen[str],
        [*prefix, sys.executable, "-m", "sockmon", "drill", *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield Drill(process)
        finally:
            process.kill()


class Drill:
    """The command, as it runs and when it has ended."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process, self.said, self.status = process, "", -1

    def until(self, words: str) -> None:
        """Return when it has said this."""
        assert self.process.stdout is not None
        while words not in self.said:
            line = self.process.stdout.readline()
            assert line, f"it has ended: {self.said}"
            self.said += line

    def end(self) -> None:
        """Wait for its end; whatever it says is plain text."""
        said, self.complaint = self.process.communicate(timeout=PATIENCE)
        self.said += said
        self.status = self.process.returncode
        assert "\x1b" not in self.said + self.complaint
        assert "Traceback" not in self.complaint

    def seconds_until(self, standing: str) -> float:
        """When it saw the alert stand so, by its own words."""
        (found,) = re.findall(rf"^ *([\d.]+)s  Sockmon\w+ is {standing}", self.said, re.MULTILINE)
        return float(found)


def drill(netns: NetNs, *arguments: object, prefix: tuple[str, ...] = ()) -> Drill:
    with started(netns, *arguments, prefix=prefix) as running:
        running.end()
    return running


def sockets(netns: NetNs) -> list[str]:
    """What ss shows of the namespace, but for the daemon's own connections."""
    lines = netns.run(["ss", "-Htan"]).stdout.splitlines()
    return [line for line in lines if f":{PORT}" not in line]


@pytest.mark.parametrize("name", list(ALERTS))
def test_the_alert_comes_when_it_was_said_to_and_goes(
    netns: NetNs, config: Path, name: str, request: pytest.FixtureRequest
) -> None:
    if name not in APART:
        request.getfixturevalue("daemon")
    ended = drill(netns, name, "--expect-alert", "--config", config)
    assert ended.status == 0, ended.complaint
    assert f"expect: {ALERTS[name]} after about" in ended.said
    assert ("its own, in the namespace" in ended.said) == (name in APART)
    fired = ended.seconds_until("firing")
    assert fired >= 1, "`for` is the least it can take"
    assert ended.seconds_until("resolved") >= fired + 1
    assert sockets(netns) == []


def test_what_polls_cannot_see_raises_an_alert_too(netns: NetNs, config: Path) -> None:
    with started(netns, "connect-failures", "--config", config) as running:
        running.until("SockmonConnectFailures is firing")
        running.process.terminate()
        running.end()
    assert "100 % of the connections to port" in running.said
    assert (running.status, running.complaint) == (128 + signal.SIGTERM, "")


def test_closes_are_as_slow_as_the_drill_has_them(netns: NetNs) -> None:
    with counting() as tally, conditions.late_close(netns, count=3, after=0.3) as held:
        counted = eventually(
            lambda: tally.of(netns).get(("inbound", held.port), {}).get("close_wait")
        )
        (times,) = (
            counts.histogram("close_wait")
            for where, counts in tally.counts.items()
            if where[1:] == ("inbound", held.port)
        )
    assert counted == 3
    assert times.quantile_above(0.5) == 0.2


def test_the_drill_aborts_what_it_had_closed_before(netns: NetNs) -> None:
    with counting() as tally, conditions.begins_to_abort(netns, count=3) as held:
        eventually(
            lambda: tally.of(netns).get(("inbound", held.port), {}),
            until=lambda its: (
                (its.get("closed_there"), its.get("aborted_here", 0) > 3) == (3, True)
            ),
        )


def test_without_the_right_to_load_programs_it_says_so(netns: NetNs) -> None:
    prefix = ("setpriv", "--bounding-set=-bpf,-sys_admin,-perfmon", "--inh-caps=-all")
    named = (*prefix, "unshare", "-rn")
    refused = drill(netns, "slow-close", prefix=named)
    assert (refused.status, refused.said) == (2, "")
    assert refused.complaint.startswith("sockmon: slow-close counts inside the kernel: ")
    assert "CAP_BPF" in refused.complaint
    assert refused.complaint.count("\n") == 1


def test_a_half_close_in_use_raises_no_alert(netns: NetNs, config: Path) -> None:
    with running_daemon(netns, "--config", str(config)):
        ended = drill(netns, "half-close", "--expect-alert", "--hold", 3, "--config", config)
    assert ended.status == 0, ended.complaint
    assert "no SockmonCloseWaitLeak, as expected" in ended.said
    assert sockets(netns) == []


def test_time_wait_where_buckets_are_few(netns: NetNs, config: Path) -> None:
    netns.set_sysctl("net.ipv4.tcp_max_tw_buckets", 500)
    with (
        running_daemon(netns, "--config", str(config)) as daemon,
        started(netns, "time-wait", "--expect-alert", "--config", config) as running,
    ):
        running.until("s  closed")
        # TIME_WAIT takes its minute; other limits end the alert before.
        config.write_text(LIMITS % 0.9)
        daemon.signal(signal.SIGHUP)
        running.end()
    assert running.status == 0, running.complaint
    (waiting,) = re.findall(r", (\d+) time_wait", running.said)
    assert len(sockets(netns)) == int(waiting)
    assert all(line.startswith("TIME-WAIT") for line in sockets(netns))


@pytest.mark.component("prometheus-alertmanager")
def test_a_real_alertmanager_hears_of_it(netns: NetNs, tmp_path: Path, config: Path) -> None:
    config.write_text(
        config.read_text() + f"alerting: {{alertmanager: {{urls: [{Alertmanager.url}]}}}}"
    )
    routes = """
route: {receiver: hook, group_wait: 100ms, group_interval: 200ms}
receivers: [{name: hook, webhook_configs: [{url: "%s", send_resolved: true}]}]
"""
    with hook_in(netns) as told:
        alertmanager = Alertmanager(netns, tmp_path, routes % told.url)
        try:
            alertmanager.run()
            with running_daemon(netns, "--config", str(config)):
                ended = drill(netns, "close-wait", "--expect-alert", "--config", config)
                assert ended.status == 0, ended.complaint
                (port,) = re.findall(r"made at port (\d+)", ended.said)
                eventually(told.told, until=[("firing", port), ("resolved", port)].__eq__)
        finally:
            alertmanager.kill()


def test_what_would_harm_the_host_is_refused(netns: NetNs) -> None:
    netns.set_sysctl("net.core.somaxconn", 100)
    for name, count, most, limit in [
        ("dead-peer", 10_000_000, r"\d+", "RLIMIT_NOFILE"),
        ("accept-queue", 21, "20", "100 places in an accept queue"),
        ("time-wait", 6000, r"\d+", "ephemeral ports to one destination"),
    ]:
        refused = drill(netns, name, "--count", count)
        assert (refused.status, refused.said) == (2, "")
        assert re.fullmatch(
            rf"sockmon: --count: {count} is too many: at most {most}, since .* 20 % .*\n",
            refused.complaint,
        )
        assert limit in refused.complaint
    assert sockets(netns) == []


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("close-wait", "--count", 0), "--count: 0 is not 1 or more"),
        (("close-wait", "--hold", "nan"), "--hold: nan is not between 0 and 3600 seconds"),
        (("close-wait", "--url", "nonsense"), "--url: expected http://HOST:PORT"),
        (("last-ack", "--url", "http://127.0.0.1:1"), "--url: last-ack has a daemon of its own"),
        (("last-ack", "--expect-alert", "--count", 3), "closing_stalled needs 10"),
        (("last-ack", "--expect-alert", "--hold", 5), "5s is too short for --expect-alert"),
        (("nonsense",), "'nonsense' is none of close-wait"),
    ],
)
def test_what_cannot_be_meant_is_one_line(
    netns: NetNs, arguments: tuple[object, ...], complaint: str
) -> None:
    refused = drill(netns, *arguments)
    assert (refused.status, refused.said) == (2, "")
    assert complaint in refused.complaint
    assert refused.complaint.count("\n") == 1


@pytest.mark.parametrize("name", APART)
def test_without_privilege_it_says_what_it_needs(netns: NetNs, name: str) -> None:
    refused = drill(netns, name, prefix=NO_PRIVILEGE)
    assert refused.status == 2
    assert refused.complaint.startswith(
        f"sockmon: {name} makes a network namespace, which needs root"
    )
    assert refused.complaint.count("\n") == 1


def test_the_way_without_privilege_that_it_names_works(netns: NetNs, config: Path) -> None:
    named = ("unshare", "-rn")
    ended = drill(netns, "dead-peer", "--expect-alert", "--config", config, prefix=named)
    assert ended.status == 0, ended.complaint


def test_without_a_daemon_there_is_nothing_to_watch(netns: NetNs) -> None:
    refused = drill(netns, "close-wait", "--expect-alert")
    assert (refused.status, refused.said) == (1, "")
    assert refused.complaint == (
        f"sockmon: no daemon to watch at http://127.0.0.1:{PORT}: cannot connect: Connection "
        "refused\n"
    )


def test_without_a_daemon_there_are_sockets_to_look_at(netns: NetNs) -> None:
    ended = drill(netns, "close-wait", "--hold", 0.5)
    assert ended.status == 0, ended.complaint
    assert "daemon: none at" in ended.said
    assert (
        "after about 1m40s (1m until the detector finds it + two polls of 5s + 30s of `for`)"
        in ended.said
    )
    assert sockets(netns) == []


def test_a_daemon_that_goes_away_is_a_failure(
    netns: NetNs, daemon: RunningDaemon, config: Path
) -> None:
    config.write_text(config.read_text().replace("stale_after: 1s", "stale_after: 10m"))
    arguments = ("close-wait", "--expect-alert", "--config", config)
    with started(netns, *arguments) as running:
        running.until("made at port")
        assert daemon.stop() == 0
        running.end()
    assert running.status == 1
    assert (
        running.complaint
        == "sockmon: the daemon no longer answers: cannot connect: Connection refused\n"
    )
    assert sockets(netns) == []


def test_an_alert_that_does_not_come_is_a_failure(
    netns: NetNs, daemon: RunningDaemon, config: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.yaml"
    other.write_text(
        config.read_text().replace("stale_after: 1s", "stale_after: 1s, warning_sockets: 5")
    )
    arguments = ("close-wait", "--count", 8, "--expect-alert", "--config", other)
    ended = drill(netns, *arguments)  # too few by the daemon's own limits
    assert ended.status == 1
    assert "SockmonCloseWaitLeak has not fired within" in ended.complaint
    assert sockets(netns) == []
    daemon.wait_for_polls(1)


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("close-wait", signal.SIGINT),
        ("close-wait", signal.SIGTERM),
        ("last-ack", signal.SIGINT),
        ("last-ack", signal.SIGTERM),
        *((name, signal.SIGKILL) for name in (*ALERTS, *COUNTED, "half-close")),
    ],
)
def test_whatever_ends_it_nothing_stays(netns: NetNs, name: str, number: signal.Signals) -> None:
    with started(netns, name) as running:
        running.until("made at port")
        family = psutil.Process(running.process.pid).children(recursive=True)
        assert len(family) == (2 if name in APART else 1)
        if name in APART:
            # One end of a veth goes with the namespace of the other.
            its = f"/proc/{running.process.pid}/ns/net"
            netns.ip(f"link add witness type veth peer name far netns {its}")
        else:
            assert sockets(netns) != []
        running.process.send_signal(number)
        running.end()
    assert running.status == (-9 if number is signal.SIGKILL else 128 + number)
    assert running.complaint == ""
    eventually(lambda: [child for child in family if child.is_running()], until=[].__eq__)
    eventually(lambda: sockets(netns), until=[].__eq__)
    eventually(lambda: "witness" not in netns.run(["ip", "link"]).stdout)


def test_an_alert_that_was_there_before_proves_nothing(netns: NetNs, config: Path) -> None:
    netns.set_sysctl("net.ipv4.tcp_max_tw_buckets", 500)
    with (
        states.time_wait(netns, count=60),
        running_daemon(netns, "--config", str(config)) as before,
    ):
        eventually(lambda: before.samples("sockmon_alerts"))
        arguments = ("time-wait", "--count", 40, "--expect-alert", "--config", config)
        refused = drill(netns, *arguments)
    assert refused.status == 1
    assert re.match(
        r"sockmon: SockmonTimeWaitPressure is (pending|firing) before the drill", refused.complaint
    )


def test_a_reader_that_goes_away_ends_it(netns: NetNs) -> None:
    with started(netns, "close-wait", "--hold", 1) as running:
        running.until("made at port")
        assert running.process.stdout is not None
        running.process.stdout.close()
        assert running.process.wait(timeout=PATIENCE) == 1
    assert sockets(netns) == []


def test_it_ends_when_its_sockets_do(netns: NetNs) -> None:
    with started(netns, "close-wait") as running:
        running.until("made at port")
        (maker,) = psutil.Process(running.process.pid).children()
        os.kill(maker.pid, signal.SIGKILL)
        running.end()
    assert running.status == 1
    assert "the process that held the sockets has ended" in running.complaint
