"""`sockmon doctor`: one diagnosis, for a tired person or for a script."""

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum
from pathlib import Path
from textwrap import wrap
from typing import IO, Literal

from sockmon.alert.labels import alert_name, runbook_url
from sockmon.client.local_daemon import Says, Watch, joined, nobody
from sockmon.commands.colour import Paint, Style, plain
from sockmon.commands.doctor.summary import reservation, vital_signs
from sockmon.config.fields import ListenAddress
from sockmon.detect.finding_text import sentences
from sockmon.durations import roughly
from sockmon.export import messages
from sockmon.export.findings import findings
from sockmon.export.json import neighbours
from sockmon.export.optional import optional
from sockmon.kernel.errors import KernelError
from sockmon.kernel.netlink.source import KernelSource
from sockmon.kernel.netns.tracker import NamespaceTracker
from sockmon.model.finding import Finding, FindingKey, worst_first
from sockmon.model.moment import Moment
from sockmon.model.names import HOST
from sockmon.model.observation import NamespaceObservation, Observation, OtherNamespaces
from sockmon.model.states import NOT_LISTED
from sockmon.poll.poller import Poller
from sockmon.settings import Config
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


_STATUSES: Mapping[Status, Literal["ok", "warning", "critical", "unknown"]] = {
    Status.OK: "ok",
    Status.WARNING: "warning",
    Status.CRITICAL: "critical",
    Status.UNKNOWN: "unknown",
}

_INKS: Mapping[Status, Style] = {
    Status.OK: "well",
    Status.WARNING: "warning",
    Status.CRITICAL: "critical",
    Status.UNKNOWN: "unknown",
}


@dataclass(frozen=True, slots=True)
class Diagnosed:
    """What two polls and this host's daemon found; `failures` say what could not be seen.

    says: which findings are in the daemon's words. config: where limits are from, if from a file.
    """

    observation: Observation
    findings: tuple[Finding, ...]
    failures: tuple[str, ...]
    notes: tuple[str, ...]
    watch: Watch | None = None
    says: Mapping[FindingKey, Says] = field(default_factory=dict)
    config: Path | None = None

    @property
    def status(self) -> Status:
        """The worst of it. What was not looked at is never well."""
        severities = {finding.severity for finding in self.findings}
        if "critical" in severities:
            return Status.CRITICAL
        if "warning" in severities:
            return Status.WARNING
        unseen = self.failures or self.observation.hints
        if self.watch and self.observation.neighbours is None:  # we did not look there either
            unseen = unseen or self.watch.unseen
        return Status.UNKNOWN if unseen else Status.OK


def examine(
    source: KernelSource,
    config: Config,
    clock: Callable[[], Moment],
    pause: Callable[[float], None],
    *,
    ask: Callable[[Sequence[ListenAddress]], Watch | None] = nobody,
    file: Path | None = None,
    note: str | None = None,
) -> Diagnosed:
    """Poll twice or three times, a second apart; then ask the daemon, which has watched longer.

    file: where the configuration is from, None for the built-in defaults; note: why it is those.
    """
    unhurried = replace(config.poll, cpu_budget=math.inf)
    monitor = Poller(source, replace(config, poll=unhurried), patient=True)
    try:
        first = monitor.poll(clock)
        pause(BETWEEN_POLLS_SECONDS)
        observation = monitor.poll(clock)
        if any(n.diagnosis.value.undecided for n in observation.namespaces if n.diagnosis):
            pause(BETWEEN_POLLS_SECONDS)  # what only the last poll found, one more may confirm
            observation = monitor.poll(clock)
    finally:
        monitor.close()
    failures = (*first.failures, *observation.failures)
    seen = [(n, n.diagnosis.value) for n in observation.namespaces if n.diagnosis]
    diagnoses = [diagnosis for _, diagnosis in seen]
    own = [finding for diagnosis in diagnoses for finding in diagnosis.findings]
    watch = ask(config.web.listen_address)
    findings, says = joined(own, watch) if watch else (own, {})
    told = {finding.place for finding in findings}  # the daemon may know that it is not harmless
    notes = (
        *(f"{_in(n.name)}{s.summary}" for n, d in seen for s in d.notes if s.place not in told),
        _about_namespaces(observation.neighbours) or _passed_by(source),
        _about_bound(observation.namespaces),
        _about_owners(
            max((d.hidden_processes for d in diagnoses), default=0),
            units=any(
                its.owner for n in observation.namespaces if n.owners for its in n.owners.value
            ),
        ),
        _about_watch(watch),
        f"configuration: {file}" if file else note,
    )
    return Diagnosed(
        observation,
        tuple(worst_first(findings)),
        tuple(dict.fromkeys(f.message for f in failures if not f.is_optional)),
        (
            *dict.fromkeys(f.message for f in failures if f.is_optional),
            *(said for said in notes if said),
            *(f"the daemon says: {unseen}" for unseen in (watch.unseen if watch else ())),
            *observation.hints,
        ),
        watch,
        says,
        file,
    )


def _in(netns: str) -> str:
    return "" if netns == HOST else f"netns {netns}: "


def _about_bound(namespaces: Iterable[NamespaceObservation]) -> str | None:
    """Say that ports may be held unseen; where all is read from /proc/net, that is said already."""
    if all(one.lists_bound or one.degraded for one in namespaces):
        return None
    return f"{NOT_LISTED}: if connect() fails with EADDRNOTAVAIL, they may hold the ports"


def _about_owners(hidden: int, *, units: bool) -> str | None:
    """Say what hidden processes cost. units: the kernel told the unit of any socket."""
    if not hidden:
        return None
    known = (
        "owners are known by their unit alone"
        if units
        else "owners are not known (sock_diag tells units since Linux 5.8, and with cgroup v2)"
    )
    return (
        f"{hidden} processes are hidden, so {known}: root, or CAP_SYS_PTRACE and "
        "CAP_DAC_READ_SEARCH, would name them"
    )


