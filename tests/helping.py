"""The privileged helper, `sockmon netns-helper`, in a small world of its own."""

import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from sockmon.kernel.netns.discovery import Place
from sockmon.kernel.netns.helper.client import HelperAccess
from tests.lab import PATIENCE, NetNs, eventually
from tests.resident import inode_of
from tests.world import World, child_of, small_world

_CAPABILITIES = "-all,+sys_admin,+sys_ptrace"
#: All that its unit leaves to it.
CONFINED = ("setpriv", f"--bounding-set={_CAPABILITIES}", f"--inh-caps={_CAPABILITIES}")


class RunningHelper:
    """The helper, and where it listens."""

    def __init__(self, directory: Path, world: World, command: Sequence[str]) -> None:
        self.socket = str(directory / "socket")
        self._log = directory / "log"
        self._world = world
        self._command = command

    def start(self) -> None:
        """Start it, or start it again; it listens when this returns."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*self._world.within(), *self._command, f"--socket={self.socket}"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        eventually(self._listens)

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal; if that ends it, it has ended when this returns."""
        subprocess.run(["kill", f"-{number.name.removeprefix('SIG')}", str(self.pid)], check=True)
        if number != signal.SIGSTOP:
            self._process.send_signal(signal.SIGCONT)  # nsenter stops when its child does
        if number in (signal.SIGKILL, signal.SIGTERM):
            self._process.wait(timeout=PATIENCE)

    def end(self) -> None:
        """End it, if it has not ended."""
        if self._process.poll() is None:
            self.signal(signal.SIGKILL)

    @contextmanager
    def resident(self, netns: NetNs) -> Iterator[None]:
        """A process in its world and in the namespace."""
        command = [*self._world.within(netns), "sh", "-c", "echo there; exec cat"]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "there\n"
            yield

    def log(self) -> list[str]:
        """The lines that it has logged."""
        return self._log.read_text().splitlines()

    @property
    def pid(self) -> int:
        """Its PID as seen here."""
        return child_of(self._process.pid)

    def open_files(self) -> int:
        return sum(1 for _ in Path(f"/proc/{self.pid}/fd").iterdir())

    def _listens(self) -> bool:
        assert self._process.poll() is None, self.log()
        listed = self._world.host.call(Path("/proc/thread-self/net/unix").read_text).splitlines()
        # The fourth column has __SO_ACCEPTCON after listen(); a bound socket is listed before that.
        return any(line.endswith(self.socket) and line.split()[3] == "00010000" for line in listed)


@contextmanager
def running_helper(*arguments: str, prefix: Sequence[str] = CONFINED) -> Iterator[RunningHelper]:
    """Run the helper until the context is left."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        directory.chmod(0o755)  # others may try to connect
        world = stack.enter_context(small_world())
        command = [*prefix, sys.executable, "-m", "sockmon", "netns-helper", *arguments]
        helper = RunningHelper(directory, world, command)
        helper.start()
        try:
            yield helper
        finally:
            helper.end()


def looked(access: HelperAccess, netns: NetNs) -> Place:
    """Where the helper has found the namespace."""
    return access.look()[f"net:{inode_of(netns)}"]
