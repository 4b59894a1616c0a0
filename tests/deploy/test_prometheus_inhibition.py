"""Who is told what, by a real Alertmanager with the configuration that is shipped.

Only its receivers' URLs and its waits are changed. Each test has clusters of its own, so that all
share one Alertmanager. That an alert is muted is seen by what its group's message leaves out.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from sockmon.alert.labels import labels_of
from sockmon.detect.registry import ALL
from sockmon.model.finding import Severity
from tests.deploy.alert_cases import CASES
from tests.deploy.promtool import PROMETHEUS
from tests.lab import NetNs, eventually
from tests.servers import Alertmanager, hook_in
from tests.unit.alert.hooks import Hook
from tests.unit.alert.making import finding

pytestmark = [pytest.mark.root, pytest.mark.component("prometheus-alertmanager")]

LEAK, DEAD = "SockmonCloseWaitLeak", "SockmonDeadPeer"

Labels = dict[str, str]


@dataclass
class Told(Alertmanager):
    """An Alertmanager, and what its receivers were told."""

    def __init__(self, netns: NetNs, directory: Path, hook: Hook) -> None:
        super().__init__(netns, directory, yaml.safe_dump(configuration(hook.url)))
        self._hook = hook

    def hears(self, *alerts: Labels, ended: bool = False) -> None:
        """Send alerts, all in one message, as Prometheus and the daemons do."""
        end = {"endsAt": datetime.now(UTC).isoformat()} if ended else {}
        body = json.dumps([{"labels": labels, **end} for labels in alerts])
        url = f"{self.url}/api/v2/alerts"
        header = "Content-Type: application/json"
        self.netns.run(["curl", "-sS", "--fail", "-H", header, "-d", "@-", url], stdin=body)

    def messages(self, cluster: str) -> list[dict[str, Any]]:
        """What was sent of a cluster so far."""
        return [m for m in self._hook.bodies if m["groupLabels"].get("cluster", "") == cluster]

    def told(self, cluster: str) -> set[tuple[str, ...]]:
        """(receiver, alertname, severity, source, instance) of each alert that was."""
        names = ("alertname", "severity", "source", "instance")
        return {
            (message["receiver"], *(alert["labels"].get(name, "") for name in names))
            for message in self.messages(cluster)
            for alert in message["alerts"]
        }

    def tells(self, cluster: str, *expected: tuple[str, ...]) -> None:
        """Return when all these were told, and no other was."""
        eventually(lambda: self.told(cluster), until=lambda t: t >= set(expected))
        assert self.told(cluster) == set(expected)


def configuration(url: str) -> dict[str, Any]:
    """Return the file in deploy/, with other URLs and waits."""
    config: dict[str, Any] = yaml.safe_load((PROMETHEUS / "alertmanager.yml").read_text())
    for receiver in config["receivers"]:
        for hook in receiver["webhook_configs"]:
            hook["url"] = url
    (sockmons,) = config["route"]["routes"]
    sockmons["group_wait"] = sockmons["group_interval"] = "1s"
    return config


@pytest.fixture(scope="module")
def alertmanager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    with NetNs() as netns, hook_in(netns) as hook:
        made = Told(netns, tmp_path_factory.mktemp("alertmanager"), hook)
        try:
            made.run()
            yield made
        finally:
            made.kill()


def rules(alertname: str, severity: str, **labels: str) -> Labels:
    """The Prometheus rules' alert."""
    netns = {"job": "sockmon", "netns": "host"}
    return {"alertname": alertname, "severity": severity, "source": "prometheus", **netns, **labels}


def daemons(alertname: str, severity: Severity, **labels: str) -> Labels:
    """The daemon's own."""
    (detector,) = (detector.name for detector in ALL if detector.alert == alertname)
    return {**labels_of(finding(severity, detector=detector), {}), **labels}


def test_the_daemons_copy_goes_before_the_rules_copy(alertmanager: Told) -> None:
    a, b = {"cluster": "copies", "instance": "a"}, {"cluster": "copies", "instance": "b"}
    alertmanager.hears(rules(LEAK, "warning", **a), rules(LEAK, "warning", **b))
    alertmanager.hears(daemons(LEAK, "warning", **a))
    ours = ("ticket", LEAK, "warning", "sockmon", "a")
    alertmanager.tells("copies", ours, ("ticket", LEAK, "warning", "prometheus", "b"))
    # What the rules say counts again once the daemon says it no more.
    alertmanager.hears(daemons(LEAK, "warning", **a), ended=True)
    theirs = {("ticket", LEAK, "warning", "prometheus", instance) for instance in "ab"}
    alertmanager.tells("copies", ours, *theirs)


