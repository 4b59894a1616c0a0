"""A host of many namespaces, as container engines leave it: named, with known sockets inside.

It has a PID, mount and network namespace of its own, so that commands on it see its namespaces and
no other test's, and all of it ends with whoever started it.
"""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.lab import NetNs, experiments, states

NAMED = Path("/run/netns")
_HOST = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
_LASTING = 600

Pods = Mapping[str, Mapping[str, int]]  # by name: how many are `established`, and how many `leaked`


@dataclass(frozen=True, slots=True)
class PodHost:
    """netns: the host's own namespace. pid: its first process."""

    netns: NetNs
    pid: int
    process: subprocess.Popen[str]

    def command(self, *argv: str) -> tuple[str, ...]:
        """What runs a command on the host."""
        return ("nsenter", f"--target={self.pid}", "--mount", "--pid", "--net", *argv)

    def sockmon(self, *arguments: str, prefix: tuple[str, ...] = ()) -> tuple[str, ...]:
        return self.command(*prefix, sys.executable, "-m", "sockmon", *arguments)

    def run(self, *argv: str) -> subprocess.CompletedProcess[str]:
        """Run a command on the host, to its end."""
        return subprocess.run(argv, capture_output=True, text=True, check=False)

    def end(self, pod: str) -> None:
        """End what is in a pod, and its namespace with it."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{pod}\n")
        self.process.stdin.flush()
        self.process.stdout.readline()


@contextmanager
def pod_host(pods: Pods) -> Iterator[PodHost]:
    with NetNs() as netns:
        argv = [*_HOST, sys.executable, "-m", "tests.podhost", json.dumps(pods)]
        with netns.popen(argv) as process:
            assert process.stdout is not None
            try:
                assert process.stdout.readline() == "ready\n"
                children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
                yield PodHost(netns, int(children.read_text()), process)
            finally:
                process.kill()


def main(pods: Pods) -> None:
    """Be the host's first process: make the pods, and end those whose names are read."""
    subprocess.run(["mount", "-t", "tmpfs", "none", "/run"], check=True)
    NAMED.mkdir()
    made = {name: _populated(name, sockets) for name, sockets in pods.items()}
    _say("ready")
    for line in sys.stdin:
        made.pop(line.strip()).close()
        _say("ended")


def _say(word: str) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


def _unname(file: Path) -> None:
    subprocess.run(["umount", file], check=True)
    file.unlink()


def _populated(name: str, sockets: Mapping[str, int]) -> ExitStack:
    stack = ExitStack()
    netns = stack.enter_context(NetNs())
    file = NAMED / name
    file.touch()
    subprocess.run(["mount", "--bind", netns.path, file], check=True)
    stack.callback(_unname, file)
    if sockets.get("established"):
        stack.enter_context(states.established(netns, count=sockets["established"]))
    if sockets.get("leaked"):
        netns.set_sysctl("net.ipv4.tcp_fin_timeout", _LASTING)  # for the leak's other ends
        leaking = stack.enter_context(experiments.process_killed(netns, count=sockets["leaked"]))
        stack.callback(leaking.kill)
    return stack


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
