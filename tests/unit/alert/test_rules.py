"""The rule files that `sockmon rules` prints; how they behave is in tests/deploy."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sockmon.alert.labels import IDENTITY
from sockmon.alert.lifecycle import FixedWaits
from sockmon.detect.registry import ALL, Detect
from sockmon.durations import parse_duration
from sockmon.rules.alerting import render
from sockmon.settings import Config, Poll
from tests.deploy.promtool import rules_of, run

DETECTORS = [detector.name for detector in ALL]


def configured(detectors: Iterable[str] = DETECTORS, **thresholds: Mapping[str, Any]) -> Config:
    """These detectors alone, each with these thresholds besides its defaults."""
    detect = {
        detector.name: detector.thresholds(
            enabled=detector.name in detectors, **thresholds.get(detector.name, {})
        )
        for detector in ALL
    }
    return Config(detect=Detect(**detect))


def waiting(waits: FixedWaits) -> Config:
    """Every detector's alerts wait so long."""
    told = {"for_": waits.for_, "keep_firing_for": waits.keep_firing_for}
    return configured(**dict.fromkeys(DETECTORS, told))


@pytest.mark.component("promtool")
@pytest.mark.parametrize(
    "waits", [FixedWaits(), FixedWaits(0.0, 0.0), FixedWaits(0.1, 1.5), FixedWaits(1e6, 1e6)]
)
def test_promtool_accepts_them(tmp_path: Path, waits: FixedWaits) -> None:
    (tmp_path / "rules.yml").write_text(render(waiting(waits)))
    said = run("promtool", "check", "rules", "rules.yml", directory=tmp_path)
    assert "duplicate" not in said
    assert f"{2 * len(ALL) + 3} rules found" in said


def test_each_detector_warns_and_is_critical_under_its_name() -> None:
    found = [(rule["alert"], rule["labels"]["severity"]) for rule in rules_of(render(Config()))]
    names = [detector.alert for detector in ALL]
    expected = [(name, severity) for name in names for severity in ("warning", "critical")]
    own = [("SockmonDown", "critical"), ("SockmonPollFailing", "warning")]
    assert found == [*expected, *own, ("SockmonPollFailing", "critical")]


def test_how_long_sockmons_own_alerts_wait() -> None:
    own = rules_of(render(configured(())))
    assert [(rule["for"], rule.get("keep_firing_for")) for rule in own] == [
        ("2m", None),
        ("5m", "5m"),
        ("1m", None),
    ]


def test_a_detector_that_is_off_has_no_rule() -> None:
    text = render(configured(("dead_peer",)))
    assert {rule["alert"] for rule in rules_of(text)} == {
        "SockmonDeadPeer",
        "SockmonDown",
        "SockmonPollFailing",
    }


def test_rules_say_where_they_come_from_and_where_to_read_on() -> None:
    for rule in rules_of(render(Config(), runbooks="https://wiki.example/")):
        assert rule["labels"]["source"] == "prometheus"
        assert set(rule["labels"]) <= set(IDENTITY)
        assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
        assert rule["annotations"]["runbook_url"] == f"https://wiki.example/{rule['alert']}.md"


def test_figures_are_in_descriptions_alone() -> None:
    """A summary that changes while an alert fires would be another message each time."""
    for rule in rules_of(render(Config())):
        assert "$value" not in rule["annotations"]["summary"]
        assert "$value" not in str(rule["labels"])


def test_thresholds_and_waits_are_the_configured_ones() -> None:
    config = configured(
        close_wait_leak={"warning_sockets": 7},
        conntrack_pressure={"warning_ratio": 0.123},
        dead_peer={"for_": 90.0, "keep_firing_for": 0.0},
        syn_backlog={"for_": 0.0, "keep_firing_for": 300.0},
    )
    text = render(replace(config, poll=Poll(interval=100.0)))
    expressions = [rule["expr"] for rule in rules_of(text)]
    assert 'sockmon_close_wait_stale_sockets{job="sockmon"} >= 7' in expressions
    assert sum(" >= 0.123" in expression for expression in expressions) == 1
    assert "\n) > 300\n" in expressions[-1]
    kept = {
        rule["alert"]: (rule["for"], rule.get("keep_firing_for"))
        for rule in rules_of(text)
        if rule["labels"]["severity"] == "critical"
    }
    assert kept["SockmonAcceptQueue"] == ("30s", "15s")
    assert kept["SockmonDeadPeer"] == ("1m30s", None)
    assert kept["SockmonSynBacklog"] == ("0ms", "4m15s")


def test_the_daemons_alert_is_the_last_to_go() -> None:
    """Else Alertmanager would tell of the rules' copy when the daemon's has ended."""
    scrape = evaluation = 15.0
    for rule in rules_of(render(Config()))[: 2 * len(ALL)]:
        kept = parse_duration(rule["keep_firing_for"])
        assert scrape + evaluation + kept < FixedWaits().keep_firing_for
