"""What is made of a daemon's alerts: whose they are, and when a drill has failed."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from sockmon.drill.alert_state import ABSENT, Expected, alerts_of
from sockmon.drill.plan import Plan, make_plan
from sockmon.drill.watch import DrillError, SilentError, Watching
from sockmon.settings import parse
from tests.unit.drill.test_plan import KERNEL, ROOM

QUICK = (
    b"{poll: {interval: 100ms}, detect: {close_wait_leak: "
    b"{stale_after: 100ms, for: 0s, keep_firing_for: 0s}}}"
)
LEAK = Expected("SockmonCloseWaitLeak", "inbound", 10007)


def alert(state: str, port: int | None = 10007, **labels: str) -> dict[str, Any]:
    named = {"alertname": "SockmonCloseWaitLeak", "severity": "warning", "direction": "inbound"}
    if port is not None:
        named["port"] = str(port)
    return {"state": state, "labels": named | labels, "annotations": {"summary": "a leak"}}


def test_only_this_alert_counts() -> None:
    others = [
        alert("firing", port=10008),
        alert("firing", port=None),
        alert("firing", direction="outbound"),
        alert("firing", alertname="SockmonDeadPeer"),
    ]
    assert LEAK.among(others) == ABSENT
    assert LEAK.among([*others, alert("pending", owner="any")]).state == "pending"


def test_of_two_severities_the_one_that_stands_highest_counts() -> None:
    both = [alert("resolved"), alert("firing", severity="critical"), alert("pending")]
    seen = LEAK.among(both)
    assert (seen.state, seen.severity, seen.alive) == ("firing", "critical", True)
    assert not LEAK.among([alert("resolved")]).alive


def test_what_a_daemon_shows_is_taken_and_nothing_else() -> None:
    shown = [alert("firing"), alert("resolved")]
    assert alerts_of({"alerts": shown}) == shown
    others: list[Any] = [[], {"alerts": 3}, {"alerts": [3]}, {"alerts": [alert("asleep")]}, None]
    for other in others:
        with pytest.raises(ValueError, match="not a sockmon daemon"):
            alerts_of(other)


def planned(name: str, hold: float | None = None) -> Plan:
    plan = make_plan(name, parse(QUICK, "test"), KERNEL, ROOM, hold=hold)
    return replace(plan, timing=replace(plan.timing, late=0.0))


def watching(
    plan: Plan, alerts: Callable[[], list[dict[str, Any]]] | None
) -> tuple[Watching, list[str]]:
    said: list[str] = []
    return Watching(plan, 10007, alerts, lambda: None, said.append), said


def test_a_half_close_must_not_even_be_pending() -> None:
    watch, _ = watching(planned("half-close"), lambda: [alert("pending")])
    with pytest.raises(DrillError, match="SockmonCloseWaitLeak is pending, and should not be"):
        watch.hold(expects=True, holds=False)


def test_an_alert_that_stays_is_a_failure() -> None:
    watch, _ = watching(planned("close-wait"), lambda: [alert("firing")])
    watch.hold(expects=True, holds=False)
    watch.closed()
    with pytest.raises(DrillError, match="SockmonCloseWaitLeak has not resolved within"):
        watch.resolve()


def test_what_is_said_is_one_line_whatever_the_alert_says() -> None:
    wild = alert("firing")
    wild["annotations"]["summary"] = "a\nb\x1b[31m"
    watch, said = watching(planned("close-wait"), lambda: [wild])
    watch.hold(expects=True, holds=False)
    assert len(said) == 1
    assert said[0].isprintable()


def test_a_silent_daemon_is_no_failure_where_nothing_is_expected() -> None:
    def silent() -> list[dict[str, Any]]:
        raise SilentError("connection refused")

    watch, said = watching(planned("close-wait", hold=0.2), silent)
    watch.hold(expects=False, holds=True)
    assert said == []


def test_sockets_that_are_gone_end_it() -> None:
    def gone() -> None:
        raise DrillError("gone")

    watch = Watching(planned("close-wait"), 10007, None, gone, print)
    with pytest.raises(DrillError, match="gone"):
        watch.hold(expects=False, holds=False)
