"""`make test`: all tests in some processes. `make coverage`: also what code they run."""

import os
import subprocess
import sys

#: Most tests that take long wait for most of that time, so there are more processes than cores. The
#: tests of a file share what is expensive to make; tests/packing.py puts the longest first.
_SCHEDULE = ["-n", str(2 * (os.cpu_count() or 1)), "--dist", "loadfile", "--no-loadscope-reorder"]

#: The lowest share of the code that all tests together may run, in percent.
_COVERED = 90


def main(*arguments: str) -> int:
    tests = ["-m", "pytest", *_SCHEDULE, "--durations", "8"]
    if arguments[:1] != ("--coverage",):
        return _python(*tests, *arguments)
    _python("-m", "coverage", "erase")
    status = _python("-m", "coverage", "run", *tests, *arguments[1:])
    _python("-m", "coverage", "combine", "--quiet")
    return status or _python("-m", "coverage", "report", f"--fail-under={_COVERED}")


def _python(*arguments: str) -> int:
    """Run Python, and return its exit status."""
    return subprocess.run([sys.executable, *arguments], check=False).returncode


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
