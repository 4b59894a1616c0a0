"""What polling has cost and how often it failed."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from sockmon.model.names import OTHER

#: The reason of a failure that is neither of reading nor of judging, such as saving the state; its
#: component has logged it.
COMPONENT = "component"


@dataclass(frozen=True, slots=True)
class Failure:
    """Something that could not be read in this poll.

    is_optional: the kernel need not have it, and nothing else is missing for that. Reported once.
    """

    netns: str
    reason: str
    message: str
    is_optional: bool = False


#: Upper bounds of sockmon_poll_duration_seconds' buckets.
DURATION_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True, slots=True)
class PollStatistics:
    """What polling has cost and how often it failed, since the daemon started."""

    polls: int = 0
    errors: Mapping[tuple[str, str], int] = field(default_factory=dict)
    duration_counts: tuple[int, ...] = (0,) * (len(DURATION_BUCKETS) + 1)
    duration_sum: float = 0.0

    def polled(
        self, seconds: float, failures: tuple[Failure, ...], namespaces: Collection[str]
    ) -> "PollStatistics":
        """Add one poll. namespaces: those with series of their own; all others are in OTHER.

        The errors of one that is no longer among these are forgotten.
        """
        kept = {*namespaces, OTHER}
        errors = {key: count for key, count in self.errors.items() if key[0] in kept}
        for failure in failures:
            if failure.is_optional:
                continue
            key = failure.netns if failure.netns in kept else OTHER, failure.reason
            errors[key] = errors.get(key, 0) + 1
        bucket = sum(seconds > bound for bound in DURATION_BUCKETS)
        counts = list(self.duration_counts)
        counts[bucket] += 1
        return PollStatistics(self.polls + 1, errors, tuple(counts), self.duration_sum + seconds)
