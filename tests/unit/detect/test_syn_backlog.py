"""Half-open connections against what a listener has room for."""

from dataclasses import replace
from typing import Any

import pytest

from sockmon.model.detector_input import DetectorInput
from sockmon.model.finding import Subject
from sockmon.model.limits import KernelLimits
from sockmon.model.states import TcpState
from tests.unit.detect.builders import (
    LIMITS,
    SETTINGS,
    UNKNOWN,
    UNSHOWN,
    Sock,
    accepted,
    advises,
    commands,
    facts,
    group_of,
    judge,
    listening,
    owned,
    remembering,
    sight,
    value,
)

JUDGE = judge("syn_backlog")
HALF_OPEN = accepted(TcpState.SYN_RECV, timer=1, inode=0, cgroup_id=0)
DROPS = {"TCPReqQFullDrop": 4.0}
COOKIES = {"TCPReqQFullDoCookies": 4.0}


def cookies(setting: int, max_syn_backlog: int = 1024) -> KernelLimits:
    settings = replace(SETTINGS, syncookies=setting, max_syn_backlog=max_syn_backlog)
    return replace(LIMITS, settings=settings)


def half_open(
    count: int, limits: KernelLimits = LIMITS, listener: Sock | None = None, **others: Any
) -> DetectorInput:
    return sight([listener or listening(limit=100), *HALF_OPEN.times(count)], limits, **others)


def test_its_limit_and_hysteresis() -> None:
    assert JUDGE.all(half_open(49)) == []
    finding = JUDGE.one(half_open(50))
    assert finding.severity == "warning"
    assert JUDGE.severity(remembering(half_open(45), finding, "warning")) == "warning"
    assert JUDGE.severity(remembering(half_open(44), finding, "warning")) is None


def test_a_full_backlog_with_cookies_is_a_warning() -> None:
    assert JUDGE.severity(half_open(100)) == "warning"


def test_the_listeners_limit_counts_whatever_tcp_max_syn_backlog() -> None:
    assert JUDGE.all(half_open(49, cookies(1, 16))) == []


class TestWithoutCookies:
    def test_a_full_backlog_is_critical(self) -> None:
        assert JUDGE.severity(half_open(99, cookies(0))) == "warning"
        finding = JUDGE.one(half_open(100, cookies(0)))
        assert finding.severity == "critical"
        again = half_open(90, cookies(0))
        assert JUDGE.severity(remembering(again, finding, "critical")) == "critical"

    def test_three_quarters_of_tcp_max_syn_backlog_are_a_bound_too(self) -> None:
        assert value(JUDGE.one(half_open(30, cookies(0, 40))), "backlog") == 30
        assert JUDGE.severity(half_open(30, cookies(0, 40))) == "critical"


class TestCounters:
    def test_of_drops_are_critical(self) -> None:
        assert JUDGE.severity(half_open(1, events=DROPS)) == "critical"

    def test_of_cookies_are_a_warning(self) -> None:
        assert JUDGE.severity(half_open(1, events=COOKIES)) == "warning"

    def test_that_stand_still_are_nothing(self) -> None:
        still = {"TCPReqQFullDrop": 0.0, "TCPReqQFullDoCookies": 0.0, "SyncookiesSent": 9.0}
        assert JUDGE.all(half_open(1, events=still)) == []

    def test_of_cookies_mean_nothing_where_every_syn_gets_one(self) -> None:
        assert JUDGE.all(half_open(1, cookies(2), events=COOKIES)) == []

    def test_are_the_fullest_ports(self) -> None:
        socks = [listening(80), listening(443), *HALF_OPEN.times(9)]
        socks += replace(HALF_OPEN, local_port=80).times(2)
        found = JUDGE.one(sight(socks, events=DROPS))
        assert found.subject.port == 443

    def test_and_any_other_full_ports_that_drops(self) -> None:
        socks = [listening(80), listening(443), *HALF_OPEN.times(100)]
        socks += replace(HALF_OPEN, local_port=80).times(90)
        assert {f.severity for f in JUDGE.all(sight(socks, events=DROPS))} == {
            "critical",
            "warning",
        }
        found = JUDGE.all(sight(socks, events=DROPS, drops={80: 1.0, 443: 1.0}))
        assert [f.severity for f in found] == ["critical", "critical"]

    def test_are_those_of_the_port_whose_own_drops_rise(self) -> None:
        socks = [listening(80), listening(443), *HALF_OPEN.times(40)]
        socks += replace(HALF_OPEN, local_port=80).times(2)
        found = JUDGE.one(sight(socks, events=DROPS, drops={80: 4.0, 443: 0.0}))
        assert (found.severity, found.subject.port) == ("critical", 80)

    def test_are_told_even_when_nothing_is_half_open_at_the_moment(self) -> None:
        found = JUDGE.one(sight([listening()], events=DROPS))
        assert (found.severity, found.subject) == ("critical", Subject("inbound"))
        assert (found.value, found.group, found.inodes) == (0.0, None, ())


def test_listeners_of_one_port_share_its_load() -> None:
    workers = [listening(limit=100, inode=n, cgroup_id=7) for n in range(1, 5)]
    assert JUDGE.all(sight([*workers, *HALF_OPEN.times(199)])) == []
    found = JUDGE.one(sight([*workers, *HALF_OPEN.times(200)]))
    assert (value(found, "backlog"), found.inodes) == (400, (1, 2, 3, 4))


def test_a_listener_of_ipv6_alone_does_not_help_ipv4() -> None:
    sixth = listening(limit=4096, family=6, local="::", remote="::")
    found = JUDGE.one(sight([listening(limit=100), sixth, *HALF_OPEN.times(50)]))
    assert value(found, "backlog") == 100


