"""Memory for history is bounded, however many namespaces there are, and well spent."""

import sys
from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sockmon.history.retention import MEMORY, SURE, TROUBLED_SECONDS, Claim, allotted, cost
from sockmon.history.sample import SERIES
from sockmon.history.snapshot import COARSE, FULL, NEAR, SPANS, Depth, Range
from sockmon.history.store import History
from sockmon.model.counts import GroupKey
from sockmon.model.finding import Finding
from sockmon.model.observation import NamespaceObservation
from tests.unit.alert.making import finding
from tests.unit.polls import at, everything, past_of, poll, rows_of, saw

ESTABLISHED = SERIES.index("established")
MANY = 400


def claim(name: str, *, troubled: bool = False, there: bool = True, last: float = 0.0) -> Claim:
    return Claim(name, there, troubled, COARSE, last)


def claims(count: int, troubled: Iterable[int] = ()) -> list[Claim]:
    """The host and so many others."""
    worse = set(troubled)
    others = (claim(f"pod{number}", troubled=number in worse) for number in range(count))
    return [claim("host"), *others]


made_claims = st.lists(
    st.builds(
        Claim,
        st.integers().map(str),
        st.booleans(),
        st.booleans(),
        st.sampled_from([None, FULL, NEAR, COARSE]),
        st.floats(0, 1e6),
    ),
    unique_by=lambda one: one.name,
    min_size=1,
    max_size=60,
)


class TestAllotted:
    """Who is remembered how closely."""

    @given(made_claims, st.sampled_from([0.1, 1.0, 5.0, 60.0, 3600.0]))
    def test_memory_is_never_exceeded_and_nothing_changes_by_itself(
        self, made: list[Claim], interval: float
    ) -> None:
        def again(given_: Mapping[str, Depth]) -> Mapping[str, Depth]:
            known = [one for one in made if one.there or one.name in given_]
            return allotted([replace(one, kept=given_.get(one.name)) for one in known], interval)

        made[0] = replace(made[0], there=True)
        given_ = allotted(made, interval)
        assert given_[made[0].name] == FULL
        assert sum(cost(depth, interval) for depth in given_.values()) <= MEMORY
        settled = again(given_)
        assert again(settled) == settled

    def test_a_few_have_the_whole_past(self) -> None:
        assert set(allotted(claims(5), 5.0).values()) == {FULL}

    def test_a_hundred_have_a_day_and_the_troubled_every_poll(self) -> None:
        given_ = allotted(claims(100, troubled=[70, 80, 90]), 5.0)
        assert len(given_) == 101
        assert {name for name, depth in given_.items() if depth == NEAR} >= {
            "pod70", "pod80", "pod90",
        }  # fmt: skip

    def test_of_too_many_the_host_and_the_troubled_are_remembered(self) -> None:
        given_ = allotted(claims(MANY, troubled=range(MANY - SURE, MANY)), 1.0)
        assert len(given_) < MANY
        assert [given_[f"pod{MANY - 1 - number}"] for number in range(SURE)] == [NEAR] * SURE
        kept = {name for name, depth in given_.items() if depth == COARSE}
        assert kept == {f"pod{number}" for number in range(len(kept))}, "those known longest"

    def test_who_has_gone_makes_room_the_longest_gone_first(self) -> None:
        gone = [claim(f"gone{number}", there=False, last=number) for number in range(MANY)]
        given_ = allotted([*claims(100), *gone], 5.0)
        assert {f"pod{number}" for number in range(100)} <= given_.keys()
        kept = {name for name in given_ if name.startswith("gone")}
        assert kept == {f"gone{MANY - 1 - number}" for number in range(len(kept))}
        assert kept