def _about_namespaces(others: OtherNamespaces | None) -> str | None:
    if others is None:
        return None
    seen = [f"looked into {others.inside} other network namespaces that have sockets"]
    seen += [f"saw {others.outside} from outside"] * bool(others.outside)
    seen += [f"could not see {others.hidden}"] * bool(others.hidden)
    return f"{', '.join(seen)}; {others.empty} more are empty"


def _passed_by(source: KernelSource) -> str | None:
    """Say how many namespaces have sockets and were not looked into, if it is to be known."""
    neighbourhood = NamespaceTracker(source)
    try:
        occupied = sum(bool(one.occupied()) for one in neighbourhood.look())
    except KernelError:
        return None
    finally:
        neighbourhood.close()
    if not occupied:
        return None
    have = "namespace has" if occupied == 1 else "namespaces have"
    return f"{occupied} other network {have} sockets: --namespaces all looks into them too"


def _about_watch(watch: Watch | None) -> str:
    if watch is None:
        return "one look: growth and forecasts are unknown; a running daemon may know more"
    return f"asked {watch.url} too, which has watched for {roughly(watch.seconds)}"


def write_json(diagnosed: Diagnosed, out: IO[str]) -> None:
    """Print the whole of it for a program."""
    answer: messages.DoctorAnswer = {
        "status": _STATUSES[diagnosed.status],
        "taken_at": diagnosed.observation.at.wall,
        "findings": [
            {**shown, "source": "daemon" if finding.key in diagnosed.says else "doctor"}
            for finding in diagnosed.findings
            for shown in findings([finding])
        ],
        "config": str(diagnosed.config) if diagnosed.config else None,
        "namespaces": optional(diagnosed.observation.neighbours, neighbours),
        "daemon": optional(diagnosed.watch, _asked),
    }
    if diagnosed.failures:
        answer["failures"] = list(diagnosed.failures)
    json.dump(answer, out, indent=2)
    out.write("\n")


def _asked(watch: Watch) -> messages.AskedDaemon:
    return {"url": watch.url, "watched_seconds": watch.seconds}


def write_text(diagnosed: Diagnosed, out: IO[str], paint: Paint = plain) -> None:
    """Print the verdict first, then each finding: what, who, evidence, what to do."""
    status = diagnosed.status
    out.write(f"{paint(status.name, _INKS[status])}: {_verdict(diagnosed)}\n")
    for failure in diagnosed.failures:
        out.write(f"  {paint('could not read', 'unknown')}: {failure}\n")
    for finding in diagnosed.findings:
        out.write("\n")
        if _is_symptom(finding, diagnosed.findings):
            _write_symptom(finding, out, paint)
        else:
            _write_finding(finding, _whose(diagnosed, finding), out, paint)
    if not diagnosed.findings:
        for line in vital_signs(diagnosed.observation.namespaces):
            out.write(f"  {line}\n")
    out.write("\n" if diagnosed.notes else "")
    for note in diagnosed.notes:
        out.write(f"note: {note}\n")


def _verdict(diagnosed: Diagnosed) -> str:
    """Return the first line: the worst finding, until when, and how many more there are."""
    if diagnosed.findings:
        worst, *others = diagnosed.findings
        more = sum(not _is_symptom(each, diagnosed.findings) for each in others)
        until = worst.deadline
        parts = [
            "" if worst.netns == HOST else f"netns {worst.netns}: ",
            worst.summary,
            f"; {until.what} in {roughly(until.seconds)}" if until and until.seconds else "",
            f"; {more} more" if more else "",
        ]
        return one_line("".join(parts))
    if diagnosed.status is Status.UNKNOWN:
        return "this host's sockets could not be read in full"
    but = reservation(diagnosed.observation.namespaces)
    return f"no finding, but {but}" if but else "this host's TCP sockets are well"


def _is_symptom(finding: Finding, among: Iterable[Finding]) -> bool:
    """Whether another of the findings causes it."""
    return any(finding.cause == other.key for other in among)


def _whose(diagnosed: Diagnosed, finding: Finding) -> str:
    """Return a line that says whose word a finding is, if it is not ours."""
    says, watch = diagnosed.says.get(finding.key), diagnosed.watch
    if watch is None or says is None:
        return ""
    alone = " alone" if says == "alone" else ""
    return f"  as the daemon{alone} says, which has watched for {roughly(watch.seconds)}\n"


def _write_symptom(finding: Finding, out: IO[str], paint: Paint) -> None:
    """Print only what it is: what to do is said of its cause, directly above."""
    heading, summary, *_ = sentences(finding)
    out.write(f"  because of this, also {paint(heading.text, finding.severity)}\n")
    out.write(f"    {summary.text}\n")


def _write_finding(finding: Finding, whose: str, out: IO[str], paint: Paint) -> None:
    for sentence in sentences(finding):
        if sentence.kind == "heading":
            out.write(paint(sentence.text, finding.severity) + "\n" + whose)
        elif sentence.kind in ("command", "fact", "purpose"):  # whole: to copy, or for grep
            out.write(f"{sentence.lead}{sentence.text}\n")
        else:
            lines = wrap(
                sentence.text, _WIDTH, initial_indent=sentence.lead,
                subsequent_indent=" " * len(sentence.lead),
                break_long_words=False, break_on_hyphens=False,
            )  # fmt: skip
            for line in lines:
                out.write((paint(line, "bold") if sentence.kind == "summary" else line) + "\n")
    out.write(f"    runbook: {runbook_url(alert_name(finding.detector))}\n")
