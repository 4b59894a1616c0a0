"""One poll as the commands and the view show it: by namespace, and all together."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import chain
from typing import NamedTuple, TypeVar

from sockmon.model.counts import StateCounts
from sockmon.model.finding import Finding, worst_first
from sockmon.model.moment import Moment, Timed
from sockmon.model.names import HOST
from sockmon.model.states import STATE_SLOTS

T = TypeVar("T")


class FetchError(Exception):
    """Why a look brought nothing, in one line."""


@dataclass(frozen=True, slots=True)
class Row:
    """Sockets that have something in common: `cells` names it, one text a column.

    degraded: they were seen from outside. age: seconds before the poll at which they were counted.
    """

    cells: tuple[str, ...]
    states: StateCounts
    degraded: bool = False
    age: float = 0.0

    @property
    def total(self) -> int:
        """Sockets in any state."""
        return sum(self.states)


@dataclass(frozen=True, slots=True)
class Level:
    """How much of a limit is used; `netns` where that is not the reader's own."""

    name: str
    used: int
    limit: int
    netns: str = HOST


class PortEvents(NamedTuple):
    """Connections of one port and direction since events are counted."""

    opened: int
    failed: int
    closed: int
    aborted: int


@dataclass(frozen=True, slots=True)
class Part:
    """One namespace; what is Timed is None until it has succeeded once.

    beat: seconds between its polls; believed: for how many seconds what was read counts.
    degraded: seen from outside, so not diagnosed. events: by port (a number, or other) and
    direction, counted since a time (Unix); None: they are not counted.
    """

    netns: str
    beat: float
    believed: float
    degraded: bool
    states: Timed[StateCounts] | None
    ports: Timed[tuple[Row, ...]] | None
    owners: Timed[tuple[Row, ...]] | None
    folded: int
    findings: Timed[tuple[Finding, ...]] | None
    levels: tuple[Level, ...]
    destinations: tuple[Row, ...]
    events: Mapping[tuple[str, str], PortEvents] | None = None
    events_since: float = 0.0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One poll. `at`, and the moment of each part, are on the reader's clocks.

    parts: by namespace, the host's own first. hints: what would show more. troubles: what else of
    the daemon fails, such as saving its state: what it has read is whole all the same. What
    concerns all namespaces is None until it is known of one, and has the moment of the newest.
    """

    at: Moment
    interval: float
    polls: int
    failures: tuple[str, ...]
    hints: tuple[str, ...]
    parts: tuple[Part, ...]
    troubles: tuple[str, ...] = ()

    def only(self, netns: str) -> "Snapshot":
        """Return the part about one namespace, which may be gone."""
        return replace(self, parts=tuple(part for part in self.parts if part.netns == netns))

    @property
    def netns(self) -> int:
        """How many namespaces there are."""
        return len(self.parts)

    @property
    def states(self) -> Timed[StateCounts] | None:
        """Sockets by state."""
        return _together([part.states for part in self.parts], added)

    @property
    def ports(self) -> Timed[tuple[Row, ...]] | None:
        """Sockets by port, direction and namespace."""
        return _together([part.ports for part in self.parts], _all)

    @property
    def owners(self) -> Timed[tuple[Row, ...]] | None:
        """Sockets by unit or container, and namespace."""
        return _together([part.owners for part in self.parts], _all)

    @property
    def findings(self) -> Timed[tuple[Finding, ...]] | None:
        """What is wrong, the worst first."""
        return _together([p.findings for p in self.parts], lambda f: tuple(worst_first(_all(f))))

    @property
    def folded(self) -> int:
        """Groups that are inside port `other`."""
        return sum(part.folded for part in self.parts)

    @property
    def levels(self) -> tuple[Level, ...]:
        """What has a limit."""
        return _all(part.levels for part in self.parts)

    @property
    def destinations(self) -> tuple[Row, ...]:
        """The busiest destinations of the namespaces' own connections."""
        return _all(part.destinations for part in self.parts)

    @property
    def counted(self) -> StateCounts | None:
        """Sockets by state, unless no namespace's were read when it was their turn."""
        return self.states.value if self.states and any(map(self._is_counted, self.parts)) else None

    def diagnosed(self, part: Part) -> bool:
        """Whether a namespace's diagnosis can be believed."""
        return part.findings is not None and self.age(part.findings) <= part.believed

    def age(self, part: Timed[T]) -> float:
        """Seconds before the poll at which a part was true."""
        return max(0.0, self.at.monotonic - part.at.monotonic)

    def _is_counted(self, part: Part) -> bool:
        """Whether this poll read it, or it waits for its turn."""
        if part.states is None:
            return False
        age = self.age(part.states)
        return age == 0 or self.interval < part.beat >= age


def _together(
    parts: Iterable[Timed[T] | None], join: Callable[[Iterable[T]], T]
) -> Timed[T] | None:
    """Put namespaces' parts together, as far as there are any."""
    known = [part for part in parts if part is not None]
    if not known:
        return None
    newest = max((part.at for part in known), key=lambda at: at.monotonic)
    return Timed(join(part.value for part in known), newest)


def _all(parts: Iterable[tuple[T, ...]]) -> tuple[T, ...]:
    return tuple(chain.from_iterable(parts))


def added(counts: Iterable[StateCounts]) -> StateCounts:
    """Add up sockets by state."""
    return tuple(map(sum, zip((0,) * STATE_SLOTS, *counts, strict=True)))
