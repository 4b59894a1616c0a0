"""Plays a case: its world, the daemon and doctor in it, and what they say."""

import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from tests.cases.case import Case, Finding, in_words, judge, roots
from tests.cgroups import tree
from tests.running import RunningDaemon, running_daemon
from tests.world import World, small_world

_LOOKS_EVERY = 3.0
#: A configuration with another address than the daemon's.
_NO_DAEMON = Path(__file__).with_name("no_daemon.yaml")
#: So many daemons start at a time: that is all that takes much of the processor.
_BEGINNINGS = threading.BoundedSemaphore(2 * (os.cpu_count() or 1))
#: net.ipv4.ip_local_port_range of a new namespace.
_EPHEMERAL = range(32768, 61000)


@dataclass
class Played:
    """What was said in a case. wrong: nothing, if all of it is right."""

    case: Case
    wrong: list[str] = field(default_factory=list)
    seconds: float = 0.0
    doctor: str = ""
    alone: str = ""  # doctor without a daemon: one look
    findings: Sequence[Finding] = ()


def play(case: Case) -> Played:
    """Play one case; what goes wrong in the making is told as wrong, too."""
    played = Played(case)
    try:
        _play(case, played)
    except Exception as error:  # noqa: BLE001 - one case that cannot be made is not the others' fault
        played.wrong.append(f"cannot be made: {error!r}")
    return played


def _play(case: Case, played: Played) -> None:
    with ExitStack() as stack:
        world = stack.enter_context(small_world())
        cgroup = stack.enter_context(tree())
        stack.callback(_end, world)
        command = [*world.within(), sys.executable, "-m", "tests.cases.play"]
        own = stack.enter_context(world.own())
        with _BEGINNINGS:
            daemon = stack.enter_context(running_daemon(own, prefix=world.seeing))
        daemon.wait_for_polls()
        errors = stack.enter_context((daemon.log_file.parent / "case").open("w+"))
        situation = subprocess.Popen(
            [*command, case.name, str(cgroup)], stdout=subprocess.PIPE, stderr=errors, text=True
        )
        assert situation.stdout is not None
        if "READY" not in situation.stdout.readline():
            situation.wait()
            errors.seek(0)
            raise RuntimeError(errors.read()[-1500:])
        _watch(case, played, daemon, world)
        played.wrong += _labels(case, daemon)
        played.doctor = _doctor(world, "text")
        played.alone = _doctor(world, "text", alone=True)
        if not re.search(case.alone, played.alone.partition("\n")[0]):
            played.wrong.append(f"doctor without a daemon says no {case.alone!r}")
        for finding in roots(json.loads(_doctor(world, "json", alone=True))["findings"]):
            if finding["detector"] not in case.welcome:
                played.wrong.append(f"doctor without a daemon: {in_words(finding)}")
        answer = json.loads(_doctor(world, "json"))
        played.findings = answer["findings"] or played.findings
        if case.expects:
            played.wrong += [f"doctor: {w}" for w in judge(case.expects, answer["findings"])]
        elif answer["status"] != "ok":
            said = "; ".join(map(in_words, answer["findings"])) or played.doctor.splitlines()[0]
            played.wrong.append(f"doctor: {answer['status']}: {said}")
        if situation.poll() is not None:
            errors.seek(0)
            played.wrong.append(f"the situation has ended: {errors.read()[-1500:]}")
        words = " ".join(played.doctor.split())
        played.wrong += [f"doctor says no {it!r}" for it in case.says if not re.search(it, words)]


def _watch(case: Case, played: Played, daemon: RunningDaemon, world: World) -> None:
    """Look until the findings are as expected or, if there are to be none, for as long as asked."""
    begun, right_since = time.monotonic(), None
    told: set[str] = set()
    while (seconds := time.monotonic() - begun) < (case.within if case.expects else case.watched):
        found = _findings(daemon, world)
        played.findings = found or played.findings
        for finding in roots(found):
            subject = json.dumps([finding["detector"], finding["subject"]])
            if finding["detector"] not in case.welcome and subject not in told:
                told.add(subject)
                played.wrong.append(f"said after {seconds:.0f} s: {in_words(finding)}")
        wrong = judge(case.expects, found)
        if not case.expects or wrong:
            right_since = None
        elif right_since is None:
            right_since = seconds
        elif seconds - right_since >= case.settled:
            played.seconds = right_since
            return
        time.sleep(_LOOKS_EVERY)
    if case.expects:
        played.wrong += [f"daemon, after {case.within:.0f} s: {it}" for it in wrong]


def _labels(case: Case, daemon: RunningDaemon) -> list[str]:
    """Return which ports of clients are labels of metrics."""
    try:
        text = daemon.get("/metrics").body.decode()
    except OSError:
        return []
    named = re.findall(r'^(\w+){(?:[^}]*,)?port="([0-9]+)"', text, re.MULTILINE)
    clients = {
        metric: port
        for metric, port in named
        if int(port) in _EPHEMERAL and int(port) not in case.ports
    }
    return [f"ports of clients are labels: {clients}"] * bool(clients)


def _findings(daemon: RunningDaemon, world: World) -> list[Finding]:
    try:
        answer = json.loads(daemon.get("/api/v1/observation").body)
    except OSError:  # in a case that leaves no local port for anybody
        found: list[Finding] = json.loads(_doctor(world, "json"))["findings"]
        return found
    return [found for one in answer["namespaces"] for found in one["findings"] or ()]


def _doctor(world: World, form: str, *, alone: bool = False) -> str:
    command = [*world.within(), sys.executable, "-m", "sockmon", "doctor", "--format", form]
    if alone:
        command.append(f"--config={_NO_DAEMON}")
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def _end(world: World) -> None:
    """End what is in the world, so that its cgroups can go."""
    subprocess.run(["kill", "-KILL", str(world.init)], check=False)
