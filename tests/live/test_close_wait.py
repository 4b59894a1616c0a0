"""The CLOSE_WAIT leak and what only looks like one, made for real."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from sockmon.model.finding import Finding, Quantity
from tests.lab import AddressKind, NetNs, eventually, experiments
from tests.polling import Polling

pytestmark = pytest.mark.root

#: As the defaults, in seconds rather than minutes.
QUICK = "detect: {close_wait_leak: {stale_after: 1s}}"


@pytest.fixture
def watch(netns: NetNs) -> Iterator[Callable[[str], Polling]]:
    with ExitStack() as stack:

        def start(config: str = QUICK) -> Polling:
            poller = Polling(netns, config)
            stack.callback(poller.close)
            return poller

        yield start


def leak_of(poller: Polling) -> tuple[Finding, ...]:
    return tuple(found for found in poller.findings() if found.detector == "close_wait_leak")


@pytest.mark.parametrize("kind", list(AddressKind))
def test_a_leak_is_found_with_its_evidence(
    netns: NetNs, watch: Callable[[str], Polling], kind: AddressKind
) -> None:
    with experiments.unclosed(netns, kind, count=12) as held:
        poller = watch(QUICK)
        # They become stale one after the other.
        (leak,) = eventually(
            lambda: leak_of(poller), until=lambda found: [f.value for f in found] == [12]
        )
        assert (leak.severity, leak.limit) == ("warning", 10)
        assert (leak.subject.direction, leak.subject.port) == ("inbound", held.port)
        oldest = leak.evidence["oldest"]
        assert isinstance(oldest, Quantity)
        assert oldest >= (1, "seconds")
        assert leak.evidence["unread"] == Quantity(12 * 21, "bytes")
        assert leak.evidence["not_read_to_the_end"] == Quantity(12, "sockets")
        expected = "::1" if kind is AddressKind.IPV6 else "127.0.0.1"
        assert leak.evidence["peers"] == ((expected, Quantity(12, "sockets")),)
        assert leak.owner is not None
        assert [process.pid for process in leak.owner.processes] == [os.getpid()]
        assert leak.owner.processes[0].fds is not None


def test_nine_are_no_finding(netns: NetNs, watch: Callable[[str], Polling]) -> None:
    with experiments.unclosed(netns, count=9):
        poller = watch(QUICK)
        oldest = eventually(
            lambda: poller.diagnosis().oldest_close_wait, until=lambda age: age > 1.5
        )
        assert oldest > 1.5
        assert leak_of(poller) == ()


def test_ages_are_known_at_the_very_first_look(
    netns: NetNs, watch: Callable[[str], Polling]
) -> None:
    with experiments.unclosed(netns, count=3):
        earlier = watch(QUICK)
        eventually(lambda: earlier.diagnosis().oldest_close_wait, until=lambda age: age > 1.5)
        # A monitor that has never seen these sockets knows it too, from the kernel.
        assert watch(QUICK).diagnosis().oldest_close_wait > 1.5


def test_a_half_close_in_use_is_no_leak(netns: NetNs, watch: Callable[[str], Polling]) -> None:
    with experiments.half_close(netns, count=12):
        poller = watch(QUICK)
        eventually(lambda: poller.diagnosis().oldest_close_wait, until=lambda age: age > 2)
        assert leak_of(poller) == ()
        assert poller.diagnosis().stale == ()


def test_a_burst_that_passes_is_no_leak(netns: NetNs, watch: Callable[[str], Polling]) -> None:
    poller = watch("")
    with experiments.unclosed(netns, count=500):
        assert leak_of(poller) == ()  # all are younger than a minute


def test_a_killed_process_takes_its_leak_with_it(
    netns: NetNs, watch: Callable[[str], Polling]
) -> None:
    with experiments.process_killed(netns, count=15) as leaking:
        poller = watch(QUICK)
        (leak,) = eventually(lambda: leak_of(poller))
        assert leak.owner is not None
        assert [process.pid for process in leak.owner.processes] == [leaking.process.pid]
        leaking.kill()
        assert eventually(lambda: leak_of(poller) == ())


def test_read_to_the_end_is_told_from_never_read(
    netns: NetNs, watch: Callable[[str], Polling]
) -> None:
    with experiments.unclosed(netns, count=10) as held:
        for server in held.sockets:
            while server.recv(4096):
                pass
        poller = watch(QUICK)
        (leak,) = eventually(lambda: leak_of(poller))
        assert leak.evidence["not_read_to_the_end"] == Quantity(0, "sockets")
        assert leak.evidence["unread"] == Quantity(0, "bytes")


def test_doctor_tells_a_leak_and_exits_by_it(netns: NetNs, tmp_path: Path) -> None:
    config = tmp_path / "quick.yaml"
    config.write_text(QUICK)
    doctor = [sys.executable, "-m", "sockmon", "doctor", "--config", str(config)]
    healthy = netns.run(doctor)
    assert healthy.stdout.startswith("OK: the sockets are healthy\n")
    with experiments.unclosed(netns, count=10) as held:

        def ask() -> subprocess.CompletedProcess[str]:
            return netns.run([*doctor, "--format", "json"], check=False)

        sick = eventually(ask, until=lambda ended: ended.returncode == 1)
        answer = json.loads(sick.stdout)
        assert answer["status"] == "warning"
        (finding,) = answer["findings"]
        assert finding["detector"] == "close_wait_leak"
        assert finding["subject"]["port"] == held.port
        assert finding["subject"]["owner"]["pid"] == os.getpid()
        text = netns.run(doctor, check=False)
        assert text.returncode == 1
        assert text.stdout.startswith("WARNING: ")
        assert f"ss -tnpo state close-wait '( sport = :{held.port} )'" in text.stdout


def test_unread_bytes_leave_the_fin_out(netns: NetNs, watch: Callable[[str], Polling]) -> None:
    with experiments.unclosed(netns, count=2) as held:
        poller = watch(QUICK)

        def stale() -> list[tuple[int, int]]:
            return [(group.sockets, group.unread_bytes) for group in poller.diagnosis().stale]

        assert eventually(stale, until=lambda seen: seen == [(2, 42)])
        (group,) = poller.diagnosis().stale
        assert poller.diagnosis().mended == ()
    assert eventually(stale, until=lambda seen: seen == []) == []
    assert poller.diagnosis().mended == (("inbound", held.port, group.owner),)
