"""Findings -> JSON: what `sockmon doctor --format json` and /api answer."""

from collections.abc import Iterable
from typing import Any

from sockmon.model.finding import Finding, worst_first
from sockmon.model.owner import Owner, Process

Json = dict[str, Any]


def findings(found: Iterable[Finding]) -> list[Json]:
    """Render findings, worst first."""
    return [_finding(finding) for finding in worst_first(found)]


def _finding(finding: Finding) -> Json:
    owner = finding.owner
    people = [_process(owner, process) for process in owner.processes] if owner else []
    return {
        "detector": finding.detector,
        "severity": finding.severity,
        "netns": finding.netns,
        "subject": {
            "direction": finding.subject.direction,
            "port": finding.subject.port,
            "owner": people[0] if people else _unseen(finding),
        },
        "value": finding.value,
        "limit": finding.limit,
        "summary": finding.summary,
        "evidence": {**finding.evidence, "owners": people},
        "advice": list(finding.advice),
    }


def _process(owner: Owner, process: Process) -> Json:
    return {
        "name": process.name.encode(errors="backslashreplace").decode(),
        "pid": process.pid,
        "unit": owner.unit,
        "fds": process.fds,
        "fd_limit": process.fd_limit,
    }


def _unseen(finding: Finding) -> Json | None:
    """An owner of whom only the unit is known, or nobody."""
    if finding.subject.owner is None:
        return None
    unit = finding.owner.unit if finding.owner else None
    return {
        "name": finding.subject.owner,
        "pid": None,
        "unit": unit,
        "fds": None,
        "fd_limit": None,
    }
