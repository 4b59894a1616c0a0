"""A booted server with sockmon and one of its privileged helpers, as an operator sets them up."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.conftest import REPOSITORY
from tests.machine import Machine, booted

UNITS = "/usr/local/lib/systemd/system"
_DROP_INS = "sockmon.service.d"


def drop_in(name: str) -> str:
    """Where a drop-in of the daemon's unit is installed."""
    return f"/etc/systemd/system/{_DROP_INS}/{name}.conf"


def example(name: str) -> str:
    """The drop-in as the bundle has it."""
    return f"/srv/bundle/systemd/{_DROP_INS}/{name}.conf.example"


@contextmanager
def with_helper(bundle: Path, helper: str, name: str, config: str) -> Iterator[Machine]:
    """Boot it. helper: the name of its units; name: of the daemon's drop-in."""
    with booted({bundle: "/srv/bundle", REPOSITORY / "tests": "/srv/tests"}) as machine:
        machine.run("install", "-d", "/etc/sockmon")
        machine.run("tee", "/etc/sockmon/sockmon.yaml", text=config)
        machine.run("/srv/bundle/install.sh")
        machine.run("install", "-D", "-m", "644", example(name), drop_in(name))
        machine.run("systemctl", "daemon-reload")
        machine.run("systemctl", "enable", "--now", f"{helper}.socket")
        machine.run("systemctl", "restart", "sockmon")
        yield machine


def pid_of(machine: Machine, unit: str) -> int:
    """The PID of its main process, 0 if it does not run."""
    return int(machine.show(unit, "MainPID"))


def status_of(machine: Machine, unit: str) -> dict[str, str]:
    """The lines of its main process's /proc/PID/status."""
    text = (machine.root / f"proc/{pid_of(machine, unit)}/status").read_text()
    return dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)


def exposure(machine: Machine, unit: str) -> float:
    """Its score, with its drop-ins."""
    told = machine.run("systemd-analyze", "security", "--offline=true", f"{UNITS}/{unit}").stdout
    (score,) = re.findall(r"Overall exposure level for \S+: ([\d.]+)", told)
    return float(score)
