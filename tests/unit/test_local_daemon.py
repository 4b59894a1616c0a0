"""Two opinions of one host: that of one look, and that of the daemon, which has watched."""

import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sockmon.client.local_daemon import Watch, ask, joined
from sockmon.config.fields import ListenAddress
from sockmon.language import Text
from sockmon.model.finding import Advice, Deadline, Finding, Quantity, Severity, Subject
from sockmon.model.owner import Owner, Process
from tests.unit.top import making
from tests.unit.top.answering import Answering

SHOP = Owner("shop.service", "shop.service", (Process(4711, "shop"),))


def finding(
    severity: Severity = "warning",
    port: int = 80,
    owner: Owner | None = None,
    deadline: Deadline | None = None,
    **evidence: float,
) -> Finding:
    return Finding(
        detector="close_wait_leak",
        severity=severity,
        netns="host",
        subject=Subject("inbound", port, owner.label if owner else "unknown"),
        value=12,
        limit=10,
        summary=Text(f"seen with {sorted(evidence)}"),
        evidence={name: Quantity(value, "count") for name, value in evidence.items()},
        advice=(Advice(Text("Close them.")),),
        owner=owner,
        critical_because=Text("it grows") if severity == "critical" else None,
        deadline=deadline,
    )


def watch(*findings: Finding) -> Watch:
    return Watch("http://127.0.0.1:10776", 900.0, findings)


SOON = Deadline(Text("descriptors run out"), 60.0)
MINE = finding(oldest=9)


class TestJoined:
    def test_the_daemons_word_counts_if_it_is_worse(self) -> None:
        its = finding("critical")
        assert joined([MINE], watch(its)) == ([its], {its.key: "too"})

    def test_and_if_it_knows_more(self) -> None:
        its = finding(oldest=8, growth=3)
        assert joined([MINE], watch(its)) == ([its], {its.key: "too"})

    def test_and_if_it_alone_knows_the_owner(self) -> None:
        its = finding(oldest=9, owner=Owner("shop.service", "shop.service"))
        assert joined([MINE], watch(its)) == ([its], {its.key: "too"})
        assert joined([its], watch(MINE))[0] == [its]

    def test_and_if_it_alone_knows_a_deadline(self) -> None:
        its = finding(oldest=8, deadline=SOON)
        assert joined([MINE], watch(its)) == ([its], {its.key: "too"})
        mine = replace(MINE, deadline=SOON)
        assert joined([mine], watch(its)) == ([mine], {})

    def test_and_if_it_has_seen_it_for_longer(self) -> None:
        def idle(seconds: float) -> Finding:
            return replace(MINE, evidence={"none_accepted_for": Quantity(seconds, "seconds")})

        its = idle(150)
        assert joined([idle(2)], watch(its)) == ([its], {its.key: "too"})
        assert joined([idle(152)], watch(its)) == ([idle(152)], {})

    def test_else_ours_which_is_newer(self) -> None:
        assert joined([MINE], watch(finding(oldest=8))) == ([MINE], {})
        worse = finding("critical")
        assert joined([worse], watch(finding(growth=3))) == ([worse], {})

    def test_what_the_daemon_alone_has_is_added(self) -> None:
        its = finding(port=443)
        assert joined([MINE], watch(its)) == ([MINE, its], {its.key: "alone"})
        assert joined([], watch(its)) == ([its], {its.key: "alone"})

    def test_an_owner_that_one_of_both_cannot_see_makes_no_other_finding(self) -> None:
        its = finding("critical", owner=SHOP)
        assert joined([MINE], watch(its)) == ([its], {its.key: "too"})
        mine = finding(owner=SHOP, oldest=9)
        theirs = finding("critical", growth=3, deadline=SOON)
        (shown,), says = joined([mine], watch(theirs))
        assert shown == replace(
            mine,
            severity="critical",
            evidence={**mine.evidence, **theirs.evidence},
            critical_because=Text("it grows"),
            deadline=SOON,
        )
        assert says == {mine.key: "too"}

    def test_a_cause_is_the_one_that_is_told(self) -> None:
        cause, its = finding(owner=SHOP), finding("critical", growth=3)
        symptom = replace(finding(port=443), cause=cause.key)
        theirs = replace(finding(port=80), cause=its.key)
        shown, _ = joined([cause, symptom], watch(its, theirs))
        assert {found.cause for found in shown[1:]} == {shown[0].key}

    def test_two_owners_at_one_port_are_two_findings(self) -> None:
        mine, its = finding(owner=SHOP), finding("critical", owner=Owner("other", None))
        assert joined([mine], watch(its)) == ([mine, its], {its.key: "alone"})
        both = watch(its, finding("critical", owner=SHOP))
        assert [f.severity for f in joined([mine], both)[0]] == ["critical", "critical"]


