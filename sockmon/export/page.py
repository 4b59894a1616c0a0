"""What the page is told after each poll: all namespaces in a line each, and one of them whole.

    "taken_at", "interval_seconds", "polls", "hints", "neighbours"
                                           as in /api/v1/observation (export/json.py)
    "host": "web-1", "version": "1.2.3",
    "age_bounds_seconds": [1, 5, ...],     upper bounds of the ages' buckets; one more is above all
    "namespaces": [{"netns": "web", "degraded": false, "beat_seconds": 5.0,
        "counted_at": 1700000000.0, "sockets": 12, "established": 3, "close_wait": 0,
        "time_wait": 5,                    null, all five, before the first count
        "diagnosed_at": 1700000000.0, "warnings": 0, "critical": 0,
        "worst": {"title", "owner"},       null: nothing was found
        "unseen": 0}],                     what could not be read, and who could not judge
                                           the daemon's own first, then the worst, then the largest
    "left_out": 0,                         namespaces that would be too many for that list

And of the one that is looked at:

    "failures": [...],                     of its own, as in /api/v1/observation
    "alerts": [...],                       as in /api/v1/alerts
    "alerts_elsewhere": 0,                 those of the others that are pending or firing
    "namespace": {...,                     as in /api/v1/observation; null: it is not there
        "findings": [{...}],               as in /api/v1/observation
        "unavailable": ["syn_backlog"],    detectors that could not judge
        "hidden_processes": 0,             that could not be looked into for want of privilege
        "ages": {"close_wait": [3, 0, ...], ...},          sockets by age, a number a bucket
        "stale_after_seconds": 60.0,       of close_wait_leak, as configured
        "close_wait_oldest_seconds": 63.2,
        "close_wait_stale": [{"direction", "port", "owner", "sockets", "unread_bytes"}],
        "settings": {"fin_timeout": 60, "syn_retries": 6, ...}}

The parts of a namespace that have never been read are null. What is not printable in any text is
escaped: processes choose their names.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import Any

from sockmon.alert.lifecycle import Alert
from sockmon.alert.records import shown
from sockmon.export import json
from sockmon.export.findings import findings
from sockmon.model.ages import AGE_BOUNDS
from sockmon.model.finding import Finding, worst_first
from sockmon.model.observation import NamespaceObservation, Observation
from sockmon.model.states import TcpState
from sockmon.text import one_line

Json = dict[str, Any]

#: More are not listed: it is some 100 KB then, for every page at every poll.
LISTED = 500

_COUNTED = (TcpState.ESTABLISHED, TcpState.CLOSE_WAIT, TcpState.TIME_WAIT)


def everywhere(observation: Observation, host: str, version: str) -> Json:
    """Render what all pages are told of one poll."""
    there = tuple(_there(observation))
    failures = Counter(failure.netns for failure in observation.failures)
    lines = [_line(one, observation, failures[one.name]) for one in there]
    lines[1:] = sorted(lines[1:], key=_rank)
    told = {
        **json.poll(observation),
        "host": host,
        "version": version,
        "age_bounds_seconds": AGE_BOUNDS,
        "namespaces": lines[:LISTED],
        "left_out": max(0, len(lines) - LISTED),
    }
    return _all_printable(told)


def inside(observation: Observation, alerts: Iterable[Alert], netns: str) -> Json:
    """Render what a page is told besides that shows this namespace; there need be none such."""
    one = next((one for one in _there(observation) if one.name == netns), None)
    known = shown(alerts)
    its = [alert for alert in known if alert["labels"].get("netns") == netns]
    current = sum(alert["state"] != "resolved" for alert in known)
    told = {
        "failures": json.failures(observation, netns),
        "alerts": its,
        "alerts_elsewhere": current - sum(alert["state"] != "resolved" for alert in its),
        "namespace": one and {**json.namespace(one, observation), **_more(one)},
    }
    return _all_printable(told)


def _there(observation: Observation) -> Iterator[NamespaceObservation]:
    """Yield all namespaces, those also that could not be looked into at all."""
    yield from observation.namespaces
    known = {one.name for one in observation.namespaces}
    for name in dict.fromkeys(failure.netns for failure in observation.failures):
        if name not in known:
            yield NamespaceObservation(name)


def _line(one: NamespaceObservation, observation: Observation, failures: int) -> Json:
    diagnosis = one.diagnosis and one.diagnosis.value
    found = worst_first(diagnosis.findings) if diagnosis else []
    critical = sum(finding.severity == "critical" for finding in found)
    return {
        "netns": one.name,
        "degraded": one.degraded,
        "beat_seconds": round(max(observation.interval, one.beat), 3),
        "counted_at": one.tcp and round(one.tcp.at.wall, 3),
        **_counts(one),
        "diagnosed_at": one.diagnosis and round(one.diagnosis.at.wall, 3),
        "warnings": len(found) - critical,
        "critical": critical,
        "worst": _worst(found[0]) if found else None,
        "unseen": failures + (len(diagnosis.unavailable) if diagnosis else 0),
    }


def _counts(one: NamespaceObservation) -> dict[str, int | None]:
    """Count sockets, all and in some states, both families together."""
    if one.tcp is None:
        return dict.fromkeys(("sockets", *(state.label for state in _COUNTED)))
    families = one.tcp.value.values()
    states = {state.label: sum(counts[state] for counts in families) for state in _COUNTED}
    return {"sockets": sum(map(sum, families)), **states}


def _worst(finding: Finding) -> Json:
    (told,) = findings([finding])
    owner = told["subject"]["owner"]
    return {"title": told["title"], "owner": owner and owner["name"]}


def _rank(line: Json) -> tuple[int, int, int]:
    return -line["critical"], -line["warnings"], -(line["sockets"] or 0)


def _all_printable(told: Json) -> Json:
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


def _more(namespace: NamespaceObservation) -> Json:
    diagnosis = namespace.diagnosis and namespace.diagnosis.value
    settings = namespace.limits and namespace.limits.value.settings
    return {
        "findings": diagnosis and findings(diagnosis.findings),
        "unavailable": diagnosis and sorted(diagnosis.unavailable),
        "hidden_processes": diagnosis and diagnosis.hidden_processes,
        "ages": diagnosis and {state.label: ages for state, ages in diagnosis.ages.items()},
        "stale_after_seconds": diagnosis and diagnosis.stale_after,
        "close_wait_oldest_seconds": diagnosis and diagnosis.oldest_close_wait,
        "close_wait_stale": diagnosis and [asdict(group) for group in diagnosis.stale],
        "settings": settings and asdict(settings),
    }