def test_no_rule_repeats_what_the_daemon_says(alertmanager: Told) -> None:
    """Each with the very labels that Prometheus gives it, in test_prometheus_alerts."""
    here = {"cluster": "all", "instance": "a"}
    copied = {detector.alert for detector in ALL}
    cases = [case for case in CASES if case.alert in copied]
    for case in cases:
        severity: Severity = "critical" if case.severity == "critical" else "warning"
        theirs = rules(case.alert, severity, **{**case.labels, **here})
        alertmanager.hears(theirs, daemons(case.alert, severity, **here))
    alertmanager.hears(
        *(rules(alert, "warning", cluster="all", instance="b") for alert in copied),
        rules("SockmonPollFailing", "critical", **here),
    )
    alertmanager.tells(
        "all",
        *(("page", alert, "critical", "sockmon", "a") for alert in copied),
        *(("ticket", alert, "warning", "prometheus", "b") for alert in copied),
        ("page", "SockmonPollFailing", "critical", "prometheus", "a"),
    )


def test_a_daemon_that_does_not_know_its_cluster_is_believed(alertmanager: Told) -> None:
    host = {"instance": "unlabelled"}
    theirs = rules(LEAK, "critical", cluster="unlabelled", **host)
    other = rules(LEAK, "critical", cluster="unlabelled", instance="b")
    alertmanager.hears(daemons(LEAK, "critical", **host), theirs, other)
    alertmanager.tells("unlabelled", ("page", LEAK, "critical", "prometheus", "b"))
    eventually(
        lambda: alertmanager.told(""),
        until=lambda told: ("page", LEAK, "critical", "sockmon", "unlabelled") in told,
    )


def test_critical_mutes_warning_of_one_name_host_and_namespace(alertmanager: Told) -> None:
    a = {"cluster": "severities", "instance": "a"}
    alertmanager.hears(
        rules(LEAK, "critical", **a),
        rules(LEAK, "warning", **a, direction="inbound", port="80", owner="app.service"),
        rules(LEAK, "warning", **{**a, "netns": "blue"}, direction="inbound", port="81"),
        rules(LEAK, "warning", cluster="severities", instance="b"),
        rules(DEAD, "warning", **a),
    )
    alertmanager.tells(
        "severities",
        ("page", LEAK, "critical", "prometheus", "a"),
        ("ticket", LEAK, "warning", "prometheus", "a"),
        ("ticket", LEAK, "warning", "prometheus", "b"),
        ("ticket", DEAD, "warning", "prometheus", "a"),
    )
    warned = [
        alert["labels"]["netns"]
        for message in alertmanager.messages("severities")
        for alert in message["alerts"]
        if (alert["labels"]["alertname"], alert["labels"]["severity"]) == (LEAK, "warning")
        and alert["labels"]["instance"] == "a"
    ]
    assert set(warned) == {"blue"}


@pytest.mark.parametrize("knows_its_cluster", [True, False])
@pytest.mark.parametrize(
    ("daemon", "prometheus", "told"),
    [
        ("warning", ("warning", "critical"), ("page", LEAK, "critical", "prometheus")),
        ("critical", ("warning",), ("page", LEAK, "critical", "sockmon")),
        ("critical", ("warning", "critical"), ("page", LEAK, "critical", "sockmon")),
    ],
)
def test_when_they_disagree_the_worse_one_is_told(
    alertmanager: Told,
    daemon: Severity,
    prometheus: tuple[str, ...],
    told: tuple[str, ...],
    *,
    knows_its_cluster: bool,
) -> None:
    host = "-".join((daemon, *prometheus, str(knows_its_cluster)))
    here = {"cluster": f"of-{host}", "instance": host}
    known = here if knows_its_cluster else {"instance": host}
    alertmanager.hears(
        *(rules(LEAK, severity, **here) for severity in prometheus),
        daemons(LEAK, daemon, **known),
        # OtherNamespaces, which are told with whatever of this host is not muted.
        rules(LEAK, "warning", **{**here, "instance": f"{host}-b"}),
        daemons(LEAK, "warning", **{**known, "instance": f"{host}-c"}),
    )
    expected = {
        (*told, host),
        ("ticket", LEAK, "warning", "prometheus", f"{host}-b"),
        ("ticket", LEAK, "warning", "sockmon", f"{host}-c"),
    }

    def heard() -> set[tuple[str, ...]]:
        all_told = alertmanager.told(here["cluster"]) | alertmanager.told("")
        return {each for each in all_told if each[-1].startswith(host)}

    assert eventually(heard, until=lambda these: these >= expected) == expected


def down(**labels: str) -> Labels:
    target = {"job": "sockmon", "severity": "critical", "source": "prometheus"}
    return {"alertname": "SockmonDown", **target, **labels}


def test_a_host_that_is_down_says_no_more(alertmanager: Told) -> None:
    a = {"cluster": "down", "instance": "a"}
    alertmanager.hears(
        down(**a),
        down(cluster="down", instance="d"),
        rules(DEAD, "critical", **a),
        daemons(LEAK, "warning", **a),
        daemons(DEAD, "critical", instance="d"),  # not told its cluster
        rules(DEAD, "critical", cluster="down", instance="b"),
        daemons(LEAK, "warning", cluster="down", instance="b"),
        rules(DEAD, "critical", cluster="elsewhere", instance="a"),
        daemons(DEAD, "critical", instance="c"),
    )
    alertmanager.tells("elsewhere", ("page", DEAD, "critical", "prometheus", "a"))
    alertmanager.tells(
        "down",
        ("page", "SockmonDown", "critical", "prometheus", "a"),
        ("page", "SockmonDown", "critical", "prometheus", "d"),
        ("page", DEAD, "critical", "prometheus", "b"),
        ("ticket", LEAK, "warning", "sockmon", "b"),
    )
    unlabelled = eventually(lambda: {told for told in alertmanager.told("") if told[1] == DEAD})
    assert unlabelled == {("page", DEAD, "critical", "sockmon", "c")}


