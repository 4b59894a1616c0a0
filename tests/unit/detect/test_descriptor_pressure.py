"""Processes that run out of file descriptors, or hold sockets that the kernel has closed."""

from dataclasses import replace

import numpy as np

from sockmon.model.descriptors import Descriptors
from sockmon.model.detector_input import DetectorInput
from sockmon.model.finding import Deadline, Subject
from sockmon.model.owner import Process
from tests.unit.detect.builders import Sock, advises, commands, has_hysteresis, judge, sight

JUDGE = judge("descriptor_pressure")


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
    assert found.summary == "shop uses 500 of 1000 file descriptors, 60 more a minute"
    assert found.deadline == Deadline("file descriptors run out", 500.0)
    assert found.subject == Subject(owner="shop")
    assert JUDGE.all(uses(499, growth=1.0)) == []
    assert JUDGE.all(uses(500, growth=0.5)) == []


def test_what_most_of_them_are_is_said() -> None:
    most = JUDGE.one(uses(1000, sockets=501)).summary
    assert most == (
        "shop uses all of its 1000 file descriptors: accept(), connect() and open() fail; 501 of "
        "them are ESTABLISHED made to port 443"
    )
    assert "of them" not in JUDGE.one(uses(1000, sockets=500)).summary


def test_the_limit_can_be_raised_while_it_runs() -> None:
    assert "prlimit --pid 7 --nofile=2000:" in commands(JUDGE.one(uses(900)))
    assert "prlimit --pid 7 --nofile=6000" in commands(JUDGE.one(uses(2900, of=3000)))


def test_sockets_that_the_kernel_has_closed() -> None:
    found = JUDGE.one(uses(30, closed=20))
    assert (found.severity, found.value, found.limit) == ("warning", 20.0, 20.0)
    assert found.summary == (
        "shop holds 20 sockets that the kernel has already closed: they never come back"
    )
    assert advises(found, "forgets its connection")
    assert JUDGE.all(uses(30, closed=19)) == []


def test_nothing_is_known_of_a_process_without_a_limit() -> None:
    unlimited = Descriptors(Process(7, "shop", 900, None))
    assert JUDGE.all(replace(sight([]), descriptors=(unlimited,))) == []
