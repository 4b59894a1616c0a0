"""What /api/v1/history answers is the past, and JSON."""

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sockmon.export.history import history
from sockmon.history.sample import GROUP_SERIES, SERIES, SLOTS, WIDTH
from sockmon.history.snapshot import (
    SPANS,
    AlertChange,
    Columns,
    HistorySnapshot,
    NamespacePast,
    Range,
    Row,
)
from sockmon.history.store import History
from sockmon.model.moment import Moment
from tests.unit.polls import WALL, at, everything, poll, saw


def answer(kept: History, span: Range = "hour", groups: int = 0, netns: str = "host") -> Any:
    past = kept.past()
    assert past is not None
    rendered = history(past, netns, span, groups)
    return json.loads(json.dumps(rendered, allow_nan=False))


def observed(*times: float) -> History:
    kept = History()
    for seconds in times:
        moment = at(seconds)
        kept.observe(poll(moment, saw(moment, int(seconds), {80: 7, 90: int(seconds)})), moment)
    return kept


def test_the_whole_answer() -> None:
    kept, moment = History(), at(0)
    change = AlertChange(WALL, "firing", WALL, {"severity": "warning"}, "a \udcff leak")
    kept.observe(poll(moment, everything(moment)), moment, [change])
    assert answer(kept, groups=2) == {
        "netns": "host",
        "range": "hour",
        "step_seconds": 1.0,
        "taken_at": WALL,
        "times": [WALL],
        "max": {
            **{name: [None] for name in SERIES if "limit" in name or "conntrack" in name},
            **{name: [0] for name in SERIES[:11]},
            "established": [3],
            "time_wait_buckets": [5],
            "orphan_sockets": [2],
            "tcp_memory_bytes": [40960],
            "time_wait_buckets_limit": [16384],
            "ephemeral_ports_usable": [28000],
            "ephemeral_ports_used_by_busiest_destination": [0],
            "ephemeral_ports_exhaustion_seconds": [90.5],
            "accept_queue_fullness": [pytest.approx(64 / 129, abs=1e-3)],
            "close_wait_stale_sockets": [14],
            "close_wait_oldest_seconds": [63.25],
            "findings_warning": [0],
            "findings_critical": [0],
        },
        "min": None,
        "groups": [
            {
                "direction": "inbound",
                "port": 80,
                "max": {
                    "sockets": [9],
                    "established": [0],
                    "time_wait": [0],
                    "close_wait": [9],
                    "accept_queue": [64],
                },
                "min": None,
            },
            {
                "direction": "outbound",
                "port": 443,
                "max": {**{name: [0] for name in GROUP_SERIES}, "accept_queue": [None]},
                "min": None,
            },
        ],
        "alert_changes": [
            {
                "at": WALL,
                "state": "firing",
                "firing_since": WALL,
                "labels": {"severity": "warning"},
                "summary": "a \udcff leak",
                "previous_severity": None,
            }
        ],
    }


def test_a_day_has_highs_and_lows() -> None:
    told = answer(observed(*range(0, 130, 5)), "day", 1)
    assert told["times"] == [WALL, WALL + 60, WALL + 120]
    assert (told["max"]["established"], told["min"]["established"]) == (
        [55, 115, 125],
        [0, 60, 120],
    )
    (group,) = told["groups"]  # the largest now
    assert group["port"] == 90
    assert (group["max"]["sockets"], group["min"]["sockets"]) == ([55, 115, 125], [0, 60, 120])


def test_a_gap_is_null() -> None:
    told = answer(observed(0, 5, 500))
    assert told["times"] == [WALL, WALL + 5, WALL + 10, WALL + 500]
    assert told["max"]["established"] == [0, 5, None, 500]


def test_a_port_is_null_before_it_was_watched() -> None:
    kept = History()
    for seconds, groups in ((0, {80: 7}), (5, {80: 7, 90: 3})):
        moment = at(seconds)
        kept.observe(poll(moment, saw(moment, 0, groups)), moment)
    sockets = {
        group["port"]: group["max"]["sockets"] for group in answer(kept, groups=16)["groups"]
    }
    assert sockets == {80: [7, 7], 90: [None, 3]}


