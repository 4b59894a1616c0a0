"""Each command that advice gives is complete: typed as doctor prints it, it runs."""

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import NamedTuple

import pytest

from sockmon.commands.doctor.doctor import Diagnosed, write_text
from sockmon.detect.registry import ALL
from sockmon.model.finding import Command, Finding
from sockmon.model.limits import PortRange
from sockmon.model.moment import Moment
from sockmon.model.observation import NamespaceObservation, Observation
from sockmon.model.states import TcpState
from tests.lab import NetNs
from tests.resident import resident, seeing_pids
from tests.unit.detect.builders import (
    LIMITS,
    Sock,
    everything_at_once,
    judge,
    sight,
)

pytestmark = [
    pytest.mark.root,
    *map(pytest.mark.component, ("ss", "ip", "sysctl", "ping", "traceroute", "conntrack")),
]

#: Of the last program of a pipeline: grep finds nothing (1), doctor finds something (man pages).
STATUSES = {"grep": {0, 1}, "sockmon": {0, 1, 2, 3}}
#: Where the commands find sockmon itself, and what Debian keeps from users.
PATH = f"{Path(sys.executable).parent}:{os.environ['PATH']}:/usr/sbin:/sbin"


class Inside(NamedTuple):
    """Another network namespace, and what enters it."""

    netns: NetNs
    entry: str


@pytest.fixture(scope="module")
def inside() -> Iterator[Inside]:
    """As a container's: both ends of the findings' connections have their addresses in it."""
    with NetNs() as netns, resident(netns) as pid:
        for end in (1, 2):
            netns.ip(f"address add 10.0.0.{end}/32 dev lo")
            netns.ip(f"address add fd00::{end}/128 dev lo nodad")
        (place,) = seeing_pids(pid)().values()
        yield Inside(netns, place.nsenter_prefix)


def all_held_by_bind() -> Finding:
    limits = replace(LIMITS, port_range=PortRange(40000, 40099))
    socks = Sock(TcpState.CLOSE, remote_port=0).times(100)
    return judge("ephemeral_port_pressure").one(sight(socks, limits))


FINDINGS = (*everything_at_once(), *everything_at_once(owners=True), all_held_by_bind())
#: By detector, each command once.
COMMANDS = list(
    dict.fromkeys(
        (finding.detector, advice.command)
        for finding in FINDINGS
        for advice in finding.advice
        if advice.command
    )
)


def entered(command: Command, entry: str) -> str:
    """The line as it is shown for a finding of that namespace."""
    return replace(FINDINGS[0], entry=entry).command_line(command)


def programs(line: str) -> list[str]:
    """The program of each part of a pipeline."""
    words = [shlex.split(part) for part in line.split(" | ")]
    return [next(w for w in part if w != "nsenter" and not w.startswith("-")) for part in words]


def shell(line: str, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", *options, "-c", line],
        env={**os.environ, "PATH": PATH},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def each(fits: Callable[[Command], bool]) -> pytest.MarkDecorator:
    """Parametrize by the commands that fit."""
    cases = [
        pytest.param(command, id=f"{detector}-{command.line}")
        for detector, command in COMMANDS
        if fits(command)
    ]
    return pytest.mark.parametrize("command", cases)


def numbers(setting: str) -> set[int]:
    """Its numbers; the kernel writes neighbouring ports as a range, 8085-8086."""
    ranges = (part.split("-") for part in setting.replace(",", " ").split())
    return {n for ends in ranges for n in range(int(ends[0]), int(ends[-1]) + 1)}


def changes_a_namespace(command: Command) -> bool:
    return command.effect == "changes" and command.where == "namespace"


def test_every_detector_gives_some() -> None:
    assert {detector for detector, _ in COMMANDS} == {detector.name for detector in ALL}


@pytest.mark.parametrize("entry", ["", "nsenter --net=/run/netns/orders"])
def test_doctor_prints_each_on_a_line_of_its_own(entry: str) -> None:
    found = tuple(replace(finding, entry=entry) for finding in FINDINGS)
    observation = Observation(Moment(0.0, 0.0), 5.0, (NamespaceObservation("host"),))
    printed = StringIO()
    write_text(Diagnosed(observation, found, (), ()), printed)
    lines = set(printed.getvalue().splitlines())
    for _, command in COMMANDS:
        there = "on the peer: " if command.where == "peer" else ""
        assert f"    {there}{entered(command, entry)}" in lines


@each(lambda _: True)
def test_it_is_a_command_of_programs_that_exist(command: Command) -> None:
    line = entered(command, "nsenter --net=/run/netns/orders")
    assert line.startswith("nsenter ") == (command.where == "namespace")
    checked = shell(line, "-n")
    assert (checked.returncode, checked.stderr) == (0, "")
    for program in programs(line):
        assert shutil.which(program, path=PATH), program


@each(lambda command: command.effect == "reads")
def test_what_reads_runs(inside: Inside, command: Command) -> None:
    entry = f"{inside.entry} " if command.where == "peer" else ""  # our peers are in there too
    line = entry + entered(command, inside.entry)
    done = shell(line)
    assert done.returncode in STATUSES.get(programs(line)[-1], {0}), done.stderr
    if programs(line)[-1] != "grep":  # a container may not read the kernel's log
        assert "rror" not in done.stderr


@each(changes_a_namespace)
def test_what_changes_a_setting_changes_it_there(inside: Inside, command: Command) -> None:
    name, _, value = command.line.removeprefix("sysctl -w ").partition("=")
    assert name.startswith("net."), "nothing else is tried"
    (meant,) = shlex.split(value)
    setting = Path("/proc/sys") / name.replace(".", "/")
    ours = setting.read_text()
    done = shell(entered(command, inside.entry))
    assert (done.returncode, done.stderr) == (0, "")
    assert numbers(inside.netns.sysctl(name)) == numbers(meant)
    assert setting.read_text() == ours
