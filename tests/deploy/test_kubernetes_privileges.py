"""What the pods may do, against the Pod Security Standards: nothing that sockmon does not need.

Source: Kubernetes, docs/concepts/security/pod-security-standards.md.
"""

from collections.abc import Iterator

import pytest

from tests.deploy.kustomize import BASE, HOST, OWNERS, UNITS, Object, of_kind, pod, render

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


def exceptions(spec: Object) -> set[str]:
    """What of the restricted standard a pod does not keep."""
    found = {name for name in ("hostNetwork", "hostPID", "hostIPC") if spec.get(name)}
    found |= {kind for volume in spec["volumes"] for kind in volume if kind != "name"} - _VOLUMES
    for container in [*spec["containers"], *spec.get("initContainers", [])]:
        found |= set(_exceptions_of(container, spec.get("securityContext", {})))
    return found


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
    if any(port.get("hostPort") for port in container["ports"]):
        yield "hostPort"


@pytest.mark.parametrize(
    ("directory", "expected"),
    [
        (BASE, {"hostNetwork"}),
        (UNITS, {"hostNetwork", "hostPath"}),
        (HOST, {"hostNetwork", "hostPath"}),
        (
            OWNERS,
            {
                "hostNetwork",
                "hostPath",
                "hostPID",
                "root",
                "DAC_READ_SEARCH",
                "SYS_PTRACE",
                "appArmorProfile",
            },
        ),
    ],
)
def test_the_restricted_standard_is_kept_but_for(directory: str, expected: set[str]) -> None:
    assert exceptions(pod(directory)) == expected


@pytest.mark.parametrize("directory", [BASE, HOST, OWNERS])
def test_nothing_can_be_written_but_the_state(directory: str) -> None:
    (container,) = pod(directory)["containers"]
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    writable = [m["mountPath"] for m in container["volumeMounts"] if not m.get("readOnly")]
    assert writable == ["/var/lib/sockmon"]
    for volume in pod(directory)["volumes"]:
        assert volume.get("hostPath", {"path": "/sys/fs/cgroup"})["path"] == "/sys/fs/cgroup"
        assert "emptyDir" not in volume or volume["emptyDir"]["sizeLimit"]


@pytest.mark.parametrize("directory", [BASE, HOST, OWNERS])
def test_the_api_server_is_out_of_reach(directory: str) -> None:
    kinds = {rendered["kind"] for rendered in render(directory)}
    assert not [kind for kind in kinds if "Role" in kind]
    (account,) = of_kind("ServiceAccount", directory)
    assert account["automountServiceAccountToken"] is False
    assert pod(directory)["automountServiceAccountToken"] is False


@pytest.mark.parametrize("directory", [BASE, HOST, OWNERS])
def test_the_namespace_admits_the_pod_and_memory_is_bounded(directory: str) -> None:
    (namespace,) = of_kind("Namespace", directory)
    level = namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"]
    assert level == "privileged"  # the only one that admits hostNetwork
    (container,) = pod(directory)["containers"]
    assert container["resources"]["limits"].keys() == {"memory"}
    assert container["resources"]["requests"].keys() == {"cpu", "memory"}
