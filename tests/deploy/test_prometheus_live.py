"""A real Prometheus with what is shipped watches a real daemon; only its intervals are shorter."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.promtool import PROMETHEUS, RECORDING, rules_of
from tests.lab import NetNs, eventually, states
from tests.running import PORT, running_daemon
from tests.servers import Prometheus, prometheus

pytestmark = [pytest.mark.root, pytest.mark.component("prometheus")]

#: Recorded only when something leaks, or drops.
AT_TIMES = {
    "cluster_job_port_direction:sockmon_close_wait_stale_sockets:sum",
    "cluster_job_owner:sockmon_close_wait_stale_sockets:sum",
    "cluster_job_port:sockmon_accept_queue_drops:rate5m",
    "cluster_job_port_direction:sockmon_connections_opened:rate5m",
    "cluster_job_port_direction:sockmon_connections_aborted:rate5m",
    "cluster_job_port_direction_reason:sockmon_connection_failures:rate5m",
    "cluster_job_direction_le:sockmon_close_wait_duration_seconds_bucket:rate5m",
}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Prometheus]:
    config = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
    config["global"].update(scrape_interval="1s", scrape_timeout="1s", evaluation_interval="1s")
    shutil.copytree(PROMETHEUS / "rules", tmp_path / "rules")
    (tmp_path / "targets").mkdir()
    targets = [
        {"targets": [f"127.0.0.1:{PORT}"], "labels": {"instance": "here", "cluster": "test"}},
        {"targets": ["127.0.0.1:1"], "labels": {"cluster": "test"}},
    ]
    (tmp_path / "targets" / "fleet.yml").write_text(yaml.safe_dump(targets))
    with (
        NetNs() as netns,
        states.close_wait(netns, count=6),
        running_daemon(netns),
        prometheus(netns, tmp_path, yaml.safe_dump(config)) as made,
    ):
        yield made


def rules(server: Prometheus) -> list[dict[str, Any]]:
    return [rule for group in server.api("rules")["groups"] for rule in group["rules"]]


def test_every_rule_is_evaluated(server: Prometheus) -> None:
    def severities() -> dict[str, float]:
        found = server.api("query", query="cluster_instance_job:sockmon_severity:max")["result"]
        return {sample["metric"]["instance"]: float(sample["value"][1]) for sample in found}

    eventually(severities, until=lambda s: s == {"here": 0, "127.0.0.1": 2})
    eventually(
        lambda: [rule for rule in rules(server) if rule["health"] != "ok"],
        until=lambda failed: failed == [],
    )
    records = {rule["record"] for rule in rules_of(RECORDING.read_text())}
    eventually(
        lambda: {record for record in records if not server.query(record)},
        until=lambda empty: empty <= AT_TIMES,
    )
    (down,) = (rule for rule in rules(server) if rule["name"] == "SockmonDown")
    assert [
        (alert["labels"]["instance"], alert["labels"]["cluster"], alert["state"])
        for alert in down["alerts"]
    ] == [("127.0.0.1", "test", "pending")]
