"""CLOSE_WAIT leaks, and all that only looks like one."""

from dataclasses import replace
from typing import Any

import pytest

from sockmon.model.detector_input import DetectorInput, PreviousFinding
from sockmon.model.finding import Command, Deadline, Subject
from sockmon.model.owner import Group, Owner, Process
from sockmon.model.states import TcpState
from tests.unit.detect.builders import (
    CGROUP,
    HOUR,
    NOW,
    UNKNOWN,
    Sock,
    accepted,
    advises,
    commands,
    facts,
    group_of,
    judge,
    owned,
    remembering,
    sight,
)

JUDGE = judge("close_wait_leak")
LEAKED = accepted(TcpState.CLOSE_WAIT, age=60.0, receive_queue=22)


def leaked(count: int, **others: Any) -> DetectorInput:
    return sight(replace(LEAKED, **others).times(count))


def with_descriptors(seen: DetectorInput, fds: int | None, limit: int | None) -> DetectorInput:
    owner = Owner("shop.service", "shop.service", (Process(1, "shop", fds, limit),))
    return replace(seen, owners={Group("inbound", 443, CGROUP): owner})


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


class TestIsNoFinding:
    def test_a_burst(self) -> None:
        assert JUDGE.all(leaked(5000, age=59.9)) == []

    def test_a_half_close_in_use(self) -> None:
        assert JUDGE.all(leaked(500, age=HOUR, silent=1.0)) == []

    @pytest.mark.parametrize("state", [s for s in TcpState if s is not TcpState.CLOSE_WAIT])
    def test_another_state(self, state: TcpState) -> None:
        assert JUDGE.all(leaked(500, state=state, age=HOUR)) == []

    def test_a_few_in_each_of_many_groups(self) -> None:
        socks = [
            sock
            for n in range(9)
            for sock in replace(LEAKED, age=HOUR, cgroup_id=n, local_port=8000 + n).times(9)
        ]
        assert JUDGE.all(sight(socks)) == []


class TestIsCritical:
    def test_when_it_grows_and_is_old(self) -> None:
        old = leaked(20, age=601.0)
        assert JUDGE.severity(old) == "warning"
        assert JUDGE.severity(grown(old, *range(8, 20))) == "critical"

    def test_and_says_why(self) -> None:
        grows = grown(leaked(20, age=601.0), *range(8, 20))
        assert JUDGE.one(grows).critical_because == "it still grows, and the oldest is 10m old"
        seen = with_descriptors(leaked(20), 850, 1024)
        full = JUDGE.one(remembering(seen, JUDGE.one(seen), "warning", *range(8, 20)))
        assert full.critical_because == (
            "its descriptors run out in about 14m; 83 % of its descriptors are in use"
        )
        assert full.deadline == Deadline("descriptors run out", (1024 - 850) * 5.0)
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
        # One socket more in every poll of 5 s: 720 an hour.
        for free, expected in ((719, "critical"), (721, "warning")):
            seen = with_descriptors(leaked(20), 4096 - free, 4096)
            raised = judge("close_wait_leak", critical_fd_ratio=1.0)
            finding = raised.one(seen)
            again = raised.one(remembering(seen, finding, "warning", *range(8, 20)))
            assert again.severity == expected
            assert again.deadline == Deadline("descriptors run out", free * 5.0)

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
    assert group_of(found) == ("inbound", 443, CGROUP)
    assert len(found.inodes) == 12
    assert "ss -tnpo state close-wait '( sport = :443 )'" in commands(found)


def test_it_tells_how_to_restart_it_or_to_find_out_whose_it_is() -> None:
    found = JUDGE.one(owned(leaked(10)))
    assert found.advice[0].purpose == "stop"
    assert found.advice[0].command == Command("systemctl restart shop.service", "here", "changes")
    unseen = replace(leaked(10), owners={Group("inbound", 443, CGROUP): Owner("unknown")})
    for seen in (leaked(10), unseen):
        found = JUDGE.one(seen)
        assert found.summary.startswith("an unknown process has not closed 10 connections")
        assert found.advice[0].purpose == "stop"
        assert "run sockmon doctor as root" in found.advice[0].text


def test_of_a_client_it_names_the_port_elsewhere() -> None:
    found = JUDGE.one(sight(Sock(TcpState.CLOSE_WAIT, age=99.0).times(10)))
    assert "made to port 443;" in found.summary
    assert advises(found, "All were read to the end")


def test_growth_is_told_by_the_minute() -> None:
    assert facts(JUDGE.one(grown(leaked(20), *range(8, 20))))["growth"] == "12.0 per_minute"
