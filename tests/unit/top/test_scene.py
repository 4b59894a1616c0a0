"""The verdict: what it says of findings, of failures, and of silence."""

from dataclasses import replace

import pytest

from sockmon.client.snapshot import Snapshot
from sockmon.top.scene import Scene, shortly, verdict
from tests.unit.top import making
from tests.unit.top.making import NOW

FAILURE = {"netns": "host", "reason": "EBUSY", "message": "the dump broke off"}
LEAK = [making.finding()]


@pytest.mark.parametrize(
    ("seen", "word", "text"),
    [
        (making.snapshot(), "OK", "the sockets are healthy"),
        (making.snapshot(polls=1), "LOOKING", "two polls must agree"),
        (making.snapshot(making.namespace(diagnosed_at=None)), "LOOKING", "two polls must agree"),
        (making.snapshot(failures=[FAILURE]), "UNKNOWN", "could not read: the dump broke off"),
        (
            making.snapshot(making.namespace(findings=LEAK), failures=[FAILURE]),
            "WARNING",
            "shop has not closed 12 connections",
        ),
        (
            making.snapshot(
                making.namespace(findings=LEAK, diagnosed_at=NOW.wall - 16), failures=[FAILURE]
            ),
            "UNKNOWN",
            "not diagnosed for 16s: the dump broke off",
        ),
    ],
)
def test_a_verdict_is_of_what_was_looked_at(seen: Snapshot, word: str, text: str) -> None:
    told = verdict(making.scene(seen), NOW.monotonic)
    assert told.word == word
    assert told.text.startswith(text)


def test_what_the_second_look_found_and_the_first_did_not_is_not_called_healthy() -> None:
    seen = making.sighting(making.snapshot())
    scene = Scene("db-7").saw(replace(seen, undecided=True))
    assert verdict(scene, NOW.monotonic).word == "LOOKING"
    assert verdict(scene.saw(seen), NOW.monotonic).word == "OK"


@pytest.mark.parametrize(("asked", "believed"), [(None, 15.0), (2.0, 15.0), (60.0, 180.0)])
def test_news_is_believed_for_three_intervals(asked: float | None, believed: float) -> None:
    scene = making.scene(asked=asked)
    assert scene.is_live(NOW.monotonic + believed)
    assert not scene.is_live(NOW.monotonic + believed + 0.1)
    assert verdict(scene, NOW.monotonic + believed + 0.1).word == "UNKNOWN"


def test_a_daemon_that_polls_faster_than_it_is_asked_is_believed() -> None:
    scene = making.scene(making.snapshot(interval_seconds=0.1), asked=None)
    assert scene.interval == 1.0
    assert scene.is_live(NOW.monotonic + 3.0)


def test_a_look_that_fails_ends_belief_at_once_and_the_next_restores_it() -> None:
    scene = making.scene().lost("connection refused")
    told = verdict(scene, NOW.monotonic + 1)
    assert told.word == "UNKNOWN"
    assert told.text.startswith("no news for 1s (connection refused); until then: OK")
    assert verdict(scene.saw(making.sighting(making.snapshot())), NOW.monotonic).word == "OK"


def test_before_the_first_sighting_nothing_is_known() -> None:
    scene = Scene("db-7", 2.0)
    assert verdict(scene, 0.0).word == "LOOKING"
    told = verdict(scene.lost("connection refused"), 0.0)
    assert (told.word, told.text) == ("UNKNOWN", "connection refused")


def test_one_poll_that_is_seen_twice_is_one_sample() -> None:
    scene = making.scene()
    assert len(scene.saw(making.sighting(making.snapshot())).trend.samples) == 1


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1.0, "0s"),
        (0.4, "0s"),
        (59.6, "1m"),
        (130, "2m10s"),
        (11_559, "3h12m"),
        (356_999, "4d3h"),
    ],
)
def test_ages_have_two_units_at_most(seconds: float, text: str) -> None:
    assert shortly(seconds) == text
