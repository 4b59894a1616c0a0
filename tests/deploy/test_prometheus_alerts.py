"""Each alert of the rules that are shipped fires, holds back and resolves, under promtool."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from sockmon.alert.labels import RUNBOOKS
from sockmon.detect.registry import ALL
from sockmon.durations import parse_duration
from sockmon.rules.annotations import BLIND, DOWN, FAILING, WHERE, detected
from tests.deploy.alert_cases import CASES, WELL, Case
from tests.deploy.promtool import ALERTS, STEP, rules_of, run_unit_tests, samples, unit_test

pytestmark = pytest.mark.component("promtool")

RULES = rules_of(ALERTS.read_text())

BLUE = 'job="sockmon",cluster="eu-1",instance="a",netns="blue"'

#: Samples of each phase of a case: well, in trouble, well again.
BEFORE, TROUBLE, AFTER = 8, 30, 60
BEGIN, END = STEP * BEFORE, STEP * (BEFORE + TROUBLE)

TEXTS = (*(detected(detector.rule) for detector in ALL), DOWN, FAILING, BLIND)
EXPLANATIONS = sorted(text.explanation for text in TEXTS)


def rule_of(case: Case) -> dict[str, Any]:
    (rule,) = (
        rule
        for rule in RULES
        if (rule["alert"], rule["labels"]["severity"]) == (case.alert, case.severity)
    )
    return rule


def seconds(rule: dict[str, Any], key: str) -> int:
    return int(parse_duration(rule.get(key, "0s")))


def series(case: Case, trouble: int) -> dict[str, str]:
    """The case's series, in trouble for so many samples."""
    return {
        name: samples([(well, BEFORE), (bad, trouble), (well, AFTER)])
        for name, (well, bad, _) in {**WELL, **case.series}.items()
    }


def expect(case: Case, firing: dict[int, bool]) -> list[dict[str, Any]]:
    """Ask whether the case's alert fires at these seconds, and no alert of another name does."""
    ours = f'alertname="{case.alert}",severity="{case.severity}",alertstate="firing"'
    others = f'alertname!="{case.alert}",alertstate="firing"'
    return [
        {
            "expr": f"count(ALERTS{{{labels}}}) or vector(0)",
            "eval_time": f"{at}s",
            "exp_samples": [{"value": int(fires)}],
        }
        for at, is_firing in firing.items()
        for labels, fires in ((ours, is_firing), (others, False))
    ]


def test_every_rule_has_its_case() -> None:
    covered = {(case.alert, case.severity) for case in CASES}
    assert covered == {(rule["alert"], rule["labels"]["severity"]) for rule in RULES}
    assert len({alert for alert, _ in covered}) == len(ALL) + 2


@pytest.mark.parametrize("case", CASES, ids=str)
def test_it_fires_holds_back_and_resolves(tmp_path: Path, case: Case) -> None:
    rule = rule_of(case)
    fires = BEGIN + case.delay + seconds(rule, "for")
    ends = END + case.lag + seconds(rule, "keep_firing_for")
    life = {BEGIN: False, fires - STEP: False, fires: True, ends - STEP: True, ends: False}
    tests = [unit_test(series(case, TROUBLE), promql_expr_test=expect(case, life))]
    never = dict.fromkeys(range(BEGIN, END + 600, 60), False)
    almost = {
        name: samples([(well, BEFORE), (near, TROUBLE + AFTER)])
        for name, (well, _, near) in {**WELL, **case.series}.items()
    }
    tests.append(unit_test(almost, promql_expr_test=expect(case, never)))
    if not case.lag:  # a burst shorter than `for`
        burst = (case.delay + seconds(rule, "for")) // STEP
        always = dict.fromkeys(range(BEGIN, END, STEP), False)
        tests.append(unit_test(series(case, burst), promql_expr_test=expect(case, always)))
    run_unit_tests(tmp_path, ALERTS.read_text(), *tests)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_it_says_where_and_how_much(tmp_path: Path, case: Case) -> None:
    rule = rule_of(case)
    (explanation,) = (e for e in EXPLANATIONS if rule["annotations"]["description"].endswith(e))
    summary = rule["annotations"]["summary"].removeprefix(WHERE)
    if case.alert == "SockmonDown":
        summary = "sockmon cannot be scraped"
    alert = {
        "exp_labels": {"severity": case.severity, "source": "prometheus", **case.labels},
        "exp_annotations": {
            "summary": f"a: {summary}",
            "description": f"{case.says} {explanation}",
            "runbook_url": f"{RUNBOOKS}{case.alert}.md",
        },
    }
    fires = BEGIN + case.delay + seconds(rule, "for")
    asked = {"alertname": case.alert, "eval_time": f"{fires}s", "exp_alerts": [alert]}
    alone = yaml.safe_dump({"groups": [{"name": "sockmon", "rules": [rule]}]})
    run_unit_tests(tmp_path, alone, unit_test(series(case, TROUBLE), alert_rule_test=[asked]))


