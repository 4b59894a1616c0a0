"""deploy/install.sh on a booted Debian server: installs, upgrades, refuses, puts back, removes."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.deploy.bundles import changed
from tests.deploy.serving import listens, ready, value
from tests.lab import eventually
from tests.machine import Machine, booted

pytestmark = [pytest.mark.root, pytest.mark.machine]

INSTALL = "/srv/bundle/install.sh"
CONFIG = "/etc/sockmon/sockmon.yaml"
OLDER_TEMPLATE = "# the template of an older version\n"
EDITED = "ports: {always: [443]}\n"
#: Written by each change of users, and kept by their programs beside the last one.
USERS = re.compile(r"/etc/(passwd|group|shadow|gshadow|subuid|subgid)-? ")
INDEX = "http://127.0.0.1:8000"


@pytest.fixture(scope="module")
def others(bundle: Path, wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bundles of an older sockmon and of one that does not start; a package index."""
    directory = tmp_path_factory.mktemp("others")
    older = changed(bundle, directory / "older", "0.0.1")
    (older / "sockmon.yaml").write_text(OLDER_TEMPLATE)
    changed(bundle, directory / "broken", "99.0", mistake="raise RuntimeError('broken')\n")
    for wheel in wheels.iterdir():
        project = directory / "index" / wheel.name.partition("-")[0].replace("_", "-").lower()
        project.mkdir(parents=True)
        shutil.copy(wheel, project)
    return directory


@pytest.fixture(scope="module")
def machine(bundle: Path, others: Path) -> Iterator[Machine]:
    binds = {bundle: "/srv/bundle", others: "/srv/others", REPOSITORY: "/srv/checkout"}
    with booted(binds) as booting:
        yield booting


@pytest.fixture(autouse=True)
def bare(machine: Machine) -> None:
    """Each test begins on a server without sockmon."""
    machine.run(INSTALL, "uninstall", "--purge")


def files(machine: Machine) -> set[str]:
    """All that an installation might touch: names, owners, and when a file was changed."""
    places = ("/etc", "/opt", "/usr/local", "/var/lib", "/home", "/root")
    times = ("-type", "d", "-printf", "%p %m %u\n", "-o", "-printf", "%p %m %u %T@\n")
    listed = machine.run("find", *places, "-xdev", *times).stdout
    return {line for line in listed.splitlines() if not line.startswith("/var/lib/systemd")}


def refused(machine: Machine, *command: str, status: int = 1) -> str:
    """What the script says when it refuses; it has changed nothing."""
    before = files(machine)
    done = machine.run(*command, check=False)
    assert done.returncode == status, done.stdout + done.stderr
    assert files(machine) == before
    assert "Traceback" not in done.stderr
    return done.stderr.removeprefix("install.sh: ")


def releases(machine: Machine) -> list[str]:
    return machine.run("ls", "/opt/sockmon").stdout.split()


def read(machine: Machine, path: str) -> str:
    return machine.run("cat", path).stdout


def write(machine: Machine, path: str, text: str) -> None:
    machine.run("install", "-D", "/dev/stdin", path, text=text)


def test_installs_beside_nothing_and_goes_without_a_trace(machine: Machine) -> None:
    before = files(machine)
    machine.run("mkdir", "-p", "/opt/sockmon/release-torn")  # of a run that was killed
    installed = machine.run(INSTALL, "--no-start")
    assert "systemctl enable --now sockmon" in installed.stdout
    assert machine.show("sockmon", "ActiveState") == "inactive"
    machine.run("systemctl", "enable", "--now", "sockmon")
    assert ready(machine)

    assert read(machine, CONFIG) == (REPOSITORY / "deploy" / "sockmon.yaml").read_text()
    assert machine.run("stat", "-c", "%a %U %G", CONFIG).stdout == "640 root sockmon\n"
    assert machine.run("stat", "-c", "%a %U", "/var/lib/sockmon").stdout == "700 sockmon\n"
    assert len(releases(machine)) == 2  # current, and what it leads to
    assert machine.run("sockmon", "doctor", user="nobody").returncode == 0

    said = machine.run(INSTALL, "uninstall").stdout
    assert said.endswith(" what stays until uninstall --purge: /etc/sockmon /var/lib/sockmon\n")
    assert machine.show("sockmon", "LoadState") == "not-found"
    assert machine.run("ls", "/opt", "/usr/local/bin").stdout == "/opt:\n\n/usr/local/bin:\n"
    assert read(machine, CONFIG)
    machine.run(INSTALL, "uninstall", "--purge")
    assert {name for name in files(machine) ^ before if not USERS.match(name)} == set()
    assert "sockmon" not in read(machine, "/etc/passwd") + read(machine, "/etc/group")


