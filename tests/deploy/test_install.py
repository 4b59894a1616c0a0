"""deploy/install.sh on a booted Debian server: installs, upgrades, refuses, puts back, removes."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.deploy import shop
from tests.deploy.bundles import changed
from tests.deploy.installing import CONFIG, INSTALL, files, read, refused, write
from tests.deploy.serving import listens, ready, value
from tests.lab import eventually
from tests.machine import Machine, booted

pytestmark = [pytest.mark.root, pytest.mark.machine]

RELEASE = "/opt/sockmon/current"
INSTALLED = f"{RELEASE}/deploy/install.sh"
MAN_PAGE = "/usr/local/share/man/man1/sockmon.1"
FISH = "/usr/local/share/fish/vendor_completions.d/sockmon.fish"
DROP_INS = "/etc/systemd/system/sockmon.service.d"
OLDER_TEMPLATE = "# the template of an older version\n"
EDITED = "ports: {always_shown: [443]}\n"
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


def releases(machine: Machine) -> list[str]:
    return machine.run("ls", "/opt/sockmon").stdout.split()


def test_installs_beside_nothing_and_goes_without_a_trace(machine: Machine) -> None:
    before = files(machine)
    machine.run("mkdir", "-p", "/opt/sockmon/release-torn")  # of a run that was killed
    installed = machine.run("env", "PIP_USER=1", "PIP_TARGET=/nowhere", INSTALL, "--no-start")
    assert "systemctl enable --now sockmon" in installed.stdout
    assert INSTALLED in installed.stdout
    assert machine.show("sockmon", "ActiveState") == "inactive"
    machine.run("systemctl", "enable", "--now", "sockmon")
    assert ready(machine)

    assert read(machine, CONFIG) == (REPOSITORY / "deploy" / "sockmon.yaml").read_text()
    assert machine.run("stat", "-c", "%a %U %G", CONFIG).stdout == "640 root sockmon\n"
    assert machine.run("stat", "-c", "%a %U", "/var/lib/sockmon").stdout == "700 sockmon\n"
    assert len(releases(machine)) == 2  # current, and what it leads to
    assert machine.run("sockmon", "doctor", user="nobody").returncode == 0

    assert refused(machine, INSTALLED) == (
        "/opt/sockmon/current/deploy is what was installed: it can uninstall, and no more\n"
    )
    said = machine.run(INSTALLED, "uninstall").stdout
    assert said.endswith(" what stays until uninstall --purge: /etc/sockmon /var/lib/sockmon\n")
    assert machine.show("sockmon", "LoadState") == "not-found"
    assert machine.run("ls", "/opt", "/usr/local/bin").stdout == "/opt:\n\n/usr/local/bin:\n"
    assert read(machine, CONFIG)
    machine.run(INSTALL, "uninstall", "--purge")
    assert {name for name in files(machine) ^ before if not USERS.match(name)} == set()
    assert "sockmon" not in read(machine, "/etc/passwd") + read(machine, "/etc/group")


def test_an_upgrade_that_does_not_start_is_put_back(machine: Machine) -> None:
    write(machine, MAN_PAGE, "somebody's\n")
    write(machine, f"{DROP_INS}/mine.conf", "[Service]\n")
    first = machine.run("/srv/others/older/bundle/install.sh").stdout
    assert first.startswith("sockmon 0.0.1\n")
    assert f"  drop-ins       {DROP_INS}/mine.conf\n" in first
    assert f"  attention      {MAN_PAGE} is not of sockmon, and stays\n" in first
    machine.run("rm", "-r", "/opt/sockmon/current/share")  # as versions without it were
    assert value(machine, "sockmon_build_info", version="0.0.1") == 1
    was = machine.run("readlink", "/opt/sockmon/current").stdout

    failed = machine.run("/srv/others/broken/bundle/install.sh", check=False)
    assert failed.returncode == 1
    assert "does not start; sockmon 0.0.1 is back" in failed.stderr
    assert failed.stderr.endswith("\nRuntimeError: broken\n")  # what the journal has of it
    assert machine.run("readlink", "/opt/sockmon/current").stdout == was
    assert read(machine, CONFIG) == OLDER_TEMPLATE  # the new version's may not fit
    assert len(releases(machine)) == 2
    eventually(lambda: value(machine, "sockmon_build_info", version="0.0.1") == 1)
    assert read(machine, MAN_PAGE) == "somebody's\n"
    machine.run("rm", MAN_PAGE)
    assert machine.run("test", "-L", FISH, check=False).returncode == 1


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


def test_the_helper_waits_to_be_enabled_and_goes_along_with_an_upgrade(machine: Machine) -> None:
    machine.run("/srv/others/older/bundle/install.sh")
    assert machine.show("sockmon-netns.socket", "UnitFileState") == "disabled"
    assert machine.show("sockmon-netns.socket", "ActiveState") == "inactive"
    write(machine, CONFIG, shop.CONFIG)
    shop.enable(machine, f"{RELEASE}/deploy/sockmon.service.d/namespaces.conf.example")
    with shop.shop(machine):
        shop.wait_until_seen(machine)
        old = machine.show("sockmon-netns", "MainPID")
        machine.run(INSTALL)
        shop.wait_until_seen(machine)
        assert machine.show("sockmon-netns", "MainPID") not in ("0", old)

    machine.run(INSTALL, "uninstall")
    for unit in ("sockmon-netns.socket", "sockmon-netns.service"):
        assert machine.show(unit, "LoadState") == "not-found"
        assert machine.show(unit, "ActiveState") == "inactive"
    assert machine.run("ss", "-Hlx", "src", "/run/sockmon-netns/socket").stdout == ""


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


def test_installs_from_a_checkout_over_a_package_index(machine: Machine) -> None:
    says = refused(machine, "/srv/checkout/deploy/install.sh")
    assert says.startswith(
        "nothing is changed: cannot fetch what sockmon needs (without Internet: --wheels DIR): "
    )
    serve = ("python3", "-m", "http.server", "--bind", "127.0.0.1", "--directory")
    machine.run("systemd-run", "--unit=index", *serve, "/srv/others/index", "8000")
    try:
        eventually(lambda: listens(machine, 8000))
        write(machine, "/etc/pip.conf", f"[global]\nindex-url = {INDEX}\n")
        write(machine, CONFIG, read(machine, "/srv/checkout/deploy/sockmon.yaml"))
        installed = machine.run("/srv/checkout/deploy/install.sh").stdout
    finally:
        machine.run("rm", "/etc/pip.conf")
        machine.run("systemctl", "stop", "index")
    assert f"{CONFIG} (the template, not edited yet)" in installed
    assert ready(machine)
