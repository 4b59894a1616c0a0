"""Alerts as JSON for the state file, and back; and counted."""

from collections import Counter
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, get_args

from sockmon.alert.labels import alert_name
from sockmon.alert.lifecycle import Alert, AlertKey, Condition, State
from sockmon.model.direction import Direction
from sockmon.model.finding import Severity, Subject
from sockmon.model.moment import Moment


class RecordError(Exception):
    """Not what `to_record` wrote."""


def to_record(alert: Alert) -> dict[str, Any]:
    """Return everything that is known of an alert, JSON-ready."""
    condition = alert.key.condition
    subject = condition.subject
    return {
        "detector": condition.detector,
        "netns": condition.netns,
        "direction": subject.direction,
        "port": subject.port,
        "path": subject.path,
        "owner": subject.owner,
        "severity": alert.key.severity,
        "state": alert.state.value,
        "since": _times(alert.since),
        "found": _times(alert.found),
        "entered": _times(alert.entered),
        "fired": None if alert.fired is None else _times(alert.fired),
        "labels": dict(alert.labels),
        "annotations": dict(alert.annotations),
    }


def from_record(record: Any) -> Alert:
    """Return the alert again; raises RecordError."""
    try:
        direction, owner, port = record["direction"], record["owner"], record["port"]
        path = record.get("path")  # of no alert that an older sockmon wrote
        subject = Subject(
            None if direction is None else _one_of(get_args(Direction), direction),
            None if port is None else int(port),
            None if owner is None else str(owner),
            None if path is None else str(path),
        )
        condition = Condition(str(record["detector"]), str(record["netns"]), subject)
        return Alert(
            AlertKey(condition, _one_of(get_args(Severity), record["severity"])),
            State(record["state"]),
            since=_moment(record["since"]),
            found=_moment(record["found"]),
            entered=_moment(record["entered"]),
            fired=None if record["fired"] is None else _moment(record["fired"]),
            labels=_texts(record["labels"]),
            annotations=_texts(record["annotations"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise RecordError(f"not an alert: {error!r}") from error


def counted(alerts: Iterable[Alert]) -> Mapping[tuple[str, str, str], int]:
    """Count by (alertname, severity, state) those that are pending or firing."""
    return Counter(
        (
            alert_name(alert.key.condition.detector),
            alert.key.severity,
            "firing" if alert.firing else "pending",
        )
        for alert in alerts
        if alert.firing or alert.state is State.PENDING
    )


def _times(at: Moment) -> list[float]:
    return [at.monotonic, at.wall]


def _moment(times: Any) -> Moment:
    monotonic, wall = times
    return Moment(float(monotonic), float(wall))


def _texts(texts: Any) -> Mapping[str, str]:
    return MappingProxyType({str(name): str(text) for name, text in texts.items()})


def _one_of(values: tuple[Any, ...], value: Any) -> Any:
    if value not in values:
        raise ValueError(f"{value!r} is none of {values}")
    return value