def test_an_upgrade_that_does_not_start_is_put_back(machine: Machine) -> None:
    first = machine.run("/srv/others/older/bundle/install.sh").stdout
    assert first.startswith("sockmon 0.0.1\n")
    assert value(machine, "sockmon_build_info", version="0.0.1") == 1
    was = machine.run("readlink", "/opt/sockmon/current").stdout

    failed = machine.run("/srv/others/broken/bundle/install.sh", check=False)
    assert failed.returncode == 1
    assert "does not start; sockmon 0.0.1 is back" in failed.stderr
    assert failed.stderr.endswith("\nRuntimeError: broken\n")  # what the journal has of it
    assert machine.run("readlink", "/opt/sockmon/current").stdout == was
    assert read(machine, CONFIG) == OLDER_TEMPLATE  # the new version's may not fit
    assert len(releases(machine)) == 2
    eventually(lambda: value(machine, "sockmon_build_info", version="0.0.1") == 1, within=20)


def test_an_upgrade_keeps_what_was_edited(machine: Machine, bundle: Path) -> None:
    template = (bundle / "sockmon.yaml").read_text()
    machine.run("/srv/others/older/bundle/install.sh")
    pid = machine.show("sockmon", "MainPID")

    upgraded = machine.run(INSTALL).stdout
    assert re.match(r"sockmon [\d.]+ in place of 0\.0\.1\n", upgraded)
    assert read(machine, CONFIG) == template  # as nobody had edited the old one
    assert machine.show("sockmon", "MainPID") != pid
    assert value(machine, "sockmon_build_info", version="0.0.1") is None
    assert len(releases(machine)) == 2

    write(machine, CONFIG, EDITED)
    machine.run("rm", "-r", "/opt/sockmon/current/lib")  # as if Python had been upgraded
    again = machine.run("/srv/others/older/bundle/install.sh").stdout
    assert again.startswith("sockmon 0.0.1 in place of what did not work\n")
    assert f"yours, kept; the new template is {CONFIG}.new" in again
    assert read(machine, CONFIG) == EDITED
    assert read(machine, f"{CONFIG}.new") == OLDER_TEMPLATE

    write(machine, CONFIG, "ports: {alwais: [443]}\n")
    says = refused(machine, INSTALL)
    assert says.startswith("nothing is changed, as this version refuses the configuration:\n")
    assert f"{CONFIG}:1: ports.alwais: unknown key" in says
    assert ready(machine)


def test_says_why_the_first_one_does_not_start(machine: Machine) -> None:
    write(machine, CONFIG, EDITED)
    machine.run("chmod", "600", CONFIG)  # of root: not for the service to read
    failed = machine.run(INSTALL, check=False)
    assert failed.returncode == 1
    assert failed.stderr.endswith(
        "install.sh: installed, but it does not start; see journalctl --unit=sockmon; it says:\n"
        f"sockmon: {CONFIG}: cannot read it: Permission denied\n"
    )
    machine.run("chgrp", "sockmon", CONFIG)
    machine.run("chmod", "640", CONFIG)
    machine.run("systemctl", "start", "sockmon")
    assert ready(machine)


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


def test_installs_from_a_checkout_over_a_package_index(machine: Machine) -> None:
    says = refused(machine, "/srv/checkout/deploy/install.sh")
    assert says.startswith("cannot fetch what sockmon needs (without Internet: --wheels DIR): ")
    serve = ("python3", "-m", "http.server", "--bind", "127.0.0.1", "--directory")
    machine.run("systemd-run", "--unit=index", *serve, "/srv/others/index", "8000")
    try:
        eventually(lambda: listens(machine, 8000))
        machine.run("env", f"PIP_INDEX_URL={INDEX}", "/srv/checkout/deploy/install.sh")
    finally:
        machine.run("systemctl", "stop", "index")
    assert ready(machine)


IN_ITS_OWN_MOUNTS = ("unshare", "--mount", "sh", "-c")


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
        ((INSTALL, "--python", "/nowhere/python3"), "there is no Python as /nowhere/python3"),
        ((INSTALL, "--wheels", "/tmp"), "/tmp holds no wheel of sockmon: "),
        (("sh", "-c", f"cd /tmp && sh < {INSTALL}"), "/tmp is no checkout: give --wheels DIR"),
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
