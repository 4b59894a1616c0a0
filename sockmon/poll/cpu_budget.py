"""Which namespaces are polled now, so that polling stays within a share of one core.

A token bucket for each of two priorities; tokens are seconds of CPU time. CPU time that the process
uses for other things (HTTP, looking for namespaces) is taken off first. The high priority gets most
of the rest, and each gets what the other does not need. A poll may start while its bucket holds any
tokens, and its cost may leave the bucket in debt: no cost has to be estimated, and over time no
more is spent than was added.

One rule is above the budget: a namespace that has waited for MAX_AGE seconds is polled.
"""

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Generic, TypeVar

T = TypeVar("T")

#: A namespace that has waited for so long is polled, even above the budget.
MAX_AGE = 120.0
#: The part of the budget that is for polls even if the process needs more for other things; and the
#: part of that which is for the low priority.
LEAST_SHARE = 0.2
#: Of a core: more than this, polls that have waited for MAX_AGE may not take either.
OVERDUE_SHARE = 0.5

MINUTE = 60.0
#: No expensive poll starts if it would take the last minute's cost to more than this many minutes'
#: budgets.
_MINUTE_LIMIT = 1.1


class Priority(Enum):
    """Namespaces in trouble come first; of a large table, sockets in states that mean trouble."""

    HIGH = "high"
    LOW = "low"


@dataclass(frozen=True, slots=True)
class PollAge:
    """How long ago a namespace was polled, and how long before that.

    at: monotonic seconds of the last attempt, successful or not, or when waiting began if there was
    none. gap: seconds between that and the one before. number: counts the attempts of all, so that
    the lowest has waited longest.
    """

    at: float
    number: int
    gap: float = 0.0

    def polled(self, now: float, number: int) -> "PollAge":
        """Note an attempt."""
        return PollAge(now, number, now - self.at)

    def interval(self, now: float) -> float:
        """Return the seconds between polls: the last gap, or the present one if it is longer."""
        return min(max(self.gap, now - self.at), MAX_AGE)

    def overdue(self, now: float) -> bool:
        """Whether it must be polled now, whatever the budget says."""
        return now - self.at >= MAX_AGE


@dataclass(frozen=True, slots=True)
class Candidate(Generic[T]):
    """One namespace that waits for a poll."""

    whose: T
    age: PollAge
    priority: Priority


@dataclass(frozen=True, slots=True)
class TokenBuckets:
    """Seconds of CPU time that polls of each priority may use; below zero is debt."""

    high: float = 0.0
    low: float = 0.0

    def refill(self, tokens: float, depth: float, most_debt: float = math.inf) -> "TokenBuckets":
        """Divide new tokens. No bucket holds more than its depth, or owes more than that debt."""

        def filled(bucket: float, share: float) -> float:
            return min(max(bucket, -most_debt) + share * tokens, depth)

        return TokenBuckets(filled(self.high, 1 - LEAST_SHARE), filled(self.low, LEAST_SHARE))

    def has_tokens(self, priority: Priority) -> bool:
        """Whether a poll of this priority may start."""
        return (self.high if priority is Priority.HIGH else self.low) > 0

    def spend(self, seconds: float, priority: Priority) -> "TokenBuckets":
        """Take out what a poll has cost."""
        if priority is Priority.HIGH:
            return TokenBuckets(self.high - seconds, self.low)
        return TokenBuckets(self.high, self.low - seconds)

    def lend(self, priority: Priority) -> "TokenBuckets":
        """Move what this priority has left, if anything, to the other one."""
        if not self.has_tokens(priority):
            return self
        both = self.high + self.low
        return TokenBuckets(0.0, both) if priority is Priority.HIGH else TokenBuckets(both, 0.0)


def longest_waiting(candidates: Iterable[Candidate[T]]) -> list[Candidate[T]]:
    """Return the candidates in the order in which they have waited, longest first."""
    return sorted(candidates, key=lambda candidate: candidate.age.number)


