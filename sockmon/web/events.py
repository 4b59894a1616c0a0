"""/api/v1/events: server-sent events, for as long as a page listens.

    event: observation      at the beginning and after each poll: messages.Observation, in which
                            `namespace` is the one that the parameter `netns` names
    event: beat             after each of these, and every 5 s: messages.Beat

An event is rendered once for all clients that look at the same namespace, and only if there is one;
the part about all namespaces is rendered once for everyone. A client that reads slowly is sent the
newest event when it has read the one before: nothing is queued for it.
"""

import asyncio
import contextlib
import json
import time
from collections.abc import Coroutine
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.types import Receive, Scope, Send

from sockmon.export import page
from sockmon.export.messages import page as messages
from sockmon.web.daemon_status import LatestObservation

#: Clients that may listen at a time: few enough to leave connections for everything else.
STREAMS = 64
#: Namespaces whose rendering is kept until the next poll; clients may ask for any name.
_RENDERED_AT_MOST = STREAMS
BEAT_SECONDS = 5.0
_RETRY_SECONDS = 30

_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
]


class EventsEndpoint:
    """The ASGI application of this path."""

    def __init__(self, latest: LatestObservation, streams: int = STREAMS) -> None:
        self._latest = latest
        self._limit = self._free = streams
        self._rendered_of: object = None
        self._everywhere = ""
        self._rendered: dict[str, bytes] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Stream until the client leaves, or the server ends."""
        parameters = Request(scope).query_params
        if not parameters.keys() <= {"netns"}:
            unknown = JSONResponse({"error": "unknown parameter: expected netns"}, status_code=400)
            await unknown(scope, receive, send)
            return
        if scope["method"] == "HEAD":
            await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
            await send({"type": "http.response.body"})
            return
        if not self._free:
            full = PlainTextResponse(
                f"The limit of {self._limit} open live streams is reached. "
                "Close another sockmon tab, then reload.\n",
                status_code=503,
                headers={"Retry-After": str(_RETRY_SECONDS)},
            )
            await full(scope, receive, send)
            return
        self._free -= 1
        try:
            await _either(self._stream(send, parameters.get("netns")), _disconnected(receive))
        finally:
            self._free += 1

    async def _stream(self, send: Send, netns: str | None) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
        sent: object = None
        while True:
            if self._latest.observation is not sent:
                sent = self._latest.observation
                await _write(send, self._observation(netns))
            await _write(send, self._beat())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(BEAT_SECONDS):
                    await self._latest.posted_after(sent)

    def _observation(self, netns: str | None) -> bytes:
        latest, observation = self._latest, self._latest.observation
        if observation is None:
            return b""
        if observation is not self._rendered_of:
            zone = _zone(observation.at.wall)
            rendered = page.everywhere(observation, latest.host, latest.build.version, zone)
            self._everywhere, self._rendered = _json(rendered), {}
            self._rendered_of = observation
        name = observation.namespaces[0].name if netns is None else netns
        if name not in self._rendered:
            if len(self._rendered) >= _RENDERED_AT_MOST:
                del self._rendered[next(iter(self._rendered))]
            inside = _json(page.inside(observation, latest.alerting.alerts, name))
            data = f"{self._everywhere[:-1]},{inside[1:]}"  # two objects made one
            self._rendered[name] = _event("observation", data)
        return self._rendered[name]

    def _beat(self) -> bytes:
        observation, now = self._latest.observation, self._latest.clock()
        beat: messages.Beat = {
            "age_seconds": round(now - observation.at.monotonic, 3) if observation else None,
            "interval_seconds": self._latest.interval,
        }
        return _event("beat", _json(beat))


def _zone(wall: float) -> messages.Zone:
    """Return the host's time zone at this time in Unix seconds."""
    local = time.localtime(wall)
    return {"name": local.tm_zone, "offset_seconds": local.tm_gmtoff}


def _json(data: object) -> str:
    return json.dumps(data, separators=(",", ":"), allow_nan=False)


def _event(name: str, data: str) -> bytes:
    return f"event: {name}\ndata: {data}\n\n".encode()


async def _write(send: Send, body: bytes) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": True})


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _either(*ways: Coroutine[Any, Any, None]) -> None:
    """Run both until one has ended; what it raises is raised here."""
    tasks = [asyncio.create_task(way) for way in ways]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
