"""A courier outlives its own mistakes, and brings the newest bulletin alone."""

import threading
from collections.abc import Iterator

import pytest

from sockmon.alert.notify.receiver import AlertSnapshot, Batch, Told
from sockmon.alert.notify.sender import Sender
from tests.lab import eventually
from tests.unit.alert.making import at, finding, firing


class Slow:
    """Notes what it is given, and waits to be let; then it fails the first `mistakes` times."""

    name = identity = "slow"
    where = "slow.example:9093"

    def __init__(self, mistakes: int = 0) -> None:
        self.told: Told = {}
        self.given: list[AlertSnapshot] = []
        self.let = threading.Event()
        self._mistakes = mistakes

    def due(self, bulletin: AlertSnapshot) -> Iterator[Batch]:
        yield bulletin.alerts

    def send(self, batch: Batch, bulletin: AlertSnapshot) -> None:
        assert batch == bulletin.alerts
        self.given.append(bulletin)
        self.let.wait(10)
        if self._mistakes:
            self._mistakes -= 1
            raise ValueError("Invalid header value b'hunter2'")


def bulletin(seconds: float) -> AlertSnapshot:
    return AlertSnapshot(at(seconds), 5.0, tuple(firing(finding()).values()))


def end(courier: Sender) -> None:
    courier.stop()
    courier.join(5)


def test_bulletins_that_came_meanwhile_are_one() -> None:
    receiver = Slow()
    courier = Sender(receiver, delivered=lambda: None)
    courier.post(bulletin(0))
    eventually(lambda: receiver.given)
    for second in range(1, 1000):
        courier.post(bulletin(second))
    receiver.let.set()
    eventually(lambda: len(receiver.given) == 2)
    end(courier)
    assert [given.at for given in receiver.given] == [at(0), at(999)]


def test_a_mistake_of_ours_is_told_and_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    receiver = Slow(mistakes=1)
    receiver.let.set()
    courier = Sender(receiver, delivered=lambda: None)
    courier.post(bulletin(0))
    eventually(lambda: len(receiver.given) == 2)
    eventually(lambda: courier.notifications.total == 2)
    end(courier)
    assert courier.notifications.failed == 1
    assert (
        "slow (slow.example:9093) was not told: a mistake of sockmon's own (ValueError)"
        in caplog.text
    )
    assert "hunter2" not in caplog.text
