"""A finding in words, for people: what, who, evidence, what to do."""

from collections.abc import Iterator, Mapping
from typing import Literal, NamedTuple

from sockmon.durations import roughly
from sockmon.model.finding import Finding
from sockmon.model.owner import Process
from sockmon.text import one_line

#: The evidence that says, in a sentence, why a finding is critical where its summary does not.
REASON = "critical_because"

#: Evidence whose name alone would not tell what it is.
_NAMES = {
    "exhaustion_seconds": "ports run out in",
    "fd_exhaustion_seconds": "descriptors run out in",
}

#: Seconds that no clock counts: another's evidence may hold any number.
_FOREVER = 1e12


class Sentence(NamedTuple):
    """One line of it, to be wrapped; `lead` stands before the first row."""

    kind: Literal["heading", "summary", "fact", "advice"]
    lead: str
    text: str


def sentences(finding: Finding) -> Iterator[Sentence]:
    """Tell the whole of a finding, printable, the most important first."""
    where = [finding.detector, f"netns {finding.netns}"]
    if finding.subject.port is not None:
        where.append(f"{finding.subject.direction} port {finding.subject.port}")
    heading = f"[{finding.severity}] {', '.join(where)}"
    yield Sentence("heading", "", one_line(heading))
    yield Sentence("summary", "  ", one_line(finding.summary))
    if REASON in finding.evidence:
        yield Sentence("summary", "  ", f"critical because {_shown(finding.evidence[REASON])}")
    for name, value in finding.evidence.items():
        if name != REASON:
            yield Sentence("fact", "    ", f"{_named(name)}: {_shown(value, name)}")
    for process in finding.owner.processes if finding.owner else ():
        yield Sentence("fact", "    ", f"held by: {_holder(process)}")
    for number, advice in enumerate(finding.advice, start=1):
        yield Sentence("advice", f"  {number}. ", one_line(advice))


def description(finding: Finding) -> str:
    """Tell in lines what the summary does not: why it is critical, what to do, what is known."""
    _heading, _summary, *others = sentences(finding)
    return "\n".join(
        f"{sentence.lead.lstrip()}{sentence.text}"
        for kind in ("summary", "advice", "fact")
        for sentence in others
        if sentence.kind == kind
    )


def _named(name: str) -> str:
    return _NAMES.get(name) or one_line(name.removesuffix("_seconds").replace("_", " "))


def _holder(process: Process) -> str:
    used = ""
    if process.fds is not None:
        most = f" of {process.fd_limit}" if process.fd_limit else ""
        used = f", {process.fds}{most} descriptors"
    return f"{one_line(process.name)}[{process.pid}]{used}"


def _shown(value: object, name: str = "") -> str:
    if isinstance(value, list):
        return _listed(value)
    if isinstance(value, Mapping):
        if set(value) == {"address", "sockets"}:
            return one_line(f"{value['address']} ({value['sockets']})")
        parts = (f"{_named(str(key))} {_shown(item, str(key))}" for key, item in value.items())
        return ", ".join(parts) or "none"
    if isinstance(value, int | float):
        return _number(value, name)
    return "unknown" if value is None else one_line(str(value))


def _listed(values: list[object]) -> str:
    shown = [_shown(value) for value in values]
    return ("; " if any(", " in each for each in shown) else ", ").join(shown) or "none"


def _number(value: float, name: str) -> str:
    if name.endswith("_seconds") and 0 <= value < _FOREVER:
        return roughly(value) if round(value) else "now"
    if name.endswith("port"):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:,.2f}".rstrip("0").rstrip(".")
