"""When to expect an alert (pure): two polls must agree, then come `for` and `keep_firing_for`."""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds from when the sockets are made, and from when they are closed.

    onset: until the detector finds the condition. interval: between polls. late: how long a busy
    host may hold up a daemon, however often it polls.
    """

    onset: float
    interval: float
    for_: float
    keep_firing_for: float
    late: float = 20.0

    @property
    def latest(self) -> float:
        """When it should have fired: onset, two polls that agree, `for`; each ends at a poll."""
        return self._polls(self.onset) + 2 * self.interval + self._polls(self.for_)

    @property
    def patience(self) -> float:
        """When it will no longer fire: polls of a busy host come late."""
        return self.latest + self._slack

    @property
    def resolves(self) -> float:
        """When it should have resolved, after the last socket is gone."""
        return self.interval + self._polls(self.keep_firing_for)

    @property
    def resolving_patience(self) -> float:
        """When it will no longer resolve."""
        return self.resolves + self._slack

    @property
    def _slack(self) -> float:
        return max(4 * self.interval, self.late)

    def _polls(self, seconds: float) -> float:
        return math.ceil(round(seconds / self.interval, 6)) * self.interval


def seconds_until_retransmits(tries: int, first: float, linear: int = 0) -> float:
    """Return the seconds until `tries` retransmissions were sent: each wait doubles the last.

    first: seconds until the first. linear: how many of the first do not double the wait
    (tcp_syn_linear_timeouts).
    """
    return sum(first * 2.0 ** max(0, n - linear) for n in range(tries))
