"""CLOSE_WAIT leaks, and all that only looks like one."""

from dataclasses import replace
from typing import Any

import pytest

from sockmon.detect.close_wait_leak import Thresholds, stale_groups
from sockmon.language import Text
from sockmon.model.connection_events import BOUNDS, COLUMNS, EventCounts, RecentEvents, column
from sockmon.model.detector_input import DetectorInput, PreviousFinding
from sockmon.model.direction import Direction
from sockmon.model.finding import Command, Deadline, Subject
from sockmon.model.owner import Manager, Process
from sockmon.model.states import TcpState
from tests.unit.detect.builders import (
    HOUR,
    NOW,
    SHOP,
    UNKNOWN,
    Sock,
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
    texts,
)

JUDGE = judge("close_wait_leak")
LEAKED = accepted(TcpState.CLOSE_WAIT, age=60.0, receive_queue=22)


def leaked(count: int, **others: Any) -> DetectorInput:
    return sight(replace(LEAKED, **others).times(count))


def with_descriptors(
    seen: DetectorInput, fds: int | None, limit: int | None, growth: float | None = None
) -> DetectorInput:
    return owned(seen, replace(SHOP, fds=fds, fd_limit=limit, growth=growth))


def grown(seen: DetectorInput, *values: float) -> DetectorInput:
    """The same, with these values in the polls before."""
    return remembering(seen, JUDGE.one(seen), "warning", *values)


def test_its_limit_and_hysteresis() -> None:
    assert JUDGE.all(leaked(9)) == []
    finding = JUDGE.one(leaked(10))
    assert finding.severity == "warning"
    assert JUDGE.severity(remembering(leaked(9), finding, "warning")) == "warning"
    assert JUDGE.severity(remembering(leaked(8), finding, "warning")) is None


def test_an_mptcp_connection_is_stale_sooner() -> None:
    """Its peer resets it after a minute, and then no table lists it."""
    assert JUDGE.all(leaked(10, age=29.9, multipath=True)) == []
    finding = JUDGE.one(leaked(10, age=30.0, multipath=True))
    assert "ss -tMnpo state close-wait '( sport = :443 )'" in commands(finding)
    assert facts(finding)["unread"] == "0 bytes"
    assert facts(finding)["buffers_of_unread_mptcp_data"] == "220 bytes"
    assert advises(finding, "10 are MPTCP connections, which their peers reset")
    assert not advises(JUDGE.one(leaked(10)), "MPTCP")


def test_what_else_was_closed_tells_one_path_of_the_code_from_all() -> None:
    assert "others_closed_lately" not in facts(JUDGE.one(leaked(10)))
    values = [0] * COLUMNS
    values[column("close_wait") + 1] = 1234  # within 1 ms

    def counted(columns: list[int], port: int = 443) -> DetectorInput:
        ports: dict[tuple[Direction, int], EventCounts]
        ports = {("inbound", port): EventCounts(tuple(columns))}
        return replace(leaked(10), events=RecentEvents(300.0, ports, frozenset()))

    some = JUDGE.one(counted(values))
    assert facts(some)["others_closed_lately"] == "1234 count"
    assert advises(
        some,
        "In the last 5m, 1,234 others of this port were closed after their peers had, half of "
        "them within 1.0 ms: the bug is on one path of the code",
    )
    assert not advises(some, "took more than")
    values[column("close_wait") + 1 + BOUNDS.index(300.0)] = 55
    late = JUDGE.one(counted(values))
    assert advises(late, "55 of those took more than 1m: some of these may be closed as well, late")
    none = JUDGE.one(counted([0] * COLUMNS))
    assert facts(none)["others_closed_lately"] == "0 count"
    assert not advises(none, "others of this port")
    assert not advises(JUDGE.one(counted(values, 80)), "others of this port")


