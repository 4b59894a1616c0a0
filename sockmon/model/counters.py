"""Counters of the kernel from poll to poll: how much they rose, and how fast."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from sockmon.model.detector_input import Rates

K = TypeVar("K", int, str)


def _risen(before: Mapping[K, int], later: Mapping[K, int]) -> Mapping[K, int]:
    """Return how much each counter that is known of both rose; one that fell has been reset."""
    return {key: max(0, count - before[key]) for key, count in later.items() if key in before}


@dataclass(frozen=True, slots=True)
class Counters:
    """Counters at one moment (monotonic seconds), or how much they rose in so many seconds."""

    at: float
    events: Mapping[str, int] = field(default_factory=dict)
    drops: Mapping[int, int] = field(default_factory=dict)
    conntrack: Mapping[str, int] = field(default_factory=dict)

    def since(self, before: "Counters | None") -> "Counters":
        """Return how much each rose since then; nothing is known of what was not read then."""
        if before is None:
            return Counters(0.0)
        return Counters(
            self.at - before.at,
            _risen(before.events, self.events),
            _risen(before.drops, self.drops),
            _risen(before.conntrack, self.conntrack),
        )

    def rates(self) -> Rates:
        """Return, of counters that rose, how fast."""
        if self.at <= 0:
            return Rates()
        return Rates(
            {name: count / self.at for name, count in self.events.items()},
            {port: count / self.at for port, count in self.drops.items()},
        )
