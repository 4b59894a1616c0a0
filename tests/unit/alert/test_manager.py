"""Findings go in, and real receivers are told, whatever is killed, dead, slow or reloaded."""

import itertools
import logging
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from operator import eq
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from sockmon.alert.lifecycle import FixedWaits, State
from sockmon.alert.manager import AlertManager
from sockmon.alert.notify.sender import LONGEST_PAUSE, Notifications, pause_after
from sockmon.alert.records import counted
from sockmon.alert.settings import Alerting, Authorization, WebhookSettings
from sockmon.export import json as render
from sockmon.model.finding import Finding, Severity
from sockmon.state.file import StateFile
from sockmon.state.store import StateStore
from tests.lab import eventually
from tests.unit.alert.driver import FOR
from tests.unit.alert.hooks import Hook, hook
from tests.unit.alert.making import AT_ONCE, DETECTOR, at, finding

BOOT = "f2ab0d41-4d0d-4b3b-9a4c-3a4dd4b1a8a5"


def webhooks(*urls: str, timeout: float = 5.0, send_resolved: bool = True) -> Alerting:
    return Alerting(
        webhook=WebhookSettings(urls=urls, timeout=timeout, send_resolved=send_resolved)
    )


@dataclass
class Stage:
    """Managers over one state file, each stopped before the next starts."""

    path: Path
    waits: FixedWaits = field(default_factory=lambda: FixedWaits(0.0, 0.0))
    managers: list[tuple[AlertManager, StateStore]] = field(default_factory=list)

    def start(self, settings: Alerting, seconds: float = 0.0, boot: str = BOOT) -> AlertManager:
        self.stop()
        store = StateStore(StateFile(self.path, boot), at(seconds).monotonic)
        manager = AlertManager(settings, {DETECTOR: self.waits}, store)
        self.managers.append((manager, store))
        return manager

    def stop(self) -> None:
        while self.managers:
            manager, store = self.managers.pop()
            manager.close()
            store.close(5)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    made = Stage(tmp_path / "state")
    yield made
    made.stop()


def poll(manager: AlertManager, seconds: float, *findings: Finding) -> None:
    manager.observe(findings, at(seconds), 5.0)


def test_a_webhook_is_told_of_the_beginning_and_the_end(stage: Stage) -> None:
    with hook() as server:
        manager = stage.start(webhooks(server.url))
        for second in range(3):
            poll(manager, second, finding())
        eventually(server.told, until=lambda told: told == [("firing", "80")])
        for second in range(3, 6):
            poll(manager, second)
        eventually(server.told, until=lambda t: t == [("firing", "80"), ("resolved", "80")])
        both = {"log": Notifications(2, 0), "webhook-0": Notifications(2, 0)}
        eventually(lambda: manager.notifications() == both)


def test_one_that_does_not_want_the_end_is_not_told(stage: Stage) -> None:
    with hook() as server:
        manager = stage.start(webhooks(server.url, send_resolved=False))
        moments = itertools.count(0, 40)

        def remembered(*findings: Finding) -> list[bool]:
            """Poll, and say of each receiver whether it is on record as told."""
            poll(manager, next(moments), *findings)
            state = StateFile(stage.path, BOOT).read()
            reported = state["sections"]["alerts"]["reported"] if state else {}
            return [bool(sent) for sent in reported.values()]

        # Only what is on record can be forgotten: what came and went before was never told.
        eventually(lambda: remembered(finding()), until=lambda told: bool(told) and all(told))
        eventually(remembered, until=lambda told: not any(told))
        poll(manager, next(moments), finding())
        eventually(server.told, until=lambda told: len(told) > 1)
        assert server.told() == [("firing", "80")] * 2


