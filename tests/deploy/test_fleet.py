"""Twelve hosts with different troubles, one Prometheus, one Alertmanager, all with what is shipped.

Changed are only intervals, waits and the receivers' URLs. Daemons and Prometheus both tell the
Alertmanager: nobody may hear of one trouble twice.
"""

import json
import re
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.fleet import CLUSTER, Fleet, all_running, fleet
from tests.deploy.promtool import PROMETHEUS
from tests.lab import NetNs, eventually, experiments, states
from tests.running import PORT, RunningDaemon
from tests.servers import Alertmanager, Prometheus, hook_in, prometheus
from tests.unit.alert.hooks import Hook

pytestmark = [
    pytest.mark.root,
    pytest.mark.component("prometheus"),
    pytest.mark.component("prometheus-alertmanager"),
]

LEAK, QUEUE = "SockmonCloseWaitLeak", "SockmonAcceptQueue"
STALLED, CLOSING, DOWN = "SockmonConnectStalled", "SockmonClosingStalled", "SockmonDown"
#: Which hosts have which trouble; the others are well.
TROUBLES: Mapping[str, tuple[int, ...]] = {
    LEAK: (1, 2, 3),
    QUEUE: (4, 5),
    STALLED: (6, 7),
    CLOSING: (8,),
}
HOSTS = 12
BY_ITS_NODE = "host-11"  # the one whose configuration does not name it


def trouble(kind: str, netns: NetNs) -> AbstractContextManager[Any]:
    match kind:
        case "SockmonCloseWaitLeak":
            return experiments.unclosed(netns, count=12)
        case "SockmonAcceptQueue":
            # Without drops: SYNs are sent again ever more seldom, and "critical" came and went.
            return experiments.full_queue(netns, overflow=0)
        case "SockmonConnectStalled":
            return states.syn_sent(netns, count=55)  # critical from 50 on
        case _:
            return states.last_ack(netns, count=12)


def names(kind: str) -> list[str]:
    return [f"host-{number:02}" for number in TROUBLES[kind]]


@dataclass
class Watched:
    """The fleet under watch."""

    daemons: Mapping[str, RunningDaemon]
    prometheus: Prometheus
    alertmanager: Alertmanager
    hook: Hook
    troubles: ExitStack = field(repr=False)

    def messages(self, kind: str, status: str = "firing") -> list[dict[str, Any]]:
        """What the receivers were told of alerts of this name, message by message."""
        return [
            body
            for body in self.hook.bodies
            if body["groupLabels"]["alertname"] == kind and body["status"] == status
        ]

    def inhibited(self, kind: str, source: str) -> list[str]:
        """The hosts whose alert of this name and source is muted."""
        return sorted(
            alert["labels"]["instance"]
            for alert in self.alertmanager.alerts()
            if (alert["labels"]["alertname"], alert["labels"]["source"]) == (kind, source)
            and alert["status"]["inhibitedBy"]
        )

    def record(self, name: str) -> dict[str, float]:
        """A recorded series' values by their labels but for cluster and job."""
        known = ("__name__", "cluster", "job")
        found = ((json.loads(labels), v) for labels, v in self.prometheus.query(name).items())
        return {
            " ".join(f"{k}={v}" for k, v in labels.items() if k not in known): value
            for labels, value in found
        }


def configure_alertmanager(url: str) -> str:
    text = (PROMETHEUS / "alertmanager.yml").read_text()
    text = re.sub(r"http://(page|ticket)\.example\.invalid/replace-me", url, text)
    text = re.sub(r"group_wait: \w+", "group_wait: 10s", text)
    return re.sub(r"group_interval: \w+", "group_interval: 1s", text)


def configure_prometheus(directory: Path, hosts: Fleet) -> str:
    config = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
    config["global"].update(scrape_interval="1s", scrape_timeout="1s", evaluation_interval="1s")
    (manager,) = config["alerting"]["alertmanagers"]
    manager["path_prefix"] = "/am"
    shutil.copytree(PROMETHEUS / "rules", directory / "rules")
    alerts = directory / "rules" / "sockmon-alerts.yml"
    waits = re.sub(r"\b(for|keep_firing_for): \w+", r"\1: 1s", alerts.read_text())
    # A scrape may come too late, but not five.
    down = re.compile(r"(alert: SockmonDown$.*?\bfor:) \w+", re.MULTILINE | re.DOTALL)
    alerts.write_text(down.sub(r"\1 5s", waits))
    (directory / "targets").mkdir()
    # By address, with a name each, as those do who have no DNS.
    targets = [
        {"targets": [f"{host.address}:{PORT}"], "labels": {"instance": host.name}}
        for host in hosts.hosts
    ]
    (directory / "targets" / "fleet.yml").write_text(yaml.safe_dump(targets))
    return yaml.safe_dump(config)


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    directory = tmp_path_factory.mktemp("fleet")
    with ExitStack() as stack:
        hosts = stack.enter_context(fleet(HOSTS))
        hook = stack.enter_context(hook_in(hosts.watcher))
        alertmanager = Alertmanager(hosts.watcher, directory, configure_alertmanager(hook.url))
        stack.callback(alertmanager.kill)
        alertmanager.run()
        running = {
            host.name: host.daemon(directory, names_itself=host.name != BY_ITS_NODE)
            for host in hosts.hosts
        }
        daemons = stack.enter_context(all_running(running))
        (directory / "prometheus").mkdir()
        config = configure_prometheus(directory / "prometheus", hosts)
        server = stack.enter_context(prometheus(hosts.watcher, directory / "prometheus", config))
        troubles = stack.enter_context(ExitStack())
        for kind, numbers in TROUBLES.items():
            for number in numbers:
                troubles.enter_context(trouble(kind, hosts.hosts[number - 1].netns))
        yield Watched(daemons, server, alertmanager, hook, troubles)


