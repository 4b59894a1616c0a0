"""The unit on a booted Debian server, installed there as an operator does it."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sockmon.settings import Config, load, parse
from tests.conftest import REPOSITORY
from tests.deploy.leaking import LEAK_PORT, LEAKS, firing, leak
from tests.deploy.probing import PROBE, confined
from tests.deploy.sandbox_probe import ATTEMPTS
from tests.deploy.serving import get, ready, value
from tests.lab import eventually
from tests.machine import Machine, booted

pytestmark = [pytest.mark.root, pytest.mark.machine]

TEMPLATE = REPOSITORY / "deploy" / "sockmon.yaml"
OWNERS = "/srv/bundle/systemd/sockmon.service.d/owners.conf.example"
DROP_INS = "/etc/systemd/system/sockmon.service.d"
SOCKET_UNIT = "/etc/systemd/system/sockmon.socket"
UNIT = "/usr/local/lib/systemd/system/sockmon.service"
CONFIG = "/etc/sockmon/sockmon.yaml"
QUICK = """
poll: {interval: 100ms}
detect:
  close_wait_leak: {stale_after: 1s, for: 1s, keep_firing_for: 1s}
"""
#: Of the probe's attempts, those that fail inside the unit, and how.
DENIED = {
    "write /etc": "EROFS",
    "write /usr": "EROFS",
    "write /opt": "EROFS",
    "write /run": "EROFS",
    "write /run/lock": "EROFS",
    "write /dev/shm": "EROFS",
    "look into /home": "EACCES",
    "look into /root": "EACCES",
    "change a setting": "EACCES",
    "see others' processes": "ESRCH",
    "see others' files in /tmp": "ENOENT",
    "open others' memory": "ENOENT",
    "enter another's network": "ENOENT",
    "capture packets": "EAFNOSUPPORT",
    "trace": "EPERM",
    "unshare network": "EPERM",
    "unshare mounts": "EPERM",
    "unshare users": "EPERM",
    "become root": "EPERM",
    "rename the host": "EPERM",
    "make code": "EPERM",
    "make a set-user-ID file": "EPERM",
}


@pytest.fixture(scope="module")
def machine(bundle: Path) -> Iterator[Machine]:
    """A server with sockmon on it, that polls ten times a second."""
    with booted({bundle: "/srv/bundle", REPOSITORY / "tests": "/srv/tests"}) as booting:
        booting.run("install", "-d", "/etc/sockmon")
        configure(booting, QUICK)
        booting.run("/srv/bundle/install.sh")
        yield booting


@pytest.fixture(autouse=True)
def as_it_was(machine: Machine) -> None:
    """Each test finds the service polling by its quick configuration, without drop-ins."""
    machine.run("rm", "-rf", DROP_INS)
    configure(machine, QUICK)
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "restart", "sockmon")


def configure(machine: Machine, text: str) -> None:
    machine.run("tee", CONFIG, text=text)


def drop_in(machine: Machine, text: str) -> None:
    machine.run("mkdir", "-p", DROP_INS)
    machine.run("tee", f"{DROP_INS}/test.conf", text=text)
    machine.run("systemctl", "daemon-reload")


def main_pid(machine: Machine) -> int:
    return int(machine.show("sockmon", "MainPID"))


def test_the_server_template_holds_defaults_and_valid_examples() -> None:
    assert load(TEMPLATE) == Config()
    text = TEMPLATE.read_text()
    basic_auth = text.replace("# basic_auth", "basic_auth")
    assert basic_auth != text
    assert parse(basic_auth.encode(), "template").alerting.alertmanager.basic_auth is not None


def test_is_started_when_the_first_poll_has_ended(machine: Machine) -> None:
    machine.run("systemctl", "restart", "sockmon")
    assert ready(machine)
    assert machine.show("sockmon", "StatusText") == "polling"
    assert machine.show("sockmon", "UnitFileState") == "enabled"


def test_has_no_privilege_at_all(machine: Machine) -> None:
    status = (machine.root / f"proc/{main_pid(machine)}/status").read_text()
    assert re.search(r"^CapBnd:\t0+$", status, re.MULTILINE)
    assert re.search(r"^CapPrm:\t0+$", status, re.MULTILINE)
    assert re.search(r"^NoNewPrivs:\t1$", status, re.MULTILINE)
    user = machine.run("id", "-u", "sockmon").stdout.strip()
    assert re.search(rf"^Uid:\t{user}\t{user}\t{user}\t{user}$", status, re.MULTILINE)


def test_the_unit_has_no_mistake(machine: Machine) -> None:
    verified = machine.run("systemd-analyze", "verify", UNIT)  # unknown keys cost it a line
    assert verified.stderr == ""


def test_its_exposure_is_small(machine: Machine) -> None:
    exposed(machine, 1.5)
    machine.run("install", "-D", "-m", "644", OWNERS, f"{DROP_INS}/owners.conf")
    exposed(machine, 2.6)


def exposed(machine: Machine, most: float) -> None:
    """Fail if the unit's score, with its drop-ins, is above."""
    threshold = f"--threshold={10 * most:.0f}"
    machine.run("systemd-analyze", "security", "--offline=true", threshold, UNIT)


