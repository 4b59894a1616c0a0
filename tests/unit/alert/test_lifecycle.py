"""Alerts against a naive model of one condition, whatever the kernel, the clocks and people do."""

import json
from dataclasses import dataclass
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sockmon.alert.lifecycle import (
    MOST_CONDITIONS,
    RESOLVED_RETENTION,
    TABLE,
    Alerts,
    Event,
    FixedWaits,
    State,
    admitted,
    step,
)
from sockmon.alert.notify.receiver import AlertSnapshot, Reported, after_sending, news
from sockmon.alert.records import from_record, to_record
from sockmon.model.finding import Finding, Severity
from sockmon.model.moment import Moment
from tests.unit.alert.making import DETECTOR, at, finding, firing, only, resolved

DetectorInput = Literal["warning", "critical", "gone", "unseen"]
Change = tuple[Literal["firing", "resolved"], Severity]


@dataclass(frozen=True)
class Poll:
    """One poll, and what the world was like."""

    pause: float  # since the poll before, on the monotonic clock
    wall: float  # whatever the wall clock says
    sight: DetectorInput
    for_: float
    keep: float
    restart: bool


#: Few values, so that waits end exactly, and just not.
waits = st.sampled_from([0.0, 5.0, 10.0, 30.0, 60.0])
polls = st.builds(
    Poll,
    pause=st.sampled_from([0.1, 5.0, 5.0, 5.0, 10.0, 29.9, 60.0, 1000.0]),
    wall=st.floats(0, 4e9),
    sight=st.sampled_from(["warning", "warning", "critical", "gone", "gone", "unseen"]),
    for_=waits,
    keep=waits,
    restart=st.booleans(),
)
histories = st.lists(polls, max_size=40)


class Naive:
    """One condition, told as a story instead of a table."""

    def __init__(self) -> None:
        self.begun: float | None = None
        self.pending: Severity | None = None
        self.firing: Severity | None = None
        self.missed: float | None = None
        self.found = 0.0  # last, with whatever severity

    def poll(self, now: float, sight: DetectorInput, for_: float, keep: float) -> set[Change]:
        if sight == "unseen":
            return set()
        if sight != "gone":
            self.found = now
        if self.firing is None:
            return self._quiet(now, sight, for_)
        return self._loud(now, sight, self.firing, keep)

    def _loud(self, now: float, sight: DetectorInput, was: Severity, keep: float) -> set[Change]:
        if sight == was:
            self.missed = None
            return set()
        if sight == "critical":
            self.firing, self.missed = "critical", None
            return {("resolved", was), ("firing", "critical")}
        self.missed = now if self.missed is None else self.missed
        kept_since = self.missed if sight == "warning" else max(self.missed, self.found)
        if now - kept_since < keep:
            return set()
        self.missed = None
        if sight == "warning":
            self.firing = "warning"
            return {("resolved", was), ("firing", "warning")}
        self.firing = self.begun = None
        return {("resolved", was)}

    def _quiet(self, now: float, sight: DetectorInput, for_: float) -> set[Change]:
        if sight not in ("warning", "critical"):
            self.begun = self.pending = None
            return set()
        self.begun = now if self.begun is None else self.begun
        if now - self.begun < for_:
            self.pending = sight
            return set()
        self.pending, self.firing = None, sight
        return {("firing", sight)}


class Real:
    """The life cycle, and one receiver of what changes."""

    def __init__(self, port: int = 80) -> None:
        self.alerts: Alerts = {}
        self.reported: Reported = {}
        self.port = port

    def findings(self, sight: DetectorInput) -> list[Finding]:
        return [finding(sight, port=self.port)] if sight in ("warning", "critical") else []

    def poll(self, now: Moment, poll: Poll) -> set[Change]:
        if poll.restart:
            self.alerts, self.reported = restarted(self.alerts), restarted(self.reported)
        self.alerts = step(
            self.alerts,
            self.findings(poll.sight),
            now,
            {DETECTOR: FixedWaits(poll.for_, poll.keep)},
            {},
            lambda _, __: poll.sight != "unseen",
        )
        changes: set[Change] = set()
        snapshot = AlertSnapshot(now, 5.0, tuple(self.alerts.values()))
        for batch in list(news(self.reported, snapshot)):
            changes |= {("firing" if a.firing else "resolved", a.key.severity) for a in batch}
            self.reported = after_sending(self.reported, batch)
        return changes


