"""However many namespaces there are and whatever they cost, the budget holds and nobody starves."""

import math
from dataclasses import dataclass
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sockmon.poll.cpu_budget import SURE_SHARE, Account, Beat, Lane, Purses, Turn, in_turn

INCOME = 0.25  # 5 % of a core, every 5 s

costs = st.floats(1e-4, 2.0)
hosts = st.lists(st.tuples(costs, st.sampled_from(Lane)), min_size=1, max_size=40)


@dataclass
class Polled:
    """One namespace of the simulation: what a poll of it costs, and the numbers of its polls."""

    cost: float
    lane: Lane
    at: list[int]


def simulate(
    namespaces: list[tuple[float, Lane]], rounds: int, spent: float
) -> tuple[list[Polled], list[float]]:
    """Play so many rounds; return who was polled, and what each round has cost."""
    purses = Purses()
    everybody = [Polled(cost, lane, []) for cost, lane in namespaces]
    paid = []
    numbers = count(1)
    for _ in range(rounds):
        purses = purses.earn(INCOME, spent)
        before = sum(its.cost * len(its.at) for its in everybody)
        turns = [Turn(its, its.at[-1] if its.at else 0, its.lane) for its in everybody]
        for lane in Lane:
            for its in in_turn(turns, lane):
                if not purses.may_poll(lane):
                    break
                its.at.append(next(numbers))
                purses = purses.pay(its.cost, lane)
            purses = purses.hand_over(lane)
        paid.append(sum(its.cost * len(its.at) for its in everybody) - before)
    return everybody, paid


@given(hosts, st.floats(0, 1))
def test_over_time_no_more_is_spent_than_is_earned(
    namespaces: list[tuple[float, Lane]], spent: float
) -> None:
    everybody, paid = simulate(namespaces, 100, spent)
    earned = max(INCOME - spent, SURE_SHARE * INCOME)
    dearest = max(its.cost for its in everybody)
    for rounds in range(1, 101):  # at the end of each lane the last poll may be owed
        assert sum(paid[:rounds]) <= earned * rounds + INCOME + 2 * dearest + 1e-9


@given(hosts, st.floats(0, 1))
def test_nobody_starves_however_much_others_need(
    namespaces: list[tuple[float, Lane]], spent: float
) -> None:
    left = max(INCOME - spent, SURE_SHARE * INCOME)
    dearest = sum(cost for cost, _ in namespaces) + max(cost for cost, _ in namespaces)
    rounds = math.ceil(2 * dearest / (0.19 * left)) + 2
    everybody, _ = simulate(namespaces, rounds, spent)
    assert all(its.at for its in everybody)


@given(hosts)
def test_within_a_lane_all_are_polled_equally_often(namespaces: list[tuple[float, Lane]]) -> None:
    everybody, _ = simulate(namespaces, 60, 0.0)
    for lane in Lane:
        polls = [len(its.at) for its in everybody if its.lane is lane]
        assert not polls or max(polls) - min(polls) <= 1


def test_what_fits_is_polled_every_time() -> None:
    everybody, _ = simulate([(0.01, Lane.QUIET)] * 20, 50, 0.04)
    assert all(len(its.at) == 50 for its in everybody)


def test_the_troubled_are_polled_every_time_while_the_quiet_wait() -> None:
    troubled, quiet = [(0.03, Lane.TROUBLED)] * 5, [(0.03, Lane.QUIET)] * 50
    everybody, _ = simulate(troubled + quiet, 100, 0.0)
    assert all(len(its.at) == 100 for its in everybody[:5])
    # 0.10 of 0.25 s are left for the quiet: a little more than three of them a round.
    assert all(5 <= len(its.at) <= 8 for its in everybody[5:])


def test_idle_times_pay_for_no_storm() -> None:
    purses = Purses()
    for _ in range(1000):
        purses = purses.earn(INCOME, 0.0)
    assert purses.troubled + purses.quiet <= 2 * INCOME


@pytest.mark.parametrize("lane", list(Lane))
def test_without_a_limit_all_are_polled(lane: Lane) -> None:
    purses = Purses().earn(math.inf, 3.0).pay(1e9, lane).hand_over(Lane.TROUBLED)
    assert purses.hand_over(Lane.QUIET).earn(math.inf, 1.0).may_poll(lane)


