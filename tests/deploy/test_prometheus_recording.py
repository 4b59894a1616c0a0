"""The recording rules over a small fleet, evaluated by promtool: exact values, few series."""

from pathlib import Path
from typing import Any

import pytest

from tests.deploy.promtool import RECORDING, rules_of, run_unit_tests, unit_test

pytestmark = pytest.mark.component("promtool")

EU, US = 'cluster="eu-1",job="sockmon"', 'cluster="us-1",job="sockmon"'
A, B = f'{EU},instance="a"', f'{EU},instance="b"'  # b goes down after five minutes
C, D = f'{US},instance="c"', f'{US},instance="d"'  # d is up, and knows nothing
HOST, BLUE = 'netns="host"', 'netns="blue"'

TCP4 = 'protocol="tcp",family="ipv4",state="established"'
TCP6 = 'protocol="tcp",family="ipv6",state="established"'
UDP4 = 'protocol="udp",family="ipv4",state="close"'
SERVED = 'direction="inbound",port="80"'
CALLED = 'direction="outbound",port="443"'
LEFT = 'protocol="tcp",state="close_wait"'
APP = 'owner="app.service"'

WARNING = 'detector="accept_queue",severity="warning"'
CRITICAL = 'detector="accept_queue",severity="critical"'

#: Every 15 s for fifteen minutes; Prometheus ends the series of a target that fails.
FLEET = {
    f"up{{{A}}}": "1x60",
    f"up{{{B}}}": "1x20 0x40",
    f"up{{{C}}}": "1x60",
    f"up{{{D}}}": "1x60",
    # Sockets, in two namespaces and both families.
    f"sockmon_sockets{{{A},{HOST},{TCP4}}}": "100x60",
    f"sockmon_sockets{{{A},{HOST},{TCP6}}}": "20x60",
    f"sockmon_sockets{{{A},{BLUE},{TCP4}}}": "5x60",
    f"sockmon_sockets{{{B},{HOST},{TCP4}}}": "1000x20 stale",
    f"sockmon_sockets{{{C},{HOST},{TCP4}}}": "7x60",
    f"sockmon_sockets{{{C},{HOST},{UDP4}}}": "3x60",
    # Ports, and what has been forgotten at them.
    f"sockmon_port_sockets{{{A},{HOST},{SERVED},{LEFT}}}": "40x60",
    f"sockmon_port_sockets{{{A},{BLUE},{SERVED},{LEFT}}}": "2x60",
    f"sockmon_port_sockets{{{B},{HOST},{SERVED},{LEFT}}}": "30x20 stale",
    f"sockmon_port_sockets{{{C},{HOST},{CALLED},{LEFT}}}": "1x60",
    f"sockmon_close_wait_stale_sockets{{{A},{HOST},{SERVED},{APP}}}": "30x60",
    f"sockmon_close_wait_stale_sockets{{{A},{BLUE},{SERVED},{APP}}}": "2x60",
    f"sockmon_close_wait_stale_sockets{{{A},{HOST},{CALLED},{APP}}}": "1x60",
    f"sockmon_close_wait_stale_sockets{{{B},{HOST},{SERVED},{APP}}}": "20x20 stale",
    f"sockmon_close_wait_oldest_seconds{{{A},{HOST}}}": "600x60",
    f"sockmon_close_wait_oldest_seconds{{{A},{BLUE}}}": "60x60",
    f"sockmon_close_wait_oldest_seconds{{{B},{HOST}}}": "9000x20 stale",
    f"sockmon_close_wait_oldest_seconds{{{C},{HOST}}}": "0x60",
    # Limits: on c bind() holds every port, and no TIME_WAIT is kept.
    f"sockmon_ephemeral_ports_used_by_busiest_destination{{{A},{HOST}}}": "50x60",
    f"sockmon_ephemeral_ports_usable{{{A},{HOST}}}": "200x60",
    f"sockmon_ephemeral_ports_used_by_busiest_destination{{{A},{BLUE}}}": "10x60",
    f"sockmon_ephemeral_ports_usable{{{A},{BLUE}}}": "100x60",
    f"sockmon_ephemeral_ports_used_by_busiest_destination{{{B},{HOST}}}": "99x20 stale",
    f"sockmon_ephemeral_ports_usable{{{B},{HOST}}}": "100x20 stale",
    f"sockmon_ephemeral_ports_used_by_busiest_destination{{{C},{HOST}}}": "0x60",
    f"sockmon_ephemeral_ports_usable{{{C},{HOST}}}": "0x60",
    f"sockmon_time_wait_buckets{{{A},{HOST}}}": "8x60",
    f"sockmon_time_wait_buckets_limit{{{A},{HOST}}}": "32x60",
    f"sockmon_time_wait_buckets{{{C},{HOST}}}": "9x60",
    f"sockmon_time_wait_buckets_limit{{{C},{HOST}}}": "0x60",
    # Counters: one a second and two a second.
    f'sockmon_tcp_events_total{{{A},{HOST},event="ListenDrops"}}': "0+15x60",
    f'sockmon_tcp_events_total{{{A},{BLUE},event="ListenDrops"}}': "0+30x60",
    f'sockmon_tcp_events_total{{{B},{HOST},event="ListenDrops"}}': "0+15x20 stale",
    f'sockmon_tcp_events_total{{{C},{HOST},event="ListenDrops"}}': "0x60",
    f'sockmon_accept_queue_drops_total{{{A},{HOST},port="80"}}': "0+15x60",
    f'sockmon_accept_queue_drops_total{{{C},{HOST},port="80"}}': "0+30x60",
    # Connections between polls: one and two a second; one host of them counts.
    f"sockmon_connections_opened_total{{{A},{HOST},{SERVED}}}": "0+15x60",
    f"sockmon_connections_opened_total{{{A},{BLUE},{SERVED}}}": "0+30x60",
    f'sockmon_connections_aborted_total{{{A},{HOST},{SERVED},by="here"}}': "0+15x60",
    f'sockmon_connections_aborted_total{{{A},{HOST},{SERVED},by="there"}}': "0+15x60",
    f'sockmon_connection_failures_total{{{A},{HOST},{CALLED},reason="refused"}}': "0+15x60",
    f'sockmon_close_wait_duration_seconds_bucket{{{A},{HOST},direction="inbound",le="5"}}': (
        "0+15x60"
    ),
    # Findings: on a in both namespaces, on b until it goes; c is well, d is blind.
    f"sockmon_findings{{{A},{HOST},{WARNING}}}": "3x60",
    f"sockmon_findings{{{A},{BLUE},{WARNING}}}": "1x60",
    f"sockmon_findings{{{A},{HOST},{CRITICAL}}}": "0x60",
    f"sockmon_findings{{{B},{HOST},{WARNING}}}": "1x20 stale",
    f"sockmon_findings{{{B},{HOST},{CRITICAL}}}": "1x20 stale",
    f"sockmon_findings{{{C},{HOST},{WARNING}}}": "0x60",
    f"sockmon_findings{{{C},{HOST},{CRITICAL}}}": "0x60",
}

