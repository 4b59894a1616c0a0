"""A real daemon with everything sends what docs/ says: every endpoint, and doctor."""

import json
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families as parse

from tests.contract import assert_valid, documented, published
from tests.lab import NetNs, eventually, states
from tests.page.scenes import leaking
from tests.page.streams import listening
from tests.running import RunningDaemon, running_daemon
from tests.world import small_world

pytestmark = pytest.mark.root

CONFIG = """
poll: {interval: 500ms, namespaces: all, cpu_budget: 0.5}
detect:
  close_wait_leak: {stale_after: 1s, for: 0s}
alerting:
  webhook: {urls: ["http://127.0.0.1:9/"]}
"""


class Host:
    """A host with a leaking container, and its daemon."""

    def __init__(self, daemon: RunningDaemon, netns: NetNs) -> None:
        self.daemon, self.netns = daemon, netns

    def ask(self, path: str) -> Any:
        answer = self.daemon.get(path)
        assert answer.status == 200
        return json.loads(answer.body)


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    directory = tmp_path_factory.mktemp("contract")
    (directory / "config.yaml").write_text(CONFIG)
    with (
        small_world() as world,
        world.own() as own,
        world.netns() as inside,
        states.close_wait(own, count=3),
        states.time_wait(own, count=3),
    ):
        world.name(inside, "orders")
        with (
            leaking(inside, directory, "orders-api", 12),
            running_daemon(
                own, "--config", str(directory / "config.yaml"), prefix=world.seeing
            ) as daemon,
        ):
            eventually(
                lambda: daemon.samples("sockmon_notifications_failed_total"),
                until=lambda samples: any(samples.values()),
            )
            yield Host(daemon, own)


def test_every_family_is_documented_with_its_type_and_labels(host: Host) -> None:
    shown = published(parse(host.daemon.get("/metrics").body.decode()))
    assert shown <= documented()
    assert {"sockmon_namespaces", "sockmon_alerts"} <= {family.name for family in shown}


def test_every_answer_is_what_its_schema_says(host: Host) -> None:
    observation = host.ask("/api/v1/observation")
    assert_valid("observation", observation)
    assert any(namespace["findings"] for namespace in observation["namespaces"])
    assert_valid("observation", host.ask("/api/v1/observation?netns=orders"))
    alerts = host.ask("/api/v1/alerts")
    assert_valid("alerts", alerts)
    assert alerts["alerts"]
    for query in ("", "?netns=orders&range=hour&groups=3", "?netns=host&range=day"):
        assert_valid("history", host.ask(f"/api/v1/history{query}"))


@pytest.mark.parametrize("query", ["", "?netns=orders", "?netns=none"])
def test_every_event_is_what_its_schema_says(host: Host, query: str) -> None:
    with listening(host.netns, query) as stream:
        for name in ("observation", "beat"):
            assert_valid(f"events-{name}", stream.next(name))


def test_what_doctor_prints_is_what_its_schema_says(host: Host) -> None:
    ran = host.netns.run(
        [sys.executable, "-m", "sockmon", "doctor", "--format", "json"], check=False
    )
    answer = json.loads(ran.stdout)
    assert_valid("doctor", answer)
    assert answer["daemon"] is not None