def test_a_port_is_not_told_of_the_one_that_made_room_for_it() -> None:
    kept = History()
    for number in range(SLOTS + 1):
        moment = at(5 * number)
        kept.observe(poll(moment, saw(moment, 0, {80: 9, 1000 + number: 5})), moment)
    rebooted = kept.past()
    assert rebooted is not None
    again = History(rebooted.adopted(Moment(3.0, WALL + 85), same_boot=False))
    for told in (answer(kept, groups=16), answer(again, groups=16)):
        sockets = {group["port"]: group["max"]["sockets"] for group in told["groups"]}
        assert sockets[80] == [9] * (SLOTS + 1)
        assert sockets[1000 + SLOTS] == [None] * SLOTS + [5]


@pytest.mark.parametrize("jump", [-7200.0, -3.0, 3.0, 7200.0, 1e9])
def test_a_wall_clock_that_is_set_moves_the_past_with_it(jump: float) -> None:
    kept = observed(0, 5, 10)
    moment = Moment(at(15).monotonic, at(15).wall + jump)
    kept.observe(poll(moment, saw(moment, 15)), moment)
    told = answer(kept)
    assert told["times"] == [moment.wall - 15, moment.wall - 10, moment.wall - 5, moment.wall]
    assert told["max"]["established"] == [0, 5, 10, 15]
    assert len(answer(kept, "day")["times"]) == 1


def test_a_suspend_is_a_gap() -> None:
    kept = observed(0, 5)
    moment = at(8 * 3600)  # counted by both clocks
    kept.observe(poll(moment, saw(moment, 1)), moment)
    told = answer(kept, "day")
    assert told["times"] == [WALL, WALL + 10, WALL + 8 * 3600]
    assert told["max"]["established"] == [5, None, 1]


def test_no_forecast_and_no_end_in_sight_are_null() -> None:
    kept = observed(0)
    assert answer(kept)["max"]["ephemeral_ports_exhaustion_seconds"] == [None]
    assert answer(kept)["max"]["close_wait_oldest_seconds"] == [None]


@pytest.mark.parametrize("span", SPANS)
def test_a_namespace_without_a_history_has_no_rows(span: Range) -> None:
    told = answer(observed(0), span, 16, netns="elsewhere")
    assert (told["times"], told["step_seconds"], told["groups"]) == ([], None, [])
    assert told["max"] == {name: [] for name in SERIES}


@given(
    st.lists(st.lists(st.floats(width=32), min_size=2, max_size=2), min_size=1, max_size=8),
    st.sampled_from(list(SPANS)),
)
def test_any_number_is_json(made: list[list[float]], span: Range) -> None:
    rows = tuple(
        Row(float(at_), np.full(WIDTH, high, np.float32), np.full(WIDTH, low, np.float32))
        for at_, (high, low) in enumerate(made)
    )
    past = HistorySnapshot(at(0), {"host": NamespacePast(dict.fromkeys(SPANS, rows), {})})
    told = json.loads(json.dumps(history(past, "host", span, 16), allow_nan=False))
    for name in SERIES:
        for (high, _), shown in zip(made, told["max"][name], strict=True):
            if math.isfinite(high):
                assert shown == pytest.approx(high, abs=0.0005)
            else:
                assert shown is None


@given(
    st.lists(st.one_of(st.none(), st.integers(0, 99)), min_size=1, max_size=40), st.integers(1, 50)
)
def test_rows_that_are_made_one_keep_their_extremes(values: list[int | None], most: int) -> None:
    readings = np.array([[math.nan if value is None else value] for value in values], np.float32)
    columns = Columns(np.arange(len(values), dtype=np.float64), readings, readings)
    joined = columns.joined(most)
    assert 1 <= len(joined.at) <= most or len(values) <= most
    each = -(-len(values) // most)
    for row, first in enumerate(joined.at.astype(int).tolist()):
        known = [value for value in values[first : first + each] if value is not None]
        assert first == row * each
        if known:
            assert (joined.high[row, 0], joined.low[row, 0]) == (max(known), min(known))
        else:
            assert math.isnan(joined.high[row, 0])
