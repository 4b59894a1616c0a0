"""A detector is one file: whatever shows, counts or links its findings learns of it there."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sockmon.detect.detector import Detector
from sockmon.detect.registry import ALL
from tests.conftest import REPOSITORY

SOURCES = {".py", ".ts", ".tsx", ".css", ".html"}
GENERATED = ("sockmon/web/static", "grafana/dashboards")
#: The drills rehearse detectors, each by its name. A dashboard can be about one detector, and the
#: table of findings has the figures of those that count sockets.
SCENARIOS, TABLE = "sockmon/drill/scenarios.py", "grafana/host_findings.py"
BOARDS = {"close_wait_leak": "grafana/close_wait.py"}
SERIES = {"accept_queue": "sockmon/history/sample.py"}
#: The rows of UDP ports open: they name who reads, as the finding does.
PAGE = {"udp_drops": "page/src/view/tables.tsx"}


def written() -> Iterator[Path]:
    for folder in ("sockmon", "page/src", "grafana"):
        for path in (REPOSITORY / folder).rglob("*"):
            name = path.relative_to(REPOSITORY).as_posix()
            if path.suffix in SOURCES and not name.startswith(GENERATED):
                yield path


TEXTS = {path.relative_to(REPOSITORY).as_posix(): path.read_text() for path in written()}


@pytest.mark.parametrize("detector", ALL, ids=lambda detector: detector.name)
def test_no_other_file_names_it(detector: Detector) -> None:
    # sockmon_accept_queue_limit is a metric, and tcp_max_syn_backlog a setting of the kernel; a
    # series of the history has the name of the metric sockmon_accept_queue.
    name = re.compile(rf"(?<![a-z0-9_]){detector.name}(?![a-z0-9_])")
    own = {f"sockmon/detect/{detector.name}.py", "sockmon/detect/registry.py"}
    naming = {path for path, text in TEXTS.items() if name.search(text)}
    assert own <= naming
    named = (by_name.get(detector.name) for by_name in (BOARDS, SERIES, PAGE))
    assert naming - own <= {SCENARIOS, TABLE, *named}


def test_there_is_something_to_look_through() -> None:
    assert len(TEXTS) > 200
    assert any(path.startswith("page/src") for path in TEXTS)


def test_the_example_configuration_is_current(tmp_path: Path) -> None:
    script = REPOSITORY / "deploy" / "config" / "generate.py"
    command = [sys.executable, str(script), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), "run `make generate`, and commit the result"
    changed = tmp_path / "config.example.yaml"
    text = (REPOSITORY / "config.example.yaml").read_text()
    changed.write_text(text.replace("    stale_after: 60s ", "    stale_after: 61s "))
    copy = tmp_path / "deploy" / "config" / "generate.py"
    copy.parent.mkdir(parents=True)
    copy.write_text(script.read_text())
    command = [sys.executable, str(copy)]
    done = subprocess.run([*command, "--check"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, f"{changed} is not current: run generate.py\n")
    subprocess.run(command, check=True)
    assert changed.read_text() == text
