"""A finding about a port that nobody chose, such as FTP's data port, loses the port."""

from dataclasses import replace
from pathlib import Path

import pytest

from sockmon.detect.registry import Detect, thresholds_of
from sockmon.kernel.inspector import Inspector
from sockmon.model.ages import NOTHING_HEARD
from sockmon.model.finding import Finding
from sockmon.model.listeners import ListenDrops
from sockmon.model.states import TcpState
from sockmon.poll.diagnosis import DiagnosisState
from sockmon.poll.owners import OwnerFinder
from sockmon.poll.passing_ports import without_passing_ports
from tests.unit.alert.making import finding
from tests.unit.detect.builders import NOW, accepted, listening, sight

LIMITS = thresholds_of(Detect())


def passing(port: int, **others: object) -> Finding:
    return replace(finding(port=port), passing=True, **others)  # type: ignore[arg-type]


def test_findings_that_differ_only_by_such_ports_are_one_the_worst() -> None:
    found = (
        passing(40_001, value=3),
        passing(40_002, severity="critical", value=2),
        passing(40_003, value=9),
        finding(port=40_004),
    )
    worst, other = without_passing_ports(found)
    assert (worst.subject.port, worst.severity, worst.value) == (None, "critical", 2)
    assert other == found[3]


def test_a_cause_is_still_found_by_its_symptoms() -> None:
    cause = replace(passing(40_001), detector="accept_queue")
    symptoms = [replace(finding(port=port), cause=cause.key) for port in (80, 443)]
    of_its_own = replace(passing(40_001), cause=cause.key)
    shown = without_passing_ports((cause, *symptoms, of_its_own))
    assert {each.cause for each in shown[1:]} == {shown[0].key}


@pytest.mark.parametrize(("port", "told"), [(40_123, None), (21, 21)])
def test_a_listener_for_one_transfer_is_told_of_without_its_port(
    port: int, told: int | None
) -> None:
    state = DiagnosisState(OwnerFinder(Inspector(Path("/nowhere")), lambda: None))
    waiting = accepted(TcpState.ESTABLISHED, port, inode=0)
    found: tuple[Finding, ...] = ()
    for number in range(40):
        seen = sight([listening(port, queue=2, limit=1), waiting])
        seen = replace(seen, now=NOW + 5.0 * number)
        found = state.diagnose(seen, NOTHING_HEARD, ListenDrops(), LIMITS).findings
        if found:
            break
    (one,) = found
    assert (one.detector, one.subject.direction, one.subject.port) == (
        "accept_queue",
        "inbound",
        told,
    )
    assert str(port) in one.summary
