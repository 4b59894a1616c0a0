"""Names of owners: units, containers, and what processes call themselves."""

import os
import socket
import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sockmon.kernel.owners import OwnerFinder, read_cgroup_paths, read_owners, unit_of
from sockmon.model.owner import Group
from sockmon.text import label, one_line

CONTAINER = "0123456789abcdef" * 4
PROC = Path("/proc")


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/system.slice/nginx.service", "nginx.service"),
        ("/system.slice/php8.2-fpm.service/pool", "php8.2-fpm.service"),
        ("/user.slice/user-1000.slice/session-3.scope", "session-3.scope"),
        ("/user.slice/user-1000.slice/user@1000.service/app.slice/web.service", "web.service"),
        (f"/system.slice/docker-{CONTAINER}.scope", CONTAINER[:12]),
        (f"/docker/{CONTAINER}", CONTAINER[:12]),
        (f"/kubepods.slice/kubepods-pod1.slice/cri-containerd-{CONTAINER}.scope", CONTAINER[:12]),
        (f"/machine.slice/libpod-{CONTAINER}.scope/container", CONTAINER[:12]),
        ("/lxc.payload.web", "/lxc.payload.web"),
        ("/evil\nname\x1b[31m.service", "evil\\nname\\x1b[31m.service"),
    ],
)
def test_a_cgroup_is_named_for_people(path: str, name: str) -> None:
    assert unit_of(path) == name


@given(st.text() | st.text(min_size=120))
def test_a_label_is_bounded_and_plain_whatever_a_process_calls_itself(name: str) -> None:
    made = label(name)
    assert 0 < len(made) <= 128
    assert set(made) <= set(string.ascii_letters + string.digits + "._@:+-…")


@given(st.text())
def test_what_is_printed_is_one_bounded_line(name: str) -> None:
    made = one_line(name, 100)
    assert made.isprintable()
    assert len(made) <= 103


def test_the_holder_of_a_socket_is_found() -> None:
    with socket.socket() as held:
        inode = os.fstat(held.fileno()).st_ino
        found = read_owners(PROC, [inode, 0])
    assert found.by_inode[inode].pid == os.getpid()
    assert set(found.by_inode) == {inode}


def test_a_closed_socket_has_no_holder() -> None:
    with socket.socket() as held:
        inode = os.fstat(held.fileno()).st_ino
    assert read_owners(PROC, [inode]).by_inode == {}


def test_an_answer_is_believed_for_a_while_and_then_asked_anew() -> None:
    finder = OwnerFinder(PROC)
    group = Group("inbound", 80, 0)
    with socket.socket() as held:
        inode = os.fstat(held.fileno()).st_ino
        owner = finder.find({group: [inode]}, 100.0)[group]
        assert [process.pid for process in owner.processes] == [os.getpid()]
        assert owner.processes[0].fds is not None
        assert owner.processes[0].fd_limit is not None
    assert finder.find({group: [inode]}, 129.0)[group] == owner
    assert finder.find({group: [inode]}, 131.0)[group].processes == ()
    assert finder.find({}, 132.0) == {}


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


def test_no_cgroup_hierarchy_is_no_error(tmp_path: Path) -> None:
    assert read_cgroup_paths(tmp_path, [1]) == {}
