"""The daemon runs as the manifests say: configuration, user, capabilities, mounts, probes."""

import json
import re
import subprocess
import sys
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.kustomize import (
    BASE,
    HOST,
    KUBERNETES,
    OWNERS,
    configuration,
    container,
    of_kind,
    pod,
)
from tests.lab import SERVER, Link, NetNs, eventually, experiments, linked
from tests.running import PORT, RunningDaemon, running_daemon
from tests.servers import prometheus

pytestmark = [pytest.mark.root, pytest.mark.component("kustomize")]

QUICK = {
    "poll": {"interval": "200ms"},
    "detect": {"close_wait_leak": {"stale_after": "1s", "for": "1s"}},
}

#: Joins a cgroup as $0, then runs the rest.
_JOINING = 'echo $$ >"$0/cgroup.procs" && exec "$@"'

#: The configuration, in $0 as in /etc; an empty directory for the state; the container's own view
#: of cgroups, if $1 names where; and nothing else to be written.
_MOUNTING = """
mount -t overlay -o "lowerdir=$0:/etc" overlay /etc
mount -t tmpfs -o mode=755 tmpfs /var/lib
mkdir -m 777 /var/lib/sockmon
[ -z "$1" ] || { umount "$1"; mount -t cgroup2 cgroup2 "$1"; }
mount -o remount,bind,ro /
shift
exec "$@"
"""


@contextmanager
def cgroup(name: str) -> Iterator[Path]:
    """A cgroup for as long as the context is open."""
    path = _cgroup2() / f"{name}-{uuid.uuid4().hex[:12]}.scope"
    path.mkdir()
    try:
        yield path
    finally:
        eventually(lambda: not (path / "cgroup.procs").read_text())
        path.rmdir()


def _cgroup2() -> Path:
    findmnt = ["findmnt", "--noheadings", "--first-only", "--types=cgroup2", "--output=TARGET"]
    return Path(subprocess.run(findmnt, capture_output=True, text=True, check=True).stdout.strip())


class Neighbour(NetNs):
    """A node's namespace, whose programs belong to a unit and to a user of their own."""

    def __init__(self, unit: Path) -> None:
        self._unit = unit

    def popen(self, argv: Sequence[str]) -> subprocess.Popen[str]:
        user = ("setpriv", "--reuid=1000", "--regid=1000", "--clear-groups")
        return super().popen(["sh", "-c", _JOINING, str(self._unit), *user, *argv])


def as_the_container(directory: str, etc: Path, of_pod: Path) -> tuple[str, ...]:
    """What to put before a command for it to be as the container is, in the cgroup `of_pod`."""
    security = {**pod(directory)["securityContext"], **container(directory)["securityContext"]}
    capabilities = [f"+{name.lower()}" for name in security["capabilities"].get("add", [])]
    mounted = {mount["mountPath"] for mount in container(directory)["volumeMounts"]}
    return (
        *("sh", "-c", _JOINING, str(of_pod)),
        *("unshare", "--mount", "--cgroup"),
        *("sh", "-ec", _MOUNTING, str(etc)),
        "" if "/sys/fs/cgroup" in mounted else str(_cgroup2()),
        *("setpriv", f"--reuid={security['runAsUser']}", f"--regid={security['runAsGroup']}"),
        *("--clear-groups", "--no-new-privs", "--inh-caps=-all"),
        f"--bounding-set={','.join(['-all', *capabilities])}",
    )


@contextmanager
def running_pod(node: NetNs, directory: str, path: Path) -> Iterator[RunningDaemon]:
    """Run the daemon as the directory's manifests say, only quicker."""
    etc = path / "etc"
    config = etc / "sockmon" / "sockmon.yaml"
    config.parent.mkdir(parents=True)
    config.write_text(yaml.safe_dump({**yaml.safe_load(configuration(directory)), **QUICK}))
    command, *arguments = container(directory)["args"]
    assert command == "run"
    with (
        cgroup("pod") as of_pod,
        running_daemon(
            node,
            *arguments,
            environment={"NODE_NAME": "node-1"},
            prefix=as_the_container(directory, etc, of_pod),
        ) as daemon,
    ):
        yield daemon


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
        experiments.close_wait_leak(netns, count=12),
        running_pod(netns, HOST, tmp_path) as daemon,
    ):
        inside = Path(f"/proc/{daemon.process.pid}")
        eventually((inside / "root/var/lib/sockmon/state").exists, within=20)
        status = dict(line.split(":\t", 1) for line in (inside / "status").read_text().splitlines())
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
        cgroup("shop") as unit,
        Neighbour(unit) as netns,
        experiments.process_killed(netns, count=12) as leaking,
        running_pod(netns, directory, tmp_path) as daemon,
    ):
        (leak,) = eventually(lambda: findings(daemon), until=bool, within=30)
        owner = leak["subject"]["owner"]
        assert owner["unit"] == (unit.name if unit_known else None)
        assert owner["pid"] == (leaking.process.pid if process_known else None)


def findings(daemon: RunningDaemon) -> list[dict[str, Any]]:
    observation = json.loads(daemon.get("/api/v1/observation").body)
    return [finding for namespace in observation["namespaces"] for finding in namespace["findings"]]


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
            lambda: server.query("up"), until=lambda seen: list(seen.values()) == [1, 1], within=30
        )
        assert sorted((json.loads(of)["job"], json.loads(of)["instance"]) for of in up) == [
            ("sockmon", "node-1"),
            ("sockmon", "node-4"),
        ]


def test_the_daemons_alerts_bear_the_nodes_name(tmp_path: Path) -> None:
    with (
        NetNs() as netns,
        experiments.close_wait_leak(netns, count=12),
        running_pod(netns, HOST, tmp_path) as daemon,
    ):

        def alerts() -> list[dict[str, Any]]:
            found: list[dict[str, Any]] = json.loads(daemon.get("/api/v1/alerts").body)["alerts"]
            return found

        (alert,) = eventually(alerts, within=20)
        assert alert["labels"]["instance"] == "node-1"