class TestIsNoFinding:
    def test_a_burst(self) -> None:
        assert JUDGE.all(leaked(5000, age=59.9)) == []

    def test_a_half_close_in_use(self) -> None:
        assert JUDGE.all(leaked(500, age=HOUR, silent=1.0)) == []

    @pytest.mark.parametrize("state", [s for s in TcpState if s is not TcpState.CLOSE_WAIT])
    def test_another_state(self, state: TcpState) -> None:
        assert JUDGE.all(leaked(500, state=state, age=HOUR)) == []

    def test_a_few_of_each_of_many_owners(self) -> None:
        socks = [
            sock
            for n in range(9)
            for sock in replace(LEAKED, age=HOUR, cgroup_id=n, local_port=8000 + n).times(9)
        ]
        units = {n: f"shop-{n}.service" for n in range(9)}
        assert JUDGE.all(looked_up(sight(socks), {}, units)) == []


class TestIsCritical:
    def test_when_it_grows_and_is_old(self) -> None:
        old = leaked(20, age=601.0)
        assert JUDGE.severity(old) == "warning"
        assert JUDGE.severity(grown(old, *range(8, 20))) == "critical"

    def test_and_says_why(self) -> None:
        grows = grown(leaked(20, age=601.0), *range(8, 20))
        assert JUDGE.one(grows).critical_because == "it still grows, and the oldest is 10m old"
        seen = with_descriptors(leaked(20), 850, 1024, growth=0.2)
        full = JUDGE.one(remembering(seen, JUDGE.one(seen), "warning", *range(8, 20)))
        assert full.critical_because == (
            "its descriptors run out in about 14m; 83 % of its descriptors are in use"
        )
        assert full.deadline == Deadline(Text("descriptors run out"), (1024 - 850) * 5.0)
        calm = JUDGE.one(leaked(20))
        assert (calm.critical_because, calm.deadline) == (None, None)

    def test_but_not_when_it_has_grown_for_less_than_a_minute(self) -> None:
        assert JUDGE.severity(grown(leaked(20, age=HOUR), *range(9, 20))) == "warning"

    def test_but_not_when_it_grows_and_is_young(self) -> None:
        assert JUDGE.severity(grown(leaked(20, age=600.0), *range(8, 20))) == "warning"

    def test_nor_when_it_is_old_and_stands_still_or_shrinks(self) -> None:
        assert JUDGE.severity(grown(leaked(20, age=HOUR), *[20] * 12)) == "warning"
        assert JUDGE.severity(grown(leaked(20, age=HOUR), *range(32, 20, -1))) == "warning"

    def test_nor_when_it_grew_long_ago(self) -> None:
        seen = leaked(20, age=HOUR)
        past = PreviousFinding("warning", ((NOW - 400, 1.0), (NOW - 301, 10.0)))
        assert JUDGE.severity(replace(seen, past={JUDGE.one(seen).key: past})) == "warning"

    def test_when_descriptors_run_out(self) -> None:
        assert JUDGE.severity(with_descriptors(leaked(10), 819, 1024)) == "warning"
        assert JUDGE.severity(with_descriptors(leaked(10), 820, 1024)) == "critical"

    def test_when_they_will_within_the_hour(self) -> None:
        # One descriptor more of this process every 5 s: 720 an hour.
        for free, expected in ((719, "critical"), (721, "warning")):
            seen = with_descriptors(leaked(20), 4096 - free, 4096, growth=0.2)
            found = judge("close_wait_leak", critical_fd_ratio=1.0).one(seen)
            assert found.severity == expected
            assert found.deadline == Deadline(Text("descriptors run out"), free * 5.0)

    def test_but_not_by_the_growth_of_the_group(self) -> None:
        seen = with_descriptors(leaked(20), 500, 1024)
        found = JUDGE.one(remembering(seen, JUDGE.one(seen), "warning", *range(8, 20)))
        assert (found.severity, found.deadline) == ("warning", None)

    @pytest.mark.parametrize(("fds", "limit"), [(None, None), (None, 9), (9, None), (9, 0)])
    def test_but_not_by_descriptors_that_are_unknown(
        self, fds: int | None, limit: int | None
    ) -> None:
        assert JUDGE.severity(with_descriptors(leaked(10), fds, limit)) == "warning"


