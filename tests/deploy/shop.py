"""A service with a network namespace of its own, as a container has, inside a booted machine."""

from collections.abc import Iterator
from contextlib import contextmanager

from tests.deploy.serving import value
from tests.lab import eventually
from tests.machine import Machine

UNIT = "shop.service"

#: Makes sockmon ask the helper, ten times a second.
CONFIG = (
    "poll: {interval: 100ms, namespaces: all, netns_helper_socket: /run/sockmon-netns/socket}\n"
)

_LISTEN = "import signal, socket; kept = socket.create_server(('127.0.0.1', 80)); signal.pause()"


@contextmanager
def shop(machine: Machine) -> Iterator[None]:
    """The service, which listens on a port that only it can see."""
    run = ("systemd-run", f"--unit={UNIT}", "--collect", "--property=PrivateNetwork=yes")
    machine.run(*run, "python3", "-c", _LISTEN)
    try:
        yield
    finally:
        machine.run("systemctl", "stop", UNIT)


def wait_until_seen(machine: Machine) -> None:
    """Return when sockmon shows what listens inside."""
    labels = {"netns": UNIT, "protocol": "tcp", "state": "listen"}
    eventually(lambda: value(machine, "sockmon_sockets", **labels) == 1)


def enable(machine: Machine, drop_in: str) -> None:
    """Do what the documentation says, with the configuration in its place."""
    changes = "/etc/systemd/system/sockmon.service.d"
    machine.run("install", "-D", "-m", "644", drop_in, f"{changes}/namespaces.conf")
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "enable", "--now", "sockmon-netns.socket")
    machine.run("systemctl", "restart", "sockmon")
