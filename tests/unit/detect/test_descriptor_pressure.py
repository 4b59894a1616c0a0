"""A process that runs out of descriptors, or holds sockets that the kernel has closed."""

from dataclasses import replace

from sockmon.model.descriptors import Descriptors
from sockmon.model.detector_input import DetectorInput
from sockmon.model.owner import Process
from tests.unit.detect.builders import judge, remembering, sight

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
            "shop.service uses 1000 of 1024 file descriptors, and holds 20 sockets that the kernel "
            "has already closed: they never come back"
        )
