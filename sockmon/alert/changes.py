"""What happened to alerts from one poll to the next: for their history, and in words."""

from collections.abc import Iterable, Iterator

from sockmon.alert.lifecycle import Alert, State
from sockmon.history.snapshot import AlertChange

#: Begins every text about a resolved alert, whose summary says what was wrong.
NO_LONGER = "no longer: "


def now_of(alert: Alert) -> str:
    """Begin a text about an alert that has superseded another severity of its condition."""
    return f"now {alert.key.severity}: "


def changes(before: Iterable[Alert], after: Iterable[Alert]) -> Iterator[AlertChange]:
    """Yield which alerts began to fire, changed their severity or were resolved between two polls.

    A change of severity is one change: the end of the severity before is not another. One poll
    never both begins and ends an alert: the life cycle has no such transition.
    """
    known = {alert.key: alert for alert in before}
    begun, ended = [], []
    for alert in after:
        was = known.get(alert.key)
        if alert.firing and (was is None or was.fired != alert.fired):
            begun.append(alert)
        elif alert.state is State.RESOLVED and (was is None or was.state is not State.RESOLVED):
            ended.append(alert)
    superseded = {alert.key.condition: alert.key.severity for alert in ended}
    for alert in begun:
        assert alert.fired is not None
        at = alert.fired.wall
        previous = superseded.pop(alert.key.condition, None)
        summary = alert.annotations.get("summary", "")
        yield AlertChange(at, "firing", at, alert.labels, summary, previous)
    for alert in ended:
        if alert.fired is not None and alert.key.condition in superseded:
            summary = NO_LONGER + alert.annotations.get("summary", "")
            at = alert.entered.wall
            yield AlertChange(at, "resolved", alert.fired.wall, alert.labels, summary)
