"""What happened to TCP connections: opened, failed, closed, aborted, and how long it took."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sockmon.model.direction import Direction

#: Why a connection did not come about. abandoned: the application closed the socket before an
#: answer came; no_port: this host had no free local port for it.
FAILURES = ("refused", "timed_out", "reset", "unreachable", "abandoned", "no_port", "other")
#: Whose FIN was first; both: the two crossed.
CLOSERS = ("here", "there", "both")
#: Who ended a connection before either end had closed: by a reset; timeout: the kernel, when the
#: other end did not answer any more, at any stage.
ABORTERS = ("here", "there", "timeout")
#: What is timed. connect: from the first SYN to ESTABLISHED, of outbound connections; close_wait:
#: from the other end's FIN to ours; lifetime: from ESTABLISHED to the end of the socket.
TIMED = ("connect", "close_wait", "lifetime")
#: Upper bounds of the histograms' buckets in seconds; there is one more, without bound. Up to
#: 0.04 s Linux delays the acknowledgment of a FIN; at 60 s a socket in CLOSE_WAIT counts as stale.
BOUNDS = (0.001, 0.01, 0.04, 0.2, 1.0, 5.0, 30.0, 60.0, 300.0)

#: Everything that is counted, in the order of the columns: first numbers of connections.
COUNTERS: tuple[str, ...] = (
    "opened",
    *(f"failed_{reason}" for reason in FAILURES),
    *(f"closed_{first}" for first in CLOSERS),
    *(f"aborted_{by}" for by in ABORTERS),
    "unseen",  # ended, and their opening was not seen
)
#: Columns of one histogram: the sum in nanoseconds, then the buckets, not cumulative.
HISTOGRAM_COLUMNS = 1 + len(BOUNDS) + 1
COLUMNS = len(COUNTERS) + HISTOGRAM_COLUMNS * len(TIMED)
_NOTHING = (0,) * COLUMNS


def column(name: str) -> int:
    """Return the column of a counter, or the first one of a histogram."""
    if name in TIMED:
        return len(COUNTERS) + HISTOGRAM_COLUMNS * TIMED.index(name)
    return COUNTERS.index(name)


@dataclass(frozen=True, slots=True)
class Histogram:
    """Durations. buckets: how many were at most BOUNDS[i] and above the bound before, and rest."""

    seconds: float
    buckets: tuple[int, ...]

    @property
    def count(self) -> int:
        """How many there were."""
        return sum(self.buckets)

    def above(self, seconds: float) -> int:
        """Return how many were certainly longer."""
        lower = (0.0, *BOUNDS)
        return sum(n for bound, n in zip(lower, self.buckets, strict=True) if bound >= seconds)

    def quantile_bound(self, share: float) -> float:
        """Return the least bound below which this share of them was; infinity above the last."""
        wanted, total = share * self.count, 0
        for bound, count in zip((*BOUNDS, float("inf")), self.buckets, strict=True):
            total += count
            if total >= wanted:
                return bound
        return float("inf")

    def quantile_above(self, share: float) -> float:
        """Return the lower bound of the bucket in which the quantile of this share lies."""
        upper = self.quantile_bound(share)
        return max((bound for bound in BOUNDS if bound < upper), default=0.0)


@dataclass(frozen=True, slots=True)
class EventCounts:
    """The columns of one (direction, port), or of several together."""

    columns: tuple[int, ...] = _NOTHING

    @property
    def opened(self) -> int:
        """How many were established."""
        return self.columns[0]

    @property
    def unseen(self) -> int:
        """How many ended whose opening was not seen."""
        return self.columns[column("unseen")]

    @property
    def connections(self) -> int:
        """How many there were, at least: those that were opened or failed, or those that ended."""
        ended = sum(self.closed.values()) + sum(self.aborted.values())
        timed = max(self.histogram(name).count for name in TIMED)
        return max(self.opened + sum(self.failed.values()), ended, timed)

    @property
    def failed(self) -> Mapping[str, int]:
        """How many did not come about, by reason."""
        return self._named("failed", FAILURES)

    @property
    def closed(self) -> Mapping[str, int]:
        """How many were closed with a FIN, by whose was first."""
        return self._named("closed", CLOSERS)

    @property
    def aborted(self) -> Mapping[str, int]:
        """How many were ended without FINs, by whom."""
        return self._named("aborted", ABORTERS)

    def histogram(self, name: str) -> Histogram:
        """Return one of TIMED."""
        at = column(name)
        nanoseconds, *buckets = self.columns[at : at + HISTOGRAM_COLUMNS]
        return Histogram(nanoseconds / 1e9, tuple(buckets))

    def __add__(self, other: "EventCounts") -> "EventCounts":
        return EventCounts(tuple(map(int.__add__, self.columns, other.columns)))

    def _named(self, prefix: str, names: Sequence[str]) -> dict[str, int]:
        first = column(f"{prefix}_{names[0]}")
        return dict(zip(names, self.columns[first : first + len(names)], strict=True))


@dataclass(frozen=True, slots=True)
class PortEvents:
    """What was counted of one (direction, port); port None: all others of this direction."""

    direction: Direction
    port: int | None
    counts: EventCounts


#: How far back RecentEvents goes, and how long `latest` is at most.
WINDOW_SECONDS, BUCKET_SECONDS = 300.0, 10.0
#: A burst is what has happened in so many seconds.
BURST_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Endings:
    """How many connections of one (direction, port) ended in the last BURST_SECONDS, and before.

    reset: those of `ended` that the serving end aborted: this host if they are inbound, the other
    end if they are outbound. Of what was before, the older half counts less.
    """

    ended: int
    reset: int
    ended_before: float
    reset_before: float


@dataclass(frozen=True, slots=True)
class RecentEvents:
    """What was counted in one namespace in the last minutes.

    seconds: how long ago that began. latest: the ports with events in the last seconds. endings: of
    the ports at which the serving end lately aborted connections. last_opened, last_failed: when
    the last reading was that had counted one more, in monotonic seconds; it happened between that
    reading and the one before.
    """

    seconds: float
    ports: Mapping[tuple[Direction, int], EventCounts]
    latest: frozenset[tuple[Direction, int]]
    endings: Mapping[tuple[Direction, int], Endings] = field(default_factory=dict)
    last_opened: Mapping[tuple[Direction, int], float] = field(default_factory=dict)
    last_failed: Mapping[tuple[Direction, int], float] = field(default_factory=dict)
