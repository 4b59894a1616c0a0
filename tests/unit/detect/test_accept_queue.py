"""Accept queues that nobody empties, that fill, and that overflow."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from sockmon.model.ages import LastHeard
from sockmon.model.detector_input import DetectorInput
from sockmon.model.finding import Finding, Subject
from sockmon.model.limits import KernelLimits
from sockmon.model.listeners import DropWindow
from sockmon.model.owner import Process
from sockmon.model.states import TcpState
from tests.unit.detect.builders import (
    NOW,
    UNKNOWN,
    UNSHOWN,
    accepted,
    advises,
    commands,
    facts,
    group_of,
    judge,
    listening,
    looked_up,
    owned,
    remembering,
    sight,
)

JUDGE = judge("accept_queue")


def waiting(length: int, limit: int = 100, **others: Any) -> DetectorInput:
    return sight([listening(queue=length, limit=limit)], **others)


def dropped(*ages: float, port: int = 443, each: int = 60) -> DropWindow[int]:
    """What polls so many seconds ago saw dropped."""
    return DropWindow(tuple((NOW - age, {port: each}) for age in ages), NOW - 300)


def test_its_limit_and_hysteresis() -> None:
    assert JUDGE.all(waiting(80)) == []
    finding = JUDGE.one(waiting(81))
    assert finding.severity == "warning"
    assert JUDGE.severity(remembering(waiting(73), finding, "warning")) == "warning"
    assert JUDGE.severity(remembering(waiting(71), finding, "warning")) is None


def test_the_kernel_has_room_for_one_more_than_the_limit() -> None:
    assert JUDGE.one(waiting(101)).value == 1.0
    assert JUDGE.one(waiting(100)).value == 100 / 101


def test_one_that_waits_in_a_queue_of_one_is_no_trouble() -> None:
    assert JUDGE.all(waiting(1, 1)) == []
    assert JUDGE.all(waiting(0, 0)) == []


def test_fewer_than_three_fill_a_tiny_queue_without_harm_until_some_are_dropped() -> None:
    assert JUDGE.all(waiting(1, 0)) == JUDGE.all(waiting(2, 1)) == []
    found = JUDGE.one(owned(waiting(1, 0, drop_window=dropped(0.0))))
    assert found.summary == (
        "1 connection to port 443 waits for shop.service to accept it: 100 % of the queue's room "
        "(1); more are dropped"
    )
    assert "what shop.service asked for with listen()" in found.advice[0].text


@pytest.mark.parametrize("limit", [0, 1])
def test_a_tiny_queue_that_nobody_empties_has_no_room_for_three(limit: int) -> None:
    socks = [listening(queue=limit + 1, limit=limit)]
    socks += accepted(TcpState.ESTABLISHED, inode=0).times(limit + 1)
    found = JUDGE.one(owned(sight(socks, waited=100.0)))
    assert found.severity == "critical"
    assert found.summary.startswith("shop.service does not accept on port 443: ")
    assert found.advice[0].text.startswith("Restart shop.service")
    half = [listening(queue=1, limit=1), accepted(TcpState.ESTABLISHED, inode=0)]
    assert JUDGE.all(owned(sight(half, waited=100.0))) == []


def heard_from(seen: DetectorInput, ago: float) -> DetectorInput:
    """The same, all of whose sockets have sent data so many seconds ago."""
    count = len(seen.table)
    ms = np.full(count, 1000 * ago)
    return replace(seen, heard=LastHeard.of(seen.table.cookie, ms, ms, ms))


class TestStillServes:
    """It accepts nobody, and is alive: a restart would end what it serves."""

    def full(self, sent: float, **others: Any) -> Finding:
        socks = [listening(queue=5, limit=511)]
        socks += accepted(TcpState.ESTABLISHED, inode=0).times(5)
        serves = [
            replace(sock, remote_port=51_000 + n, **others)
            for n, sock in enumerate(accepted(TcpState.ESTABLISHED, inode=1000).times(12))
        ]
        return JUDGE.one(owned(heard_from(sight([*socks, *serves], waited=100.0), sent)))

    def test_is_said_and_a_restart_comes_later(self) -> None:
        found = self.full(2.0)
        assert found.severity == "critical"
        assert found.summary.endswith("; it still serves 12 others")
        assert found.advice[0].text.startswith("Do not restart shop.service before you have looked")
        restart = next(its for its in found.advice if its.text.startswith("Restart"))
        assert restart.purpose == "fix"

    @pytest.mark.parametrize(("sent", "others"), [(40.0, {}), (2.0, {"retransmits": 3})])
    def test_only_what_has_just_sent_and_not_again_is_alive(
        self, sent: float, others: dict[str, int]
    ) -> None:
        found = self.full(sent, **others)
        assert "serves" not in found.summary
        assert found.advice[0].text.startswith("Restart shop.service")


@pytest.mark.parametrize("keeper", [Process(1, "init"), Process(900, "systemd")])
def test_the_socket_of_a_service_that_does_not_run_is_not_systemds_fault(keeper: Process) -> None:
    socks = [listening(queue=5, limit=511)]
    socks += accepted(TcpState.ESTABLISHED, inode=0).times(5)
    found = JUDGE.one(owned(sight(socks, waited=100.0), keeper))
    assert found.summary.endswith("; the service that it keeps the socket for has not taken it")
    assert commands(found)[0] == "systemctl list-sockets --all"
    assert not advises(found, "Restart")


def test_all_programs_of_a_unit_that_hold_the_socket_are_named() -> None:
    socks = [listening(queue=5, limit=511)]
    socks += accepted(TcpState.ESTABLISHED, inode=0).times(5)
    holders = [Process(7, "inetd", unit="inetd.service"), Process(8, "sleep", unit="inetd.service")]
    found = JUDGE.one(owned(sight(socks, waited=100.0), *holders))
    assert advises(found, "The socket is held by inetd, PID 7, and sleep, PID 8.")


def test_the_longest_queues_come_first() -> None:
    """Only so many findings are shown: no short queues of a user's own hide another's long one."""
    socks = [listening(port, queue=queue, limit=queue) for port, queue in ((80, 9), (8080, 128))]
    assert [found.subject.port for found in JUDGE.all(owned(sight(socks)))] == [8080, 80]


class TestNobodyAccepts:
    """Judged by time without progress, however short the queue is."""

    def stuck(self, connections: int, **others: Any) -> DetectorInput:
        socks = [listening(queue=connections, limit=511)]
        socks += accepted(TcpState.ESTABLISHED, inode=0).times(connections)
        return owned(sight(socks, **others))

    def test_for_thirty_seconds(self) -> None:
        found = JUDGE.one(self.stuck(5, waited=30.0))
        assert found.severity == "critical"
        assert found.summary == (
            "shop.service does not accept on port 443: 5 connections wait, none was accepted for "
            "30s"
        )
        assert JUDGE.all(self.stuck(5, waited=29.0)) == []
        assert JUDGE.all(self.stuck(2, waited=90.0)) == []

    def test_counts_the_clients_that_have_given_up(self) -> None:
        socks = [listening(queue=30, limit=511)]
        socks += accepted(TcpState.CLOSE_WAIT, inode=0).times(30)
        found = JUDGE.one(owned(sight(socks, waited=100.0)))
        assert found.summary.endswith("; the clients of 30 have given up")

    def test_what_clients_have_reset_fills_the_queue_and_is_not_seen(self) -> None:
        full = sight([listening(queue=21, limit=20)], waited=60.0)
        found = JUDGE.one(owned(full))
        assert found.summary == (
            "shop.service does not accept on port 443: 21 connections wait, none was accepted for "
            "1m; the clients of 21 have given up"
        )
        young = [listening(queue=21, limit=20), accepted(TcpState.ESTABLISHED, inode=0)]
        moves = sight(young, waited=60.0)
        moves = replace(
            moves, queues=replace(moves.queues, waits_since=moves.queues.waits_since + 59)
        )
        assert "does not accept" not in JUDGE.one(moves).summary
        assert "does not accept" not in JUDGE.one(replace(full, whole=False)).summary

    def test_a_queue_as_long_as_before_with_other_connections_moves(self) -> None:
        seen = self.stuck(5, waited=100.0)
        young = replace(seen.queues, waits_since=seen.queues.waits_since + 99.0)
        assert JUDGE.all(replace(seen, queues=young)) == []

    def test_a_queue_that_becomes_shorter_moves(self) -> None:
        seen = self.stuck(5, waited=100.0)
        shorter = replace(seen.stuck, since=seen.stuck.since + 99.0)
        young = replace(seen.queues, waits_since=seen.queues.waits_since + 75.0)
        assert JUDGE.all(replace(seen, stuck=shorter, queues=young)) == []

    def test_a_queue_that_is_filled_again_at_once_moves(self) -> None:
        """Each client that was served comes again: the queue is as long at every poll."""
        seen = self.stuck(5, waited=100.0)
        moves = replace(seen, queues=replace(seen.queues, accepted={443: seen.now - 8.0}))
        assert JUDGE.one(moves).summary.startswith("shop.service accepts too slowly on port 443")
        closed = accepted(TcpState.TIME_WAIT, timer=3, expires=52_000, inode=0)
        socks = [listening(queue=5, limit=511), closed]
        socks += accepted(TcpState.ESTABLISHED, inode=0).times(5)
        served = owned(sight(socks, waited=100.0))
        assert JUDGE.one(served).summary.startswith("shop.service accepts too slowly on port 443")
        first = owned(sight(socks, waited=2.0))
        old = replace(first.queues, waits_since=first.queues.waits_since - 98.0)
        first_look = replace(first, queues=old)
        assert JUDGE.one(first_look).summary.startswith("shop.service accepts too slowly")
        long_ago = replace(seen, queues=replace(seen.queues, accepted={443: seen.now - 50.0}))
        assert JUDGE.one(long_ago).summary == (
            "shop.service does not accept on port 443: 5 connections wait, none was accepted for "
            "50s"
        )

    def test_a_queue_that_moves_too_slowly(self) -> None:
        """One worker, and each request takes long: all are served, minutes later."""
        seen = self.stuck(5, waited=100.0)
        slow = replace(seen, stuck=replace(seen.stuck, since=seen.stuck.since + 99.0))
        found = JUDGE.one(slow)
        assert found.severity == "warning"
        assert found.summary == (
            "shop.service accepts too slowly on port 443: 5 connections wait, the first for 1m40s"
        )
        assert "Restart" not in found.advice[0].text
        assert JUDGE.one(remembering(replace(slow, whole=False), found, "warning"))
        few = self.stuck(2, waited=100.0)
        moves = replace(few.stuck, since=few.stuck.since + 99.0)
        assert JUDGE.all(replace(few, stuck=moves)) == []

    def test_one_of_several_queues(self) -> None:
        socks = [listening(inode=1, queue=9, limit=511), listening(inode=2, limit=511)]
        socks += accepted(TcpState.ESTABLISHED, inode=0).times(9)
        found = JUDGE.one(owned(sight(socks, waited=100.0)))
        assert (found.severity, found.inodes) == ("warning", (1, 2))
        assert found.summary == (
            "1 of 2 queues of port 443 is not emptied by shop.service: 9 connections wait, the "
            "first for 1m40s; about 50 % of new connections get no answer"
        )

    def test_a_queue_of_another_address_gets_no_share(self) -> None:
        """redis and aiohttp listen on 0.0.0.0 and [::], each with a queue of its own."""
        socks = [listening(inode=1, queue=9, limit=511)]
        socks += [listening(inode=2, limit=511, family=6, local="::")]
        socks += accepted(TcpState.ESTABLISHED, inode=0).times(9)
        found = JUDGE.one(owned(sight(socks, waited=100.0)))
        assert found.severity == "critical"
        assert found.summary.startswith("shop.service does not accept on port 443: 9 connections")

    def test_names_only_the_process_that_hangs(self) -> None:
        socks = [listening(inode=1, queue=9, limit=511), listening(inode=2, limit=511)]
        socks += accepted(TcpState.ESTABLISHED, inode=0).times(9)
        holders = {1: (Process(11, "python3 web.py"),), 2: (Process(12, "python3 web.py"),)}
        found = JUDGE.one(looked_up(sight(socks, waited=100.0), holders))
        assert "1 of 2 queues of port 443 is not emptied by python3 web.py" in found.summary
        assert found.owner is not None
        assert [process.pid for process in found.owner.processes] == [11]

    def test_is_known_at_the_first_look_by_the_connections_themselves(self) -> None:
        seen = self.stuck(5)
        old = replace(seen.queues, waits_since=seen.queues.waits_since - 100.0)
        assert JUDGE.severity(replace(seen, queues=old)) == "critical"

    def test_holds_while_only_part_of_the_table_is_read(self) -> None:
        seen = self.stuck(5, waited=100.0)
        finding = JUDGE.one(seen)
        part = remembering(replace(seen, whole=False), finding, "critical")
        assert JUDGE.severity(part) == "critical"
        assert JUDGE.all(replace(part, past={})) != []


class TestDrops:
    def test_of_a_full_queue_are_critical(self) -> None:
        assert JUDGE.severity(waiting(101, drop_window=dropped(0.0))) == "critical"
        assert JUDGE.severity(waiting(101, drop_window=dropped(200.0))) == "critical"
        assert JUDGE.severity(waiting(90, drop_window=dropped(200.0))) == "warning"

    def test_but_not_another_ports(self) -> None:
        assert JUDGE.severity(waiting(101, drop_window=dropped(0.0, port=80))) == "warning"

    def test_in_bursts_are_a_warning_though_the_queue_is_empty_between(self) -> None:
        found = JUDGE.one(owned(waiting(0, drop_window=dropped(80.0, 60.0, 40.0, 20.0))))
        assert found.severity == "warning"
        assert found.summary == (
            "port 443 (shop.service) dropped 240 connections in the last 5m, in bursts: its queue "
            "has room for 101, and is not full between them"
        )

    def test_in_one_burst_are_no_trouble(self) -> None:
        assert JUDGE.all(waiting(0, drop_window=dropped(20.0))) == []
        assert JUDGE.all(waiting(0, drop_window=dropped(50.0, 40.0, 35.0, 20.0, 10.0))) == []


def test_each_owners_queues_of_a_port_are_judged_apart() -> None:
    listeners = [
        listening(80, 10, 100, cgroup_id=1, inode=1),
        listening(80, 95, 100, cgroup_id=2, inode=2),
        listening(443, 5, 100, cgroup_id=3, inode=3),
    ]
    units = {1: "one.service", 2: "shop.service", 3: "three.service"}
    found = JUDGE.one(looked_up(sight(listeners), {}, units))
    assert found.subject == Subject("inbound", 80, "shop.service")
    assert found.inodes == (2,)


TWO = {1: (Process(11, "hung"),), 2: (Process(12, "well"),)}


def test_of_two_programs_that_share_a_port_only_the_one_that_hangs_is_named() -> None:
    """SO_REUSEPORT in one cgroup: what waits is not told apart, but the queues are."""
    socks = [listening(inode=1, queue=9, limit=511), listening(inode=2, limit=511)]
    socks += accepted(TcpState.ESTABLISHED, inode=0).times(9)
    seen = sight(socks, waited=100.0)
    seen = replace(seen, queues=replace(seen.queues, accepted={443: seen.now}))  # by the other
    found = JUDGE.one(looked_up(seen, TWO))
    assert found.summary == (
        "hung does not accept on port 443: 9 connections wait, none was accepted for 1m40s; "
        "others listen there too, so about 50 % of new connections get no answer"
    )


def test_of_two_programs_that_share_a_port_only_the_one_that_drops_is_named() -> None:
    socks = [listening(inode=1, limit=9, drops=120), listening(inode=2, limit=511)]
    seen = replace(looked_up(sight(socks), TWO), drop_window=dropped(100, 5))
    assert JUDGE.one(seen).subject.owner == "hung"


def test_it_says_depth_limit_drops_and_owner() -> None:
    seen = owned(waiting(101, drop_window=dropped(0.0), events={"ListenOverflows": 1.25}))
    found = JUDGE.one(seen)
    assert (found.value, found.limit) == (1.0, 0.8)
    assert found.summary == (
        "101 connections to port 443 wait for shop.service to accept them: 100 % of the queue's "
        "room (101); more are dropped"
    )
    assert facts(found) == {
        "queue": "101 count",
        "queue_limit": "100 count",
        "dropped": "60 sockets",
        "dropped_within": "300.0 seconds",
        "polls_with_drops": "1 count",
        "events": {"ListenOverflows": "1.25 per_second"},
        "somaxconn": "4096 count",
    }
    assert group_of(found)[:2] == ("inbound", 443)
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


@pytest.mark.parametrize("limits", [UNKNOWN, UNSHOWN], ids=["no settings", "no somaxconn"])
def test_advice_without_the_setting_names_both(limits: KernelLimits) -> None:
    found = JUDGE.one(replace(waiting(100), limits=limits))
    assert advises(found, "lesser of listen()'s backlog and net.core.somaxconn")
    assert facts(found) == {"queue": "100 count", "queue_limit": "100 count", "events": {}}
