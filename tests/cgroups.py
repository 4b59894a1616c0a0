"""Control groups as systemd and container engines make them: sockmon names namespaces by these."""

import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from tests.lab import eventually

ROOT = Path("/")


def put(pid: int, cgroup: Path) -> None:
    """Move a process; 0 is the test itself."""
    for mount in _hierarchies().values():
        _enter(mount, pid, cgroup)


def take_out(pid: int) -> None:
    """Move a process out of the session or unit in which the tests were started.

    sockmon would name the process's network namespace by that.
    """
    for controllers, path in _of(pid).items():
        if path != ROOT:
            _enter(_hierarchies()[controllers], pid, ROOT)


@contextmanager
def tree() -> Iterator[Path]:
    """A cgroup of the test's own to make others in, all of which go with it."""
    top = ROOT / f"sockmon-{secrets.token_hex(4)}"
    make(top)
    try:
        yield top
    finally:
        for mount in _hierarchies().values():
            eventually(partial(_removed, _at(mount, top)))


def make(cgroup: Path) -> Path:
    """Make a cgroup and those above it."""
    for mount in _hierarchies().values():
        _at(mount, cgroup).mkdir(parents=True)
    return cgroup


def freeze(cgroup: Path) -> None:
    """Stop all that is in a cgroup, as `docker pause` does."""
    (_at(_hierarchies()[""], cgroup) / "cgroup.freeze").write_text("1")


@contextmanager
def living_in(cgroup: Path) -> Iterator[None]:
    """Move the test itself: what it starts is there from the beginning, its sockets too."""
    before = _of("self")
    put(0, cgroup)
    try:
        yield
    finally:
        for controllers, path in before.items():
            _enter(_hierarchies()[controllers], 0, path)


def _hierarchies() -> Mapping[str, Path]:
    """Where cgroup v2 is mounted ("") and, if it is apart, the hierarchy that systemd keeps."""
    mounts = {}
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        if after.startswith("cgroup2 "):
            mounts[""] = Path(before.split()[4])
        elif after.endswith("name=systemd"):
            mounts["name=systemd"] = Path(before.split()[4])
    assert mounts, "no hierarchy with names is mounted here"
    return mounts


def _of(pid: int | str) -> Mapping[str, Path]:
    """Where a process is in each of the hierarchies."""
    lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    found = dict(line.split(":", 2)[1:] for line in lines)
    return {controllers: Path(found[controllers]) for controllers in _hierarchies()}


def _at(mount: Path, cgroup: Path) -> Path:
    return mount / cgroup.relative_to(ROOT)


def _enter(mount: Path, pid: int, cgroup: Path) -> None:
    (_at(mount, cgroup) / "cgroup.procs").write_text(str(pid))


def _removed(directory: Path) -> bool:
    """Remove it with what is below it; a process that ends may be there for a moment yet."""
    try:
        for below in sorted(directory.rglob("*/"), reverse=True):
            below.rmdir()
        directory.rmdir()
    except OSError:
        return not directory.exists()
    return True
