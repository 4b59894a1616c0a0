"""The commands that advice names are commands that ss takes."""

import inspect
import subprocess
from dataclasses import fields
from importlib import import_module
from io import StringIO

import pytest

from sockmon.commands.doctor.doctor import Diagnosed, write_text
from sockmon.detect.registry import ALL
from sockmon.model.moment import Moment
from sockmon.model.observation import NamespaceObservation, Observation
from tests.conftest import component
from tests.unit.detect.builders import (
    commands,
    everything_at_once,
    texts,
)


def ss_commands() -> list[str]:
    lines = {line for finding in everything_at_once() for line in commands(finding)}
    return sorted(line for line in lines if line.startswith("ss "))


def test_every_detector_gives_a_command() -> None:
    silent = {finding.detector for finding in everything_at_once()}
    for finding in everything_at_once():
        if commands(finding):
            silent.discard(finding.detector)
    assert silent == set()


def test_doctor_prints_each_command_in_one_line() -> None:
    """So that it can be copied: ss does not take a filter that is broken within its quotes."""
    at = Moment(0.0, 0.0)
    printed = StringIO()
    observation = Observation(at, 5.0, (NamespaceObservation("host"),))
    write_text(Diagnosed(observation, everything_at_once(), (), ()), printed)
    lines = printed.getvalue().splitlines()
    for finding in everything_at_once():
        for command in commands(finding):
            assert any(line.endswith(command) for line in lines), command


@pytest.mark.component("ss")
@pytest.mark.parametrize("command", ss_commands())
def test_ss_takes_it(command: str) -> None:
    program = component("ss")
    assert program is not None
    shell = ["sh", "-c", command.replace("ss", program, 1)]
    ran = subprocess.run(shell, capture_output=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, b"")


def test_advice_is_not_what_everybody_says_and_is_wrong() -> None:
    lines = [line for finding in everything_at_once() for line in texts(finding)]
    lines += [line for finding in everything_at_once() for line in commands(finding)]
    for line in lines:
        assert "tcp_tw_recycle" not in line
        if "tcp_fin_timeout" in line:
            assert "TIME_WAIT" not in line
            assert "CLOSE_WAIT" not in line


def test_every_limit_of_a_detector_is_used() -> None:
    """A limit that nothing reads would be a promise not kept."""
    for detector in ALL:
        text = inspect.getsource(import_module(detector.find.__module__))
        for limit in fields(detector.thresholds)[3:]:
            assert f"thresholds.{limit.name}" in text, f"{detector.name}: {limit.name}"