def test_the_log_is_told(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    manager = stage.start(Alerting(labels={"team": "web"}))
    poll(manager, 0, finding("critical", summary="leaking"))
    eventually(lambda: caplog.records)
    poll(manager, 1)
    eventually(lambda: len(caplog.records) == 2)
    assert [record.levelname for record in caplog.records] == ["ERROR", "INFO"]
    assert caplog.messages[0].startswith("firing: SockmonCloseWaitLeak{")
    assert caplog.messages[0].endswith('team="web"}: leaking')
    assert caplog.messages[1].startswith("resolved: SockmonCloseWaitLeak{")


def test_the_log_tells_a_change_of_severity_in_one_line(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    manager = stage.start(Alerting(labels={"instance": "db-7"}))
    severities: tuple[Severity, ...] = ("warning", "critical", "warning")
    for told, severity in enumerate(severities, start=1):
        poll(manager, told, finding(severity))
        poll(manager, told + 0.5, finding(severity))  # what was worse is kept for one poll
        eventually(lambda: len(caplog.records), until=partial(eq, told))
    poll(manager, 9)
    eventually(lambda: len(caplog.records) == 4)
    assert [message.partition(": ")[0] for message in caplog.messages] == [
        "firing",
        "now critical",
        "now warning",
        "resolved",
    ]
    assert [record.levelname for record in caplog.records] == [
        "WARNING",
        "ERROR",
        "WARNING",
        "INFO",
    ]
    assert 'severity="critical"' in caplog.messages[1]
    for message in caplog.messages:
        assert 'instance="db-7"' in message
        assert not message.partition("}: ")[2].startswith("db-7")


def test_a_webhook_is_told_a_change_of_severity_in_one_message(stage: Stage) -> None:
    with hook() as server:

        def sent() -> list[tuple[str, str, str]]:
            alerts = [alert for body in server.bodies for alert in body["alerts"]]
            return [
                (a["status"], a["labels"]["severity"], a["annotations"]["summary"].split(":")[0])
                for a in alerts
            ]

        manager = stage.start(webhooks(server.url))
        severities: tuple[Severity, ...] = ("warning", "critical", "warning")
        for number, severity in enumerate(severities, start=1):
            poll(manager, number, finding(severity, summary="leak"))
            poll(manager, number + 0.5, finding(severity, summary="leak"))
            eventually(lambda: len(sent()), until=partial(eq, number))
        poll(manager, 9)
        eventually(lambda: len(sent()) == 4)
        assert sent() == [
            ("firing", "warning", "leak"),
            ("firing", "critical", "now critical"),
            ("firing", "warning", "now warning"),
            ("resolved", "warning", "no longer"),
        ]


def test_a_restart_tells_nobody_anything_anew(stage: Stage) -> None:
    with hook() as server:
        manager = stage.start(webhooks(server.url))
        poll(manager, 0, finding())
        eventually(server.told)
        for second in range(10, 60, 10):
            manager = stage.start(webhooks(server.url), second)
            assert [alert.fired for alert in manager.alerts] == [at(0)]
            poll(manager, second)  # the first polls of a start find nothing
            poll(manager, second + 1)
            poll(manager, second + 2, finding())
        assert server.told() == [("firing", "80")]
        poll(manager, 100)
        eventually(server.told, until=lambda t: t == [("firing", "80"), ("resolved", "80")])
        manager = stage.start(webhooks(server.url), 110)
        for second in range(110, 115):
            poll(manager, second)
        stage.stop()
        assert len(server.told()) == 2


def test_what_was_not_delivered_is_delivered_after_a_restart(stage: Stage) -> None:
    with hook(status=500) as server:
        poll(stage.start(webhooks(server.url)), 0, finding())
        eventually(lambda: server.asked)
        manager = stage.start(webhooks(server.url), 10)
        server.status = 200
        poll(manager, 10)
        assert eventually(server.told) == [("firing", "80")]


def test_what_ended_while_it_was_away_is_told_as_ended(stage: Stage) -> None:
    with hook() as server:
        poll(stage.start(webhooks(server.url)), 0, finding())
        eventually(server.told)
        manager = stage.start(webhooks(server.url), 9999)
        for second in range(9999, 10004):
            poll(manager, second)
        told = eventually(server.told, until=lambda told: len(told) > 1)
        assert told == [("firing", "80"), ("resolved", "80")]


def write_section(path: Path, section: object) -> None:
    StateFile(path, BOOT).write({"at": 0, "sections": {"alerts": section}})


def only_warning(caplog: pytest.LogCaptureFixture) -> str:
    (record,) = (record for record in caplog.records if record.levelno >= logging.WARNING)
    return record.getMessage()


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), "damaged"),
        (lambda path: path.write_text("{}"), "not a state of ours"),
        (lambda path: (path.unlink(), path.mkdir()), "Is a directory"),
        (lambda path: write_section(path, {}), "is not valid"),
        (lambda path: write_section(path, []), "is not valid"),
        (lambda path: write_section(path, {"alerts": [{}], "reported": {}}), "not an alert"),
    ],
)
def test_a_state_that_cannot_be_used_costs_one_warning(
    stage: Stage, caplog: pytest.LogCaptureFixture, spoil: Callable[[Path], object], says: str
) -> None:
    poll(stage.start(Alerting()), 0, finding())
    stage.stop()
    spoil(stage.path)
    caplog.clear()
    manager = stage.start(Alerting(), 10)
    assert says in only_warning(caplog)
    assert manager.alerts == ()
    poll(manager, 10)
    assert manager.alerts == ()


