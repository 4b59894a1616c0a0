"""The history of alerts tells of every beginning and every end, each once."""

from hypothesis import given
from hypothesis import strategies as st

from sockmon.alert.changes import changes
from sockmon.alert.lifecycle import Alerts, FixedWaits, step
from sockmon.history.snapshot import AlertChange
from sockmon.model.finding import Finding
from tests.unit.alert.making import DETECTOR, at, finding, firing, only, resolved

WAITS = {DETECTOR: FixedWaits(for_=10.0, keep_firing_for=10.0)}


def test_a_beginning_and_an_end() -> None:
    alerts: Alerts = {}
    told: list[AlertChange] = []
    for number in range(12):
        before = alerts
        alerts = step(alerts, [finding()] if number < 6 else [], at(5 * number), WAITS, {"a": "b"})
        told += changes(before.values(), alerts.values())
    begun, ended = told
    assert (begun.state, begun.at, begun.firing_since) == ("firing", at(10).wall, at(10).wall)
    assert (ended.state, ended.at, ended.firing_since) == ("resolved", at(40).wall, at(10).wall)
    assert begun.labels == ended.labels
    assert {"a": "b", "severity": "warning"}.items() <= begun.labels.items()
    assert begun.summary == finding().summary
    assert ended.summary == f"no longer: {finding().summary}"
    assert begun.previous_severity is ended.previous_severity is None


def test_what_never_fired_is_not_told() -> None:
    pending = step({}, [finding()], at(0), WAITS, {})
    gone = step(pending, [], at(5), WAITS, {})
    assert list(changes((), pending.values())) == []
    assert list(changes(pending.values(), gone.values())) == []


def test_what_a_restart_found_is_not_told_again() -> None:
    for alerts in (firing(finding()), resolved(finding())):
        assert list(changes(alerts.values(), alerts.values())) == []


def test_a_change_of_severity_is_one_event() -> None:
    before = firing(finding("warning"))
    after = step(before, [finding("critical")], at(5), WAITS, {})
    (change,) = changes(before.values(), after.values())
    assert (change.state, change.at, change.firing_since) == ("firing", at(5).wall, at(5).wall)
    assert (change.previous_severity, change.labels["severity"]) == ("warning", "critical")


def test_one_that_fires_again_is_told_again() -> None:
    ended = resolved(finding())
    again = step(ended, [finding()], at(100), {DETECTOR: FixedWaits(0.0, 0.0)}, {})
    (change,) = changes(ended.values(), again.values())
    assert (change.state, change.at) == ("firing", only(again).entered.wall)


@given(st.lists(st.sampled_from([(), (finding("warning"),), (finding("critical"),)]), max_size=60))
def test_beginnings_and_ends_take_turns(polls: list[tuple[Finding, ...]]) -> None:
    alerts: Alerts = {}
    severity: str | None = None
    for number, findings in enumerate(polls):
        before = alerts
        alerts = step(alerts, findings, at(5 * number), WAITS, {})
        for change in changes(before.values(), alerts.values()):
            if change.state == "firing":
                assert change.previous_severity == severity
                severity = change.labels["severity"]
            else:
                assert change.labels["severity"] == severity
                severity = None
    assert [key.severity for key, alert in alerts.items() if alert.firing] == [severity] * bool(
        severity
    )