class Cpu:
    """A clock of CPU time that stands still unless something is done."""

    def __init__(self) -> None:
        self.used = 0.0

    def __call__(self) -> float:
        return self.used

    def use(self, seconds: float) -> None:
        self.used += seconds


@given(st.floats(0.01, 5.0), st.floats(0, 0.2), st.integers(1, 60))
def test_an_account_spends_no_more_than_its_share_whatever_a_poll_costs(
    cost: float, elsewhere: float, minutes: int
) -> None:
    account, cpu = Account(), Cpu()
    rounds = 12 * minutes
    for beat in range(rounds):
        account.earn(5.0 * beat, 5.0, 0.05, cpu)
        for lane in Lane:
            if account.may_poll(lane):
                account.pay(lane, lambda: cpu.use(cost), cpu)
            account.hand_over(lane)
        cpu.use(elsewhere)
    # Two lanes may each owe their last poll; a fifth of the budget is theirs whatever is used.
    most = max(0.25 * rounds, elsewhere * rounds + SURE_SHARE * 0.25 * rounds)
    assert cpu.used <= most + 0.25 + 2 * cost + elsewhere


def test_a_burst_elsewhere_is_made_up_for() -> None:
    account, cpu = Account(), Cpu()
    for beat in range(240):
        account.earn(5.0 * beat, 5.0, 0.05, cpu)
        if beat % 3 == 0:
            cpu.use(0.5)  # two answers to Prometheus, which no single interval's income pays for
        while account.may_poll(Lane.QUIET):
            account.pay(Lane.QUIET, lambda: cpu.use(0.02), cpu)
        account.hand_over(Lane.QUIET)
        while account.may_poll(Lane.TROUBLED):
            account.pay(Lane.TROUBLED, lambda: cpu.use(0.02), cpu)
    assert cpu.used <= 0.05 * 5.0 * 240 + 1.0


def test_what_is_used_amid_polls_and_for_none_of_them_counts() -> None:
    account, cpu = Account(), Cpu()
    for beat in range(240):
        account.earn(5.0 * beat, 5.0, 0.05, cpu)
        cpu.use(0.15)  # looking who there is
        for lane in Lane:
            while account.may_poll(lane):
                account.pay(lane, lambda: cpu.use(0.01), cpu)
            account.hand_over(lane)
    assert cpu.used <= 0.05 * 5.0 * 240 + 0.5


def test_room_is_kept_for_a_dear_poll() -> None:
    account, cpu = Account(), Cpu()
    account.earn(0.0, 5.0, 0.05, cpu)
    account.pay(Lane.TROUBLED, lambda: cpu.use(0.1), cpu)
    assert account.may_poll(Lane.TROUBLED)
    account.keep_room(3.25)
    assert not account.may_poll(Lane.TROUBLED)
    account.keep_room(0.0)
    assert account.may_poll(Lane.TROUBLED)


def test_the_time_asleep_is_not_saved_up() -> None:
    account, cpu = Account(), Cpu()
    account.earn(0.0, 5.0, 0.05, cpu)
    account.pay(Lane.TROUBLED, lambda: cpu.use(1.0), cpu)
    account.earn(100_000.0, 5.0, 0.05, cpu)
    assert not account.may_poll(Lane.TROUBLED), "three intervals' income do not pay for it"


def test_a_beat_is_what_lies_between_two_tries_or_has_passed_since() -> None:
    never = Beat()
    assert never.seconds(100.0) == 0.0
    first = never.tried(100.0, 1)
    assert [first.seconds(now) for now in (100.0, 107.0)] == [0.0, 7.0]
    second = first.tried(130.0, 2)
    assert [second.seconds(now) for now in (130.0, 140.0, 190.0)] == [30.0, 30.0, 60.0]


def test_a_dear_poll_waits_until_a_minute_has_room_for_it() -> None:
    account, cpu = Account(), Cpu()
    account.earn(0.0, 5.0, 0.05, cpu)
    assert account.fits(1.7)
    account.pay(Lane.QUIET, lambda: cpu.use(1.7), cpu)
    fits = []
    for at in range(5, 70, 5):
        cpu.use(0.05)  # elsewhere, which counts too
        account.earn(float(at), 5.0, 0.05, cpu)
        fits.append(account.fits(1.7))
    assert fits == [False] * 11 + [True] * 2, "3.3 s a minute at the most"
