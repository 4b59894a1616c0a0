"""`sockmon count --events` counts for a while what a single look cannot see."""

import json
import signal
import subprocess
import sys

import pytest

from tests.eventing import held_by
from tests.lab import PATIENCE, NetNs, eventually
from tests.live.test_events_counted import PORT, play

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("free_rows")]


def test_it_tells_what_has_happened_meanwhile(netns: NetNs) -> None:
    command = [sys.executable, "-m", "sockmon", "count", "--events=10m", "--format=json"]
    with netns.popen(command) as process:
        eventually(lambda: any(kind == "prog" for kind, _ in held_by(process.pid)))
        true = play(netns, 3)
        process.send_signal(signal.SIGINT)
        told, _ = process.communicate(timeout=PATIENCE)
    groups = {
        (group["direction"], group["port"]): group
        for group in json.loads(told)["groups"]
        if group["netns"] == "host"
    }
    assert groups["inbound", PORT]["opened"] == true["inbound", PORT]["opened"]
    assert groups["outbound", PORT + 1]["failed"] == {"refused": 3}
    assert groups["inbound", PORT]["aborted"] == {"here": 3, "there": 3, "timeout": 0}


def test_what_it_leaves_out_in_other_namespaces_it_says(netns: NetNs) -> None:
    command = [sys.executable, "-m", "sockmon", "count", "--events=10m", "--format=json"]
    with netns.popen(command) as process, NetNs() as other:
        eventually(lambda: any(kind == "prog" for kind, _ in held_by(process.pid)))
        play(other, 3)
        process.send_signal(signal.SIGINT)
        told, _ = process.communicate(timeout=PATIENCE)
    answer = json.loads(told)
    assert {group["netns"] for group in answer["groups"]} <= {"host"}
    (hint,) = answer["hints"]
    number, _, words = hint.partition(" ")
    assert words == "ends of connections in other network namespaces not shown: --namespaces all"
    assert int(number.replace(",", "")) >= 3 * 11


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--events=ten"], "--events: 'ten': expected a duration such as 5s, 10m or 1h"),
        (["--events=30h"], "--events: '30h': expected up to 24h"),
        (["--events=1s", "--by=port"], "--by does not go with --events"),
        (["--events=1s", "--replay=fault.rec"], "--replay does not go with --events"),
    ],
)
def test_a_mistake_costs_one_line(arguments: list[str], says: str) -> None:
    command = [sys.executable, "-m", "sockmon", "count", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"sockmon: {says}\n")


def test_without_privilege_it_says_what_is_needed() -> None:
    nothing = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]
    command = [*nothing, sys.executable, "-m", "sockmon", "count", "--events=1s"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "it needs CAP_BPF and CAP_PERFMON" in done.stderr
    assert done.stderr.count("\n") == 1
