"""What polling may cost: a share of one core. Pure, but for the account, which remembers.

What the daemon needs for itself is taken off the budget. The rest goes into two purses: most of it
for what is troubled, the rest for what is quiet, and what one lane does not need the other gets. A
poll may be made when its purse holds anything; a dear one leaves a debt, which is paid before the
next. So over time no more is spent than is earned, nobody waits for ever, and nobody has to guess
what a poll will cost.
"""

import math
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Generic, TypeVar

T = TypeVar("T")

#: Of what is left of the budget, the part that is first for the troubled.
TROUBLED_SHARE = 0.8
#: Of the budget, the part that is for polls however much the daemon needs for itself.
SURE_SHARE = 0.2
#: After an idle time no more is earned than in so many intervals.
_IDLE_INTERVALS = 3
#: A burst elsewhere is made up for, but never for longer than polls can wait.
_BEHIND_INTERVALS = 12
#: No dear poll is made if it would take a minute's cost this far beyond a minute's budget.
_BURST = 1.1
MINUTE = 60.0


def left_of(income: float, spent: float) -> float:
    """Return what an income, less what was spent elsewhere, leaves for polls."""
    return max(income - spent, SURE_SHARE * income)


class Lane(Enum):
    """Who waits where; the troubled come first.

    A namespace is troubled or quiet as a whole. Of a large table, the sockets in states that mean
    trouble are asked for in the first lane, and everybody in the second.
    """

    TROUBLED = "troubled"
    QUIET = "quiet"


@dataclass(frozen=True, slots=True)
class Turn(Generic[T]):
    """One namespace that wants to be polled. last: the number of its last poll, of all polls."""

    whose: T
    last: int
    lane: Lane


@dataclass(frozen=True, slots=True)
class Purses:
    """Seconds of CPU time that each lane may spend; below zero, what it must earn first."""

    troubled: float = 0.0
    quiet: float = 0.0

    def earn(self, income: float, spent: float) -> "Purses":
        """Divide what the budget has earned since the last poll, less what was spent elsewhere.

        No more than one income is hoarded: idle times pay for no storm.
        """
        left = left_of(income, spent)
        return Purses(
            min(self.troubled + TROUBLED_SHARE * left, income),
            min(self.quiet + (1 - TROUBLED_SHARE) * left, income),
        )

    def may_poll(self, lane: Lane) -> bool:
        """Whether one more namespace of the lane may be polled."""
        return (self.troubled if lane is Lane.TROUBLED else self.quiet) > 0

    def pay(self, seconds: float, lane: Lane) -> "Purses":
        """Take out what a poll has cost."""
        if lane is Lane.TROUBLED:
            return Purses(self.troubled - seconds, self.quiet)
        return Purses(self.troubled, self.quiet - seconds)

    def hand_over(self, lane: Lane) -> "Purses":
        """Give what the lane has left, if anything, to the other one."""
        if not self.may_poll(lane):
            return self
        both = self.troubled + self.quiet
        return Purses(0.0, both) if lane is Lane.TROUBLED else Purses(both, 0.0)


def in_turn(turns: Iterable[Turn[T]], lane: Lane) -> tuple[T, ...]:
    """Return who waits in the lane, longest first."""
    waiting = sorted((turn for turn in turns if turn.lane is lane), key=lambda turn: turn.last)
    return tuple(turn.whose for turn in waiting)


@dataclass(frozen=True, slots=True)
class Beat:
    """How far apart two reads of the same are.

    at: monotonic seconds of the last try, well or not; gap: seconds since the one before it.
    number: counts the tries of all.
    """

    at: float = -math.inf
    gap: float = 0.0
    number: int = 0

    def tried(self, now: float, number: int) -> "Beat":
        """Note a try."""
        return Beat(now, now - self.at if self.at > -math.inf else 0.0, number)

    def seconds(self, now: float) -> float:
        """Return how far apart they are now, be it that the next one is still to come."""
        return max(self.gap, now - self.at if self.at > -math.inf else 0.0)


class Account:
    """Earns what the budget gives, and pays for polls. `cpu`: CPU seconds the process has used.

    All that is used and not paid for as a poll has been used elsewhere, be it amid the polls.
    """

    def __init__(self) -> None:
        self._purses = Purses()
        self._earned_at: float | None = None
        self._settled: float | None = None  # CPU seconds that are accounted for
        self._behind = 0.0  # used elsewhere, in a burst, and not made up for yet
        self._number = 0
        self._share = 0.0
        self._spent: deque[tuple[float, float]] = deque()  # in the last minute: when, CPU seconds
        self._minute = 0.0  # their sum
        self._kept = 0.0  # of the minute, for a dear poll whose turn it is

    def number(self) -> int:
        """Return the next number of a try."""
        self._number += 1
        return self._number

    def earn(self, now: float, interval: float, share: float, cpu: Callable[[], float]) -> float:
        """Earn `share` of the time since the last call, less what the process used elsewhere.

        Returns what that leaves.
        """
        since = interval if self._earned_at is None else now - self._earned_at
        used = cpu()
        spent = 0.0 if self._settled is None else max(0.0, used - self._settled)
        self._earned_at, self._settled, self._share = now, used, share
        income = share * min(since, _IDLE_INTERVALS * interval)
        used_elsewhere = self._behind + spent
        # What a long time has earned beyond that pays for what was used in it, and for no more.
        owed = max(0.0, used_elsewhere - (share * since - income))
        left = owed - min(owed, (1 - SURE_SHARE) * income)
        self._behind = min(left, _BEHIND_INTERVALS * share * interval)
        self._note(used_elsewhere - left)
        self._purses = self._purses.earn(income, owed)
        return left_of(income, owed)

    def may_afford(self, lane: Lane) -> bool:
        """Whether the lane's purse holds anything."""
        return self._purses.may_poll(lane)

    def may_poll(self, lane: Lane) -> bool:
        """Whether one more poll may be made in the lane."""
        return self._purses.may_poll(lane) and self.fits(self._kept)

    def keep_room(self, cost: float) -> None:
        """Leave room in the minute for a poll that costs so much; 0: there is none to come."""
        self._kept = cost

    def fits(self, cost: float) -> bool:
        """Whether a poll that costs so much would leave the cost of the minute within bounds."""
        return self._minute + cost <= _BURST * self._share * MINUTE

    def pay(self, lane: Lane, poll: Callable[[], T], cpu: Callable[[], float]) -> tuple[T, float]:
        """Make a poll, and pay for it: return what it returned, and what it has cost."""
        before = cpu()
        result = poll()
        cost = cpu() - before
        self.owe(lane, cost)
        return result, cost

    def owe(self, lane: Lane, cost: float) -> None:
        """Pay for a poll that has been made since the last call of earn()."""
        self._purses = self._purses.pay(cost, lane)
        if self._settled is not None:
            self._settled += cost
            self._note(cost)

    def hand_over(self, lane: Lane) -> None:
        """Give what the lane has left, if anything, to the other one."""
        self._purses = self._purses.hand_over(lane)

    def _note(self, cost: float) -> None:
        """Remember what was spent in the last minute."""
        assert self._earned_at is not None
        self._spent.append((self._earned_at, cost))
        self._minute += cost
        while self._earned_at - self._spent[0][0] >= MINUTE:
            self._minute -= self._spent.popleft()[1]
