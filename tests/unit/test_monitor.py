"""A poll never raises and never lies: what failed is told, and what it last said is kept."""

import copy
import errno
import itertools
import json
import math
import shutil
import socket
import struct
from dataclasses import replace
from pathlib import Path

import pytest

from sockmon.detect.registry import OF_EVENTS
from sockmon.export import json as export
from sockmon.kernel.family import Family
from sockmon.kernel.netlink.uapi import Protocol
from sockmon.model.moment import Moment
from sockmon.model.observation import NamespaceObservation, Observation
from sockmon.poll.poller import Poller
from sockmon.settings import Config, Events, Ports
from tests import forge
from tests.recorded import MIXED, QUIET
from tests.unit.golden import NOW, POLL_SECONDS, clock, observe
from tests.unit.test_metrics import Samples, by_state, samples
from tests.unit.transports import FaultyKernel, ForgedKernel
from tests.unit.users import as_nobody

INTERVAL = 5.0
INFO_BIT = 1 << (forge.INFO - 1)


class Polling:
    """A Poller and its kernel, polled every five seconds."""

    def __init__(self, recording: Path = MIXED, config: Config | None = None) -> None:
        self.kernel = FaultyKernel(recording)
        self.monitor = Poller(self.kernel.source, config or Config())
        self.at = Moment(1000.0, 1_700_000_000.0)

    def poll(self) -> Observation:
        self.at = Moment(self.at.monotonic + INTERVAL, self.at.wall + INTERVAL)
        return self.monitor.poll(clock(self.at))

    def shown(self, later: float = 0.0) -> Samples:
        """What /metrics shows after one more poll."""
        return samples(self.poll(), self.at.monotonic + later)


def namespace(observation: Observation) -> NamespaceObservation:
    (only,) = observation.namespaces
    return only


def protocols(shown: Samples) -> set[tuple[str, str]]:
    return {(its["protocol"], its["family"]) for its, _ in shown.get("sockmon_sockets", [])}


EVERYTHING = {(protocol, family) for protocol in ("tcp", "udp") for family in ("ipv4", "ipv6")}


class TestAGoodPoll:
    def test_tells_everything_and_no_failure(self) -> None:
        observation = Polling().poll()
        host = namespace(observation)
        assert observation.failures == ()
        assert None not in (host.tcp, host.udp, host.ports, host.limits)
        assert observation.statistics.polls == 1
        assert observation.statistics.duration_sum == POLL_SECONDS

    def test_leaves_earlier_observations_as_they_were(self) -> None:
        """The kernel's rows are decoded into the memory of the poll before."""
        polling = Polling()
        first = polling.poll()
        before = copy.deepcopy(export.observation(first))
        polling.kernel.source.diag.close()
        other = Poller(polling.kernel.source, Config())
        other.poll(clock())
        polling.poll()
        assert export.observation(first) == before

    def test_repeated_says_the_same(self) -> None:
        polling = Polling()
        first, second = polling.shown(), polling.shown()
        for name in ("sockmon_sockets", "sockmon_port_sockets", "sockmon_accept_queue_drops_total"):
            assert first[name] == second[name]
        assert second["sockmon_polls_total"] == [({}, 2)]

    def test_takes_a_changed_configuration(self) -> None:
        polling = Polling(config=Config(ports=Ports(top=1)))
        few = polling.shown()["sockmon_port_sockets"]
        polling.monitor.config = Config(ports=Ports(top=100))
        assert len(polling.shown()["sockmon_port_sockets"]) > len(few)

    def test_of_a_kernel_without_ipv6_asks_for_none_and_shows_none(self, tmp_path: Path) -> None:
        shutil.copytree(MIXED / "proc", tmp_path / "proc")
        (tmp_path / "proc/thread-self/net/sockstat6").unlink()
        kernel = ForgedKernel()
        shown = samples(Poller(kernel.source(tmp_path / "proc"), Config()).poll(clock()))
        asked = {request[16] for request in kernel.requests}
        assert asked == {forge.AF_INET, socket.AF_UNIX}
        assert protocols(shown) == {("tcp", "ipv4"), ("udp", "ipv4")}


