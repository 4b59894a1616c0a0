"""`sockmon doctor`: one diagnosis, for a tired person or for a script."""

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum
from pathlib import Path
from typing import IO, Literal

from sockmon.alert.labels import alert_name, runbook_url
from sockmon.client.local_daemon import Says, Watch, joined, no_daemon
from sockmon.commands.colour import Paint, Style, plain
from sockmon.commands.config_choice import Chosen
from sockmon.commands.doctor.summary import reservation, vital_signs
from sockmon.config.fields import ListenAddress
from sockmon.detect.finding_text import sentences
from sockmon.durations import roughly
from sockmon.export.findings import findings
from sockmon.export.json import neighbours
from sockmon.export.messages import doctor as messages
from sockmon.export.optional import optional
from sockmon.kernel.errors import KernelError
from sockmon.kernel.netlink.source import KernelSource
from sockmon.kernel.netns.tracker import NamespaceTracker
from sockmon.language import Language, Text, chinese, said, wrapped
from sockmon.model.finding import Finding, FindingKey, worst_first
from sockmon.model.moment import Moment
from sockmon.model.names import HOST
from sockmon.model.observation import NamespaceObservation, Observation, OtherNamespaces
from sockmon.model.states import NOT_LISTED
from sockmon.poll.poller import Poller
from sockmon.text import one_line

#: Two polls must agree.
BETWEEN_POLLS_SECONDS = 1.0

_WIDTH = 92
#: Who has polled for so long knows how counts grow.
_WATCHED_SECONDS = 10.0


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

_STATUS_WORDS: Mapping[Status, Text] = {
    Status.OK: Text("OK", "正常"),
    Status.WARNING: Text("WARNING", "警告"),
    Status.CRITICAL: Text("CRITICAL", "严重"),
    Status.UNKNOWN: Text("UNKNOWN", "未知"),
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
    chosen: Chosen,
    clock: Callable[[], Moment],
    pause: Callable[[float], None],
    *,
    ask: Callable[[Sequence[ListenAddress]], Watch | None] = no_daemon,
    pauses: Sequence[float] = (BETWEEN_POLLS_SECONDS,),
) -> Diagnosed:
    """Poll twice or three times, a second apart; then ask the daemon, which has watched longer.

    pauses: seconds between polls; a recording has its own.
    """
    config, file = chosen.config, chosen.file
    unhurried = replace(config.poll, cpu_budget=math.inf)
    monitor = Poller(source, replace(config, poll=unhurried), patient=True)
    try:
        first = observation = monitor.poll(clock)
        for seconds in pauses:
            pause(seconds)
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
    found = {finding.place for finding in findings}  # the daemon may know that it is not harmless
    notes = (
        *(_in(n.name) + s.summary for n, d in seen for s in d.notes if s.place not in found),
        _about_namespaces(observation.neighbours) or _passed_by(source),
        _about_bound(observation.namespaces),
        _about_owners(
            max((d.hidden_processes for d in diagnoses), default=0),
            units=any(
                its.owner for n in observation.namespaces if n.owners for its in n.owners.value
            ),
        ),
        _about_watch(watch) if sum(pauses) < _WATCHED_SECONDS else None,
        Text(f"configuration: {file}", f"配置文件：{file}") if file else chosen.note,
    )
    return Diagnosed(
        observation,
        tuple(worst_first(findings)),
        tuple(dict.fromkeys(f.message for f in failures if not f.is_optional)),
        (
            *dict.fromkeys(f.message for f in failures if f.is_optional),
            *(said for said in notes if said),
            *(
                Text(f"the daemon says: {unseen}", f"守护进程报告：{unseen}")
                for unseen in ((*watch.unseen, *watch.troubles) if watch else ())
            ),
            *observation.hints,
        ),
        watch,
        says,
        file,
    )


def _in(netns: str) -> Text:
    return Text("") if netns == HOST else Text(f"netns {netns}: ", f"netns {netns}：")