WHILE_ALL_ARE_UP, WITH_ONE_DOWN = "4m", "10m"

#: What each rule records at those times: {labels: value}.
EXPECTED: dict[str, dict[str, dict[str, float]]] = {
    "cluster_job:up:count": {
        WHILE_ALL_ARE_UP: {EU: 2, US: 2},
        WITH_ONE_DOWN: {EU: 2, US: 2},
    },
    "cluster_job:up:sum": {
        WHILE_ALL_ARE_UP: {EU: 2, US: 2},
        WITH_ONE_DOWN: {EU: 1, US: 2},
    },
    "cluster_job_protocol_state:sockmon_sockets:sum": {
        WHILE_ALL_ARE_UP: {
            f'{EU},protocol="tcp",state="established"': 1125,
            f'{US},protocol="tcp",state="established"': 7,
            f'{US},protocol="udp",state="close"': 3,
        },
        WITH_ONE_DOWN: {
            f'{EU},protocol="tcp",state="established"': 125,
            f'{US},protocol="tcp",state="established"': 7,
            f'{US},protocol="udp",state="close"': 3,
        },
    },
    "cluster_job_port_direction_state:sockmon_port_sockets:sum": {
        WITH_ONE_DOWN: {
            f'{EU},port="80",direction="inbound",state="close_wait"': 42,
            f'{US},port="443",direction="outbound",state="close_wait"': 1,
        },
    },
    "cluster_job_port_direction:sockmon_close_wait_stale_sockets:sum": {
        WHILE_ALL_ARE_UP: {
            f'{EU},port="80",direction="inbound"': 52,
            f'{EU},port="443",direction="outbound"': 1,
        },
        WITH_ONE_DOWN: {
            f'{EU},port="80",direction="inbound"': 32,
            f'{EU},port="443",direction="outbound"': 1,
        },
    },
    "cluster_job_owner:sockmon_close_wait_stale_sockets:sum": {
        WITH_ONE_DOWN: {f'{EU},owner="app.service"': 33},
    },
    "cluster_job:sockmon_close_wait_oldest_seconds:max": {
        WHILE_ALL_ARE_UP: {EU: 9000, US: 0},
        WITH_ONE_DOWN: {EU: 600, US: 0},
    },
    "cluster_job_event:sockmon_tcp_events:rate5m": {
        WITH_ONE_DOWN: {f'{EU},event="ListenDrops"': 3, f'{US},event="ListenDrops"': 0},
    },
    "cluster_job_port:sockmon_accept_queue_drops:rate5m": {
        WITH_ONE_DOWN: {f'{EU},port="80"': 1, f'{US},port="80"': 2},
    },
    "cluster_job_port_direction:sockmon_connections_opened:rate5m": {
        WITH_ONE_DOWN: {f"{EU},{SERVED}": 3},
    },
    "cluster_job_port_direction:sockmon_connections_aborted:rate5m": {
        WITH_ONE_DOWN: {f"{EU},{SERVED}": 2},
    },
    "cluster_job_port_direction_reason:sockmon_connection_failures:rate5m": {
        WITH_ONE_DOWN: {f'{EU},{CALLED},reason="refused"': 1},
    },
    "cluster_job_direction_le:sockmon_close_wait_duration_seconds_bucket:rate5m": {
        WITH_ONE_DOWN: {f'{EU},direction="inbound",le="5"': 1},
    },
    "cluster_job:sockmon_ephemeral_ports_used:max": {
        WHILE_ALL_ARE_UP: {EU: 0.99, US: 1},
        WITH_ONE_DOWN: {EU: 0.25, US: 1},
    },
    "cluster_job:sockmon_time_wait_buckets_used:max": {
        WITH_ONE_DOWN: {EU: 0.25},
    },
    "cluster_job_detector_severity:sockmon_findings:count": {
        WHILE_ALL_ARE_UP: {
            f"{EU},{WARNING}": 2,
            f"{EU},{CRITICAL}": 1,
            f"{US},{WARNING}": 0,
            f"{US},{CRITICAL}": 0,
        },
        WITH_ONE_DOWN: {
            f"{EU},{WARNING}": 1,
            f"{EU},{CRITICAL}": 0,
            f"{US},{WARNING}": 0,
            f"{US},{CRITICAL}": 0,
        },
    },
    "cluster_instance_job:sockmon_severity:max": {
        WHILE_ALL_ARE_UP: {A: 1, B: 2, C: 0, D: 2},
        WITH_ONE_DOWN: {A: 1, B: 2, C: 0, D: 2},
    },
}