def test_it_needs_no_limit_of_the_host() -> None:
    assert JUDGE.severity(sight(LEAKED.times(10), UNKNOWN)) == "warning"


def test_it_tells_who_and_for_how_long() -> None:
    found = JUDGE.one(owned(sight(LEAKED.times(10) + LEAKED.times(2, age=125.0))))
    assert found.subject == Subject("inbound", 443, "shop.service")
    assert (found.value, found.limit) == (12, 10)
    assert found.summary == (
        "shop.service has not closed 12 connections that its peers have closed "
        "(accepted on port 443; the oldest 2m5s ago)"
    )
    assert facts(found) == {
        "oldest": "125.0 seconds",
        "unread": f"{12 * 21} bytes",
        "not_read_to_the_end": "12 sockets",
        "peers": {"10.0.0.2": "12 sockets"},
    }
    assert group_of(found)[:2] == ("inbound", 443)
    assert len(found.inodes) == 12
    assert "ss -tnpo state close-wait '( sport = :443 )'" in commands(found)


def test_it_tells_how_to_restart_it_or_to_find_out_whose_it_is() -> None:
    found = JUDGE.one(owned(leaked(10)))
    assert found.advice[0].purpose == "stop"
    assert found.advice[0].command == Command("systemctl restart shop.service", "here", "changes")
    unseen = looked_up(leaked(10), {})
    for seen in (leaked(10), unseen):
        found = JUDGE.one(seen)
        assert found.summary.startswith("an unknown process has not closed 10 connections")
        assert found.advice[0].purpose == "stop"
        assert "run sockmon doctor as root" in found.advice[0].text


def test_what_nobody_has_open_although_all_could_be_looked_into_is_said() -> None:
    unseen = looked_up(leaked(10), {})
    found = JUDGE.one(replace(unseen, owners=replace(unseen.owners, saw_all=True)))
    assert "none has them open" in found.advice[0].text
    assert not any("as root" in text for text in texts(found))


def test_a_server_that_forks_for_each_connection_is_not_ended_as_a_whole() -> None:
    seen = leaked(12)
    inodes = [inode for inode in seen.table.inode.tolist() if inode]
    each = {
        inode: (Process(n, "postgres", unit="postgresql.service"),)
        for n, inode in enumerate(inodes, 1)
    }
    found = JUDGE.one(looked_up(seen, each))
    assert found.advice[0].command == Command("kill 1 2 3 4 5 6 7 8 9 10 11 12", "here", "changes")
    shared = {inode: (*each[inode], Process(99, "parent")) for inode in inodes}
    assert commands(JUDGE.one(looked_up(seen, shared)))[0] == (
        "systemctl restart postgresql.service"
    )


@pytest.mark.parametrize(
    ("unit", "manager", "line"),
    [
        ("notes.service", Manager("user", "1000"),
         "systemctl --user --machine=1000@ restart notes.service"),
        ("nginx.service", Manager("machine", "web"),
         "systemctl --machine=web restart nginx.service"),
        ("0123456789ab", Manager("docker"), "docker restart 0123456789ab"),
        ("0123456789ab", Manager("podman"), "podman restart 0123456789ab"),
        ("0123456789ab", Manager("kubelet"), "crictl stop 0123456789ab"),
        ("0123456789ab", Manager("containers"), None),
        ("run-1.scope", Manager("system"), None),
    ],
)  # fmt: skip
def test_whoever_manages_it_restarts_it(unit: str, manager: Manager, line: str | None) -> None:
    found = JUDGE.one(owned(leaked(10), Process(7, "x", unit=unit, manager=manager)))
    command = found.advice[0].command
    assert (command.line if command else None) == line


