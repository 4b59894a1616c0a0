"""What the view remembers of earlier polls: for sparklines, and how long a finding is there."""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from sockmon.client.snapshot import Snapshot
from sockmon.model.counts import StateCounts
from sockmon.model.finding import FindingKey
from sockmon.model.observation import STALE_AFTER_INTERVALS
from sockmon.model.states import TcpState

#: What sparklines can span, in seconds: the shortest that holds what is remembered.
WINDOWS = (60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0)

_SAMPLES = 3600


class Since(NamedTuple):
    """When a finding began (monotonic seconds); `or_before`: it was there when watching began."""

    at: float
    or_before: bool = False


#: One poll: its monotonic time, and the sockets by state; None if they were not read.
Sample = tuple[float, StateCounts | None]


@dataclass(frozen=True, slots=True)
class Trend:
    """Samples of an hour at most, oldest first."""

    samples: tuple[Sample, ...] = ()
    since: Mapping[FindingKey, Since] = field(default_factory=dict)

    def seen(self, snapshot: Snapshot, known: Mapping[FindingKey, Since]) -> "Trend":
        """Add one poll; `known` is what the source can tell of how long its findings are there."""
        now = snapshot.at.monotonic
        oldest = bisect_right(self.samples, now - WINDOWS[-1], key=_time)
        found = snapshot.findings.value if snapshot.findings else ()
        # Two polls must agree: what the second finds may have been there before the first.
        sample = now, snapshot.counted
        first_seen = Since(now, or_before=len(self.samples) < 2)
        return Trend(
            (*self.samples[max(oldest, len(self.samples) - _SAMPLES + 1) :], sample),
            {f.key: known.get(f.key) or self.since.get(f.key) or first_seen for f in found},
        )

    def recalling(self, past: tuple[Sample, ...]) -> "Trend":
        """Put what others remember in the place of what is remembered here of the same time."""
        if not past:
            return self
        own = bisect_left(self.samples, past[0][0], key=_time)
        return replace(self, samples=(*self.samples[:own], *past))

    @property
    def window(self) -> float:
        """Seconds that a sparkline spans."""
        if not self.samples:
            return WINDOWS[0]
        known = self.samples[-1][0] - self.samples[0][0]
        return next((window for window in WINDOWS if known <= window), WINDOWS[-1])

    def peaks(self, count: int, interval: float) -> tuple[StateCounts | None, ...]:
        """Return the most sockets by state in each of `count` equal parts of the window.

        The latest part is the last. One without a sample has the sample before it, unless that
        is older than what is believed, or was not read: then None.
        """
        times = [at for at, _ in self.samples]
        step = self.window / count
        reach = STALE_AFTER_INTERVALS * interval
        end = math.ceil(times[-1] / step) if times else 0  # bounds stay from poll to poll
        parts: list[StateCounts | None] = []
        for part in range(end - count, end):
            first, beyond = bisect_right(times, part * step), bisect_right(times, (part + 1) * step)
            if part == end - 1:
                beyond = len(times)  # the bound can be a rounding error before the last sample
            if first == beyond and first and part * step - times[first - 1] <= reach:
                first -= 1
            read = [counts for _, counts in self.samples[first:beyond] if counts is not None]
            parts.append(tuple(map(max, zip(*read, strict=True))) if read else None)
        return tuple(parts)


def bars(peaks: Sequence[StateCounts | None], state: TcpState) -> tuple[float, ...]:
    """Return the heights of a state's sparkline; NaN where nothing is known.

    The first two are the ends of its scale, beyond all others: the whole height is at least a
    quarter of the most, so that a ripple looks like one.
    """
    known = [counts[state] for counts in peaks if counts is not None]
    least, most = min(known, default=0), max(known, default=0)
    if not most:
        return ()
    height = max(most - least, most / 4)
    ends = least - 0.01 * height, least + 1.01 * height
    return (*ends, *(math.nan if counts is None else counts[state] for counts in peaks))


def highest(lowest: float, beyond: float, values: Sequence[float]) -> float:
    """The highest of some of a sparkline's heights, to be drawn as one.

    What is not known is below the scale, which begins at `lowest`, so it is not drawn.
    """
    return max((each for each in values if lowest < each < beyond), default=lowest - 2**60)


def _time(sample: Sample) -> float:
    return sample[0]
