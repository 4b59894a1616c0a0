"""What the manifests' containers are, made without a container engine; the node they run on."""

import subprocess
import sys
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import yaml

from tests.deploy.kustomize import configuration, container, security
from tests.lab import NetNs, eventually
from tests.running import RunningDaemon, running_daemon

QUICK: dict[str, Any] = {
    "poll": {"interval": "200ms"},
    "detect": {"close_wait_leak": {"stale_after": "1s", "for": "1s"}},
}

#: Where the two containers of a pod share a directory.
SHARED = "/run/sockmon-netns"

#: Joins a cgroup as $0, then runs the rest.
_JOINING = 'echo $$ >"$0/cgroup.procs" && exec "$@"'

#: The configuration, in $0 as in /etc; an empty directory for the state; the container's own view
#: of cgroups, if $1 names where; what else is mounted read-only, if $2 names it; and nothing else
#: to be written.
_MOUNTING = """
mount -t overlay -o "lowerdir=$0:/etc" overlay /etc
mount -t tmpfs -o mode=755 tmpfs /var/lib
mkdir -m 777 /var/lib/sockmon
[ -z "$1" ] || { umount "$1"; mount -t cgroup2 cgroup2 "$1"; }
[ -z "$2" ] || mount -o remount,bind,ro "$2"
mount -o remount,bind,ro /
shift 2
exec "$@"
"""

#: The node's /run is its own, with an empty directory that one pod's containers share.
_BOOTING = """
mount -t tmpfs tmpfs /run
mkdir -m 777 "$0"
mount --bind "$0" "$0"
mount -o remount,bind,ro /run
echo up
exec cat
"""


@contextmanager
def cgroup(name: str) -> Iterator[Path]:
    """A cgroup of that name for as long as the context is open."""
    path = _cgroup2() / name
    path.mkdir()
    try:
        yield path
    finally:
        eventually(lambda: _removed(path))


def _removed(path: Path) -> bool:
    """Remove a cgroup; a process that ends may be in it for a moment yet."""
    with suppress(OSError):
        path.rmdir()
    return not path.exists()


def scope(name: str) -> str:
    """A name for a cgroup that no other has."""
    return f"{name}-{uuid.uuid4().hex[:12]}.scope"


def _cgroup2() -> Path:
    findmnt = ["findmnt", "--noheadings", "--first-only", "--types=cgroup2", "--output=TARGET"]
    return Path(subprocess.run(findmnt, capture_output=True, text=True, check=True).stdout.strip())


@contextmanager
def processes_of(node: NetNs) -> Iterator[tuple[str, ...]]:
    """A node's processes, which do not see this host's: what to put before a command to join them.

    All of them end with the context, and with the test.
    """
    unshare = ("unshare", "--pid", "--fork", "--kill-child", "--mount", "--mount-proc")
    with node.popen([*unshare, "sh", "-ec", _BOOTING, SHARED]) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        try:
            yield ("nsenter", f"--target={child_of(process.pid)}", "--pid", "--mount")
        finally:
            process.kill()


def child_of(pid: int) -> int:
    """The only child of a process: of nsenter and unshare what they run in a PID namespace."""
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text())


class OtherNamespace(NetNs):
    """A namespace whose programs belong to a unit and to a user of their own.

    among: what makes them processes of a node.
    """

    def __init__(self, unit: Path, among: Sequence[str] = ()) -> None:
        self._unit = unit
        self._among = among

    def popen(self, argv: Sequence[str]) -> subprocess.Popen[str]:
        user = ("setpriv", "--reuid=1000", "--regid=1000", "--clear-groups")
        join = ("sh", "-c", _JOINING, str(self._unit))
        return super().popen([*join, *self._among, *user, *argv])


def as_the_container(
    directory: str, name: str, etc: Path, of_pod: Path, among: Sequence[str] = ()
) -> tuple[str, ...]:
    """What to put before a command for it to be as a container is, in the cgroup `of_pod`.

    among: what makes it a process of the node, with hostPID.
    """
    allowed = security(directory, name)
    capabilities = [f"+{added.lower()}" for added in allowed["capabilities"].get("add", [])]
    mounts = {
        mount["mountPath"]: mount.get("readOnly", False)
        for mount in container(directory, name)["volumeMounts"]
    }
    return (
        *("sh", "-c", _JOINING, str(of_pod)),
        *among,
        *("unshare", "--mount", "--cgroup"),
        *("sh", "-ec", _MOUNTING, str(etc)),
        "" if "/sys/fs/cgroup" in mounts else str(_cgroup2()),
        SHARED if among and mounts.get(SHARED) else "",
        *("setpriv", f"--reuid={allowed['runAsUser']}", f"--regid={allowed['runAsGroup']}"),
        *("--clear-groups", "--no-new-privs", "--inh-caps=-all"),
        *(("--pdeathsig=KILL",) if among else ()),  # with nsenter, which passes no signal on
        f"--bounding-set={','.join(['-all', *capabilities])}",
    )


@contextmanager
def running_pod(
    node: NetNs, directory: str, path: Path, among: Sequence[str] = ()
) -> Iterator[RunningDaemon]:
    """Run the daemon as the directory's manifests say, only quicker."""
    etc = path / "etc"
    config = etc / "sockmon" / "sockmon.yaml"
    config.parent.mkdir(parents=True)
    configured = yaml.safe_load(configuration(directory))
    poll = {**configured.get("poll", {}), **QUICK["poll"]}
    config.write_text(yaml.safe_dump({**configured, **QUICK, "poll": poll}))
    command, *arguments = container(directory)["args"]
    assert command == "run"
    with (
        cgroup(scope("pod")) as of_pod,
        running_daemon(
            node,
            *arguments,
            environment={"NODE_NAME": "node-1"},
            prefix=as_the_container(directory, "sockmon", etc, of_pod, among),
        ) as daemon,
    ):
        yield daemon


@contextmanager
def running_helper(
    node: NetNs, directory: str, path: Path, among: Sequence[str]
) -> Iterator[subprocess.Popen[str]]:
    """Run the helper as the directory's manifests say; it ends with the node's processes."""
    with cgroup(scope("helper")) as of_pod:
        prefix = as_the_container(directory, "netns-helper", path, of_pod, among)
        arguments = container(directory, "netns-helper")["args"]
        with node.popen([*prefix, sys.executable, "-m", "sockmon", *arguments]) as process:
            try:
                yield process
            finally:
                process.kill()
