"""What the page is told after each poll: the whole observation, and what only people look at.

As /api/v1/observation (export/json.py), and besides:

    "host": "web-1", "version": "1.2.3",
    "age_bounds_seconds": [1, 5, ...],     upper bounds of the ages' buckets; one more is above all
    "alerts": [...],                       as /api/v1/alerts
    "detectors": {"close_wait_leak": {"alert": "SockmonCloseWaitLeak", "runbook_url": "..."}},
                                           those that have found something
    "namespaces": [{...,
        "findings": [{..., "alert_labels": {...}}],        of the alert it becomes, but for severity
        "blind": ["syn_backlog"],          detectors that could not look
        "hidden_processes": 0,             that could not be looked into for want of privilege
        "ages": {"close_wait": [3, 0, ...], ...},          sockets by age, a number a bucket
        "close_wait_oldest_seconds": 63.2,
        "close_wait_stale": [{"role", "port", "owner", "sockets", "unread_bytes"}],
        "settings": {"fin_timeout": 60, "syn_retries": 6, ...}}]

The parts of a namespace that have never been read are null. What is not printable in any text is
escaped: processes choose their names.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from sockmon.alert.labels import alert_name, labels_of, runbook_url
from sockmon.alert.lifecycle import Alert
from sockmon.alert.records import shown
from sockmon.export import json
from sockmon.export.findings import findings, worst_first
from sockmon.model.ages import AGE_BUCKETS
from sockmon.model.finding import Finding
from sockmon.model.observation import NamespaceObservation, Observation
from sockmon.text import one_line

Json = dict[str, Any]


def page(observation: Observation, alerts: Iterable[Alert], host: str, version: str) -> Json:
    """Render all that the page shows of one poll, but for history."""
    rendered = json.observation(observation)
    found = {
        finding.detector
        for namespace in observation.namespaces
        if namespace.diagnosis
        for finding in namespace.diagnosis.value.findings
    }
    told = {
        **rendered,
        "host": host,
        "version": version,
        "age_bounds_seconds": AGE_BUCKETS,
        "alerts": shown(alerts),
        "detectors": {detector: _named(detector) for detector in sorted(found)},
        "namespaces": [
            {**plain, **_more(namespace)}
            for plain, namespace in zip(rendered["namespaces"], observation.namespaces, strict=True)
        ],
    }
    return {key: _printable(value) for key, value in told.items()}


def _printable(told: Any) -> Any:
    match told:
        case str():
            return one_line(told)
        case dict():
            return {key: _printable(value) for key, value in told.items()}
        case list() | tuple():
            return [_printable(value) for value in told]
        case _:
            return told


def _named(detector: str) -> Json:
    alert = alert_name(detector)
    return {"alert": alert, "runbook_url": runbook_url(alert)}


def _more(namespace: NamespaceObservation) -> Json:
    diagnosis = namespace.diagnosis and namespace.diagnosis.value
    settings = namespace.limits and namespace.limits.value.settings
    return {
        "findings": diagnosis and _findings(diagnosis.findings),
        "blind": diagnosis and sorted(diagnosis.blind),
        "hidden_processes": diagnosis and diagnosis.hidden_processes,
        "ages": diagnosis and {state.label: ages.counts for state, ages in diagnosis.ages.items()},
        "close_wait_oldest_seconds": diagnosis and diagnosis.oldest_close_wait,
        "close_wait_stale": diagnosis and [asdict(group) for group in diagnosis.stale],
        "settings": settings and asdict(settings),
    }


def _findings(found: Iterable[Finding]) -> list[Json]:
    worst = worst_first(found)
    return [
        {**told, "alert_labels": _but_severity(labels_of(finding, {}))}
        for told, finding in zip(findings(worst), worst, strict=True)
    ]


def _but_severity(labels: Mapping[str, str]) -> Json:
    return {name: value for name, value in labels.items() if name != "severity"}
