"""The privileged helper's units on a booted Debian server: all it may do, and all it may not."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.helpers import (
    UNITS,
    drop_in,
    example,
    exposure,
    pid_of,
    status_of,
    with_helper,
)
from tests.deploy.leaking import LEAK_PORT, LEAKS
from tests.deploy.probing import confined
from tests.deploy.sandbox_probe import ATTEMPTS
from tests.deploy.serving import alerts, get, ready, value
from tests.lab import eventually
from tests.machine import Machine

pytestmark = [pytest.mark.root, pytest.mark.machine]

DROP_IN, EXAMPLE = drop_in("namespaces"), example("namespaces")
SOCKET = "/run/sockmon-netns/socket"
CONFIG = f"""
poll: {{interval: 200ms, namespaces: all, netns_helper_socket: {SOCKET}, cpu_budget: 1}}
detect:
  close_wait_leak: {{stale_after: 1s, for: 0s, keep_firing_for: 0s}}
"""
#: As in CapEff: Linux's numbers are 19 and 21.
SYS_PTRACE_AND_SYS_ADMIN = 1 << 19 | 1 << 21
#: Of the probe's attempts, those that succeed inside the helper's unit.
ALLOWED = {
    "ask sock_diag",
    "read limits",
    "see others' processes",
    "enter another's network",
    "unshare network",
}


@pytest.fixture(scope="module")
def machine(bundle: Path) -> Iterator[Machine]:
    """A server with sockmon and its helper on it, as an operator sets them up."""
    with with_helper(bundle, "sockmon-netns", "namespaces", CONFIG) as booted:
        yield booted


@contextmanager
def leaking_container(machine: Machine) -> Iterator[str]:
    """A service in a network namespace of its own, of a user of its own; yields its unit's name."""
    unit = "shop.service"
    server = f"python3 /srv/tests/lab/leaking_server.py 127.0.0.1 {LEAK_PORT} {LEAKS}"
    client = (
        "import socket, time\n"
        f"for _ in range({LEAKS}):\n"
        "    while True:\n"
        "        try:\n"
        f"            socket.create_connection(('127.0.0.1', {LEAK_PORT})).close()\n"
        "            break\n"
        "        except ConnectionRefusedError:\n"
        "            time.sleep(0.05)\n"
    )
    script = f'sleep infinity | {server} & python3 -c "{client}"; wait'
    machine.run(
        *("systemd-run", f"--unit={unit}", "--collect", "--property=KillSignal=SIGKILL"),
        *("--property=PrivateNetwork=yes", "--property=DynamicUser=yes", "sh", "-c", script),
    )
    try:
        yield unit
    finally:
        machine.run("systemctl", "stop", unit)


def namespaces(machine: Machine) -> dict[str, dict[str, Any]]:
    """What the daemon has seen, by namespace."""
    told = json.loads(get(machine, "/api/v1/observation") or '{"namespaces": []}')
    return {namespace["netns"]: namespace for namespace in told["namespaces"]}


def firing(machine: Machine) -> list[dict[str, Any]]:
    return [alert for alert in alerts(machine) if alert["state"] == "firing"]


def netns_of(machine: Machine, pid: int) -> str:
    return machine.run("readlink", f"/proc/{pid}/ns/net").stdout.strip()


def test_a_leak_in_a_container_is_named_by_a_daemon_without_privilege(machine: Machine) -> None:
    with leaking_container(machine) as unit:
        (alert,) = eventually(lambda: firing(machine))
        labels = {key: alert["labels"][key] for key in ("netns", "owner", "port")}
        assert labels == {"netns": unit, "owner": unit, "port": str(LEAK_PORT)}
        counted = value(machine, "sockmon_sockets", netns=unit, state="close_wait")
        inside = ("nsenter", f"--net=/proc/{pid_of(machine, unit)}/ns/net")
        listed = machine.run(*inside, "ss", "-Htan", "state", "close-wait").stdout
        assert counted == len(listed.splitlines()) == LEAKS
        assert not namespaces(machine)[unit]["degraded"]
    eventually(lambda: unit not in namespaces(machine))
    eventually(lambda: not firing(machine))