def ask(record: str, when: str, values: dict[str, float]) -> dict[str, Any]:
    samples = [
        {"labels": f"{record}{{{labels}}}", "value": value} for labels, value in values.items()
    ]
    return {"expr": record, "eval_time": when, "exp_samples": samples}


def test_every_rule_is_asked() -> None:
    assert [rule["record"] for rule in rules_of(RECORDING.read_text())] == list(EXPECTED)


@pytest.mark.parametrize("record", EXPECTED)
def test_a_fleet_is_summed_by_cluster(tmp_path: Path, record: str) -> None:
    asked = [ask(record, when, values) for when, values in EXPECTED[record].items()]
    run_unit_tests(tmp_path, RECORDING.read_text(), unit_test(FLEET, promql_expr_test=asked))


def test_a_fleet_without_the_label_is_one_cluster(tmp_path: Path) -> None:
    alone = {'up{job="sockmon",instance="a"}': "1x9", 'up{job="sockmon",instance="b"}': "0x9"}
    asked = [
        ask("cluster_job:up:count", "2m", {'job="sockmon"': 2}),
        ask("cluster_job:up:sum", "2m", {'job="sockmon"': 1}),
    ]
    run_unit_tests(tmp_path, RECORDING.read_text(), unit_test(alone, promql_expr_test=asked))


