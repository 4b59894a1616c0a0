"""What docs/api/ and docs/metrics.md say is what is sent, no more and no less."""

import io
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.parser import text_string_to_metric_families as parse

from sockmon.alert.notify.sender import Notifications
from sockmon.commands.doctor.doctor import Diagnosed, write_json
from sockmon.export import alerts as alert_families
from sockmon.export import families, metrics, page
from sockmon.export import json as render
from sockmon.export.alerts import AlertingStatus
from sockmon.export.families import ALL, LABELS, PROCESS
from sockmon.export.history import history
from sockmon.export.messages.alerts import AlertsAnswer
from sockmon.history.snapshot import AlertChange
from sockmon.history.store import History
from sockmon.language import Text
from sockmon.model.connection_events import COLUMNS, EventCounts, PortEvents
from sockmon.model.finding import Advice, Command, Deadline, Finding, Quantity
from sockmon.model.moment import Timed
from sockmon.model.observation import (
    ContainerNames,
    Events,
    NamespaceObservation,
    Observation,
    OtherNamespaces,
    OwnerDescriptors,
    PortSockets,
    StaleGroup,
)
from sockmon.model.owner import Owner, Process
from sockmon.model.poll_statistics import Failure
from sockmon.model.unix_listeners import UnixQueue
from tests.conftest import REPOSITORY
from tests.contract import API, Published, assert_valid, documented, published, schema
from tests.recorded import MIXED
from tests.unit import golden
from tests.unit.alert.making import finding, firing, resolved
from tests.unit.golden import NOW, observe
from tests.unit.polls import at, everything, past_of, poll, saw

GENERATORS = ("docs/generate.py", "docs/api/generate.py", "page/generate.py")


@pytest.mark.parametrize("script", GENERATORS)
def test_what_is_generated_is_current(script: str) -> None:
    command = [sys.executable, str(REPOSITORY / script), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), "run `make generate`, and commit the result"


def test_the_contract_is_in_the_repository() -> None:
    """Nothing refers to a paper beside it."""
    paper = f"{'interface'.upper()}.md"
    folders = ("docs", "tests", "sockmon", "page/src", "page/test", "deploy", "grafana")
    files = [path for name in folders for path in (REPOSITORY / name).rglob("*") if path.is_file()]
    assert len(files) > 300
    assert [path for path in files if paper.encode() in path.read_bytes()] == []


# --- metrics -------------------------------------------------------------------------------------


def with_everything() -> Observation:
    """The recorded kernel, and what shows the families that it has no samples of."""
    recorded = observe(MIXED)
    (own,) = recorded.namespaces
    assert own.limits is not None
    assert own.diagnosis is not None
    limits = replace(
        own.limits.value, conntrack_entries=1, conntrack_limit=2, conntrack_drops={"drop": 3}
    )
    diagnosis = replace(
        own.diagnosis.value,
        stale=(StaleGroup("inbound", 80, "nginx.service", 7, 10),),
        counted={family.name: (PortSockets("inbound", 80, 3),) for family in families.COUNTED},
        dropped_datagrams={53: 3},
        unix_queues=(UnixQueue("/run/x.sock", 3, 4),),
        descriptors=(OwnerDescriptors("nginx.service", 7, 10),),
    )
    own = replace(
        own,
        limits=Timed(limits, own.limits.at),
        diagnosis=Timed(diagnosis, own.diagnosis.at),
        names=ContainerNames("web-0", "shop", "nginx"),
    )
    counted = EventCounts((1,) * COLUMNS)
    failure = Failure("host", "EPERM", "read /proc/net/sockstat: Operation not permitted")
    return replace(
        recorded,
        namespaces=(own, replace(saw(NOW, 3, name="small"), folded=True)),
        failures=(failure,),
        statistics=recorded.statistics.polled(0.1, (failure,), ("host",)),
        neighbours=OtherNamespaces(inside=1, outside=2, empty=3, hidden=4),
        hints=("Run as root to see the others.",),
        events=Events(1_700_000_000.0, {"host": (PortEvents("outbound", 80, counted),)}, 0.01),
    )


def rendered() -> set[Published]:
    status = AlertingStatus(tuple(firing(finding()).values()), {"log": Notifications(3, 1)})
    now = NOW.monotonic
    return published(
        [
            *metrics.families(
                with_everything(),
                now,
                golden.BUILD,
                golden.RELOAD,
                component_failures={"history": 1},
            ),
            *alert_families.families(status),
            *ProcessCollector(registry=CollectorRegistry()).collect(),
        ]
    )


