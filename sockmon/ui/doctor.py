"""`sockmon doctor`: one diagnosis, for a tired person or for a script."""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import IntEnum
from textwrap import wrap
from typing import IO, Any

from sockmon.config import Config
from sockmon.durations import format_duration
from sockmon.export import findings as render
from sockmon.kernel.source import KernelSource
from sockmon.model.finding import Finding
from sockmon.model.observation import Moment, NamespaceObservation, Observation
from sockmon.model.states import TcpState
from sockmon.monitor import Monitor
from sockmon.text import one_line

#: Two polls must agree.
BETWEEN_POLLS_SECONDS = 1.0

_WIDTH = 92


class Status(IntEnum):
    """Exit statuses, by the convention of monitoring plugins."""

    OK = 0
    WARNING = 1
    CRITICAL = 2
    UNKNOWN = 3


@dataclass(frozen=True, slots=True)
class Diagnosed:
    """What two polls found; `failures` and `hints` say what could not be seen."""

    observation: Observation
    findings: tuple[Finding, ...]
    failures: tuple[str, ...]
    hints: tuple[str, ...]

    @property
    def status(self) -> Status:
        """The worst of it. What was not looked at is never well."""
        severities = {finding.severity for finding in self.findings}
        if "critical" in severities:
            return Status.CRITICAL
        if "warning" in severities:
            return Status.WARNING
        return Status.UNKNOWN if self.failures else Status.OK


def examine(
    source: KernelSource,
    config: Config,
    clock: Callable[[], Moment],
    pause: Callable[[float], None],
) -> Diagnosed:
    """Poll twice, a second apart."""
    monitor = Monitor(source, config)
    try:
        first = monitor.poll(clock)
        pause(BETWEEN_POLLS_SECONDS)
        observation = monitor.poll(clock)
    finally:
        monitor.close()
    diagnoses = [n.diagnosis.value for n in observation.namespaces if n.diagnosis]
    hidden = sum(diagnosis.hidden_processes for diagnosis in diagnoses)
    hint = (
        f"{hidden} processes are hidden, so owners are known by their unit alone: root, or "
        "CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH, would name them"
    )
    return Diagnosed(
        observation,
        tuple(render.worst_first(f for diagnosis in diagnoses for f in diagnosis.findings)),
        tuple(dict.fromkeys(f.message for f in (*first.failures, *observation.failures))),
        (hint,) if hidden else (),
    )


def write_json(diagnosed: Diagnosed, out: IO[str]) -> None:
    """Print the whole of it for a program."""
    answer: dict[str, Any] = {
        "status": diagnosed.status.name.lower(),
        "taken_at": diagnosed.observation.at.wall,
        "findings": render.findings(diagnosed.findings),
    }
    if diagnosed.failures:
        answer["failures"] = list(diagnosed.failures)
    json.dump(answer, out, indent=2)
    out.write("\n")


def write_text(diagnosed: Diagnosed, out: IO[str]) -> None:
    """Print the verdict first, then each finding: what, who, evidence, what to do."""
    out.write(f"{diagnosed.status.name}: {_verdict(diagnosed)}\n")
    for failure in diagnosed.failures:
        out.write(f"  could not read: {failure}\n")
    for finding in diagnosed.findings:
        out.write("\n")
        _write_finding(finding, out)
    if not diagnosed.findings:
        for namespace in diagnosed.observation.namespaces:
            for line in _vital_signs(namespace):
                out.write(f"  {line}\n")
    for hint in diagnosed.hints:
        out.write(f"\nnote: {hint}\n")


def _verdict(diagnosed: Diagnosed) -> str:
    if diagnosed.findings:
        critical = sum(finding.severity == "critical" for finding in diagnosed.findings)
        warnings = len(diagnosed.findings) - critical
        parts = [f"{critical} critical"] * bool(critical) + [f"{warnings} warning"] * bool(warnings)
        noun = "finding" if len(diagnosed.findings) == 1 else "findings"
        return f"{', '.join(parts)} {noun}"
    if diagnosed.failures:
        return "this host's sockets could not be read in full"
    return "this host's TCP sockets are well"


def _write_finding(finding: Finding, out: IO[str]) -> None:
    where = [finding.detector, f"netns {finding.netns}"]
    if finding.subject.port is not None:
        where.append(f"{finding.subject.role} port {finding.subject.port}")
    out.write(f"[{finding.severity}] {', '.join(where)}\n")
    _write_wrapped(finding.summary, out, "  ")
    for name, value in finding.evidence.items():
        out.write(f"    {name.removesuffix('_seconds').replace('_', ' ')}: ")
        out.write(f"{_shown(name, value)}\n")
    for process in finding.owner.processes if finding.owner else ():
        used = f", {process.fds} of {process.fd_limit} descriptors" if process.fds else ""
        out.write(f"    held by: {one_line(process.name)}[{process.pid}]{used}\n")
    for number, advice in enumerate(finding.advice, start=1):
        _write_wrapped(advice, out, f"  {number}. ")


def _shown(name: str, value: object) -> str:
    if name.endswith("_seconds") and isinstance(value, int | float):
        return format_duration(round(value)) if round(value) else "now"
    if name.endswith("port"):
        return str(value)
    if isinstance(value, list):
        return ", ".join(_shown("", item) for item in value) or "none"
    if isinstance(value, dict):
        if set(value) == {"address", "sockets"}:
            return f"{value['address']} ({value['sockets']})"
        return ", ".join(f"{key} {_shown(key, item)}" for key, item in value.items())
    return f"{value:,}" if isinstance(value, int) else one_line(str(value))


def _write_wrapped(text: str, out: IO[str], indent: str) -> None:
    lines = wrap(
        one_line(text), _WIDTH, initial_indent=indent, subsequent_indent=" " * len(indent),
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip
    out.write("\n".join(lines) + "\n")


def _vital_signs(namespace: NamespaceObservation) -> Iterable[str]:
    """What is well, in figures, so that the reader sees that somebody looked."""
    if namespace.tcp is not None:
        families = namespace.tcp.value.values()
        total = sum(map(sum, families))
        waiting = sum(counts[TcpState.CLOSE_WAIT] for counts in families)
        oldest = namespace.diagnosis.value.oldest_close_wait if namespace.diagnosis else 0.0
        since = f", the oldest for {format_duration(round(oldest))}" if waiting else ""
        yield f"{total:,} TCP sockets, {waiting:,} of them in close_wait{since}"
    limits = namespace.limits.value if namespace.limits else None
    if limits and limits.sockstat and limits.time_wait_limit:
        yield f"{limits.sockstat.time_wait:,} of {limits.time_wait_limit:,} time-wait buckets"
    if namespace.ports is not None:
        ports = namespace.ports.value
        ephemeral = ports.ephemeral
        yield (
            f"{ephemeral.used_max:,} of {ephemeral.usable:,} ephemeral ports towards the "
            "busiest destination"
        )
        fullest = max(ports.listen_queues, key=lambda q: q.length / (q.limit + 1), default=None)
        if fullest is not None:
            yield (
                f"{fullest.length:,} of {fullest.limit:,} connections in the fullest accept "
                f"queue (port {fullest.port})"
            )
