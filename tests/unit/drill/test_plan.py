"""What is planned and announced, by limits and kernels of all kinds."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sockmon.detect.registry import ALL, thresholds_of
from sockmon.drill import NAMES
from sockmon.drill.plan import Plan, PlanError, announcement, lasting, make_plan, must_alert
from sockmon.drill.private_daemon import its_own
from sockmon.drill.safety_limits import Resource
from sockmon.drill.scenarios import SCENARIOS
from sockmon.kernel.procfs import parse_port_pair
from sockmon.model.limits import KernelLimits, PortRange, Sockstat, TcpSettings
from sockmon.settings import Config, parse

KERNEL = KernelLimits(
    sockstat=Sockstat(in_use=10, time_wait=100, orphans=0, memory_bytes=0),
    time_wait_limit=10_000,
    port_range=PortRange(*parse_port_pair("32768 60999")),
    settings=TcpSettings(60, 6, 4, 5, 4096, 4096, 1),
)
ROOM = tuple(
    Resource(cost, cost, 20_000)
    for cost in ("descriptors", "ports", "buckets", "orphans", "backlog")
)


def plan(name: str, text: str = "", kernel: KernelLimits = KERNEL, **asked: Any) -> Plan:
    config = parse(text.encode(), "test") if text else Config()
    return make_plan(name, config, kernel, ROOM, **asked)


def test_every_name_is_a_scenario_of_a_detector_there_is() -> None:
    assert tuple(SCENARIOS) == NAMES
    detectors = {detector.name for detector in ALL}
    for scenario in SCENARIOS.values():
        assert {scenario.detector, *scenario.also} <= detectors
        assert set(scenario.costs) <= {resource.cost for resource in ROOM}


@pytest.mark.parametrize("name", [name for name in NAMES if name != "time-wait"])
def test_by_default_enough_are_made(name: str) -> None:
    made = plan(name)
    assert made.why_no_alert is None
    assert made.count > made.trouble.needed
    assert made.hold > made.timing.latest
    must_alert(made, hold_given=False)


@pytest.mark.parametrize(
    ("name", "seconds"),
    [
        ("close-wait", 60 + 10 + 30),
        ("half-close", 60 + 10 + 30),
        ("fin-wait2", 60 + 10 + 30),
        ("syn-sent", 5 + 10 + 30),  # the second retransmission after 2 s, seen at the next poll
        ("accept-queue", 10 + 30),
        ("port-exhaustion", 10 + 30),
        ("dead-peer", 10 + 10 + 30),  # the fifth after 6.2 s
        ("last-ack", 60 + 10 + 30),
        ("connect-failures", 10 + 30),
        ("slow-close", 10 + 10 + 30),  # 6 s, seen at the next poll
        ("resets", 80 + 10 + 30),
    ],
)
def test_when_the_alert_is_to_come(name: str, seconds: float) -> None:
    assert plan(name).timing.latest == seconds


def test_limits_and_settings_count() -> None:
    limits = "detect: {close_wait_leak: {stale_after: 20s, for: 1m, warning_sockets: 100}}"
    made = plan("close-wait", f"poll: {{interval: 10s}}\n{limits}")
    assert (made.count, made.timing.latest) == (121, 20 + 20 + 60)
    assert KERNEL.settings is not None
    longer = replace(KERNEL, settings=replace(KERNEL.settings, fin_timeout=120))
    assert plan("fin-wait2", kernel=longer).timing.latest == 120 + 10 + 30


def test_time_wait_takes_no_fifth_of_what_would_be_needed() -> None:
    made = plan("time-wait")
    assert (made.count, made.trouble.needed) == (1000, 8000 - 100)
    assert "expect: no alert, time_wait_pressure needs 7900 with these limits" in "\n".join(
        announcement(made, "none", until_alert=False)
    )
    with pytest.raises(PlanError, match="1000 raise no SockmonTimeWaitPressure"):
        must_alert(made, hold_given=False)


def test_time_wait_ends_before_a_patient_alert() -> None:
    made = plan(
        "time-wait", "detect: {time_wait_pressure: {warning_ratio: 0.02, for: 1m}}", count=2000
    )
    assert made.why_no_alert == "the kernel ends them after 1m, and the alert takes 1m10s"


def test_a_patient_limit_of_closes_is_not_reached() -> None:
    assert plan("slow-close", "detect: {slow_close: {slow_after: 5s}}").why_no_alert is None
    made = plan("slow-close", "detect: {slow_close: {slow_after: 5500ms}}")
    assert made.why_no_alert == "each takes 6 s to close, and slow_after is 5.5 s"


def test_what_is_counted_is_remembered_after_the_drill() -> None:
    told = announcement(plan("slow-close"), "its own", until_alert=True)
    keeps = thresholds_of(Config().detect)["slow_close"].keep_firing_for
    assert f"resolved about {lasting(5 + keeps + 300)} after they are closed" in "\n".join(told)


def test_a_kernel_without_a_limit_of_time_wait_has_no_pressure() -> None:
    assert plan("time-wait", kernel=replace(KERNEL, time_wait_limit=-1)).why_no_alert is not None


def test_a_disabled_detector_raises_nothing() -> None:
    made = plan("half-close", "detect: {close_wait_leak: {enabled: false}}")
    assert made.why_no_alert == "close_wait_leak is disabled in the configuration"


def test_too_many_are_refused_and_no_more() -> None:
    allowed = (20_000 // 5 - 16) // 2
    assert plan("close-wait", count=allowed).count == allowed
    with pytest.raises(PlanError, match=rf"--count: {allowed + 1} is too many: at most {allowed}"):
        plan("close-wait", count=allowed + 1)


def test_a_full_host_has_no_room() -> None:
    full = tuple(replace(resource, used=20_000) for resource in ROOM)
    with pytest.raises(PlanError, match="there is no room for a drill here: at most 0"):
        make_plan("close-wait", Config(), KERNEL, full)


def test_too_short_a_hold_cannot_be_expected_to_alert() -> None:
    with pytest.raises(PlanError, match=r"--hold: 1m30s is too short .* up to 1m40s"):
        must_alert(plan("close-wait", hold=90.0), hold_given=True)
    must_alert(plan("close-wait", hold=100.0), hold_given=True)


@pytest.mark.parametrize("name", NAMES)
def test_the_announcement_says_what_comes(name: str) -> None:
    made = plan(name)
    told = "\n".join(announcement(made, "the daemon", until_alert=False))
    assert f"drill {name}, " in told
    assert made.why_no_alert is not None or made.alert in told
    assert all(also in told for also in made.also)
    assert f"limit: at most {made.bound.most}" in told
    assert "{" not in told


def test_the_drills_own_daemon_has_the_limits_alone() -> None:
    text = Path("config.example.yaml").read_bytes()
    config = parse(its_own(b"state_dir: /x\n" + text.replace(b"state_dir", b"#")), "it")
    assert config == Config()
    kept = its_own(
        b"{detect: {dead_peer: {for: 5s}}, web: {listen_address: '1.2.3.4:5'}, state_dir: /x, "
        b"alerting: {webhook: {urls: ['https://hooks.example/']}}}"
    )
    assert parse(kept, "it") == parse(b"detect: {dead_peer: {for: 5s}}", "it")
    counting = its_own(b"events: {top: 3}", Path("/run/its"))
    assert parse(counting, "it") == parse(b"events: {enabled: true, helper_socket: /run/its}", "it")
    assert its_own(b"") == its_own(b"# nothing\n") == b"{}\n"
