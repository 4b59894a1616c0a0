"""A sender survives its own mistakes, and delivers only the newest snapshot."""

import threading
from collections.abc import Iterator

import pytest

from sockmon.alert.notify.receiver import AlertSnapshot, Batch, Reported
from sockmon.alert.notify.sender import Sender
from sockmon.contained import COMPONENTS
from tests.lab import eventually
from tests.unit.alert.making import at, finding, firing


class Slow:
    """Notes what it is given, and waits to be let; then it fails the first `mistakes` times."""

    name = identity = "slow"
    where = "slow.example:9093"

    def __init__(self, mistakes: int = 0) -> None:
        self.reported: Reported = {}
        self.given: list[AlertSnapshot] = []
        self.let = threading.Event()
        self._mistakes = mistakes

    def due(self, snapshot: AlertSnapshot) -> Iterator[Batch]:
        yield snapshot.alerts

    def send(self, batch: Batch, snapshot: AlertSnapshot) -> None:
        assert batch == snapshot.alerts
        self.given.append(snapshot)
        self.let.wait(10)
        if self._mistakes:
            self._mistakes -= 1
            raise ValueError("Invalid header value b'hunter2'")


def snapshot(seconds: float) -> AlertSnapshot:
    return AlertSnapshot(at(seconds), 5.0, tuple(firing(finding()).values()))


def end(sender: Sender) -> None:
    sender.stop()
    sender.join(5)


def test_only_the_newest_of_waiting_snapshots_is_delivered() -> None:
    receiver = Slow()
    sender = Sender(receiver, delivered=lambda: None)
    sender.post(snapshot(0))
    eventually(lambda: receiver.given)
    for second in range(1, 1000):
        sender.post(snapshot(second))
    receiver.let.set()
    eventually(lambda: len(receiver.given) == 2)
    end(sender)
    assert [given.at for given in receiver.given] == [at(0), at(999)]


def test_a_bug_is_logged_and_the_message_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    receiver = Slow(mistakes=1)
    receiver.let.set()
    sender = Sender(receiver, delivered=lambda: None)
    sender.post(snapshot(0))
    eventually(lambda: len(receiver.given) == 2)
    eventually(lambda: sender.notifications.total == 2)
    end(sender)
    assert sender.notifications.failed == 1
    assert "cannot notify slow (slow.example:9093): a bug in sockmon (ValueError)" in caplog.text
    assert "hunter2" not in caplog.text


class Confused(Slow):
    """Its first look at what is due fails by a mistake of ours."""

    name = identity = "confused"

    def due(self, snapshot: AlertSnapshot) -> Iterator[Batch]:
        if self._mistakes:
            self._mistakes -= 1
            raise LookupError("hunter2")
        return super().due(snapshot)


def test_a_bug_before_the_message_does_not_end_the_thread(
    caplog: pytest.LogCaptureFixture,
) -> None:
    receiver = Confused(mistakes=1)
    receiver.let.set()
    sender = Sender(receiver, delivered=lambda: None)
    sender.post(snapshot(0))
    eventually(lambda: receiver.given)
    eventually(lambda: "notify.confused" not in COMPONENTS.failing)
    end(sender)
    assert COMPONENTS.counts["notify.confused"] == 1
    assert "cannot notify confused" in caplog.text
    assert "hunter2" not in caplog.text


def test_nothing_is_sent_before_it_is_saved() -> None:
    receiver, saved = Slow(), threading.Event()
    receiver.let.set()

    def wait() -> None:
        saved.wait(10)

    sender = Sender(receiver, delivered=lambda: None, saved=wait)
    sender.post(snapshot(0))
    assert receiver.given == []
    saved.set()
    eventually(lambda: receiver.given)
    end(sender)
