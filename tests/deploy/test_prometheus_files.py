"""What is in deploy/prometheus/ is current, valid, and leads where it should."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.promtool import ALERTS, PROMETHEUS, RECORDING, run


def generate(script: Path, *arguments: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, script, *arguments], capture_output=True, text=True, check=False
    )
    return done.returncode, done.stderr


def test_the_rule_files_are_current() -> None:
    assert generate(PROMETHEUS / "generate.py", "--check") == (0, "")


def test_a_rule_file_that_is_not_current_is_named_and_mended(tmp_path: Path) -> None:
    script = tmp_path / "generate.py"
    shutil.copy(PROMETHEUS / "generate.py", script)
    status, said = generate(script, "--check")
    assert status == 1
    assert len(said.splitlines()) == 2
    assert generate(script) == (0, "")
    assert generate(script, "--check") == (0, "")
    recording = tmp_path / "rules" / RECORDING.name
    recording.write_text(recording.read_text() + "\n")
    status, said = generate(script, "--check")
    assert (status, said) == (1, f"{recording} is not current: run generate.py\n")
    generate(script)
    assert (tmp_path / "rules" / ALERTS.name).read_text() == ALERTS.read_text()
    assert recording.read_text() == RECORDING.read_text()


@pytest.mark.component("promtool")
def test_promtool_accepts_the_configuration() -> None:
    said = run("promtool", "check", "config", "prometheus.yml", directory=PROMETHEUS)
    assert "2 rule files found" in said
    assert "duplicate" not in said


@pytest.mark.component("promtool")
def test_an_instance_is_the_hosts_name(tmp_path: Path) -> None:
    """As the daemon calls itself: without the port, or as the target says."""
    shutil.copytree(PROMETHEUS, tmp_path / "prometheus")
    targets = tmp_path / "prometheus" / "targets" / "more.yml"
    targets.write_text('- targets: ["10.0.0.7:10776", "[::1]:80", "a.b-c.example:1"]\n')
    arguments = ("--timeout=1s", "prometheus/prometheus.yml", "sockmon")
    said = run("promtool", "check", "service-discovery", *arguments, directory=tmp_path)
    found = [target["labels"] for target in json.loads(said)]
    assert {(labels["instance"], labels.get("cluster")) for labels in found} == {
        ("web-1.example", None),
        ("web-2.example", None),
        ("db-1.example", None),
        ("edge-1.example", None),
        ("web-1.us.example", "us-1"),
        ("10.0.0.7", None),
        ("::1", None),
        ("a.b-c.example", None),
    }
    assert all(labels["__address__"].rpartition(":")[2].isdigit() for labels in found)


def load(name: str) -> Any:
    return yaml.safe_load((PROMETHEUS / name).read_text())


def test_scrapes_and_rules_keep_time_together() -> None:
    """The alerts' `for` and the 75 s of blindness count on it."""
    settings = load("prometheus.yml")["global"]
    assert settings["scrape_interval"] == settings["evaluation_interval"] == "15s"


@pytest.mark.component("amtool")
def test_amtool_accepts_alertmanagers_configuration() -> None:
    said = run("amtool", "check-config", "alertmanager.yml", directory=PROMETHEUS)
    assert "7 inhibit rules" in said


@pytest.mark.component("amtool")
@pytest.mark.parametrize(
    ("labels", "receiver"),
    [
        ({"alertname": "SockmonDown", "severity": "critical", "source": "prometheus"}, "page"),
        ({"alertname": "SockmonDeadPeer", "severity": "critical", "source": "sockmon"}, "page"),
        ({"alertname": "SockmonDeadPeer", "severity": "warning", "source": "sockmon"}, "ticket"),
        ({"alertname": "SockmonDeadPeer", "severity": "warning", "cluster": "us-1"}, "ticket"),
        ({"alertname": "SockmonDeadPeer", "severity": "new"}, "page"),
        ({"alertname": "SockmonDeadPeer"}, "page"),
        ({"alertname": "Other", "severity": "warning"}, "page"),
    ],
    ids=str,
)
def test_a_severity_reaches_its_receiver(labels: dict[str, str], receiver: str) -> None:
    given = [f"{name}={value}" for name, value in labels.items()]
    arguments = ("--config.file=alertmanager.yml", f"--verify.receivers={receiver}", *given)
    said = run("amtool", "config", "routes", "test", *arguments, directory=PROMETHEUS)
    assert receiver in said.splitlines()


def test_placeholders_lead_nowhere() -> None:
    """RFC 2606: nobody is told by accident."""
    urls = [
        hook["url"]
        for receiver in load("alertmanager.yml")["receivers"]
        for hook in receiver["webhook_configs"]
    ]
    assert len(urls) == 2
    assert all(url.split("/")[2].endswith(".invalid") for url in urls)


def test_who_does_not_say_which_host_mutes_nobody() -> None:
    """To Alertmanager two labels that are both missing are equal."""
    for rule in load("alertmanager.yml")["inhibit_rules"]:
        assert 'instance =~ ".+"' in rule["source_matchers"]
        assert "instance" in rule["equal"]
