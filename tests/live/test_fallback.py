"""Where sock_diag is refused, sockets are counted from /proc/net, and everybody says so."""

import json
import sys
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from sockmon.clock import now
from sockmon.kernel.errors import DumpError, ProcError
from sockmon.kernel.fallback import FallbackSource
from sockmon.kernel.interfaces import Transport
from sockmon.kernel.netlink.sockdiag import NetlinkTransport, SockDiag
from sockmon.kernel.netlink.source import KernelSource
from sockmon.model.states import TcpState
from sockmon.poll.poller import Poller
from sockmon.settings import Config
from tests.lab import AddressKind, NetNs, eventually, states
from tests.running import running_daemon
from tests.without_sock_diag import __name__ as launcher

pytestmark = pytest.mark.root

REFUSING = (sys.executable, "-m", launcher)
SOCKMON = (sys.executable, "-m", "sockmon")
REASON = "Operation not permitted"
SENTENCE = "/proc/net is read instead, so sockets are counted, but not diagnosed"


def counted(text: str) -> Counter[tuple[str, str]]:
    return Counter({(g["state"], g["family"]): g["count"] for g in json.loads(text)["groups"]})


@pytest.mark.parametrize("reason", ["EACCES", "EAFNOSUPPORT", "EPERM", "EPROTONOSUPPORT"])
def test_count_counts_the_same_and_says_what_it_read(netns: NetNs, reason: str) -> None:
    counting = (*SOCKMON, "count", "--by", "state,family", "--format", "json")
    with (
        states.close_wait(netns, AddressKind.IPV4, count=3),
        states.time_wait(netns, AddressKind.IPV6, count=4),
        states.established(netns, AddressKind.MAPPED, count=2),
    ):
        whole = netns.run(counting)
        less = netns.run([*REFUSING, reason, *counting])
    assert counted(less.stdout) == counted(whole.stdout)
    assert whole.stderr == ""
    assert reason in less.stderr
    assert SENTENCE in less.stderr
    assert json.loads(less.stdout)["hints"] == [less.stderr.strip().removeprefix("sockmon: ")]


def test_doctor_says_that_it_could_not_look(netns: NetNs) -> None:
    with states.close_wait(netns, AddressKind.IPV4, count=3):
        done = netns.run([*REFUSING, "EPERM", *SOCKMON, "doctor"], check=False)
    assert done.returncode == 3
    assert done.stdout.startswith("UNKNOWN: ")
    said = f"could not read: sock_diag dump of tcp/ipv4: EPERM ({REASON}); {SENTENCE}"
    assert said in done.stdout
    assert "3 of them in CLOSE_WAIT" in done.stdout


def test_the_daemon_counts_and_marks_what_it_shows(netns: NetNs) -> None:
    with (
        states.close_wait(netns, AddressKind.IPV4, count=7),
        running_daemon(netns, prefix=(*REFUSING, "EAFNOSUPPORT")) as daemon,
    ):
        labels = {"netns": "host", "protocol": "tcp", "family": "ipv4", "state": "close_wait"}
        # For a moment, a connection of whoever asks may be in that state too.
        eventually(lambda: daemon.value("sockmon_sockets", **labels) == 7)
        assert daemon.value("sockmon_poll_errors_total", netns="host", reason="EAFNOSUPPORT") > 0
        assert daemon.samples("sockmon_findings") == {}, "it has not diagnosed"
        answer: dict[str, Any] = json.loads(daemon.get("/api/v1/observation").body)
        (host,) = answer["namespaces"]
        assert host["degraded"]
        assert host["findings"] is None
        assert SENTENCE in answer["failures"][0]["message"]
        assert daemon.log().count(SENTENCE) == 1


class Refusal:
    """A kernel that refuses sock_diag for a while."""

    def __init__(self) -> None:
        self.refuses = True

    def open(self) -> Transport:
        if self.refuses:
            raise PermissionError(1, "no")
        return NetlinkTransport()


def test_what_was_refused_is_asked_again_at_each_poll(netns: NetNs) -> None:
    kernel = Refusal()
    source = replace(KernelSource.live(), diag=SockDiag(kernel.open))
    poller = Poller(source, Config())
    with states.close_wait(netns, AddressKind.IPV4, count=3):
        before = netns.call(poller.poll, now)
        kernel.refuses = False
        after = netns.call(poller.poll, now)
    poller.close()
    assert [failure.reason for failure in before.failures] == ["EPERM"]
    assert after.failures == ()
    for observation, degraded in ((before, True), (after, False)):
        (host,) = observation.namespaces
        assert host.degraded is degraded
        assert host.tcp is not None
        assert host.tcp.value[4][TcpState.CLOSE_WAIT] == 3
        assert (host.diagnosis is None) is degraded


def test_other_errors_are_errors(netns: NetNs) -> None:
    def busy() -> Transport:
        raise OSError(16, "busy")

    source = FallbackSource(replace(KernelSource.live(), diag=SockDiag(busy)))
    with pytest.raises(DumpError, match="EBUSY"):
        netns.call(source.tcp, source.families())
    assert not source.degraded


def test_a_file_that_is_cut_short_is_no_zero(tmp_path: Any) -> None:
    directory = tmp_path / "thread-self/net"
    directory.mkdir(parents=True)
    (directory / "tcp").write_text("  sl  local_address rem_address   st\n   0: 0100007F:1F90 000")
    source = replace(KernelSource.live(), diag=SockDiag(Refusal().open), proc=tmp_path)
    fallback = FallbackSource(source)
    with pytest.raises(ProcError, match="malformed"):
        fallback.tcp(fallback.families())
