"""What deploy/install.sh refuses, in one line, with nothing changed."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.installing import CONFIG, INSTALL, refused, write
from tests.deploy.serving import listens
from tests.lab import eventually
from tests.machine import Machine, booted

pytestmark = [pytest.mark.root, pytest.mark.machine]


@pytest.fixture(scope="module")
def machine(bundle: Path) -> Iterator[Machine]:
    """A server without sockmon, and so it stays."""
    with booted({bundle: "/srv/bundle"}) as booting:
        yield booting


def test_refuses_when_its_port_is_taken_and_names_who_has_it(machine: Machine) -> None:
    machine.run("systemd-run", "--unit=other", "python3", "-m", "http.server", "10777")
    try:
        write(machine, CONFIG, "web: {listen_address: '127.0.0.1:10777'}\n")
        eventually(lambda: listens(machine, 10777))
        says = refused(machine, INSTALL)
    finally:
        machine.run("systemctl", "stop", "other")
    assert re.fullmatch(
        r"nothing is changed: cannot listen on 127\.0\.0\.1:10777: Address already in use by "
        rf"python3, PID \d+; mend that, or set another web\.listen_address in {CONFIG}\n",
        says,
    )


IN_ITS_OWN_MOUNTS = ("unshare", "--mount", "sh", "-c")
OLD_PROCESSOR = (
    "sed 's/ sse4_2 / /' /proc/cpuinfo >/tmp/cpuinfo && mount --bind /tmp/cpuinfo /proc/cpuinfo"
)


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (("setpriv", "--reuid=nobody", INSTALL), "needs root: sudo "),
        (
            (*IN_ITS_OWN_MOUNTS, f"mount -t tmpfs tmpfs /run && exec {INSTALL}"),
            "systemd does not run here: ",
        ),
        (
            (*IN_ITS_OWN_MOUNTS, f"mount -t tmpfs none /usr/lib/python3*/ensurepip && {INSTALL}"),
            "python3 lacks venv: install it (Debian: apt-get install python3-venv)",
        ),
        (
            (*IN_ITS_OWN_MOUNTS, f"{OLD_PROCESSOR} && {INSTALL}"),
            "nothing is changed: this processor lacks sse4_2, and NumPy needs x86-64-v2: ",
        ),
        (
            (*IN_ITS_OWN_MOUNTS, f"mount -t tmpfs -o size=100m none /opt && {INSTALL}"),
            "nothing is changed: /opt has 100 MB free, and 200 are needed",
        ),
        (
            (*IN_ITS_OWN_MOUNTS, f"mount -t tmpfs -o nr_inodes=100 none /opt && {INSTALL}"),
            "nothing is changed: cannot make a Python environment in /opt/sockmon (is it full?): ",
        ),
        ((INSTALL, "--python", "/nowhere/python3"), "there is no Python as /nowhere/python3"),
        ((INSTALL, "--wheels", "/tmp"), "/tmp holds no wheel of sockmon: "),
        (("sh", "-c", f"cd /tmp && sh < {INSTALL}"), "/tmp is no checkout and no bundle: "),
        (("flock", "/run/sockmon-install.lock", INSTALL), "another install.sh is at work"),
    ],
)
def test_says_in_one_line_what_it_lacks(
    machine: Machine, command: tuple[str, ...], says: str
) -> None:
    said = refused(machine, *command)
    assert said.startswith(says)
    assert said.count("\n") == 1


INSTALL_A_PACKAGE = """
mkdir -p /tmp/deb/DEBIAN
cat > /tmp/deb/DEBIAN/control <<EOF
Package: sockmon
Version: 1
Architecture: all
Maintainer: nobody
Description: a package of that name
EOF
dpkg-deb --build /tmp/deb /tmp/sockmon.deb && dpkg --install /tmp/sockmon.deb
"""


@pytest.mark.parametrize(
    ("prepare", "undo", "says"),
    [
        (
            "mkdir /opt/sockmon; touch /opt/sockmon/data",
            "rm -r /opt/sockmon",
            "/opt/sockmon holds something else: move it away first",
        ),
        (
            "ln -s /usr/bin/true /usr/local/bin/sockmon",
            "rm /usr/local/bin/sockmon",
            "/usr/local/bin/sockmon is another sockmon: remove it first",
        ),
        (
            "systemctl mask sockmon",
            "systemctl unmask sockmon",
            "sockmon.service is masked: systemctl unmask sockmon",
        ),
        (
            INSTALL_A_PACKAGE,
            "dpkg --purge sockmon",
            "the Debian package sockmon is installed: use apt-get, or remove it first",
        ),
    ],
)
def test_touches_nobody_elses_installation(
    machine: Machine, prepare: str, undo: str, says: str
) -> None:
    machine.run("sh", "-c", prepare)
    try:
        assert refused(machine, INSTALL) == f"{says}\n"
    finally:
        machine.run("sh", "-c", undo)


def test_refuses_a_python_that_is_too_old(machine: Machine) -> None:
    write(
        machine,
        "/tmp/python3.9",
        "#!/usr/bin/python3\nimport sys\nsys.version_info = (3, 9, 2)\nexec(sys.argv[2])\n",
    )
    assert refused(machine, INSTALL, "--python", "/tmp/python3.9") == (
        "/tmp/python3.9 is Python 3.9, and sockmon needs 3.11: name another with --python\n"
    )


@pytest.mark.parametrize(
    "arguments", [("--wheel",), ("--wheels",), ("--purge",), ("install", "now")]
)
def test_a_mistake_on_its_command_line_is_told(
    machine: Machine, arguments: tuple[str, ...]
) -> None:
    assert refused(machine, INSTALL, *arguments, status=2).endswith("(see --help)\n")
