"""Two polls must agree, and what was is remembered."""

import pytest

from sockmon.detect.confirm import REMEMBERED_SECONDS, Confirmed
from sockmon.language import Text
from sockmon.model.finding import Finding, Severity, Subject
from sockmon.model.growth import growing


def finding(port: int = 443, value: float = 1.0, severity: Severity = "warning") -> Finding:
    return Finding("d", severity, "host", Subject("inbound", port), value, 1.0, Text("s"), {}, ())


def test_one_poll_is_not_enough() -> None:
    once = Confirmed().seen([finding()], 0.0)
    assert once.findings == ()
    assert once.seen([finding()], 5.0).findings == (finding(),)


def test_what_a_poll_missed_begins_again() -> None:
    confirmed = Confirmed().seen([finding()], 0.0).seen([], 5.0).seen([finding()], 10.0)
    assert confirmed.findings == ()


def test_it_ends_with_the_first_poll_that_does_not_see_it() -> None:
    assert Confirmed().seen([finding()], 0.0).seen([finding()], 5.0).seen([], 10.0).findings == ()


def test_the_last_word_counts() -> None:
    first, second = finding(value=1.0), finding(value=7.0, severity="critical")
    assert Confirmed().seen([first], 0.0).seen([second], 5.0).findings == (second,)


def test_another_subject_is_another_finding() -> None:
    other = finding(port=80)
    confirmed = Confirmed().seen([finding()], 0.0).seen([other], 5.0)
    assert confirmed.findings == ()
    assert confirmed.seen([finding(), other], 10.0).findings == (other,)


def test_findings_may_be_any_iterable() -> None:
    assert Confirmed().seen(iter([finding()]), 0.0).seen(iter([finding()]), 5.0).findings


def test_samples_are_kept_with_the_last_severity() -> None:
    confirmed = Confirmed()
    for n in range(3):
        severity: Severity = "critical" if n == 2 else "warning"
        confirmed = confirmed.seen([finding(value=n, severity=severity)], 5.0 * n)
    past = confirmed.past[finding().key]
    assert past.severity == "critical"
    assert past.samples == ((0.0, 0), (5.0, 1), (10.0, 2))


def test_samples_are_forgotten_after_ten_minutes() -> None:
    confirmed = Confirmed()
    for n in range(200):
        confirmed = confirmed.seen([finding(value=n)], 5.0 * n)
    samples = confirmed.past[finding().key].samples
    assert len(samples) == REMEMBERED_SECONDS / 5
    assert samples[-1] == (995.0, 199)


def test_a_poll_that_misses_it_does_not_end_its_past() -> None:
    confirmed = Confirmed().seen([finding(value=3)], 0.0).seen([], 5.0)
    assert confirmed.past[finding().key].samples == ((0.0, 3),)
    assert len(confirmed.seen([finding()], 10.0).past[finding().key].samples) == 2


def test_its_past_is_forgotten_after_a_minute_without_it() -> None:
    confirmed = Confirmed().seen([finding()], 0.0).seen([], 55.0)
    assert confirmed.seen([], 59.9).past
    assert not confirmed.seen([], 60.0).past


def test_however_seldom_polls_are_its_past_lasts_for_three() -> None:
    confirmed = Confirmed()
    for poll in range(5):
        confirmed = confirmed.seen([finding()], poll * 120.0)
    (past,) = confirmed.past.values()
    assert len(past.samples) == 5
    missed = confirmed.seen([], 600.0).seen([], 720.0)
    assert missed.past
    assert not missed.seen([], 840.0).past


def test_a_confirmed_is_a_value() -> None:
    before = Confirmed()
    before.seen([finding()], 0.0)
    assert (before.findings, dict(before.past)) == ((), {})


def test_however_often_polls_are_its_past_is_bounded_and_grows_as_fast() -> None:
    """Slopes between all pairs of 6,000 samples took half a second and 200 MB."""
    confirmed = Confirmed()
    for number in range(6_000):  # ten minutes at the shortest interval
        confirmed = confirmed.seen([finding(value=number / 10)], number / 10)
    (past,) = confirmed.past.values()
    assert len(past.samples) <= REMEMBERED_SECONDS / 2.5 + 2
    assert past.samples[-1] == (599.9, 599.9)
    assert growing(past.samples, 599.9, 300.0, 60.0) == pytest.approx(1.0)
