"""Units and containers by their cgroups."""

import errno
from pathlib import Path

import pytest

from sockmon.kernel.cgroups import (
    look_for_cgroups,
    manager_of,
    owning_unit,
    parse_cgroup,
    read_cgroup_paths,
    unit_of,
)

CONTAINER = "0123456789abcdef" * 4
USER = "/user.slice/user-1000.slice/user@1000.service"


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/system.slice/nginx.service", "nginx.service"),
        ("/system.slice/php8.2-fpm.service/pool", "php8.2-fpm.service"),
        ("/user.slice/user-1000.slice/session-3.scope", "session-3.scope"),
        (f"{USER}/app.slice/web.service", "web.service"),
        (f"/system.slice/docker-{CONTAINER}.scope", CONTAINER[:12]),
        (f"/docker/{CONTAINER}", CONTAINER[:12]),
        (f"/kubepods.slice/kubepods-pod1.slice/cri-containerd-{CONTAINER}.scope", CONTAINER[:12]),
        (f"/machine.slice/libpod-{CONTAINER}.scope/container", CONTAINER[:12]),
        ("/lxc.payload.web", "/lxc.payload.web"),
        ("/evil\nname\x1b[31m.service", "evil\\nname\\x1b[31m.service"),
        (f"/{'a' * 200}.service", f"{'a' * 200}.service"),
    ],
)
def test_a_cgroup_is_named_for_people(path: str, name: str) -> None:
    assert unit_of(path) == name


@pytest.mark.parametrize(
    ("path", "unit"),
    [
        ("/", None),
        ("", None),
        ("/init.scope", None),
        ("/system.slice", None),
        ("/user.slice/user-1000.slice/session-3.scope", None),
        (f"{USER}/init.scope", None),
        (f"{USER}/app.slice", None),
        ("/system.slice/shop.socket", None),
        (f"{USER}/app.slice/web.service", "web.service"),
        ("/system.slice/web.service/init.scope", "web.service"),
        ("/system.slice/web.service/supervised/inner.service", "web.service"),
        ("/machine.slice/systemd-nspawn@web.service/payload/system.slice/nginx.service",
         "nginx.service"),
        ("/machine.slice/systemd-nspawn@web.service/payload/init.scope",
         "systemd-nspawn@web.service"),
        ("/../../system.slice/web.service", "web.service"),
        (f"/system.slice/docker-{CONTAINER}.scope/init.scope", CONTAINER[:12]),
    ],
)  # fmt: skip
def test_the_first_unit_below_the_innermost_slice_is_the_owner(path: str, unit: str | None) -> None:
    assert owning_unit(path) == unit


@pytest.mark.parametrize(
    ("path", "manager"),
    [
        ("/", ("system", "")),
        ("/system.slice/web.service", ("system", "")),
        (f"{USER}/app.slice/web.service", ("user", "1000")),
        ("/user.slice/user-1000.slice/session-3.scope", ("system", "")),
        ("/machine.slice/systemd-nspawn@web.service/payload/system.slice/nginx.service",
         ("machine", "web")),
        ("/machine.slice/machine-db.scope/system.slice/nginx.service", ("machine", "db")),
        ("/machine.slice/systemd-nspawn@web.service/payload/init.scope", ("system", "")),
        (f"/system.slice/docker-{CONTAINER}.scope/init.scope", ("docker", "")),
        (f"/docker/{CONTAINER}", ("docker", "")),
        (f"/machine.slice/libpod-{CONTAINER}.scope/container", ("podman", "")),
        (f"/kubepods.slice/kubepods-pod1.slice/cri-containerd-{CONTAINER}.scope", ("kubelet", "")),
        (f"/kubepods/pod1/{CONTAINER}", ("kubelet", "")),
        (f"/garden/{CONTAINER}", ("containers", "")),
        (f"{USER}/user.slice/libpod-{CONTAINER}.scope/container", ("containers", "1000")),
        (f"{USER}/app.slice/docker-{CONTAINER}.scope", ("containers", "1000")),
        (f"{USER}/app.slice/kubepods/{CONTAINER}", ("containers", "1000")),
    ],
)  # fmt: skip
def test_who_manages_it_is_told_by_its_cgroup(path: str, manager: tuple[str, str]) -> None:
    assert manager_of(path) == manager


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("0::/system.slice/web.service\n", "/system.slice/web.service"),
        ("9:name=systemd:/system.slice/web.service\n4:memory:/x\n0::/\n",
         "/system.slice/web.service"),
        ("4:memory:/process/a2b53d6a2910\n0::/\n", "/"),
        (f"4:memory:/docker/{CONTAINER}\n0::/\n", f"/docker/{CONTAINER}"),
        ("", "/"),
    ],
)  # fmt: skip
def test_of_several_hierarchies_the_one_that_says_most_counts(text: str, path: str) -> None:
    assert parse_cgroup(text) == path


def test_cgroups_are_found_by_their_inode_in_either_hierarchy(tmp_path: Path) -> None:
    mount = tmp_path / "unified"
    service = mount / "system.slice" / "web.service"
    service.mkdir(parents=True)
    (tmp_path / "self").mkdir()
    (tmp_path / "self" / "mountinfo").write_text(
        "24 1 0:21 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"
        f"42 24 0:39 / {mount} rw,relatime - cgroup2 cgroup2 rw\n"
    )
    wanted = [service.stat().st_ino, mount.stat().st_ino, 1]
    paths = read_cgroup_paths(tmp_path, wanted)
    assert paths[service.stat().st_ino] == "/system.slice/web.service"
    assert paths[mount.stat().st_ino] == "/"


def test_where_it_is_not_mounted_the_first_process_shows_it(tmp_path: Path) -> None:
    """`ip netns exec` mounts another /sys."""
    service = tmp_path / "1/root/cgroup/system.slice/web.service"
    service.mkdir(parents=True)
    (tmp_path / "self").mkdir()
    (tmp_path / "self/mountinfo").write_text("24 1 0:21 / /sys rw - sysfs sysfs rw\n")
    (tmp_path / "1/mountinfo").write_text("42 24 0:39 / /cgroup rw - cgroup2 cgroup2 rw\n")
    inode = service.stat().st_ino
    assert read_cgroup_paths(tmp_path, [inode]) == {inode: "/system.slice/web.service"}


def test_no_cgroup_hierarchy_is_no_error(tmp_path: Path) -> None:
    assert read_cgroup_paths(tmp_path, [1]) == {}


def test_want_of_descriptors_is_not_a_cgroup_that_has_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "self").mkdir()
    (tmp_path / "self" / "mountinfo").write_text(f"1 1 0:1 / {tmp_path} rw - cgroup2 none rw\n")

    def scandir(_: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr("sockmon.kernel.cgroups.os.scandir", scandir)
    with pytest.raises(OSError, match="Too many open files"):
        look_for_cgroups(tmp_path, [1])
    assert read_cgroup_paths(tmp_path, [1]) == {}
