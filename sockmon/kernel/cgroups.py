"""Control groups: which systemd unit or container a cgroup is of.

An owner is a unit or a container, not a cgroup: what a unit makes below its own (Delegate=yes) is
of that unit. Sources: systemd.unit(5), systemd's "Control Group APIs and Delegation",
cgroups(7), /proc/PID/cgroup.
"""

import contextlib
import errno
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
_OUT_OF_RESOURCES = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
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
    user = _USER.search(path)
    if _CONTAINER.search(path):  # of a user: of an engine of his own, or only called so by him
        return Manager("containers", user[1]) if user else _engine_of(path)
    if machine := _MACHINE.search(path):
        return Manager("machine", one_line(machine[1]))
    return Manager("user", user[1]) if user else SYSTEM


def _engine_of(path: str) -> Manager:
    if _KUBELET.search(path):
        return Manager("kubelet")
    if _PODMAN.search(path):
        return Manager("podman")
    return Manager("docker" if _DOCKER.search(path) else "containers")


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


def titled_unit(path: str) -> str:
    """Name a cgroup as unit_of() does, with the user whose it is."""
    unit = managed_unit(path)
    return unit_of(path) if unit is None else unit.title


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
    """Do what look_for_cgroups() does; where it could not look, nothing is known."""
    with contextlib.suppress(OSError):
        return look_for_cgroups(proc, wanted)
    return {}


def look_for_cgroups(proc: Path, wanted: Collection[int]) -> dict[int, str]:
    """Map cgroup ids to paths below the cgroup v2 mount: an id is its directory's inode number.

    Works in the hybrid hierarchy too. Where this process has no cgroup v2, as `ip netns exec`
    leaves it, that of the first process will do. Ids of cgroups that have gone are missing. Raises
    OSError when it could not look for want of descriptors or memory: then a missing id means
    nothing.
    """
    paths: dict[int, str] = {}
    with contextlib.suppress(OSError):
        return _recorded((proc / RECORDED).read_text("utf-8", "surrogateescape"), wanted)
    left = set(wanted)
    mount = (_cgroup2_mount(proc, "self") or _cgroup2_mount(proc, "1")) if left else None
    if mount is None:
        return paths
    below = [mount]
    while below and left:
        directory = below.pop()
        try:
            inode = directory.stat().st_ino
            below += [Path(entry.path) for entry in os.scandir(directory) if _is_directory(entry)]
        except OSError as error:
            if error.errno in _OUT_OF_RESOURCES:
                raise
            continue  # gone while we looked, or hidden
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


def _cgroup2_mount(proc: Path, task: str) -> Path | None:
    """Return where a process has mounted cgroup v2, as the calling process may reach it."""
    try:
        lines = (proc / task / "mountinfo").read_text("utf-8", "surrogateescape").splitlines()
    except OSError as error:
        if error.errno in _OUT_OF_RESOURCES:
            raise
        return None  # no such process to be seen, or not permitted
    for line in lines:
        before, _, after = line.partition(" - ")
        if after.startswith("cgroup2 "):
            place = before.split()[4]
            return Path(place) if task == "self" else Path(f"{proc}/{task}/root{place}")
    return None


def _is_directory(entry: os.DirEntry[str]) -> bool:
    return entry.is_dir(follow_symlinks=False)