def test_a_fleet_from_trouble_to_its_end(watched: Watched) -> None:
    """One story, since each chapter needs the one before."""
    one_message_a_trouble(watched)
    what_is_recorded_is_what_the_daemons_say(watched)
    hosts_that_fall_silent_are_told_of_and_mute_themselves_alone(watched)
    what_is_mended_is_told_as_ended(watched)


def one_message_a_trouble(watched: Watched) -> None:
    for kind in TROUBLES:
        eventually(lambda k=kind: watched.messages(k))  # type: ignore[misc]
        # The rules have found it too, and are muted: the daemons know more.
        eventually(
            lambda k=kind: watched.inhibited(k, "prometheus"),  # type: ignore[misc]
            until=lambda muted, k=kind: set(muted) == set(names(k)),  # type: ignore[misc]
        )
    for kind in TROUBLES:
        (message,) = watched.messages(kind)
        told = [
            (alert["labels"]["instance"], alert["labels"]["source"]) for alert in message["alerts"]
        ]
        assert sorted(told) == [(name, "sockmon") for name in names(kind)], kind
        assert message["groupLabels"] == {"alertname": kind, "cluster": CLUSTER}
        assert message["receiver"] == ("page" if kind == STALLED else "ticket")
    assert {body["groupLabels"]["alertname"] for body in watched.hook.bodies} == set(TROUBLES)


def what_is_recorded_is_what_the_daemons_say(watched: Watched) -> None:
    def said() -> dict[str, float]:
        """The fleet's sockets as its daemons count them now."""
        total: Counter[str] = Counter()
        for daemon in watched.daemons.values():
            for labels, value in daemon.samples("sockmon_sockets").items():
                at = dict(labels)
                total[f"protocol={at['protocol']} state={at['state']}"] += int(value)
        return {key: float(value) for key, value in total.items()}

    def compared() -> tuple[dict[str, float], dict[str, float]]:
        recorded = watched.record("cluster_job_protocol_state:sockmon_sockets:sum")
        steady = ("close_wait", "last_ack", "listen", "syn_sent", "syn_recv", "closing")
        return tuple(  # type: ignore[return-value]
            {key: value for key, value in counts.items() if key.endswith(steady)}
            for counts in (recorded, said())
        )

    recorded, _ = eventually(compared, until=lambda both: both[0] == both[1])
    assert recorded["protocol=tcp state=close_wait"] == 12 * len(TROUBLES[LEAK])
    eventually(lambda: watched.record("cluster_job:up:sum"), until={"": HOSTS}.__eq__)
    findings = watched.record("cluster_job_detector_severity:sockmon_findings:count")
    assert findings["detector=close_wait_leak severity=warning"] == len(TROUBLES[LEAK])
    worst = watched.record("cluster_instance_job:sockmon_severity:max")
    well = {name for name, severity in worst.items() if severity == 0}
    troubled = {f"instance={name}" for kind in TROUBLES for name in names(kind)}
    assert len(worst) == HOSTS
    assert well == worst.keys() - troubled
    assert f"instance={BY_ITS_NODE}" in well


def hosts_that_fall_silent_are_told_of_and_mute_themselves_alone(watched: Watched) -> None:
    """One that leaks goes, and one that was well: the one that goes by its node's name."""
    gone = [names(LEAK)[-1], BY_ITS_NODE]
    for name in gone:
        assert watched.daemons[name].stop() == 0
    message = eventually(lambda: watched.messages(DOWN))[0]
    assert message["receiver"] == "page"
    eventually(
        lambda: [
            alert["labels"]["instance"] for m in watched.messages(DOWN) for alert in m["alerts"]
        ],
        until=lambda told: set(told) == set(gone),
    )
    # Its leak runs out unheard: nobody is told that it ended, and the others' goes on.
    eventually(lambda: leaking(watched), until=lambda left: left == names(LEAK)[:-1])
    assert len(watched.messages(LEAK)) == 1
    assert watched.messages(LEAK, "resolved") == []
    eventually(lambda: watched.record("cluster_job:up:sum"), until={"": HOSTS - 2}.__eq__)


def leaking(watched: Watched) -> list[str]:
    return sorted(
        alert["labels"]["instance"]
        for alert in watched.alertmanager.alerts()
        if (alert["labels"]["alertname"], alert["labels"]["source"]) == (LEAK, "sockmon")
    )


def what_is_mended_is_told_as_ended(watched: Watched) -> None:
    watched.troubles.close()
    for kind in TROUBLES:
        eventually(lambda k=kind: watched.messages(k, "resolved"))  # type: ignore[misc]
    eventually(
        lambda: {alert["labels"]["alertname"] for alert in watched.alertmanager.alerts()},
        until=lambda left: left == {DOWN},
    )
    # Alertmanager tells an end again that was not in its last message of the group.
    # The rules' copies went unheard from beginning to end.
    told = [alert["labels"] for body in watched.hook.bodies for alert in body["alerts"]]
    sources = {(labels["alertname"] == DOWN, labels["source"]) for labels in told}
    assert sources == {(False, "sockmon"), (True, "prometheus")}
