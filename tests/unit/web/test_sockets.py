"""/api/v1/sockets: some sockets of a namespace, in parts; a wrong question gets one clear line."""

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest
from starlette.requests import Request

from sockmon.export.metrics import Build, Reload
from sockmon.model.ages import NO_AGES
from sockmon.model.direction import Listened, directions
from sockmon.model.limits import PortRange
from sockmon.model.moment import Timed
from sockmon.model.socket_sample import SocketSample
from sockmon.model.states import TcpState
from sockmon.web.daemon_status import LatestObservation
from sockmon.web.sockets import SocketsEndpoint
from tests.contract import assert_valid
from tests.unit.polls import at, poll, saw
from tests.unit.strategies import Socket, table

SOCKETS = [
    Socket(TcpState.LISTEN, local_port=80),
    Socket(TcpState.ESTABLISHED, local_port=80, remote_port=40000, remote="192.0.2.1"),
    Socket(TcpState.CLOSE_WAIT, local_port=80, remote_port=40001, remote="192.0.2.1"),
    Socket(TcpState.ESTABLISHED, local_port=40002, remote_port=5432, remote="192.0.2.2"),
]


@pytest.fixture
def endpoint() -> SocketsEndpoint:
    its = table(SOCKETS)
    its.cgroup_id[:] = [1, 1, 1, 2]
    found = directions(its, Listened().seen(its), PortRange(32768, 60999))
    sample = SocketSample.of(its, found, NO_AGES, 0.0, {1: "nginx.service", 2: "api.service"})
    host = replace(saw(at(0)), sample=Timed(sample, at(0)))
    build, reload = Build("1", "3"), Reload(successful=True, succeeded_at=0.0)
    latest = LatestObservation(lambda: 0.0, build, reload, 0.0, 5.0)
    latest.observation = poll(at(0), host, saw(at(0), name="new"))
    return SocketsEndpoint(latest)


def ask(endpoint: SocketsEndpoint, query: str) -> tuple[int, Any]:
    scope = {"type": "http", "query_string": query.encode(), "headers": []}
    answer = asyncio.run(endpoint.answer(Request(scope)))
    return answer.status_code, json.loads(bytes(answer.body))


@pytest.mark.parametrize(
    ("query", "states"),
    [
        ("", {"listen": 1, "established": 2, "close_wait": 1}),
        ("port=80&direction=inbound", {"listen": 1, "established": 1, "close_wait": 1}),
        ("owner=api.service", {"established": 1}),
        ("peer=192.0.2.1", {"established": 1, "close_wait": 1}),
        ("peer=2001:db8::1", {}),
    ],
)
def test_a_part_is_answered(endpoint: SocketsEndpoint, query: str, states: Any) -> None:
    status, told = ask(endpoint, query)
    assert status == 200
    assert_valid("sockets", told)
    assert told["states"] == states
    assert (told["netns"], told["one_in"]) == ("host", 1)


def test_peers_ports_and_owners_are_listed(endpoint: SocketsEndpoint) -> None:
    _, told = ask(endpoint, "netns=host")
    assert [each["peer"] for each in told["peers"]] == ["192.0.2.1", "192.0.2.2"]
    assert [(each["direction"], each["port"]) for each in told["ports"]] == [
        ("inbound", 80),
        ("outbound", 5432),
    ]
    assert [each["owner"] for each in told["owners"]] == ["nginx.service", "api.service"]


@pytest.mark.parametrize(
    ("query", "status", "says"),
    [
        ("x=1", 400, "unknown parameter: expected netns, direction, port, owner, peer"),
        ("direction=up", 400, "direction: expected inbound or outbound"),
        ("port=70000", 400, "port: expected a number from 0 to 65535"),
        ("port=000000999999", 400, "port: expected a number from 0 to 65535"),
        (f"port={'0' * 5000}", 400, "port: expected a number from 0 to 65535"),
        ("port=%D9%A1", 400, "port: expected a number from 0 to 65535"),
        ("peer=example", 400, "peer: expected an IP address"),
        ("netns=none", 404, "netns: there is no network namespace of this name"),
        ("netns=new", 404, "netns: there is no network namespace of this name"),
    ],
)
def test_a_wrong_question_gets_one_line(
    endpoint: SocketsEndpoint, query: str, status: int, says: str
) -> None:
    assert ask(endpoint, query) == (status, {"error": says})
