"""Who holds sockets, and how many descriptors: programs of their own, found and named."""

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from sockmon.model.finding import Command, Finding, Subject
from sockmon.model.observation import OwnerDescriptors
from tests.lab import NetNs, eventually
from tests.lab.holder import GATE
from tests.lab.holders import PROGRAM, holding
from tests.polling import Polling

pytestmark = pytest.mark.root

QUICK = "detect: {close_wait_leak: {stale_after: 1s}, fin_wait2_stuck: {enabled: false}}"

Watch = Callable[[str], Polling]


@pytest.fixture
def watch(netns: NetNs) -> Iterator[Watch]:
    with ExitStack() as stack:

        def start(config: str = QUICK) -> Polling:
            poller = Polling(netns, config)
            stack.callback(poller.close)
            return poller

        yield start


def found(poller: Polling, count: int = 1) -> tuple[Finding, ...]:
    """As many findings as soon as there are."""
    return eventually(poller.findings, until=lambda findings: len(findings) == count)


def pids(finding: Finding) -> set[int]:
    assert finding.owner is not None
    return {process.pid for process in finding.owner.processes}


class TestALeak:
    def test_over_many_ports_is_one_of_its_owner(self, netns: NetNs, watch: Watch) -> None:
        with holding(netns, "many_ports", 60) as holder:
            poller = watch(QUICK)
            (leak,) = eventually(
                poller.findings, until=lambda findings: [f.value for f in findings] == [60]
            )
            assert leak.subject == Subject("outbound", None, "python_holder.py")
            assert "holder.py has not closed 60 connections" in leak.summary
            assert "(made to 60 ports of 127.0.0.1; " in leak.summary
            assert pids(leak) == holder.pids
            (group,) = poller.diagnosis().stale
            assert (group.port, group.sockets) == (None, 60)

    def test_that_a_child_shares_names_both(self, netns: NetNs, watch: Watch) -> None:
        with holding(netns, "inherited", 20) as holder:
            (leak,) = found(watch(QUICK))
            assert pids(leak) == holder.pids
            assert leak.subject.owner == "python_holder.py"
            restart = leak.advice[0].text
            assert f"PID {holder.process.pid}" in restart
            assert f"cat, PID {holder.children[0]}" in restart

    def test_names_a_process_that_joins_later(
        self, netns: NetNs, watch: Watch, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("sockmon.kernel.inspector._BELIEVED_SECONDS", 0.2)
        with holding(netns, "joined", 20) as holder:
            poller = watch(QUICK)
            (leak,) = found(poller)
            assert pids(leak) == holder.pids
            (child,) = holder.go_on()
            expected = {holder.process.pid, child}
            eventually(lambda: [pids(f) for f in poller.findings()], until=[expected].__eq__)
            assert poller.findings()[0].key == leak.key

    def test_of_a_process_that_waits_in_the_kernel_says_so(
        self, netns: NetNs, watch: Watch, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("sockmon.kernel.inspector._BELIEVED_SECONDS", 0.2)
        with holding(netns, "in_the_kernel", 20) as holder:
            pid = holder.process.pid
            try:
                poller = watch(QUICK)
                said = f"; PID {pid} waits in the kernel (state D)"
                (leak,) = eventually(
                    poller.findings, until=lambda its: [said in f.summary for f in its] == [True]
                )
                assert leak.advice[0].command == Command(f"cat /proc/{pid}/stack", "here")
            finally:
                os.close(os.open(f"/proc/{pid}/fd/{GATE}", os.O_WRONLY | os.O_NONBLOCK))

    def test_of_a_process_that_is_stopped_is_not_answered_with_a_restart(
        self, netns: NetNs, watch: Watch, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("sockmon.kernel.inspector._BELIEVED_SECONDS", 0.2)
        with holding(netns, "many_ports", 20) as holder:
            pid = holder.process.pid
            os.kill(pid, signal.SIGSTOP)
            poller = watch(QUICK)
            said = f"; PID {pid} is stopped (SIGSTOP)"
            (leak,) = eventually(
                poller.findings, until=lambda its: [f.summary.endswith(said) for f in its] == [True]
            )
            assert leak.advice[0].command == Command(f"kill -CONT {pid}", "here", "changes")
            os.kill(pid, signal.SIGCONT)
            eventually(
                poller.findings, until=lambda its: ["stopped" in f.summary for f in its] == [False]
            )

    def test_of_two_services_on_one_port_is_two(self, netns: NetNs, watch: Watch) -> None:
        with holding(netns, "two_services", 12) as holder:
            leaks = eventually(
                watch(QUICK).findings,
                until=lambda findings: sorted(f.value for f in findings) == [12, 17],
            )
            first, second = sorted(leaks, key=lambda leak: leak.value)
            assert first.subject == Subject("inbound", holder.port, "python_holder.py@localhost")
            assert second.subject == Subject("inbound", holder.port, "python_holder.py@127.0.0.2")
            assert pids(first) == {holder.process.pid}
            assert pids(second) == set(holder.children)

    def test_of_a_program_with_a_long_name_names_it_in_full(
        self, netns: NetNs, watch: Watch, tmp_path: Path
    ) -> None:
        program = tmp_path / "an-order-service-with-a-long-name.py"
        shutil.copy(PROGRAM, program)
        with holding(netns, "inherited", 12, program):
            (leak,) = found(watch(QUICK))
            assert f"{program.name} has not closed 12 connections" in leak.summary


class TestIsNoLeak:
    def test_a_pool_at_rest(self, netns: NetNs, watch: Watch) -> None:
        with holding(netns, "pool", 20):
            poller = watch(QUICK)
            (note,) = eventually(lambda: (poller.poll(), poller.diagnosis().notes)[1])
            assert "keeps 20 connections that its peers have closed" in note.summary
            assert "a pool at rest, no harm unless it grows" in note.summary
            assert poller.findings() == ()
            assert poller.diagnosis().stale == ()

    def test_a_half_close_whose_client_waits(self, netns: NetNs, watch: Watch) -> None:
        netns.set_sysctl("net.ipv4.tcp_fin_timeout", 1)
        with holding(netns, "half_closed", 12):
            poller = watch("detect: {close_wait_leak: {stale_after: 1s}}")
            (note,) = eventually(lambda: (poller.poll(), poller.diagnosis().notes)[1])
            assert note.summary.startswith("12 clients on this host have sent all they want")
            assert poller.findings() == ()


class TestDescriptors:
    def test_that_are_used_up(self, netns: NetNs, watch: Watch) -> None:
        with holding(netns, "descriptors", 100) as holder:
            poller = watch("")
            (pressure,) = found(poller)
            assert (pressure.detector, pressure.severity) == ("descriptor_pressure", "critical")
            assert "uses all of its 100 file descriptors" in pressure.summary
            assert pids(pressure) == holder.pids
            assert f"ESTABLISHED accepted on port {holder.port}" in str(
                pressure.evidence["connections"]
            )
            assert poller.diagnosis().descriptors == (
                OwnerDescriptors("python_holder.py", 100, 100),
            )

    def test_that_will_be(self, netns: NetNs, watch: Watch) -> None:
        with holding(netns, "growing", 128):
            poller = watch("detect: {descriptor_pressure: {warning_ratio: 0.95}}")
            pressure = eventually(
                poller.findings, until=lambda findings: any(f.deadline for f in findings)
            )[0]
            assert pressure.severity == "critical"
            assert " more a minute" in pressure.summary
            assert pressure.deadline is not None
            assert pressure.deadline.seconds < 600

    def test_of_sockets_that_the_kernel_has_closed(self, netns: NetNs, watch: Watch) -> None:
        with holding(netns, "closed", 120) as holder:
            (closed,) = found(watch(""))
            assert (closed.detector, closed.value) == ("descriptor_pressure", 120)
            assert closed.summary.endswith(
                "holder.py holds 120 sockets that the kernel has already closed: they never come "
                "back"
            )
            assert pids(closed) == holder.pids

    def test_of_a_few_such_sockets_is_a_note(self, netns: NetNs, watch: Watch) -> None:
        with holding(netns, "closed", 25):
            poller = watch("")
            (note,) = eventually(lambda: poller.diagnosis().notes)
            assert "holds 25 sockets that the kernel has already closed: no harm if" in note.summary
            assert poller.findings() == ()

    def test_doctor_says_it_at_one_look(self, netns: NetNs) -> None:
        doctor = [sys.executable, "-m", "sockmon", "doctor", "--format", "json"]
        with holding(netns, "descriptors", 100) as holder:
            answer = json.loads(netns.run(doctor, check=False).stdout)
            (finding,) = answer["findings"]
            assert finding["detector"] == "descriptor_pressure"
            assert [owner["pid"] for owner in finding["owners"]] == [holder.process.pid]
