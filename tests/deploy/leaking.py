"""A leak inside a booted machine, and the alert for it."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count

from tests.deploy.serving import alerts, listens
from tests.lab import eventually
from tests.machine import Machine

LEAKS = 12
LEAK_PORT = 9000

_numbers = count(1)


@contextmanager
def leak(machine: Machine) -> Iterator[str]:
    """A service that never closes what its clients have closed; yields its unit's name."""
    unit = f"leaky-{next(_numbers)}.service"  # systemd forgets one only a moment after its stop
    server = f"sleep infinity | python3 /srv/tests/lab/leaking_server.py 127.0.0.1 {LEAK_PORT} {{}}"
    machine.run(
        "systemd-run",
        f"--unit={unit}",
        "--collect",
        "--property=KillSignal=SIGKILL",
        "sh",
        "-c",
        server.format(LEAKS),
    )
    client = (
        "import socket\n"
        f"for _ in range({LEAKS}):\n"
        f"    with socket.create_connection(('127.0.0.1', {LEAK_PORT})) as connection:\n"
        "        connection.sendall(b'GET /lab HTTP/1.0')\n"
    )
    try:
        eventually(lambda: listens(machine, LEAK_PORT))
        machine.run("python3", "-c", client)
        yield unit
    finally:
        machine.run("systemctl", "stop", unit)


def firing(machine: Machine) -> list[dict[str, str]]:
    """The leak's alert without what changes from poll to poll, once it fires."""
    return [
        {"owner": alert["labels"]["owner"], "port": alert["labels"]["port"], "at": alert["since"]}
        for alert in alerts(machine)
        if alert["labels"]["alertname"] == "SockmonCloseWaitLeak" and alert["state"] == "firing"
    ]
