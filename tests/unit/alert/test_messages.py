"""What receivers are due, and the JSON they get."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from sockmon.alert.lifecycle import Alert, Alerts, State, step
from sockmon.alert.notify import alertmanager, webhook
from sockmon.alert.notify.log import line
from sockmon.alert.notify.receiver import AlertSnapshot, Sent, Told, having_told, news, renewals
from sockmon.model.moment import Moment
from tests.unit.alert.making import AT_ONCE, WALL, at, finding, firing, only, resolved


def bulletin(alerts: Alerts, seconds: float, interval: float = 5.0) -> AlertSnapshot:
    return AlertSnapshot(at(seconds), interval, tuple(alerts.values()))


def known(*alerts: Alert) -> Told:
    told: Told = {}
    for alert in alerts:
        told = having_told(told, alert)
    return told


class TestNews:
    def test_is_told_once(self) -> None:
        alerts = firing(finding())
        assert list(news({}, bulletin(alerts, 0))) == [only(alerts)]
        assert list(news(known(only(alerts)), bulletin(alerts, 5))) == []

    def test_of_an_end_is_told_to_those_who_know_of_the_beginning(self) -> None:
        alerts = resolved(finding(), until=60)
        assert list(news({}, bulletin(alerts, 60))) == []
        told = known(only(firing(finding())))
        assert list(news(told, bulletin(alerts, 60))) == [only(alerts)]
        assert having_told(told, only(alerts)) == {}

    @pytest.mark.parametrize("again", [False, True])
    def test_of_an_end_survives_the_alert_itself(self, *, again: bool) -> None:
        told = known(only(firing(finding())))
        later = step({}, [finding()] if again else [], at(9999), {}, {})
        (end,) = news(told, bulletin(later, 9999))
        assert (end.state, end.entered) == (State.RESOLVED, at(9999))
        assert end.fired == at(0)

    def test_leaves_out_what_came_and_went_while_nobody_listened(self) -> None:
        told = known(only(firing(finding())))
        again = firing(finding(), since=600)
        assert list(news(told, bulletin(again, 600))) == []

    def test_of_pending_alerts_is_none(self) -> None:
        alerts = step({}, [finding()], at(0), {}, {})
        assert list(news({}, bulletin(alerts, 0))) == []


class TestRenewals:
    def test_are_due_again_after_the_resend_delay(self) -> None:
        alerts = firing(finding())
        key = only(alerts).key
        assert list(renewals({}, bulletin(alerts, 0), 60)) == [only(alerts)]
        sent = {key: Sent(at(0).monotonic, firing=True)}
        assert list(renewals(sent, bulletin(alerts, 59), 60)) == []
        assert list(renewals(sent, bulletin(alerts, 60), 60)) == [only(alerts)]

    def test_are_due_at_once_when_it_is_resolved(self) -> None:
        alerts = resolved(finding(), until=5)
        sent = {only(alerts).key: Sent(at(0).monotonic, firing=True)}
        assert list(renewals(sent, bulletin(alerts, 5), 60)) == [only(alerts)]


def postable(alerts: Alerts, seconds: float, interval: float = 5.0) -> dict[str, Any]:
    message = alertmanager.message(tuple(alerts.values()), bulletin(alerts, seconds, interval), 60)
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


class TestWebhook:
    def test_speaks_alertmanagers_fourth_version(self) -> None:
        message = json.loads(webhook.message(only(firing(finding(), since=10)), "webhook-0"))
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
        message = json.loads(webhook.message(only(alerts), "webhook-0"))
        assert message["commonAnnotations"] == message["alerts"][0]["annotations"]
        assert message["commonAnnotations"]["summary"] == "db-7: 80 leaks"

    def test_tells_when_it_ended(self) -> None:
        message = json.loads(webhook.message(only(resolved(finding(), until=60)), "webhook-0"))
        (alert,) = message["alerts"]
        assert message["status"] == alert["status"] == "resolved"
        assert wall(alert["endsAt"]) == 60

    def test_fingerprints_are_fnv_1a(self) -> None:
        assert webhook.fingerprint({}) == "cbf29ce484222325"
        assert webhook.fingerprint({"a": "b"}) != webhook.fingerprint({"ab": ""})


def test_a_line_of_the_log() -> None:
    alert = only(firing(finding(direction=None, port=None, owner=None, summary="too many")))
    assert line(alert) == (
        'firing: SockmonCloseWaitLeak{netns="host",severity="warning",source="sockmon"}: too many'
    )
