"""What kustomize renders is what Kubernetes and the Prometheus operator take."""

import json
import re
import shutil
import subprocess
import sys
import textwrap
from copy import deepcopy
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml

from sockmon import __version__
from sockmon.settings import Config
from tests.conftest import REPOSITORY
from tests.deploy.kustomize import (
    BASE,
    EVENTS,
    EVENTS_HELPER,
    HELPER,
    HOST,
    KUBERNETES,
    NAMESPACES,
    OWNERS,
    UNITS,
    Object,
    configuration,
    container,
    of_kind,
    pod,
    render,
)

pytestmark = pytest.mark.component("kustomize")

OPERATOR_SCHEMA = json.loads(
    (Path(__file__).parent / "schemas" / "kubernetes" / "prometheus-operator.json").read_text()
)

#: The oldest Kubernetes that knows every field, and the newest whose schemas are to be had.
VERSIONS = [
    (BASE, "1.25"),
    (UNITS, "1.25"),
    (HOST, "1.25"),
    (NAMESPACES, "1.30"),
    (EVENTS, "1.30"),
    (OWNERS, "1.30"),
]
NEWEST = [(overlay, kubernetes_validate.latest_version()) for overlay, _ in VERSIONS]


def is_operators(rendered: Object) -> bool:
    return str(rendered["apiVersion"]).startswith("monitoring.coreos.com/")


@pytest.mark.parametrize(("directory", "version"), [*VERSIONS, *NEWEST])
def test_kubernetes_takes_every_object(directory: str, version: str) -> None:
    own = [rendered for rendered in render(directory) if not is_operators(rendered)]
    assert {rendered["kind"] for rendered in own} >= {"Namespace", "DaemonSet", "ConfigMap"}
    for rendered in own:
        kubernetes_validate.validate(rendered, version, strict=True)


@pytest.mark.parametrize("directory", [HOST, OWNERS])
def test_the_prometheus_operator_takes_its_objects(directory: str) -> None:
    operators = [rendered for rendered in render(directory) if is_operators(rendered)]
    assert {rendered["kind"] for rendered in operators} == {"PodMonitor", "PrometheusRule"}
    for rendered in operators:
        jsonschema.validate(rendered, OPERATOR_SCHEMA)


def misspelt(rendered: Object, *path: str | int) -> Object:
    """A copy in which the last key of the path has a letter too many."""
    changed = deepcopy(rendered)
    inner: Any = changed
    for step in path[:-1]:
        inner = inner[step]
    inner[f"{path[-1]}s"] = inner.pop(path[-1])
    return changed


def test_a_misspelt_key_is_refused() -> None:
    (daemon_set,) = of_kind("DaemonSet", HOST)
    with pytest.raises(kubernetes_validate.ValidationError, match="hostNetworks"):
        kubernetes_validate.validate(
            misspelt(daemon_set, "spec", "template", "spec", "hostNetwork"), "1.30", strict=True
        )
    (monitor,) = of_kind("PodMonitor", HOST)
    for path in (("spec", "jobLabel"), ("spec", "podMetricsEndpoints", 0, "interval")):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(misspelt(monitor, *path), OPERATOR_SCHEMA)


@pytest.mark.parametrize("directory", [BASE, UNITS])
def test_without_the_operator_no_custom_resource_is_needed(directory: str) -> None:
    assert not any(is_operators(rendered) for rendered in render(directory))


@pytest.mark.parametrize("directory", [HOST, OWNERS])
def test_everything_but_what_has_no_namespace_is_in_one(directory: str) -> None:
    for rendered in render(directory):
        namespace = rendered["metadata"].get("namespace")
        no_namespace = rendered["kind"] in ("Namespace", "PriorityClass")
        assert namespace == (None if no_namespace else "sockmon"), rendered["kind"]


def test_kubectl_apply_can_keep_its_copy_of_every_object() -> None:
    for rendered in render(HOST):
        # All annotations of an object together: 256 KiB (apimachinery, TotalAnnotationSizeLimitB).
        assert len(json.dumps(rendered).encode()) < 250 * 1024, rendered["metadata"]["name"]


def test_the_image_is_that_of_this_version() -> None:
    for of_pod in (
        container(HOST),
        container(EVENTS),
        container(EVENTS, HELPER),
        container(EVENTS, EVENTS_HELPER),
    ):
        assert of_pod["image"] == f"registry.example/sockmon:{__version__}"


def test_the_namespaces_overlay_configures_what_host_does_and_namespaces() -> None:
    host, namespaces = (yaml.safe_load(configuration(of)) for of in (HOST, NAMESPACES))
    (socket,) = (
        word.removeprefix("--socket=")
        for word in container(NAMESPACES, HELPER)["args"]
        if word.startswith("--socket=")
    )
    assert namespaces == {**host, "poll": {"namespaces": "all", "netns_helper_socket": socket}}
    assert configuration(OWNERS) == configuration(NAMESPACES)
    events = yaml.safe_load(configuration(EVENTS))
    assert events == {**namespaces, "events": {"enabled": True}}
    assert f"--socket={Config().events.helper_socket}" in container(EVENTS, EVENTS_HELPER)["args"]


