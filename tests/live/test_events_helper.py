"""A daemon without privilege counts connections, with a program that its helper has loaded."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.eventing import held_by, listed
from tests.lab import PATIENCE, NetNs, eventually
from tests.live.test_events_counted import PORT, play
from tests.live.test_netns_helper import UNPRIVILEGED
from tests.running import RunningDaemon, running_daemon

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("free_rows")]

_CAPABILITIES = "-all,+bpf,+perfmon"
#: All that its unit leaves to it.
CONFINED = ("setpriv", f"--bounding-set={_CAPABILITIES}", f"--inh-caps={_CAPABILITIES}")


@contextmanager
def events_helper(
    socket: Path, prefix: tuple[str, ...] = CONFINED
) -> Iterator[subprocess.Popen[str]]:
    command = [*prefix, sys.executable, "-m", "sockmon", "events-helper", f"--socket={socket}"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            eventually(lambda: socket.is_socket() and process.poll() is None)
            yield process
        finally:
            process.terminate()


@pytest.fixture
def socket(tmp_path: Path) -> Path:
    tmp_path.chmod(0o755)
    return tmp_path / "events"


@pytest.fixture
def config(tmp_path: Path, socket: Path) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(
        f"poll: {{interval: 200ms, cpu_budget: 1}}\n"
        f"events: {{enabled: true, helper_socket: {socket}}}\n"
    )
    return path


def counted(daemon: RunningDaemon) -> dict[tuple[str, int], dict[str, int]]:
    """As play() returns it, from the daemon's API."""
    answer = json.loads(daemon.get("/api/v1/observation").body)
    (own,) = answer["namespaces"]
    found = {}
    for its in (own["connection_events"] or {"ports": []})["ports"]:
        told = {"opened": its["opened"]}
        for name in ("failed", "closed", "aborted"):
            told |= {f"{name}_{word}": number for word, number in its[name].items()}
        for name in ("connect", "close_wait", "lifetime"):
            histogram = its[f"{name}_seconds"]
            told[name] = sum(histogram["counts"]) if histogram else 0
        found[its["direction"], its["port"]] = {name: n for name, n in told.items() if n}
    return found


def is_counting(daemon: RunningDaemon) -> bool:
    (own,) = json.loads(daemon.get("/api/v1/observation").body)["namespaces"]
    return own["connection_events"] is not None


def of_ports(daemon: RunningDaemon) -> dict[tuple[str, int], dict[str, int]]:
    return {key: its for key, its in counted(daemon).items() if key[1] in (PORT, PORT + 1)}


def test_what_is_counted_is_exact_and_outlives_the_helper(
    netns: NetNs, config: Path, socket: Path
) -> None:
    command = ("--config", str(config))
    with (
        events_helper(socket) as helper,
        running_daemon(netns, *command, prefix=UNPRIVILEGED) as daemon,
    ):
        eventually(lambda: is_counting(daemon))
        helper.kill()
        helper.wait(PATIENCE)
        true = play(netns, 5)
        eventually(lambda: of_ports(daemon), until=true.__eq__)
        opened = daemon.samples("sockmon_connections_opened_total")
        labels = {"netns": "host", "direction": "inbound", "port": str(PORT)}
        assert opened[frozenset(labels.items())] == 25
        waited = daemon.samples("sockmon_close_wait_duration_seconds_count")
        assert waited[frozenset({"netns": "host", "direction": "inbound"}.items())] >= 10
        held = held_by(daemon.process.pid)
        assert held
        assert held <= listed()
    eventually(lambda: not held & listed())


def failures(daemon: RunningDaemon) -> str:
    answer = json.loads(daemon.get("/api/v1/observation").body)
    return "".join(failure["message"] for failure in answer["failures"])


def test_a_helper_that_is_not_there_is_told_of_and_found_later(
    netns: NetNs, config: Path, socket: Path
) -> None:
    with running_daemon(netns, "--config", str(config), prefix=UNPRIVILEGED) as daemon:
        said = eventually(lambda: failures(daemon))
        assert "counting events: asking the events helper: ENOENT" in said
        with events_helper(socket):
            eventually(lambda: is_counting(daemon))
        assert failures(daemon) == ""
        assert daemon.samples("sockmon_events_unattributed_total")


#: Loads a program of a kind that may not read the kernel's memory, as none may when it is locked
#: down: the verifier says the same of it.
_LOCKED_DOWN = """
from sockmon.kernel.errors import KernelError
from sockmon.kernel.events import bpf
from sockmon.kernel.events.assembler import R1, R2, R3, STACK, Assembler
bpf._RAW_TRACEPOINT_PROGRAM = 1  # a socket filter
a = Assembler()
a.alu_register(R3, "=", R1)
a.alu_register(R1, "=", STACK)
a.alu(R1, "+=", -8)
a.alu(R2, "=", 8)
a.call("probe_read_kernel")
a.exit()
try:
    bpf.load(a.program().code, "reads")
except KernelError as error:
    print(error)
"""


def test_a_kernel_that_is_locked_down_is_told_in_one_line() -> None:
    alone = ("setpriv", "--bounding-set=-all,+bpf", "--inh-caps=-all,+bpf")
    command = [*alone, sys.executable, "-c", _LOCKED_DOWN]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == (
        "loading the eBPF program: the kernel is locked down: no program may read its memory; see "
        "/sys/kernel/security/lockdown: counting needs none or [integrity], else set "
        "events.enabled to false\n"
    )


def test_bpf_that_a_filter_refuses_is_told_in_one_line(
    netns: NetNs, config: Path, socket: Path
) -> None:
    """As a unit with a SystemCallFilter= that lacks bpf."""
    refusing = (sys.executable, "-m", "tests.without_bpf")
    with (
        events_helper(socket, refusing) as helper,
        running_daemon(netns, "--config", str(config), prefix=UNPRIVILEGED) as daemon,
    ):
        said = eventually(lambda: failures(daemon))
        assert "making the eBPF map sockmon_sockets: EPERM" in said
        assert "SystemCallFilter=" in said
        helper.terminate()


def test_a_helper_that_may_not_load_says_what_it_needs(
    netns: NetNs, config: Path, socket: Path
) -> None:
    nothing = ("setpriv", "--bounding-set=-all", "--inh-caps=-all")
    with (
        events_helper(socket, nothing),
        running_daemon(netns, "--config", str(config), prefix=UNPRIVILEGED) as daemon,
    ):
        said = eventually(lambda: failures(daemon))
        assert "EPERM" in said
        assert "it needs CAP_BPF and CAP_PERFMON" in said
