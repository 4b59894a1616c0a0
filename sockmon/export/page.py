"""What a page is sent after each poll: all namespaces in a line each, and one of them whole.

export/messages says what is in it. What is not printable in any text is escaped: processes
choose their names.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TypeVar, cast

from sockmon.alert.lifecycle import Alert
from sockmon.export import json
from sockmon.export.findings import findings
from sockmon.export.messages import page as messages
from sockmon.export.optional import optional
from sockmon.model.ages import AGE_BOUNDS
from sockmon.model.finding import Finding, worst_first
from sockmon.model.limits import TcpSettings
from sockmon.model.observation import Diagnosis, NamespaceObservation, Observation, StaleGroup
from sockmon.model.states import TcpState
from sockmon.text import one_line

T = TypeVar("T")

#: More are not listed: it is some 100 KB then, for every page at every poll.
LISTED = 500


def everywhere(
    observation: Observation, host: str, version: str, zone: messages.Zone
) -> messages.Everywhere:
    """Render what all pages are sent of one poll."""
    there = tuple(_there(observation))
    failures = Counter(failure.netns for failure in observation.failures)
    lines = [_line(one, observation, failures[one.name]) for one in there]
    lines[1:] = sorted(lines[1:], key=_rank)
    message: messages.Everywhere = {
        **json.poll(observation),
        "host": host,
        "version": version,
        "zone": zone,
        "age_bounds_seconds": list(AGE_BOUNDS),
        "namespaces": lines[:LISTED],
        "left_out": max(0, len(lines) - LISTED),
    }
    return _printable(message)


def inside(observation: Observation, alerts: Iterable[Alert], netns: str) -> messages.Inside:
    """Render what a page that shows this namespace is sent besides; it need not exist."""
    one = next((one for one in _there(observation) if one.name == netns), None)
    known = json.alerts(alerts)
    its = [alert for alert in known if alert["labels"].get("netns") == netns]
    current = sum(alert["state"] != "resolved" for alert in known)
    message: messages.Inside = {
        "failures": json.failures(observation, netns),
        "alerts": its,
        "alerts_elsewhere": current - sum(alert["state"] != "resolved" for alert in its),
        "namespace": _namespace(one, observation) if one else None,
    }
    return _printable(message)


def _there(observation: Observation) -> Iterator[NamespaceObservation]:
    """Yield all namespaces, including those that could not be opened."""
    yield from observation.namespaces
    known = {one.name for one in observation.namespaces}
    for name in dict.fromkeys(failure.netns for failure in observation.failures):
        if name not in known:
            yield NamespaceObservation(name)


def _line(one: NamespaceObservation, observation: Observation, failures: int) -> messages.Summary:
    diagnosis = one.diagnosis.value if one.diagnosis else None
    found = worst_first(diagnosis.findings) if diagnosis else []
    critical = sum(finding.severity == "critical" for finding in found)
    return {
        "netns": one.name,
        "degraded": one.degraded,
        "beat_seconds": round(max(observation.interval, one.beat), 3),
        "counted_at": round(one.tcp.at.wall, 3) if one.tcp else None,
        "sockets": _count(one, TcpState),
        "established": _count(one, (TcpState.ESTABLISHED,)),
        "close_wait": _count(one, (TcpState.CLOSE_WAIT,)),
        "time_wait": _count(one, (TcpState.TIME_WAIT,)),
        "diagnosed_at": round(one.diagnosis.at.wall, 3) if one.diagnosis else None,
        "warnings": len(found) - critical,
        "critical": critical,
        "worst": _worst(found[0]) if found else None,
        "unseen": failures + (len(diagnosis.unavailable) if diagnosis else 0),
    }


def _count(one: NamespaceObservation, states: Iterable[TcpState]) -> int | None:
    """Count sockets in these states, both families together."""
    if one.tcp is None:
        return None
    families = one.tcp.value.values()
    return sum(counts[state] for state in states for counts in families)


def _worst(finding: Finding) -> messages.Worst:
    (rendered,) = findings([finding])
    actor, owner, zh = rendered["actor"], rendered["subject"]["owner"], rendered["zh"]
    return {
        "title": rendered["title"],
        "owner": (owner["unit"] or owner["name"]) if owner and actor["is_owner"] else None,
        "does": actor["does"],
        "deadline": rendered["deadline"],
        "zh": {"title": zh["title"], "does": zh["does"], "deadline": zh["deadline"]},
    }


def _rank(line: messages.Summary) -> tuple[int, int, int]:
    return -line["critical"], -line["warnings"], -(line["sockets"] or 0)


def _printable(rendered: T) -> T:
    """Escape every string that is a value; what sockmon itself names is printable."""
    match rendered:
        case str():
            return cast("T", one_line(rendered))
        case dict():
            return cast("T", {key: _printable(value) for key, value in rendered.items()})
        case list() | tuple():
            return cast("T", [_printable(value) for value in rendered])
        case _:
            return rendered


def _namespace(one: NamespaceObservation, observation: Observation) -> messages.Namespace:
    diagnosis = one.diagnosis.value if one.diagnosis else None
    settings = one.limits.value.settings if one.limits else None
    return {
        **json.namespace(one, observation),
        **(_NOT_DIAGNOSED if diagnosis is None else _diagnosis(diagnosis)),
        "settings": optional(settings, _settings),
        "entry": one.entry,
        "udp_ports": [
            {
                "port": its.port,
                "sockets": its.sockets,
                "receive_queue_bytes": its.receive_queue,
                "drops": its.dropped,
                "owners": [{"owner": owner, "sockets": n} for owner, n in its.owners],
            }
            for its in one.udp_ports
        ],
        "unix_queues": optional(diagnosis, _unix_queues),
    }


def _unix_queues(diagnosis: Diagnosis) -> list[messages.UnixQueue]:
    return [
        {"path": its.path, "queue": its.length, "limit": its.limit} for its in diagnosis.unix_queues
    ]


def _diagnosis(diagnosis: Diagnosis) -> messages.Diagnosed:
    return {
        "unavailable": sorted(diagnosis.unavailable),
        "hidden_processes": diagnosis.hidden_processes,
        "ages": {state.label: list(ages) for state, ages in diagnosis.ages.items()},
        "stale_after_seconds": diagnosis.stale_after,
        "close_wait_oldest_seconds": diagnosis.oldest_close_wait,
        "close_wait_stale": [_stale(group) for group in diagnosis.stale],
    }


_NOT_DIAGNOSED: messages.Diagnosed = {
    "unavailable": None,
    "hidden_processes": None,
    "ages": None,
    "stale_after_seconds": None,
    "close_wait_oldest_seconds": None,
    "close_wait_stale": None,
}


def _stale(group: StaleGroup) -> messages.StaleGroup:
    return {
        "direction": group.direction,
        "port": "other" if group.port is None else group.port,
        "owner": group.owner,
        "sockets": group.sockets,
        "unread_bytes": group.unread_bytes,
    }


def _settings(settings: TcpSettings) -> messages.Settings:
    return {
        "fin_timeout": settings.fin_timeout,
        "syn_retries": settings.syn_retries,
        "syn_linear_timeouts": settings.syn_linear_timeouts,
        "synack_retries": settings.synack_retries,
        "max_syn_backlog": settings.max_syn_backlog,
        "somaxconn": settings.somaxconn,
        "syncookies": settings.syncookies,
    }
