"""What a daemon answers is read whole, and what is none is refused."""

import json
import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sockmon.client.parse import InvalidResponseError, read
from sockmon.client.snapshot import Level, Snapshot
from sockmon.export import json as export
from sockmon.kernel.netlink.replay import replay
from sockmon.language import Text
from sockmon.model.counts import GroupKey
from sockmon.model.finding import (
    Advice,
    Command,
    Deadline,
    Finding,
    FindingKey,
    Quantity,
    Subject,
)
from sockmon.model.moment import Moment, Timed
from sockmon.model.observation import Diagnosis, Observation
from sockmon.model.owner import Owner, Process
from sockmon.model.states import TcpState
from sockmon.poll.poller import Poller
from sockmon.settings import Config
from tests.recorded import MIXED
from tests.unit.top import making
from tests.unit.top.making import NOW

LEAK = Finding(
    detector="close_wait_leak",
    severity="critical",
    netns="host",
    subject=Subject("inbound", 443, "shop.service"),
    value=12.0,
    limit=10.0,
    summary=Text("shop leaks"),
    evidence={
        "oldest": Quantity(61.5, "seconds"),
        "range": Quantity("1-9", "text"),
        "peers": (("192.0.2.1", Quantity(12, "sockets")),),
    },
    advice=(
        Advice(Text("close them")),
        Advice(Text("restart it"), Command("systemctl restart shop", "here", "changes"), "stop"),
    ),
    critical_because=Text("it still grows"),
    deadline=Deadline(Text("descriptors run out"), 61.5),
    cause=FindingKey("accept_queue", "host", Subject("inbound", 80, "web.service")),
    owner=Owner("shop.service", "shop.service", (Process(4711, "shop", 10, 1024),)),
)


def observed() -> Observation:
    """A recorded kernel's poll, with a finding."""
    monitor = Poller(replay(MIXED), Config())
    observation = monitor.poll(lambda: NOW)
    monitor.close()
    (host,) = observation.namespaces
    worst = replace(LEAK, detector="dead_peer")
    mild = replace(LEAK, severity="warning")
    # About a destination: its owner is told, and is no part of what it is about.
    calls = replace(mild, detector="connect_stalled", subject=Subject("outbound", 443), value=11.0)
    diagnosis = Diagnosis((mild, worst, calls), {}, (), 0.0)
    return replace(observation, namespaces=(replace(host, diagnosis=Timed(diagnosis, NOW)),))


def through_json(observation: Observation, received: Moment = NOW) -> Snapshot:
    return read(json.loads(json.dumps(export.observation(observation))), received)


def _port(key: GroupKey) -> str:
    return "other" if key.port is None else str(key.port)


def test_everything_of_an_observation_survives_its_journey() -> None:
    observation = observed()
    (host,) = observation.namespaces
    assert host.tcp is not None
    assert host.ports is not None
    snapshot = through_json(observation)
    assert snapshot.at == NOW
    assert snapshot.interval == observation.interval
    assert snapshot.states is not None
    assert snapshot.states.at == NOW
    assert snapshot.states.value == tuple(map(sum, zip(*host.tcp.value.values(), strict=True)))
    assert snapshot.ports is not None
    assert [(row.cells, row.total) for row in snapshot.ports.value] == [
        ((_port(group.key), group.key.direction, "host"), sum(group.states.values()))
        for group in host.ports.value.groups
    ]
    assert sum(row.total for row in snapshot.ports.value) == sum(snapshot.states.value)
    # The subject's owner is the alert's label, by which the two are put together.
    assert making.found(snapshot) == (
        replace(LEAK, detector="dead_peer"),
        replace(LEAK, severity="warning"),
        replace(
            LEAK,
            severity="warning",
            detector="connect_stalled",
            subject=Subject("outbound", 443),
            value=11.0,
        ),
    )


def test_what_has_a_limit_is_told_with_its_fullest_accept_queue() -> None:
    queues = [
        {"port": 80, "queue": 0, "limit": 0, "drops": 0},
        {"port": 443, "queue": 9, "limit": 8, "drops": 1},
        {"port": 22, "queue": 1, "limit": 128, "drops": 0},
    ]
    ports = {**making.namespace()["ports"], "listeners": queues}
    assert making.snapshot(making.namespace(ports=ports)).levels == (
        Level("time wait buckets", 7, 16_384),
        Level("ephemeral ports", 40, 28_232),
        Level("accept queue of 443", 9, 8),
    )


def test_namespaces_are_added_up_and_their_rows_told_apart() -> None:
    other = making.namespace(netns="web", findings=[making.finding("critical")])
    mild = making.namespace(findings=[making.finding()])
    snapshot = making.snapshot(mild, other)
    assert snapshot.states is not None
    assert snapshot.states.value[TcpState.ESTABLISHED] == 10
    assert snapshot.ports is not None
    assert {row.cells[2] for row in snapshot.ports.value} == {"host", "web"}
    assert [finding.severity for finding in making.found(snapshot)] == ["critical", "warning"]


def test_times_are_on_the_clock_of_the_reader() -> None:
    here = Moment(77.0, 1_000.0)  # the writer's clock says 1000 when ours says 77
    snapshot = read(making.document(at=990.0), here)
    assert snapshot.at == Moment(67.0, 990.0)


@given(making.documents())
def test_any_observation_is_read(document: dict[str, Any]) -> None:
    snapshot = read(document, NOW)
    states = snapshot.states.value if snapshot.states else ()
    assert all(math.isfinite(count) for count in states)


@pytest.mark.parametrize(
    "change",
    [
        {"taken_at": "now"},
        {"taken_at": math.inf},
        {"taken_at": -5.0},
        {"taken_at": 1e300},
        {"interval_seconds": None},
        {"polls": -1},
        {"polls": 1e400},
        {"failures": 3},
        {"namespaces": None},
        {"namespaces": [{}]},
        {"namespaces": [making.namespace(tcp={"taken_at": 0, "ipv4": {"open": 1}})]},
        {"namespaces": [making.namespace(tcp={"taken_at": 0, "ipv4": {"listen": "many"}})]},
        {"namespaces": [making.namespace(findings=[making.finding("odd")])]},
        {"namespaces": [making.namespace(findings=[making.finding(port=-1)])]},
        {"namespaces": [making.namespace(findings=[{}])]},
    ],
)
def test_what_is_no_observation_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(InvalidResponseError, match="not an observation of sockmon's"):
        read({**making.document(), **change}, NOW)


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_any_other_document_is_refused(document: Any) -> None:
    with pytest.raises(InvalidResponseError):
        read(document, NOW)
