"""The units that count connections between polls, on a booted Debian server."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.helpers import UNITS, exposure, status_of, with_helper
from tests.deploy.serving import ready, value
from tests.lab import eventually
from tests.machine import Machine

pytestmark = [pytest.mark.root, pytest.mark.machine]

CONFIG = "poll: {interval: 200ms}\nevents: {enabled: true}\n"
_CLIENT = """
import socket
listener = socket.create_server(("127.0.0.1", 7777))
for _ in range(5):
    client = socket.create_connection(("127.0.0.1", 7777))
    server, _ = listener.accept()
    client.close()
    server.close()
"""


@pytest.fixture(scope="module")
def machine(bundle: Path) -> Iterator[Machine]:
    """A server with sockmon and its helper on it, as an operator sets them up."""
    with with_helper(bundle, "sockmon-events", "events", CONFIG) as booted:
        yield booted


def opened(machine: Machine) -> float | None:
    labels = {"netns": "host", "direction": "inbound", "port": "7777"}
    return value(machine, "sockmon_connections_opened_total", **labels)


def test_a_daemon_without_privilege_counts_and_its_helper_has_ended(machine: Machine) -> None:
    eventually(lambda: ready(machine))
    eventually(lambda: value(machine, "sockmon_events_unattributed_total") is not None)
    machine.run("python3", "-c", _CLIENT)
    eventually(lambda: opened(machine), until=lambda number: number == 5)
    eventually(lambda: machine.show("sockmon-events.service", "ActiveState") == "inactive")
    assert machine.show("sockmon-events.service", "Result") == "success"
    daemon = status_of(machine, "sockmon")
    for kind in ("CapEff", "CapPrm", "CapBnd", "CapAmb"):
        assert int(daemon[kind], 16) == 0


def test_a_daemon_that_is_restarted_has_it_loaded_again(machine: Machine) -> None:
    machine.run("systemctl", "restart", "sockmon")
    eventually(lambda: value(machine, "sockmon_events_unattributed_total") is not None)
    machine.run("python3", "-c", _CLIENT)
    eventually(lambda: opened(machine), until=lambda number: number == 5)


def test_the_units_have_no_mistake_and_their_exposure_is_small(machine: Machine) -> None:
    units = [f"{UNITS}/{name}" for name in ("sockmon-events.service", "sockmon-events.socket")]
    verified = machine.run("systemd-analyze", "verify", *units, f"{UNITS}/sockmon.service")
    assert verified.stderr == ""
    assert exposure(machine, "sockmon-events.service") <= 1.3
    assert exposure(machine, "sockmon.service") <= 1.1


def test_a_socket_that_is_stopped_is_told_of(machine: Machine) -> None:
    machine.run("systemctl", "stop", "sockmon-events.socket")
    machine.run("systemctl", "restart", "sockmon")
    try:
        log = eventually(
            lambda: machine.run("journalctl", "--unit=sockmon", "--output=cat").stdout,
            until=lambda text: "counting events" in text,
        )
        assert re.search(r"counting events: .*ENOENT.*journalctl -u sockmon-events", log)
        assert ready(machine)
    finally:
        machine.run("systemctl", "start", "sockmon-events.socket")