def test_a_dead_daemons_alerts_are_not_told_as_resolved(alertmanager: Told) -> None:
    a = daemons(LEAK, "warning", cluster="dead", instance="a")
    b = daemons(LEAK, "warning", cluster="dead", instance="b")
    alertmanager.hears(a, b)
    alertmanager.tells(
        "dead", *(("ticket", LEAK, "warning", "sockmon", instance) for instance in "ab")
    )
    alertmanager.hears(down(cluster="dead", instance="a"))
    eventually(lambda: any(told[1] == "SockmonDown" for told in alertmanager.told("dead")))
    alertmanager.hears(a, b, ended=True)

    def resolved() -> set[str]:
        return {
            alert["labels"]["instance"]
            for message in alertmanager.messages("dead")
            for alert in message["alerts"]
            if alert["status"] == "resolved"
        }

    assert eventually(resolved) == {"b"}


def test_who_does_not_say_which_host_mutes_nobody(alertmanager: Told) -> None:
    """SockmonDown does not when all targets have gone."""
    alertmanager.hears(
        down(cluster="gone"),
        rules(DEAD, "warning", cluster="gone"),
        daemons(DEAD, "warning", cluster="gone"),
        daemons(LEAK, "warning", cluster="gone"),
        rules(LEAK, "critical", cluster="gone"),
        daemons("SockmonSynBacklog", "critical"),
        rules("SockmonSynBacklog", "critical", cluster="gone"),
    )
    alertmanager.tells(
        "gone",
        ("page", "SockmonDown", "critical", "prometheus", ""),
        ("ticket", DEAD, "warning", "prometheus", ""),
        ("ticket", DEAD, "warning", "sockmon", ""),
        ("ticket", LEAK, "warning", "sockmon", ""),
        ("page", LEAK, "critical", "prometheus", ""),
        ("page", "SockmonSynBacklog", "critical", "prometheus", ""),
    )


def test_a_version_that_leaks_in_every_container_is_one_page_that_lists_them(
    alertmanager: Told,
) -> None:
    """Fifty of one host, and a host that is well but for one; the rules have found them too."""
    pods = [{"instance": "a", "netns": f"{n:012x}"} for n in range(50)]
    pods.append({"instance": "b", "netns": "0123456789ab"})
    for its in pods:
        its["cluster"] = "containers"
    owned = [{**its, "owner": its["netns"], "direction": "inbound", "port": "80"} for its in pods]
    alertmanager.hears(
        *(rules(LEAK, "critical", **its) for its in pods),
        *(rules(LEAK, "warning", **its) for its in owned),
        *(daemons(LEAK, "critical", **its) for its in owned),
        # What is critical elsewhere on the host mutes none of it.
        daemons(LEAK, "warning", cluster="containers", instance="a"),
        daemons(DEAD, "warning", **pods[0]),
    )

    def told() -> set[tuple[str, ...]]:
        return {
            (message["receiver"], alert["labels"]["instance"], alert["labels"]["netns"])
            for message in alertmanager.messages("containers")
            for alert in message["alerts"]
            if alert["labels"]["alertname"] == LEAK
        }

    expected = {("page", its["instance"], its["netns"]) for its in pods}
    expected.add(("ticket", "a", "host"))
    assert eventually(told, until=lambda these: these >= expected) == expected

    def named() -> list[tuple[str, str]]:
        return sorted(
            (message["receiver"], message["groupLabels"]["alertname"])
            for message in alertmanager.messages("containers")
        )

    wanted = [("page", LEAK), ("ticket", LEAK), ("ticket", DEAD)]
    assert eventually(named, until=lambda these: len(these) >= len(wanted)) == wanted
    messages = alertmanager.messages("containers")
    sources = {alert["labels"]["source"] for message in messages for alert in message["alerts"]}
    assert sources == {"sockmon"}


def test_a_service_that_leaks_everywhere_is_one_page_a_cluster(alertmanager: Told) -> None:
    for cluster in ("fleet-1", "fleet-2"):
        leaks = [daemons(LEAK, "critical", cluster=cluster, instance=f"n{n}") for n in range(200)]
        alertmanager.hears(*leaks, daemons(DEAD, "critical", cluster=cluster, instance="n1"))
    for cluster in ("fleet-1", "fleet-2"):
        eventually(lambda c=cluster: len(alertmanager.told(c)) == 201)  # type: ignore[misc]
        names = [message["groupLabels"]["alertname"] for message in alertmanager.messages(cluster)]
        assert sorted(names) == [LEAK, DEAD]
