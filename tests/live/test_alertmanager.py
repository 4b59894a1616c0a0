"""A real Alertmanager hears of what fires, as long as it does, and of what no longer does."""

import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from sockmon.alert.lifecycle import FixedWaits
from sockmon.alert.manager import AlertManager
from sockmon.alert.notify.webhook import fingerprint, message
from sockmon.alert.settings import Alerting, AlertmanagerSettings, Authorization
from sockmon.clock import now
from sockmon.model.finding import Finding, Quantity
from sockmon.state.file import StateFile, boot_id
from sockmon.state.store import StateStore
from tests.lab import PATIENCE, NetNs, eventually
from tests.servers import ALERTMANAGER_PORT, Alertmanager, hook_in
from tests.unit.alert.hooks import Hook, hook
from tests.unit.alert.making import DETECTOR, finding

pytestmark = [pytest.mark.root, pytest.mark.component("prometheus-alertmanager")]

CONFIG = """
route:
  receiver: hook
  group_by: [alertname, owner]
  group_wait: 100ms
  group_interval: 200ms
  repeat_interval: 1h
receivers:
  - name: hook
    webhook_configs: [{url: "%s", send_resolved: true}]
"""


class Told(Alertmanager):
    """An Alertmanager that tells a hook of ours what it makes of it."""

    def __init__(self, netns: NetNs, directory: Path, told: Hook) -> None:
        super().__init__(netns, directory, CONFIG % told.url)
        self.told = told


URL = Alertmanager.url


@pytest.fixture
def alertmanager(netns: NetNs, tmp_path: Path) -> Iterator[Told]:
    with hook_in(netns) as told:
        made = Told(netns, tmp_path, told)
        try:
            made.run()
            yield made
        finally:
            made.kill()


@dataclass
class Running:
    """An AlertManager in the namespace, polled by the test."""

    netns: NetNs
    manager: AlertManager

    def poll(self, *findings: Finding) -> None:
        self.manager.observe(findings, now(), 0.05)

    def taken(self, receiver: str = "alertmanager-0") -> int:
        """Messages that arrived."""
        counts = self.manager.notifications()[receiver]
        return counts.total - counts.failed


@contextmanager
def running(
    netns: NetNs,
    *urls: str,
    state: Path | None = None,
    resend_delay: float = 60.0,
    timeout: float = 1.0,
) -> Iterator[Running]:
    settings = Alerting(
        AlertmanagerSettings(urls=urls, timeout=timeout, resend_delay=resend_delay),
        labels={"team": "web"},
    )
    store = StateStore(StateFile(state, boot_id()) if state else None, now().monotonic)
    waits = {DETECTOR: FixedWaits(0.0, 0.0)}
    # Its threads are born in the namespace, and stay there.
    manager = netns.call(AlertManager, settings, waits, store)
    try:
        yield Running(netns, manager)
    finally:
        manager.close()
        store.close(5)


def test_it_hears_of_the_beginning_and_the_end(alertmanager: Told) -> None:
    with running(alertmanager.netns, URL) as sockmon:
        sockmon.poll(finding())
        (alert,) = eventually(alertmanager.alerts)
        assert alert["labels"] == {
            "alertname": "SockmonCloseWaitLeak",
            "netns": "host",
            "owner": "nginx.service",
            "port": "80",
            "direction": "inbound",
            "severity": "warning",
            "source": "sockmon",
            "team": "web",
        }
        assert alert["annotations"]["summary"] == finding().summary
        assert alert["fingerprint"] == fingerprint(alert["labels"])
        eventually(alertmanager.told.told, until=lambda told: told == [("firing", "80")])
        sockmon.poll()
        eventually(alertmanager.alerts, until=lambda alerts: alerts == [])
        eventually(
            alertmanager.told.told,
            until=lambda told: told == [("firing", "80"), ("resolved", "80")],
        )


def test_a_webhook_of_ours_is_told_as_by_alertmanager(alertmanager: Told) -> None:
    with running(alertmanager.netns, URL) as sockmon:
        sockmon.poll(finding())
        theirs = eventually(lambda: alertmanager.told.bodies)[0]
    (alert,) = sockmon.manager.alerts
    ours = json.loads(message((alert,), "hook"))
    assert theirs.keys() == ours.keys()
    assert theirs["version"] == ours["version"]
    (their_alert,), (our_alert,) = theirs["alerts"], ours["alerts"]
    same = {"status", "labels", "annotations", "endsAt", "fingerprint"}
    assert their_alert.keys() == our_alert.keys()
    assert {k: their_alert[k] for k in same} == {k: our_alert[k] for k in same}


def test_what_gets_worse_is_one_alert_at_a_time(alertmanager: Told) -> None:
    with running(alertmanager.netns, URL) as sockmon:
        for severity in ("warning", "critical"):
            sockmon.poll(finding(severity))
            eventually(
                lambda: [alert["labels"]["severity"] for alert in alertmanager.alerts()],
                until=lambda seen, expected=severity: seen == [expected],  # type: ignore[misc]
            )


def test_it_is_reminded_and_keeps_the_beginning(alertmanager: Told) -> None:
    with running(alertmanager.netns, URL, resend_delay=1.0) as sockmon:
        sockmon.poll(finding())
        (first,) = eventually(alertmanager.alerts)

        def reminded() -> dict[str, Any]:
            sockmon.poll(finding(summary="still"))
            (alert,) = alertmanager.alerts()
            return alert

        again = eventually(reminded, until=lambda alert: alert["endsAt"] > first["endsAt"])
        assert again["startsAt"] == first["startsAt"]
        assert again["annotations"]["summary"] == "still"
    eventually(alertmanager.alerts, until=[].__eq__)  # nobody reminds it
    told = eventually(alertmanager.told.told, until=lambda told: len(told) > 1)
    assert told == [("firing", "80"), ("resolved", "80")]


