"""The Kubernetes objects as kustomize renders them."""

import subprocess
from functools import cache
from typing import Any

import yaml

from tests.conftest import REPOSITORY, component

KUBERNETES = REPOSITORY / "deploy" / "kubernetes"

#: What an operator applies, relative to `KUBERNETES`.
BASE, UNITS = "base", "overlays/units"
HOST, OWNERS = "overlays/host", "overlays/owners"
NAMESPACES, EVENTS = "overlays/namespaces", "overlays/events"

#: The second container, which enters namespaces for the first.
HELPER = "netns-helper"
#: The container that loads the program which counts connections.
EVENTS_HELPER = "events-helper"

Object = dict[str, Any]


@cache
def render(directory: str) -> tuple[Object, ...]:
    """All objects of a directory."""
    program = component("kustomize")
    assert program is not None
    built = subprocess.run(
        [program, "build", KUBERNETES / directory], capture_output=True, text=True, check=False
    )
    assert (built.returncode, built.stderr) == (0, "")
    return tuple(yaml.safe_load_all(built.stdout))


def of_kind(kind: str, directory: str) -> list[Object]:
    """Its objects of one kind."""
    return [rendered for rendered in render(directory) if rendered["kind"] == kind]


def pod(directory: str) -> Object:
    """The specification of the DaemonSet's pods."""
    (daemon_set,) = of_kind("DaemonSet", directory)
    spec: Object = daemon_set["spec"]["template"]["spec"]
    return spec


def container(directory: str, name: str = "sockmon") -> Object:
    """The pod's container of that name."""
    (found,) = (found for found in pod(directory)["containers"] if found["name"] == name)
    container: Object = found
    return container


def security(directory: str, name: str = "sockmon") -> Object:
    """What a container is allowed: its own word goes before the pod's."""
    own: Object = container(directory, name)["securityContext"]
    return {**pod(directory)["securityContext"], **own}


def configuration(directory: str) -> str:
    """The file that the container is given as its configuration."""
    (volume,) = (v for v in pod(directory)["volumes"] if v["name"] == "config")
    (config_map,) = (
        found
        for found in of_kind("ConfigMap", directory)
        if found["metadata"]["name"] == volume["configMap"]["name"]
    )
    text: str = config_map["data"]["sockmon.yaml"]
    return text
