"""The life cycle of alerts (pure): earlier alerts, what one poll found, and the time -> alerts.

These are the rules in words; the table below says the same, and nothing else changes an alert.

- A *condition* is a detector, a namespace and a subject. It has one alert for each severity.
- An alert is *pending* from the first poll that finds its condition, and *firing* once the
  condition has been found for as long as `for` says. If it ends before, nobody is notified.
- When the condition is no longer found, a firing alert is *kept* firing until it has not been found
  for `keep_firing_for`; if found again, it simply goes on firing. After that it is *resolved*, and
  remembered for 15 minutes so that receivers that were down still learn of it; if found again, it
  starts over.
- A poll that could not look (*unseen*) proves nothing and changes nothing.
- Severity. `for` belongs to the condition: it is waited for once, whatever the severity. When a
  firing condition gets worse, the critical alert *takes over*: it fires in that poll, and the
  warning, now *outranked*, is resolved in the same poll. When the condition gets better
  (*lessened*), the critical alert is kept for `keep_firing_for` first, and only then the warning
  takes over, so that a value that moves around the threshold notifies people once. Two severities
  of one condition never fire at the same time.

Times are measured on the monotonic clock, which stops while the host is suspended and never jumps;
the wall clock is only shown.

Sources: Prometheus, rules/alerting.go, (*AlertingRule).Eval, resolvedRetention; h11, _state.py.
"""

import enum
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol, TypeAlias

from sockmon.alert.labels import annotations_of, labels_of
from sockmon.model.finding import SEVERITIES, Finding, Severity, Subject
from sockmon.model.moment import Moment

#: How long a resolved alert is remembered: Prometheus's resolvedRetention.
RESOLVED_RETENTION = 15 * 60.0


#: There are alerts for so many conditions at most.
MOST_CONDITIONS = 1000


class State(enum.Enum):
    """The state of an alert."""

    INACTIVE = "inactive"
    PENDING = "pending"
    FIRING = "firing"
    KEPT = "kept"
    RESOLVED = "resolved"


class Event(enum.Enum):
    """What one poll means for an alert."""

    SEEN = "its condition is found, with its severity"
    TAKES_OVER = "the same, and another severity of the condition has been firing"
    LESSENED = "its condition is found, less severe"
    OUTRANKED = "a more severe alert of its condition stands"
    GONE = "the poll looked, and its condition is not there"
    UNSEEN = "the poll could not look"
    WAITED = "the wait of its state is over"


_S, _E = State, Event

#: A pair that is not here leaves the alert as it is. Each poll is one event for an alert; unless it
#: was UNSEEN, WAITED follows if the wait of the state it is then in (see `_waited`) is over.
TABLE: Mapping[tuple[State, Event], State] = {
    (_S.INACTIVE, _E.SEEN): _S.PENDING,
    (_S.INACTIVE, _E.TAKES_OVER): _S.FIRING,
    (_S.PENDING, _E.TAKES_OVER): _S.FIRING,
    (_S.PENDING, _E.LESSENED): _S.INACTIVE,
    (_S.PENDING, _E.OUTRANKED): _S.INACTIVE,
    (_S.PENDING, _E.GONE): _S.INACTIVE,
    (_S.PENDING, _E.WAITED): _S.FIRING,  # `for`
    (_S.FIRING, _E.LESSENED): _S.KEPT,
    (_S.FIRING, _E.OUTRANKED): _S.RESOLVED,
    (_S.FIRING, _E.GONE): _S.KEPT,
    (_S.KEPT, _E.SEEN): _S.FIRING,
    (_S.KEPT, _E.TAKES_OVER): _S.FIRING,
    (_S.KEPT, _E.OUTRANKED): _S.RESOLVED,
    (_S.KEPT, _E.WAITED): _S.RESOLVED,  # `keep_firing_for`
    (_S.RESOLVED, _E.SEEN): _S.PENDING,
    (_S.RESOLVED, _E.TAKES_OVER): _S.FIRING,
    (_S.RESOLVED, _E.WAITED): _S.INACTIVE,  # RESOLVED_RETENTION
}


class Waits(Protocol):
    """How long a condition must last before its alert fires, and how long it is then kept."""

    @property
    def for_(self) -> float: ...  # noqa: D102 - the class says it
    @property
    def keep_firing_for(self) -> float: ...  # noqa: D102 - the class says it


@dataclass(frozen=True, slots=True)
class FixedWaits:
    """Fixed waits; the defaults are those of every detector."""

    for_: float = 30.0
    keep_firing_for: float = 60.0


#: For the alert of a detector that no longer exists: another version has saved it.
_DEFAULT_WAITS = FixedWaits()


@dataclass(frozen=True, slots=True)
class Condition:
    """What makes it the same condition from poll to poll."""

    detector: str
    netns: str
    subject: Subject