def test_of_a_client_it_names_the_port_elsewhere() -> None:
    found = JUDGE.one(sight(Sock(TcpState.CLOSE_WAIT, age=99.0).times(10)))
    assert "made to port 443;" in found.summary
    assert advises(found, "All were read to the end")


def test_what_does_not_grow_is_not_restarted_first() -> None:
    still = JUDGE.one(grown(owned(leaked(20)), *[20] * 20))
    assert (still.advice[0].purpose, still.advice[0].command) == ("stop", None)
    assert "does not grow" in still.advice[0].text
    assert "systemctl restart shop.service" in commands(still)
    grows = JUDGE.one(grown(owned(leaked(20)), *range(1, 20)))
    assert grows.advice[0].text.startswith("Restart shop.service")
    full = JUDGE.one(grown(with_descriptors(leaked(20), 950, 1000), *[20] * 20))
    assert full.advice[0].text.startswith("Restart shop.service")


def test_what_an_idle_client_has_not_closed_is_looked_for_in_its_pools() -> None:
    idle = Sock(TcpState.CLOSE_WAIT, age=99.0, receive_queue=1)
    assert advises(JUDGE.one(sight(idle.times(10))), "a pool that does not test its idle")
    unread = replace(idle, receive_queue=900)
    assert advises(JUDGE.one(sight(unread.times(10))), "look for a handler that is stuck")


def test_growth_is_told_by_the_minute() -> None:
    assert facts(JUDGE.one(grown(leaked(20), *range(8, 20))))["growth"] == "12.0 per_minute"


def pool(count: int, **others: Any) -> list[Sock]:
    """A client's idle connections that the server has closed: only the FIN is unread."""
    return replace(Sock(TcpState.CLOSE_WAIT, age=99.0, receive_queue=1), **others).times(count)


class TestAPoolAtRest:
    """Outbound, and nothing unread but the FIN: noticed at the next use."""

    @pytest.mark.parametrize("queue", [1, 25, 32])  # the FIN alone, or a TLS alert before it
    def test_is_a_note_only(self, queue: int) -> None:
        found = JUDGE.one(owned(sight(pool(20, receive_queue=queue))))
        assert found.note
        assert found.summary == (
            "shop.service keeps 20 connections that its peers have closed (made to port 443; the "
            "oldest 1m39s ago): a pool at rest, no harm unless it grows. Make its idle timeout "
            "shorter than the servers'"
        )

    @pytest.mark.parametrize(("queue", "heard"), [(117, 60.0), (1025, 90.0)])
    def test_may_hold_the_message_with_which_the_server_ended_it(
        self, queue: int, heard: float
    ) -> None:
        """PostgreSQL's idle_session_timeout: sent 99 s ago, the message came later."""
        found = JUDGE.one(sight(pool(20, receive_queue=queue, received=heard, has_read=True)))
        assert found.note

    @pytest.mark.parametrize(
        "others",
        [
            {"received": 60.0},  # the first answer, never read
            {"received": 98.0, "has_read": True},  # the answer to what was sent
            {"received": 60.0, "has_read": True, "receive_queue": 1026},  # too long
        ],
    )
    def test_holds_no_answer(self, others: dict[str, Any]) -> None:
        assert not JUDGE.one(sight(pool(20, **{"receive_queue": 117, **others}))).note

    @pytest.mark.parametrize("queue", [0, 24, 33, 500])
    def test_is_not_what_was_read_to_the_end_or_holds_data(self, queue: int) -> None:
        assert not JUDGE.one(sight(pool(20, receive_queue=queue))).note

    def test_has_no_connection_of_another_kind(self) -> None:
        socks = [*pool(20), *pool(1, receive_queue=0, local_port=50000, inode=5)]
        assert not JUDGE.one(sight(socks)).note

    def test_is_none_of_a_server(self) -> None:
        assert not JUDGE.one(leaked(20, receive_queue=1)).note

    @pytest.mark.parametrize(
        ("ages", "note"),
        [
            (range(60), False),
            (range(15, 60), True),  # nothing in the last quarter of a minute
            (range(0, 60, 10), True),  # used ones that will be noticed
        ],
    )
    def test_is_none_if_more_come_all_the_time(self, ages: range, *, note: bool) -> None:
        young = [
            replace(one, age=float(age))
            for age, one in zip(ages, pool(60, local_port=50000, inode=5000), strict=False)
        ]
        assert JUDGE.one(sight([*pool(12), *young])).note == note

    def test_does_not_grow(self) -> None:
        seen = sight(pool(20))
        assert not JUDGE.one(grown(seen, *range(8, 20))).note
        assert JUDGE.one(grown(seen, *[20] * 12)).note
        assert JUDGE.one(grown(seen, *[18, 20, 19] * 5)).note
        assert JUDGE.one(grown(seen, *range(8, 20), *[20] * 13)).note  # it has levelled off

    def test_is_not_in_the_metric(self) -> None:
        assert stale_groups(sight(pool(20)), Thresholds()) == []
        assert stale_groups(sight(pool(5)), Thresholds()) == []


