"""What identifies an alert is one short line of valid Unicode, whatever a process is called."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sockmon.alert.labels import (
    alert_name,
    annotations_elsewhere,
    annotations_of,
    labels_of,
    runbook_url,
)
from sockmon.model.finding import Evidence, Quantity
from tests.unit.alert.making import finding
from tests.unit.strategies import any_evidence

#: As Linux gives them to Python: any bytes, decoded with surrogateescape.
hostile = st.binary(max_size=5000).map(lambda b: b.decode(errors="surrogateescape")) | st.text()


@pytest.mark.parametrize(
    ("detector", "name"),
    [
        ("close_wait_leak", "SockmonCloseWaitLeak"),
        ("fin_wait2_stuck", "SockmonFinWait2Stuck"),
        ("tcp_memory_pressure", "SockmonTcpMemoryPressure"),
    ],
)
def test_alerts_are_named_after_their_detectors(detector: str, name: str) -> None:
    assert alert_name(detector) == name
    assert runbook_url(name).endswith(f"/docs/runbooks/{name}.md")


def test_labels_identify() -> None:
    assert dict(labels_of(finding("critical"), {"team": "web"})) == {
        "alertname": "SockmonCloseWaitLeak",
        "netns": "host",
        "owner": "nginx.service",
        "port": "80",
        "direction": "inbound",
        "severity": "critical",
        "source": "sockmon",
        "team": "web",
    }


def test_what_the_subject_has_not_is_no_label() -> None:
    labels = labels_of(finding(direction=None, port=None, owner=None), {})
    assert set(labels) == {"alertname", "netns", "severity", "source"}


@given(hostile)
def test_a_label_is_one_short_line_of_valid_unicode(owner: str) -> None:
    value = labels_of(finding(owner=owner), {}).get("owner", "")
    assert value.isprintable()
    assert len(value.encode()) <= 4 * 256
    assert bool(value) == bool(owner)


@given(hostile, any_evidence(hostile))
def test_annotations_are_bounded_and_valid_unicode(text: str, evidence: Evidence) -> None:
    annotations = annotations_of(finding(summary=text, evidence=evidence))
    assert set(annotations) == {"summary", "description", "runbook_url"}
    for value in annotations.values():
        assert json.loads(json.dumps(value)) == value
        assert len(value.encode()) <= 4 * 4096


def test_a_description_holds_advice_and_evidence() -> None:
    evidence = {"oldest": Quantity(61.5, "seconds")}
    assert annotations_of(finding(evidence=evidence))["description"].splitlines() == [
        "Find the bug",
        "- Close them.",
        "Evidence",
        "- List the sockets:",
        "ss -tnp",
        "oldest: 1m2s",
    ]


def test_elsewhere_the_summary_names_the_host() -> None:
    here = annotations_of(finding(summary="80 leaks"))
    assert annotations_elsewhere(here, {"alertname": "x"}) == here
    assert annotations_elsewhere(here, {"instance": "db-7"}) == {
        **here,
        "summary": "db-7: 80 leaks",
    }


def test_elsewhere_the_summary_names_the_namespace_unless_it_is_the_hosts_own() -> None:
    here = annotations_of(finding(summary="80 leaks"))
    for netns, where in (("host", "db-7"), ("0123456789ab", "db-7, netns 0123456789ab")):
        told = annotations_elsewhere(here, {"instance": "db-7", "netns": netns})
        assert told["summary"] == f"{where}: 80 leaks"
