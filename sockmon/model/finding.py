"""What is wrong, with whom, and what to do: the value that alerts and people are told."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from sockmon.model.direction import Direction
from sockmon.model.owner import Group, Owner

Severity = Literal["warning", "critical"]

#: Least serious first.
SEVERITIES: tuple[Severity, ...] = ("warning", "critical")


@dataclass(frozen=True, slots=True)
class Subject:
    """What a finding is about; None where the diagnosis has no such part.

    `owner` is an Owner's label: bounded, and fit for a metric.
    """

    direction: Direction | None = None
    port: int | None = None
    owner: str | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """One diagnosis.

    value, limit: in the detector's own unit: sockets, or a ratio of 0 to 1.
    evidence: JSON-ready; ages in seconds; what cannot be known is left out.
    advice: sentences for the person on call, most useful first.
    owner: who holds the sockets, where that is known.
    group, inodes: whose processes are worth finding out, and by which sockets; not shown.
    """

    detector: str
    severity: Severity
    netns: str
    subject: Subject
    value: float
    limit: float
    summary: str
    evidence: Mapping[str, Any]
    advice: tuple[str, ...]
    owner: Owner | None = None
    group: Group | None = field(default=None, compare=False, repr=False)
    inodes: tuple[int, ...] = field(default=(), compare=False, repr=False)

    @property
    def key(self) -> tuple[str, str, Subject]:
        """What makes it the same finding from poll to poll."""
        return self.detector, self.netns, self.subject


FindingKey = tuple[str, str, Subject]


def worst_first(found: Iterable[Finding]) -> list[Finding]:
    """Sort critical before warning, then by how far beyond the limit."""
    return sorted(found, key=lambda f: (f.severity != "critical", -f.value / (f.limit or 1)))
