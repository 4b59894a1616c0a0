"""Sparklines and ages, from what earlier polls have shown."""

import math
from collections.abc import Mapping
from functools import partial

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rich.console import Console
from textual.renderables.sparkline import Sparkline

from sockmon.client.parse import read
from sockmon.model.finding import FindingKey
from sockmon.model.moment import Moment
from sockmon.model.states import STATE_SLOTS, TcpState
from sockmon.top.trend import WINDOWS, Since, Trend, bars, highest
from tests.unit.top import making

KEY = making.found(making.snapshot(making.namespace(findings=[making.finding()])))[0].key


def counts(established: int) -> tuple[int, ...]:
    states = [0] * STATE_SLOTS
    states[TcpState.ESTABLISHED] = established
    return tuple(states)


def trend(*samples: tuple[float, int | None]) -> Trend:
    return Trend(tuple((at, None if n is None else counts(n)) for at, n in samples))


def peaks(of: Trend, parts: int, interval: float = 5.0) -> list[int | None]:
    return [
        None if part is None else part[TcpState.ESTABLISHED] for part in of.peaks(parts, interval)
    ]


def seen(
    before: Trend,
    at: float,
    *findings: making.Json,
    known: Mapping[FindingKey, Since] | None = None,
) -> Trend:
    tcp = {"taken_at": at, "ipv4": making.states(established=3), "ipv6": making.states()}
    document = making.document(making.namespace(at, tcp=tcp, findings=list(findings)), at=at)
    return before.seen(read(document, Moment(at, at)), known or {})


def test_each_part_shows_its_peak() -> None:
    # A minute in six parts of ten seconds; the last ends with the last sample.
    samples = [(0.5, 1), (5.0, 9), (10.0, 2), (15.0, 3), (25.0, 4), (35.0, 5), (45.0, 6), (55.0, 7)]
    assert peaks(trend(*samples), 6) == [9, 3, 4, 5, 6, 7]


def test_between_two_samples_the_earlier_holds_but_not_for_long() -> None:
    assert peaks(trend((1.0, 4), (59.0, 5)), 6) == [4, 4, None, None, None, 5]


def test_what_was_not_read_is_a_gap() -> None:
    assert peaks(trend((5.0, 4), (15.0, None), (25.0, 6), (59.0, 7)), 6, 1.0)[:3] == [4, None, 6]


def test_without_samples_there_is_nothing() -> None:
    assert peaks(Trend(), 3) == [None, None, None]


@given(
    st.lists(st.tuples(st.integers(1, 7200), st.integers(0, 99)), max_size=30),
    st.integers(1, 70),
)
@example([(1, 0), (1800, 1)], 21)
def test_no_peak_in_sight_is_lost(samples: list[tuple[int, int]], parts: int) -> None:
    of = trend(*sorted(samples))
    shown = peaks(of, parts)
    assert len(shown) == parts
    if samples:
        last = max(at for at, _ in samples)
        step = of.window / parts
        begin = (math.ceil(last / step) - parts) * step
        recent = [n for at, n in samples if at > begin + 1e-6]
        assert max(recent) <= max(n for n in shown if n is not None)
        assert max(n for n in shown if n is not None) <= max(n for _, n in samples)


@pytest.mark.parametrize(("known", "window"), [(0, 60), (60, 60), (61, 120), (3600, 3600)])
def test_the_window_is_the_shortest_that_holds_all(known: float, window: float) -> None:
    assert trend((0.0, 1), (known, 1)).window == window


def test_an_hour_is_kept_and_no_more() -> None:
    now = Trend()
    for at in range(0, 9000, 10):
        now = seen(now, float(at))
    assert now.samples[0][0] >= 8990 - WINDOWS[-1]
    assert len(now.samples) == 360


def test_however_often_polls_are_samples_are_bounded() -> None:
    now = Trend(tuple((n / 100, None) for n in range(3600)))
    now = seen(now, 40.0)
    assert len(now.samples) == 3600
    assert now.samples[-1] == (40.0, counts(3))


def test_a_finding_of_the_first_looks_may_be_older() -> None:
    now = seen(Trend(), 100.0)
    now = seen(now, 101.0, making.finding())
    now = seen(now, 106.0, making.finding())
    assert now.since == {KEY: Since(101.0, or_before=True)}


def test_a_later_finding_has_its_own_age_and_is_forgotten_with_its_end() -> None:
    now = seen(seen(seen(Trend(), 100.0), 101.0), 106.0, making.finding())
    now = seen(now, 111.0, making.finding())
    assert now.since == {KEY: Since(106.0)}
    now = seen(now, 116.0)
    assert seen(now, 121.0, making.finding()).since == {KEY: Since(121.0)}


def test_what_the_source_knows_counts_more() -> None:
    now = seen(Trend(), 100.0, making.finding(), known={KEY: Since(40.0)})
    assert now.since == {KEY: Since(40.0)}


def test_what_others_remember_fills_the_time_that_was_missed() -> None:
    own = trend((10.0, 1), (20.0, 2), (90.0, 3))
    told = trend((15.0, 7), (50.0, 8)).samples
    assert own.recalling(told).samples == trend((10.0, 1), (15.0, 7), (50.0, 8)).samples
    assert own.recalling(()) == own


@pytest.mark.parametrize(
    ("values", "drawn"),
    [
        ([600, 601, 600], "▁▁▁"),  # a ripple
        ([100, 110, 150], "▁▂▇"),
        ([0, 4, 8], "▁▄▇"),
        ([5, None, 10], "▁ ▇"),
    ],
)
def test_a_sparkline_runs_from_the_least_to_the_most(values: list[int | None], drawn: str) -> None:
    past = [None if value is None else counts(value) for value in values for _ in range(80)]
    heights = bars(past, TcpState.ESTABLISHED)
    # Two cells for each value, of which the first may have a bit of the value before.
    sparkline = Sparkline(
        heights, width=6, summary_function=partial(highest, heights[0], heights[1])
    )
    text = "".join(segment.text for segment in Console().render(sparkline))
    assert text[1::2] == drawn


@pytest.mark.parametrize("values", [[], [None], [0, None, 0]])
def test_a_state_that_did_not_occur_has_no_sparkline(values: list[int | None]) -> None:
    assert (
        bars([None if value is None else counts(value) for value in values], TcpState.ESTABLISHED)
        == ()
    )
