"""However many namespaces there are and whatever they cost, the budget holds and nobody starves."""

import itertools
import math
from dataclasses import dataclass, field
from itertools import count

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from sockmon.poll.cpu_budget import (
    LEAST_SHARE,
    MAX_AGE,
    MINUTE,
    OVERDUE_SHARE,
    Candidate,
    CpuBudget,
    PollAge,
    Priority,
    TokenBuckets,
    longest_waiting,
)

INCOME = 0.25  # 5 % of a core, every 5 s
INTERVAL = 5.0
SHARE = 0.05

costs = st.floats(1e-4, 2.0)
hosts = st.lists(st.tuples(costs, st.sampled_from(Priority)), min_size=1, max_size=40)


def left_of(spent: float) -> float:
    """What an interval's income leaves for polls."""
    return max(INCOME - spent, LEAST_SHARE * INCOME)


@dataclass
class Polled:
    """One namespace of the simulation: what a poll of it costs, and the numbers of its polls."""

    cost: float
    priority: Priority
    at: list[int] = field(default_factory=list)


def simulate(
    namespaces: list[tuple[float, Priority]], rounds: int, spent: float
) -> tuple[list[Polled], list[float]]:
    """Play so many rounds of the buckets; return who was polled, and what each round has cost."""
    buckets = TokenBuckets()
    everybody = [Polled(cost, priority) for cost, priority in namespaces]
    paid = []
    numbers = count(1)
    for _ in range(rounds):
        buckets = buckets.refill(left_of(spent), INCOME)
        before = sum(its.cost * len(its.at) for its in everybody)
        waiting = longest_waiting(
            Candidate(its, PollAge(0.0, its.at[-1] if its.at else 0), its.priority)
            for its in everybody
        )
        for priority in Priority:
            for one in waiting:
                if one.priority is priority:
                    if not buckets.has_tokens(priority):
                        break
                    one.whose.at.append(next(numbers))
                    buckets = buckets.spend(one.whose.cost, priority)
            buckets = buckets.lend(priority)
        paid.append(sum(its.cost * len(its.at) for its in everybody) - before)
    return everybody, paid


@given(hosts, st.floats(0, 1))
def test_over_time_no_more_is_spent_than_is_earned(
    namespaces: list[tuple[float, Priority]], spent: float
) -> None:
    everybody, paid = simulate(namespaces, 100, spent)
    dearest = max(its.cost for its in everybody)
    for rounds in range(1, 101):  # at the end of each priority the last poll may be owed
        assert sum(paid[:rounds]) <= left_of(spent) * rounds + INCOME + 2 * dearest + 1e-9


@given(hosts, st.floats(0, 1))
def test_nobody_starves_however_much_others_need(
    namespaces: list[tuple[float, Priority]], spent: float
) -> None:
    dearest = sum(cost for cost, _ in namespaces) + max(cost for cost, _ in namespaces)
    rounds = math.ceil(2 * dearest / (0.19 * left_of(spent))) + 2
    everybody, _ = simulate(namespaces, rounds, spent)
    assert all(its.at for its in everybody)


@given(hosts)
def test_within_a_priority_all_are_polled_equally_often(
    namespaces: list[tuple[float, Priority]],
) -> None:
    everybody, _ = simulate(namespaces, 60, 0.0)
    for priority in Priority:
        polls = [len(its.at) for its in everybody if its.priority is priority]
        assert not polls or max(polls) - min(polls) <= 1


def test_what_fits_is_polled_every_time() -> None:
    everybody, _ = simulate([(0.01, Priority.LOW)] * 20, 50, 0.04)
    assert all(len(its.at) == 50 for its in everybody)


def test_the_troubled_are_polled_every_time_while_the_quiet_wait() -> None:
    troubled, quiet = [(0.03, Priority.HIGH)] * 5, [(0.03, Priority.LOW)] * 50
    everybody, _ = simulate(troubled + quiet, 100, 0.0)
    assert all(len(its.at) == 100 for its in everybody[:5])
    # 0.10 of 0.25 s are left for the quiet: a little more than three of them a round.
    assert all(5 <= len(its.at) <= 8 for its in everybody[5:])


def test_idle_times_pay_for_no_storm() -> None:
    buckets = TokenBuckets()
    for _ in range(1000):
        buckets = buckets.refill(INCOME, INCOME)
    assert buckets.high + buckets.low <= 2 * INCOME


class Cpu:
    """A clock of CPU time that stands still unless something is done."""

    def __init__(self) -> None:
        self.used = 0.0

    def __call__(self) -> float:
        return self.used

    def use(self, seconds: float) -> None:
        self.used += seconds


