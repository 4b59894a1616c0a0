"""`make test`: all tests in two processes, with the coverage of what they start."""

import subprocess
import sys


def main() -> int:
    coverage = [sys.executable, "-m", "coverage"]
    subprocess.run([*coverage, "erase"], check=True)
    arguments = ["-n", "2", "--dist", "worksteal", "--durations", "8", *sys.argv[1:]]
    tests = subprocess.run([*coverage, "run", "-m", "pytest", *arguments], check=False)
    subprocess.run([*coverage, "combine", "--quiet"], check=False)
    if tests.returncode != 0 or sys.argv[1:]:
        return tests.returncode
    return subprocess.run([*coverage, "report", "--fail-under", "90"], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
