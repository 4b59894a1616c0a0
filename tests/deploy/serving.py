"""What the daemon inside a booted machine answers."""

import json
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from tests.machine import Machine
from tests.running import PORT

URL = f"http://127.0.0.1:{PORT}"


def get(machine: Machine, path: str) -> str:
    """What it answers; nothing, if it refuses or is not there."""
    return machine.run("curl", "--silent", "--fail", URL + path, check=False).stdout


def ready(machine: Machine) -> bool:
    return bool(get(machine, "/-/ready"))


def listens(machine: Machine, port: int) -> bool:
    return bool(machine.run("ss", "-Hltn", f"sport = :{port}").stdout)


def value(machine: Machine, name: str, **labels: str) -> float | None:
    """The sum of a metric's samples that have these labels, if there are any."""
    values = [
        sample.value
        for family in text_string_to_metric_families(get(machine, "/metrics"))
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    ]
    return sum(values) if values else None


def alerts(machine: Machine) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(get(machine, "/api/v1/alerts") or "{}").get(
        "alerts", []
    )
    return found