#: Namespaces that fill the memory without ever being polled.
CROWD = tuple(
    NamespaceObservation(f"one{number}", looked_at=at(-1)) for number in range(MEMORY // 100_000)
)


@pytest.mark.parametrize(
    ("depth", "crowd", "found"),
    [(FULL, (), ()), (NEAR, CROWD[:20], (finding(),)), (COARSE, CROWD[:130], ())],
    ids=["full", "near", "coarse"],
)
def test_no_past_takes_more_than_is_reckoned(
    depth: Depth, crowd: tuple[NamespaceObservation, ...], found: tuple[Finding, ...]
) -> None:
    """A day, of which the last hour is by polls each two seconds, and nothing twice the same."""
    history, rng = History(), np.random.default_rng(1)
    begin = SPANS["day"] - SPANS["hour"]
    for seconds in (*np.arange(0, begin, 29), *np.arange(begin, SPANS["day"], 2)):
        moment = at(float(seconds))
        pod = replace(
            everything(moment, found), name="pod", tcp=saw(moment, int(rng.integers(99))).tcp
        )
        history.observe(poll(moment, saw(moment), pod, *crowd, interval=2.0), moment)
    past = past_of(history).namespaces["pod"]
    assert past.depth == depth
    arrays = {
        id(whole): sys.getsizeof(whole)
        for rows in past.rows.values()
        for row in rows
        for part in (row.high, row.low)
        for whole in (part, part.base)
        if whole is not None
    }
    rows = sum(map(len, past.rows.values()))
    others = sys.getsizeof(past.rows["day"][0]) + sys.getsizeof(1.0) + 8  # and its place
    taken = sum(arrays.values()) + rows * others
    assert cost(depth, 2.0) / 2 < taken <= cost(depth, 2.0)


class TestDeeper:
    """A past that is remembered more closely, or less, from some moment on."""

    def history(self, *times: float, crowd: Iterable[NamespaceObservation] = CROWD) -> History:
        history = History()
        self.observe(history, *times, crowd=crowd)
        return history

    def observe(
        self,
        history: History,
        *times: float,
        crowd: Iterable[NamespaceObservation] = CROWD,
        found: Iterable[Finding] = (),
    ) -> None:
        """Let it see a pod with as many sockets as seconds have gone."""
        for seconds in times:
            moment = at(seconds)
            pod = replace(everything(moment, found), name="pod", tcp=saw(moment, int(seconds)).tcp)
            history.observe(poll(moment, saw(moment), pod, *crowd), moment)

    def highs(self, history: History, span: Range = "hour") -> list[int]:
        return [int(row.high[ESTABLISHED]) for row in rows_of(history, span, "pod")]

    def test_the_hour_goes_by_polls_from_the_first_finding_on(self) -> None:
        history = self.history(*range(0, 120, 5))
        assert self.highs(history) == [55, 115]
        self.observe(history, 120, 125, 130, found=[finding()])
        assert self.highs(history) == [55, 115, 120, 125, 130]
        assert past_of(history).namespaces["pod"].watched.keys() >= {GroupKey("inbound", 80)}
        before, *_, after = (row.high[len(SERIES)] for row in rows_of(history, "hour", "pod"))
        assert np.isnan(before), "its ports were not watched"
        assert after == 9

    def test_an_hour_after_the_last_finding_it_goes_by_minutes_again(self) -> None:
        history = self.history()
        self.observe(history, *range(0, 60, 5), found=[finding()])
        self.observe(history, *range(60, 3600, 5))
        assert past_of(history).namespaces["pod"].depth == NEAR
        self.observe(history, *range(3600, 7200, 5))
        past = past_of(history).namespaces["pod"]
        assert (past.depth, past.watched) == (COARSE, {})
        assert len(past.rows["hour"]) <= 62
        highs = self.highs(history, "day")
        assert highs == list(range(595, 7200, 600)), "no peak is lost"
        lows = [int(row.low[ESTABLISHED]) for row in past.rows["day"]]
        assert lows == list(range(0, 7200, 600))

    def test_a_past_that_was_fine_is_coarse_when_others_come(self) -> None:
        history = self.history(*range(0, 1200, 5), crowd=())
        assert len(self.highs(history)) == 240
        self.observe(history, 1200)
        assert self.highs(history, "day") == [595, 1195, 1200]
        assert len(self.highs(history)) == 21

    def test_a_restart_changes_nothing(self) -> None:
        history = self.history(*range(0, 120, 5))
        self.observe(history, 120, found=[finding()])
        again = History(past_of(history))
        self.observe(again, 125)
        assert self.highs(again) == [55, 115, 120, 125]
        assert past_of(again).namespaces["pod"].depth == NEAR
        assert len(past_of(again).namespaces) == len(past_of(history).namespaces)

    def test_what_has_gone_for_a_day_is_forgotten(self) -> None:
        history = self.history(0, crowd=())
        for seconds in (5.0, SPANS["day"], SPANS["day"] + TROUBLED_SECONDS):
            history.observe(poll(at(seconds), saw(at(seconds))), at(seconds))
            assert ("pod" in past_of(history).namespaces) == (seconds <= SPANS["day"])


def test_a_part_that_waits_its_turn_counts_until_it_has_passed() -> None:
    """As the daemon's own table does when it is too large to be read whole at every poll."""
    history = History()
    for seconds in (0, 5, 10, 15, 20, 25, 30):
        moment = at(seconds)
        host = replace(saw(at(0), 7), beat=20.0, looked_at=moment)
        history.observe(poll(moment, host), moment)
    seen = [float(row.high[ESTABLISHED]) for row in rows_of(history, "hour")]
    assert seen[:6] == [7.0] * 6
    assert np.isnan(seen[6]), "nothing has been read for more than a beat"
