"""One rendering for all who listen: why open pages cost a poll nothing."""

import asyncio
import json
import tracemalloc
from dataclasses import replace
from typing import Any

import pytest
from starlette.types import Message, Scope

from sockmon.export import json as render
from sockmon.export import page
from sockmon.export.alerts import AlertingStatus
from sockmon.export.messages.page import Zone
from sockmon.export.metrics import Build, Reload
from sockmon.export.page import LISTED
from sockmon.model.poll_statistics import Failure
from sockmon.web.daemon_status import LatestObservation
from sockmon.web.events import EventsEndpoint
from tests.unit.alert.making import finding, firing, resolved
from tests.unit.polls import at, everything, poll, saw

PAGES = 50
UTC: Zone = {"name": "UTC", "offset_seconds": 0}


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
def latest() -> LatestObservation:
    return LatestObservation(
        clock=lambda: at(3.0 + 5.0).monotonic,
        build=Build("1", "3"),
        reload=Reload(successful=True, succeeded_at=0.0),
        started_at=0.0,
        interval=5.0,
    )


#: Of a poll that has seen this many.
NAMESPACES = 300
#: What a page is told of each of them, at most, in bytes.
LINE = 650


def post(latest: LatestObservation, seconds: float, namespaces: int = 1) -> None:
    """Put up a poll of the host, and of other namespaces with ports, findings and alerts."""
    moment = at(seconds)
    busy = everything(moment, [finding()])
    pods = [replace(busy, name=f"pod-{number:012}") for number in range(1, namespaces)]
    latest.post(poll(moment, everything(moment), *pods), AlertingStatus())


def data(body: bytes) -> Any:
    """What an event tells."""
    return json.loads(body.partition(b"data: ")[2])


def hear(
    latest: LatestObservation, *queries: str, polls: int = 1, namespaces: int = 1
) -> list[Listener]:
    """Have pages listen, each with its query, over so many polls; return what they heard."""

    async def scenario() -> list[Listener]:
        endpoint = EventsEndpoint(latest)
        listeners = [Listener() for _ in queries]
        post(latest, 0.0, namespaces)
        tasks = [
            asyncio.create_task(endpoint(scope(query), one.receive, one.send))
            for query, one in zip(queries, listeners, strict=True)
        ]
        await settle()
        for number in range(1, polls):
            post(latest, 5.0 * number, namespaces)
            await settle()
        for listener in listeners:
            listener.leaving.set()
        await asyncio.gather(*tasks)
        return listeners

    return asyncio.run(scenario())


def scope(query: str = "") -> Scope:
    return {"type": "http", "method": "GET", "query_string": query.encode(), "headers": []}


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def test_an_event_is_rendered_once_for_all_who_listen(latest: LatestObservation) -> None:
    listeners = hear(latest, *[""] * PAGES, polls=2)
    told = [listener.observations() for listener in listeners]
    assert {len(each) for each in told} == {2}
    for number in range(2):
        assert len({id(each[number]) for each in told}) == 1, "the very same bytes"
    assert listeners[0].bodies[1] == (
        b'event: beat\ndata: {"age_seconds":8.0,"interval_seconds":5.0}\n\n'
    )


def test_pages_that_look_at_one_namespace_share_a_rendering_too(latest: LatestObservation) -> None:
    names = ["", "netns=host", "netns=pod-000000000007", "netns=pod-000000000007", "netns=none"]
    own, host, pod, same, none = (
        one.observations()[0] for one in hear(latest, *names, namespaces=9)
    )
    assert own is host
    assert pod is same
    told = [data(body) for body in (host, pod, none)]
    assert [one["namespace"] and one["namespace"]["netns"] for one in told] == [
        "host", "pod-000000000007", None,
    ]  # fmt: skip
    assert all(one["namespaces"] == told[0]["namespaces"] for one in told)


def test_names_that_clients_make_up_cost_no_memory(latest: LatestObservation) -> None:
    async def scenario() -> int:
        endpoint = EventsEndpoint(latest)
        post(latest, 0.0)
        tracemalloc.start()
        try:
            for number in range(500):
                listener = Listener()
                asking = endpoint(
                    scope(f"netns={number}{'x' * 16_000}"), listener.receive, listener.send
                )
                task = asyncio.create_task(asking)
                await settle()
                assert listener.observations()
                listener.leaving.set()
                await task
            return tracemalloc.get_traced_memory()[0]
        finally:
            tracemalloc.stop()

    assert asyncio.run(scenario()) < 4 << 20  # of 16 MB that were asked for


def test_what_a_page_is_told_is_bounded_however_many_namespaces_there_are(
    latest: LatestObservation,
) -> None:
    alone, many, most = (
        len(hear(latest, "", namespaces=count)[0].observations()[0])
        for count in (1, NAMESPACES, LISTED + 200)
    )
    assert many - alone < NAMESPACES * LINE
    assert most - alone < LISTED * LINE


def test_of_too_many_namespaces_the_worst_and_the_largest_are_listed() -> None:
    moment = at(0)
    host = saw(moment)
    small = [saw(moment, 1, name=f"small{number}") for number in range(LISTED)]
    large, bad = saw(moment, 9, name="large"), replace(everything(moment, [finding()]), name="bad")
    observation = poll(moment, host, *small, large, bad)
    told = page.everywhere(observation, "web-1", "1", UTC)
    assert [line["netns"] for line in told["namespaces"][:4]] == ["host", "bad", "large", "small0"]
    assert (len(told["namespaces"]), told["left_out"]) == (LISTED, 3)


def test_one_that_could_not_be_opened_is_listed_too(latest: LatestObservation) -> None:
    moment = at(0)
    shut = Failure("shut", "EPERM", "setns in netns shut: Operation not permitted")
    latest.post(replace(poll(moment, saw(moment)), failures=(shut,)), AlertingStatus())
    told = page.everywhere(latest.observation or poll(moment), "web-1", "1", UTC)
    assert [line["netns"] for line in told["namespaces"]] == ["host", "shut"]
    assert told["namespaces"][1]["unseen"] == 1
    assert told["namespaces"][1]["sockets"] is None
    inside = page.inside(latest.observation or poll(moment), (), "shut")
    assert inside["failures"][0]["message"] == shut.message
    assert inside["namespace"] is not None
    assert inside["namespace"]["tcp"] is None


def test_of_an_observation_one_namespace_may_be_asked_for() -> None:
    observation = poll(at(0), saw(at(0)), saw(at(0), name="pod"))
    whole, one = (render.observation(observation, netns) for netns in (None, "pod"))
    assert one == {**whole, "namespaces": whole["namespaces"][1:]}


def test_a_page_is_told_the_alerts_of_its_namespace_and_how_many_others_there_are() -> None:
    moment = at(0)
    alerts = [
        *firing(finding(netns="pod")).values(),
        *firing(finding(netns="other")).values(),
        *resolved(finding(netns="other", port=81)).values(),
    ]
    told = page.inside(poll(moment, saw(moment), saw(moment, name="pod")), alerts, "pod")
    assert [alert["labels"]["netns"] for alert in told["alerts"]] == ["pod"]
    assert told["alerts_elsewhere"] == 1


def test_before_the_first_poll_there_is_a_beat_alone(latest: LatestObservation) -> None:
    async def scenario() -> list[bytes]:
        listener = Listener()
        task = asyncio.create_task(EventsEndpoint(latest)(scope(), listener.receive, listener.send))
        await settle()
        listener.leaving.set()
        await task
        return listener.bodies

    (beat,) = asyncio.run(scenario())
    assert b'"age_seconds":null' in beat
