"""Prometheus's own promtool, and series for its unit tests as lists of values."""

import math
import subprocess
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.conftest import REPOSITORY, component

PROMETHEUS = REPOSITORY / "deploy" / "prometheus"
ALERTS = PROMETHEUS / "rules" / "sockmon-alerts.yml"
RECORDING = PROMETHEUS / "rules" / "sockmon-recording.yml"

#: Seconds from one sample to the next.
STEP = 15

#: A sample's value; or what makes it from its time in seconds and the value before.
Value = float | Callable[[int, float], float]
#: No sample: the target shows the series no more.
GONE = math.nan


def run(program: str, *arguments: str, directory: Path) -> str:
    """Run promtool or amtool, which must succeed; returns what it answers."""
    found = component(program)
    assert found is not None
    done = subprocess.run(
        [found, *arguments], cwd=directory, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def rules_of(text: str) -> list[dict[str, Any]]:
    """The rules of a file with one group."""
    (group,) = yaml.safe_load(text)["groups"]
    rules: list[dict[str, Any]] = group["rules"]
    return rules


def samples(phases: Iterable[tuple[Value, int]]) -> str:
    """Write a series in promtool's notation: each value for so many samples."""
    written: list[float] = []
    for value, count in phases:
        for _ in range(count):
            last = written[-1] if written else 0.0
            written.append(value(STEP * len(written), last) if callable(value) else value)
    return " ".join("stale" if math.isnan(value) else f"{value:g}" for value in written)


def unit_test(series: Mapping[str, str], **asked: list[dict[str, Any]]) -> dict[str, Any]:
    """One test of a file of promtool's; `asked`: promql_expr_test or alert_rule_test."""
    inputs = [{"series": name, "values": values} for name, values in series.items()]
    return {"interval": f"{STEP}s", "input_series": inputs, **asked}


def run_unit_tests(directory: Path, rules: str, *tests: dict[str, Any]) -> None:
    """Let promtool evaluate rules over the tests' series, and fail where it finds others."""
    (directory / "rules.yml").write_text(rules)
    file = {"rule_files": ["rules.yml"], "evaluation_interval": f"{STEP}s", "tests": list(tests)}
    (directory / "test.yml").write_text(yaml.safe_dump(file))
    run("promtool", "test", "rules", "test.yml", directory=directory)
