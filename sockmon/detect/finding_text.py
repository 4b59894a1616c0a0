"""A finding as lines of text: what, why, what to do, evidence."""

import math
from collections.abc import Iterator
from typing import Literal, NamedTuple

from sockmon.detect.evidence import shown_size
from sockmon.durations import roughly
from sockmon.model.finding import PURPOSES, Breakdown, Finding, Purpose, Quantity
from sockmon.model.owner import Process
from sockmon.text import one_line

Kind = Literal["heading", "summary", "purpose", "advice", "command", "fact"]

#: What each purpose is called above its advice.
PURPOSE_TITLES: dict[Purpose, str] = {
    "stop": "Stop the bleeding",
    "fix": "Find the bug",
    "look": "Evidence",
}

_INDENT = "    "
#: Seconds that no clock counts: another's evidence may hold any number.
_BEYOND_CLOCKS = 1e12
_UNIT_WORDS = {"per_second": " a second", "per_minute": " a minute"}


class Sentence(NamedTuple):
    """One printable line; `lead` stands before its first row. A command is never wrapped."""

    kind: Kind
    lead: str
    text: str


def sentences(finding: Finding) -> Iterator[Sentence]:
    """Yield the whole of a finding, printable, the most important first."""
    where = [finding.detector, f"netns {finding.netns}"]
    if finding.subject.port is not None:
        where.append(f"{finding.subject.direction} port {finding.subject.port}")
    if finding.subject.path is not None:
        where.append(finding.subject.path)
    heading = f"[{finding.severity}] {', '.join(where)}"
    yield Sentence("heading", "", one_line(heading))
    yield Sentence("summary", "  ", one_line(finding.summary))
    if finding.critical_because:
        because = f"Critical because {finding.critical_because}."
        yield Sentence("summary", "  ", one_line(because))
    yield from advice_lines(finding)
    for name, value in finding.evidence.items():
        yield Sentence("fact", _INDENT, f"{_named(name)}: {shown(value)}")
    if finding.deadline is not None:
        left = shown(Quantity(finding.deadline.seconds, "seconds"))
        yield Sentence("fact", _INDENT, f"{one_line(finding.deadline.what)} in: {left}")
    for process in finding.owner.processes if finding.owner else ():
        yield Sentence("fact", _INDENT, f"held by: {_holder(process)}")


def advice_lines(finding: Finding) -> Iterator[Sentence]:
    """Yield the advice by purpose, each command on a line of its own."""
    for purpose in PURPOSES:
        advice = [each for each in finding.advice if each.purpose == purpose]
        if advice:
            yield Sentence("purpose", "  ", PURPOSE_TITLES[purpose])
        for each in advice:
            yield Sentence("advice", "  - ", one_line(each.text))
            if each.command is not None:
                there = "on the peer: " if each.command.where == "peer" else ""
                line = one_line(finding.command_line(each.command))
                yield Sentence("command", f"{_INDENT}{there}", line)


def description(finding: Finding) -> str:
    """Return in lines what the summary does not say: why, what to do, what is known."""
    _heading, _summary, *others = sentences(finding)
    return "\n".join(f"{each.lead.lstrip()}{each.text}" for each in others)


def shown(value: Quantity | Breakdown) -> str:
    """Return a quantity with its unit, or several, for people."""
    if isinstance(value, Quantity):
        return _quantity(value)
    return ", ".join(_part(name, part) for name, part in value) or "none"


def _part(name: str, part: Quantity) -> str:
    if part.unit == "sockets":
        return f"{one_line(name)} ({_quantity(part)})"
    return f"{one_line(name)} {_quantity(part)}"


def _quantity(quantity: Quantity) -> str:
    value, unit = quantity
    if isinstance(value, str):
        return one_line(value)
    if unit == "seconds" and 0 <= value < _BEYOND_CLOCKS:
        return roughly(value) if round(value) else "now"
    if unit == "bytes" and math.isfinite(value):
        return shown_size(int(value))
    if unit == "ratio":
        return f"{100 * value:.0f} %"
    if unit == "port":
        return f"{value:.0f}"
    number = f"{value:,}" if isinstance(value, int) else f"{value:,.2f}".rstrip("0").rstrip(".")
    return number + _UNIT_WORDS.get(unit, "")


def _named(name: str) -> str:
    return one_line(name.replace("_", " "))


def _holder(process: Process) -> str:
    used = ""
    if process.fds is not None:
        most = f" of {process.fd_limit}" if process.fd_limit else ""
        used = f", {process.fds}{most} descriptors"
    return f"{one_line(process.name)}[{process.pid}]{used}"
