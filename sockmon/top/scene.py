"""All that the view knows at one moment, and the verdict over it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

from sockmon.client.snapshot import Row, Snapshot
from sockmon.durations import format_duration
from sockmon.language import Text, chinese
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

    undecided: of the first two polls the second found what the first did not: a third must agree.
    since, past: when each finding began, and the polls before this one, as far as the source
    knows and we did not see them ourselves.
    """

    snapshot: Snapshot
    grouped: Grouped
    hints: tuple[str, ...] = ()
    undecided: bool = False
    since: Mapping[FindingKey, Since] = field(default_factory=dict)
    past: tuple[Sample, ...] = ()


class Verdict(NamedTuple):
    """How the host is, in a word and in a sentence."""

    level: Level
    word: Text
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
        """Whether what is shown is recent enough to count as the present state."""
        if self.sighting is None or self.trouble is not None:
            return False
        return self.age(now) <= STALE_AFTER_INTERVALS * self.interval


#: So many polls must agree before there is a verdict.
_AGREEING = 2
_LOOKING, _UNKNOWN = Text("LOOKING", "读取中"), Text("UNKNOWN", "未知")
_WORDS = {"warning": Text("WARNING", "警告"), "critical": Text("CRITICAL", "严重")}


def verdict(scene: Scene, now: float) -> Verdict:
    """Judge what is known; what could not be looked at is never well."""
    if scene.sighting is None:
        if scene.trouble is None:
            return Verdict("unknown", _LOOKING, Text("for the first time", "第一次读取"))
        return Verdict("unknown", _UNKNOWN, scene.trouble)
    judged = _judged(scene.sighting.snapshot, undecided=scene.sighting.undecided)
    if scene.is_live(now):
        return judged
    why = Text(f" ({scene.trouble})", f"（{scene.trouble}）") if scene.trouble else Text("")
    age = shortly(scene.age(now))
    then = Text(
        f"no news for {age}{why}; until then: {judged.word} {judged.text}",
        f"已有 {age} 没有新数据{why.zh}；此前：{judged.word.zh} {chinese(judged.text)}",
    )
    return Verdict("unknown", _UNKNOWN, then)


def _judged(snapshot: Snapshot, *, undecided: bool) -> Verdict:
    """What the poll itself says, of all namespaces."""
    findings = snapshot.findings
    if findings is not None and findings.value and any(map(snapshot.diagnosed, snapshot.parts)):
        worst = findings.value[0]
        text = placed(worst.summary, worst.netns)
        return Verdict(worst.severity, _WORDS[worst.severity], text)
    n = snapshot.netns
    where = Text(f", in {n} namespaces", f"（{n} 个网络命名空间）") if n > 1 else Text("")
    text = Text("the sockets are healthy", "连接状态正常") + where
    return _doubt(snapshot, undecided=undecided) or Verdict("well", Text("OK", "正常"), text)


def _doubt(snapshot: Snapshot, *, undecided: bool) -> Verdict | None:
    """Why it cannot be called well, if so: what could not be looked at is never well."""
    unsure = [p for p in snapshot.parts if not p.degraded and not snapshot.diagnosed(p)]
    old = [(snapshot.age(p.findings), p.netns) for p in unsure if p.findings is not None]
    if old:
        age, netns = max(old)
        why = snapshot.failures[0] if snapshot.failures else Text("no diagnosis", "没有诊断")
        since = shortly(age)
        text = Text(f"not diagnosed for {since}: {why}", f"已有 {since} 没有诊断：{chinese(why)}")
        return Verdict("unknown", _UNKNOWN, placed(text, netns))
    if snapshot.failures:
        return Verdict("unknown", _UNKNOWN, could_not_read(snapshot.failures[0]))
    if snapshot.findings is None or snapshot.polls < _AGREEING or undecided:
        text = Text("two polls must agree before there is a verdict", "连续两次采样一致后才有结论")
        return Verdict("unknown", _LOOKING, text)
    if unsure:
        n, of = len(unsure), snapshot.netns
        text = Text(
            f"{n} of {of} namespaces have not been looked at yet",
            f"{of} 个命名空间中有 {n} 个还没有查看",
        )
        return Verdict("unknown", _LOOKING, text)
    return Verdict("unknown", _UNKNOWN, snapshot.hints[0]) if snapshot.hints else None


def could_not_read(failure: str) -> Text:
    """Say what failed."""
    return Text(f"could not read: {failure}", f"无法读取：{chinese(failure)}")


def placed(text: str, netns: str) -> Text:
    """Say in which namespace, if that is not the host's own."""
    its = Text(text, chinese(text))
    return its if netns == HOST else Text(f"{netns}: ", f"{netns}：") + its


def shortly(seconds: float) -> str:
    """Say how long in two units at most: 42s, 2m10s, 3h12m, 4d3h."""
    whole = max(0, round(seconds))
    coarse = 1 if whole < 3600 else 60 if whole < 86_400 else 3600
    return format_duration(whole - whole % coarse) if whole else "0s"