def test_a_summary_names_the_host_and_what_is_not_the_hosts_own(tmp_path: Path) -> None:
    assert all(rule["annotations"]["summary"].startswith(WHERE) for rule in RULES)
    leak = next(case for case in CASES if case.labels.get("owner"))
    rule = rule_of(leak)
    rule = {**rule, "annotations": {"summary": rule["annotations"]["summary"]}}
    inside = {"severity": leak.severity, "source": "prometheus", **leak.labels, "netns": "blue"}
    alert = {
        "exp_labels": inside,
        "exp_annotations": {
            "summary": "a, netns blue: an application leaks CLOSE_WAIT sockets",
        },
    }
    blue = {
        name.replace('netns="host"', 'netns="blue"'): values
        for name, values in series(leak, TROUBLE).items()
    }
    fires = BEGIN + seconds(rule, "for")
    asked = {"alertname": leak.alert, "eval_time": f"{fires}s", "exp_alerts": [alert]}
    alone = yaml.safe_dump({"groups": [{"name": "sockmon", "rules": [rule]}]})
    run_unit_tests(tmp_path, alone, unit_test(blue, alert_rule_test=[asked]))


def test_all_targets_gone_is_one_alert_without_a_host(tmp_path: Path) -> None:
    alert = {
        "exp_labels": {"severity": "critical", "source": "prometheus", "job": "sockmon"},
        "exp_annotations": {
            "summary": "Prometheus has no target that is sockmon's",
            "description": (
                "Nobody watches any host's sockets: look at the service discovery. "
                "On a host: systemctl status sockmon."
            ),
            "runbook_url": f"{RUNBOOKS}SockmonDown.md",
        },
    }
    asked = [
        {"alertname": "SockmonDown", "eval_time": f"{at}s", "exp_alerts": alerts}
        for at, alerts in ((105, []), (120, [alert]))
    ]
    run_unit_tests(
        tmp_path, ALERTS.read_text(), unit_test({'up{job="other"}': "1x40"}, alert_rule_test=asked)
    )


BLINDNESS = next(c for c in CASES if (c.alert, c.severity) == ("SockmonPollFailing", "critical"))


@pytest.mark.parametrize(("shown", "blind"), [("3x80", False), ("3x40 stale", True)])
def test_a_namespace_that_waits_its_turn_is_not_blind(
    tmp_path: Path, shown: str, *, blind: bool
) -> None:
    """Its polls are minutes apart; one that fails is withdrawn after three times that."""
    well = {name: samples([(value, 90)]) for name, (value, _, _) in WELL.items()}
    last = " ".join(str(at - at % 120 if at < 300 else 240) for at in range(0, 1200, STEP))
    waits = {
        f"sockmon_poll_last_success_timestamp_seconds{{{BLUE}}}": last,
        f'sockmon_sockets{{{BLUE},protocol="tcp",family="ipv4",state="listen"}}': shown,
    }
    life = dict.fromkeys(range(0, 661, 60), False) | {690: blind, 900: blind}
    asked = expect(BLINDNESS, life)
    run_unit_tests(
        tmp_path, ALERTS.read_text(), unit_test({**well, **waits}, promql_expr_test=asked)
    )


@pytest.mark.parametrize("containers", [0, 1])
def test_a_daemon_that_has_never_read_its_own_namespace_is_blind(
    tmp_path: Path, containers: int
) -> None:
    daemon = {
        **{series: samples([(well, 40)]) for series, (well, _, _) in WELL.items()},
        'up{job="sockmon",instance="a"}': "1x40",
        'process_start_time_seconds{job="sockmon",instance="a"}': "15x40",
    }
    for name, (well, _, _) in WELL.items():
        if containers and "netns" in name:
            inside = name.replace('cluster="eu-1",', "").replace('netns="host"', 'netns="blue"')
            daemon[inside] = samples([(well, 40)])
    life = {150: False, 165: True}  # begun at 15 s, silent for more than 75 s, and a minute
    run_unit_tests(
        tmp_path, ALERTS.read_text(), unit_test(daemon, promql_expr_test=expect(BLINDNESS, life))
    )