def _about_bound(namespaces: Iterable[NamespaceObservation]) -> Text | None:
    """Say that ports may be held unseen; where all is read from /proc/net, that is said already."""
    if all(one.lists_bound or one.degraded for one in namespaces):
        return None
    return Text(
        f"{NOT_LISTED}: if connect() fails with EADDRNOTAVAIL, they may hold the ports",
        "这个内核（早于 Linux 6.8）不列出 bind() 之后没有连接的 socket：如果 connect() 返回 "
        "EADDRNOTAVAIL，可能是它们占用了端口",
    )


def _about_owners(hidden: int, *, units: bool) -> Text | None:
    """Say what hidden processes cost. units: the kernel reported the unit of any socket."""
    if not hidden:
        return None
    if units:
        known = Text("owners are known by their unit alone", "只能按 unit 判断归属")
    else:
        known = Text(
            "owners are not known (sock_diag tells units since Linux 5.8, and with cgroup v2)",
            "归属未知（Linux 5.8 起并使用 cgroup v2 时，sock_diag 才给出 unit）",
        )
    return Text(
        f"{hidden} processes are hidden, so {known}: root, or CAP_SYS_PTRACE and "
        "CAP_DAC_READ_SEARCH, would name them",
        f"有 {hidden} 个进程无权查看，{known.zh}：以 root 运行，或授予 CAP_SYS_PTRACE 和 "
        "CAP_DAC_READ_SEARCH，才能给出进程名",
    )


def _about_namespaces(others: OtherNamespaces | None) -> Text | None:
    if others is None:
        return None
    seen = Text(
        f"looked into {others.inside} other network namespaces that have sockets",
        f"查看了另外 {others.inside} 个有 socket 的网络命名空间",
    )
    if others.outside:
        outside = others.outside
        seen += Text(f", saw {outside} from outside", f"，从外部（/proc）看到 {outside} 个")
    if others.hidden:
        seen += Text(f", could not see {others.hidden}", f"，{others.hidden} 个无法查看")
    return seen + Text(f"; {others.empty} more are empty", f"；另有 {others.empty} 个是空的")


def _passed_by(source: KernelSource) -> Text | None:
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
    return Text(
        f"{occupied} other network {have} sockets: --namespaces all looks into them too",
        f"另有 {occupied} 个网络命名空间有 socket：加 --namespaces all 一并检查",
    )


def _about_watch(watch: Watch | None) -> Text:
    if watch is None:
        return Text(
            "one look: growth and forecasts are unknown; a running daemon may know more",
            "只看了一次：不知道增长趋势和预测；运行中的守护进程知道得更多",
        )
    return Text(
        f"asked {watch.url} too, which has watched for {roughly(watch.seconds)}",
        f"也询问了 {watch.url}，它已观察 {roughly(watch.seconds)}",
    )


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


def write_text(
    diagnosed: Diagnosed,
    out: IO[str],
    paint: Paint = plain,
    language: Language = "en",
    *,
    verbose: bool = False,
) -> None:
    """Print the verdict first, then each finding: what, what to do, why, evidence, the runbook.

    verbose: each fact on a line of its own.
    """
    status = diagnosed.status
    word = said(_STATUS_WORDS[status], language)
    colon = said(Text(": ", "："), language)
    out.write(f"{paint(word, _INKS[status])}{colon}{said(verdict(diagnosed), language)}\n")
    could_not = said(Text("could not read", "无法读取"), language)
    for failure in diagnosed.failures:
        out.write(f"  {paint(could_not, 'unknown')}{colon}{failure}\n")
    pen = _Pen(out, paint, language, verbose)
    for finding in diagnosed.findings:
        out.write("\n")
        if _is_symptom(finding, diagnosed.findings):
            pen.symptom(finding)
        else:
            pen.finding(finding, _whose(diagnosed, finding))
    if not diagnosed.findings:
        for line in vital_signs(diagnosed.observation.namespaces):
            out.write(f"  {said(line, language)}\n")
    out.write("\n" if diagnosed.notes else "")
    for note in diagnosed.notes:
        out.write(f"{said(_NOTE, language)}{said(note, language)}\n")


