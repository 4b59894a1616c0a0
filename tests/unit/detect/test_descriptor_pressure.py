"""A process that runs out of descriptors, or holds sockets that the kernel has closed."""

from dataclasses import replace

import numpy as np

from sockmon.language import Text
from sockmon.model.descriptors import Descriptors
from sockmon.model.detector_input import DetectorInput
from sockmon.model.finding import Deadline, Subject
from sockmon.model.owner import Process
from tests.unit.detect.builders import (
    Sock,
    commands,
    has_hysteresis,
    judge,
    remembering,
    sight,
)

JUDGE = judge("descriptor_pressure")
SHOP = Process(7, "shop", fds=50, fd_limit=1024, unit="shop.service")


def holding(closed: int, process: Process = SHOP) -> DetectorInput:
    return sight(descriptors=(Descriptors(process, closed=closed),))


class TestSocketsThatTheKernelHasClosed:
    def test_may_be_of_a_pool(self) -> None:
        found = JUDGE.one(holding(20))
        assert found.note
        assert found.summary == (
            "shop.service holds 20 sockets that the kernel has already closed: no harm if they are "
            "of a pool whose servers have reset idle connections, a leak if they become more"
        )
        assert JUDGE.all(holding(19)) == []

    def test_are_a_leak_if_they_become_more(self) -> None:
        seen, found = holding(40), JUDGE.one(holding(40))
        growing = JUDGE.one(remembering(seen, found, "warning", *range(20, 40, 2)))
        assert not growing.note
        assert growing.summary == (
            "shop.service holds 40 sockets that the kernel has already closed: they never come back"
        )
        assert JUDGE.one(remembering(seen, found, "warning", *[40] * 30)).note
        assert JUDGE.one(remembering(seen, found, "warning", 36, 38)).note  # not known yet

    def test_are_a_leak_if_they_are_too_many_for_a_pool(self) -> None:
        assert not JUDGE.one(holding(100)).note

    def test_are_told_beside_the_pressure(self) -> None:
        found = JUDGE.one(holding(20, replace(SHOP, fds=1000)))
        assert found.summary == (
            "shop.service uses 1,000 of 1,024 file descriptors, and holds 20 sockets that the "
            "kernel has already closed: they never come back"
        )


def uses(
    fds: float, growth: float | None = None, closed: int = 0, of: int = 1000, sockets: int = 0
) -> DetectorInput:
    """One process; `sockets` of its descriptors are connections to port 443."""
    seen = sight(Sock().times(sockets))
    process = Process(7, "shop", int(fds), of, growth=growth, fd_hard_limit=4000)
    inodes = np.sort(seen.table.inode)
    return replace(seen, descriptors=(Descriptors(process, {}, inodes, closed),))


def test_its_limits_and_hysteresis() -> None:
    has_hysteresis(JUDGE, uses, (800, 799, 719), (950, 949, 854))


def test_what_runs_out_soon_is_critical_from_half_of_the_limit_on() -> None:
    found = JUDGE.one(uses(500, growth=1.0))
    assert (found.severity, found.critical_because) == ("critical", "they run out in about 8m20s")
    assert found.summary == "shop uses 500 of 1,000 file descriptors, 60 more a minute"
    assert found.deadline == Deadline(Text("file descriptors run out"), 500.0)
    assert found.subject == Subject(owner="shop")
    assert JUDGE.all(uses(499, growth=1.0)) == []
    assert JUDGE.all(uses(500, growth=0.5)) == []


def test_what_most_of_them_are_is_said() -> None:
    most = JUDGE.one(uses(1000, sockets=501)).summary
    assert most == (
        "shop uses all of its 1,000 file descriptors (501 are ESTABLISHED made to port 443): "
        "accept(), connect() and open() fail"
    )
    assert " are " not in JUDGE.one(uses(1000, sockets=500)).summary


def test_the_limit_can_be_raised_while_it_runs() -> None:
    assert "prlimit --pid 7 --nofile=2000:" in commands(JUDGE.one(uses(900)))
    assert "prlimit --pid 7 --nofile=6000" in commands(JUDGE.one(uses(2900, of=3000)))


def test_nothing_is_known_of_a_process_without_a_limit() -> None:
    unlimited = Descriptors(Process(7, "shop", 900, None))
    assert JUDGE.all(replace(sight([]), descriptors=(unlimited,))) == []
