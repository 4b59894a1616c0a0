"""Accept queues of Unix listeners."""

from dataclasses import replace
from typing import Any

import pytest

from sockmon.model.detector_input import DetectorInput
from sockmon.model.finding import Command, Finding, Subject
from sockmon.model.owner import Process
from sockmon.model.unix_listeners import UnixListener, UnixListeners
from tests.unit.detect.builders import (
    NOW,
    advises,
    commands,
    facts,
    judge,
    looked_up,
    remembering,
    sight,
)

JUDGE = judge("accept_queue")
PHP = Process(4711, "php-fpm: pool www", fds=10, fd_limit=1024, unit="php-fpm.service")


def seen(
    length: int, limit: int = 127, waited: float = 0.0, name: bytes = b"/run/php.sock"
) -> DetectorInput:
    """One listener, its queue being as long since then."""
    listener = UnixListener(77, 5, name, length, limit)
    unix = UnixListeners().seen((listener,), NOW - waited).seen((listener,), NOW)
    return replace(sight(), unix=unix)


def owned(before: DetectorInput, **others: Any) -> DetectorInput:
    return looked_up(before, {77: (replace(PHP, **others),)})


def one(of: DetectorInput) -> Finding:
    return JUDGE.one(owned(of))


def test_a_full_queue_is_critical_at_once() -> None:
    found = one(seen(5, limit=4))
    assert found.severity == "critical"
    assert found.subject == Subject("inbound", None, "php-fpm.service", "/run/php.sock")
    assert (found.value, found.limit) == (1.0, 0.8)
    assert found.summary == (
        "5 connections to /run/php.sock wait for php-fpm.service to accept them: 100 % of the "
        "queue's room (5); further connects "
        "fail with EAGAIN, or wait"
    )
    assert facts(found) == {
        "queue": "5 count",
        "queue_limit": "4 count",
        "none_accepted_for": "0.0 seconds",
        "somaxconn": "4096 count",
    }
    assert found.owner is not None
    assert found.owner.processes == (PHP,)


def test_a_queue_that_nobody_empties_is_critical_however_short() -> None:
    found = one(seen(3, waited=30.0))
    assert found.severity == "critical"
    assert found.summary == (
        "php-fpm.service does not accept on /run/php.sock: 3 connections wait, and no fewer for 30s"
    )
    assert JUDGE.all(owned(seen(3, waited=29.9))) == []
    assert JUDGE.all(owned(seen(2, waited=300.0))) == []


def test_a_full_queue_from_which_clients_are_taken_is_accepted_from_too_slowly() -> None:
    first = UnixListener(77, 5, b"/run/php.sock", 5, 4, (11, 12, 13, 14, 15))
    second = first._replace(waiting=(12, 13, 14, 15, 16))
    unix = UnixListeners().seen((first,), NOW - 60).seen((second,), NOW)
    found = one(replace(sight(), unix=unix))
    assert found.severity == "critical"
    assert found.summary == (
        "5 connections to /run/php.sock wait for php-fpm.service to accept them: 100 % of the "
        "queue's room (5); further connects fail with EAGAIN, or wait"
    )
    assert not any("Restart" in advice.text for advice in found.advice)


def test_a_nearly_full_queue_is_a_warning() -> None:
    found = one(seen(8, limit=9))
    assert found.severity == "warning"
    assert found.summary == (
        "8 connections to /run/php.sock wait for php-fpm.service to accept them: 80 % of the "
        "queue's room (10)"
    )
    assert advises(found, "must call accept() more often")


def test_the_last_polls_finding_lowers_the_thresholds() -> None:
    slow, full = one(seen(3, waited=30.0)), one(seen(8, limit=9))
    for finding, keeps, ends in (
        (slow, seen(3, waited=27.0), seen(3, waited=26.9)),
        (full, seen(37, limit=49), seen(35, limit=49)),
    ):
        assert JUDGE.all(owned(keeps)) == []
        assert JUDGE.all(remembering(owned(keeps), finding, finding.severity))
        assert JUDGE.all(remembering(owned(ends), finding, finding.severity)) == []


def test_a_one_shot_listener_with_one_client_is_not_full() -> None:
    assert JUDGE.all(owned(seen(1, limit=1))) == []


def test_the_holder_is_unknown_until_it_is_looked_up() -> None:
    before = JUDGE.one(seen(5, limit=4))
    assert (before.owner, before.subject.owner, before.inodes) == (None, None, (77,))
    found = JUDGE.one(looked_up(seen(5, limit=4), {}))
    assert found.subject.owner == "unknown"
    assert "wait for an unknown process to accept them" in found.summary


def test_a_server_without_descriptors_is_told_so() -> None:
    found = JUDGE.one(owned(seen(5, limit=4), fds=1024))
    assert advises(found, "accept() fails with EMFILE")


@pytest.mark.parametrize(
    ("name", "command"),
    [
        (b"/run/php.sock\0", "ss -xlp src /run/php.sock"),
        (b"/run/my app.sock\0", "ss -xlp src '/run/my app.sock'"),
        (b"\0php", "ss -xlp src @php"),
        (b"\0p\0hp", "ss -xlp"),
        (b"/run/" + b"\xff" * 90, "ss -xlp"),
    ],
)
def test_its_command_names_the_socket_as_ss_does(name: bytes, command: str) -> None:
    found = one(seen(5, limit=4, name=name))
    assert command in commands(found)
    assert Command(command) in [advice.command for advice in found.advice]