def test_a_listener_of_both_families_counts_for_both() -> None:
    both = listening(limit=100, family=6, local="::", remote="::")
    assert JUDGE.severity(half_open(50, listener=both)) == "warning"


def test_a_listener_of_both_families_has_one_backlog() -> None:
    both = listening(limit=100, family=6, local="::", remote="::")
    sixth = replace(HALF_OPEN, family=6, local="fd00::1", remote="fd00::2")
    found = JUDGE.one(sight([both, *HALF_OPEN.times(30), *sixth.times(20)]))
    assert (found.value, facts(found)["half_open"]) == (0.5, "50 sockets")


def test_services_at_two_addresses_of_one_port_are_apart() -> None:
    other = replace(listening(limit=400, inode=7), local="10.0.0.9")
    elsewhere = replace(HALF_OPEN, local="10.0.0.9")
    found = JUDGE.one(
        sight([listening(limit=100), other, *HALF_OPEN.times(60), *elsewhere.times(100)])
    )
    assert (value(found, "backlog"), value(found, "half_open")) == (100, 60)
    assert found.inodes == (900_001,)


class TestDeferred:
    """Clients that have connected, and say nothing to a listener with TCP_DEFER_ACCEPT."""

    SILENT = replace(HALF_OPEN, age=5.0, expires=3000)

    def test_clients_are_no_flood(self) -> None:
        assert JUDGE.all(sight([listening(limit=100), *self.SILENT.times(100)])) == []

    def test_clients_are_told_beside_half_open_ones(self) -> None:
        flood = replace(HALF_OPEN, age=5.0, retransmits=2)
        found = JUDGE.one(sight([listening(limit=100), *flood.times(60), *self.SILENT.times(20)]))
        assert found.summary == (
            "60 connections to port 443 are half-open, and 20 have sent nothing yet "
            "(TCP_DEFER_ACCEPT): 80 % of its backlog"
        )
        assert (found.value, facts(found)["deferred"]) == (0.6, "20 sockets")
        assert advises(found, "That is no flood")
        assert advises(found, "SYN flood")

    def test_clients_that_fill_the_backlog_are_named_as_what_they_are(self) -> None:
        socks = [listening(limit=100), *self.SILENT.times(100)]
        found = JUDGE.one(sight(socks, events=DROPS, drops={443: 4.0}))
        assert found.severity == "critical"
        assert found.summary == (
            "0 connections to port 443 are half-open, and 100 have sent nothing yet "
            "(TCP_DEFER_ACCEPT): 100 % of its backlog; SYNs are dropped"
        )
        assert not advises(found, "SYN flood")

    @pytest.mark.parametrize("young", [{"age": 1.0, "expires": 1000}, {"age": 0.0, "expires": 500}])
    def test_whether_a_young_one_is_the_others_tell(self, young: dict[str, Any]) -> None:
        ones = replace(HALF_OPEN, **young).times(60)
        assert JUDGE.severity(sight([listening(limit=100), *ones])) == "warning"
        assert JUDGE.all(sight([listening(limit=100), *ones, self.SILENT])) == []
        sent_again = replace(HALF_OPEN, age=5.0, retransmits=1)
        assert JUDGE.severity(sight([listening(limit=100), *ones, sent_again])) == "warning"


def test_without_a_listener_there_is_no_finding() -> None:
    assert JUDGE.all(sight(HALF_OPEN.times(500))) == []


def test_a_limit_of_zero_does_not_divide() -> None:
    assert JUDGE.all(half_open(0, listener=listening(limit=0))) == []
    assert JUDGE.severity(half_open(1, listener=listening(limit=0))) == "warning"


def test_what_could_not_be_read_is_left_out() -> None:
    found = JUDGE.one(half_open(50, UNKNOWN))
    assert found.severity == "warning"
    assert "tcp_syncookies" not in found.evidence


def test_it_tells_rates_peers_and_settings() -> None:
    seen = owned(
        half_open(
            60,
            listener=listening(limit=100, queue=3),
            events={**COOKIES, "SyncookiesSent": 5.555, "TW": 1.0},
            drops={443: 0.0},
        )
    )
    found = JUDGE.one(seen)
    assert found.subject == Subject("inbound", 443, "shop.service")
    assert (found.value, found.limit) == (0.6, 0.5)
    assert facts(found) == {
        "half_open": "60 sockets",
        "backlog": "100 count",
        "listeners": "1 sockets",
        "waiting_for_accept": "3 count",
        "peers": {"10.0.0.2": "60 sockets"},
        "events": {
            "TCPReqQFullDoCookies": "4.0 per_second",
            "SyncookiesSent": "5.55 per_second",
        },
        "drops": "0.0 per_second",
        "tcp_syncookies": "1 count",
        "tcp_max_syn_backlog": "1024 count",
        "somaxconn": "4096 count",
    }
    assert group_of(found)[:2] == ("inbound", 443)
    assert "ss -tno state syn-recv '( sport = :443 )'" in commands(found)


@pytest.mark.parametrize(
    ("setting", "told"), [(0, "net.ipv4.tcp_syncookies=1"), (1, "still get in")]
)
def test_advice_knows_this_hosts_cookies(setting: int, told: str) -> None:
    assert advises(JUDGE.one(half_open(60, cookies(setting))), told)


def test_a_namespace_that_does_not_show_somaxconn_is_judged_too() -> None:
    finding = JUDGE.one(half_open(50, UNSHOWN))
    assert finding.severity == "warning"
    assert "somaxconn" not in facts(finding)
    assert advises(finding, "and net.core.somaxconn with it")
