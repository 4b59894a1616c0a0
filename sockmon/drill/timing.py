"""When an alert is to be expected, pure: polls, two that agree, `for`, `keep_firing_for`."""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds from the moment the sockets are made, and from the moment they are let go.

    onset: until the detector would call it trouble. interval: between polls.
    """

    onset: float
    interval: float
    for_: float
    keep_firing_for: float

    @property
    def latest(self) -> float:
        """It should fire within: trouble, two polls that agree, `for`; each ends at a poll."""
        return self._polls(self.onset) + 2 * self.interval + self._polls(self.for_)

    @property
    def patience(self) -> float:
        """When it has not fired by now it will not: a busy host's polls come late."""
        return self.latest + self._slack

    @property
    def resolves(self) -> float:
        """After the last socket has gone it should resolve within."""
        return self.interval + self._polls(self.keep_firing_for)

    @property
    def resolving_patience(self) -> float:
        """When it has not resolved by now it will not."""
        return self.resolves + self._slack

    @property
    def _slack(self) -> float:
        return 3 * self.interval + 5.0

    def _polls(self, seconds: float) -> float:
        return math.ceil(round(seconds / self.interval, 6)) * self.interval


def seconds_until_retransmits(tries: int, first: float, linear: int = 0) -> float:
    """Seconds until the so-manieth retransmission: the first wait, then each twice as long.

    linear: of the first retries, those that do not double (tcp_syn_linear_timeouts).
    """
    return sum(first * 2.0 ** max(0, n - linear) for n in range(tries))
