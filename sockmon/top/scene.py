"""All that the view knows at one moment, and the verdict over it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

from sockmon.client.snapshot import Row, Snapshot
from sockmon.durations import format_duration
from sockmon.model.finding import FindingKey
from sockmon.model.names import HOST
from sockmon.model.observation import STALE_AFTER_INTERVALS
from sockmon.top.rates import Rate, rates
from sockmon.top.trend import Sample, Since, Trend

#: What the table can be grouped by.
By = Literal["port", "netns", "owner", "peer"]
GROUPINGS: tuple[By, ...] = ("port", "netns", "owner", "peer")

#: Seconds between looks at a source that has a rhythm of its own, at least.
SHORTEST_INTERVAL = 1.0

Level = Literal["well", "warning", "critical", "unknown"]


@dataclass(frozen=True, slots=True)
class Grouped:
    """Rows by something; `columns` names their cells, `note` says what is not among them."""

    by: By
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Sighting:
    """What one look brought; `hints` say what could not be seen.

    since, past: when each finding began, and the polls before this one, as far as the source
    knows and we did not see them ourselves.
    """

    snapshot: Snapshot
    grouped: Grouped
    hints: tuple[str, ...] = ()
    since: Mapping[FindingKey, Since] = field(default_factory=dict)
    past: tuple[Sample, ...] = ()


class Verdict(NamedTuple):
    """How the host is, in a word and in a sentence."""

    level: Level
    word: str
    text: str


@dataclass(frozen=True, slots=True)
class Scene:
    """The last sighting and those before it; `trouble` says why the last look brought none.

    where: whose sockets these are. asked: seconds between looks; None: as the source has news.
    rates: None as long as they are not known.
    """

    where: str
    asked: float | None = None
    sighting: Sighting | None = None
    trend: Trend = field(default_factory=Trend)
    trouble: str | None = None
    rates: tuple[Rate, ...] | None = None

    def saw(self, sighting: Sighting) -> "Scene":
        """Return what is known after one more sighting."""
        new, old = sighting.snapshot, self.sighting
        again = old is not None and old.snapshot.at.wall == new.at.wall
        trend, known = self.trend, self.rates
        if not again:
            known = rates(old.snapshot, new) if old is not None else None
            trend = trend.recalling(sighting.past).seen(new, sighting.since)
        return replace(self, sighting=sighting, trend=trend, trouble=None, rates=known)

    def lost(self, trouble: str) -> "Scene":
        """Return what is known after a look that failed."""
        return replace(self, trouble=trouble)

    @property
    def interval(self) -> float:
        """Seconds after which news is due."""
        own = self.sighting.snapshot.interval if self.sighting else 0.0
        return max(self.asked or SHORTEST_INTERVAL, own)

    def age(self, now: float) -> float:
        """Seconds since what is shown was true (`now` monotonic)."""
        return max(0.0, now - self.sighting.snapshot.at.monotonic) if self.sighting else 0.0

    def is_live(self, now: float) -> bool:
        """Whether what is shown may be taken for the present."""
        if self.sighting is None or self.trouble is not None:
            return False
        return self.age(now) <= STALE_AFTER_INTERVALS * self.interval


def verdict(scene: Scene, now: float) -> Verdict:
    """Judge what is known; what could not be looked at is never well."""
    if scene.sighting is None:
        if scene.trouble is None:
            return Verdict("unknown", "LOOKING", "for the first time")
        return Verdict("unknown", "UNKNOWN", scene.trouble)
    told = _told(scene.sighting.snapshot)
    if scene.is_live(now):
        return told
    why = f" ({scene.trouble})" if scene.trouble else ""
    then = f"no news for {shortly(scene.age(now))}{why}; until then: {told.word} {told.text}"
    return Verdict("unknown", "UNKNOWN", then)


def _told(snapshot: Snapshot) -> Verdict:
    """What the poll itself says, of all namespaces."""
    told = snapshot.findings
    if told is not None and told.value and any(map(snapshot.diagnosed, snapshot.parts)):
        worst = told.value[0]
        return Verdict(worst.severity, worst.severity.upper(), placed(worst.summary, worst.netns))
    where = f", in {snapshot.netns} namespaces" if snapshot.netns > 1 else ""
    well = Verdict("well", "HEALTHY", f"this host's TCP sockets are well{where}")
    return _doubt(snapshot) or well


def _doubt(snapshot: Snapshot) -> Verdict | None:
    """Why it cannot be called well, if so: what could not be looked at is never well."""
    unsure = [p for p in snapshot.parts if not p.degraded and not snapshot.diagnosed(p)]
    old = [(snapshot.age(p.findings), p.netns) for p in unsure if p.findings is not None]
    if old:
        age, netns = max(old)
        why = snapshot.failures[0] if snapshot.failures else "no diagnosis"
        text = f"not diagnosed for {shortly(age)}: {why}"
        return Verdict("unknown", "UNKNOWN", placed(text, netns))
    if snapshot.failures:
        return Verdict("unknown", "UNKNOWN", f"could not read: {snapshot.failures[0]}")
    if snapshot.findings is None or snapshot.polls < 2:
        return Verdict("unknown", "LOOKING", "two polls must agree before there is a verdict")
    if unsure:
        text = f"{len(unsure)} of {snapshot.netns} namespaces have not been looked at yet"
        return Verdict("unknown", "LOOKING", text)
    return Verdict("unknown", "UNKNOWN", snapshot.hints[0]) if snapshot.hints else None


def placed(text: str, netns: str) -> str:
    """Say in which namespace, if that is not the host's own."""
    return text if netns == HOST else f"{netns}: {text}"


def shortly(seconds: float) -> str:
    """Say how long in two units at most: 42s, 2m10s, 3h12m, 4d3h."""
    whole = max(0, round(seconds))
    coarse = 1 if whole < 3600 else 60 if whole < 86_400 else 3600
    return format_duration(whole - whole % coarse) if whole else "0s"
