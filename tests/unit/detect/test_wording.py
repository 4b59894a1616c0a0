"""A finding in words: for a terminal, and for whoever is on call."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sockmon.detect.finding_text import REASON, description, sentences
from sockmon.model.finding import Finding, Subject
from sockmon.model.owner import Owner, Process

OWNER = Owner("shop.service", "shop.service", (Process(157, "python3", 423, 1024),))


def finding(owner: Owner | None = OWNER, **evidence: Any) -> Finding:
    return Finding(
        detector="close_wait_leak",
        severity="critical",
        netns="host",
        subject=Subject("inbound", 8080, "shop.service"),
        value=402,
        limit=10,
        summary="shop.service has not closed 402 connections",
        evidence=evidence,
        advice=("Close them.", "See them: ss -tnp"),
        owner=owner,
    )


def facts(owner: Owner | None = None, **evidence: Any) -> list[str]:
    return [s.text for s in sentences(finding(owner, **evidence)) if s.kind == "fact"]


def test_a_finding_whole() -> None:
    told = sentences(finding(oldest_seconds=1000.0, critical_because="it still grows"))
    assert [f"{lead}{text}" for _, lead, text in told] == [
        "[critical] close_wait_leak, netns host, inbound port 8080",
        "  shop.service has not closed 402 connections",
        "  critical because it still grows",
        "    oldest: 17m",
        "    held by: python3[157], 423 of 1024 descriptors",
        "  1. Close them.",
        "  2. See them: ss -tnp",
    ]


def test_the_description_begins_with_why_and_what_to_do() -> None:
    found = finding(
        peers=[{"address": "10.0.0.2", "sockets": 402}], critical_because="it still grows"
    )
    assert description(found).splitlines() == [
        "critical because it still grows",
        "1. Close them.",
        "2. See them: ss -tnp",
        "peers: 10.0.0.2 (402)",
        "held by: python3[157], 423 of 1024 descriptors",
    ]


@pytest.mark.parametrize(
    ("evidence", "told"),
    [
        ({"fd_exhaustion_seconds": 1833}, "descriptors run out in: 31m"),
        ({"exhaustion_seconds": 61.4}, "ports run out in: 1m1s"),
        ({"first_gives_up_seconds": 0.2}, "first gives up: now"),
        ({"growth_per_minute": 12.0}, "growth per minute: 12"),
        ({"growth_per_minute": 0.25}, "growth per minute: 0.25"),
        ({"unread_bytes": 8652}, "unread bytes: 8,652"),
        ({"destination_port": 10776}, "destination port: 10776"),
        ({"peers": []}, "peers: none"),
        ({"by_state": {}}, "by state: none"),
        (
            {"peers": [{"address": "::1", "sockets": 3}, {"address": "10.0.0.2", "sockets": 1}]},
            "peers: ::1 (3), 10.0.0.2 (1)",
        ),
        (
            {"largest": [{"port": 8080, "owner": None}, {"port": 80, "owner": "a"}]},
            "largest: port 8080, owner unknown; port 80, owner a",
        ),
        ({"keepalive": {"idle_sockets": 3, "of_them_set": 0}},
         "keepalive: idle sockets 3, of them set 0"),
    ],
)  # fmt: skip
def test_evidence_is_told_in_words(evidence: dict[str, Any], told: str) -> None:
    assert facts(**evidence) == [told]


@pytest.mark.parametrize(
    ("fds", "limit", "told"),
    [
        (None, None, "held by: x[1]"),
        (9, None, "held by: x[1], 9 descriptors"),
        (0, 1024, "held by: x[1], 0 of 1024 descriptors"),
    ],
)
def test_what_is_not_known_of_a_process_is_left_out(
    fds: int | None, limit: int | None, told: str
) -> None:
    assert facts(Owner("x", None, (Process(1, "x", fds, limit),))) == [told]


_ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from(["x_seconds", "port", REASON]) | st.text(), _ANYTHING))
def test_another_hosts_evidence_is_printable_whatever_it_is(evidence: dict[str, Any]) -> None:
    for sentence in sentences(replace(finding(), evidence=evidence)):
        assert sentence.text.isprintable()
