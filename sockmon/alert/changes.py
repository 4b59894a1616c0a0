"""What one poll did to the alerts, for their history."""

from collections.abc import Iterable, Iterator

from sockmon.alert.lifecycle import Alert, State
from sockmon.history.snapshot import AlertChange


def changes(before: Iterable[Alert], after: Iterable[Alert]) -> Iterator[AlertChange]:
    """Yield which alerts began to fire and which were resolved, of those before and after a poll.

    One poll does not do both to an alert: the life cycle has no such way.
    """
    known = {alert.key: alert for alert in before}
    for alert in after:
        was, fired = known.get(alert.key), alert.fired
        if fired is None:
            continue
        summary = alert.annotations.get("summary", "")
        if alert.firing and (was is None or was.fired != fired):
            yield AlertChange(fired.wall, "firing", fired.wall, alert.labels, summary)
        elif alert.state is State.RESOLVED and (was is None or was.state is not State.RESOLVED):
            yield AlertChange(alert.entered.wall, "resolved", fired.wall, alert.labels, summary)
