"""What the page is shown of: a daemon that polls often, and hosts in trouble."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.conftest import REPOSITORY
from tests.lab import NetNs

#: Alerts within seconds; what else there is does not run dry in them.
CONFIG = """
poll: {interval: 500ms}
detect:
  close_wait_leak: {stale_after: 2s, for: 1s, keep_firing_for: 1s}
  ephemeral_port_pressure: {for: 1s, keep_firing_for: 1s}
"""

#: The same for a host with containers.
OF_CONTAINERS = """
poll: {interval: 500ms, namespaces: all, cpu_budget: 1}
detect:
  close_wait_leak: {stale_after: 2s, for: 1s, keep_firing_for: 1s}
"""

WITHOUT_PRIVILEGE = ("setpriv", "--bounding-set=-all", "--inh-caps=-all")

LEAKING_SERVER = REPOSITORY / "tests" / "lab" / "leaking_server.py"


@contextmanager
def leaking(
    netns: NetNs,
    directory: Path,
    name: str,
    count: int,
    port: int = 8080,
) -> Iterator[None]:
    """A process of this name never closes `count` connections that its clients have closed."""
    program = directory / name
    program.symlink_to(sys.executable)
    with ExitStack() as stack:
        server = stack.enter_context(
            netns.popen([str(program), str(LEAKING_SERVER), "127.0.0.1", str(port), str(count)])
        )
        stack.callback(_end, server)
        assert server.stdout is not None
        assert server.stdout.readline() == "listening\n"
        for _ in range(count):
            with netns.socket() as client:  # closed: one that waits for the answer is no leak
                client.connect(("127.0.0.1", port))
                client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert server.stdout.readline() == f"leaked {count}\n"
        yield


def _end(server: subprocess.Popen[str]) -> None:
    server.kill()
    server.wait()