class TestAFailedProtocol:
    def test_leaves_the_other_alone(self) -> None:
        polling = Polling()
        polling.kernel.fail([Protocol.UDP], number=errno.ENOBUFS)
        shown = polling.shown()
        assert protocols(shown) == {("tcp", "ipv4"), ("tcp", "ipv6")}
        assert shown["sockmon_port_sockets"]
        assert shown["sockmon_poll_last_success_timestamp_seconds"]
        failed = [({"netns": "host", "reason": "ENOBUFS"}, 1)]
        assert shown["sockmon_poll_errors_total"] == failed

    @pytest.mark.parametrize("family", Family)
    @pytest.mark.parametrize("protocol", [Protocol.TCP, Protocol.UDP])
    def test_is_not_shown_as_complete_when_one_family_failed(
        self, protocol: Protocol, family: Family
    ) -> None:
        polling = Polling()
        polling.kernel.fail([protocol], family, number=errno.ENOENT)
        observation = polling.poll()
        shown = samples(observation, polling.at.monotonic)
        other = "tcp" if protocol is Protocol.UDP else "udp"
        assert protocols(shown) == {(other, "ipv4"), (other, "ipv6")}
        assert {its["protocol"] for its, _ in shown["sockmon_port_sockets"]} == {other}
        (failure,) = observation.failures
        assert (failure.netns, failure.reason) == ("host", "ENOENT")
        assert f"{protocol.name.lower()}/{family.name.lower()}" in failure.message

    def test_of_tcp_shows_no_success(self) -> None:
        polling = Polling()
        polling.kernel.fail([Protocol.TCP], Family.IPV6, number=errno.ENOENT)
        assert "sockmon_poll_last_success_timestamp_seconds" not in polling.shown()

    def test_never_shows_zero(self) -> None:
        polling = Polling()
        polling.kernel.fail(number=errno.EPERM)
        assert "sockmon_sockets" not in polling.shown()


def refuse_info(_: Protocol, __: Family, extensions: int) -> OSError | None:
    return OSError(errno.ENOBUFS, "scripted") if extensions == INFO_BIT else None


class TestAFailedSecondLook:
    def test_costs_no_count(self) -> None:
        """tcp_info of a few sockets is asked for apart, and may be refused."""
        polling = Polling()
        polling.kernel.fault = refuse_info
        observation = polling.poll()
        assert [failure.reason for failure in observation.failures] == ["ENOBUFS"]
        shown = samples(observation, polling.at.monotonic)
        assert protocols(shown) == EVERYTHING
        assert shown["sockmon_port_sockets"]

    def test_is_not_taken_when_no_socket_needs_it(self) -> None:
        polling = Polling(QUIET)
        polling.kernel.fault = refuse_info
        assert polling.poll().failures == ()


class TestAfterAFailure:
    def test_the_last_values_stay_until_they_are_stale(self) -> None:
        polling = Polling()
        good = polling.shown()
        polling.kernel.fail(number=errno.ENOBUFS)
        for _ in range(3):
            shown = polling.shown()
            for name in (
                "sockmon_sockets",
                "sockmon_port_sockets",
                "sockmon_ephemeral_ports_usable",
            ):
                assert shown[name] == good[name]
        shown = polling.shown()
        assert protocols(shown) == set()
        assert "sockmon_port_sockets" not in shown
        assert shown["sockmon_time_wait_buckets"] == good["sockmon_time_wait_buckets"]

    def test_the_last_success_keeps_its_time(self) -> None:
        polling = Polling()
        name = "sockmon_poll_last_success_timestamp_seconds"
        good = polling.shown()[name]
        polling.kernel.fail([Protocol.TCP], number=errno.ENOBUFS)
        assert polling.shown()[name] == good
        polling.kernel.fail([Protocol.UDP], number=errno.ENOBUFS)
        assert polling.shown()[name] == [({"netns": "host"}, polling.at.wall)]

    def test_everything_comes_back(self) -> None:
        polling = Polling()
        good = polling.shown()
        polling.kernel.fail(number=errno.ENOBUFS)
        for _ in range(5):
            polling.poll()
        polling.kernel.mend()
        shown = polling.shown()
        for name in ("sockmon_sockets", "sockmon_port_sockets", "sockmon_accept_queue_drops_total"):
            assert shown[name] == good[name]

    def test_errors_are_counted_by_reason_for_ever(self) -> None:
        polling = Polling()
        polling.kernel.fail([Protocol.UDP], number=errno.ENOBUFS)
        polling.poll()
        polling.kernel.fail(number=errno.EPERM)
        polling.poll()
        polling.kernel.mend()
        assert polling.shown()["sockmon_poll_errors_total"] == [
            ({"netns": "host", "reason": "ENOBUFS"}, 1),
            ({"netns": "host", "reason": "EPERM"}, 2),
        ]

    def test_only_the_last_polls_failures_are_told(self) -> None:
        polling = Polling()
        polling.kernel.fail(number=errno.EPERM)
        assert len(polling.poll().failures) == 2
        polling.kernel.mend()
        assert polling.poll().failures == ()