def test_a_host_that_is_down_is_not_well_for_what_was_said_before(tmp_path: Path) -> None:
    """A Prometheus that starts anew believes the last findings for five minutes."""
    fleet = {f"up{{{A}}}": "0x9", f"sockmon_findings{{{A},{HOST},{CRITICAL}}}": "0x9"}
    asked = ask("cluster_instance_job:sockmon_severity:max", "2m", {A: 2})
    run_unit_tests(tmp_path, RECORDING.read_text(), unit_test(fleet, promql_expr_test=[asked]))


def test_a_host_that_is_blind_is_not_well_for_what_its_containers_are(tmp_path: Path) -> None:
    fleet = {f"up{{{A}}}": "1x9", f"sockmon_findings{{{A},{BLUE},{CRITICAL}}}": "0x9"}
    asked = ask("cluster_instance_job:sockmon_severity:max", "2m", {A: 2})
    run_unit_tests(tmp_path, RECORDING.read_text(), unit_test(fleet, promql_expr_test=[asked]))


def test_other_jobs_are_not_counted(tmp_path: Path) -> None:
    other = {series.replace('job="sockmon"', 'job="other"'): "1x9" for series in FLEET}
    asked = [{"expr": 'count({__name__=~"cluster_.+"})', "eval_time": "2m", "exp_samples": []}]
    run_unit_tests(tmp_path, RECORDING.read_text(), unit_test(other, promql_expr_test=asked))


def test_a_hundred_containers_are_no_more_series_and_their_limits_are_not_added_up(
    tmp_path: Path,
) -> None:
    """Of their owners only those that leak most are kept."""
    containers, recorded = 120, 100
    fleet = {f"up{{{A}}}": "1x40"}
    for number in range(containers):
        here = f'{A},netns="c{number}"'
        leaks = f'{here},{SERVED},owner="c{number}"'
        fleet |= {
            f"sockmon_sockets{{{here},{TCP4}}}": "7x40",
            f"sockmon_port_sockets{{{here},{SERVED},{LEFT}}}": "2x40",
            f"sockmon_close_wait_stale_sockets{{{leaks}}}": f"{number}x40",
            f"sockmon_ephemeral_ports_used_by_busiest_destination{{{here}}}": f"{number}x40",
            f"sockmon_ephemeral_ports_usable{{{here}}}": "200x40",
            f"sockmon_time_wait_buckets{{{here}}}": "8x40",
            f"sockmon_time_wait_buckets_limit{{{here}}}": "32x40",
            f"sockmon_findings{{{here},{WARNING}}}": "3x40",
        }
    expected: dict[str, dict[str, float]] = {
        "cluster_job_protocol_state:sockmon_sockets:sum": {
            f'{EU},protocol="tcp",state="established"': 7 * containers
        },
        "cluster_job_port_direction_state:sockmon_port_sockets:sum": {
            f'{EU},port="80",direction="inbound",state="close_wait"': 2 * containers
        },
        "cluster_job:sockmon_ephemeral_ports_used:max": {EU: (containers - 1) / 200},
        "cluster_job:sockmon_time_wait_buckets_used:max": {EU: 0.25},
        "cluster_job_detector_severity:sockmon_findings:count": {f"{EU},{WARNING}": 1},
        "cluster_instance_job:sockmon_severity:max": {A: 2},  # nothing is known of the host's own
        "cluster_job_owner:sockmon_close_wait_stale_sockets:sum": {
            f'{EU},owner="c{number}"': number for number in range(containers - recorded, containers)
        },
    }
    asked = [ask(record, "8m", values) for record, values in expected.items()]
    run_unit_tests(tmp_path, RECORDING.read_text(), unit_test(fleet, promql_expr_test=asked))


def test_more_hosts_are_no_more_series(tmp_path: Path) -> None:
    """But for the one verdict on each."""

    def recorded(hosts: int) -> dict[str, Any]:
        fleet = {
            series.replace('instance="a"', f'instance="{host}"'): values
            for series, values in FLEET.items()
            if A in series
            for host in range(hosts)
        }
        asked = [
            {
                "expr": 'count({__name__=~"cluster_job.+"})',
                "eval_time": "10m",
                "exp_samples": [{"value": 18}],
            },
            {
                "expr": "count(cluster_instance_job:sockmon_severity:max)",
                "eval_time": "10m",
                "exp_samples": [{"value": hosts}],
            },
        ]
        return unit_test(fleet, promql_expr_test=asked)

    run_unit_tests(tmp_path, RECORDING.read_text(), recorded(1), recorded(40))
