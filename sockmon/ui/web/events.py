"""/api/v1/events: server-sent events, for as long as a page listens.

    event: observation      at the beginning and after each poll; export/page.py says what it holds
    event: beat             after each of these, and every 5 s: {"age_seconds", "interval_seconds"},
                            how old the last poll is (null before the first), and how often they are

An event is rendered once for all who listen, and never when nobody does. A client that reads slowly
is sent the newest when it has taken what it was sent: what came in between was never kept for it.
"""

import asyncio
import contextlib
import json
from collections.abc import Coroutine
from typing import Any

from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from sockmon.export.page import page
from sockmon.ui.web.board import Board

#: So many may listen at a time: few enough to leave connections for all others.
STREAMS = 64
BEAT_SECONDS = 5.0
_RETRY_SECONDS = 30

_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
]


class EventsEndpoint:
    """An ASGI application of this one path."""

    def __init__(self, board: Board, streams: int = STREAMS) -> None:
        self._board = board
        self._free = streams
        self._rendered_of: object = None
        self._rendered = b""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Stream until the client leaves, or the server ends."""
        if scope["method"] == "HEAD":
            await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
            await send({"type": "http.response.body"})
            return
        if not self._free:
            full = PlainTextResponse(
                "as many pages listen as may: close one\n",
                status_code=503,
                headers={"Retry-After": str(_RETRY_SECONDS)},
            )
            await full(scope, receive, send)
            return
        self._free -= 1
        try:
            await _either(self._stream(send), _left(receive))
        finally:
            self._free += 1

    async def _stream(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
        sent: object = None
        while True:
            if self._board.observation is not sent:
                sent = self._board.observation
                await _write(send, self._observation())
            await _write(send, self._beat())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(BEAT_SECONDS):
                    await self._board.posted_after(sent)

    def _observation(self) -> bytes:
        board, observation = self._board, self._board.observation
        if observation is not None and observation is not self._rendered_of:
            told = page(observation, board.alerting.alerts, board.host, board.build.version)
            self._rendered = _event("observation", told)
            self._rendered_of = observation
        return self._rendered

    def _beat(self) -> bytes:
        observation = self._board.observation
        age = observation and round(self._board.clock() - observation.at.monotonic, 3)
        return _event("beat", {"age_seconds": age, "interval_seconds": self._board.interval})


def _event(name: str, data: object) -> bytes:
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return f"event: {name}\ndata: {text}\n\n".encode()


async def _write(send: Send, body: bytes) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": True})


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _either(*ways: Coroutine[Any, Any, None]) -> None:
    """Run them until one has ended; what it raises is raised here."""
    tasks = [asyncio.create_task(way) for way in ways]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