def restarted(alerts: Alerts) -> Alerts:
    """What a restart makes of them."""
    records = json.loads(json.dumps([to_record(alert) for alert in alerts.values()]))
    after = {alert.key: alert for alert in map(from_record, records)}
    assert after == alerts
    return after


def states(alerts: Alerts) -> dict[Severity, State]:
    return {key.severity: alert.state for key, alert in alerts.items()}


@given(histories)
def test_people_are_told_what_the_model_tells(history: list[Poll]) -> None:
    naive, real, now = Naive(), Real(), 0.0
    for poll in history:
        now += poll.pause
        told = real.poll(Moment(now, poll.wall), poll)
        assert told == naive.poll(now, poll.sight, poll.for_, poll.keep)
        fires = [alert.key.severity for alert in real.alerts.values() if alert.firing]
        assert fires == ([naive.firing] if naive.firing else [])
        waiting = [key.severity for key, a in real.alerts.items() if a.state is State.PENDING]
        assert waiting == ([naive.pending] if naive.pending else [])


@given(histories)
def test_times_are_those_of_the_polls_that_made_them(history: list[Poll]) -> None:
    real, now = Real(), 0.0
    moments = []
    for poll in history:
        now += poll.pause
        moments.append(Moment(now, poll.wall))
        real.poll(moments[-1], poll)
        for alert in real.alerts.values():
            assert {alert.since, alert.entered} <= set(moments)
            assert alert.since.monotonic <= alert.entered.monotonic <= now
            if alert.state is State.PENDING:
                assert alert.fired is None
            else:
                assert alert.fired in moments
            if alert.state is State.RESOLVED and poll.sight != "unseen":
                assert now - alert.entered.monotonic < RESOLVED_RETENTION


@given(st.lists(st.tuples(polls, st.sampled_from(["warning", "critical", "gone"]))))
def test_conditions_do_not_touch_each_other(history: list[tuple[Poll, DetectorInput]]) -> None:
    together: Alerts = {}
    alone = (Real(80), Real(81))
    now = 0.0
    for poll, other in history:
        now += poll.pause
        findings = []
        one: DetectorInput = "gone" if poll.sight == "unseen" else poll.sight
        for real, sight in zip(alone, (one, other), strict=True):
            findings += real.findings(sight)
            real.alerts = step(
                real.alerts,
                real.findings(sight),
                Moment(now, now),
                {DETECTOR: FixedWaits(poll.for_, poll.keep)},
                {},
            )
        together = step(
            together, findings, Moment(now, now), {DETECTOR: FixedWaits(poll.for_, poll.keep)}, {}
        )
        assert together == {**alone[0].alerts, **alone[1].alerts}


def test_every_state_is_left_by_some_event_and_nothing_leads_back_to_itself() -> None:
    assert {state for state, _ in TABLE} == set(State)
    assert {event for _, event in TABLE} == set(Event) - {Event.UNSEEN}
    assert all(state is not after for (state, _), after in TABLE.items())


def test_what_worsens_while_it_fires_is_critical_at_once_and_never_twice() -> None:
    patient = {DETECTOR: FixedWaits(3600.0, 60.0)}  # raised by a reload meanwhile
    alerts = step(firing(finding()), [finding("critical")], at(5), patient, {})
    assert states(alerts) == {"critical": State.FIRING, "warning": State.RESOLVED}
    assert {alert.since for alert in alerts.values()} == {at(0)}


def test_what_worsens_while_it_is_pending_goes_on_waiting() -> None:
    patient = {DETECTOR: FixedWaits(30.0, 60.0)}
    alerts = step({}, [finding()], at(0), patient, {})
    alerts = step(alerts, [finding("critical")], at(29), patient, {})
    assert states(alerts) == {"critical": State.PENDING}
    alerts = step(alerts, [finding("critical")], at(30), patient, {})
    assert states(alerts) == {"critical": State.FIRING}


