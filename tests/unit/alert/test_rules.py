"""The rules that `sockmon rules` prints, under Prometheus's own promtool."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from sockmon.alert.labels import IDENTITY
from sockmon.alert.lifecycle import FixedWaits
from sockmon.alert.rules import Thresholds, render
from tests.conftest import REPOSITORY, component

DETECTORS = [
    "close_wait_leak",
    "time_wait_pressure",
    "ephemeral_port_pressure",
    "fin_wait2_stuck",
    "connect_stalled",
    "syn_backlog",
    "accept_queue",
    "closing_stalled",
    "dead_peer",
    "orphan_pressure",
    "tcp_memory_pressure",
    "conntrack_pressure",
]
WAITS = {detector: FixedWaits() for detector in DETECTORS}
INTERFACE = REPOSITORY.parent / "shared" / "INTERFACE.md"


def promtool(*arguments: str, directory: Path) -> None:
    program = component("promtool")
    assert program is not None
    done = subprocess.run(
        [program, *arguments], cwd=directory, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def rules(text: str) -> list[dict[str, Any]]:
    (group,) = yaml.safe_load(text)["groups"]
    found: list[dict[str, Any]] = group["rules"]
    return found


@pytest.mark.component("promtool")
@pytest.mark.parametrize(
    "waits", [FixedWaits(), FixedWaits(0.0, 0.0), FixedWaits(0.1, 1.5), FixedWaits(1e6, 1e6)]
)
def test_promtool_accepts_them(tmp_path: Path, waits: FixedWaits) -> None:
    text = render(dict.fromkeys(DETECTORS, waits), Thresholds(), job='my "job"\\')
    (tmp_path / "rules.yml").write_text(text)
    promtool("check", "rules", "rules.yml", directory=tmp_path)


def test_each_detector_warns_and_is_critical_under_its_name() -> None:
    found = [
        (rule["alert"], rule["labels"]["severity"]) for rule in rules(render(WAITS, Thresholds()))
    ]
    names = ["Sockmon" + d.title().replace("_", "") for d in DETECTORS]
    expected = [(name, severity) for name in names for severity in ("warning", "critical")]
    own = [("SockmonDown", "critical"), ("SockmonPollFailing", "warning")]
    assert found == [*expected, *own, ("SockmonPollFailing", "critical")]


def test_a_detector_that_is_off_has_no_rule() -> None:
    text = render({"dead_peer": FixedWaits()}, Thresholds())
    assert {rule["alert"] for rule in rules(text)} == {
        "SockmonDeadPeer",
        "SockmonDown",
        "SockmonPollFailing",
    }


def test_rules_say_where_they_come_from_and_where_to_read_on() -> None:
    for rule in rules(render(WAITS, Thresholds())):
        assert rule["labels"]["source"] == "prometheus"
        assert set(rule["labels"]) <= set(IDENTITY)
        assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
        assert rule["annotations"]["runbook_url"].endswith(f"/{rule['alert']}.md")


def test_thresholds_and_waits_are_the_configured_ones() -> None:
    thresholds = Thresholds(close_wait_sockets=7, conntrack_warning=0.123, silence=9.5)
    text = render({**WAITS, "dead_peer": FixedWaits(90.0, 0.0)}, thresholds)
    assert "sockmon_close_wait_stale_sockets >= 7\n" in text
    assert "(sockmon_conntrack_entries_limit > 0) >= 0.123\n" in text
    assert "sockmon_poll_last_success_timestamp_seconds > 9.5\n" in text
    dead_peer = [rule for rule in rules(text) if rule["alert"] == "SockmonDeadPeer"]
    assert [rule["for"] for rule in dead_peer] == ["1m30s", "1m30s"]
    assert all("keep_firing_for" not in rule for rule in dead_peer)


@pytest.mark.skipif(not INTERFACE.exists(), reason="only where ../shared stands beside it")
def test_they_use_published_metrics_alone() -> None:
    published = set(re.findall(r"`(sockmon_\w+)`", INTERFACE.read_text()))
    used = set(
        re.findall(
            r"\bsockmon_\w+", " ".join(r["expr"] for r in rules(render(WAITS, Thresholds())))
        )
    )
    assert used <= published


HOST = 'instance="a",netns="host"'
LAST_SUCCESS = f"sockmon_poll_last_success_timestamp_seconds{{{HOST}}}"
FIN_WAIT2 = f'sockmon_findings{{{HOST},detector="fin_wait2_stuck",severity='
HEALTHY = {'up{job="sockmon",instance="a"}': "1x60", LAST_SUCCESS: "0+15x60"}

#: series and their values every 15 s, the alert, and at which times (severities) fire.
CASES: dict[str, tuple[dict[str, str], str, dict[str, list[str]]]] = {
    "a leak that is then mended": (
        {f'sockmon_close_wait_stale_sockets{{{HOST},role="listener",port="80"}}': "0x3 12x10 0x40"},
        "SockmonCloseWaitLeak",
        {"45s": [], "1m": [], "1m15s": [], "1m30s": ["warning"], "4m15s": ["warning"], "5m": []},
    ),
    "a finding that turns critical": (
        {
            FIN_WAIT2 + '"warning"}': "1x8 0x40",
            FIN_WAIT2 + '"critical"}': "0x8 1x40",
        },
        "SockmonFinWait2Stuck",
        {"15s": [], "1m": ["warning"], "2m15s": ["warning"], "5m": ["critical", "warning"]},
    ),
    "a table that fills up": (
        {
            'sockmon_conntrack_entries{instance="a",netns="host"}': "70x8 80x20 95x40",
            'sockmon_conntrack_entries_limit{instance="a",netns="host"}': "100x80",
        },
        "SockmonConntrackPressure",
        {"2m": [], "4m": ["warning"], "10m": ["critical", "warning"]},
    ),
    "a table without a limit": (
        {
            'sockmon_conntrack_entries{instance="a",netns="host"}': "70x60",
            'sockmon_conntrack_entries_limit{instance="a",netns="host"}': "0x60",
        },
        "SockmonConntrackPressure",
        {"10m": []},
    ),
    "memory above pressure, then near high": (
        {
            'sockmon_tcp_memory_bytes{instance="a"}': "50x4 70x20 95x40",
            'sockmon_tcp_memory_limit_bytes{instance="a",level="low"}': "40x80",
            'sockmon_tcp_memory_limit_bytes{instance="a",level="pressure"}': "60x80",
            'sockmon_tcp_memory_limit_bytes{instance="a",level="high"}': "100x80",
        },
        "SockmonTcpMemoryPressure",
        {"1m": [], "4m": ["warning"], "10m": ["critical", "warning"]},
    ),
    "a burst shorter than `for`": (
        {
            'sockmon_listen_queue_sockets{instance="a",netns="host",port="80"}': "0x4 9x1 0x40",
            'sockmon_listen_queue_limit{instance="a",netns="host",port="80"}': "10x60",
        },
        "SockmonAcceptQueue",
        {"1m15s": [], "1m30s": [], "2m": [], "5m": []},
    ),
    "ports by forecast alone": (
        {
            'sockmon_ephemeral_ports_used_max{instance="a",netns="host"}': "40x12 60x60",
            'sockmon_ephemeral_ports{instance="a",netns="host"}': "100x60",
            'sockmon_ephemeral_ports_exhaustion_seconds{instance="a",netns="host"}': "300x60",
        },
        "SockmonEphemeralPortPressure",
        {"2m": [], "5m": ["critical"]},
    ),
    "a poll that fails": (
        {
            'sockmon_poll_errors_total{instance="a",netns="host",reason="denied"}': "0+1x60",
        },
        "SockmonPollFailing",
        {"1m": [], "10m": ["warning"]},
    ),
}


@pytest.mark.component("promtool")
@pytest.mark.parametrize("case", CASES)
def test_they_fire_and_resolve(tmp_path: Path, case: str) -> None:
    series, alert, expected = CASES[case]
    check(tmp_path, series, alert, expected)


@pytest.mark.component("promtool")
def test_a_dead_daemon_is_noticed(tmp_path: Path) -> None:
    gone = {'up{job="sockmon",instance="a"}': "1x4 0x40"}
    check(tmp_path, gone, "SockmonDown", {"1m": [], "5m": ["critical"]}, healthy=False)
    check(tmp_path, {}, "SockmonDown", {"1m": [], "5m": ["critical"]}, healthy=False)


@pytest.mark.component("promtool")
def test_a_blind_daemon_is_noticed(tmp_path: Path) -> None:
    stuck = {
        'up{job="sockmon",instance="a"}': "1x60",
        LAST_SUCCESS: "0x60",
    }
    check(tmp_path, stuck, "SockmonPollFailing", {"1m": [], "5m": ["critical"]}, healthy=False)


def check(
    directory: Path,
    series: dict[str, str],
    alert: str,
    expected: dict[str, list[str]],
    *,
    healthy: bool = True,
) -> None:
    """Let promtool evaluate the rules over these series and compare which severities fire."""
    (directory / "rules.yml").write_text(render(WAITS, Thresholds()))
    given = {**HEALTHY, **series} if healthy else series
    inputs = [{"series": name, "values": values} for name, values in given.items()]
    # promtool compares whole alerts; the severities that fire are compared by a query instead.
    queries = [
        {
            "expr": f'count by (severity) (ALERTS{{alertname="{alert}",alertstate="firing"}})',
            "eval_time": when,
            "exp_samples": [
                {"labels": f'{{severity="{severity}"}}', "value": 1} for severity in severities
            ],
        }
        for when, severities in expected.items()
    ]
    test = {
        "rule_files": ["rules.yml"],
        "evaluation_interval": "15s",
        "tests": [{"interval": "15s", "input_series": inputs, "promql_expr_test": queries}],
    }
    (directory / "test.yml").write_text(yaml.safe_dump(test))
    promtool("test", "rules", "test.yml", directory=directory)
