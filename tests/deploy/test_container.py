"""The Containerfile, built by buildah, and what it makes, run as a container engine would.

Nothing is pulled: Debian's own base system stands in for both images that it begins with.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sockmon import __version__
from tests.conftest import MACHINE, REPOSITORY, component
from tests.deploy.kustomize import HOST, container, pod
from tests.lab import PATIENCE, NetNs, eventually
from tests.running import PORT, RunningDaemon

CONTAINER = REPOSITORY / "deploy" / "container"

#: What an engine does before it starts the program: its root, read-only but for the volume.
_AS_AN_ENGINE = """
mount --bind "$0" "$0"
mount -t proc proc "$0/proc"
mount -t tmpfs -o mode=777 tmpfs "$0/var/lib/sockmon"
mount -o remount,bind,ro "$0"
exec chroot "$0" "$@"
"""


def test_hadolint_finds_nothing_to_complain_of() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    linted = subprocess.run(
        [hadolint, "--no-color", "--failure-threshold=style", CONTAINER / "Containerfile"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (linted.returncode, linted.stdout + linted.stderr) == (0, "")


@dataclass(frozen=True, slots=True)
class Image:
    """An image's files, writable, and what an engine is told about it."""

    root: Path
    config: dict[str, Any]

    def command(self, *arguments: str) -> list[str]:
        """What an engine runs for these arguments, as the image's user, to be PID 1."""
        user, group = self.config["User"].split(":")
        return [
            *("unshare", "--mount", "--pid", "--fork", "--kill-child"),
            *("sh", "-ec", _AS_AN_ENGINE, str(self.root)),
            *("env", "--ignore-environment", *self.config["Env"]),
            *("setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups"),
            *("--no-new-privs", "--inh-caps=-all", "--bounding-set=-all"),
            *arguments,
        ]


@contextmanager
def built() -> Iterator[Image]:
    """Build the image; all of it goes when the context is left."""
    with tempfile.TemporaryDirectory() as directory:
        unneeded = Path(directory, "unneeded")
        unneeded.write_text("usr/share/doc\nusr/share/locale\nusr/share/man\nvar/lib/apt/lists\n")
        debian = Path(directory, "Containerfile")
        debian.write_text("FROM scratch\nCOPY . /\n")
        build(directory, "debian", debian, unneeded, MACHINE)
        build(
            directory,
            "sockmon",
            CONTAINER / "Containerfile",
            CONTAINER / "Containerfile.dockerignore",
            REPOSITORY,
            "--build-arg=BUILD_IMAGE=localhost/debian",
            "--build-arg=BASE_IMAGE=localhost/debian",
            f"--build-arg=VERSION={__version__}",
            "--volume=/etc/ssl/certs:/etc/ssl/certs:ro",  # whom this host trusts
        )
        inspected = buildah(directory, "inspect", "--type=image", "localhost/sockmon")
        root = buildah(directory, "mount", buildah(directory, "from", "localhost/sockmon"))
        yield Image(Path(root), json.loads(inspected)["Docker"]["config"])


def build(
    directory: str, name: str, containerfile: Path, ignored: Path, context: Path, *more: str
) -> None:
    """Build an image of that name."""
    how = ("--quiet", "--isolation=chroot", "--format=docker", "--pull=never")
    files = (f"--file={containerfile}", f"--ignorefile={ignored}")
    buildah(directory, "build", *how, *files, *more, f"--tag=localhost/{name}", str(context))


def buildah(directory: str, *arguments: str) -> str:
    """Run buildah with a store of its own; mounts that it makes meanwhile end with it."""
    program = component("buildah")
    assert program is not None
    # Plain directories: the test runs in one, with no mount to be left behind.
    store = ("--storage-driver=vfs", f"--root={directory}/store", f"--runroot={directory}/run")
    done = subprocess.run(
        ["unshare", "--mount", program, *store, *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


@contextmanager
def running(netns: NetNs, image: Image, log_file: Path) -> Iterator[RunningDaemon]:
    """Run what the image runs when it is told nothing."""
    command = image.command(*image.config["Entrypoint"], *image.config["Cmd"])
    with log_file.open("wb") as log:
        process = netns.call(subprocess.Popen[bytes], command, stdout=log, stderr=log)
    daemon = RunningDaemon(netns, process, log_file)
    try:
        eventually(lambda: is_ready(daemon))
        yield daemon
    finally:
        process.kill()  # and with it, all of its PID namespace
        process.wait()


def is_ready(daemon: RunningDaemon) -> bool:
    assert daemon.process.poll() is None, daemon.log()
    try:
        return daemon.get("/-/ready").status == 200
    except OSError:
        return False


@pytest.mark.root
@pytest.mark.machine
@pytest.mark.component("buildah")
@pytest.mark.component("kustomize")
def test_what_it_builds_runs_without_privilege_and_writes_only_its_state(tmp_path: Path) -> None:
    with built() as image, NetNs() as netns:
        told = image.config
        assert told["ExposedPorts"] == {f"{PORT}/tcp": {}}
        assert told["Labels"]["org.opencontainers.image.version"] == __version__
        assert told["Volumes"].keys() == {"/var/lib/sockmon"}
        of_pod = pod(HOST)["securityContext"]
        assert told["User"] == f"{of_pod['runAsUser']}:{of_pod['runAsGroup']}"
        assert "command" not in container(HOST)  # the arguments are for the image's entry point

        packages = {found.name for found in image.root.glob("opt/sockmon/lib/*/site-packages/*")}
        assert {"sockmon", "numpy", "textual"} <= packages
        assert not {"pip", "hatchling", "pytest"} & packages
        assert not list(image.root.glob("opt/sockmon/**/node_modules"))

        version = netns.run(image.command(*told["Entrypoint"], "--version"))
        assert version.stdout == f"sockmon {__version__}\n"
        helper = netns.run(image.command(*told["Entrypoint"], "netns-helper"), check=False)
        assert helper.stderr.startswith("sockmon: no socket was passed: ")
        mode, *health = told["Healthcheck"]["Test"]
        assert mode == "CMD"
        assert netns.run(image.command(*health), check=False).returncode == 1
        with running(netns, image, tmp_path / "log") as daemon:
            assert netns.run(image.command(*health)).returncode == 0
            assert daemon.value("sockmon_polls_total") >= 1
            children = f"/proc/{daemon.process.pid}/task/{daemon.process.pid}/children"
            first = int(Path(children).read_text())
            assert f"NSpid:\t{first}\t1\n" in Path(f"/proc/{first}/status").read_text()
            # The first process of a PID namespace gets only the signals that it handles.
            os.kill(first, signal.SIGTERM)
            assert daemon.process.wait(timeout=PATIENCE) == 0
            assert "cannot write" not in daemon.log()
