"""The daemon runs as the manifests say: configuration, user, capabilities, mounts, probes."""

import json
import re
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.kustomize import (
    BASE,
    HOST,
    KUBERNETES,
    NAMESPACES,
    OWNERS,
    configuration,
    container,
    of_kind,
)
from tests.deploy.pods import (
    OtherNamespace,
    cgroup,
    child_of,
    processes_of,
    running_helper,
    running_pod,
    scope,
)
from tests.lab import SERVER, Link, NetNs, eventually, experiments, linked
from tests.running import PORT, RunningDaemon
from tests.servers import prometheus

pytestmark = [pytest.mark.root, pytest.mark.component("kustomize")]


def test_check_config_accepts_the_configuration(tmp_path: Path) -> None:
    config = tmp_path / "sockmon.yaml"
    config.write_text(configuration(HOST))
    checked = subprocess.run(
        [sys.executable, "-m", "sockmon", "check-config", config],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (checked.returncode, checked.stdout) == (0, f"{config}: ok\n")


def test_kubelet_and_prometheus_are_answered_and_the_curious_are_not(tmp_path: Path) -> None:
    ports = [
        port["containerPort"] for port in container(HOST)["ports"] if port["name"] == "metrics"
    ]
    assert ports == [PORT]
    with linked() as link, running_pod(link.server, HOST, tmp_path) as daemon:
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            asked = container(HOST)[probe]["httpGet"]
            assert asked["port"] == "metrics"
            # The kubelet asks the node's own address.
            answer = daemon.get(asked["path"], host=SERVER.ipv4)
            assert (probe, answer.status) == (probe, 200)
        (monitor,) = of_kind("PodMonitor", HOST)
        (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
        assert status_from_afar(link, endpoint["path"]) == 200
        assert status_from_afar(link, "/api/v1/observation") == 403
        assert daemon.get("/api/v1/observation").status == 200  # by `kubectl port-forward`


def status_from_afar(link: Link, path: str) -> int:
    url = f"http://{SERVER.ipv4}:{PORT}{path}"
    curl = ["curl", "--silent", "--output", "/dev/null", "--write-out", "%{http_code}", url]
    return int(link.client.run(curl).stdout)


def test_state_is_kept_and_nothing_else_is_written(tmp_path: Path) -> None:
    with (
        NetNs() as netns,
        experiments.unclosed(netns, count=12),
        running_pod(netns, HOST, tmp_path) as daemon,
    ):
        pid = daemon.process.pid
        eventually(Path(f"/proc/{pid}/root/var/lib/sockmon/state").exists)
        status = status_of(pid)
        assert status["Uid"].split() == ["65532"] * 4
        assert (status["CapEff"], status["CapBnd"]) == ("0" * 16, "0" * 16)
        assert status["NoNewPrivs"] == "1"
        assert "ERROR" not in daemon.log()
        assert daemon.stop() == 0


@pytest.mark.parametrize(
    ("directory", "unit_known", "process_known"),
    [(BASE, False, False), (HOST, True, False), (OWNERS, True, True)],
)
def test_owners_are_named_as_far_as_the_overlay_goes(
    tmp_path: Path, directory: str, *, unit_known: bool, process_known: bool
) -> None:
    with (
        cgroup(scope("shop")) as unit,
        OtherNamespace(unit) as netns,
        experiments.process_killed(netns, count=12) as leaking,
        running_pod(netns, directory, tmp_path) as daemon,
    ):
        wanted = {
            "unit": unit.name if unit_known else None,
            "pid": leaking.process.pid if process_known else None,
        }

        def owners() -> list[dict[str, Any]]:
            told = [finding["subject"]["owner"] for finding in findings(daemon)]
            return [{key: owner[key] for key in wanted} for owner in told if owner]

        eventually(owners, until=lambda told: told == [wanted])  # who holds them is told later


def findings(daemon: RunningDaemon) -> list[dict[str, Any]]:
    observation = json.loads(daemon.get("/api/v1/observation").body)
    return [
        {**finding, "netns": namespace["netns"]}
        for namespace in observation["namespaces"]
        for finding in namespace["findings"] or ()
    ]


def status_of(pid: int) -> dict[str, str]:
    """Of a process, as /proc/PID/status has it."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines)


def capabilities(pid: int) -> set[str]:
    """What a process may do beyond what every user may."""
    effective = int(status_of(pid)["CapEff"], 16)
    numbers = {"DAC_READ_SEARCH": 2, "SYS_PTRACE": 19, "SYS_ADMIN": 21}  # linux/capability.h
    assert effective & ~sum(1 << number for number in numbers.values()) == 0
    return {name for name, number in numbers.items() if effective & 1 << number}


@pytest.mark.parametrize("directory", [NAMESPACES, OWNERS])
def test_a_pods_leak_is_named_and_the_helper_alone_has_the_privilege(
    tmp_path: Path, directory: str
) -> None:
    sandbox = uuid.uuid4().hex * 2
    with (
        cgroup(f"cri-containerd-{sandbox}.scope") as of_sandbox,
        NetNs() as node,
        processes_of(node) as among,
        OtherNamespace(of_sandbox, among) as of_pod,
        experiments.process_killed(of_pod, count=12),
        running_helper(node, directory, tmp_path, among) as helper,
        running_pod(node, directory, tmp_path, among) as daemon,
    ):
        (leak,) = eventually(lambda: findings(daemon), until=bool)
        assert leak["netns"] == sandbox[:12]
        assert leak["subject"]["owner"]["unit"] == sandbox[:12]
        assert capabilities(child_of(helper.pid)) == {"SYS_ADMIN", "SYS_PTRACE"}
        mine = {"DAC_READ_SEARCH", "SYS_PTRACE"} if directory == OWNERS else set()
        assert capabilities(child_of(daemon.process.pid)) == mine

        # A container that was killed leaves its socket behind, and is started again.
        helper.kill()
        eventually(lambda: sum(daemon.samples("sockmon_poll_errors_total").values()))
        again = time.time()
        with running_helper(node, directory, tmp_path, among):
            eventually(lambda: polled_at(daemon, sandbox[:12]) > again)


def polled_at(daemon: RunningDaemon, netns: str) -> float:
    """When a namespace was polled last, in Unix seconds; 0 if nothing is known of it."""
    found = daemon.samples("sockmon_poll_last_success_timestamp_seconds")
    return found.get(frozenset({("netns", netns)}), 0)


def scrape_files_job() -> dict[str, Any]:
    """The job for a Prometheus without the operator, but for its discovery of pods."""
    (job,) = yaml.safe_load((KUBERNETES / "prometheus-scrape.yml").read_text())["scrape_configs"]
    (discovery,) = job.pop("kubernetes_sd_configs")
    assert discovery == {"role": "pod", "namespaces": {"names": ["sockmon"]}}
    found: dict[str, Any] = job
    return found


def pod_monitors_job() -> dict[str, Any]:
    """What the operator makes of the PodMonitor, as far as labels go."""
    (monitor,) = of_kind("PodMonitor", HOST)
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    of_pod = re.sub(r"\W", "_", monitor["spec"]["jobLabel"])
    relabelings = [
        {"sourceLabels": [f"__meta_kubernetes_pod_label_{of_pod}"], "targetLabel": "job"},
        *endpoint["relabelings"],
    ]
    return {
        "job_name": "podMonitor/sockmon/sockmon/0",
        "metrics_path": endpoint["path"],
        "relabel_configs": [
            {"source_labels": found["sourceLabels"], "target_label": found["targetLabel"]}
            for found in relabelings
        ],
    }


def discovered(name: str, node_name: str, phase: str = "Running") -> dict[str, Any]:
    """A target as the discovery of pods describes it."""
    meta = {
        "pod_label_app_kubernetes_io_name": name,
        "pod_container_port_name": "metrics",
        "pod_phase": phase,
        "pod_node_name": node_name,
    }
    labels = {f"__meta_kubernetes_{key}": value for key, value in meta.items()}
    return {"targets": [f"127.0.0.1:{PORT}"], "labels": labels}


@pytest.mark.component("prometheus")
def test_prometheus_calls_the_host_by_its_nodes_name(tmp_path: Path) -> None:
    targets = [
        discovered("sockmon", "node-1"),
        discovered("sockmon", "node-2", phase="Failed"),
        discovered("shop", "node-3"),
    ]
    # Debian's Prometheus is built without the discovery of pods: here, somebody else made it.
    config = {
        "scrape_configs": [
            {**scrape_files_job(), "static_configs": targets},
            {**pod_monitors_job(), "static_configs": [discovered("sockmon", "node-4")]},
        ]
    }
    for job in config["scrape_configs"]:
        job.update(scrape_interval="1s", scrape_timeout="1s")
    with (
        NetNs() as netns,
        running_pod(netns, BASE, tmp_path),
        prometheus(netns, tmp_path, yaml.safe_dump(config)) as server,
    ):
        up = eventually(
            lambda: server.query("up"), until=lambda seen: list(seen.values()) == [1, 1]
        )
        assert sorted((json.loads(of)["job"], json.loads(of)["instance"]) for of in up) == [
            ("sockmon", "node-1"),
            ("sockmon", "node-4"),
        ]


def test_the_daemons_alerts_bear_the_nodes_name(tmp_path: Path) -> None:
    with (
        NetNs() as netns,
        experiments.unclosed(netns, count=12),
        running_pod(netns, HOST, tmp_path) as daemon,
    ):

        def alerts() -> list[dict[str, Any]]:
            found: list[dict[str, Any]] = json.loads(daemon.get("/api/v1/alerts").body)["alerts"]
            return found

        (alert,) = eventually(alerts)
        assert alert["labels"]["instance"] == "node-1"
