"""What the pods may do, against the Pod Security Standards: nothing that sockmon does not need.

Source: Kubernetes, docs/concepts/security/pod-security-standards.md.
"""

from collections.abc import Iterator

import pytest

from tests.deploy.kustomize import (
    BASE,
    EVENTS,
    EVENTS_HELPER,
    HELPER,
    HOST,
    NAMESPACES,
    OWNERS,
    UNITS,
    Object,
    container,
    of_kind,
    pod,
    render,
)

pytestmark = pytest.mark.component("kustomize")

#: Volumes that the restricted standard allows.
_VOLUMES = {
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
}


#: What of the standard a container does not keep when it reads others' processes as root.
_READS_PROCESSES = {"root", "SYS_PTRACE", "appArmorProfile"}


def exceptions(spec: Object) -> dict[str, set[str]]:
    """What of the restricted standard a pod does not keep: itself under "pod", its containers."""
    found = {name for name in ("hostNetwork", "hostPID", "hostIPC") if spec.get(name)}
    found |= {kind for volume in spec["volumes"] for kind in volume if kind != "name"} - _VOLUMES
    containers = [*spec["containers"], *spec.get("initContainers", [])]
    of_pod = spec.get("securityContext", {})
    return {"pod": found, **{of["name"]: set(_exceptions_of(of, of_pod)) for of in containers}}


def _exceptions_of(container: Object, of_pod: Object) -> Iterator[str]:
    own = container["securityContext"]
    effective = {**of_pod, **own}
    if own.get("allowPrivilegeEscalation") is not False:
        yield "allowPrivilegeEscalation"
    if own.get("privileged"):
        yield "privileged"
    if "ALL" not in own["capabilities"]["drop"]:
        yield "capabilities"
    yield from set(own["capabilities"].get("add", [])) - {"NET_BIND_SERVICE"}
    if effective.get("runAsNonRoot") is not True or effective.get("runAsUser") == 0:
        yield "root"
    if effective.get("seccompProfile", {}).get("type") not in ("RuntimeDefault", "Localhost"):
        yield "seccompProfile"
    if effective.get("appArmorProfile", {}).get("type") == "Unconfined":
        yield "appArmorProfile"
    if "procMount" in own or "seLinuxOptions" in effective or "sysctls" in of_pod:
        yield "procMount, seLinuxOptions or sysctls"
    if any(port.get("hostPort") for port in container.get("ports", ())):
        yield "hostPort"


@pytest.mark.parametrize(
    ("directory", "expected"),
    [
        (BASE, {"pod": {"hostNetwork"}, "sockmon": set()}),
        (UNITS, {"pod": {"hostNetwork", "hostPath"}, "sockmon": set()}),
        (HOST, {"pod": {"hostNetwork", "hostPath"}, "sockmon": set()}),
        (
            NAMESPACES,
            {
                "pod": {"hostNetwork", "hostPath", "hostPID"},
                "sockmon": set(),
                HELPER: {*_READS_PROCESSES, "SYS_ADMIN"},
            },
        ),
        (
            EVENTS,
            {
                "pod": {"hostNetwork", "hostPath", "hostPID"},
                "sockmon": set(),
                HELPER: {*_READS_PROCESSES, "SYS_ADMIN"},
                EVENTS_HELPER: {"BPF", "PERFMON", "root"},
            },
        ),
        (
            OWNERS,
            {
                "pod": {"hostNetwork", "hostPath", "hostPID"},
                "sockmon": {*_READS_PROCESSES, "DAC_READ_SEARCH"},
                HELPER: {*_READS_PROCESSES, "SYS_ADMIN"},
            },
        ),
    ],
)
def test_the_restricted_standard_is_kept_but_for(
    directory: str, expected: dict[str, set[str]]
) -> None:
    assert exceptions(pod(directory)) == expected


@pytest.mark.parametrize("directory", [BASE, HOST, NAMESPACES, EVENTS, OWNERS])
def test_nothing_can_be_written_but_the_state(directory: str) -> None:
    assert writable(container(directory)) == ["/var/lib/sockmon"]
    for volume in pod(directory)["volumes"]:
        assert volume.get("hostPath", {"path": "/sys/fs/cgroup"})["path"] == "/sys/fs/cgroup"
        assert "emptyDir" not in volume or volume["emptyDir"]["sizeLimit"]


@pytest.mark.parametrize(
    ("name", "directory"),
    [(HELPER, "/run/sockmon-netns"), (EVENTS_HELPER, "/run/sockmon-events")],
)
def test_a_helper_writes_where_its_socket_is_and_reads_nothing(name: str, directory: str) -> None:
    helper = container(EVENTS, name)
    assert writable(helper) == [directory]
    assert len(helper["volumeMounts"]) == 1
    assert not {"ports", "env", "envFrom"} & helper.keys()


def writable(container: Object) -> list[str]:
    """Where a container may write."""
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    return [m["mountPath"] for m in container["volumeMounts"] if not m.get("readOnly")]


@pytest.mark.parametrize("directory", [BASE, HOST, NAMESPACES, EVENTS, OWNERS])
def test_the_api_server_is_out_of_reach(directory: str) -> None:
    kinds = {rendered["kind"] for rendered in render(directory)}
    assert not [kind for kind in kinds if "Role" in kind]
    (account,) = of_kind("ServiceAccount", directory)
    assert account["automountServiceAccountToken"] is False
    assert pod(directory)["automountServiceAccountToken"] is False


@pytest.mark.parametrize("directory", [BASE, HOST, NAMESPACES, EVENTS, OWNERS])
def test_the_namespace_admits_the_pod_and_memory_is_bounded(directory: str) -> None:
    (namespace,) = of_kind("Namespace", directory)
    level = namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"]
    assert level == "privileged"  # the only one that admits hostNetwork
    for of_pod in pod(directory)["containers"]:
        assert of_pod["resources"]["limits"].keys() == {"memory"}
        assert of_pod["resources"]["requests"].keys() == {"cpu", "memory"}