@dataclass(frozen=True, slots=True)
class AlertKey:
    """What makes it the same alert."""

    condition: Condition
    severity: Severity


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert at one moment.

    since, found: when its condition was first and last found, with any severity. entered: when it
    entered `state`. fired: when it began to fire, if it has. Its labels never change, even if a
    reload changes the configured ones; its annotations are those of the last finding.
    """

    key: AlertKey
    state: State
    since: Moment
    found: Moment
    entered: Moment
    fired: Moment | None
    labels: Mapping[str, str]
    annotations: Mapping[str, str]

    @property
    def firing(self) -> bool:
        """Whether it fires, as receivers see it."""
        return self.state in (State.FIRING, State.KEPT)


Alerts: TypeAlias = Mapping[AlertKey, Alert]
Looked: TypeAlias = Callable[[str, str], bool]  # netns, detector -> whether this poll could look


Waiting: TypeAlias = Callable[[Condition], bool]  # whether it was found, and is no finding yet


def nothing(condition: Condition) -> bool:  # noqa: ARG001 - the signature is Waiting's
    """Say that every finding is one."""
    return False


def everywhere(netns: str, detector: str) -> bool:  # noqa: ARG001 - the signature is Looked's
    """Say that the poll could look at everything."""
    return True


def step(
    alerts: Alerts,
    findings: Iterable[Finding],
    now: Moment,
    waits: Mapping[str, Waits],
    labels: Mapping[str, str],
    looked: Looked = everywhere,
    waiting: Waiting = nothing,
) -> Alerts:
    """Return the alerts after one poll.

    waits: by detector. labels: the configured ones of every new alert. waiting: conditions that
    look found, but are not findings before their owners are known or the next poll agrees.
    """
    found = _by_condition(findings)
    after: dict[AlertKey, Alert] = {}
    for condition in dict.fromkeys([*(key.condition for key in alerts), *found]):
        finding = found.get(condition)
        unseen = finding is None and (
            not looked(condition.netns, condition.detector) or waiting(condition)
        )
        before = {s: alerts.get(AlertKey(condition, s)) for s in SEVERITIES}
        alive = [a for a in before.values() if a and a.state is not State.RESOLVED]
        since = min((a.since for a in alive), key=lambda at: at.monotonic, default=now)
        seen = Event.TAKES_OVER if any(a.firing for a in alive) else Event.SEEN
        outranked = False
        for severity in reversed(SEVERITIES):
            is_its = finding is not None and finding.severity == severity
            if unseen:
                event = Event.UNSEEN
            elif outranked:
                event = Event.OUTRANKED
            elif is_its:
                event = seen
            else:
                event = Event.LESSENED if finding else Event.GONE
            alert = before[severity]
            if alert is not None and finding is not None:
                alert = replace(alert, found=now)
            if is_its and finding is not None and not outranked:
                alert = _described(alert, finding, labels, since, now)
            if alert is not None:
                alert = _moved(alert, event, now, waits.get(condition.detector, _DEFAULT_WAITS))
                if alert.state is not State.INACTIVE:
                    after[alert.key] = alert
            outranked |= is_its or (alert is not None and alert.firing)
    return after


def admitted(alerts: Alerts, findings: Iterable[Finding]) -> tuple[list[Finding], int]:
    """Return the findings that have alerts, or may have new ones, and how many may not.

    Each alert takes room in the state, in messages and with every receiver. Any user can make
    network namespaces, and trouble in each. Of new conditions the worst come first.
    """
    known = {key.condition for key in alerts}
    old, new = list[Finding](), list[Finding]()
    for finding in findings:
        (old if Condition(*finding.key) in known else new).append(finding)
    new.sort(key=lambda its: (its.severity != "critical", -its.value / (its.limit or 1)))
    room = max(0, MOST_CONDITIONS - len(known))
    return old + new[:room], len(new[room:])


def ended(alert: Alert, now: Moment) -> Alert:
    """Return an alert that was reported and is no longer known, as resolved."""
    return _entered(alert, State.RESOLVED, now)


def _by_condition(findings: Iterable[Finding]) -> dict[Condition, Finding]:
    """Index the findings by condition; of two with the same, the more severe counts."""
    found: dict[Condition, Finding] = {}
    for finding in sorted(findings, key=lambda f: SEVERITIES.index(f.severity)):
        found[Condition(*finding.key)] = finding
    return found


def _described(
    alert: Alert | None, finding: Finding, labels: Mapping[str, str], since: Moment, now: Moment
) -> Alert:
    """Return the alert with the finding's annotations; a new one if there is none or it ended."""
    annotations = annotations_of(finding)
    if alert is not None and alert.state is not State.RESOLVED:
        return replace(alert, annotations=annotations)
    return Alert(
        AlertKey(Condition(*finding.key), finding.severity),
        State.INACTIVE if alert is None else alert.state,
        since=since,
        found=now,
        entered=now,
        fired=None,
        labels=labels_of(finding, labels),
        annotations=annotations,
    )


def _moved(alert: Alert, event: Event, now: Moment, waits: Waits) -> Alert:
    """Apply one poll's event by the table."""
    moved = _entered(alert, TABLE.get((alert.state, event), alert.state), now)
    if event is Event.UNSEEN or not _waited(moved, event, now, waits):
        return moved
    return _entered(moved, TABLE.get((moved.state, Event.WAITED), moved.state), now)


def _entered(alert: Alert, state: State, now: Moment) -> Alert:
    if state is alert.state:
        return alert
    begins_to_fire = state is State.FIRING and alert.state is not State.KEPT
    return replace(alert, state=state, entered=now, fired=now if begins_to_fire else alert.fired)


def _waited(alert: Alert, event: Event, now: Moment, waits: Waits) -> bool:
    """Return whether the wait of the alert's state, if it has one, is over."""
    without = alert.entered.monotonic  # since when its severity was not found; or nothing at all
    if event is Event.GONE:
        without = max(without, alert.found.monotonic)
    match alert.state:
        case State.PENDING:
            return now.monotonic - alert.since.monotonic >= waits.for_
        case State.KEPT:
            return now.monotonic - without >= waits.keep_firing_for
        case State.RESOLVED:
            return now.monotonic - alert.entered.monotonic >= RESOLVED_RETENTION
        case _:
            return False