def to_ports(first: int, ports: int, **others: Any) -> list[Sock]:
    """A connection to each of so many ports."""
    return [
        replace(Sock(TcpState.CLOSE_WAIT, age=99.0, receive_queue=1, **others),
                local_port=40000 + n, remote_port=first + n, inode=500 + n)
        for n in range(ports)
    ]  # fmt: skip


class TestManyPorts:
    @pytest.mark.parametrize("first", [8000, 45000])
    def test_are_judged_by_owner(self, first: int) -> None:
        found = JUDGE.one(owned(sight(to_ports(first, 60))))
        assert found.subject == Subject("outbound", None, "shop.service")
        assert (found.value, found.note) == (60, False)
        assert found.summary == (
            "shop.service has not closed 60 connections that its peers have closed (made to 60 "
            "ports of 10.0.0.2; the oldest 1m39s ago)"
        )
        assert "ss -tnpo state close-wait" in commands(found)

    def test_of_several_addresses(self) -> None:
        socks = [*to_ports(8000, 6), *[replace(sock, remote="10.0.0.3", inode=sock.inode + 100)
                                       for sock in to_ports(9000, 6)]]  # fmt: skip
        assert "(made to 12 ports of several addresses;" in JUDGE.one(owned(sight(socks))).summary

    def test_of_several_owners_are_apart(self) -> None:
        socks = to_ports(8000, 18)
        one, other = Process(1, "one"), Process(2, "other")
        holders = {sock.inode: (one if n % 2 else other,) for n, sock in enumerate(socks)}
        assert JUDGE.all(looked_up(sight(socks), holders)) == []

    def test_of_pools_are_none(self) -> None:
        socks = [
            sock
            for n in range(8)
            for sock in pool(5, remote_port=8000 + n, inode=1000 + 10 * n, local_port=40000 + 9 * n)
        ]
        assert JUDGE.all(owned(sight(socks))) == []

    def test_have_one_value_in_the_metric_and_no_clients_port(self) -> None:
        for socks in (to_ports(8000, 60), to_ports(45000, 60)):
            ((group, rows),) = stale_groups(owned(sight(socks)), Thresholds())
            assert (group.direction, group.port, rows.size) == ("outbound", None, 60)
        few = to_ports(45000, 4, silent=99.0)
        ((group, rows),) = stale_groups(
            owned(sight([replace(sock, receive_queue=9) for sock in few])), Thresholds()
        )
        assert (group.port, rows.size) == (None, 4)

    def test_accepted_on_many_ports(self) -> None:
        socks = [
            accepted(TcpState.CLOSE_WAIT, 8000 + n, inode=500 + n, age=99.0) for n in range(12)
        ]
        found = JUDGE.one(owned(sight(socks)))
        assert found.subject == Subject("inbound", None, "shop.service")
        assert "(accepted on 12 ports; " in found.summary


