"""History compared with a list of every poll: nothing is lost, made up, out of order or endless."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sockmon.history.sample import SERIES
from sockmon.history.snapshot import FULL, SPANS, AlertChange, Range, Row
from sockmon.history.store import CHANGES, History
from sockmon.model.moment import Moment
from sockmon.model.observation import STALE_AFTER_INTERVALS
from tests.unit.alert.making import finding
from tests.unit.polls import at, everything, past_of, poll, rows_of, saw

ESTABLISHED = SERIES.index("established")
BOTH = pytest.mark.parametrize("span", SPANS)


def established(rows: Sequence[Row]) -> list[float | None]:
    high = [float(row.high[ESTABLISHED]) for row in rows]
    return [None if np.isnan(value) else value for value in high]


def observed(history: History, *times: float, interval: float = 5.0) -> None:
    """Let it see a poll at each of these times, of as many sockets as seconds have gone."""
    for seconds in times:
        moment = at(seconds)
        history.observe(poll(moment, saw(moment, int(seconds)), interval=interval), moment)


class Polled(NamedTuple):
    """One poll; None: it failed."""

    at: float
    interval: float
    established: int | None


@st.composite
def polls(draw: st.DrawFn) -> list[Polled]:
    """Beats a little early or late; now and then another interval, now and then a pause."""
    made: list[Polled] = []
    now = at(0).monotonic
    for _ in range(draw(st.integers(1, 6))):
        interval = draw(st.sampled_from([0.1, 0.3, 0.9, 1, 5, 7, 30, 50, 60, 61, 300, 3600]))
        now += draw(st.sampled_from([0, 1, 1.9, 2.5, 9, 700])) * interval
        for _ in range(draw(st.integers(1, 40))):
            now += interval * draw(st.floats(0.9, 1.1))
            made.append(Polled(now, interval, draw(st.none() | st.integers(0, 9))))
    return made


@BOTH
@given(made=polls())
def test_rows_tell_of_every_poll_and_of_nothing_else(span: Range, made: list[Polled]) -> None:
    history = History()
    for each in made:
        moment = Moment(each.at, each.at)
        seen = saw(moment, each.established or 0)
        if each.established is None:
            seen = saw(replace(moment, monotonic=each.at - 1))  # what an earlier poll saw
        history.observe(poll(moment, seen, interval=each.interval), moment)
    rows, step, last = rows_of(history, span), FULL.steps[span], made[-1].at

    assert rows[0].at >= last - SPANS[span]
    assert rows[0].at <= min(each.at for each in made if each.at >= last - SPANS[span] + step)
    ends = [*(row.at for row in rows[1:]), np.inf]
    filled: list[float] = []
    for row, end in zip(rows, ends, strict=True):
        assert row.at < end
        inside = [each for each in made if row.at <= each.at < end]
        known = [each.established for each in inside if each.established is not None]
        if known:
            assert (row.high[ESTABLISHED], row.low[ESTABLISHED]) == (max(known), min(known))
        else:
            assert np.isnan(row.high[ESTABLISHED])
            assert np.isnan(row.low[ESTABLISHED])
        if inside:
            assert row.at == inside[0].at
            assert inside[-1].at - row.at < step
            filled.append(row.at)
        assert len(inside) <= 1 or span == "day" or inside[-1].interval < 1
    assert all(after - before >= 0.75 * step for before, after in pairwise(filled))
    starts = [row.at for row in rows]
    for before, after in pairwise(made):
        if before.at >= rows[0].at:
            between = [start for start in starts if before.at < start < after.at]
            silent = max(STALE_AFTER_INTERVALS * after.interval, step)
            assert len(between) == (after.at - before.at > silent)


def test_an_hour_has_every_poll_and_a_day_every_minute() -> None:
    history = History()
    observed(history, *range(0, 90_000, 5))
    hour, day = rows_of(history, "hour"), rows_of(history, "day")
    assert established(hour) == list(range(89_995 - 3600, 90_000, 5))
    assert established(day) == list(range(3600 + 55, 90_000, 60))
    assert [row.low[ESTABLISHED] for row in day] == list(range(3600, 90_000, 60))


def test_polls_of_one_second_share_a_row() -> None:
    history = History()
    observed(history, *(tenth / 10 for tenth in range(3000)), interval=0.1)
    rows = rows_of(history, "hour")
    assert [round(row.at - 1000, 1) for row in rows] == list(range(300))


@BOTH
def test_a_pause_is_a_gap_and_so_is_a_failure(span: Range) -> None:
    history = History()
    observed(history, 0)
    moment = at(60)
    history.observe(poll(moment, saw(at(0)), interval=60), moment)  # nothing new was read
    observed(history, 120, 500, interval=60)
    assert established(rows_of(history, span)) == [0, None, 120, None, 500]


def test_a_late_poll_is_no_gap() -> None:
    history = History()
    observed(history, 0, 5, 20, 25)
    assert established(rows_of(history, "hour")) == [0, 5, 20, 25]


def test_a_part_that_failed_leaves_the_others() -> None:
    history, moment = History(), at(5)
    seen = replace(everything(moment), tcp=everything(at(0)).tcp, diagnosis=None)
    history.observe(poll(moment, seen), moment)
    (row,) = rows_of(history, "hour")
    known = {name for name, value in zip(SERIES, row.high, strict=False) if not np.isnan(value)}
    assert known == {
        *("time_wait_buckets", "orphan_sockets", "tcp_memory_bytes", "time_wait_buckets_limit"),
        "ephemeral_ports_usable",
        "ephemeral_ports_used_by_busiest_destination",
        "ephemeral_ports_exhaustion_seconds",
        "accept_queue_fullness",
    }


def test_every_series_is_what_it_says() -> None:
    history, moment = History(), at(0)
    findings = (finding("warning"), finding("critical", port=81), finding("warning", port=82))
    history.observe(poll(moment, everything(moment, findings)), moment)
    (row,) = rows_of(history, "day")
    told = {name: float(value) for name, value in zip(SERIES, row.high, strict=False) if value}
    assert {name: value for name, value in told.items() if not np.isnan(value)} == {
        "established": 3,
        "time_wait_buckets": 5,
        "orphan_sockets": 2,
        "tcp_memory_bytes": 40_960,
        "time_wait_buckets_limit": 16_384,
        "ephemeral_ports_usable": 28_000,
        "ephemeral_ports_exhaustion_seconds": 90.5,
        "accept_queue_fullness": pytest.approx(64 / 129),
        "close_wait_stale_sockets": 14,
        "close_wait_oldest_seconds": 63.25,
        "findings_warning": 2,
        "findings_critical": 1,
    }


class TestClocks:
    """Ages are right whatever the wall clock says, and wherever the process has been."""

    def test_history_goes_on_from_a_past(self) -> None:
        history = History()
        observed(history, 0, 5, 10)
        again = History(past_of(history))
        observed(again, 15)
        assert established(rows_of(again, "hour")) == [0, 5, 10, 15]
        assert established(rows_of(again, "day")) == [15]

    def test_a_past_of_this_boot_is_as_old_as_it_is(self) -> None:
        history = History()
        observed(history, 0, 5)
        past = past_of(history)
        assert past.adopted(replace(at(60), wall=0.0), same_boot=True) is past

    @pytest.mark.parametrize(
        ("uptime", "wall", "same_boot", "age"),
        [
            (30.0, 100.0, False, 100.0),  # rebooted: the wall clock tells
            (30.0, -500.0, False, 0.0),  # and says nothing if it went back
            (30.0, 100.0, True, 100.0),  # the same boot, seen from another time namespace
        ],
    )
    def test_a_past_of_another_boot(
        self, uptime: float, wall: float, *, same_boot: bool, age: float
    ) -> None:
        history = History()
        observed(history, *range(0, 600, 5))
        past = past_of(history)
        now = Moment(uptime, past.at.wall + wall)
        adopted = past.adopted(now, same_boot=same_boot)
        assert adopted.at == Moment(uptime - age, past.at.wall)
        again = History(adopted)
        again.observe(poll(now, saw(now, 7)), now)
        rows = rows_of(again, "hour")
        assert rows[-1].at == uptime
        assert rows[0].at == pytest.approx(uptime - age - 595)
        assert (None in established(rows)) == (age > 0)
        assert past_of(again).namespaces["host"].watched == past.namespaces["host"].watched

    def test_a_past_older_than_a_day_is_let_go(self) -> None:
        history = History()
        observed(history, 0, 5, 100_000)
        assert established(rows_of(history, "hour")) == [100_000]
        assert established(rows_of(history, "day")) == [100_000]


class TestBounds:
    """However long it runs, whatever it sees."""

    def test_changes_of_alerts_are_bounded(self) -> None:
        history = History()
        for number in range(CHANGES + 5):
            moment = at(5 * number)
            change = AlertChange(moment.wall, "firing", moment.wall, {}, str(number))
            history.observe(poll(moment), moment, [change])
        told = [change.summary for change in past_of(history).alert_changes]
        assert told == [str(number) for number in range(5, CHANGES + 5)]


def test_a_past_does_not_change() -> None:
    history = History()
    observed(history, 0, 5)
    past = past_of(history)
    observed(history, 10)
    assert established(past.namespaces["host"].rows["hour"]) == [0, 5]
    assert established(past.namespaces["host"].rows["day"]) == [5]


def test_nothing_is_known_before_the_first_poll() -> None:
    assert History().past() is None