def refill(budget: CpuBudget, at: float, cpu: Cpu) -> None:
    budget.refill(at, INTERVAL, SHARE, cpu)


@given(st.floats(0.01, 5.0), st.floats(0, 0.2), st.integers(1, 60))
def test_no_more_is_spent_than_the_share_whatever_a_poll_costs(
    cost: float, elsewhere: float, minutes: int
) -> None:
    budget, cpu = CpuBudget(), Cpu()
    rounds = 12 * minutes
    for number in range(rounds):
        refill(budget, INTERVAL * number, cpu)
        for priority in Priority:
            if budget.allows(priority):
                budget.charge(priority, lambda: cpu.use(cost))
            budget.lend(priority)
        cpu.use(elsewhere)
    # Two priorities may each owe their last poll; a fifth of the budget is theirs in any case.
    most = max(INCOME * rounds, elsewhere * rounds + LEAST_SHARE * INCOME * rounds)
    assert cpu.used <= most + INCOME + 2 * cost + elsewhere


def test_a_burst_elsewhere_is_made_up_for() -> None:
    budget, cpu = CpuBudget(), Cpu()
    for number in range(240):
        refill(budget, INTERVAL * number, cpu)
        if number % 3 == 0:
            cpu.use(0.5)  # two answers to Prometheus, which no single interval's income pays for
        for priority in (Priority.LOW, Priority.HIGH):
            while budget.allows(priority):
                budget.charge(priority, lambda: cpu.use(0.02))
            budget.lend(priority)
    assert cpu.used <= SHARE * INTERVAL * 240 + 1.0


def test_what_is_used_amid_polls_and_for_none_of_them_counts() -> None:
    budget, cpu = CpuBudget(), Cpu()
    for number in range(240):
        refill(budget, INTERVAL * number, cpu)
        cpu.use(0.15)  # looking for namespaces
        for priority in Priority:
            while budget.allows(priority):
                budget.charge(priority, lambda: cpu.use(0.01))
            budget.lend(priority)
    assert cpu.used <= SHARE * INTERVAL * 240 + 0.5


def test_room_is_reserved_for_an_expensive_poll() -> None:
    budget, cpu = CpuBudget(), Cpu()
    refill(budget, 0.0, cpu)
    budget.charge(Priority.HIGH, lambda: cpu.use(0.1))
    assert budget.allows(Priority.HIGH)
    budget.reserve(3.25)
    assert not budget.allows(Priority.HIGH)
    budget.reserve(0.0)
    assert budget.allows(Priority.HIGH)


def test_an_idle_time_saves_up_one_interval_for_each_priority_and_no_more() -> None:
    budget, cpu = CpuBudget(), Cpu()
    refill(budget, 0.0, cpu)
    budget.charge(Priority.HIGH, lambda: cpu.use(1.0))
    refill(budget, 100_000.0, cpu)
    for priority in Priority:
        while budget.allows(priority):
            budget.charge(priority, lambda: cpu.use(0.01))
    assert cpu.used == pytest.approx(1.0 + 2 * INCOME, abs=0.03)


def test_debts_are_forgotten_after_the_longest_wait() -> None:
    budget, cpu = CpuBudget(), Cpu()
    refill(budget, 0.0, cpu)
    budget.charge(Priority.LOW, lambda: cpu.use(1000.0))  # overdue polls of very many namespaces
    at = 0.0
    while not budget.allows(Priority.LOW):
        at += INTERVAL
        refill(budget, at, cpu)
        budget.lend(Priority.HIGH)
    assert at <= MAX_AGE + INTERVAL


def test_the_time_between_polls_is_the_last_gap_or_what_has_passed_since() -> None:
    first = PollAge(70.0, 0).polled(100.0, 1)
    assert [first.interval(now) for now in (100.0, 107.0, 140.0)] == [30.0, 30.0, 40.0]
    second = first.polled(130.0, 2)
    assert [second.interval(now) for now in (130.0, 140.0, 190.0)] == [30.0, 30.0, 60.0]
    assert second.interval(1e6) == MAX_AGE, "so that what is much older is withdrawn"


def test_an_expensive_poll_waits_until_a_minute_has_room_for_it() -> None:
    budget, cpu = CpuBudget(), Cpu()
    refill(budget, 0.0, cpu)
    assert budget.fits(1.7)
    budget.charge(Priority.LOW, lambda: cpu.use(1.7))
    fits = []
    for at in range(5, 70, 5):
        cpu.use(0.05)  # elsewhere, which counts too
        refill(budget, float(at), cpu)
        fits.append(budget.fits(1.7))
    assert fits == [False] * 11 + [True] * 2, "3.3 s a minute at the most"