def facing(count: int, state: TcpState, inode: int, **server: Any) -> list[Sock]:
    """Accepted connections in CLOSE_WAIT, and their other ends on this host."""
    here = accepted(TcpState.CLOSE_WAIT, 443, age=99.0, remote="10.0.0.1", **server).times(count)
    return [
        *here,
        *(
            Sock(state, local_port=sock.remote_port, remote_port=443, remote="10.0.0.1",
                 inode=inode and inode + n, age=99.0)
            for n, sock in enumerate(here)
        ),
    ]  # fmt: skip


class TestASilentHalfClose:
    def test_whose_client_waits_is_a_note(self) -> None:
        found = JUDGE.one(owned(sight(facing(12, TcpState.FIN_WAIT2, inode=5000))))
        assert found.note
        assert found.summary == (
            "12 clients on this host have sent all they want to send and wait for shop.service to "
            "answer (accepted on port 443; the longest for 1m39s): no leak"
        )

    @pytest.mark.parametrize(
        ("state", "inode"), [(TcpState.FIN_WAIT2, 0), (TcpState.ESTABLISHED, 5000)]
    )
    def test_that_nobody_waits_for_is_a_leak(self, state: TcpState, inode: int) -> None:
        assert not JUDGE.one(sight(facing(12, state, inode))).note

    @pytest.mark.parametrize(
        ("server", "kinds"),
        [
            ({"receive_queue": 1, "has_read": True}, ["note"]),
            ({"receive_queue": 1}, ["leak"]),
            ({"receive_queue": 9, "has_read": True}, ["leak"]),
        ],
    )
    def test_is_one_if_the_request_was_read(self, server: dict[str, Any], kinds: list[str]) -> None:
        found = JUDGE.all(sight(facing(12, TcpState.FIN_WAIT2, 5000, **server)))
        assert ["note" if each.note else "leak" for each in found] == kinds

    def test_whose_client_is_a_relay_without_clients_is_a_leak(self) -> None:
        """docker-proxy: its own clients have gone, and it waits for the application's answer."""
        socks = facing(12, TcpState.FIN_WAIT2, inode=5000)
        shop = {sock.inode: (Process(1, "shop"),) for sock in socks[:12]}
        proxy = {sock.inode: (Process(2, "proxy"),) for sock in socks[12:]}
        gone = accepted(TcpState.CLOSE_WAIT, 8080, inode=7000, age=99.0).times(12)
        behind = {sock.inode: (Process(2, "proxy"),) for sock in gone}
        seen = sight([*socks, *gone, listening(443), listening(8080)])
        found = {f.subject.port: f for f in JUDGE.all(looked_up(seen, shop | proxy | behind))}
        assert {port: f.note for port, f in found.items()} == {443: False, 8080: False}
        assert found[443].summary.startswith("shop has not closed 12 connections")
        others = {sock.inode: (Process(3, "other"),) for sock in gone}
        found = {f.subject.port: f for f in JUDGE.all(looked_up(seen, shop | proxy | others))}
        assert {port: f.note for port, f in found.items()} == {443: True, 8080: False}

    def test_of_few_clients_is_not_worth_a_line(self) -> None:
        assert JUDGE.all(sight(facing(9, TcpState.FIN_WAIT2, inode=5000))) == []


def test_what_a_peer_has_yet_to_take_is_no_leak() -> None:
    assert JUDGE.all(leaked(50, send_queue=9, timer=1, retransmits=7)) == []


def test_what_was_not_accepted_is_no_leak() -> None:
    assert JUDGE.all(leaked(50, inode=0)) == []
    assert stale_groups(leaked(50, inode=0), Thresholds()) == []


