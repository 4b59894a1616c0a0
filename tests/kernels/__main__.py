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

#: What is tested, for the reader, and by which tests of tests/live. Those that ask for the helper's
#: processor time are not among them: a guest measures that in ticks of 10 ms.
PARTS: Mapping[str, tuple[str, ...]] = {
    "counts in every state, as ss counts; ports, drops, UDP": ("test_counts.py",),
    "ages and leaks": ("test_close_wait.py",),
    "owners": ("test_owners.py::TestALeak", "test_owner_sockets.py"),
    "queues": (
        "test_queues.py::test_a_server_that_accepts_nobody",
        "test_queues.py::test_a_unix_server_that_accepts_nobody",
        "test_queues.py::test_requests_that_nobody_reads",
    ),
    "namespaces": ("test_namespaces.py",),
    "daemon and alert": (
        "test_alerts.py::test_an_alert_lives_through_kill_9_and_ends_with_its_cause",
    ),
    "helper": (
        "test_netns_helper.py::test_a_daemon_without_privilege_counts_what_ss_counts_inside",
        "test_netns_helper.py::test_a_leak_is_found_and_ends_with_its_namespace",
    ),
    "user namespaces, hidden files": ("test_setups.py",),
}
PAGE = REPOSITORY / "docs" / "compatibility.md"
_BEGIN, _END = "<!-- kernels: begin -->", "<!-- kernels: end -->"
_RESULT = re.compile(r"^tests/live/(.*?) (PASSED|FAILED|ERROR|SKIPPED) +\[", re.MULTILINE)
_SECONDS = 1800
#: IPv4-mapped addresses take the same ways as IPv6.
_WANTED = "not mapped"


@dataclass(frozen=True, slots=True)
class Run:
    """What happened on one kernel. results: how each test ended."""

    release: str
    results: Mapping[str, str]
    output: str
    status: int

    def cell(self, part: tuple[str, ...]) -> str:
        """Say in the table how a part went."""
        counts = Counter(end for test, end in self.results.items() if test.startswith(part))
        bad = counts["FAILED"] + counts["ERROR"]
        if not counts:
            return "not run"
        return f"{bad} of {counts.total()} fail" if bad else f"{counts['PASSED']} pass"


def run(version: str) -> Run:
    """Run all parts on one kernel, in one guest."""
    wanted = [f"tests/live/{test}" for part in PARTS.values() for test in part]
    done = run_pytest(version, "-v", "--tb=short", "-k", _WANTED, *wanted, seconds=_SECONDS)
    release = boot(version, "uname", "-r").stdout.strip()
    results = dict(_RESULT.findall(done.stdout))
    return Run(release, results, done.stdout + done.stderr, done.returncode)


def table(runs: Mapping[str, Run], date: dt.date) -> str:
    """Return the table in Markdown."""
    head = ["", *(its.release for its in runs.values())]
    rows = [[name, *(its.cell(part) for its in runs.values())] for name, part in PARTS.items()]
    lines = ["| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows)]
    return "\n".join([f"Run on {date.isoformat()}:", "", *lines])


def main() -> int:
    """Return the exit status: 1 if a test has failed anywhere."""
    parser = argparse.ArgumentParser(description="Run the live tests on other kernels.")
    parser.add_argument("versions", nargs="*", default=VERSIONS, metavar="VERSION")
    versions = parser.parse_args().versions
    install(versions)
    runs: dict[str, Run] = {}
    for version in versions:
        sys.stdout.write(f"Linux {version} ...\n")
        sys.stdout.flush()
        runs[version] = run(version)
        if runs[version].status != 0:
            sys.stdout.write(f"{runs[version].output}\n")
        if tuple(versions) == VERSIONS:
            write(runs)  # at once: a later one may be interrupted
    sys.stdout.write(f"{table(runs, today())}\n")
    return int(any(its.status for its in runs.values()))


def today() -> dt.date:
    """Return the date of the table."""
    return dt.datetime.now(tz=dt.UTC).date()


def write(runs: Mapping[str, Run]) -> None:
    """Replace the table in the document."""
    before, _, rest = PAGE.read_text().partition(_BEGIN)
    after = rest.partition(_END)[2]
    PAGE.write_text(f"{before}{_BEGIN}\n{table(runs, today())}\n{_END}{after}")


if __name__ == "__main__":
    sys.exit(main())