def test_reads_a_good_configuration_again(machine: Machine) -> None:
    before = value(machine, "sockmon_config_last_reload_success_timestamp_seconds")
    pid = main_pid(machine)
    configure(machine, "poll: {interval: 200ms}\n")
    machine.run("systemctl", "reload", "sockmon")
    after = value(machine, "sockmon_config_last_reload_success_timestamp_seconds")
    assert before is not None
    assert after is not None
    assert after > before
    assert main_pid(machine) == pid


def test_a_bad_configuration_fails_the_reload_and_nothing_else(machine: Machine) -> None:
    configure(machine, "poll: {interval: soon}\n")
    pid = main_pid(machine)
    reloaded = machine.run("systemctl", "reload", "sockmon", check=False)
    assert reloaded.returncode == 1
    assert machine.show("sockmon", "ReloadResult") == "exit-code"
    assert f"{CONFIG}:1: poll.interval: expected a duration" in machine.journal("sockmon")
    assert value(machine, "sockmon_config_last_reload_successful") == 0
    assert (machine.show("sockmon", "ActiveState"), main_pid(machine)) == ("active", pid)
    configure(machine, QUICK)
    machine.run("systemctl", "reload", "sockmon")
    assert value(machine, "sockmon_config_last_reload_successful") == 1


def test_a_daemon_that_hangs_is_killed_and_started_again(machine: Machine) -> None:
    drop_in(machine, "[Service]\nWatchdogSec=2s\nRestartSec=100ms\n")
    machine.run("systemctl", "restart", "sockmon")
    pid = main_pid(machine)
    machine.run("sh", "-c", f"kill -STOP {pid}")
    eventually(lambda: main_pid(machine) not in (0, pid) and ready(machine))
    assert "Watchdog timeout" in machine.journal("sockmon")


def test_a_daemon_that_dies_is_started_again(machine: Machine) -> None:
    drop_in(machine, "[Service]\nRestartSec=100ms\n")
    pid = main_pid(machine)
    machine.run("sh", "-c", f"kill -KILL {pid}")
    eventually(lambda: main_pid(machine) not in (0, pid) and ready(machine))


def test_one_that_finds_its_port_in_use_starts_when_it_is_free(machine: Machine) -> None:
    drop_in(machine, "[Service]\nRestartSec=100ms\n")
    machine.run("systemctl", "stop", "sockmon")
    server = "python3 -m http.server --bind 127.0.0.1 10776"
    machine.run("sh", "-c", f"systemd-run --quiet --unit=other {server}")
    eventually(lambda: "10776" in machine.run("ss", "-Htln").stdout)
    machine.run("systemctl", "start", "sockmon", check=False)
    assert "cannot listen on 127.0.0.1:10776: Address already in use" in machine.journal("sockmon")
    machine.run("systemctl", "stop", "other")
    eventually(lambda: ready(machine))


@pytest.mark.parametrize(
    ("prepare", "says"),
    [
        (
            f"echo 'poll: {{interval: soon}}' > {CONFIG}",
            f"sockmon: {CONFIG}:1: poll.interval: expected a duration",
        ),
        (f"rm {CONFIG}", f"{CONFIG}: cannot read it: No such file or directory"),
    ],
)
def test_a_start_that_cannot_succeed_is_tried_once(
    machine: Machine, prepare: str, says: str
) -> None:
    machine.run("systemctl", "stop", "sockmon")
    machine.run("sh", "-c", prepare)
    started = machine.run("systemctl", "start", "sockmon", check=False)
    assert started.returncode == 1
    assert machine.show("sockmon", "ActiveState") == "failed"  # and not "activating"
    assert machine.show("sockmon", "ExecMainStatus") == "2"
    assert machine.show("sockmon", "NRestarts") == "0"
    assert says in machine.journal("sockmon")


def test_state_survives_a_restart_and_the_leak_is_told_in_the_journal(machine: Machine) -> None:
    with leak(machine) as unit:
        (before,) = eventually(lambda: firing(machine))
        # Without a privilege its owner is known by its unit.
        assert (before["owner"], before["port"]) == (unit, str(LEAK_PORT))
        machine.run("systemctl", "restart", "sockmon")
        (after,) = firing(machine)  # at its first poll
        assert after == before
        warnings = machine.run("journalctl", "--unit=sockmon", "--priority=warning").stdout
        assert "firing: SockmonCloseWaitLeak" in warnings
        assert "serving http" not in warnings
        assert "serving http" in machine.journal("sockmon")


