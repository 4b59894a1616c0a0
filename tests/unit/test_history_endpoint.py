"""Pages that open all at once are answered with one rendering, until the next poll."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import pytest
from starlette.requests import Request
from starlette.responses import Response

from sockmon.export.metrics import Build, Reload
from sockmon.history.snapshot import HistorySnapshot
from sockmon.history.store import History
from sockmon.web.daemon_status import LatestObservation
from sockmon.web.history import HistoryEndpoint
from tests.unit.polls import WALL, at, everything, poll, saw


@dataclass
class Daemon:
    """Polls when told to, and counts how often somebody wants to know of the past."""

    history: History = field(default_factory=History)
    asked: int = 0

    def __post_init__(self) -> None:
        build, reload = Build("1", "3"), Reload(successful=True, succeeded_at=WALL)
        self.latest = LatestObservation(lambda: 0.0, build, reload, 0.0, 5.0, past=self.past)

    def past(self) -> HistorySnapshot | None:
        self.asked += 1
        return self.history.past()

    def poll(self, seconds: float) -> None:
        moment = at(seconds)
        self.latest.observation = poll(moment, everything(moment))
        self.history.observe(self.latest.observation, moment)


class Asking:
    """Clients of an endpoint, all in one event loop."""

    def __init__(self, runner: asyncio.Runner, latest: LatestObservation) -> None:
        self._runner = runner
        self._endpoint = HistoryEndpoint(latest)

    def __call__(self, *queries: str) -> list[Response]:
        """The answers to all of these, asked at once."""
        return self._runner.run(self._answers(queries))

    async def _answers(self, queries: tuple[str, ...]) -> list[Response]:
        requests = [
            Request({"type": "http", "query_string": query.encode(), "headers": []})
            for query in queries
        ]
        return await asyncio.gather(*map(self._endpoint.answer, requests))


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as made:
        yield made


def test_the_same_question_is_answered_once_a_poll(runner: asyncio.Runner) -> None:
    daemon = Daemon()
    daemon.poll(0)
    ask = Asking(runner, daemon.latest)
    first, *others = ask(*["range=hour"] * 50)
    assert daemon.asked == 1
    assert {bytes(other.body) for other in others} == {bytes(first.body)}
    ask("range=hour", "range=day", "")
    assert daemon.asked == 2
    daemon.poll(5)
    (later,) = ask("range=hour")
    assert daemon.asked == 3
    assert len(later.body) > len(first.body)


def test_however_many_questions_there_are_the_answers_are_right(runner: asyncio.Runner) -> None:
    daemon = Daemon()
    daemon.poll(0)
    queries = [f"groups={number}" for number in range(17)]
    alone = [Asking(runner, daemon.latest)(query)[0].body for query in queries]
    assert len(set(alone)) == 3  # there are two groups
    together = Asking(runner, daemon.latest)(*queries, *queries)
    assert [answer.body for answer in together] == alone * 2


def test_there_is_nothing_before_the_first_poll(runner: asyncio.Runner) -> None:
    (answer,) = Asking(runner, Daemon().latest)("")
    assert (answer.status_code, answer.body) == (
        503,
        b'{"error":"the first poll has not ended yet"}',
    )


def test_of_a_namespace_that_is_not_there_there_is_no_answer(runner: asyncio.Runner) -> None:
    daemon = Daemon()
    daemon.poll(0)
    (answer,) = Asking(runner, daemon.latest)("netns=elsewhere")
    assert answer.status_code == 404
    here = daemon.latest.observation
    assert here is not None
    other = replace(saw(at(0)), name="elsewhere")
    daemon.latest.observation = replace(here, namespaces=(*here.namespaces, other))
    (answer,) = Asking(runner, daemon.latest)("netns=elsewhere")
    assert answer.status_code == 200
    assert b'"step_seconds":null,' in bytes(answer.body)