@dataclass(eq=False)
class Waiting:
    """One namespace of a simulated host."""

    cost: float
    priority: Priority
    age: PollAge
    oldest: float = 0.0


def play(namespaces: list[Waiting], seconds: float, newcomers: int = 0) -> Cpu:
    """Poll by turns() as time passes, beside so many namespaces an interval that end at once."""
    budget, cpu = CpuBudget(), Cpu()
    at = 0.0
    while at < seconds:
        refill(budget, at, cpu)
        new = [
            Waiting(0.05, Priority.LOW, PollAge(at, budget.next_number())) for _ in range(newcomers)
        ]
        waiting = [Candidate(its, its.age, its.priority) for its in [*namespaces, *new]]
        for turn in budget.turns(waiting, lambda: False):
            budget.charge(turn.priority, lambda cost=turn.whose.cost: cpu.use(cost))  # type: ignore[misc]
            turn.whose.age = turn.whose.age.polled(at, budget.next_number())
        for its in namespaces:
            its.oldest = max(its.oldest, at - its.age.at)
        at += INTERVAL
    return cpu


@given(hosts)
def test_nothing_is_older_than_the_bound(namespaces: list[tuple[float, Priority]]) -> None:
    """40 of 2 s each need two thirds of a core: more than OVERDUE_SHARE allows."""
    total = sum(cost for cost, _ in namespaces)
    ours = [Waiting(cost, priority, PollAge(0.0, 0)) for cost, priority in namespaces]
    cpu = play(ours, 900.0)
    catching_up = total / OVERDUE_SHARE
    assert max(its.oldest for its in ours) <= MAX_AGE + catching_up + INTERVAL
    assert cpu.used <= SHARE * 900 + total * (900 / MAX_AGE) + 2 * total + INCOME


def test_namespaces_that_come_and_go_keep_nobody_from_being_polled() -> None:
    ours = [Waiting(0.05, Priority.LOW, PollAge(0.0, 0)) for _ in range(10)]
    play(ours, 900.0, newcomers=50)
    assert max(its.oldest for its in ours) <= 60.0


def test_when_even_the_bound_cannot_be_kept_half_a_core_is_the_most() -> None:
    ours = [Waiting(0.1, Priority.LOW, PollAge(0.0, 0)) for _ in range(2000)]
    cpu = play(ours, 900.0)
    assert cpu.used <= (OVERDUE_SHARE + 0.03) * 900
    assert max(its.oldest for its in ours) <= 2000 * 0.1 / OVERDUE_SHARE + MAX_AGE


def play_small(
    interval: float, share: float, cost: float, elsewhere: float, seconds: float
) -> tuple[float, list[float]]:
    """Poll a small table whenever that may be; return all CPU time, and when it was polled.

    elsewhere: of a core, used at all times besides.
    """
    budget, cpu = CpuBudget(), Cpu()
    age = PollAge(0.0, 0)
    polled = []
    for number in range(1, round(seconds / interval)):
        budget.refill(number * interval, interval, share, cpu)
        cpu.use(elsewhere * interval)
        if budget.affords(age, cost):
            cpu.use(cost)
            age = age.polled(number * interval, budget.next_number())
            polled.append(number * interval)
    return cpu.used, polled


intervals, shares = st.floats(0.1, 10.0), st.floats(0.005, 1.0)


@given(intervals, shares, st.floats(0.001, 1.0), st.floats(0, 2))
def test_a_small_table_is_polled_within_the_budget_at_any_interval(
    interval: float, share: float, cost: float, elsewhere: float
) -> None:
    seconds = 600.0
    used, polled = play_small(interval, share, cost, elsewhere, seconds)
    least = LEAST_SHARE * share * seconds + cost * seconds / MAX_AGE
    assert used <= max(share, elsewhere) * seconds + least + 2 * cost + share * MINUTE
    longest = min(cost / (LEAST_SHARE * share), MAX_AGE) + 2 * interval
    assert all(later - at <= longest for at, later in itertools.pairwise([0.0, *polled, seconds]))


@given(intervals, shares, st.floats(0.001, 1.0), st.floats(0, 0.5))
def test_what_the_budget_pays_for_is_polled_every_time(
    interval: float, share: float, cost: float, elsewhere: float
) -> None:
    assume(cost + elsewhere * share * interval <= 0.79 * share * interval)
    _, polled = play_small(interval, share, cost, elsewhere * share, 100 * interval)
    assert len(polled) == 99