def test_every_name_that_the_pod_refers_to_is_rendered() -> None:
    spec = pod(OWNERS)
    for kind, name in (
        ("ServiceAccount", spec["serviceAccountName"]),
        ("PriorityClass", spec["priorityClassName"]),
        *(("ConfigMap", v["configMap"]["name"]) for v in spec["volumes"] if "configMap" in v),
    ):
        assert name in [rendered["metadata"]["name"] for rendered in of_kind(kind, OWNERS)], name
    mounted = {mount["name"] for of in spec["containers"] for mount in of["volumeMounts"]}
    assert mounted == {volume["name"] for volume in spec["volumes"]}


def test_the_pod_monitor_finds_the_pods_and_their_port() -> None:
    (monitor,), (daemon_set,) = of_kind("PodMonitor", HOST), of_kind("DaemonSet", HOST)
    labels = daemon_set["spec"]["template"]["metadata"]["labels"]
    assert monitor["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert labels[monitor["spec"]["jobLabel"]] == "sockmon"
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    assert endpoint["port"] in [port["name"] for port in container(HOST)["ports"]]


def test_the_rules_are_those_of_the_rule_files() -> None:
    files = sorted((REPOSITORY / "deploy" / "prometheus" / "rules").glob("*.yml"))
    assert len(files) == 2
    groups = [group for file in files for group in yaml.safe_load(file.read_text())["groups"]]
    rendered = of_kind("PrometheusRule", HOST)
    assert [group for rule in rendered for group in rule["spec"]["groups"]] == groups


def test_the_dashboards_are_those_of_grafana() -> None:
    files = sorted((REPOSITORY / "grafana" / "dashboards").glob("*.json"))
    assert files
    config_maps = [
        rendered
        for rendered in of_kind("ConfigMap", HOST)
        if rendered["metadata"]["labels"].get("grafana_dashboard") == "1"
    ]
    held = {name: text for found in config_maps for name, text in found["data"].items()}
    assert {name: json.loads(text) for name, text in held.items()} == {
        file.name: json.loads(file.read_text()) for file in files
    }


def generate(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, root / "deploy" / "kubernetes" / "generate.py", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_generated_files_are_current() -> None:
    checked = generate(REPOSITORY, "--check")
    assert (checked.returncode, checked.stderr) == (0, "")


def test_a_file_that_is_not_current_is_told_and_written(tmp_path: Path) -> None:
    for part in ("deploy/kubernetes", "deploy/prometheus", "grafana/dashboards"):
        shutil.copytree(REPOSITORY / part, tmp_path / part)
    stale = tmp_path / "deploy/kubernetes/components/prometheus-operator/prometheusrules.yaml"
    assert generate(tmp_path).returncode == 0
    current = stale.read_text()
    stale.write_text(current.replace("critical", "harmless"))
    checked = generate(tmp_path, "--check")
    assert (checked.returncode, checked.stderr) == (
        1,
        f"{stale} is not current: run generate.py\n",
    )
    assert generate(tmp_path).returncode == 0
    assert stale.read_text() == current


def readme_examples() -> list[Object]:
    """The blocks of YAML in the README."""
    text = (KUBERNETES / "README.md").read_text()
    blocks = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    return [yaml.safe_load(textwrap.dedent(block)) for block in blocks]


def test_an_overlay_as_the_readme_has_it(tmp_path: Path) -> None:
    overlay, only_the_nodes_address, with_a_secret = readme_examples()
    shutil.copytree(KUBERNETES, tmp_path / "kubernetes")
    mine = tmp_path / "kubernetes" / "overlays" / "mine"
    mine.mkdir()
    (mine / "sockmon.yaml").write_text("poll: {interval: 10s}\n")
    patch = {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": "sockmon"},
        "spec": {
            "template": {"spec": {"containers": [{"name": "sockmon", **only_the_nodes_address}]}}
        },
    }
    (mine / "kustomization.yaml").write_text(
        yaml.safe_dump(
            {
                **overlay,
                "patches": [{"patch": yaml.safe_dump(patch)}, *with_a_secret["patches"]],
            }
        )
    )
    rendered = str(mine)
    assert configuration(rendered) == "poll: {interval: 10s}\n"
    assert container(rendered)["image"] == f"YOUR.REGISTRY/sockmon:{__version__}"
    assert container(rendered)["args"][-1] == "--web.listen-address=$(HOST_IP):10776"
    names = {variable["name"] for variable in container(rendered)["env"]}
    assert names == {"HOST_IP", "NODE_NAME"}
    (secret,) = (volume for volume in pod(rendered)["volumes"] if "secret" in volume)
    mounts = {mount["name"]: mount["mountPath"] for mount in container(rendered)["volumeMounts"]}
    text = (KUBERNETES / "README.md").read_text()
    assert f"password_file: {mounts[secret['name']]}/alertmanager-password" in text
