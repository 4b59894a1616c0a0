"""Control groups: which systemd unit or container a cgroup is of.

An owner is a unit or a container, not a cgroup: what a unit makes below its own (Delegate=yes) is
of that unit. Sources: systemd.unit(5), systemd's "Control Group APIs and Delegation",
cgroups(7), /proc/PID/cgroup.
"""

import contextlib
import os
import re
from collections.abc import Collection
from pathlib import Path

from sockmon.model.owner import SYSTEM, Manager, Unit
from sockmon.text import one_line

#: The file of a recording that has ids and paths of cgroups; no kernel has it.
RECORDED = "recorded-cgroups"

_CONTAINER = re.compile(r"(?:^|[-:/])([0-9a-f]{64})(?:\.scope)?(?:/|$)")
_UNIT = re.compile(r"\.(?:service|scope|socket)$")
_SHORT_ID = 12  # as docker, podman and crictl print container ids
#: What says nothing about a program: the cgroups of a login, of a user's manager, of an init.
_NO_SERVICE = re.compile(r"session-[^/]*\.scope|init\.scope|user@[0-9]+\.service|.*\.socket")

#: How engines name the cgroups of their containers, and Kubernetes the one above.
_KUBELET = re.compile(r"(?:^|/)kubepods")
_PODMAN = re.compile(r"(?:^|/)libpod-")
_DOCKER = re.compile(r"(?:^|/)docker[-/]")
_USER = re.compile(r"/user@([0-9]+)\.service/.")
_MACHINE = re.compile(
    r"/(?:systemd-nspawn@|machine-)([^/]+)\.(?:service|scope)/(?:[^/]+/)?system\.slice/"
)


def container_of(path: str) -> str | None:
    """Return the whole id of the container that a cgroup is of; None if it is of none."""
    found = _CONTAINER.search(path)
    return found[1] if found else None


def owning_unit(path: str) -> str | None:
    """Return the container or the unit that a cgroup is of; None if it is of neither.

    The first unit below the innermost slice counts: what a unit makes below its own is of that
    unit, and a machine (systemd-nspawn) has slices and units of its own. A login's session is no
    unit: programs in it have nothing to do with each other.
    """
    container = container_of(path)
    if container is not None:
        return container[:_SHORT_ID]
    parts = [part for part in path.split("/") if part not in {"", ".", ".."}]
    below = max((at + 1 for at, part in enumerate(parts) if part.endswith(".slice")), default=0)
    for part in (*parts[below:], *parts[:below]):
        if _UNIT.search(part) and not _NO_SERVICE.fullmatch(part):
            return one_line(part)
    if any(part.endswith(".slice") or _UNIT.search(part) for part in parts):
        return None
    return one_line("/" + "/".join(parts)) if parts else None


def manager_of(path: str) -> Manager:
    """Return who manages the container or unit that a cgroup is of."""
    if _CONTAINER.search(path):
        if _KUBELET.search(path):
            return Manager("kubelet")
        if _PODMAN.search(path):
            return Manager("podman")
        return Manager("docker" if _DOCKER.search(path) else "containers")
    if machine := _MACHINE.search(path):
        return Manager("machine", one_line(machine[1]))
    if user := _USER.search(path):
        return Manager("user", user[1])
    return SYSTEM


def managed_unit(path: str) -> Unit | None:
    """Return the container or the unit that a cgroup is of, with who manages it; None: neither."""
    name = owning_unit(path)
    return None if name is None else Unit(name, manager_of(path))


def unit_of(path: str) -> str:
    """Name a cgroup for people: container or unit, else the nearest thing, else the path itself."""
    owner = owning_unit(path)
    if owner is not None:
        return owner
    units = [part for part in path.split("/") if _UNIT.search(part)]
    return one_line(units[-1] if units else path)


def parse_cgroup(text: str) -> str:
    """Parse /proc/PID/cgroup: the path in cgroup v2, else in systemd's own hierarchy, else "/".

    In other hierarchies of cgroup v1 only a container's path says something.
    """
    paths = {}
    for line in text.splitlines():
        _, _, controllers_and_path = line.partition(":")
        controllers, _, path = controllers_and_path.partition(":")
        paths[controllers] = path
    found = [paths.get(controllers) or "/" for controllers in ("", "name=systemd")]
    found += [path for path in paths.values() if _CONTAINER.search(path)]
    return next((path for path in found if path != "/"), "/")


def read_cgroup_paths(proc: Path, wanted: Collection[int]) -> dict[int, str]:
    """Map cgroup ids to paths below the cgroup v2 mount: an id is its directory's inode number.

    Works in the hybrid hierarchy too. Ids of cgroups that have gone are missing, and so are all
    where cgroup v2 is not mounted, as `ip netns exec` leaves it.
    """
    paths: dict[int, str] = {}
    with contextlib.suppress(OSError):
        return _recorded((proc / RECORDED).read_text("utf-8", "surrogateescape"), wanted)
    mount = _cgroup2_mount(proc)
    if mount is None or not wanted:
        return paths
    left = set(wanted)
    below = [mount]
    while below and left:
        directory = below.pop()
        try:
            inode = directory.stat().st_ino
            below += [Path(entry.path) for entry in os.scandir(directory) if _is_directory(entry)]
        except OSError:
            continue  # gone while we looked
        if inode in left:
            left.discard(inode)
            paths[inode] = "/" + os.fsencode(directory.relative_to(mount)).decode(
                "utf-8", "backslashreplace"
            ).removeprefix(".")
    return paths


def _recorded(text: str, wanted: Collection[int]) -> dict[int, str]:
    lines = (line.partition(" ") for line in text.splitlines())
    known = {int(number): path for number, _, path in lines if number.isdigit()}
    return {number: path for number, path in known.items() if number in wanted}


def _cgroup2_mount(proc: Path) -> Path | None:
    try:
        lines = (proc / "self/mountinfo").read_text("utf-8", "surrogateescape").splitlines()
    except OSError:
        return None
    for line in lines:
        before, _, after = line.partition(" - ")
        if after.startswith("cgroup2 "):
            return Path(before.split()[4])
    return None


def _is_directory(entry: os.DirEntry[str]) -> bool:
    return entry.is_dir(follow_symlinks=False)
