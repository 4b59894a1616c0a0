"""Programs of their own that hold sockets: their names, PIDs and descriptors are real."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sockmon.drill.lab.netns import NetNs

PROGRAM = Path(__file__).with_name("holder.py")


@dataclass(frozen=True, slots=True)
class Holder:
    """A running holder.py: `port` is its listener's, 0 if it has none."""

    process: subprocess.Popen[str]
    port: int
    children: tuple[int, ...]

    @property
    def pids(self) -> set[int]:
        """Its own and its children's."""
        return {self.process.pid, *self.children}

    def go_on(self) -> tuple[int, ...]:
        """Let it take its next step; return the PIDs of its children then."""
        assert self.process.stdin is not None
        self.process.stdin.write("go on\n")
        self.process.stdin.flush()
        return _told(self.process)[1:]


@contextmanager
def holding(netns: NetNs, what: str, count: int, program: Path = PROGRAM) -> Iterator[Holder]:
    """Run holder.py, or a copy of it under another name, until the context ends."""
    with netns.popen([sys.executable, str(program), what, str(count)]) as process:
        try:
            port, *children = _told(process)
            yield Holder(process, port, tuple(children))
        finally:
            process.kill()


def _told(process: subprocess.Popen[str]) -> tuple[int, ...]:
    assert process.stdout is not None
    return tuple(map(int, process.stdout.readline().split()))