def test_while_the_events_helper_fails_no_alert_of_what_it_counts_ends() -> None:
    failing = Events(enabled=True, helper_socket="/nowhere/socket")
    for events, looked in ((failing, False), (Events(), True)):
        observation = Polling(config=Config(events=events)).poll()
        diagnosed = observation.diagnosed()
        for detector in OF_EVENTS:
            assert observation.looked(diagnosed, "host", detector) == looked


class TestAFailedProc:
    @pytest.fixture
    def polling(self, tmp_path: Path) -> Polling:
        shutil.copytree(MIXED, tmp_path / "recording")
        return Polling(tmp_path / "recording")

    def test_without_the_port_range_no_port_is_shown_but_every_state_is(
        self, polling: Polling
    ) -> None:
        (polling.kernel.source.proc / "sys/net/ipv4/ip_local_port_range").unlink()
        shown = polling.shown()
        assert protocols(shown) == EVERYTHING
        assert "sockmon_port_sockets" not in shown
        assert "sockmon_ephemeral_ports_usable" not in shown
        assert shown["sockmon_poll_errors_total"] == [({"netns": "host", "reason": "ENOENT"}, 1)]

    def test_where_settings_are_hidden_all_else_is_judged(self, polling: Polling) -> None:
        """As with ProcSubset=pid."""
        whole = detectors(polling.shown())
        shutil.rmtree(polling.kernel.source.proc / "sys")
        polling.at = Moment(polling.at.monotonic + 60, polling.at.wall + 60)
        observation = polling.poll()
        assert [failure.is_optional for failure in observation.failures] == [True]
        assert "ProcSubset=pid" in observation.failures[0].message
        for shown in (samples(observation, polling.at.monotonic), polling.shown()):
            judged = detectors(shown)
            assert whole - judged == {
                *("ephemeral_port_pressure", "fin_wait2_stuck", "orphan_pressure", "syn_backlog"),
                *("tcp_memory_pressure", "time_wait_pressure"),
            }
            assert shown["sockmon_port_sockets"]
            assert "sockmon_ephemeral_ports_usable" not in shown
            assert "sockmon_poll_errors_total" not in shown

    def test_the_last_ports_stay_until_they_are_stale(self, polling: Polling) -> None:
        good = polling.shown()
        (polling.kernel.source.proc / "sys/net/ipv4/ip_local_port_range").write_text("rubbish")
        # A setting is believed for 30 s, and after that what was made of it for 3 intervals.
        for _ in range(8):
            assert polling.shown()["sockmon_port_sockets"] == good["sockmon_port_sockets"]
        shown = polling.shown()
        assert "sockmon_port_sockets" not in shown
        assert by_state(shown["sockmon_sockets"]) == by_state(good["sockmon_sockets"])

    def test_a_detector_that_cannot_look_shows_no_zero(self, polling: Polling) -> None:
        assert "time_wait_pressure" in detectors(polling.shown())
        (polling.kernel.source.proc / "thread-self/net/sockstat").unlink()
        shown = detectors(polling.shown())
        assert "time_wait_pressure" not in shown
        assert "close_wait_leak" in shown

    def test_a_missing_counter_is_absent_and_not_zero(self, polling: Polling) -> None:
        (polling.kernel.source.proc / "thread-self/net/sockstat").unlink()
        shown = polling.shown()
        assert "sockmon_time_wait_buckets" not in shown
        assert "sockmon_orphan_sockets" not in shown
        assert "sockmon_time_wait_buckets_limit" in shown

    def test_no_proc_at_all_is_nothing_but_failures(self, polling: Polling) -> None:
        shutil.rmtree(polling.kernel.source.proc)
        observation = polling.poll()
        assert {failure.reason for failure in observation.failures} == {"ENOENT"}

    def test_a_proc_that_may_not_be_read_is_nothing_but_failures(self, tmp_path: Path) -> None:
        shutil.copytree(MIXED / "proc", tmp_path / "proc")
        (tmp_path / "proc").chmod(0)
        monitor = Poller(ForgedKernel().source(tmp_path / "proc"), Config())
        try:
            with as_nobody():
                observation = monitor.poll(clock())
        finally:
            (tmp_path / "proc").chmod(0o755)
        assert {failure.reason for failure in observation.failures} == {"EACCES"}