def test_our_restart_is_not_noticed(alertmanager: Told, tmp_path: Path) -> None:
    starts = set()
    for _ in range(3):
        with running(alertmanager.netns, URL, state=tmp_path / "state") as sockmon:
            sockmon.poll()  # the first poll after a start finds nothing
            sockmon.poll(finding())
            eventually(sockmon.taken)
            (alert,) = eventually(alertmanager.alerts)
            starts.add(alert["startsAt"])
    assert len(starts) == 1
    eventually(alertmanager.told.told, until=lambda told: told == [("firing", "80")])


def test_its_restart_loses_nothing(alertmanager: Told) -> None:
    with running(alertmanager.netns, URL, resend_delay=1.0) as sockmon:
        sockmon.poll(finding(), finding(port=443))
        eventually(alertmanager.told.told)
        alertmanager.kill()
        sockmon.poll(finding(port=443))  # it does not hear that port 80 is well again
        alertmanager.run()

        def seen() -> list[str]:
            sockmon.poll(finding(port=443))
            return [alert["labels"]["port"] for alert in alertmanager.alerts()]

        eventually(seen, until=lambda ports: ports == ["443"])


def test_one_that_is_dead_at_first_hears_when_it_is_back(
    netns: NetNs, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    with hook_in(netns) as told, running(netns, URL) as sockmon:
        alertmanager = Told(netns, tmp_path, told)
        sockmon.poll(finding())
        eventually(lambda: sockmon.manager.notifications()["alertmanager-0"].failed)
        try:
            alertmanager.run()
            (alert,) = eventually(alertmanager.alerts)
            assert alert["labels"]["port"] == "80"
            again = f"notifying alertmanager-0 ({urlsplit(URL).netloc}) works again"
            eventually(lambda: again in caplog.messages)
        finally:
            alertmanager.kill()


def test_bad_ones_beside_it_delay_nothing(alertmanager: Told) -> None:
    netns = alertmanager.netns
    with ExitStack() as stack:
        slow = stack.enter_context(hook_in(netns, delay=2 * PATIENCE))
        silent = stack.enter_context(netns.socket())
        silent.bind(("127.0.0.1", 0))
        silent.listen(1)
        broken = stack.enter_context(hook_in(netns, status=500))
        moved = stack.enter_context(hook_in(netns, status=301, headers={"Location": URL}))
        urls = [slow.url, f"http://127.0.0.1:{silent.getsockname()[1]}", broken.url, moved.url, URL]

        def told(sockmon: Running) -> list[tuple[int, int]]:
            counts = sockmon.manager.notifications()
            receivers = [counts[name] for name in counts if name != "log"]
            return [(each.total - each.failed, min(each.failed, 1)) for each in receivers]

        with running(netns, *urls, timeout=2 * PATIENCE) as sockmon:
            sockmon.poll(finding())
            # The first two have neither answered nor failed yet.
            expected = [(0, 0), (0, 0), (0, 1), (0, 1), (1, 0)]
            eventually(lambda: told(sockmon), until=expected.__eq__)
            assert len(alertmanager.alerts()) == 1
        with running(netns, *urls[:2]) as sockmon:
            sockmon.poll(finding())
            eventually(lambda: told(sockmon), until=[(0, 1), (0, 1)].__eq__)


HOSTILE = [
    'quote " backslash \\ brace } {{ template }}',
    "line\nbreak\r\n\ttab\0nul",
    "x" * 4096,
    "é" * 4096,
    b"\xff\xfe not utf-8".decode(errors="surrogateescape"),
    "\ud800",
    "\U0001f4a3\u202e\u2028",
    "<script>alert(1)</script>",
]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_arrives(alertmanager: Told, text: str) -> None:
    with running(alertmanager.netns, URL) as sockmon:
        sockmon.poll(finding(owner=text, summary=text, evidence={text: Quantity(text, "text")}))
        (alert,) = eventually(alertmanager.alerts)
        (ours,) = sockmon.manager.alerts
        assert alert["labels"] == dict(ours.labels)
        assert alert["annotations"] == dict(ours.annotations)
        assert alert["fingerprint"] == fingerprint(ours.labels)
        sockmon.poll()
        eventually(alertmanager.alerts, until=lambda alerts: alerts == [])


def test_hundreds_of_alerts_arrive(alertmanager: Told) -> None:
    with running(alertmanager.netns, URL) as sockmon:
        sockmon.poll(*(finding(port=port) for port in range(1, 301)))
        eventually(alertmanager.alerts, until=lambda alerts: len(alerts) == 300)
        assert sockmon.taken() == 5  # 64 in a message


def test_it_is_told_who_is_speaking(netns: NetNs, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("hunter2\n")
    settings = Alerting(
        AlertmanagerSettings(urls=(URL,), authorization=Authorization(str(tmp_path / "token")))
    )
    listener = netns.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", ALERTMANAGER_PORT))
    listener.listen()
    waits = {DETECTOR: FixedWaits(0.0, 0.0)}
    with listener, hook(listener) as server:
        manager = netns.call(AlertManager, settings, waits, StateStore(None, 0.0))
        try:
            manager.observe([finding()], now(), 5.0)
            (asked,) = eventually(lambda: server.asked)
            assert asked["Authorization"] == "Bearer hunter2"
            assert asked["path"] == "/am/api/v2/alerts"
        finally:
            manager.close()
