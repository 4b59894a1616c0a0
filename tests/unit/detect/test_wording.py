"""A finding in words: for a terminal, and for whoever is on call."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sockmon.detect.evidence import count, seconds, size, sockets, text
from sockmon.detect.finding_text import description, sentences
from sockmon.language import Text
from sockmon.model.finding import (
    Advice,
    Command,
    Deadline,
    Evidence,
    Finding,
    Quantity,
    Subject,
)
from sockmon.model.owner import Owner, Process
from tests.unit.strategies import any_evidence

RESTART = Command("systemctl restart shop", "here", "changes")
OWNER = Owner("shop.service", "shop.service", (Process(157, "python3", 423, 1024),))


def finding(owner: Owner | None = OWNER, because: str | None = None, **evidence: Any) -> Finding:
    return Finding(
        detector="close_wait_leak",
        severity="critical",
        netns="host",
        subject=Subject("inbound", 8080, "shop.service"),
        value=402,
        limit=10,
        summary=Text("shop.service has not closed 402 connections"),
        evidence=evidence,
        advice=(
            Advice(Text("List the sockets:"), Command("ss -tnp"), "look"),
            Advice(Text("Close them.")),
            Advice(Text("Look there:"), Command("ss -tln", "peer"), "look"),
            Advice(Text("Restart it."), RESTART, "stop"),
        ),
        owner=owner,
        critical_because=None if because is None else Text(because),
        entry="nsenter -t 157 -n",
    )


def facts(owner: Owner | None = None, **evidence: Any) -> list[str]:
    return [s.text for s in sentences(finding(owner, **evidence)) if s.kind == "fact"]


def test_a_finding_whole() -> None:
    told = sentences(
        replace(
            finding(oldest=seconds(1000.0), because="it still grows"),
            deadline=Deadline(Text("descriptors run out"), 1833.0),
        )
    )
    assert [f"{lead}{text}" for _, lead, text in told] == [
        "[critical] close_wait_leak, netns host, inbound port 8080",
        "  shop.service has not closed 402 connections",
        "  Critical because it still grows.",
        "  Stop the bleeding",
        "  - Restart it.",
        "    systemctl restart shop",
        "  Find the bug",
        "  - Close them.",
        "  Evidence",
        "  - List the sockets:",
        "    nsenter -t 157 -n ss -tnp",
        "  - Look there:",
        "    on the peer: ss -tln",
        "    oldest: 17m",
        "    descriptors run out in: 31m",
        "    held by: python3[157], 423 of 1,024 descriptors",
    ]


def test_the_description_begins_with_why_and_what_to_do() -> None:
    found = finding(peers=(("10.0.0.2", sockets(402)),), because="it still grows")
    assert description(found).splitlines() == [
        "Critical because it still grows.",
        "Stop the bleeding",
        "- Restart it.",
        "systemctl restart shop",
        "Find the bug",
        "- Close them.",
        "Evidence",
        "- List the sockets:",
        "nsenter -t 157 -n ss -tnp",
        "- Look there:",
        "on the peer: ss -tln",
        "peers: 10.0.0.2 (402)",
        "held by: python3[157], 423 of 1,024 descriptors",
    ]


@pytest.mark.parametrize(
    ("evidence", "told"),
    [
        ({"first_gives_up_in": seconds(0.2)}, "first gives up in: now"),
        ({"oldest": seconds(61.4)}, "oldest: 1m1s"),
        ({"growth": Quantity(12.0, "per_minute")}, "growth: 12 a minute"),
        ({"growth": Quantity(0.25, "per_minute")}, "growth: 0.25 a minute"),
        ({"drops": Quantity(1234.5, "per_second")}, "drops: 1,234.5 a second"),
        ({"unread": size(612)}, "unread: 612 B"),
        ({"unread": size(8652)}, "unread: 8.4 KiB"),
        ({"unread": size(300 * 1024**2)}, "unread: 300 MiB"),
        ({"entries": count(65536)}, "entries: 65,536"),
        ({"share": Quantity(0.83, "ratio")}, "share: 83 %"),
        ({"destination_port": Quantity(10776, "port")}, "destination port: 10776"),
        ({"range": text("1024-65535")}, "range: 1024-65535"),
        ({"peers": ()}, "peers: none"),
        (
            {"peers": (("::1", sockets(3)), ("10.0.0.2", sockets(1)))},
            "peers: ::1 (3), 10.0.0.2 (1)",
        ),
        ({"events": (("TW", Quantity(2.5, "per_second")),)}, "events: TW 2.5 a second"),
    ],
)  # fmt: skip
def test_evidence_is_told_in_words(evidence: dict[str, Any], told: str) -> None:
    assert facts(**evidence) == [told]


@pytest.mark.parametrize(
    ("fds", "limit", "told"),
    [
        (None, None, "held by: x[1]"),
        (9, None, "held by: x[1], 9 descriptors"),
        (0, 1024, "held by: x[1], 0 of 1,024 descriptors"),
    ],
)
def test_what_is_not_known_of_a_process_is_left_out(
    fds: int | None, limit: int | None, told: str
) -> None:
    assert facts(Owner("x", None, (Process(1, "x", fds, limit),))) == [told]


@given(any_evidence(st.text()))
def test_another_hosts_evidence_is_printable_whatever_it_is(evidence: Evidence) -> None:
    for sentence in sentences(replace(finding(), evidence=evidence)):
        assert sentence.text.isprintable()