_NOTE = Text("note: ", "说明：")


def verdict(diagnosed: Diagnosed) -> Text:
    """Return the first line: the worst finding, until when, and how many more there are."""
    if diagnosed.findings:
        worst, *others = diagnosed.findings
        more = sum(not _is_symptom(each, diagnosed.findings) for each in others)
        text, until = _in(worst.netns) + worst.summary, worst.deadline
        left = roughly(until.seconds) if until else ""
        if until and until.seconds and f"in about {left}" not in worst.summary:
            text += Text(f"; {until.what} in {left}", f"；{left} 后{chinese(until.what)}")
        if more:
            text += Text(f"; {more} more", f"；另有 {more} 个问题")
        return Text(one_line(text), one_line(text.zh))
    if diagnosed.status is Status.UNKNOWN:
        return Text("this host's sockets could not be read in full", "未能完整读取本机的 socket")
    watched = diagnosed.watch.seconds if diagnosed.watch else 0.0
    but = reservation(diagnosed.observation.namespaces, watched)
    if but:
        return Text(f"no finding, but {but}", f"没有发现问题，但 {but.zh}")
    return Text("the sockets are healthy", "连接状态正常")


def _is_symptom(finding: Finding, among: Iterable[Finding]) -> bool:
    """Whether another of the findings causes it."""
    return any(finding.cause == other.key for other in among)


def _whose(diagnosed: Diagnosed, finding: Finding) -> Text | None:
    """Return a line that says whose word a finding is, if it is not ours."""
    says, watch = diagnosed.says.get(finding.key), diagnosed.watch
    if watch is None or says is None:
        return None
    alone = says == "alone"
    return Text(
        f"  as the daemon{' alone' if alone else ''} says, which has watched for "
        f"{roughly(watch.seconds)}",
        f"  {'仅' if alone else ''}由守护进程报告，它已观察 {roughly(watch.seconds)}",
    )


@dataclass(frozen=True, slots=True)
class _Pen:
    """Writes findings in a language."""

    out: IO[str]
    paint: Paint
    language: Language
    verbose: bool

    def symptom(self, finding: Finding) -> None:
        """Print only what it is: what to do is said of its cause, directly above."""
        heading, summary, *_ = sentences(finding, self.language)
        because = said(Text("because of this, also ", "由此还引起 "), self.language)
        self.out.write(f"  {because}{self.paint(heading.text, finding.severity)}\n")
        self.out.write(f"    {summary.text}\n")

    def finding(self, finding: Finding, whose: Text | None) -> None:
        """Print all of it."""
        facts = []
        for sentence in sentences(finding, self.language):
            text, lead = sentence.text, sentence.lead
            if sentence.kind == "heading":
                self.out.write(self.paint(text, finding.severity) + "\n")
                self.out.write(f"{said(whose, self.language)}\n" if whose else "")
            elif sentence.kind == "fact" and not self.verbose:
                facts.append(text)
            elif sentence.kind in ("command", "fact", "purpose"):  # whole: to copy, or for grep
                self.out.write(f"{lead}{text}\n")
            else:
                self._write(text, lead, bold=sentence.kind == "summary")
        if facts:
            self._write(said(Text("; ", "；"), self.language).join(facts), "  - ")
        runbook = said(Text("runbook: ", "处理手册："), self.language)
        self.out.write(f"  {runbook}{runbook_url(alert_name(finding.detector))}\n")

    def _write(self, text: str, lead: str, *, bold: bool = False) -> None:
        for line in wrapped(text, _WIDTH, lead):
            self.out.write((self.paint(line, "bold") if bold else line) + "\n")
