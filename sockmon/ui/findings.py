"""A finding in words, for people: what, who, evidence, what to do."""

from collections.abc import Iterator
from typing import Literal, NamedTuple

from sockmon.durations import format_duration
from sockmon.model.finding import Finding
from sockmon.text import one_line


class Sentence(NamedTuple):
    """One line of it, to be wrapped; `lead` stands before the first row."""

    kind: Literal["heading", "summary", "fact", "advice"]
    lead: str
    text: str


def sentences(finding: Finding) -> Iterator[Sentence]:
    """Tell the whole of a finding, printable, the most important first."""
    where = [finding.detector, f"netns {finding.netns}"]
    if finding.subject.port is not None:
        where.append(f"{finding.subject.role} port {finding.subject.port}")
    heading = f"[{finding.severity}] {', '.join(where)}"
    yield Sentence("heading", "", one_line(heading))
    yield Sentence("summary", "  ", one_line(finding.summary))
    for name, value in finding.evidence.items():
        key = name.removesuffix("_seconds").replace("_", " ")
        yield Sentence("fact", "    ", f"{one_line(key)}: {_shown(name, value)}")
    for process in finding.owner.processes if finding.owner else ():
        used = f", {process.fds} of {process.fd_limit} descriptors" if process.fds else ""
        holder = f"{one_line(process.name)}[{process.pid}]{used}"
        yield Sentence("fact", "    ", f"held by: {holder}")
    for number, advice in enumerate(finding.advice, start=1):
        yield Sentence("advice", f"  {number}. ", one_line(advice))


def _shown(name: str, value: object) -> str:
    if name.endswith("_seconds") and isinstance(value, int | float):
        return format_duration(round(value)) if round(value) else "now"
    if name.endswith("port"):
        return one_line(str(value))
    if isinstance(value, list):
        return ", ".join(_shown("", item) for item in value) or "none"
    if isinstance(value, dict):
        if set(value) == {"address", "sockets"}:
            return one_line(f"{value['address']} ({value['sockets']})")
        return ", ".join(f"{one_line(key)} {_shown(key, item)}" for key, item in value.items())
    return f"{value:,}" if isinstance(value, int) else one_line(str(value))
