"""One rendering for all who listen: why open pages cost a poll nothing."""

import asyncio

import pytest
from starlette.types import Message

from sockmon.export.alerts import AlertingStatus
from sockmon.export.metrics import Build, Reload
from sockmon.model.observation import Moment, Observation
from sockmon.ui.web.board import Board
from sockmon.ui.web.events import EventsEndpoint

PAGES = 50


class Listener:
    """A client as the server sees it; it stays until it is told to leave."""

    def __init__(self) -> None:
        self.leaving = asyncio.Event()
        self.bodies: list[bytes] = []

    async def receive(self) -> Message:
        await self.leaving.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.body":
            self.bodies.append(message["body"])

    def observations(self) -> list[bytes]:
        return [body for body in self.bodies if body.startswith(b"event: observation")]


@pytest.fixture
def board() -> Board:
    return Board(
        clock=lambda: 103.0,
        build=Build("1", "3"),
        reload=Reload(successful=True, succeeded_at=0.0),
        started_at=0.0,
        interval=5.0,
    )


def observed(at: float) -> Observation:
    return Observation(Moment(at, at), 5.0, ())


def post(board: Board, at: float) -> None:
    board.post(observed(at), AlertingStatus())


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def test_an_event_is_rendered_once_for_all_who_listen(board: Board) -> None:
    async def scenario() -> None:
        endpoint = EventsEndpoint(board)
        post(board, 100.0)
        listeners = [Listener() for _ in range(PAGES)]
        scope = {"type": "http", "method": "GET"}
        tasks = [asyncio.create_task(endpoint(scope, x.receive, x.send)) for x in listeners]
        await settle()
        post(board, 101.0)
        await settle()
        for listener in listeners:
            listener.leaving.set()
        await asyncio.gather(*tasks)
        told = [listener.observations() for listener in listeners]
        assert {len(each) for each in told} == {2}
        for number in range(2):
            assert len({id(each[number]) for each in told}) == 1, "the very same bytes"
        assert listeners[0].bodies[1] == (
            b'event: beat\ndata: {"age_seconds":3.0,"interval_seconds":5.0}\n\n'
        )

    asyncio.run(scenario())


def test_before_the_first_poll_there_is_a_beat_alone(board: Board) -> None:
    async def scenario() -> list[bytes]:
        listener = Listener()
        task = asyncio.create_task(
            EventsEndpoint(board)(
                {"type": "http", "method": "GET"}, listener.receive, listener.send
            )
        )
        await settle()
        listener.leaving.set()
        await task
        return listener.bodies

    (beat,) = asyncio.run(scenario())
    assert b'"age_seconds":null' in beat
