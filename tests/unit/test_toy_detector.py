"""A detector is one file and two lines in the registry: every face of sockmon then knows it."""

import http.client
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.conftest import REPOSITORY
from tests.lab import PATIENCE, eventually
from tests.recorded import MIXED
from tests.terminal import Terminal

TITLE, SUMMARY, COMMAND = "Toys are everywhere", "toys listen", "ss -tln --toys"
ADVICE, RUNBOOK = "Put the toys away.", "/docs/runbooks/SockmonToyListeners.md"
PROGRAM = (sys.executable, "-m", "tests.toy", str(MIXED))

Json = dict[str, Any]


def toy(*arguments: str) -> str:
    """What sockmon prints; doctor's status says that there is a finding."""
    done = subprocess.run(
        [*PROGRAM, *arguments], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    return done.stdout


def the_toy(findings: list[Json]) -> Json:
    (found,) = (each for each in findings if each["detector"] == "toy_listeners")
    return found


def is_whole(finding: Json) -> None:
    assert finding["title"] == TITLE
    assert finding["actor"] == {"is_owner": False, "text": "The children", "does": None}
    assert finding["limit"] == 7
    assert finding["summary"].endswith(SUMMARY)
    assert finding["evidence"]["toys_seen"]["unit"] == "sockets"
    assert finding["metrics"] == ["sockmon_toys"]
    assert finding["alert"]["alertname"] == "SockmonToyListeners"
    assert finding["runbook_url"].endswith(RUNBOOK)
    command = {"line": COMMAND, "where": "namespace", "effect": "reads"}
    assert finding["advice"] == [{"purpose": "stop", "text": ADVICE, "command": command}]


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("toy") / "config.yaml"
    file.write_text("poll: {interval: 500ms}\n")
    return file


@pytest.fixture(scope="module")
def port(config: Path) -> Iterator[int]:
    """A daemon's, which has the toy."""
    command = [*PROGRAM, "run", "--config", str(config), "--web.listen-address=127.0.0.1:0"]
    with subprocess.Popen(command, cwd=REPOSITORY, stderr=subprocess.PIPE, text=True) as daemon:
        try:
            assert daemon.stderr is not None
            served = filter(None, (re.search(r"http://.+:(\d+)/$", line) for line in daemon.stderr))
            number = int(next(served)[1])
            eventually(lambda: diagnosed(number))
            yield number
        finally:
            daemon.terminate()
            daemon.communicate(timeout=PATIENCE)


def ask(port: int, path: str, read: Callable[[http.client.HTTPResponse], str]) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request("GET", path)
        return read(connection.getresponse())
    finally:
        connection.close()


def whole(response: http.client.HTTPResponse) -> str:
    return response.read().decode()


def observed(port: int) -> Json:
    (own,) = json.loads(ask(port, "/api/v1/observation", whole))["namespaces"]
    assert isinstance(own, dict)
    return own


def diagnosed(port: int) -> bool:
    """Whether two polls have agreed."""
    try:
        return bool(observed(port)["findings"])
    except (ConnectionRefusedError, KeyError, ValueError):
        return False


def test_doctor_tells_it(config: Path) -> None:
    lines = toy("doctor", "--config", str(config)).splitlines()
    assert "[warning] toy_listeners, netns host" in lines or f"[warning] {TITLE}" in lines
    assert f"    {COMMAND}" in lines
    text = "\n".join(lines)
    assert all(each in text for each in (SUMMARY, ADVICE, "toys seen: ", RUNBOOK))


def test_doctor_tells_it_to_programs(config: Path) -> None:
    answer = json.loads(toy("doctor", "--config", str(config), "--format", "json"))
    is_whole(the_toy(answer["findings"]))


def test_the_api_has_it(port: int) -> None:
    is_whole(the_toy(observed(port)["findings"]))


def test_the_page_is_told(port: int) -> None:
    def first_event(response: http.client.HTTPResponse) -> str:
        lines = iter(response.readline, b"")
        return next(line for line in lines if line.startswith(b"data:"))[5:].decode()

    message = json.loads(ask(port, "/api/v1/events?netns=host", first_event))
    is_whole(the_toy(message["namespace"]["findings"]))


def test_metrics_count_it(port: int) -> None:
    families = {
        family.name: family
        for family in text_string_to_metric_families(ask(port, "/metrics", whole))
    }
    assert any(
        sample.labels == {"netns": "host", "detector": "toy_listeners", "severity": "warning"}
        and sample.value == 1
        for sample in families["sockmon_findings"].samples
    )
    assert families["sockmon_toys"].documentation == "Toys that listen."
    assert families["sockmon_toys"].samples


class Here:
    """In no namespace of the laboratory."""

    def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return function(*args, cwd=REPOSITORY, **kwargs)


def test_top_shows_it(port: int) -> None:
    command = (*PROGRAM, "top", "--url", f"http://127.0.0.1:{port}")
    with Terminal.running(Here(), command, (120, 50)) as top:  # type: ignore[arg-type]
        lines = top.shows(SUMMARY)
        number = next(n for n in range(1, 9) if any(is_row(line, n) for line in lines))
        top.press(str(number))
        top.shows(SUMMARY, ADVICE, COMMAND, "toys seen: ", "SockmonToyListeners.md")


def is_row(line: str, number: int) -> bool:
    return line.split()[:1] == [str(number)] and ("toy_listeners" in line or TITLE in line)


def test_rules_have_it() -> None:
    rules = yaml.safe_load(toy("rules"))["groups"][0]["rules"]
    warning, critical = (rule for rule in rules if rule["alert"] == "SockmonToyListeners")
    assert warning["expr"] == 'sockmon_toys{job="sockmon"} >= 7'
    assert 'detector="toy_listeners",severity="critical"' in critical["expr"]
    assert warning["for"] == "30s"
    assert warning["annotations"]["summary"].endswith("toys are everywhere")
    assert "Somebody plays, and nobody tidies up." in warning["annotations"]["description"]
    assert warning["annotations"]["runbook_url"].endswith(RUNBOOK)


def test_the_example_configuration_has_it(tmp_path: Path) -> None:
    program = (
        "from tests.toy.__main__ import register; register()\n"
        "from pathlib import Path\n"
        "from sockmon.detect.example import in_example\n"
        "print(in_example(Path('config.example.yaml').read_text()), end='')"
    )
    made = subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True
    ).stdout
    ours = [line for line in made.splitlines() if "toy" in line]
    assert ours == [
        "  toy_listeners: # too many toys listen",
        "    patience: 5m # a toy is patient for so long",
        "    warning_toys: 7 # sockets that listen",
    ]
    file = tmp_path / "config.yaml"
    file.write_text(made)
    assert toy("check-config", str(file)) == f"{file}: ok\n"
    file.write_text("detect: {toy_listeners: {warning_toys: 1000}}")
    assert SUMMARY not in toy("doctor", "--config", str(file))