def test_what_gets_better_is_a_warning_once_it_has_stayed_better() -> None:
    waits = {DETECTOR: FixedWaits(30.0, 60.0)}
    alerts = firing(finding("critical"))
    alerts = step(alerts, [finding()], at(5), waits, {})
    assert states(alerts) == {"critical": State.KEPT}
    alerts = step(alerts, [finding()], at(65), waits, {})
    assert states(alerts) == {"critical": State.RESOLVED, "warning": State.FIRING}


def test_what_gets_better_and_then_ends_is_kept_from_its_end() -> None:
    waits = {DETECTOR: FixedWaits(30.0, 60.0)}
    alerts = step(firing(finding("critical")), [finding()], at(5), waits, {})
    alerts = step(alerts, [finding()], at(60), waits, {})
    for seconds in (65, 119):
        alerts = step(alerts, [], at(seconds), waits, {})
        assert states(alerts) == {"critical": State.KEPT}
    alerts = step(alerts, [], at(120), waits, {})
    assert states(alerts) == {"critical": State.RESOLVED}


def test_of_two_findings_of_one_condition_the_more_severe_counts() -> None:
    for pair in ([finding(), finding("critical")], [finding("critical"), finding()]):
        assert states(firing(*pair)) == {"critical": State.FIRING}


def test_a_resolved_alert_is_remembered_for_fifteen_minutes() -> None:
    alerts = resolved(finding(), until=60)
    almost = step(alerts, (), at(60 + RESOLVED_RETENTION - 1), {}, {})
    assert only(almost) == only(alerts)
    assert step(almost, (), at(60 + RESOLVED_RETENTION), {}, {}) == {}


def test_an_alert_says_what_was_found_last_and_keeps_its_labels() -> None:
    alerts = step(firing(finding()), [finding(summary="more")], at(5), {}, {"team": "new"})
    assert only(alerts).annotations["summary"] == "more"
    assert "team" not in only(alerts).labels


def test_a_detector_that_is_no_more_has_the_usual_waits() -> None:
    alerts = step(firing(finding(detector="gone_detector")), (), at(5), {}, {})
    assert only(alerts).state is State.KEPT
    assert only(step(alerts, (), at(65), {}, {})).state is State.RESOLVED


@pytest.mark.parametrize("looked_at", ["host", "blue"])
def test_a_namespace_that_could_not_be_read_changes_nothing_there(looked_at: str) -> None:
    alerts = firing(finding(), finding(netns="blue"))
    waits = {DETECTOR: FixedWaits(0.0, 0.0)}
    after = step(alerts, (), at(5), waits, {}, lambda netns, _: netns == looked_at)
    assert {k.condition.netns: a.state for k, a in after.items()} == {
        "host": State.FIRING,
        "blue": State.FIRING,
        looked_at: State.RESOLVED,
    }


def test_there_are_alerts_for_a_bounded_number_of_conditions_the_worst_first() -> None:
    many = [finding(port=port) for port in range(1, MOST_CONDITIONS)]
    alerts = firing(*many)
    worst = finding(port=50_001, severity="critical")
    taken, left_out = admitted(alerts, [finding(port=50_000), worst, *many])
    assert left_out == 1
    assert len(taken) == MOST_CONDITIONS
    assert worst in taken
    assert all(each in taken for each in many[:10]), "those that have one keep it"


def test_what_waits_for_its_owner_or_the_next_poll_proves_no_end() -> None:
    """After a restart on a busy host, an owner may be known after several polls."""
    alerts = firing(finding(), finding(port=81))
    (waiting,) = {key.condition for key in firing(finding())}
    for second in range(1, 60):
        alerts = step(alerts, (), at(second), {}, {}, waiting=lambda its: its == waiting)
    states = {key.condition.subject.port: alert.state for key, alert in alerts.items()}
    assert states == {80: State.FIRING, 81: State.KEPT}
