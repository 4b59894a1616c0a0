"""Scene and ViewState -> all that the view shows, as values. Knows neither kernel nor terminal."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, NamedTuple

from sockmon.client.snapshot import Level, Part
from sockmon.detect.evidence import chinese_of
from sockmon.detect.finding_text import SEVERITY_NAMES
from sockmon.language import Text, said
from sockmon.model.finding import Finding, FindingKey
from sockmon.model.moment import Timed
from sockmon.model.observation import STALE_AFTER_INTERVALS
from sockmon.model.states import TcpState
from sockmon.text import one_line
from sockmon.top.choice import ViewState
from sockmon.top.grouping import grouped, only, several
from sockmon.top.lines import Line
from sockmon.top.rates import Rate
from sockmon.top.scene import Grouped, Scene, could_not_read, placed, shortly, verdict
from sockmon.top.table import NOTHING, SHOWN_STATES, Table, holder, number, table
from sockmon.top.trend import Since, bars

_TITLES = {
    "port": Text("PORTS", "端口"),
    "netns": Text("NAMESPACES", "命名空间"),
    "owner": Text("OWNERS", "所属进程"),
    "peer": Text("PEERS", "对端"),
}
#: A sparkline's values: more than cells, so that each cell has one at least.
_BARS = 240
_FULL_ENOUGH = 0.7  # of a limit, to be marked


class StateLine(NamedTuple):
    """A state that occurs, its sockets, and its past (see trend.bars)."""

    state: TcpState
    sockets: int
    bars: tuple[float, ...]


class Overview:
    """What there is to see at one moment; all texts are printable.

    scene: what is known by now; shown: what is shown, which differs while frozen. live: it is
    recent enough to count as the present state. findings: of the chosen namespace, or of all.
    rows: of the table, before any filter; None until they have been asked for.
    """

    def __init__(self, scene: Scene, state: ViewState, now: float, width: int) -> None:
        """Take the moment in monotonic seconds, and the width that bounds names in the table."""
        self.scene, self.state, self._now, self._width = scene, state, now, width
        self.shown = state.held or scene
        self.live = state.held is not None or scene.is_live(now)
        self._all = self.shown.sighting.snapshot if self.shown.sighting else None
        self._snapshot = self._all
        if self._all is not None and state.netns is not None:
            self._snapshot = self._all.only(state.netns)
        known = self._snapshot.findings if self._snapshot else None
        self.findings: tuple[Finding, ...] = known.value if known else ()
        self.rows = self._grouped()

    def say(self, text: str) -> str:
        """Return a text in the reader's language, printable."""
        return one_line(said(text, self.state.language))

    @property
    def is_counting(self) -> bool:
        """Whether connections between polls are counted."""
        return any(part.events is not None for part in self._parts)

    @property
    def rates(self) -> tuple[Rate, ...] | None:
        """How fast connections open and end, of the chosen namespace or of all."""
        known, netns = self.shown.rates, self.state.netns
        if known is None or netns is None:
            return known
        return tuple(rate for rate in known if rate.netns == netns)

    @property
    def found(self) -> tuple[FindingKey, ...]:
        """The findings, as numbered."""
        return tuple(finding.key for finding in self.findings)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns by which the table can be sorted."""
        return tuple(column.name for column in self.table.columns if column.name)

    @property
    def verdict(self) -> Line:
        """The first line of the screen."""
        judged = verdict(self.scene, self._now)
        held = self.state.held
        if held is None or held.sighting is None:
            return Line(f"{self.say(judged.word)}  {self.say(judged.text)}", judged.level)
        then = verdict(held, held.sighting.snapshot.at.monotonic)
        age = shortly(held.age(self._now))
        frozen = self.say(Text(f"FROZEN {age} ago", f"已冻结（{age}前）"))
        return Line(f"{frozen}  {self.say(then.word)} {self.say(then.text)}", then.level)

    @property
    def where(self) -> Line:
        """Whose sockets these are, and how often they are looked at."""
        where, every = self.shown.where, f"{self.shown.interval:g}"
        text = Text(f"{where}, every {every} s", f"{where}，每 {every} 秒一次")
        if self.state.netns is not None:
            netns = self.state.netns
            text = Text(f"{netns} on {text}", f"{netns}（{text.zh}）")
        elif self._all and several(self._all):
            n = self._all.netns
            text += Text(f", {n} namespaces", f"，{n} 个命名空间")
        return Line(self.say(text))

    @property
    def when(self) -> Line:
        """How many sockets, and as of when; while frozen, how it is now."""
        if self._snapshot is None:
            return Line("")
        judged = verdict(self.scene, self._now)
        words = [Text(f"now {judged.word}", f"现在{judged.word.zh}")] if self.state.held else []
        if self._snapshot.states is not None:
            n = f"{sum(self._snapshot.states.value):,}"
            words.append(Text(f"{n} sockets", f"{n} 个 socket"))
        clock = f"{datetime.fromtimestamp(self._snapshot.at.wall, UTC).astimezone():%H:%M:%S}"
        is_present = self.live and self.state.held is None
        words.append(Text(clock) if is_present else Text(f"as of {clock}", f"截至 {clock}"))
        return Line("  ".join(map(self.say, words)), judged.level if self.state.held else "plain")

    @property
    def notes(self) -> Iterator[Line]:
        """What could not be seen."""
        if self._snapshot is None or self.shown.sighting is None:
            return
        for failure in self._snapshot.failures:
            yield Line(self.say(could_not_read(failure)), "unknown")
        netns = self.state.netns
        if netns is not None and not self._snapshot.parts:
            gone = Text(f"netns {netns} is not there", f"网络命名空间 {netns} 不存在")
            yield Line(self.say(gone), "unknown")
        of_owners = bool(self.findings) or self.state.by == "owner"
        for trouble in self._snapshot.troubles:
            its = Text(f"the daemon says: {trouble}", f"守护进程报告：{trouble}")
            yield Line(self.say(its), "faint")
        for hint in (*self._snapshot.hints, *(self.shown.sighting.hints if of_owners else ())):
            yield Line(self.say(hint), "faint")

    @property
    def findings_title(self) -> str:
        """How many, and how old if they are."""
        times = [p.findings for p in self._parts if p.findings and p.findings.value]
        n, old = len(self.findings), self._old(times)
        return self.say(Text(f"FINDINGS {n}", f"问题 {n}") + old)

    def head(self, finding: Finding) -> Line:
        """What, where, who and for how long."""
        subject = finding.subject
        where = Text(subject.path or "")
        if subject.port is not None:
            direction = str(subject.direction)
            where = Text(direction, chinese_of(direction)) + f" {subject.port}"
        what = finding.detector if self.state.netns else placed(finding.detector, finding.netns)
        words = SEVERITY_NAMES[finding.severity], what, where, holder(finding)
        text = " ".join(self.say(word) for word in (*words, self.lasting(finding)) if word)
        return Line(text, finding.severity)

    def lasting(self, finding: Finding) -> Text:
        """For how long a finding has been there: at least, if it was there from the first look."""
        now = self._snapshot.at.monotonic if self._snapshot else self._now
        since = self.shown.trend.since.get(finding.key, Since(now))
        age = f"{shortly(now - since.at)}{'+' if since.or_before else ''}"
        return Text(f"for {age}", f"已有 {age}")

    @property
    def states_title(self) -> str:
        """How much of the past the sparklines show."""
        title = Text("STATES", "状态") + self._old(part.states for part in self._parts)
        if not self.state.netns:
            window = shortly(self.shown.trend.window)
            title += Text(f", last {window}", f"，最近 {window}")
        return self.say(title)

    @property
    def states(self) -> Iterator[StateLine]:
        """The states that occur, or did in the time shown; the past is of all namespaces."""
        counted = self._snapshot.states if self._snapshot else None
        if counted is None:
            return
        past = () if self.state.netns else self.shown.trend.peaks(_BARS, self.shown.interval)
        for state in SHOWN_STATES:
            drawn = bars(past, state)
            if counted.value[state] or drawn:
                yield StateLine(state, counted.value[state], drawn)

    @property
    def limits(self) -> Iterator[Line]:
        """What has a limit, the fullest first."""
        levels = self._snapshot.levels if self._snapshot else ()
        for level in sorted(levels, key=_fullness, reverse=True):
            name = level.name if self.state.netns else placed(level.name, level.netns)
            text = f"{self.say(name)} {number(level.used)}/{number(level.limit)}"
            yield Line(text, "warning" if _fullness(level) >= _FULL_ENOUGH else "plain")

    @cached_property
    def table(self) -> Table:
        """The rows that match the filter; among namespaces, the findings of all mark them."""
        if self.rows is None:
            return NOTHING
        everywhere = self._all.findings if self._all else None
        marking = self.findings
        if self.state.by == "netns" and everywhere is not None:
            marking = everywhere.value
        return table(self.rows, marking, self.state, self._width)

    @property
    def table_title(self) -> str:
        """How many rows, and how old if they are."""
        by, shown = self.state.by, self.table
        title = _TITLES[by] + f" {shown.matching}"
        if self.state.filter:
            all_, words = shown.present, repr(self.state.filter)
            title += Text(f" of {all_}, filter {words}", f"/{all_}，筛选 {words}")
        if len(shown.rows) < shown.matching:
            n = len(shown.rows)
            title += Text(f", the first {n} shown", f"，只显示前 {n} 行")
        if by == "port":
            title += self._old(part.ports for part in self._parts)
        return self.say(title)

    @property
    def table_notes(self) -> Iterator[Line]:
        """What is not among the rows, or why there are none."""
        if self._all is None:
            return
        if self.rows is None:
            by = self.state.by
            wait = (
                Text("press space to go on and", "按空格继续，然后")
                if self.state.held
                else Text("asking the kernel, to", "正在查询内核，")
            )
            grouping = Text(f" group by {by} ...", f"按{_TITLES[by].zh}分组 ...")
            yield Line(self.say(wait + grouping), "bold")
            return
        if self.rows.note:
            yield Line(self.say(self.rows.note), "faint")
        if self.table.present and not self.table.matching:
            n, words = self.table.present, repr(self.state.filter)
            none = Text(f"none of {n} rows matches {words}", f"{n} 行中没有一行匹配 {words}")
            yield Line(self.say(none), "bold")
        elif not self.table.present and not self.rows.note:
            yield Line(self.say(Text("no sockets", "没有 socket")), "bold")

    @cached_property
    def namespaces(self) -> tuple[str, ...]:
        """What can be chosen: as the table has them, or those in trouble and the largest."""
        if self._all is None or not several(self._all):
            return ()
        if self.state.by == "netns":
            return tuple(row.key[0] for row in self.table.rows)
        found = self._all.findings.value if self._all.findings else ()
        largest = sorted(self._all.parts, key=_sockets, reverse=True)
        return tuple(dict.fromkeys((*(f.netns for f in found), *(p.netns for p in largest))))

    @property
    def _parts(self) -> tuple[Part, ...]:
        return self._snapshot.parts if self._snapshot else ()

    def _grouped(self) -> Grouped | None:
        by, seen = self.state.by, self.shown.sighting
        if seen is None:
            return None
        rows = grouped(seen.snapshot, by) or (seen.grouped if seen.grouped.by == by else None)
        if rows is None or self.state.netns is None or by == "netns":
            return rows
        return only(rows, self.state.netns)

    def _old(self, parts: Iterable[Timed[Any] | None]) -> Text:
        """Say so when what is shown was not read in this poll, or some of it long before."""
        if self._snapshot is None:
            return Text("")
        ages = [round(self._snapshot.age(part)) for part in parts if part is not None]
        if len(ages) == 1 and ages[0]:
            age = shortly(ages[0])
            return Text(f" as they were {age} ago", f"（{age}前的数据）")
        # Of many, some wait for their turn at any time.
        if max(ages, default=0) > STALE_AFTER_INTERVALS * self._snapshot.interval:
            age = shortly(max(ages))
            return Text(f", some as they were {age} ago", f"（部分是 {age}前的数据）")
        return Text("")


def _sockets(part: Part) -> int:
    return sum(part.states.value) if part.states else -1


def _fullness(level: Level) -> float:
    return level.used / level.limit if level.limit else float(level.used > 0)
