"""What receivers are due, and the JSON they get."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from sockmon.alert.lifecycle import Alert, Alerts, State, step
from sockmon.alert.notify import alertmanager, webhook
from sockmon.alert.notify.log import line
from sockmon.alert.notify.receiver import (
    AlertSnapshot,
    Reported,
    Sent,
    after_sending,
    news,
    renewals,
)
from sockmon.model.finding import Severity
from sockmon.model.moment import Moment
from tests.unit.alert.making import AT_ONCE, WALL, at, finding, firing, only, resolved


def snapshot(alerts: Alerts, seconds: float, interval: float = 5.0) -> AlertSnapshot:
    return AlertSnapshot(at(seconds), interval, tuple(alerts.values()))


def known(*alerts: Alert) -> Reported:
    return after_sending({}, alerts)


class TestNews:
    def test_is_told_once(self) -> None:
        alerts = firing(finding())
        assert list(news({}, snapshot(alerts, 0))) == [(only(alerts),)]
        assert list(news(known(only(alerts)), snapshot(alerts, 5))) == []

    def test_of_an_end_is_told_to_those_who_know_of_the_beginning(self) -> None:
        alerts = resolved(finding(), until=60)
        assert list(news({}, snapshot(alerts, 60))) == []
        told = known(only(firing(finding())))
        assert list(news(told, snapshot(alerts, 60))) == [(only(alerts),)]
        assert after_sending(told, (only(alerts),)) == {}

    @pytest.mark.parametrize("again", [False, True])
    def test_of_an_end_survives_the_alert_itself(self, *, again: bool) -> None:
        told = known(only(firing(finding())))
        later = step({}, [finding()] if again else [], at(9999), {}, {})
        ((end,),) = news(told, snapshot(later, 9999))
        assert (end.state, end.entered) == (State.RESOLVED, at(9999))
        assert end.fired == at(0)

    def test_leaves_out_what_came_and_went_while_nobody_listened(self) -> None:
        told = known(only(firing(finding())))
        again = firing(finding(), since=600)
        assert list(news(told, snapshot(again, 600))) == []

    @pytest.mark.parametrize(
        ("before", "after"), [("warning", "critical"), ("critical", "warning")]
    )
    def test_of_a_change_of_severity_is_one_batch(self, before: Severity, after: Severity) -> None:
        alerts = firing(finding(before))
        for second in (5, 6):  # what was worse is kept for one poll
            alerts = step(alerts, [finding(after)], at(second), AT_ONCE, {})
        told = known(only(firing(finding(before))))
        (batch,) = news(told, snapshot(alerts, 6))
        assert [(alert.key.severity, alert.firing) for alert in batch] == [
            (before, False),
            (after, True),
        ]
        assert [key.severity for key in after_sending(told, batch)] == [after]

    def test_of_pending_alerts_is_none(self) -> None:
        alerts = step({}, [finding()], at(0), {}, {})
        assert list(news({}, snapshot(alerts, 0))) == []


class TestRenewals:
    def test_are_due_again_after_the_resend_delay(self) -> None:
        alerts = firing(finding())
        key = only(alerts).key
        assert list(renewals({}, snapshot(alerts, 0), 60)) == [only(alerts)]
        sent = {key: Sent(at(0).monotonic, firing=True)}
        assert list(renewals(sent, snapshot(alerts, 59), 60)) == []
        assert list(renewals(sent, snapshot(alerts, 60), 60)) == [only(alerts)]

    def test_are_due_at_once_when_it_is_resolved(self) -> None:
        alerts = resolved(finding(), until=5)
        sent = {only(alerts).key: Sent(at(0).monotonic, firing=True)}
        assert list(renewals(sent, snapshot(alerts, 5), 60)) == [only(alerts)]


def postable(alerts: Alerts, seconds: float, interval: float = 5.0) -> dict[str, Any]:
    message = alertmanager.message(tuple(alerts.values()), snapshot(alerts, seconds, interval), 60)
    (alert,) = json.loads(message)
    assert isinstance(alert, dict)
    return alert


def wall(text: str) -> float:
    moment = datetime.fromisoformat(text)
    assert moment.tzinfo == UTC
    return moment.timestamp() - WALL


class TestAlertmanager:
    @pytest.mark.parametrize(("interval", "ends"), [(5.0, 240.0), (300.0, 1200.0)])
    def test_a_firing_alert_ends_unless_it_is_repeated(self, interval: float, ends: float) -> None:
        alert = postable(firing(finding(), since=10), 70, interval)
        assert wall(alert["startsAt"]) == 10
        assert wall(alert["endsAt"]) == 70 + ends
        assert alert["labels"]["alertname"] == "SockmonCloseWaitLeak"
        assert set(alert["annotations"]) == {"summary", "description", "runbook_url"}

    def test_the_summary_names_the_host(self) -> None:
        alert = postable(firing(finding(summary="80 leaks"), instance="db-7"), 70)
        assert alert["annotations"]["summary"] == "db-7: 80 leaks"

    def test_a_resolved_alert_has_ended(self) -> None:
        alert = postable(resolved(finding(), since=10, until=60), 100)
        assert (wall(alert["startsAt"]), wall(alert["endsAt"])) == (10, 60)

    def test_nothing_ends_before_it_starts_though_the_clock_was_set_back(self) -> None:
        fires = firing(finding(), since=100_000)
        for alerts in (fires, step(fires, (), Moment(at(100_005).monotonic, WALL), AT_ONCE, {})):
            now = Moment(at(100_005).monotonic, WALL)
            batch = tuple(alerts.values())
            (alert,) = json.loads(alertmanager.message(batch, AlertSnapshot(now, 5, batch), 60))
            assert wall(alert["startsAt"]) <= wall(alert["endsAt"])


def summary_of(*batch: Alert) -> str:
    (alert,) = json.loads(webhook.message(batch, "webhook-0"))["alerts"]
    return str(alert["annotations"]["summary"])


class TestWebhook:
    def test_speaks_alertmanagers_fourth_version(self) -> None:
        message = json.loads(webhook.message((only(firing(finding(), since=10)),), "webhook-0"))
        (alert,) = message.pop("alerts")
        labels = alert["labels"]
        assert message == {
            "version": "4",
            "groupKey": '{}:{alertname="SockmonCloseWaitLeak", direction="inbound", netns="host", '
            'owner="nginx.service", port="80", severity="warning", '
            'source="sockmon"}',
            "truncatedAlerts": 0,
            "status": "firing",
            "receiver": "webhook-0",
            "groupLabels": labels,
            "commonLabels": labels,
            "commonAnnotations": alert["annotations"],
            "externalURL": "",
        }
        assert wall(alert["startsAt"]) == 10
        assert (alert["status"], alert["endsAt"]) == ("firing", "0001-01-01T00:00:00Z")

    def test_names_the_host_in_the_summary(self) -> None:
        alerts = firing(finding(summary="80 leaks"), instance="db-7")
        message = json.loads(webhook.message((only(alerts),), "webhook-0"))
        assert message["commonAnnotations"] == message["alerts"][0]["annotations"]
        assert message["commonAnnotations"]["summary"] == "db-7: 80 leaks"

    def test_tells_when_it_ended(self) -> None:
        alert = only(resolved(finding(), until=60))
        message = json.loads(webhook.message((alert,), "webhook-0"))
        (alert,) = message["alerts"]
        assert message["status"] == alert["status"] == "resolved"
        assert wall(alert["endsAt"]) == 60

    def test_says_of_a_resolved_alert_what_no_longer_holds(self) -> None:
        alerts = resolved(finding(summary="80 leaks"))
        assert summary_of(only(alerts)) == "no longer: 80 leaks"
        away = step(firing(finding(summary="80 leaks"), instance="db-7"), (), at(5), AT_ONCE, {})
        assert summary_of(only(away)) == "no longer: db-7: 80 leaks"

    def test_says_what_an_alert_has_become(self) -> None:
        warning, critical = only(firing(finding())), finding("critical", summary="80 leaks")
        worse = only(firing(critical, instance="db-7"))
        assert summary_of(warning, worse) == "now critical: db-7: 80 leaks"

    def test_fingerprints_are_fnv_1a(self) -> None:
        assert webhook.fingerprint({}) == "cbf29ce484222325"
        assert webhook.fingerprint({"a": "b"}) != webhook.fingerprint({"ab": ""})


def test_a_line_of_the_log() -> None:
    alert = only(firing(finding(direction=None, port=None, owner=None, summary="too many")))
    assert line((alert,)) == (
        'firing: SockmonCloseWaitLeak{netns="host",severity="warning",source="sockmon"}: too many'
    )
