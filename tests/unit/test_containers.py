"""Names of containers, from trees made by hand as the engines leave them."""

import json
from pathlib import Path
from typing import Any

import pytest

from sockmon.kernel.containers import read_names
from sockmon.model.observation import ContainerNames

ID = "0123456789abcdef" * 4

CONTAINERD = f"run/containerd/io.containerd.runtime.v2.task/k8s.io/{ID}/config.json"
CRIO = f"run/containers/storage/overlay-containers/{ID}/userdata/config.json"
DOCKER = f"var/lib/docker/containers/{ID}/config.v2.json"
PODMAN = "var/lib/containers/storage/overlay-containers/containers.json"

SANDBOX = {
    "io.kubernetes.cri.container-type": "sandbox",
    "io.kubernetes.cri.sandbox-id": ID,
    "io.kubernetes.cri.sandbox-name": "web-0",
    "io.kubernetes.cri.sandbox-namespace": "shop",
}
KUBERNETES = {"io.kubernetes.pod.name": "web-0", "io.kubernetes.pod.namespace": "shop"}

TREES: dict[str, tuple[str, Any, ContainerNames | None]] = {
    "containerd's sandbox": (CONTAINERD, {"annotations": SANDBOX}, ContainerNames("web-0", "shop")),
    "containerd's container": (
        CONTAINERD,
        {"annotations": {**SANDBOX, "io.kubernetes.cri.container-name": "nginx"}},
        ContainerNames("web-0", "shop", "nginx"),
    ),
    "CRI-O's sandbox": (
        CRIO,
        {"annotations": {**KUBERNETES, "io.kubernetes.container.name": "POD"}},
        ContainerNames("web-0", "shop"),
    ),
    "CRI-O's container": (
        CRIO,
        {"annotations": {**KUBERNETES, "io.kubernetes.container.name": "nginx"}},
        ContainerNames("web-0", "shop", "nginx"),
    ),
    "Docker": (
        DOCKER,
        {"Name": "/proxy", "Config": {"Labels": {}}},
        ContainerNames(container="proxy"),
    ),
    "Docker without labels": (
        DOCKER,
        {"Name": "/proxy", "Config": {"Labels": None}},
        ContainerNames(container="proxy"),
    ),
    "kubelet's Docker": (
        DOCKER,
        {
            "Name": "/k8s_nginx_web-0_shop_0",
            "Config": {"Labels": {**KUBERNETES, "io.kubernetes.container.name": "nginx"}},
        },
        ContainerNames("web-0", "shop", "nginx"),
    ),
    "podman": (
        PODMAN,
        [{"id": "f" * 64, "names": ["other"]}, {"id": ID, "names": ["proxy"]}],
        ContainerNames(container="proxy"),
    ),
    "podman, of another": (PODMAN, [{"id": "f" * 64, "names": ["other"]}], None),
    "podman's runtime file, without names": (CRIO, {"annotations": {"stdin": "false"}}, None),
    "nothing that is known": (CONTAINERD, ["annotations"], None),
    "an empty file": (DOCKER, {}, None),
}


def write(root: Path, name: str, content: bytes) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


@pytest.mark.parametrize("engine", TREES)
def test_are_as_the_engine_has_them(tmp_path: Path, engine: str) -> None:
    name, document, expected = TREES[engine]
    write(tmp_path, name, json.dumps(document).encode())
    assert read_names(tmp_path, ID) == expected


def test_a_file_that_tells_nothing_hides_no_other(tmp_path: Path) -> None:
    write(tmp_path, CRIO, b'{"annotations": {}}')
    write(tmp_path, PODMAN, json.dumps([{"id": ID, "names": ["proxy"]}]).encode())
    assert read_names(tmp_path, ID) == ContainerNames(container="proxy")


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b"null", b"3"])
def test_nonsense_counts_as_nothing(tmp_path: Path, content: bytes) -> None:
    for name in (CONTAINERD, CRIO, DOCKER, PODMAN):
        write(tmp_path, name, content)
    assert read_names(tmp_path, ID) is None


def test_without_an_engine_there_are_none(tmp_path: Path) -> None:
    assert read_names(tmp_path, ID) is None
