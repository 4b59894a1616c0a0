"""Findings -> JSON: what `sockmon doctor --format json` and /api answer."""

from collections.abc import Iterable

from sockmon.alert.labels import alert_name, labels_of, runbook_url
from sockmon.detect.evidence_names import named
from sockmon.detect.registry import BY_NAME
from sockmon.export.messages import finding as messages
from sockmon.export.optional import optional
from sockmon.language import Text, chinese
from sockmon.model.finding import (
    Breakdown,
    Command,
    Deadline,
    Finding,
    FindingKey,
    Quantity,
    worst_first,
)
from sockmon.model.owner import Process

_SEE_ADVICE = Text("See the advice", "见处理建议")


def findings(found: Iterable[Finding]) -> list[messages.Finding]:
    """Render findings, worst first."""
    return [_finding(finding) for finding in worst_first(found)]


def _finding(finding: Finding) -> messages.Finding:
    owner = finding.owner
    people = (
        [_process(process, process.owner if process.unit else None) for process in owner.processes]
        if owner
        else []
    )
    detector = BY_NAME.get(finding.detector)
    return {
        "detector": finding.detector,
        "title": detector.title if detector else finding.detector.replace("_", " "),
        "severity": finding.severity,
        "netns": finding.netns,
        "subject": {
            "direction": finding.subject.direction,
            "port": finding.subject.port,
            "path": finding.subject.path,
            "owner": _process(owner.processes[0], owner.name if owner.unit else None)
            if owner and owner.processes
            else _unseen(finding),
        },
        "actor": {
            "is_owner": detector is None or detector.owner_acts,
            "text": _actor(finding),
            "does": does(finding.detector),
        },
        "state": detector.state.label if detector and detector.state else None,
        "value": finding.value,
        "limit": finding.limit,
        "summary": finding.summary,
        "critical_because": finding.critical_because,
        "deadline": optional(finding.deadline, deadline),
        "cause": optional(finding.cause, _key),
        "evidence": {name: _evidence(value) for name, value in finding.evidence.items()},
        "metrics": list(detector.metrics) if detector else [],
        "owners": people,
        "advice": [
            {
                "purpose": advice.purpose,
                "text": advice.text,
                "command": _command(finding, advice.command) if advice.command else None,
            }
            for advice in finding.advice
        ],
        "alert": dict(labels_of(finding, {})),
        "runbook_url": runbook_url(alert_name(finding.detector)),
        "zh": _chinese(finding),
    }


def _chinese(finding: Finding) -> messages.Chinese:
    detector, why, until = BY_NAME.get(finding.detector), finding.critical_because, finding.deadline
    return {
        "title": chinese(detector.title if detector else finding.detector.replace("_", " ")),
        "does": chinese(detector.does.one) if detector and detector.does else None,
        "actor": chinese(_actor(finding)),
        "summary": chinese(finding.summary),
        "critical_because": None if why is None else chinese(why),
        "deadline": None if until is None else chinese(until.what),
        "evidence": {name: named(name).zh for name in finding.evidence},
        "advice": [chinese(advice.text) for advice in finding.advice],
    }


def _actor(finding: Finding) -> Text:
    detector = BY_NAME.get(finding.detector)
    return finding.actor or (detector.actor if detector else _SEE_ADVICE)


def does(detector: str) -> messages.Does | None:
    """Render what owners of this detector's findings do wrong."""
    known = BY_NAME.get(detector)
    return {"one": known.does.one, "many": known.does.many} if known and known.does else None


def _command(finding: Finding, command: Command) -> messages.Command:
    return {
        "line": finding.command_line(command),
        "where": command.where,
        "effect": command.effect,
    }


def deadline(its: Deadline) -> messages.Deadline:
    """Render when something fails."""
    return {"what": its.what, "seconds": its.seconds}


def _key(key: FindingKey) -> messages.FindingKey:
    return {
        "detector": key.detector,
        "netns": key.netns,
        "subject": {
            "direction": key.subject.direction,
            "port": key.subject.port,
            "path": key.subject.path,
            "owner": key.subject.owner,
        },
    }


def _evidence(value: Quantity | Breakdown) -> messages.Quantity | messages.Breakdown:
    if isinstance(value, Quantity):
        return {"value": value.value, "unit": value.unit}
    return {
        "parts": [{"name": name, "value": part.value, "unit": part.unit} for name, part in value]
    }


def _process(process: Process, unit: str | None) -> messages.Process:
    return {
        "name": process.name.encode(errors="backslashreplace").decode(),
        "pid": process.pid,
        "unit": unit,
        "fds": process.fds,
        "fd_limit": process.fd_limit,
    }


def _unseen(finding: Finding) -> messages.Process | None:
    """Return an owner of which only the unit is known, or None."""
    if finding.subject.owner is None:
        return None
    unit = finding.owner.name if finding.owner and finding.owner.unit else None
    return {
        "name": finding.subject.owner,
        "pid": None,
        "unit": unit,
        "fds": None,
        "fd_limit": None,
    }
