"""Units where cgroup v1 is mounted, alone or beside v2: run by `make kernels`, in guests."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests import cgroups
from tests.lab import NetNs, eventually, states

SOCKMON = f"{sys.executable} -m sockmon"
QUICK = "detect: {close_wait_leak: {stale_after: 1s, for: 1s}}"
NOBODY = "setpriv --reuid=65534 --regid=65534 --clear-groups"


@contextmanager
def leaking() -> Iterator[NetNs]:
    """A service, which is this test, has not closed 12 connections."""
    with (
        NetNs() as netns,
        cgroups.tree() as top,
        cgroups.living_in(cgroups.make(top / "system.slice" / "shop.service")),
        states.close_wait(netns, count=12),
    ):
        yield netns


def doctor(netns: NetNs, tmp_path: Path, before: str = "") -> str:
    """What doctor prints once it has found the leak."""
    config = tmp_path / "sockmon.yaml"
    config.write_text(QUICK)
    asking = ["sh", "-c", f"{before} {SOCKMON} doctor --config {config}"]
    return eventually(
        lambda: netns.run(asking, check=False).stdout, until=lambda text: "[warning]" in text
    )


def judged(netns: NetNs, tmp_path: Path) -> None:
    """What root is told: the unit of the process."""
    script = f"{SOCKMON} count --state close_wait --by unit --format csv"
    assert "shop.service,12" in netns.run(["sh", "-c", script]).stdout
    said = doctor(netns, tmp_path)
    assert "shop.service has not closed 12 connections" in said
    assert "systemctl restart shop.service" in said


def test_the_unit_of_a_process_that_can_be_seen_is_named(tmp_path: Path) -> None:
    with leaking() as netns:
        judged(netns, tmp_path)


def test_whom_the_kernel_does_not_name_nobody_is_blamed_for(tmp_path: Path) -> None:
    """The cgroup of a socket is one of v2."""
    for directory in (tmp_path, *tmp_path.parents[:-2]):
        directory.chmod(0o755)
    with leaking() as netns:
        said = doctor(netns, tmp_path, NOBODY)
    is_named = "cgroup2 " in Path("/proc/self/mountinfo").read_text()
    assert ("shop.service has not closed 12 connections" in said) is is_named
    assert ("owners are not known" in said) is not is_named


def test_a_class_of_net_cls_takes_no_unit_its_name(tmp_path: Path) -> None:
    """Before Linux 5.15 a socket has one or the other, and with a class it is of the root."""
    of_class = Path("/sys/fs/cgroup/net_cls/shop")
    of_class.mkdir()
    (of_class / "net_cls.classid").write_text("5")
    (of_class / "cgroup.procs").write_text("0")
    try:
        with leaking() as netns:
            judged(netns, tmp_path)
    finally:
        (of_class.parent / "cgroup.procs").write_text("0")
        of_class.rmdir()
