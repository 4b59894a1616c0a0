"""Accept queues that fill, and those that run over."""

from dataclasses import replace
from typing import Any

import pytest

from sockmon.model.detector_input import DetectorInput
from sockmon.model.finding import Subject
from tests.unit.detect.builders import (
    CGROUP,
    UNKNOWN,
    advises,
    commands,
    facts,
    group_of,
    judge,
    listening,
    owned,
    remembering,
    sight,
)

JUDGE = judge("accept_queue")


def waiting(length: int, limit: int = 100, **others: Any) -> DetectorInput:
    return sight([listening(queue=length, limit=limit)], **others)


def test_its_limit_and_hysteresis() -> None:
    assert JUDGE.all(waiting(79)) == []
    finding = JUDGE.one(waiting(80))
    assert finding.severity == "warning"
    assert JUDGE.severity(remembering(waiting(73), finding, "warning")) == "warning"
    assert JUDGE.severity(remembering(waiting(71), finding, "warning")) is None


def test_the_kernel_takes_one_more_than_the_limit() -> None:
    assert JUDGE.one(waiting(101)).value == 1.01


def test_a_limit_of_zero_does_not_divide() -> None:
    assert JUDGE.all(waiting(0, 0)) == []
    assert JUDGE.severity(waiting(1, 0)) == "warning"


class TestDropsAreCritical:
    def test_of_the_port(self) -> None:
        assert JUDGE.severity(waiting(90, drops={443: 0.2})) == "critical"

    def test_of_all_ports_where_the_ports_own_are_unknown(self) -> None:
        assert JUDGE.severity(waiting(90, events={"ListenOverflows": 0.2})) == "critical"

    def test_until_the_queue_has_room_however_seldom_clients_try_again(self) -> None:
        finding = JUDGE.one(waiting(101, drops={443: 0.2}))
        assert JUDGE.severity(remembering(waiting(101), finding, "critical")) == "critical"
        assert JUDGE.severity(remembering(waiting(100), finding, "critical")) == "warning"
        assert JUDGE.severity(remembering(waiting(101), finding, "warning")) == "warning"

    def test_but_not_another_ports(self) -> None:
        events, drops = {"ListenOverflows": 9.0}, {443: 0.0, 80: 9.0}
        assert JUDGE.severity(waiting(90, events=events, drops=drops)) == "warning"

    def test_even_when_the_queue_fills_between_polls_only(self) -> None:
        seen = waiting(0, events={"ListenOverflows": 3.0}, drops={443: 3.0})
        assert JUDGE.severity(seen) == "critical"

    def test_but_drops_for_other_reasons_are_no_full_queue(self) -> None:
        assert JUDGE.all(waiting(0, drops={443: 3.0})) == []
        assert JUDGE.all(waiting(0, events={"ListenOverflows": 0.0}, drops={443: 3.0})) == []

    def test_and_nothing_known_is_not_dropping(self) -> None:
        assert JUDGE.severity(sight([listening(queue=90, limit=100)], UNKNOWN)) == "warning"


def test_each_port_is_judged_by_its_fullest_listener() -> None:
    seen = owned(
        sight(
            [
                listening(80, 10, 100, cgroup_id=1, inode=1),
                listening(80, 95, 100, cgroup_id=2, inode=2),
                listening(443, 5, 100, cgroup_id=3, inode=3),
            ]
        )
    )
    found = JUDGE.one(seen)
    assert found.subject == Subject("inbound", 80, "shop.service")
    assert (group_of(found).cgroup_id, found.inodes) == (2, (2,))


def test_it_tells_depth_limit_drops_and_owner() -> None:
    seen = owned(waiting(101, drops={443: 1.25}, events={"ListenOverflows": 1.25, "TW": 3.0}))
    found = JUDGE.one(seen)
    assert (found.value, found.limit) == (1.01, 0.8)
    assert found.summary == (
        "101 connections to port 443 wait for shop.service to accept them: 101 % of the queue's "
        "100; more are dropped"
    )
    assert facts(found) == {
        "queue": "101 count",
        "queue_limit": "100 count",
        "events": {"ListenOverflows": "1.25 per_second"},
        "drops": "1.25 per_second",
        "somaxconn": "4096 count",
    }
    assert group_of(found) == ("inbound", 443, CGROUP)
    assert commands(found) == [
        "ss -tlnp '( sport = :443 )'",
        "nstat -az TcpExtListenOverflows TcpExtListenDrops",
    ]
    assert advises(found, "what shop.service asked for with listen(); somaxconn would allow 4096")


@pytest.mark.parametrize(
    ("limit", "told"), [(4096, "The limit of 4096 is net.core.somaxconn"), (511, "asked for")]
)
def test_advice_knows_who_set_the_limit(limit: int, told: str) -> None:
    assert advises(JUDGE.one(waiting(limit, limit)), told)


def test_advice_without_the_setting_names_both() -> None:
    seen = waiting(100)
    found = JUDGE.one(replace(seen, limits=UNKNOWN))
    assert advises(found, "lesser of listen()'s backlog and net.core.somaxconn")
    assert facts(found) == {"queue": "100 count", "queue_limit": "100 count", "events": {}}


def test_a_queue_whose_listener_has_gone_is_told_without_an_owner() -> None:
    seen = waiting(100)
    found = JUDGE.one(replace(seen, listen_queues=(replace(seen.listen_queues[0], length=99),)))
    assert (found.group, found.inodes, found.subject.owner) == (None, (), None)
