"""How many new series may begin, so that nobody's churn fills Prometheus.

A token bucket: as many names as may be shown may begin at once, and again as many over half an
hour. Without it, a user who opens ports and leaves them makes hundreds of new
series at every poll, although never more than the bound are shown at a time.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

#: How long a series is kept after it was last in rank.
KEPT_FOR_SECONDS = 600.0
#: In each period of this length, as many further names may begin as are shown at a time.
REFILL_SECONDS = 1800.0


@dataclass(frozen=True, slots=True)
class Newcomers:
    """How many names may begin now; None: as many as may be shown. at: monotonic seconds."""

    left: float | None = None
    at: float = 0.0

    def refilled(self, now: float, most: int, over: float = REFILL_SECONDS) -> "Newcomers":
        """Return what there is now; most: names that may be shown at a time.

        over: seconds in which so many more may begin.
        """
        if self.left is None:
            return Newcomers(float(most), now)
        earned = (now - self.at) * most / over
        return Newcomers(min(float(most), self.left + earned), now)

    @property
    def room(self) -> int:
        """How many may begin."""
        return int(self.left or 0)

    def spent(self, names: int) -> "Newcomers":
        """Return what is left when so many have begun."""
        return Newcomers((self.left or 0.0) - names, self.at)


@dataclass(frozen=True, slots=True)
class Ranked(Generic[K]):
    """Which names are shown: those in rank, and for ten minutes those that were.

    at: when each was last in rank (monotonic seconds).
    """

    at: Mapping[K, float] = field(default_factory=dict)
    newcomers: Newcomers = field(default_factory=Newcomers)

    def seen(self, ranked: Sequence[K], now: float, most: int) -> "Ranked[K]":
        """Return the memory after one more poll; ranked: the most important first.

        most: names that may be shown at a time.
        """
        newcomers = self.newcomers.refilled(now, most)
        new = [name for name in ranked[:most] if name not in self.at]
        waiting = set(new[newcomers.room :])
        shown = {name: now for name in ranked[:most] if name not in waiting}
        earlier = sorted(
            (name for name, at in self.at.items() if now - at < KEPT_FOR_SECONDS),
            key=lambda name: -self.at[name],
        )
        for name in earlier:
            if len(shown) < most:
                shown.setdefault(name, self.at[name])
        return Ranked(shown, newcomers.spent(len(new) - len(waiting)))