class TestAListenerThatGoesAway:
    def test_keeps_its_sockets_while_they_live(self) -> None:
        """On an ephemeral port, which is named once it was listened on for a minute.

        A listener that is gone sooner, such as FTP's for one transfer, never is.
        """
        listener = forge.socket(state=10, local_port=forge.port(40000), cookie=1)
        served = forge.socket(
            state=8, local_port=forge.port(40000), remote_port=forge.port(50000), cookie=2
        )
        kernel = ForgedKernel(tcp=[listener, served])
        monitor = Poller(kernel.source(QUIET / "proc"), Config())
        states = samples(monitor.poll(clock()))["sockmon_port_sockets"]
        assert by_state(states, direction="inbound", port="other") == {"close_wait": 1, "listen": 1}
        later = replace(NOW, monotonic=NOW.monotonic + 60)
        states = samples(monitor.poll(clock(later)), later.monotonic)["sockmon_port_sockets"]
        assert by_state(states, direction="inbound", port="40000") == {"close_wait": 1, "listen": 1}
        restarted = Poller(kernel.source(QUIET / "proc"), Config())
        restarted.recall(json.loads(json.dumps(monitor.remember()())))
        kernel.sockets[Protocol.TCP] = [served]
        states = samples(monitor.poll(clock(later)), later.monotonic)["sockmon_port_sockets"]
        assert by_state(states, direction="inbound", port="40000") == {"close_wait": 1}
        named = {its["state"] for its, _ in states if its["port"] == "40000"}
        assert named == {"close_wait", "listen"}, "at zero, once shown"
        states = samples(restarted.poll(clock(later)), later.monotonic)["sockmon_port_sockets"]
        assert by_state(states, direction="inbound") == {"close_wait": 1}, "known over a restart"


def test_what_conntrack_drops_is_found(tmp_path: Path) -> None:
    """In two polls together: the kernel counts, so nothing else need agree."""
    proc = tmp_path / "proc"
    shutil.copytree(QUIET / "proc", proc)
    (proc / "sys/net/netfilter").mkdir(exist_ok=True)
    (proc / "sys/net/netfilter/nf_conntrack_count").write_text("7\n")
    (proc / "sys/net/netfilter/nf_conntrack_max").write_text("100\n")
    counters = proc / "thread-self/net/stat/nf_conntrack"
    counters.parent.mkdir()
    monitor = Poller(ForgedKernel().source(proc), Config())
    for n, total in enumerate((5, 10, 16, 16)):
        counters.write_text(f"drop insert_failed early_drop\n{total:08x} 00000000 00000000\n")
        observation = monitor.poll(clock(Moment(100.0 + 5 * n, 1e9)))
    assert observation.failures == ()
    (host,) = observation.namespaces
    assert host.diagnosis is not None
    (found,) = host.diagnosis.value.findings
    assert found.detector == "conntrack_pressure"
    assert found.summary.startswith("the conntrack table was full: 11 packets were dropped")
    dropped = samples(observation, 115.0)["sockmon_conntrack_drops_total"]
    assert dropped == [
        ({"netns": "host", "reason": reason}, n)
        for reason, n in (("drop", 16), ("early_drop", 0), ("insert_failed", 0))
    ]


def test_what_a_namespace_cannot_know_has_no_zero(tmp_path: Path) -> None:
    """A child namespace has neither tcp_max_orphans nor tcp_mem."""
    proc = tmp_path / "proc"
    shutil.copytree(QUIET / "proc", proc)
    for name in ("tcp_max_orphans", "tcp_mem"):
        (proc / "sys/net/ipv4" / name).unlink(missing_ok=True)
    observation = Poller(ForgedKernel().source(proc), Config()).poll(clock())
    shown = samples(observation)
    told = {its["detector"] for its, _ in shown["sockmon_findings"]}
    assert not {"orphan_pressure", "tcp_memory_pressure"} & told
    assert "close_wait_leak" in told
    assert "sockmon_orphan_sockets_limit" not in shown
    assert "sockmon_tcp_memory_limit_bytes" not in shown
    (host,) = observation.namespaces
    assert host.diagnosis is not None
    assert host.diagnosis.value.unavailable == frozenset(), "nothing is amiss"


