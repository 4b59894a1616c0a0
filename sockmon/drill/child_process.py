"""Processes that die with the process that started them, even if that is killed.

`python -m sockmon.drill.child_process PARENT COMMAND...` sets PR_SET_PDEATHSIG and becomes COMMAND.
It is a separate program, because the setting survives execve(), and because nothing may run between
fork() and execve() in a process that has threads.
"""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO

_PR_SET_PDEATHSIG = 1  # linux/prctl.h

#: What a service manager set for us and must not reach them: they are not services.
_NOT_INHERITED = ("NOTIFY_SOCKET", "STATE_DIRECTORY", "WATCHDOG_PID", "WATCHDOG_USEC")

_PACKAGES = Path(__file__).parents[2]


class StartError(Exception):
    """Why a process cannot be started, in one line."""


def python(module: str, *arguments: str) -> list[str]:
    """Return the command that runs one of our modules, never one in the current directory."""
    return [sys.executable, "-P", "-m", module, *arguments]


def start(
    argv: Sequence[str],
    *,
    stdout: int | IO[bytes] = subprocess.PIPE,
    stderr: int | IO[bytes] = subprocess.PIPE,
    pass_fds: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Start a command that dies with us; call it from the main thread, which must outlive it.

    Its standard input is a pipe: closing that asks it to end. It has its own process group, so that
    only we receive Ctrl-C. Raises StartError.
    """
    environment = {name: value for name, value in os.environ.items() if name not in _NOT_INHERITED}
    path = os.pathsep.join(filter(None, [str(_PACKAGES), os.environ.get("PYTHONPATH")]))
    try:
        return subprocess.Popen(  # noqa: S603 - our own program
            [*python("sockmon.drill.child_process", str(os.getpid())), *argv],
            stdin=subprocess.PIPE,
            stdout=stdout,
            stderr=stderr,
            pass_fds=pass_fds,
            process_group=0,
            env={**environment, "PYTHONPATH": path},
        )
    except OSError as error:
        raise StartError(f"cannot start {sys.executable}: {error.strerror}") from error


def end(process: subprocess.Popen[bytes], within: float) -> None:
    """Close its input and wait; kill it if that takes longer than `within` seconds."""
    with process:  # closes its other pipes
        assert process.stdin is not None
        process.stdin.close()
        try:
            process.wait(within)
        except subprocess.TimeoutExpired:
            process.kill()


def main(parent: int, argv: list[str]) -> None:
    """Become the command, tied to the parent."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() == parent:  # else it died before prctl()
        os.execvp(argv[0], argv)  # noqa: S606 - our own program, and no shell


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