def test_a_namespace_that_ip_netns_has_made_has_its_name(machine: Machine) -> None:
    machine.run("ip", "netns", "add", "blue")
    listen = "import socket, time; s = socket.create_server(('', 4321)); time.sleep(999)"
    within = ("ip", "netns", "exec", "blue", "python3", "-c", listen)
    machine.run("systemd-run", "--unit=listener", "--collect", *within)
    try:
        eventually(lambda: value(machine, "sockmon_sockets", netns="blue", state="listen") == 1)
        assert "blue" in namespaces(machine)
    finally:
        machine.run("systemctl", "stop", "listener")
        machine.run("ip", "netns", "delete", "blue")
    eventually(lambda: "blue" not in namespaces(machine))


def test_the_daemon_has_no_privilege_and_the_helper_two(machine: Machine) -> None:
    eventually(lambda: ready(machine))
    daemon, helper = status_of(machine, "sockmon"), status_of(machine, "sockmon-netns")
    for kind in ("CapEff", "CapPrm", "CapBnd", "CapAmb"):
        assert int(daemon[kind], 16) == 0
        assert int(helper[kind], 16) == SYS_PTRACE_AND_SYS_ADMIN
    for status in (daemon, helper):
        assert status["NoNewPrivs"] == "1"
        assert "0" not in status["Uid"].split()
    private = (machine.root / f"proc/{pid_of(machine, 'sockmon')}/uid_map").read_text()
    assert len(private.splitlines()) > 1, "it is in a user namespace of its own"
    own, hosts = (netns_of(machine, pid) for pid in (pid_of(machine, "sockmon-netns"), 1))
    assert own != hosts, "it is in a network namespace of its own"
    assert not {f"netns-{re.sub('[^0-9]', '', netns)}" for netns in (own, hosts)} & set(
        namespaces(machine)
    ), "and neither that nor the host's is one of the others"


def test_only_the_daemon_and_root_may_ask(machine: Machine) -> None:
    ask = (
        "import socket; s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET);"
        f"s.connect('{SOCKET}')"
    )
    for user, allowed in (("root", True), ("sockmon", True), ("nobody", False)):
        done = machine.run("python3", "-c", ask, user=user, check=False)
        assert (done.returncode == 0) is allowed, done.stderr


def test_the_units_have_no_mistake(machine: Machine) -> None:
    units = [f"{UNITS}/{name}" for name in ("sockmon-netns.service", "sockmon-netns.socket")]
    verified = machine.run("systemd-analyze", "verify", *units, f"{UNITS}/sockmon.service")
    assert verified.stderr == ""


def test_their_exposure_is_small(machine: Machine) -> None:
    """As written in the decision: the helper's, the daemon's, and the daemon's without a helper."""
    assert exposure(machine, "sockmon-netns.service") <= 1.3
    assert exposure(machine, "sockmon.service") <= 1.1
    text = machine.run("cat", EXAMPLE).stdout
    machine.run("tee", DROP_IN, text=re.sub(r"^#(?=[A-Z[])", "", text, flags=re.MULTILINE))
    try:
        assert 1.1 < exposure(machine, "sockmon.service") <= 2.0
    finally:
        machine.run("install", "-m", "644", EXAMPLE, DROP_IN)


def test_the_helper_may_do_nothing_but_its_work(machine: Machine) -> None:
    probed = confined(machine, "sockmon-netns")
    assert {attempt for attempt, answer in probed.items() if answer == "yes"} == ALLOWED
    assert set(probed) == set(ATTEMPTS)


def test_a_helper_that_is_gone_is_told_of_and_found_again(machine: Machine) -> None:
    def failures() -> list[str]:
        told = json.loads(get(machine, "/api/v1/observation"))
        return [failure["message"] for failure in told["failures"]]

    with leaking_container(machine) as unit:
        eventually(lambda: unit in namespaces(machine))
        machine.run("systemctl", "kill", "--signal=KILL", "sockmon-netns.service")
        machine.run("systemctl", "stop", "sockmon-netns.socket", "sockmon-netns.service")
        (failure,) = eventually(failures)
        assert "journalctl -u sockmon-netns" in failure
        eventually(lambda: value(machine, "sockmon_sockets", netns=unit) is None)
        assert ready(machine), "its own namespace is polled as ever"
        machine.run("systemctl", "start", "sockmon-netns.socket")
        eventually(lambda: value(machine, "sockmon_sockets", netns=unit))
        eventually(lambda: not failures())