def test_every_family_is_documented_and_every_documented_family_is_there() -> None:
    assert rendered() == documented()


def test_every_label_is_explained_and_every_explained_label_is_there() -> None:
    assert {label for family in ALL for label in family.labels} == LABELS.keys()


def test_each_family_is_declared_once() -> None:
    names = [family.name for family in (*ALL, *PROCESS)]
    assert len(set(names)) == len(names)


def test_the_golden_recording_has_documented_families_only() -> None:
    assert published(parse(golden.GOLDEN.read_text())) <= documented()


# --- JSON ----------------------------------------------------------------------------------------


def in_full() -> Finding:
    """A finding that has every optional part."""
    found = finding("critical")
    return replace(
        found,
        owner=Owner("nginx.service", "nginx.service", (Process(7, "nginx\x1b", 900, 1024),)),
        critical_because=Text("its descriptors run out in about 5 minutes"),
        deadline=Deadline(Text("descriptors run out"), 300.0),
        cause=finding(detector="accept_queue", port=443).key,
        evidence={
            "growth": Quantity(1.5, "per_minute"),
            "range": Quantity("32768 to 60999", "text"),
            "peers": (("192.0.2.1", Quantity(3, "sockets")), ("192.0.2.2", Quantity(1, "sockets"))),
        },
        advice=(
            Advice(
                Text("Restart it."), Command("systemctl restart nginx", "here", "changes"), "stop"
            ),
            Advice(Text("Find the bug.")),
            Advice(Text("Look there."), Command("ss -tn", "peer"), "look"),
        ),
    )


def polls() -> Iterator[Observation]:
    """Observations of many kinds: empty, new, broken, and with everything."""
    moment = at(0)
    yield poll(moment, NamespaceObservation("host"))
    yield poll(moment, saw(moment), replace(saw(moment, 2, name="pod"), degraded=True))
    yield poll(moment, everything(moment, [in_full(), finding(port=None, owner=None)]))
    yield with_everything()
    yield replace(with_everything(), unseen=None, neighbours=None)
    yield observe(MIXED)


@pytest.mark.parametrize("observation", list(polls()))
def test_an_observation_is_what_its_schema_says(observation: Observation) -> None:
    assert_valid("observation", render.observation(observation))
    known = [*firing(finding()).values(), *resolved(finding(port=81)).values()]
    assert_valid("alerts", AlertsAnswer(alerts=render.alerts(known)))
    for name in ("host", "pod", "none"):
        everywhere = page.everywhere(
            observation, "web-1", "1", {"name": "UTC", "offset_seconds": 0}
        )
        event = {**everywhere, **page.inside(observation, known, name)}
        assert_valid("events-observation", event)


def test_a_history_is_what_its_schema_says() -> None:
    kept = History()
    for second in range(3):
        kept.observe(poll(at(second), everything(at(second), [finding()])), at(second))
    change = AlertChange(at(1).wall, "firing", at(1).wall, {"alertname": "SockmonX"}, "x leaks")
    past = replace(past_of(kept), alert_changes=(change,))
    for netns in ("host", "none"):
        assert_valid("history", history(past, netns, "hour", 5))


@pytest.mark.parametrize("observation", list(polls()))
def test_what_doctor_prints_is_what_its_schema_says(observation: Observation) -> None:
    for failures in ((), ("cannot read /proc/net/sockstat",)):
        out = io.StringIO()
        found = (in_full(), finding())
        write_json(Diagnosed(observation, found, failures, (), config=Path("/etc/x.yaml")), out)
        assert_valid("doctor", json.loads(out.getvalue()))


def objects(part: Any) -> Iterator[dict[str, Any]]:
    """Every schema of an object with named keys inside this one."""
    if isinstance(part, dict):
        if "properties" in part and part.get("type") == "object":
            yield part
        for value in part.values():
            yield from objects(value)
    elif isinstance(part, list):
        for value in part:
            yield from objects(value)


@pytest.mark.parametrize("path", sorted(API.glob("*.schema.json")), ids=lambda path: path.name)
def test_schemas_are_strict(path: Path) -> None:
    its = schema(path.name.removesuffix(".schema.json"))
    Draft202012Validator.check_schema(its)
    found = list(objects(its))
    assert found
    assert all(each["additionalProperties"] is False for each in found)
