"""A poll that reads a part of the table says nothing of the rest: what was found there holds."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from sockmon.detect.registry import Detect, thresholds_of
from sockmon.kernel.inspector import Inspector
from sockmon.model.ages import NOTHING_HEARD
from sockmon.model.listeners import ListenDrops
from sockmon.model.observation import Place, PortSockets
from sockmon.model.states import RESTING_STATES, TcpState
from sockmon.poll.diagnosis import DiagnosisState
from sockmon.poll.owners import OwnerFinder
from tests.unit.detect.builders import NOW, Sock, sight

LIMITS = thresholds_of(Detect())
DEAD = [*Sock(timer=1, retransmits=5, send_queue=700, inode=0).times(5)]
STALLED = [*Sock(state=TcpState.SYN_SENT, timer=1, retransmits=3, inode=0).times(5)]


class Polls:
    """A diagnostician, shown poll after poll what it sees, five seconds apart."""

    def __init__(self, inspector: Inspector | None = None) -> None:
        finder = OwnerFinder(inspector or Inspector(Path("/nowhere")), lambda: None)
        self._diagnostician = DiagnosisState(finder)
        self._now = NOW
        self._unasked: frozenset[str] = frozenset()
        self.waiting: frozenset[Place] = frozenset()

    def whole(self, *socks: Sock) -> set[str]:
        return self._poll(socks, whole=True)

    def part(self, *socks: Sock) -> set[str]:
        return self._poll((s for s in socks if s.state not in RESTING_STATES), whole=False)

    @property
    def skipped(self) -> frozenset[str]:
        """The detectors that had no say in the last poll."""
        return self._unasked

    @property
    def suspects(self) -> bool:
        return self._diagnostician.suspects

    def _poll(self, socks: Iterable[Sock], *, whole: bool) -> set[str]:
        self._now += 5.0
        seen = replace(sight(socks), now=self._now)
        diagnosis = self._diagnostician.diagnose(
            seen, NOTHING_HEARD, ListenDrops(), LIMITS, whole=whole
        )
        self._unasked, self.waiting = diagnosis.skipped, diagnosis.waiting
        return {finding.detector for finding in diagnosis.findings}


def test_what_was_found_among_those_at_rest_holds_until_they_are_read_again() -> None:
    polls = Polls()
    assert polls.whole(*DEAD) == set()
    assert polls.whole(*DEAD) == {"dead_peer"}
    for _ in range(30):  # longer than a finding is remembered that polls have missed
        assert polls.part(*DEAD) == {"dead_peer"}
        assert polls.suspects
    assert polls.whole(*DEAD) == {"dead_peer"}
    assert polls.whole() == set()


def test_a_part_is_no_second_opinion() -> None:
    polls = Polls()
    polls.whole(*DEAD)
    assert polls.part(*DEAD) == set()
    assert polls.part(*DEAD) == set()
    assert polls.whole(*DEAD) == {"dead_peer"}


def test_what_a_part_shows_is_judged_at_every_poll() -> None:
    polls = Polls()
    polls.whole()
    assert polls.part(*STALLED) == set()
    assert polls.part(*STALLED) == {"connect_stalled"}
    assert polls.part() == set()


def test_that_a_part_shows_nothing_of_those_at_rest_proves_nothing() -> None:
    polls = Polls()
    polls.part()
    assert "dead_peer" in polls.skipped
    assert "connect_stalled" not in polls.skipped
    polls.whole()
    assert not polls.skipped


class TestSocketsThatLiveShorterThanALook:
    """Each poll sees other sockets, and nobody is ever found to hold them."""

    def polls(self, state: TcpState, **others: Any) -> list[set[str]]:
        never = Inspector(Path("/nowhere"), stop_requested=lambda: True)
        polls = Polls(never)
        seen = []
        for n in range(4):
            sock = Sock(state, inode=1000 * (n + 1), local_port=40000 + 100 * n, **others)
            seen.append(polls.whole(*sock.times(50)))
        return seen

    def test_are_found_to_reach_nobody(self) -> None:
        assert self.polls(TcpState.SYN_SENT)[-1] == {"connect_stalled"}

    def test_are_not_told_by_owner_before_it_is_known(self) -> None:
        assert self.polls(TcpState.CLOSE_WAIT, age=99.0)[-1] == set()


def test_a_finding_whose_owner_is_looked_up_waits_and_proves_no_end() -> None:
    polls = Polls(Inspector(Path("/nowhere"), stop_requested=lambda: True))
    leak = Sock(TcpState.CLOSE_WAIT, local_port=443, remote_port=50_000, inode=1000).times(50)
    for _ in range(14):  # until they are stale
        assert polls.whole(*leak) == set()
    assert polls.waiting == {("close_wait_leak", "inbound", 443)}


def test_a_finding_that_the_next_poll_must_confirm_waits() -> None:
    polls = Polls()
    polls.whole(*DEAD)
    assert ("dead_peer", "outbound", 443) in polls.waiting
    polls.whole(*DEAD)
    assert polls.waiting == set()


def test_a_port_of_one_connection_has_no_figure_of_its_own() -> None:
    """A client's port, or FTP's for data, is no label: those to one are told together."""
    passing = Sock()
    socks = [
        replace(passing, local_port=33_000 + n, remote_port=40_000 + n, inode=n + 1)
        for n in range(30)
    ]
    socks += Sock(remote_port=50_000).times(3)
    socks += Sock(remote_port=443, local_port=35_000, inode=7_000).times(2)
    state = DiagnosisState(OwnerFinder(Inspector(Path("/nowhere")), lambda: None))
    diagnosis = state.diagnose(sight(socks), NOTHING_HEARD, ListenDrops(), LIMITS)
    assert diagnosis.counted["sockmon_idle_sockets_without_keepalive"] == (
        PortSockets("outbound", 50_000, 3),
        PortSockets("outbound", 443, 2),
        PortSockets("outbound", None, 30),
    )
