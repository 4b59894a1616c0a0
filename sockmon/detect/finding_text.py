"""A finding as lines of text: what, why, what to do, evidence."""

import math
from collections.abc import Iterator
from typing import Literal, NamedTuple

from sockmon.detect.evidence import at_port, shown_size
from sockmon.detect.evidence_names import named
from sockmon.durations import roughly
from sockmon.language import Language, Text, chinese, joined, said
from sockmon.model.finding import PURPOSES, Breakdown, Finding, Purpose, Quantity, Severity
from sockmon.model.owner import Owner, Process
from sockmon.text import one_line

Kind = Literal["heading", "summary", "purpose", "advice", "command", "fact"]

#: What each purpose is called above its advice.
PURPOSE_TITLES: dict[Purpose, Text] = {
    "stop": Text("Stop the bleeding", "先止血"),
    "fix": Text("Find the bug", "查根因"),
    "look": Text("Evidence", "证据"),
}
SEVERITY_NAMES: dict[Severity, Text] = {
    "warning": Text("warning", "警告"),
    "critical": Text("critical", "严重"),
}

_ON_PEER = Text("on the peer: ", "在对端执行：")
_INDENT = "    "
#: So many processes of one program are shown with their descriptors.
_APART = 3
#: Seconds that no clock counts: another's evidence may hold any number.
_BEYOND_CLOCKS = 1e12
_UNIT_WORDS = {"per_second": Text(" a second", "/秒"), "per_minute": Text(" a minute", "/分钟")}


class Sentence(NamedTuple):
    """One printable line; `lead` stands before its first row. A command is never wrapped."""

    kind: Kind
    lead: str
    text: str


def sentences(finding: Finding, language: Language = "en") -> Iterator[Sentence]:
    """Yield the whole of a finding in a language, printable, the most important first."""

    def say(text: str) -> str:
        return said(text, language)

    where = [finding.detector, f"netns {finding.netns}"]
    if finding.subject.port is not None:
        where.append(at_port(finding.subject.direction or "", finding.subject.port))
    if finding.subject.path is not None:
        where.append(finding.subject.path)
    heading = f"[{say(SEVERITY_NAMES[finding.severity])}] {say(joined(where, ', ', '，'))}"
    yield Sentence("heading", "", one_line(heading))
    yield Sentence("summary", "  ", one_line(say(finding.summary)))
    if finding.critical_because:
        why = finding.critical_because
        because = Text(f"Critical because {why}.", f"严重：{chinese(why)}。")
        yield Sentence("summary", "  ", one_line(say(because)))
    yield from advice_lines(finding, language)
    for name, value in finding.evidence.items():
        fact = Text(": ", "：")
        yield Sentence("fact", _INDENT, f"{say(named(name))}{say(fact)}{shown(value, language)}")
    if finding.deadline is not None:
        what, left = finding.deadline.what, finding.deadline.seconds
        yield Sentence("fact", _INDENT, one_line(say(_until(what, left))))
    for fact in _holders(finding.owner) if finding.owner else ():
        yield Sentence("fact", _INDENT, say(fact))


def _until(what: Text, seconds: float) -> Text:
    left = shown(Quantity(seconds, "seconds"))
    return Text(f"{what} in: {left}", f"距{chinese(what)}：{left}")


def advice_lines(finding: Finding, language: Language = "en") -> Iterator[Sentence]:
    """Yield the advice by purpose, each command on a line of its own."""
    for purpose in PURPOSES:
        advice = [each for each in finding.advice if each.purpose == purpose]
        if advice:
            yield Sentence("purpose", "  ", said(PURPOSE_TITLES[purpose], language))
        for each in advice:
            yield Sentence("advice", "  - ", one_line(said(each.text, language)))
            if each.command is not None:
                there = said(_ON_PEER, language) if each.command.where == "peer" else ""
                line = one_line(finding.command_line(each.command))
                yield Sentence("command", f"{_INDENT}{there}", line)


def description(finding: Finding) -> str:
    """Return in lines what the summary does not say: why, what to do, what is known."""
    _heading, _summary, *others = sentences(finding)
    return "\n".join(f"{each.lead.lstrip()}{each.text}" for each in others)


def shown(value: Quantity | Breakdown, language: Language = "en") -> str:
    """Return a quantity with its unit, or several, for people."""
    if isinstance(value, Quantity):
        return _quantity(value, language)
    parts = [
        _part(name, part, language)
        for name, part in value
        if part.value or part.unit != "per_second"  # a counter that stands still says nothing
    ]
    return ", ".join(parts) or said(Text("none", "无"), language)


def _part(name: str, part: Quantity, language: Language) -> str:
    name, quantity = one_line(said(name, language)), _quantity(part, language)
    return f"{name} ({quantity})" if part.unit == "sockets" else f"{name} {quantity}"


def _quantity(quantity: Quantity, language: Language) -> str:
    value, unit = quantity
    if isinstance(value, str):
        return one_line(value)
    if unit == "seconds" and 0 <= value < _BEYOND_CLOCKS:
        return roughly(value) if round(value) else said(Text("now", "现在"), language)
    if unit == "bytes" and math.isfinite(value):
        return shown_size(int(value))
    if unit == "ratio":
        return f"{100 * value:.0f} %"
    if unit == "port":
        return f"{value:.0f}"
    number = f"{value:,}" if isinstance(value, int) else f"{value:,.2f}".rstrip("0").rstrip(".")
    return number + said(_UNIT_WORDS.get(unit, ""), language)


def _holders(owner: Owner) -> Iterator[Text]:
    """Name the processes; of one program no more than a few each by itself."""
    programs: dict[str, list[Process]] = {}
    for process in owner.processes:
        programs.setdefault(one_line(process.name), []).append(process)
    for name, processes in programs.items():
        if len(processes) <= _APART:
            yield from map(_holder, processes)
        else:
            pids = joined([str(process.pid) for process in processes], ", ", "、")
            yield Text(f"held by: {name}, PIDs {pids}", f"持有者：{name}（PID {pids.zh}）")
    if owner.more:
        yield Text(f"held by: {owner.more} others", f"持有者：另外 {owner.more} 个进程")


def _holder(process: Process) -> Text:
    name = f"{one_line(process.name)}[{process.pid}]"
    text = Text(f"held by: {name}", f"持有者：{name}")
    if process.fds is None:
        return text
    limit = process.fd_limit
    of, most = (f" of {limit:,}", f"/{limit:,}") if limit else ("", "")
    return text + Text(f", {process.fds:,}{of} descriptors", f"，fd {process.fds:,}{most}")