@pytest.fixture
def server() -> Iterator[Answering]:
    with Answering() as made:
        thread = threading.Thread(target=made.serve_forever, args=(0.01,))
        thread.start()
        yield made
        made.shutdown()
        thread.join()


def tell(server: Answering, **others: Any) -> None:
    now = time.time()
    bad = making.namespace(now, findings=[making.finding("critical")], **others)
    server.tells("/api/v1/observation", making.document(bad, at=now, polls=180))


class TestAsk:
    @pytest.mark.parametrize("host", ["", "0.0.0.0", "127.0.0.1"])
    def test_a_daemon_is_asked_over_loopback(self, server: Answering, host: str) -> None:
        tell(server)
        told = ask([ListenAddress(host, server.server_port)])
        assert told is not None
        assert (told.url, told.seconds) == (server.url, 900.0)
        assert [found.severity for found in told.findings] == ["critical"]

    def test_what_it_cannot_save_is_nothing_unread(self, server: Answering) -> None:
        """A full disk makes no socket unseen: doctor's verdict stays what it is."""
        document = making.document(making.namespace(time.time()), at=time.time(), polls=180)
        unread = {"netns": "host", "reason": "EBUSY", "message": "the dump broke off"}
        unsaved = {"netns": "host", "reason": "component", "message": "save.state fails: disk"}
        document["failures"] = [unread, unsaved]
        server.tells("/api/v1/observation", document)
        told = ask([ListenAddress("127.0.0.1", server.server_port)])
        assert told is not None
        assert told.unseen == ("the dump broke off",)
        assert told.troubles == ("save.state fails: disk",)

    def test_of_several_addresses_one_on_loopback_is_asked(self, server: Answering) -> None:
        tell(server)
        told = ask([ListenAddress("192.0.2.1", 80), ListenAddress("127.0.0.1", server.server_port)])
        assert told is not None
        assert told.url == server.url

    def test_elsewhere_nobody_is_asked(self, server: Answering) -> None:
        tell(server)
        assert ask([ListenAddress("192.0.2.1", server.server_port)]) is None
        assert ask([ListenAddress("2001:db8::1", server.server_port)]) is None
        assert server.asked == []

    def test_it_is_sent_no_password_that_is_meant_for_another(
        self, server: Answering, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        """Any user may listen on the port while no daemon runs."""
        netrc = tmp_path / ".netrc"
        netrc.write_text(
            "machine 127.0.0.1 login root-db password s3cret\ndefault login x password y\n"
        )
        netrc.chmod(0o600)
        monkeypatch.setenv("HOME", str(tmp_path))
        tell(server)
        assert ask([ListenAddress("127.0.0.1", server.server_port)]) is not None
        assert [authorization for _, authorization in server.asked] == [None]

    def test_a_proxy_is_not_asked(self, server: Answering, monkeypatch: pytest.MonkeyPatch) -> None:
        tell(server)
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
        assert ask([ListenAddress("127.0.0.1", server.server_port)]) is not None

    @pytest.mark.parametrize(
        ("status", "body"), [(401, b""), (503, b"{}"), (200, b"<html>"), (200, b"{}")]
    )
    def test_one_that_does_not_tell_is_as_none(
        self, server: Answering, status: int, body: bytes
    ) -> None:
        server.status, server.bodies["/api/v1/observation"] = status, body
        assert ask([ListenAddress("127.0.0.1", server.server_port)]) is None

    def test_nor_is_one_that_has_not_diagnosed_lately(self, server: Answering) -> None:
        for diagnosed_at in (None, time.time() - 60):
            tell(server, diagnosed_at=diagnosed_at)
            assert ask([ListenAddress("127.0.0.1", server.server_port)]) is None

    def test_nor_one_that_is_silent(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            address = ListenAddress("127.0.0.1", listener.getsockname()[1])
            assert ask([address]) is None
        assert ask([address]) is None
