"""Looks follow each other in a thread of their own, and nothing they meet is lost."""

import queue
import threading
from collections.abc import Iterator

import pytest

from sockmon.client.snapshot import FetchError
from sockmon.top.refresh import Feed, News
from sockmon.top.scene import By, Sighting
from tests.lab import PATIENCE
from tests.unit.top import making


class Scripted:
    """A source that brings what it was given, one thing a look, and then waits to be stopped."""

    where = "here"

    def __init__(self, *script: Sighting | Exception) -> None:
        self._script = iter(script)
        self.asked: list[By] = []
        self.stopped, self.closed = threading.Event(), threading.Event()

    def look(self, by: By) -> Sighting:
        self.asked.append(by)
        for news in self._script:
            if isinstance(news, Exception):
                raise news
            return news
        self.stopped.wait(PATIENCE)
        return SIGHTING

    def every(self, seconds: float) -> None:
        self.interval = seconds

    def stop(self) -> None:
        self.stopped.set()

    def close(self) -> None:
        self.closed.set()


SIGHTING = making.sighting(making.snapshot(interval_seconds=0.1))


class Running:
    """A feed, and what it delivers."""

    def __init__(self, *script: Sighting | Exception, interval: float | None = 0.1) -> None:
        self.source = Scripted(*script)
        self.heard: queue.SimpleQueue[News] = queue.SimpleQueue()
        self.feed = Feed(self.source, interval, self.heard.put)
        self.feed.start()

    def hears(self) -> News:
        return self.heard.get(timeout=PATIENCE)

    def stop(self) -> None:
        self.feed.stop()
        assert self.source.closed.wait(PATIENCE)


@pytest.fixture
def started() -> Iterator[list[Running]]:
    made: list[Running] = []
    yield made
    for running in made:
        running.stop()


def test_it_looks_again_and_goes_on_after_a_failure(started: list[Running]) -> None:
    running = Running(SIGHTING, FetchError("refused"), SIGHTING)
    started.append(running)
    assert running.hears() is SIGHTING
    assert isinstance(running.hears(), FetchError)
    assert running.hears() is SIGHTING


def test_another_grouping_does_not_wait_for_the_interval(started: list[Running]) -> None:
    running = Running(*[SIGHTING] * 3, interval=3600.0)
    started.append(running)
    running.hears()
    running.hears()  # the second look comes after a second: two polls must agree
    running.feed.group_by("peer")
    running.hears()
    assert running.source.asked == ["port", "port", "peer"]


def test_another_interval_counts_at_once(started: list[Running]) -> None:
    running = Running(*[SIGHTING] * 4, interval=3600.0)
    started.append(running)
    running.hears()
    running.hears()
    running.feed.every(0.1)
    running.hears()
    running.hears()
    assert running.source.interval == 0.1


def test_a_mistake_of_ours_is_told(started: list[Running]) -> None:
    mistake = ZeroDivisionError()
    running = Running(mistake)
    started.append(running)
    assert running.hears() is mistake


def test_stopped_it_says_nothing_more() -> None:
    running = Running(SIGHTING)
    running.hears()
    while len(running.source.asked) < 2:
        running.feed.group_by("owner")
    running.stop()
    assert running.heard.empty()