def test_another_boots_state_is_not_worth_a_warning(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    stage.start(Alerting()).observe([], at(0), 5.0)
    manager = stage.start(Alerting(), 10, boot="8fd1f7a0-0000-0000-0000-000000000000")
    assert manager.alerts == ()
    assert "starting without them" in caplog.messages[-1]
    assert all(record.levelno < logging.WARNING for record in caplog.records)


def test_without_a_state_file_it_works_too() -> None:
    manager = AlertManager(Alerting(), AT_ONCE, StateStore(None, 0.0))
    poll(manager, 0, finding())
    assert [alert.state for alert in manager.alerts] == [State.FIRING]
    manager.close()


def test_dead_slow_and_hostile_receivers_delay_nobody(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    with ExitStack() as stack:
        good = stack.enter_context(hook())
        dead = "http://127.0.0.1:1/"
        slow = stack.enter_context(hook(delay=3.0))
        broken = stack.enter_context(hook(status=500))
        moved = stack.enter_context(hook(status=307, headers={"Location": good.url}))
        urls = (dead, slow.url, broken.url, moved.url, good.url)
        manager = stage.start(webhooks(*urls, timeout=1.0))
        begun = time.monotonic()
        for second in range(100):
            poll(manager, second, finding())
        assert time.monotonic() - begun < 0.5
        eventually(good.told, within=1.0)
        eventually(
            lambda: [manager.notifications()[f"webhook-{n}"].failed > 0 for n in range(5)],
            until=lambda failed: failed == [True, True, True, True, False],
        )
        begun = time.monotonic()
        stage.stop()
        assert time.monotonic() - begun < 5.0
    assert good.told() == [("firing", "80")]
    for number, says in enumerate(
        [
            "cannot connect: Connection refused",
            "no complete answer within 1 s",
            "answered 500 Internal Server Error",
            "redirects (307) to http://127.0.0.1:",
        ]
    ):
        (line,) = (m for m in caplog.messages if m.startswith(f"cannot notify webhook-{number} ("))
        assert line.startswith(
            f"cannot notify webhook-{number} ({urlsplit(urls[number]).netloc}): "
        )
        assert says in line


def test_a_receiver_that_comes_back_is_told_how_things_stand(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with hook(status=503) as server:
        manager = stage.start(webhooks(server.url))
        for second in range(0, 40, 2):  # comes and goes, again and again
            poll(manager, second, finding())
            poll(manager, second + 1)
        poll(manager, 50, finding(port=443))
        eventually(lambda: manager.notifications()["webhook-0"].failed)
        server.status = 200
        assert eventually(server.told) == [("firing", "443")]
        again = f"notifying webhook-0 ({urlsplit(server.url).netloc}) works again"
        eventually(lambda: again in caplog.messages)


def test_an_alert_that_is_rejected_holds_up_no_other(stage: Stage) -> None:
    with hook(status=400) as server:
        manager = stage.start(webhooks(server.url))
        poll(manager, 0, finding(port=80), finding(port=81), finding(port=82))
        eventually(lambda: manager.notifications()["webhook-0"].failed == 3)
        assert len(server.asked) == 3


def test_pauses_grow_to_a_minute_and_are_spread() -> None:
    assert [pause_after(n, 1.0) for n in range(1, 9)] == [1, 2, 4, 8, 16, 32, 60, 60]
    assert pause_after(1, 0.0) == 0.5
    assert pause_after(10**6, 0.5) == LONGEST_PAUSE * 0.75


class TestReload:
    def test_waits_of_a_new_configuration_count_at_once(self, stage: Stage) -> None:
        stage.waits = FixedWaits(3600.0, 0.0)
        manager = stage.start(Alerting())
        poll(manager, 0, finding())
        manager.reconfigure(Alerting(), {DETECTOR: FixedWaits(30.0, 0.0)})
        poll(manager, 30, finding())
        assert [alert.state for alert in manager.alerts] == [State.FIRING]

    def test_a_receiver_is_known_again_wherever_it_stands(self, stage: Stage) -> None:
        with hook() as first, hook() as second:
            manager = stage.start(webhooks(first.url))
            poll(manager, 0, finding())
            eventually(first.told)
            manager.reconfigure(webhooks(second.url, first.url), AT_ONCE)
            assert eventually(second.told) == [("firing", "80")]
            poll(manager, 10)
            eventually(first.told, until=lambda told: len(told) > 1)
            assert first.told() == [("firing", "80"), ("resolved", "80")]

    def test_a_message_on_its_way_is_not_sent_again(self, stage: Stage) -> None:
        with hook(delay=0.5) as server:
            manager = stage.start(webhooks(server.url))
            poll(manager, 0, finding())
            eventually(lambda: server.asked)
            begun = time.monotonic()
            manager.reconfigure(webhooks(server.url, timeout=3.0), AT_ONCE)
            assert time.monotonic() - begun < 0.4
            for moment in range(1, 10):
                poll(manager, moment, finding())
                time.sleep(0.1)
            assert server.told() == [("firing", "80")]


def test_secrets_stay_where_they_are(
    stage: Stage, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "token").write_text("hunter2")
    for secret in ("hunter2", "hunter2\nX: y", ""):
        (tmp_path / "token").write_text(secret)
        with hook(status=302, headers={"Location": "http://x/hunter2"}) as server:
            settings = Alerting(
                webhook=WebhookSettings(
                    urls=(server.url + "/hunter2",),
                    authorization=Authorization(str(tmp_path / "token")),
                )
            )
            manager = stage.start(settings)
            poll(manager, 0, finding())
            eventually(lambda used=manager: used.notifications()["webhook-0"].failed)  # type: ignore[misc]
            stage.stop()
    assert "hunter2" not in caplog.text
    assert b"hunter2" not in stage.path.read_bytes()


def test_the_page_and_the_metrics(stage: Stage) -> None:
    stage.waits = FixedWaits(30.0, 0.0)
    manager = stage.start(Alerting())
    poll(manager, 0, finding("critical"))
    poll(manager, 30, finding("critical"), finding(port=81))
    assert counted(manager.alerts) == {
        ("SockmonCloseWaitLeak", "critical", "firing"): 1,
        ("SockmonCloseWaitLeak", "warning", "pending"): 1,
    }
    first, second = render.alerts(manager.alerts)
    assert (first["state"], first["since"], first["firing_since"]) == (
        "firing",
        at(0).wall,
        at(30).wall,
    )
    assert (second["state"], second["labels"]["port"]) == ("pending", "81")
    poll(manager, 31)
    (gone,) = render.alerts(manager.alerts)
    assert (gone["state"], gone["resolved_at"]) == ("resolved", at(31).wall)
    assert counted(manager.alerts) == {}


class Killed:
    """The driver, killed and started again."""

    def __init__(self, directory: Path, server: Hook) -> None:
        self._state, self._server = directory / "state", server
        self._process: subprocess.Popen[str] | None = None

    def found(self, *, there: bool) -> None:
        path = self._state.with_name("found")
        path.touch() if there else path.unlink()

    def start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.unit.alert.driver", self._state, self._server.url],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "1\n"

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.communicate()


def test_killing_it_neither_resets_clocks_nor_tells_twice(tmp_path: Path) -> None:
    with hook() as server:
        daemon = Killed(tmp_path, server)
        daemon.found(there=True)
        daemon.start()
        eventually((tmp_path / "state").exists)  # pending
        begun = time.monotonic()
        daemon.kill()
        time.sleep(FOR)
        daemon.start()
        eventually(server.told, within=FOR * 0.9)  # much sooner than a whole `for` from here
        assert time.monotonic() - begun >= FOR
        for _ in range(4):
            time.sleep(0.1 + random.random() / 20)
            daemon.kill()
            daemon.start()
        daemon.found(there=False)
        eventually(server.told, until=lambda told: len(told) > 1)
        time.sleep(0.1)
        daemon.kill()
        daemon.start()
        time.sleep(0.2)
        daemon.kill()
        assert server.told() == [("firing", "80"), ("resolved", "80")]
