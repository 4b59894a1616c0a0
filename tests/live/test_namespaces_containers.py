"""Containers, pods and machines: their namespaces have their names, and so have their leaks."""

import json
import secrets
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from string import Template

import pytest

from tests.cgroups import living_in, make, tree
from tests.conftest import REPOSITORY
from tests.deploy.leaking import LEAK_PORT, LEAKS, leak
from tests.everywhere import leaks, shown, watching
from tests.lab import NetNs, eventually
from tests.machine import Machine, booted
from tests.running import RunningDaemon
from tests.world import World

pytestmark = pytest.mark.root

LEAKING_SERVER = REPOSITORY / "tests" / "lab" / "leaking_server.py"
PORT = 8080
LEAKED = 3
#: Where engines put a container, $id being its id.
TREES = {
    "docker": "system.slice/docker-$id.scope",
    "docker without systemd": "docker/$id",
    "podman": "machine.slice/libpod-$id.scope/container",
    "podman, rootless": "user.slice/user-1000.slice/user@1000.service/user.slice/libpod-$id.scope",
    "containerd": "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1_2.slice/"
    "cri-containerd-$id.scope",
    "cri-o": "kubepods.slice/kubepods-pod1_3.slice/crio-$id.scope",
    "kubelet without systemd": "kubepods/besteffort/pod1-4/$id",
}


@pytest.fixture
def daemon(tmp_path: Path, world: World) -> Iterator[RunningDaemon]:
    """A daemon that looks at the whole world, from a namespace of its own."""
    with watching(tmp_path, world) as running:
        yield running


@contextmanager
def leaking(netns: NetNs, cgroup: Path) -> Iterator[None]:
    """A server in the namespace and the cgroup that never closes what its clients have closed."""
    client = (
        "import socket\n"
        f"for _ in range({LEAKED}):\n"
        f"    with socket.create_connection(('127.0.0.1', {PORT})) as made:\n"
        "        made.sendall(b'GET /')\n"
    )
    with living_in(cgroup):
        arguments = ("127.0.0.1", str(PORT), str(LEAKED))
        server = netns.popen([sys.executable, str(LEAKING_SERVER), *arguments])
    with server:
        try:
            assert server.stdout is not None
            assert server.stdout.readline()
            netns.run([sys.executable, "-c", client])
            assert server.stdout.readline()
            yield
        finally:
            server.kill()


def test_a_leak_in_each_engines_containers_is_told_of_by_the_containers_id(
    world: World, daemon: RunningDaemon
) -> None:
    with tree() as top, ExitStack() as running:
        ids = {engine: secrets.token_hex(32) for engine in TREES}
        for engine, its_tree in TREES.items():
            cgroup = make(top / Template(its_tree).substitute(id=ids[engine]))
            netns = running.enter_context(world.netns())
            running.enter_context(leaking(netns, cgroup))

        def told() -> dict[str, list[tuple[str, str]]]:
            return {
                engine: [(its["owner"], its["port"]) for its in leaks(daemon, its_id[:12])]
                for engine, its_id in ids.items()
            }

        owners = {engine: its_id[:12] for engine, its_id in ids.items()}
        owners["podman, rootless"] += "_of_user_1000"  # any user can make cgroups of any name there
        expected = {engine: [(owner, str(PORT))] for engine, owner in owners.items()}
        eventually(told, until=expected.__eq__)
        running.close()
        eventually(told, until={engine: [] for engine in ids}.__eq__)


def test_a_pod_is_named_for_its_sandbox_and_the_leak_for_its_container(
    world: World, daemon: RunningDaemon
) -> None:
    sandbox, container = secrets.token_hex(32), secrets.token_hex(32)
    with tree() as top, world.netns() as netns:
        pod = top / "kubepods.slice/kubepods-pod1_5.slice"
        with living_in(make(pod / f"cri-containerd-{sandbox}.scope")):
            pause = netns.popen(["cat"])
        with pause, leaking(netns, make(pod / f"cri-containerd-{container}.scope")):
            (found,) = eventually(lambda: leaks(daemon, sandbox[:12]))
            assert found["owner"] == container[:12]


def test_a_pod_has_the_names_that_its_engine_keeps(world: World, daemon: RunningDaemon) -> None:
    sandbox, container = secrets.token_hex(32), secrets.token_hex(32)
    tasks = Path(f"/proc/{world.init}/root/run/containerd/io.containerd.runtime.v2.task/k8s.io")
    (tasks / sandbox).mkdir(parents=True)
    annotations = {
        "io.kubernetes.cri.sandbox-name": "web-0",
        "io.kubernetes.cri.sandbox-namespace": "shop",
    }
    (tasks / sandbox / "config.json").write_text(json.dumps({"annotations": annotations}))
    with tree() as top, world.netns() as netns:
        pod = top / "kubepods.slice/kubepods-pod1_6.slice"
        with living_in(make(pod / f"cri-containerd-{sandbox}.scope")):
            pause = netns.popen(["cat"])
        with pause, leaking(netns, make(pod / f"cri-containerd-{container}.scope")):
            info = eventually(lambda: daemon.samples("sockmon_namespace_info"))
            names = {"netns": sandbox[:12], "pod": "web-0", "namespace": "shop", "container": ""}
            assert {frozenset(names.items()): 1.0} == info
            path = f"/api/v1/observation?netns={sandbox[:12]}"

            def owners() -> dict[str, int]:
                (namespace,) = json.loads(daemon.get(path).body)["namespaces"]
                known = (namespace["owners"] or {"owners": []})["owners"]
                return {its["owner"]: its["states"].get("close_wait", 0) for its in known}

            eventually(owners, until=lambda seen: seen.get(container[:12]) == LEAKED)
            # The only owner's sockets are the namespace's.
            samples = daemon.samples("sockmon_owner_sockets")
            assert not any(("netns", sandbox[:12]) in labels for labels in samples)
            pause.kill()


@pytest.fixture
def machine(world: World) -> Iterator[Machine]:
    """A machine with a network of its own, in the cgroup that systemd-nspawn@.service gives it."""
    with booted({REPOSITORY / "tests": "/srv/tests"}, world) as machine:
        yield machine


@pytest.mark.machine
def test_a_leak_inside_a_machine_is_seen_from_its_host(
    daemon: RunningDaemon, machine: Machine
) -> None:
    name = machine.unit
    with leak(machine) as unit:
        (found,) = eventually(lambda: leaks(daemon, name))
        assert (found["owner"], found["port"]) == (unit, str(LEAK_PORT))
        assert shown(daemon, "sockmon_close_wait_stale_sockets", name) == [LEAKS]
    eventually(lambda: leaks(daemon, name), until=[].__eq__)
