"""/api/v1/events keeps little for names that clients make up."""

import asyncio
import tracemalloc

from starlette.types import Message, Scope

from sockmon.export.metrics import Build, Reload
from sockmon.web.daemon_status import LatestObservation
from sockmon.web.events import EventsEndpoint
from tests.unit.polls import WALL, at, everything, poll

#: A request line may be so long.
_NAME_BYTES = 16_000


async def ask(endpoint: EventsEndpoint, name: str) -> None:
    """Open a stream of this namespace, and leave it with its first event."""
    begun = asyncio.Event()

    async def receive() -> Message:
        await begun.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        if message.get("body"):
            begun.set()

    scope: Scope = {
        "type": "http",
        "method": "GET",
        "query_string": f"netns={name}".encode(),
        "headers": [],
    }
    await endpoint(scope, receive, send)


async def kept_after(endpoint: EventsEndpoint, names: int) -> int:
    """How many bytes are kept after so many made-up names."""
    before = tracemalloc.get_traced_memory()[0]
    for number in range(names):
        await ask(endpoint, f"{number:0{_NAME_BYTES}}")
    return tracemalloc.get_traced_memory()[0] - before


def test_renderings_of_made_up_names_are_bounded() -> None:
    build, reload = Build("1", "3"), Reload(successful=True, succeeded_at=WALL)
    latest = LatestObservation(lambda: 0.0, build, reload, 0.0, 5.0)
    latest.observation = poll(at(0), everything(at(0)))
    endpoint = EventsEndpoint(latest)
    tracemalloc.start()
    try:
        with asyncio.Runner() as runner:
            few, more = (runner.run(kept_after(endpoint, names)) for names in (100, 400))
    finally:
        tracemalloc.stop()
    assert few > 64 * _NAME_BYTES / 2, "names are in what is rendered"
    assert more < few / 2
