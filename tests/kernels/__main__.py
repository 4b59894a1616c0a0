"""`make kernels`: the live tests on other kernels, and the tables of docs/compatibility.md.

python -m tests.kernels                    # all of them, and write the tables
python -m tests.kernels 5.10 6.1-amd64     # these, and print what happened
"""

import argparse
import datetime as dt
import re
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from tests.conftest import REPOSITORY
from tests.kernels.guest import MACHINES, VERSIONS, boot, install, run_pytest


class Part(NamedTuple):
    """What is tested, for the reader; by which tests, below tests/; with which cgroups."""

    name: str
    tests: tuple[str, ...]
    cgroups: str = "v2"


_COUNTED_INSIDE = "test_a_daemon_without_privilege_counts_what_ss_counts_inside"
_ENDS = "test_a_leak_is_found_and_ends_with_its_namespace"
_DESTROYS = "test_what_is_passed_destroys_no_socket_whoever_has_opened_it"
_KILLED = "test_an_alert_lives_through_kill_9_and_ends_with_its_cause"
_REFUSED = Part("events: refused in words", ("kernels/check_events.py",))
_CGROUPS = ("kernels/check_cgroups.py",)

#: What is tested where kernels run as processes. Tests that ask for the helper's processor time are
#: not among them: such a guest measures that in ticks of 10 ms.
PARTS: tuple[Part, ...] = (
    Part("counts in every state, as ss counts; ports, drops, UDP", ("live/test_counts.py",)),
    Part("ages and leaks", ("live/test_close_wait.py",)),
    Part("owners", ("live/test_owners.py::TestALeak", "live/test_owner_sockets.py")),
    Part(
        "queues",
        (
            "live/test_queues.py::test_a_server_that_accepts_nobody",
            "live/test_queues.py::test_a_unix_server_that_accepts_nobody",
            "live/test_queues.py::test_requests_that_nobody_reads",
        ),
    ),
    Part("namespaces", ("live/test_namespaces.py",)),
    Part("daemon and alert", (f"live/test_alerts.py::{_KILLED}",)),
    Part(
        "helper",
        (
            f"live/test_netns_helper.py::{_COUNTED_INSIDE}",
            f"live/test_netns_helper.py::{_ENDS}",
            f"live/test_netns_helper_safety.py::{_DESTROYS}",
        ),
    ),
    Part("user namespaces, hidden files", ("live/test_setups.py",)),
    Part("units with cgroup v1 alone", _CGROUPS, "v1"),
    Part("units with cgroup v1 and v2", _CGROUPS, "hybrid"),
    _REFUSED,
)
#: What is tested on the kernels of Debian's servers: what kernels that run as processes lack.
MACHINE_PARTS: tuple[Part, ...] = (
    Part(
        "events: accepted by the verifier, counted exactly",
        ("live/test_events_counted.py",),  # a daemon takes minutes to start there
    ),
    _REFUSED,
    Part("sockets that the helper passes destroy none", PARTS[6].tests[2:]),
)
#: Linux before 5.12.
WITHOUT_EVENTS = frozenset({"5.10-amd64"})
PAGE = REPOSITORY / "docs" / "compatibility.md"
_BEGIN, _END = "<!-- kernels: begin -->", "<!-- kernels: end -->"
_RESULT = re.compile(r"^tests/(.*?) (PASSED|FAILED|ERROR|SKIPPED) +\[", re.MULTILINE)
_SECONDS = 3600
#: IPv4-mapped addresses take the same ways as IPv6. Emulated, thousands a second take minutes.
_WANTED = "not mapped and not thousands_a_second"


@dataclass(frozen=True, slots=True)
class Run:
    """What happened on one kernel. results: by cgroups and test, how each ended."""

    release: str
    results: Mapping[tuple[str, str], str]
    output: str
    status: int

    def cell(self, part: Part) -> str:
        """Say in the table how a part went."""
        counts = Counter(
            end
            for (cgroups, test), end in self.results.items()
            if cgroups == part.cgroups and test.startswith(part.tests)
        )
        bad = counts["FAILED"] + counts["ERROR"]
        if not counts:
            return ""
        return f"{bad} of {counts.total()} fail" if bad else f"{counts['PASSED']} pass"


def parts_of(version: str) -> Sequence[Part]:
    """Return what is tested on a kernel."""
    if version not in MACHINES:
        return PARTS
    counted, refused, destroys = MACHINE_PARTS
    return [refused if version in WITHOUT_EVENTS else counted, destroys]


def run(version: str) -> Run:
    """Run all parts on one kernel, in one guest for each way to mount cgroups."""
    parts = parts_of(version)
    results: dict[tuple[str, str], str] = {}
    output, status = "", 0
    for cgroups in dict.fromkeys(part.cgroups for part in parts):
        wanted = [
            f"tests/{test}" for part in parts if part.cgroups == cgroups for test in part.tests
        ]
        options = ("-v", "--tb=short", "-k", _WANTED)
        done = run_pytest(version, *options, *wanted, cgroups=cgroups, seconds=_SECONDS)
        results |= {(cgroups, test): end for test, end in _RESULT.findall(done.stdout)}
        output += done.stdout + done.stderr
        status = status or done.returncode
    release = boot(version, "uname", "-r").stdout.strip()
    return Run(release, results, output, status)


def table(runs: Mapping[str, Run], versions: Sequence[str], parts: Sequence[Part]) -> str:
    """Return the table of some kernels in Markdown."""
    shown = [runs[version] for version in versions if version in runs]
    head = ["", *(its.release for its in shown)]
    rows = [[part.name, *(its.cell(part) for its in shown)] for part in parts if shown]
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows))


def tables(runs: Mapping[str, Run], date: dt.date) -> str:
    """Return what the document says of all runs."""
    return "\n".join(
        [
            f"Run on {date.isoformat()}. Kernels that run as processes (User Mode Linux):",
            "",
            table(runs, VERSIONS, PARTS),
            "",
            "The kernels of Debian's servers, under QEMU's software emulation:",
            "",
            table(runs, MACHINES, MACHINE_PARTS),
        ]
    )


def main() -> int:
    """Return the exit status: 1 if a test has failed anywhere."""
    everything = (*VERSIONS, *MACHINES)
    parser = argparse.ArgumentParser(description="Run the live tests on other kernels.")
    parser.add_argument("versions", nargs="*", default=everything, metavar="VERSION")
    versions = parser.parse_args().versions
    install(versions)
    runs: dict[str, Run] = {}
    for version in versions:
        sys.stdout.write(f"Linux {version} ...\n")
        sys.stdout.flush()
        runs[version] = run(version)
        if runs[version].status != 0:
            sys.stdout.write(f"{runs[version].output}\n")
        if tuple(versions) == everything:
            write(runs)  # at once: a later one may be interrupted
    sys.stdout.write(f"{tables(runs, today())}\n")
    return int(any(its.status for its in runs.values()))


def today() -> dt.date:
    """Return the date of the tables."""
    return dt.datetime.now(tz=dt.UTC).date()


def write(runs: Mapping[str, Run]) -> None:
    """Replace the tables in the document."""
    before, _, rest = PAGE.read_text().partition(_BEGIN)
    after = rest.partition(_END)[2]
    PAGE.write_text(f"{before}{_BEGIN}\n{tables(runs, today())}\n{_END}{after}")


if __name__ == "__main__":
    sys.exit(main())
