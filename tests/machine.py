"""A Debian server with systemd as its first process: `systemd-nspawn --boot` over an overlay.

Nothing it does outlives it: its root is .components/machine (made once by
tests/install-components) under a file system in memory, and it has a network of its own with
nothing but loopback.
"""

import os
import secrets
import subprocess
import threading
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.cgroups import living_in, make, tree
from tests.conftest import MACHINE
from tests.lab import PATIENCE, eventually
from tests.world import World


@dataclass
class Machine:
    """A booted machine. Commands run inside all of its namespaces, as root.

    unit: whose cgroup it has on the host, as if systemd-nspawn@.service had started it.
    """

    leader: int
    unit: str
    console: list[bytes] = field(default_factory=list)

    @property
    def root(self) -> Path:
        """Its file system, from outside."""
        return Path(f"/proc/{self.leader}/root")

    def run(
        self, *command: str, check: bool = True, user: str | None = None, text: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command inside; its output is in the error if it fails and `check` holds."""
        as_user = () if user is None else ("setpriv", f"--reuid={user}", "--clear-groups")
        done = subprocess.run(
            ["nsenter", f"--target={self.leader}", "--all", "--root", "--", *as_user, *command],
            input=text,
            stdin=subprocess.DEVNULL if text is None else None,
            capture_output=True,
            text=True,
            check=False,
            env=_ENVIRONMENT,
        )
        assert not check or done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done

    def show(self, unit: str, name: str) -> str:
        """One property of a unit."""
        return self.run("systemctl", "show", "--value", f"--property={name}", unit).stdout.strip()

    def journal(self, unit: str) -> str:
        """What a unit, and systemd of it, have logged since the boot."""
        return self.run("journalctl", "--boot", "--no-pager", "--output=cat", "-u", unit).stdout


_ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG": "C.UTF-8",
    "DEBIAN_FRONTEND": "noninteractive",
}


@contextmanager
def booted(
    binds: Mapping[Path, str] | None = None, world: World | None = None
) -> Iterator[Machine]:
    """Boot a new machine; `binds` are seen inside under their values, read-only.

    world: the one in which its processes are.
    """
    unit = f"systemd-nspawn@{secrets.token_hex(6)}.service"
    with tree() as top:  # machines that share a cgroup would share the cgroups of their units
        with living_in(make(top / "machine.slice" / unit)):
            process, control = _start(binds or {}, world)
        console: list[bytes] = []
        reader = threading.Thread(target=_drain, args=(control, console), daemon=True)
        reader.start()
        try:
            machine = eventually(lambda: _up(process, unit, console))
            assert machine is not None
            yield machine
        finally:
            process.terminate()  # halts it in good order
            try:
                process.wait(timeout=PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            reader.join()
            os.close(control)


def _start(binds: Mapping[Path, str], world: World | None) -> tuple[subprocess.Popen[bytes], int]:
    """Start it; return also the controlling end of its terminal."""
    control, terminal = os.openpty()
    command = [*world.seeing] if world else ["setpriv", "--pdeathsig=KILL"]
    command += ["systemd-nspawn", "--quiet", "--boot"]
    command += ["--register=no", "--keep-unit", "--private-network", "--link-journal=no"]
    command += ["--volatile=overlay", f"--directory={MACHINE}"]
    # A server has all; systemd-nspawn gives these only if it is asked to.
    command += ["--capability=CAP_BPF,CAP_PERFMON", "--system-call-filter=bpf"]
    command += [f"--machine=sockmon-{uuid.uuid4().hex[:12]}"]
    command += [f"--bind-ro={outside}:{inside}" for outside, inside in binds.items()]

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            command, stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True
        )

    if world is None:
        process = start()
    else:
        with world.own() as netns:
            process = netns.call(start)
    os.close(terminal)
    return process, control


def _up(process: subprocess.Popen[bytes], unit: str, console: list[bytes]) -> Machine | None:
    """Return the machine once its systemd has started everything."""
    if process.poll() is not None:
        raise RuntimeError(f"systemd-nspawn has ended: {b''.join(console).decode()}")
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    if len(children) != 1:
        return None
    machine = Machine(int(children[0]), unit, console)  # at first that of nspawn's own preparations
    state = machine.run("systemctl", "is-system-running", check=False).stdout.strip()
    return machine if state in ("running", "degraded") else None


def _drain(control: int, console: list[bytes]) -> None:
    while True:
        try:
            data = os.read(control, 65536)
        except OSError:
            return  # the other side has closed
        console.append(data)
