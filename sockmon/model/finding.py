"""A finding: what is wrong, where, who must act, and what helps, as data."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from sockmon.language import Text
from sockmon.model.direction import Direction
from sockmon.model.owner import Group, Owner

Severity = Literal["warning", "critical"]

#: Least serious first.
SEVERITIES: tuple[Severity, ...] = ("warning", "critical")

Unit = Literal[
    "seconds", "bytes", "sockets", "count", "ratio", "port", "per_second", "per_minute", "text"
]
UNITS: tuple[Unit, ...] = get_args(Unit)

#: Where a command runs: in the daemon's namespace, in the finding's, or on the other host.
Where = Literal["here", "namespace", "peer"]
#: Whether a command only reads, or changes something.
Effect = Literal["reads", "changes"]
#: What an advice is for: to stop the damage now, to find the bug, or to see the evidence.
Purpose = Literal["stop", "fix", "look"]
PURPOSES: tuple[Purpose, ...] = ("stop", "fix", "look")


class Quantity(NamedTuple):
    """A value and its unit; a ratio is 0 to 1, `text` is a str, all others are numbers."""

    value: float | str
    unit: Unit


#: Several named quantities of one kind, such as sockets by peer, most important first; names that
#: are words are Texts.
Breakdown = tuple[tuple[str, Quantity], ...]
Evidence = Mapping[str, Quantity | Breakdown]


@dataclass(frozen=True, slots=True)
class Command:
    """One command line for a shell, complete but for what enters its namespace."""

    line: str
    where: Where = "namespace"
    effect: Effect = "reads"


@dataclass(frozen=True, slots=True)
class Advice:
    """A sentence or two, and the command that does or shows it, if there is one."""

    text: Text
    command: Command | None = None
    purpose: Purpose = "fix"


@dataclass(frozen=True, slots=True)
class Deadline:
    """What fails, and in how many seconds if nothing changes."""

    what: Text
    seconds: float


@dataclass(frozen=True, slots=True)
class Subject:
    """What a finding is about; None where the diagnosis has no such part.

    `owner` is an Owner's label: bounded, and fit for a metric. `path`: of a Unix socket, as
    unix_listeners.shown_path() returns it, which is bounded too.
    """

    direction: Direction | None = None
    port: int | None = None
    owner: str | None = None
    path: str | None = None


class FindingKey(NamedTuple):
    """What makes a finding the same from poll to poll."""

    detector: str
    netns: str
    subject: Subject


@dataclass(frozen=True, slots=True)
class Finding:
    """One diagnosis.

    value, limit: in the detector's own unit: sockets, or a ratio of 0 to 1.
    critical_because: a clause that explains the severity where the summary does not.
    owner: who holds the sockets, where that is known. actor: who must act, if not the one whom the
    detector names. deadline: when something fails.
    cause: the finding that causes this one. note: it is no trouble, but worth a line in doctor's
    answer: no alert. entry: what runs a command inside the finding's
    namespace when put before it; empty in the daemon's own. passing: its port was used for a
    connection or two, and is not shown.
    group, inodes: whose processes are worth finding out, and by which sockets; others: the same of
    other groups that it names. rows: of the poll's table, while that is judged. None are shown.
    """

    detector: str
    severity: Severity
    netns: str
    subject: Subject
    value: float
    limit: float
    summary: Text
    evidence: Evidence
    advice: tuple[Advice, ...]
    owner: Owner | None = None
    actor: Text | None = None
    critical_because: Text | None = None
    deadline: Deadline | None = None
    cause: FindingKey | None = None
    note: bool = False
    entry: str = ""
    passing: bool = False
    group: Group | None = field(default=None, compare=False, repr=False)
    inodes: tuple[int, ...] = field(default=(), compare=False, repr=False)
    others: tuple[tuple[Group, tuple[int, ...]], ...] = field(default=(), compare=False, repr=False)
    rows: NDArray[np.intp] | None = field(default=None, compare=False, repr=False)

    @property
    def key(self) -> FindingKey:
        """Return what makes it the same finding from poll to poll."""
        return FindingKey(self.detector, self.netns, self.subject)

    @property
    def place(self) -> tuple[object, ...]:
        """What it is about, but for the owner, whom not everybody who finds it may know."""
        its = self.subject
        where = its.port if its.direction else its.owner
        return self.detector, self.netns, its.direction, where, its.path

    def command_line(self, command: Command) -> str:
        """Return the command as it is to be typed on this host, or on the peer."""
        inside = self.entry and command.where == "namespace"
        return f"{self.entry} {command.line}" if inside else command.line


def worst_first(found: Iterable[Finding]) -> list[Finding]:
    """Sort by severity, then the time until something fails, then the excess over the limit.

    A cause stands directly before its symptoms, where the worst of them would stand.
    """
    found = list(found)
    by_key = {finding.key: finding for finding in reversed(found)}
    roots = [_root(finding, by_key) for finding in found]
    best: dict[int, _Rank] = {}  # by identity: where owners are unknown, two may have one key
    for finding, root in zip(found, roots, strict=True):
        best[id(root)] = min(best.get(id(root), _rank(finding)), _rank(finding))

    def place(pair: tuple[Finding, Finding]) -> tuple[Any, ...]:
        finding, root = pair
        return best[id(root)], found.index(root), finding is not root, _rank(finding)

    return [finding for finding, _ in sorted(zip(found, roots, strict=True), key=place)]


_Rank = tuple[bool, float, float]


def _rank(finding: Finding) -> _Rank:
    left = finding.deadline.seconds if finding.deadline else float("inf")
    return finding.severity != "critical", left, -finding.value / (finding.limit or 1)


def _root(finding: Finding, by_key: Mapping[FindingKey, Finding]) -> Finding:
    """Follow causes as far as they are among the findings; a circle ends where it closes."""
    passed = {finding.key}
    while finding.cause and finding.cause in by_key and finding.cause not in passed:
        finding = by_key[finding.cause]
        passed.add(finding.key)
    return finding