def test_counts_as_ss_does(machine: Machine) -> None:
    with leak(machine):
        listed = machine.run("ss", "-Htan", f"( sport = :{LEAK_PORT} )").stdout.splitlines()
        assert len(listed) == LEAKS + 1
        eventually(
            lambda: value(
                machine, "sockmon_port_sockets", port=str(LEAK_PORT), direction="inbound"
            ),
            until=lambda counted: counted == LEAKS + 1,
        )


def findings(machine: Machine) -> list[dict[str, Any]]:
    (namespace,) = json.loads(get(machine, "/api/v1/observation"))["namespaces"]
    found: list[dict[str, Any]] = namespace["findings"]
    return found


def test_owners_are_processes_with_the_drop_in(machine: Machine) -> None:
    machine.run("install", "-D", "-m", "644", OWNERS, f"{DROP_INS}/owners.conf")
    machine.run("systemctl", "daemon-reload")
    assert machine.run("systemd-analyze", "verify", UNIT).stderr == ""
    machine.run("systemctl", "restart", "sockmon")
    with leak(machine) as unit:
        # An alert of an earlier leak may still be kept: the finding is this one's.
        (finding,) = eventually(lambda: findings(machine))
        owner = finding["subject"]["owner"]
        listening = machine.run("ss", "-Hltnp", f"( sport = :{LEAK_PORT} )").stdout
        assert f"pid={owner['pid']}," in listening
        assert owner["unit"] == unit
        assert LEAKS < owner["fds"] < owner["fd_limit"]


def blocks(section: str, language: str) -> list[str]:
    """What a section of the page for servers has in blocks of this language."""
    text = (REPOSITORY / "deploy" / "README.md").read_text()
    (found,) = re.findall(rf"^## {section}\n(.*?)^## ", text, re.DOTALL | re.MULTILINE)
    return re.findall(rf"^```{language}\n(.*?)^```", found, re.DOTALL | re.MULTILINE)


def test_tls_and_a_password_as_the_page_has_them(machine: Machine) -> None:
    make, use = blocks("TLS and passwords", "sh")
    (web,) = blocks("TLS and passwords", "yaml")
    hashed = machine.run("setsid", "--wait", "sh", "-ec", make, text="secret\n").stdout.split()[-1]
    machine.run("tee", "/etc/sockmon/web.yaml", text=web.replace("HASH", hashed))
    machine.run("sh", "-ec", use)
    curl = ("curl", "--silent", "--cacert", "/etc/sockmon/cert.pem", "--write-out", "%{http_code}")
    for password, status in (("secret", "200"), ("wrong", "401")):
        asked = ("--output", "/dev/null", "--user", f"prometheus:{password}")
        answered = machine.run(*curl, *asked, "https://localhost:10776/metrics")
        assert answered.stdout == status


def test_sockets_from_systemd_as_the_page_has_them(machine: Machine) -> None:
    (use,) = blocks("Sockets from systemd", "sh")
    curl = ("curl", "--silent", "--unix-socket", "/run/sockmon.sock", "http://localhost/-/healthy")
    try:
        machine.run("mkdir", "-p", f"{SOCKET_UNIT}.d")
        text = "[Socket]\nListenStream=/run/sockmon.sock\n"
        machine.run("tee", f"{SOCKET_UNIT}.d/test.conf", text=text)
        machine.run("sh", "-ec", use)
        assert ready(machine)
        assert machine.run("systemd-analyze", "verify", SOCKET_UNIT).stderr == ""
        machine.run("systemctl", "stop", "sockmon.service")
        assert machine.show("sockmon", "ActiveState") == "inactive"
        # The connection waits for a daemon that systemd starts because of it.
        assert machine.run(*curl).stdout == "sockmon is healthy\n"
        assert machine.show("sockmon", "ActiveState") in ("activating", "active")
    finally:
        machine.run("systemctl", "disable", "--now", "sockmon.socket", check=False)
        machine.run("rm", "-rf", SOCKET_UNIT, f"{SOCKET_UNIT}.d")


def test_state_elsewhere_as_the_page_has_it(machine: Machine) -> None:
    configure(machine, f"{QUICK}state_dir: /srv/sockmon\n")
    (use,) = blocks("State elsewhere", "sh")
    machine.run("sh", "-ec", use)
    machine.run("systemctl", "stop", "sockmon")
    assert {"history", "state"} <= set(machine.run("ls", "/srv/sockmon").stdout.split())


def test_may_do_nothing_but_its_work(machine: Machine) -> None:
    """As root outside of the unit, the probe may do everything."""
    found = confined(machine, "sockmon")
    if found["make code"] == "EACCES":  # newer systemd has the kernel refuse it: PR_SET_MDWE
        found["make code"] = "EPERM"
    assert found == dict.fromkeys(ATTEMPTS, "yes") | DENIED
    free = json.loads(machine.run("python3", PROBE).stdout)
    assert free == dict.fromkeys(ATTEMPTS, "yes")