class CpuBudget:
    """Adds tokens as time passes, takes off what the process uses, and decides who is polled."""

    def __init__(self) -> None:
        self._buckets = TokenBuckets()
        self._cpu: Callable[[], float] = float
        self._now: float | None = None
        self._interval = 0.0
        self._share = 0.0
        self._accounted = 0.0  # CPU seconds of the process that have been taken off or charged
        self._overhead = 0.0  # CPU seconds that were used for other things and not yet taken off
        self._charged = 0.0  # CPU seconds of polls since the last refill
        self._polls = 0
        self._spent: deque[tuple[float, float]] = deque()  # in the last minute: when, CPU seconds
        self._minute = 0.0  # their sum
        self._reserved = 0.0  # of the minute, for an expensive poll that will be due

    def next_number(self) -> int:
        """Return the next number for a PollAge."""
        self._polls += 1
        return self._polls

    def refill(self, now: float, interval: float, share: float, cpu: Callable[[], float]) -> float:
        """Add `share` of the time since the last call, less what the process used besides polls.

        cpu: returns the seconds of CPU time that the process has used. Returns the tokens added.
        What a burst has used is taken off over the next minute at most.
        """
        used = cpu()
        income = share * (interval if self._now is None else now - self._now)
        overhead = self._overhead + (0.0 if self._now is None else used - self._accounted)
        taken_off = min(overhead, (1 - LEAST_SHARE) * income)
        self._overhead = min(overhead - taken_off, share * MINUTE)
        self._now, self._interval, self._share = now, interval, share
        self._cpu, self._accounted, self._charged = cpu, used, 0.0
        self._note(taken_off)
        tokens = income - taken_off
        self._buckets = self._buckets.refill(tokens, share * interval, share * MAX_AGE)
        return tokens

    def turns(
        self, candidates: Iterable[Candidate[T]], stop_requested: Callable[[], bool]
    ) -> Iterator[Candidate[T]]:
        """Yield who is to be polled now; the caller polls each by charge() before the next one."""
        assert self._now is not None
        waiting = longest_waiting(candidates)
        overdue = [one for one in waiting if one.age.overdue(self._now)]
        for one in overdue:
            if self._charged >= OVERDUE_SHARE * self._interval or stop_requested():
                return
            yield one
        for priority in Priority:
            for one in waiting:
                if one.priority is not priority or one.age.overdue(self._now):
                    continue
                if not self.allows(priority) or stop_requested():
                    break
                yield one
            self.lend(priority)

    def affords(self, age: PollAge, cost: float) -> bool:
        """Whether a poll that costs so much, as one of the other things, may be made now.

        Not while the process owes what it has used, but as often as the least share pays for it.
        """
        assert self._now is not None
        paid_after = min(cost / (LEAST_SHARE * self._share), MAX_AGE)
        return self._overhead <= 0 or self._now - age.at >= paid_after

    def has_tokens(self, priority: Priority) -> bool:
        """Whether there are tokens for a poll of this priority."""
        return self._buckets.has_tokens(priority)

    def allows(self, priority: Priority) -> bool:
        """Whether one more poll of this priority may start, without what is reserved."""
        return self.has_tokens(priority) and self.fits(self._reserved)

    def fits(self, cost: float) -> bool:
        """Whether a poll of this cost would keep the cost of the last minute within its limit."""
        return self._minute + cost <= _MINUTE_LIMIT * self._share * MINUTE

    def reserve(self, cost: float) -> None:
        """Keep room in the minute for one poll of this cost; 0 ends that."""
        self._reserved = cost

    def charge(self, priority: Priority, poll: Callable[[], T]) -> tuple[T, float]:
        """Poll and charge what it cost; return what it returned, and the cost in CPU seconds."""
        before = self._cpu()
        result = poll()
        cost = self._cpu() - before
        self.spend(priority, cost)
        return result, cost

    def spend(self, priority: Priority, cost: float) -> None:
        """Charge for a poll that was made since the last refill()."""
        self._buckets = self._buckets.spend(cost, priority)
        self._accounted += cost
        self._charged += cost
        self._note(cost)

    def lend(self, priority: Priority) -> None:
        """Move what this priority has left, if anything, to the other one."""
        self._buckets = self._buckets.lend(priority)

    def _note(self, cost: float) -> None:
        """Remember what was spent in the last minute."""
        assert self._now is not None
        self._spent.append((self._now, cost))
        self._minute += cost
        while self._now - self._spent[0][0] >= MINUTE:
            self._minute -= self._spent.popleft()[1]
