"""What a unit's sandbox allows, probed from inside a booted machine."""

import json
import re

from tests.machine import Machine

PROBE = "/srv/tests/deploy/sandbox_probe.py"
_UNITS = "/usr/local/lib/systemd/system"


def confined(machine: Machine, unit: str) -> dict[str, str]:
    """What the probe may do in a copy of an installed unit: see sandbox_probe.probe()."""
    text = machine.run("cat", f"{_UNITS}/{unit}.service").stdout
    text = re.sub(r"^(ExecReload|WatchdogSec|Restart)=.*\n", "", text, flags=re.MULTILINE)
    text = text.replace("Type=notify", "Type=oneshot\nStandardOutput=truncate:/run/probed")
    text = re.sub(r"^ExecStart=.*", f"ExecStart=/usr/bin/python3 {PROBE}", text, flags=re.MULTILINE)
    machine.run("tee", "/run/systemd/system/probe.service", text=text)
    machine.run("touch", "/tmp/of-another")
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "start", "probe")
    answers: dict[str, str] = json.loads(machine.run("cat", "/run/probed").stdout)
    return answers