def test_a_long_read_makes_no_age_higher() -> None:
    """The kernel tells how long ago, at the moment at which it is asked."""
    heard = struct.pack("=II", 0, 1000).rjust(60, b"\1")  # data received, ACK received
    waiting = forge.socket(
        forge.attribute(forge.INFO, heard),
        state=8,
        local_port=forge.port(80),
        remote_port=forge.port(50000),
        cookie=1,
        inode=1,
    )
    kernel = ForgedKernel(tcp=[waiting])
    begun, read, later = (Moment(at, 1e9 + at) for at in (100.0, 104.0, 105.0))
    monitor = Poller(kernel.source(QUIET / "proc"), Config())
    slow = itertools.chain([begun], itertools.repeat(read))
    oldest = []
    for time in (lambda: next(slow), lambda: later):
        observation = monitor.poll(time)
        (host,) = observation.namespaces
        assert host.diagnosis is not None
        assert host.diagnosis.at == observation.at
        oldest.append(host.diagnosis.value.oldest_close_wait)
    assert oldest == [1.0, 2.0]


class TestAsJson:
    @pytest.mark.parametrize("recording", [MIXED, QUIET], ids=lambda path: path.name)
    def test_is_plain_json_with_the_same_totals(self, recording: Path) -> None:
        observation = observe(recording)
        told = json.loads(json.dumps(export.observation(observation), allow_nan=False))
        (host,) = told["namespaces"]
        shown = samples(observation)
        for protocol in ("tcp", "udp"):
            for family in ("ipv4", "ipv6"):
                states = {s: n for s, n in host[protocol][family].items() if n}
                labels = {"protocol": protocol, "family": family}
                assert states == by_state(shown["sockmon_sockets"], **labels)
        for group in host["ports"]["groups"]:
            labels = {"direction": group["direction"], "port": str(group["port"])}
            labels["protocol"] = "tcp"
            states = {s: n for s, n in group["states"].items() if n}
            assert states == by_state(shown["sockmon_port_sockets"], **labels)
        assert host["ports"]["ephemeral"]["exhaustion_seconds"] is None, "infinity is no JSON"
        assert math.inf in [v for _, v in shown["sockmon_ephemeral_ports_exhaustion_seconds"]]
        assert host["limits"]["tcp_events"] == {
            its["event"]: value for its, value in shown["sockmon_tcp_events_total"]
        }

    def test_names_the_busiest_destinations(self) -> None:
        ports = export.observation(observe(MIXED))["namespaces"][0]["ports"]
        assert ports is not None
        told = ports["ephemeral"]
        first = told["busiest"][0]
        assert (first["source"], first["destination"]) == ("127.0.0.1", "127.0.0.1")
        assert first["used"] == sum(first["states"].values()) > 400

    def test_says_when_each_part_was_true_and_what_failed(self) -> None:
        polling = Polling()
        polling.poll()
        polling.kernel.fail([Protocol.UDP], number=errno.ENOBUFS)
        told = json.loads(json.dumps(export.observation(polling.poll()), allow_nan=False))
        (host,) = told["namespaces"]
        assert told["taken_at"] == host["tcp"]["taken_at"] == polling.at.wall
        assert host["udp"]["taken_at"] == polling.at.wall - INTERVAL
        assert told["failures"][0]["reason"] == "ENOBUFS"
        assert told["polls"] == 2

    def test_of_nothing_that_ever_succeeded_is_null(self) -> None:
        polling = Polling()
        polling.kernel.fail(number=errno.EPERM)
        told = json.loads(json.dumps(export.observation(polling.poll()), allow_nan=False))
        (host,) = told["namespaces"]
        assert (host["tcp"], host["udp"], host["ports"]) == (None, None, None)

    def test_of_other_groups_says_other(self) -> None:
        groups = export.observation(observe(MIXED, Config(ports=Ports(top=1))))["namespaces"][0]
        assert groups["ports"] is not None
        assert "other" in {group["port"] for group in groups["ports"]["groups"]}


def detectors(shown: Samples) -> set[str]:
    """The detectors that have a series."""
    return {labels["detector"] for labels, _ in shown["sockmon_findings"]}
