"""Names of containers, from the files in which their engines keep them; root can read them.

Sources: containerd's pkg/cri/annotations, CRI-O's pkg/annotations (OCI runtime specifications,
config.json), moby's container.Container (config.v2.json), containers/storage's containers.json.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sockmon.model.observation import ContainerNames

_FILE_LIMIT = 4 << 20
#: What CRI-O and kubelet's Docker call the container that only holds the pod's namespaces.
_SANDBOX = "POD"


def read_names(root: Path, container: str) -> ContainerNames | None:
    """Return what the engine calls a container of this id; None if no file tells, or is readable.

    root: the root of the file system.
    """
    for path, parse in _FILES:
        try:
            with (root / path.format(id=container)).open("rb") as file:
                names = parse(json.loads(file.read(_FILE_LIMIT)), container)
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            continue
        if any((names.pod, names.namespace, names.container)):
            return names
    return None


def _containerd(spec: Any, _: str) -> ContainerNames:
    of = spec["annotations"].get
    prefix = "io.kubernetes.cri."
    return ContainerNames(*(str(of(f"{prefix}{name}", "")) for name in _IN_CONTAINERD))


_IN_CONTAINERD = ("sandbox-name", "sandbox-namespace", "container-name")


def _crio(spec: Any, _: str) -> ContainerNames:
    return _kubernetes(spec["annotations"])


def _docker(config: Any, _: str) -> ContainerNames:
    names = _kubernetes(config["Config"].get("Labels") or {})
    return names if names.pod else ContainerNames(container=str(config["Name"]).removeprefix("/"))


def _podman(containers: Any, container: str) -> ContainerNames:
    (its,) = (each for each in containers if each["id"] == container)
    return ContainerNames(container=str(its["names"][0]))


def _kubernetes(labels: Mapping[str, Any]) -> ContainerNames:
    name = str(labels.get("io.kubernetes.container.name", ""))
    return ContainerNames(
        str(labels.get("io.kubernetes.pod.name", "")),
        str(labels.get("io.kubernetes.pod.namespace", "")),
        "" if name == _SANDBOX else name,
    )


_FILES: tuple[tuple[str, Callable[[Any, str], ContainerNames]], ...] = (
    ("run/containerd/io.containerd.runtime.v2.task/k8s.io/{id}/config.json", _containerd),
    ("run/containers/storage/overlay-containers/{id}/userdata/config.json", _crio),
    ("var/lib/docker/containers/{id}/config.v2.json", _docker),
    ("var/lib/containers/storage/overlay-containers/containers.json", _podman),
)
