"""`make test`: all tests in some processes, with the coverage of what they start."""

import os
import subprocess
import sys

#: Most tests that take long wait for most of that time, so there are more processes than cores. The
#: tests of a file share what is expensive to make; tests/packing.py puts the longest first.
_SCHEDULE = ["-n", str(2 * (os.cpu_count() or 1)), "--dist", "loadfile", "--no-loadscope-reorder"]


def main() -> int:
    coverage = [sys.executable, "-m", "coverage"]
    subprocess.run([*coverage, "erase"], check=True)
    arguments = [*_SCHEDULE, "--durations", "8", *sys.argv[1:]]
    tests = subprocess.run([*coverage, "run", "-m", "pytest", *arguments], check=False)
    subprocess.run([*coverage, "combine", "--quiet"], check=False)
    if tests.returncode != 0 or sys.argv[1:]:
        return tests.returncode
    return subprocess.run([*coverage, "report", "--fail-under", "90"], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