class TestServicesOnOnePort:
    """Two programs, without a unit, that listen on two addresses."""

    ADDRESSES = ("10.0.0.1", "10.0.0.9")

    def leaks(self, *counts: int) -> tuple[list[Sock], dict[int, tuple[Process, ...]]]:
        socks: list[Sock] = []
        holders: dict[int, tuple[Process, ...]] = {}
        for n, (local, count) in enumerate(zip(self.ADDRESSES, counts, strict=True)):
            socks.append(listening(443, local=local, inode=10 + n))
            its = replace(LEAKED, local=local, inode=1000 * (n + 1)).times(count)
            holders |= {sock.inode: (Process(100 + n, "python3 two.py"),) for sock in its}
            socks += its
        return socks, holders

    def test_are_apart_each_with_its_count(self) -> None:
        socks, holders = self.leaks(12, 15)
        found = sorted(JUDGE.all(looked_up(sight(socks), holders)), key=lambda f: f.value)
        assert [(f.value, f.subject.owner) for f in found] == [
            (12, "python3_two.py@10.0.0.1"),
            (15, "python3_two.py@10.0.0.9"),
        ]
        assert "python3 two.py has not closed 12 connections" in found[0].summary
        assert "(accepted on port 443 of 10.0.0.1; " in found[0].summary
        assert "python3 two.py, PID 100." in found[0].advice[0].text
        assert "PID 101." in found[1].advice[0].text

    def test_both_below_the_threshold_are_counted_by_owner(self) -> None:
        socks, holders = self.leaks(6, 7)
        (found,) = JUDGE.all(looked_up(sight(socks), holders))
        assert (found.value, found.subject.owner) == (13, "python3_two.py")

    def test_of_one_unit_are_one(self) -> None:
        socks, _ = self.leaks(6, 7)
        found = JUDGE.one(owned(sight(socks)))
        assert (found.value, found.subject.owner) == (13, "shop.service")

    def test_of_two_programs_at_one_address_are_apart(self) -> None:
        socks = LEAKED.times(25)
        holders = {
            sock.inode: (Process(1, "one") if n < 12 else Process(2, "other"),)
            for n, sock in enumerate(socks)
        }
        found = JUDGE.all(looked_up(sight(socks), holders))
        assert {(f.value, f.subject.owner) for f in found} == {(12, "one"), (13, "other")}

    def test_keep_their_owner_whoever_has_more(self) -> None:
        socks = LEAKED.times(30)
        for share in (12, 18):
            holders = {
                sock.inode: (Process(1, "one") if n < share else Process(2, "other"),)
                for n, sock in enumerate(socks)
            }
            found = JUDGE.all(looked_up(sight(socks), holders))
            assert {f.subject.owner for f in found} == {"one", "other"}


def test_all_holders_of_shared_sockets_are_named() -> None:
    parent, child = Process(10, "python3 inherited.py"), Process(11, "sleep")
    found = JUDGE.one(owned(leaked(20), parent, child))
    assert found.subject.owner == "python3_inherited.py"
    assert found.advice[0].text.startswith(
        "Restart python3 inherited.py, PID 10, and sleep, PID 11. They lose"
    )
    assert facts(found)["held_by_several_processes"] == "20 sockets"
    assert advises(found, "until all of them have closed it")


def test_units_that_are_alike_in_their_first_forty_characters_are_two() -> None:
    units = [f"{'a' * 40}-{n}.service" for n in range(2)]
    socks = [
        sock
        for n in range(2)
        for sock in replace(LEAKED, cgroup_id=n + 1, inode=99 * (n + 1)).times(12)
    ]
    found = JUDGE.all(looked_up(sight(socks), {}, {1: units[0], 2: units[1]}))
    assert {f.subject.owner for f in found} == set(units)


def test_cgroups_of_one_unit_are_one() -> None:
    socks = [
        sock
        for n in range(3)
        for sock in replace(LEAKED, cgroup_id=n + 1, inode=99 * (n + 1)).times(4)
    ]
    found = JUDGE.one(looked_up(sight(socks), {}, dict.fromkeys((1, 2, 3), "shop.service")))
    assert (found.value, found.subject.owner) == (12, "shop.service")
