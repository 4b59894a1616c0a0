"""`make kernels`: the live tests on other kernels, and the table of docs/compatibility.md.

python -m tests.kernels               # all of them, and write the table
python -m tests.kernels 5.10 6.1      # these, and print what happened
"""

import argparse
import datetime as dt
import re
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from tests.conftest import REPOSITORY
from tests.kernels.guest import VERSIONS, boot, install, run_pytest

#: What is tested, for the reader, and by which tests.
PARTS: Mapping[str, tuple[str, ...]] = {
    "counts in every state, as ss counts": ("test_counts.py",),
    "ages and leaks": ("test_close_wait.py",),
    "owners": ("test_owners.py", "test_owner_sockets.py"),
    "accept queues and drops": ("test_queues.py",),
    "namespaces": ("test_namespaces_counts.py",),
    "daemon and alerts": ("test_alerts.py",),
    "helper": ("test_netns_helper.py",),
    "user namespaces, hidden files": ("test_setups.py",),
}
PAGE = REPOSITORY / "docs" / "compatibility.md"
_BEGIN, _END = "<!-- kernels: begin -->", "<!-- kernels: end -->"
_RESULT = re.compile(r"^tests/live/(\S+?)::(.*?) (PASSED|FAILED|ERROR|SKIPPED|XFAIL)", re.MULTILINE)
_SECONDS = 1800


@dataclass(frozen=True, slots=True)
class Run:
    """What happened on one kernel. results: by file, how many tests ended how."""

    release: str
    results: Mapping[str, Counter[str]]
    output: str
    status: int

    def cell(self, files: tuple[str, ...]) -> str:
        """Say in the table how a part went."""
        counts = sum((self.results.get(file, Counter()) for file in files), Counter[str]())
        bad = counts["FAILED"] + counts["ERROR"]
        if not counts:
            return "not run"
        return f"{bad} of {counts.total()} fail" if bad else f"{counts['PASSED']} pass"


def run(version: str) -> Run:
    """Run all parts on one kernel, in one guest."""
    files = [f"tests/live/{file}" for part in PARTS.values() for file in part]
    done = run_pytest(version, "-v", "--tb=short", *files, seconds=_SECONDS)
    results: dict[str, Counter[str]] = {}
    for file, _, outcome in _RESULT.findall(done.stdout):
        results.setdefault(file, Counter())[outcome] += 1
    release = boot(version, "uname", "-r").stdout.strip()
    return Run(release, results, done.stdout + done.stderr, done.returncode)


def table(runs: Mapping[str, Run], date: dt.date) -> str:
    """Return the table in Markdown."""
    head = ["", *(its.release for its in runs.values())]
    rows = [[part, *(its.cell(files) for its in runs.values())] for part, files in PARTS.items()]
    lines = ["| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows)]
    return "\n".join([f"Run on {date.isoformat()}:", "", *lines])


def main() -> int:
    """Return the exit status: 1 if a test has failed anywhere."""
    parser = argparse.ArgumentParser(description="Run the live tests on other kernels.")
    parser.add_argument("versions", nargs="*", default=VERSIONS, metavar="VERSION")
    versions = parser.parse_args().versions
    install(versions)
    runs = {}
    for version in versions:
        runs[version] = run(version)
        if runs[version].status != 0:
            sys.stdout.write(f"Linux {version}:\n{runs[version].output}\n")
    shown = table(runs, dt.datetime.now(tz=dt.UTC).date())
    sys.stdout.write(f"{shown}\n")
    if tuple(versions) == VERSIONS:
        before, _, rest = PAGE.read_text().partition(_BEGIN)
        after = rest.partition(_END)[2]
        PAGE.write_text(f"{before}{_BEGIN}\n{shown}\n{_END}{after}")
    return int(any(its.status for its in runs.values()))


if __name__ == "__main__":
    sys.exit(main())
