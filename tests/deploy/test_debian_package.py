"""The Debian package on real Debian: installed, upgraded, removed, purged; and how it is made."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import MACHINE
from tests.deploy import shop
from tests.deploy.debian import BIN, MAKE_DEB, QUICKLY, as_version
from tests.lab import eventually
from tests.machine import Machine, booted

pytestmark = pytest.mark.component("dpkg-shlibdeps")

on_a_server = [pytest.mark.root, pytest.mark.machine]

READY = "http://127.0.0.1:10776/-/ready"
CONFIG = "/etc/sockmon/sockmon.yaml"

#: What unattended upgrades and Ansible answer when a configuration file has been edited.
KEEP = ("--force-confdef", "--force-confold")

ALL_FILES = "find / -xdev -not -path '/tmp/*' -not -path '/var/log/journal/*' | sort"


@pytest.fixture(scope="module")
def installed(deb: Path) -> Iterator[Machine]:
    """A server with the package, which tests of this module share and leave as it is."""
    with booted({deb.parent: "/debs"}) as machine:
        machine.run("apt-get", "install", "--no-install-recommends", f"/debs/{deb.name}")
        yield machine


def is_ready(machine: Machine) -> bool:
    return machine.run("curl", "--silent", "--fail", READY, check=False).returncode == 0


class TestInstalled:
    pytestmark = on_a_server

    def test_it_runs_and_starts_with_the_server(self, installed: Machine) -> None:
        assert installed.show("sockmon", "ActiveState") == "active"
        assert installed.show("sockmon", "UnitFileState") == "enabled"
        eventually(lambda: is_ready(installed))

    def test_the_helper_waits_to_be_enabled(self, installed: Machine) -> None:
        assert installed.show("sockmon-netns.socket", "UnitFileState") == "disabled"
        assert installed.show("sockmon-netns.socket", "ActiveState") == "inactive"

    def test_the_daemon_and_nobody_else_reads_the_configuration(self, installed: Machine) -> None:
        mode = installed.run("stat", "--format=%A %U:%G", CONFIG).stdout.strip()
        assert mode == "-rw-r----- root:sockmon"

    def test_any_user_may_look(self, installed: Machine) -> None:
        doctor = installed.run("sockmon", "doctor", user="nobody")
        assert doctor.stdout.startswith("OK: ")

    def test_a_users_python_packages_do_not_reach_it(self, installed: Machine) -> None:
        spoil = "cd $(mktemp -d); echo 1/0 >numpy.py; echo 1/0 >sitecustomize.py; "
        run = spoil + 'PYTHONPATH=$PWD PYTHONHOME=$PWD "$0" count --by owner'
        assert "total" in installed.run("sh", "-c", run, "sockmon").stdout

    def test_all_files_are_as_they_were_packed(self, installed: Machine) -> None:
        assert installed.run("dpkg", "--verify", "sockmon").stdout == ""

    def test_nothing_of_it_is_compiled_by_whoever_runs_it_first(self, installed: Machine) -> None:
        package = installed.root / "usr/lib/sockmon/sockmon"
        compiled = {path.name.split(".")[0] for path in package.rglob("*.pyc")}
        assert compiled == {path.stem for path in package.rglob("*.py")}


@pytest.mark.root
@pytest.mark.machine
def test_an_upgrade_keeps_configuration_and_state(deb: Path, tmp_path: Path) -> None:
    older = as_version(deb, "0.0.1", tmp_path, config="# of old\nports: {top: 7}\n")
    with booted({tmp_path: "/older", deb.parent: "/debs"}) as machine:
        machine.run("dpkg", "--install", f"/older/{older.name}")
        assert machine.run("sockmon", "--version").stdout == "sockmon 0.0.1\n"
        (machine.root / CONFIG.lstrip("/")).write_text("poll: {interval: 1s}\n")
        (machine.root / "var/lib/sockmon/mark").touch()
        before = machine.show("sockmon", "MainPID")

        machine.run("dpkg", *KEEP, "--install", f"/debs/{deb.name}")

        assert machine.run("sockmon", "--version").stdout != "sockmon 0.0.1\n"
        assert machine.show("sockmon", "ActiveState") == "active"
        assert machine.show("sockmon", "MainPID") != before
        assert (machine.root / CONFIG.lstrip("/")).read_text() == "poll: {interval: 1s}\n"
        assert (machine.root / f"{CONFIG}.dpkg-dist".lstrip("/")).exists()
        assert (machine.root / "var/lib/sockmon/mark").exists()
        mode = machine.run("stat", "--format=%A %U:%G", CONFIG).stdout.strip()
        assert mode == "-rw-r----- root:sockmon"

        before = machine.show("sockmon", "MainPID")
        (machine.root / CONFIG.lstrip("/")).write_text("poll: {intervall: 1s}\n")
        told = machine.run("dpkg", *KEEP, "--install", f"/older/{older.name}").stderr
        assert "sockmon: not restarted, as this version refuses the configuration:\n" in told
        assert f"\n{CONFIG}:1: poll.intervall: unknown key" in told
        assert machine.show("sockmon", "MainPID") == before
        assert is_ready(machine)

        (machine.root / CONFIG.lstrip("/")).write_text("poll: {interval: 1s}\n")
        machine.run("systemctl", "disable", "--now", "sockmon")
        machine.run("dpkg", *KEEP, "--install", f"/debs/{deb.name}")
        assert machine.show("sockmon", "ActiveState") == "inactive"
        assert machine.show("sockmon", "UnitFileState") == "disabled"


@pytest.mark.root
@pytest.mark.machine
def test_the_helper_goes_along_with_an_upgrade_and_a_removal(deb: Path, tmp_path: Path) -> None:
    older = as_version(deb, "0.0.1", tmp_path, config="")
    with booted({tmp_path: "/older", deb.parent: "/debs"}) as machine:
        machine.run("dpkg", "--install", f"/older/{older.name}")
        (machine.root / CONFIG.lstrip("/")).write_text(shop.CONFIG)
        shop.enable(machine, "/usr/share/sockmon/namespaces.conf")
        with shop.shop(machine):
            shop.wait_until_seen(machine)
            before = machine.show("sockmon-netns", "MainPID")
            machine.run("dpkg", *KEEP, "--install", f"/debs/{deb.name}")
            shop.wait_until_seen(machine)
            assert machine.show("sockmon-netns", "MainPID") not in ("0", before)
        assert machine.show("sockmon-netns.socket", "UnitFileState") == "enabled"

        machine.run("dpkg", "--remove", "sockmon")
        assert machine.run("pgrep", "--full", "netns-helper", check=False).stdout == ""
        assert not (machine.root / "run/sockmon-netns/socket").exists()
        enabled = machine.root / "etc/systemd/system/sockets.target.wants/sockmon-netns.socket"
        assert enabled.is_symlink()
        machine.run("dpkg", "--purge", "sockmon")
        assert not enabled.is_symlink()


@pytest.mark.root
@pytest.mark.machine
def test_removed_it_leaves_configuration_and_state_and_purged_nothing(deb: Path) -> None:
    with booted({deb.parent: "/debs"}) as machine:
        before = machine.run("sh", "-c", ALL_FILES).stdout
        machine.run("dpkg", "--install", f"/debs/{deb.name}")
        config = machine.root / CONFIG.lstrip("/")
        config.write_text(config.read_text() + "# edited\n")
        config.with_name("secret").touch()

        machine.run("dpkg", "--remove", "sockmon")
        left = machine.run("sh", "-c", ALL_FILES).stdout.splitlines()
        of_debians_tools = ("/var/lib/dpkg/", "/var/lib/systemd/deb-systemd-helper")
        ours = {
            path for path in left if "sockmon" in path and not path.startswith(of_debians_tools)
        }
        assert {path for path in ours if not path.startswith("/var/lib/sockmon/")} == {
            "/etc/sockmon",
            CONFIG,
            "/etc/sockmon/secret",
            "/etc/systemd/system/multi-user.target.wants/sockmon.service",
            "/var/lib/sockmon",
        }
        assert "/var/lib/sockmon/state" in ours
        assert machine.run("ss", "-Hltn").stdout == ""

        machine.run("dpkg", "--install", f"/debs/{deb.name}")
        eventually(lambda: is_ready(machine))
        assert config.read_text().endswith("# edited\n")

        machine.run("dpkg", "--purge", "sockmon")
        assert machine.run("sh", "-c", ALL_FILES).stdout == before
        assert machine.run("getent", "passwd", "sockmon").stdout != ""  # as is Debian's practice


@pytest.mark.root
@pytest.mark.machine
def test_a_port_in_use_is_told_and_the_package_is_installed(deb: Path) -> None:
    with booted({deb.parent: "/debs"}) as machine:
        squat = ("python3", "-m", "http.server", "--bind", "127.0.0.1", "10776")
        machine.run("systemd-run", "--unit=squatter", *squat)
        eventually(lambda: machine.run("ss", "-Hltn").stdout)

        told = machine.run("dpkg", "--install", f"/debs/{deb.name}").stderr
        assert "sockmon: installed, but it does not run: see journalctl -u sockmon" in told
        assert "10776" in machine.journal("sockmon")
        status = machine.run("dpkg-query", "--show", "--showformat=${db:Status-Status}", "sockmon")
        assert status.stdout == "installed"

        machine.run("systemctl", "stop", "squatter")
        machine.run("systemctl", "start", "sockmon")
        eventually(lambda: is_ready(machine))


def in_an_image(script: str, deb: Path) -> subprocess.CompletedProcess[str]:
    """Run a shell script where an image is built: Debian's files, and no systemd that runs."""
    command = ["setpriv", "--pdeathsig=KILL", "systemd-nspawn", "--quiet", "--register=no"]
    command += ["--keep-unit", "--private-network", "--volatile=overlay", "--pipe"]
    command += [f"--directory={MACHINE}", f"--bind-ro={deb}:/sockmon.deb"]
    return subprocess.run(
        [*command, "sh", "-e", "-c", script],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.root
@pytest.mark.machine
def test_without_a_running_systemd_it_is_installed_and_not_started(deb: Path) -> None:
    script = f"""
        {ALL_FILES} >/tmp/before
        dpkg --install /sockmon.deb >/tmp/log 2>&1 || {{ cat /tmp/log; exit 1; }}
        sockmon check-config {CONFIG}
        systemctl is-enabled sockmon
        dpkg --purge sockmon >/tmp/log 2>&1 || {{ cat /tmp/log; exit 1; }}
        {ALL_FILES} | diff /tmp/before -
    """
    done = in_an_image(script, deb)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout == f"{CONFIG}: ok\nenabled\n"


@pytest.mark.root
@pytest.mark.machine
def test_over_what_install_sh_has_installed_it_refuses(deb: Path) -> None:
    script = """
        mkdir /opt/sockmon && ln -s release-1 /opt/sockmon/current
        dpkg --install /sockmon.deb || test ! -e /usr/bin/sockmon
    """
    done = in_an_image(script, deb)
    assert done.returncode == 0
    assert (
        "install.sh has installed it in /opt/sockmon: first run "
        "/opt/sockmon/current/deploy/install.sh uninstall"
    ) in done.stderr


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_same_wheels_give_the_same_bytes(deb: Path, wheels: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    other = {**QUICKLY, "TZ": "Asia/Tokyo", "LC_ALL": "C.UTF-8", "TMPDIR": str(tmp_path)}
    subprocess.run(
        ["sh", "-c", 'umask 077; exec "$@"', "sh", MAKE_DEB, BIN, wheels, again],
        cwd=tmp_path,
        env=other,
        check=True,
        capture_output=True,
    )
    assert digest(again / deb.name) == digest(deb)


def test_it_wants_the_python_that_its_wheels_are_for(deb: Path) -> None:
    field = ["dpkg-deb", "--field", str(deb), "Depends"]
    depends = subprocess.run(field, capture_output=True, text=True, check=True).stdout
    major, minor = sys.version_info[:2]
    wanted = f"python3 (>= {major}.{minor}), python3 (<< {major}.{minor + 1}), libc6 (>= "
    assert depends.startswith(wanted)


class TestRefusals:
    """What is missing is told in one line; nothing is made."""

    def refused(self, *arguments: Path | str, path: str | None = None) -> str:
        environment = {**os.environ, **({} if path is None else {"PATH": path})}
        done = subprocess.run(
            [MAKE_DEB, *arguments], env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode != 0
        assert done.stdout == ""
        assert done.stderr.count("\n") == 1
        return done.stderr

    def test_no_arguments(self) -> None:
        assert self.refused().startswith("usage: deploy/make-deb BIN WHEELS DIRECTORY")

    def test_no_wheels(self, tmp_path: Path) -> None:
        told = self.refused(BIN, tmp_path / "none", tmp_path)
        assert told == (
            f"make-deb: {tmp_path}/none does not hold one wheel of sockmon: run make wheels\n"
        )

    def test_no_pip(self, wheels: Path, tmp_path: Path) -> None:
        told = self.refused(tmp_path, wheels, tmp_path)
        assert told == f"make-deb: {tmp_path} holds no pip: run make deb, which makes one\n"

    def test_no_dpkg(self, wheels: Path, tmp_path: Path) -> None:
        told = self.refused(BIN, wheels, tmp_path, path=str(tmp_path))
        assert told == "make-deb: dpkg-deb is missing: apt-get install dpkg-dev\n"

    def test_wheels_of_another_python(self, wheels: Path, tmp_path: Path) -> None:
        (wheel,) = wheels.glob("sockmon-*.whl")
        (tmp_path / wheel.name).write_bytes(wheel.read_bytes())
        done = subprocess.run(
            [MAKE_DEB, BIN, tmp_path, tmp_path], capture_output=True, text=True, check=False
        )
        assert done.returncode == 1
        assert f"make-deb: {tmp_path} does not fit Python 3." in done.stderr
        assert not list(tmp_path.glob("*.deb"))
