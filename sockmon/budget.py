"""What polling other namespaces may cost: a share of one core, pure.

The daemon's own namespace is polled at every beat. What that leaves of the budget goes into two
purses: most of it for the troubled namespaces, the rest for the quiet ones, and what one lane does
not need the other gets. A namespace is polled when its purse holds anything; a dear poll leaves a
debt, which is paid before the next. So over time no more is spent than is earned, no namespace
waits for ever, and nobody has to guess what a poll will cost.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Generic, TypeVar

T = TypeVar("T")

#: Of what is left of the budget, the part that is first for troubled namespaces.
TROUBLED_SHARE = 0.8
#: Of the budget, the part that is for others however much the daemon itself needs.
SURE_SHARE = 0.2


class Lane(Enum):
    """Who waits where; the troubled come first."""

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
        left = max(income - spent, SURE_SHARE * income)
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
