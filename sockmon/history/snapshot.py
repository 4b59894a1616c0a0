"""History as immutable values: an hour of polls and a day of minutes."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sockmon.history.sample import SERIES, WIDTH, Reading, Watched
from sockmon.model.counts import GroupKey
from sockmon.model.moment import Moment

Range = Literal["hour", "day"]

#: How far each range goes back, in seconds.
SPANS: Mapping[Range, float] = {"hour": 3600.0, "day": 86_400.0}


@dataclass(frozen=True, slots=True, eq=False)
class Depth:
    """How much of a namespace is kept; there are three depths.

    steps: what a row of each range stands for, in seconds; more if polls are farther apart.
    ports: whether its largest groups are kept too.
    """

    name: Literal["full", "near", "coarse"]
    steps: Mapping[Range, float]
    ports: bool

    @property
    def width(self) -> int:
        """How many values a row has."""
        return WIDTH if self.ports else len(SERIES)


FULL = Depth("full", {"hour": 1.0, "day": 60.0}, ports=True)
NEAR = Depth("near", {"hour": 1.0, "day": 600.0}, ports=True)
COARSE = Depth("coarse", {"hour": 60.0, "day": 600.0}, ports=False)
DEPTHS = {depth.name: depth for depth in (FULL, NEAR, COARSE)}


@dataclass(frozen=True, slots=True)
class Row:
    """One or more polls: when the first of them was, and the extremes of each value."""

    at: float
    high: Reading
    low: Reading


@dataclass(frozen=True, slots=True)
class Columns:
    """Rows as columns, oldest first: `at` in seconds; `high` and `low` are rows x values.

    Where no row holds more than one poll, `low` is `high` itself.
    """

    at: NDArray[np.float64]
    high: Reading
    low: Reading

    @classmethod
    def of(cls, rows: Sequence[Row], width: int) -> "Columns":
        """Copy the rows, which have so many values."""
        high = _stacked([row.high for row in rows], width)
        folded = any(row.low is not row.high for row in rows)
        low = _stacked([row.low for row in rows], width) if folded else high
        return cls(np.array([row.at for row in rows], np.float64), high, low)

    def joined(self, most: int) -> "Columns":
        """Make neighbouring rows one, until there are at most so many."""
        each = -(-self.at.size // most)
        if each <= 1:
            return self
        starts = np.arange(0, self.at.size, each)
        high = np.fmax.reduceat(self.high, starts)
        return Columns(self.at[starts], high, np.fmin.reduceat(self.low, starts))

    def rows(self) -> tuple[Row, ...]:
        """Return the rows, each with memory of its own, so that each can be freed."""
        highs = [row.copy() for row in self.high]
        lows = highs if self.low is self.high else [row.copy() for row in self.low]
        return tuple(map(Row, self.at.tolist(), highs, lows))


def _stacked(readings: list[Reading], width: int) -> Reading:
    return np.concatenate([np.empty(0, np.float32), *readings]).reshape(-1, width)


@dataclass(frozen=True, slots=True)
class NamespacePast:
    """One namespace's rows, oldest first, and the groups that are watched.

    troubled_at: when something was last wrong with it; -inf: never.
    """

    rows: Mapping[Range, tuple[Row, ...]]
    watched: Mapping[GroupKey, Watched]
    depth: Depth = FULL
    troubled_at: float = -math.inf

    def columns(self, span: Range) -> Columns:
        """Copy the rows of one range."""
        return Columns.of(self.rows[span], self.depth.width)

    def moved(self, by: float) -> "NamespacePast":
        """Return the same, `by` seconds later."""
        return NamespacePast(
            {r: tuple(replace(row, at=row.at + by) for row in self.rows[r]) for r in self.rows},
            {key: replace(slot, since=slot.since + by) for key, slot in self.watched.items()},
            self.depth,
            self.troubled_at + by,
        )


@dataclass(frozen=True, slots=True)
class AlertChange:
    """An alert began to fire, or was resolved; times in Unix seconds, as the clock was then.

    previous_severity: what it was until now, if this is a change of severity of what fires already.
    """

    at: float
    state: Literal["firing", "resolved"]
    firing_since: float
    labels: Mapping[str, str]
    summary: str
    previous_severity: str | None = None


@dataclass(frozen=True, slots=True)
class HistorySnapshot:
    """All of history after the poll at `at`, whose monotonic seconds include suspended time."""

    at: Moment
    namespaces: Mapping[str, NamespacePast]
    alert_changes: tuple[AlertChange, ...] = ()

    def adopted(self, now: Moment, *, same_boot: bool) -> "HistorySnapshot":
        """Return an earlier process's past on the clock that reads `now`, and not after it.

        After a reboot the wall clock shows how long it took; if it went back: no time at all.
        """
        if same_boot and self.at.monotonic <= now.monotonic:
            return self
        away = max(0.0, now.wall - self.at.wall)
        by = now.monotonic - away - self.at.monotonic
        return replace(
            self,
            at=replace(self.at, monotonic=self.at.monotonic + by),
            namespaces={name: past.moved(by) for name, past in self.namespaces.items()},
        )
