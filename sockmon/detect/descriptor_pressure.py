"""Descriptor pressure: a process uses up its file descriptors, whatever the states of its sockets.

At its limit (RLIMIT_NOFILE) accept(), connect() and open() fail with EMFILE. Besides, sockets that
the kernel has closed and the process has not: they are in no table any more, and never come back.
Keepalive makes such of a leak, for the probe of a connection whose peer has gone is answered by a
reset. But a server that resets idle connections makes such of a client's pool, too, which closes
them at their next use: so a few of them are a leak only if they become more.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from sockmon.detect import evidence
from sockmon.detect.commands import restart
from sockmon.detect.confirm import REMEMBERED_SECONDS
from sockmon.detect.detector import (
    HYSTERESIS,
    Count,
    Detector,
    DetectorThresholds,
    Does,
    Ratio,
    Rule,
    Seconds,
    Series,
    ratio_levels,
    severity,
    threshold,
)
from sockmon.durations import roughly
from sockmon.language import Text, chinese, joined
from sockmon.model.descriptors import Descriptors
from sockmon.model.detector_input import DetectorInput
from sockmon.model.finding import (
    Advice,
    Breakdown,
    Command,
    Deadline,
    Finding,
    FindingKey,
    Quantity,
    Severity,
    Subject,
)
from sockmon.model.growth import growing
from sockmon.model.owner import PROCESSES_NAMED, Owner, Process
from sockmon.model.states import TcpState
from sockmon.text import is_container_id, one_line

NAME = "descriptor_pressure"

#: So many kinds of descriptors and groups of sockets are shown.
_SHOWN = 5
#: A pool has fewer connections. One that has so many more reset ones than before, over so many
#: seconds, is none.
_POOL_AT_MOST, _POOL_GROWTH, _GROWTH_SEEN = 100, 3, 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds(DetectorThresholds):
    """Shares of a process's limit that it may use, and what the forecast must say."""

    warning_ratio: Ratio = threshold(0.8, "of a process's limit of file descriptors")
    critical_ratio: Ratio = threshold(0.95, "of a process's limit of file descriptors")
    critical_exhaustion: Seconds = threshold(600.0, "critical: the forecast is sooner than this")
    forecast_ratio: Ratio = threshold(0.5, "the forecast counts from this share of the limit on")
    closed_sockets: Count = threshold(
        20, "a process holds so many sockets that the kernel has closed"
    )


def find(data: DetectorInput, thresholds: Thresholds) -> Iterator[Finding]:
    """Yield a finding for each owner of which a process runs out, or holds closed sockets."""
    by_owner: dict[str, list[Descriptors]] = {}
    for use in data.descriptors:
        by_owner.setdefault(Owner.of((use.process,)).label, []).append(use)
    for label, uses in by_owner.items():
        finding = _judge(data, thresholds, label, uses)
        if finding is not None:
            yield finding


def _judge(
    data: DetectorInput, thresholds: Thresholds, label: str, uses: list[Descriptors]
) -> Finding | None:
    subject = Subject(owner=label)
    key = FindingKey(NAME, data.netns, subject)
    slack = HYSTERESIS if key in data.past else 1.0
    fullest = max(uses, key=lambda use: use.ratio)
    judged = severity(data, key, fullest.ratio, thresholds.warning_ratio, thresholds.critical_ratio)
    soonest = min(uses, key=lambda use: _seconds_left(use) or np.inf)
    left = _seconds_left(soonest)
    foreseen = left is not None and soonest.ratio >= thresholds.forecast_ratio * slack
    if left is not None and foreseen and left * slack < thresholds.critical_exhaustion:
        judged, fullest = "critical", soonest
    least = thresholds.closed_sockets * slack
    holding = [use for use in uses if use.closed >= least or 2 * use.leaked >= least]
    if judged is None and not holding:
        return None
    finding = _finding(data, thresholds, subject, judged, fullest, holding, uses)
    is_leak = any(2 * use.leaked >= least for use in holding)
    if judged is None and not is_leak and _may_be_a_pool(data, key, finding.value):
        harmless = Text(
            ": no harm if they are of a pool whose servers have reset idle connections, a leak if "
            "they become more",
            "：如果是连接池里被服务端 RST 的空闲连接则无害；数量继续增加就是泄漏",
        )
        return replace(finding, note=True, summary=finding.summary + harmless)
    if holding:
        return replace(
            finding, summary=finding.summary + Text(": they never come back", "：它们不会再被释放")
        )
    return finding


def _may_be_a_pool(data: DetectorInput, key: FindingKey, closed: float) -> bool:
    """Whether closed sockets may be idle connections that servers have reset: few, and no more.

    Where growth is not known yet, they may.
    """
    if closed >= _POOL_AT_MOST:
        return False
    previous = data.past.get(key)
    if previous is None:
        return True
    samples = (*previous.samples, (data.now, closed))
    risen = closed - min(value for _, value in samples) >= _POOL_GROWTH
    return not (risen and growing(samples, data.now, REMEMBERED_SECONDS, _GROWTH_SEEN))


def _finding(
    data: DetectorInput,
    thresholds: Thresholds,
    subject: Subject,
    judged: Severity | None,
    fullest: Descriptors,
    holding: list[Descriptors],
    uses: list[Descriptors],
) -> Finding:
    if judged is None:
        fullest = max(holding, key=lambda use: use.closed)
    troubled = [fullest, *(use for use in holding if use is not fullest)]
    processes = [use.process for use in troubled]
    unit = processes[0].unit
    owner = Owner(
        subject.owner or "unknown",
        unit,
        tuple(processes[:PROCESSES_NAMED]),
        max(0, len(processes) - PROCESSES_NAMED),
        processes[0].manager,
    )
    left = _seconds_left(fullest) if judged else None
    connections = _connections(data, fullest)
    return Finding(
        detector=NAME,
        severity=judged or "warning",
        netns=data.netns,
        subject=subject,
        value=fullest.ratio if judged else float(sum(use.closed for use in holding)),
        limit=thresholds.warning_ratio if judged else thresholds.closed_sockets,
        summary=_summary(one_line(owner.name), judged, fullest, holding, connections),
        evidence=_evidence(fullest, holding, uses, connections),
        advice=_advice(owner, judged, fullest, holding),
        owner=owner,
        critical_because=_because(thresholds, judged, fullest),
        deadline=None
        if left is None
        else Deadline(Text("file descriptors run out", "文件描述符耗尽"), left),
    )


def _summary(
    name: str,
    judged: Severity | None,
    fullest: Descriptors,
    holding: list[Descriptors],
    connections: Breakdown,
) -> Text:
    parts = []
    process = fullest.process
    if judged:
        full = process.fds is not None and process.fds >= (process.fd_limit or 0)
        growth = most = Text("")
        if process.growth:
            more = f"{60 * process.growth:.0f}"
            growth = Text(f", {more} more a minute", f"，每分钟增加 {more} 个")
        if connections and 2 * float(connections[0][1].value) > (process.fds or 0):
            where, sockets = connections[0]
            most = Text(
                f" ({sockets.value} are {where})",
                f"（其中 {sockets.value} 个是{chinese(where)}连接）",
            )
        parts.append(
            Text(
                f"uses all of its {process.fd_limit:,} file descriptors{most}: accept(), connect() "
                "and open() fail",
                f"已用完全部 {process.fd_limit:,} 个文件描述符{most.zh}：accept()、connect()、"
                "open() 都会"
                "失败",
            )
            if full
            else Text(
                f"uses {process.fds:,} of {process.fd_limit:,} file descriptors{growth}{most}",
                f"文件描述符已用 {process.fds:,}/{process.fd_limit:,}{growth.zh}{most.zh}",
            )
        )
    if holding:
        closed = sum(use.closed for use in holding)
        parts.append(
            Text(
                f"holds {closed} sockets that the kernel has already closed",
                f"持有 {closed} 个内核早已关闭的 socket",
            )
        )
    return Text(f"{name} ") + joined(parts, ", and ", "，并且")


def _because(thresholds: Thresholds, judged: Severity | None, use: Descriptors) -> Text | None:
    left = _seconds_left(use)
    if judged != "critical" or use.ratio >= thresholds.critical_ratio or left is None:
        return None
    return Text(f"they run out in about {roughly(left)}", f"约 {roughly(left)} 后耗尽")


def _seconds_left(use: Descriptors) -> float | None:
    """Seconds until the process has none left, by its own growth; None: it does not grow."""
    process = use.process
    if not process.growth or process.fds is None or not process.fd_limit:
        return None
    return max(0.0, process.fd_limit - process.fds) / process.growth


def _evidence(
    fullest: Descriptors,
    holding: list[Descriptors],
    uses: list[Descriptors],
    connections: Breakdown,
) -> dict[str, Quantity | Breakdown]:
    process = fullest.process
    found: dict[str, Quantity | Breakdown] = {"used": evidence.count(process.fds or 0)}
    if process.fd_limit:
        found["limit"] = evidence.count(process.fd_limit)
        found["used_share"] = Quantity(fullest.ratio, "ratio")
    if process.growth is not None:
        found["growth"] = Quantity(round(60 * process.growth, 2), "per_minute")
    if holding:
        found["closed_by_the_kernel"] = evidence.sockets(sum(use.closed for use in holding))
    if fullest.kinds:
        most = sorted(fullest.kinds.items(), key=lambda item: -item[1])[:_SHOWN]
        found["kinds"] = tuple((one_line(kind), evidence.count(n)) for kind, n in most)
    if connections:
        found["connections"] = connections
    if len(uses) > 1:
        found["processes_followed"] = evidence.count(len(uses))
    return found


def _connections(data: DetectorInput, use: Descriptors) -> Breakdown:
    """Return which of its sockets are most: by state, direction and port."""
    if not data.whole or not use.tcp.size:
        return ()
    rows = data.table.rows_of(use.tcp.tolist())
    counted: list[tuple[int, Text]] = []
    for group, part in data.groups(rows):
        states, numbers = np.unique(data.table.state[part], return_counts=True)
        for state, number in zip(states.tolist(), numbers.tolist(), strict=True):
            if state != TcpState.LISTEN:
                where, name = evidence.place(group), TcpState(state).name
                counted.append((number, Text(f"{name} {where}", f"{where.zh} {name} ")))
    counted.sort(reverse=True)
    return tuple((name, evidence.sockets(number)) for number, name in counted[:_SHOWN])


def _advice(
    owner: Owner, judged: Severity | None, fullest: Descriptors, holding: list[Descriptors]
) -> tuple[Advice, ...]:
    process, name = fullest.process, one_line(owner.name)
    advice = []
    lasting = Text(f"A limit where {name} is started (ulimit -n)", f"{name} 启动处的 ulimit -n ")
    if owner.unit is not None and is_container_id(owner.unit):
        lasting = Text(
            f"That of container {name} (docker run --ulimit nofile=)",
            f"容器 {name} 的上限（docker run --ulimit nofile=）",
        )
    elif owner.unit is not None:
        lasting = Text(f"LimitNOFILE= in the unit of {name}", f"{name} 的 unit 里的 LimitNOFILE= ")
    if judged and process.fd_limit:
        advice.append(
            Advice(
                Text(
                    "Raise the limit of the running process: that needs no restart. "
                    f"{lasting} is for its next start.",
                    f"直接调高运行中进程的上限，不用重启。{lasting.zh}下次启动才生效。",
                ),
                Command(
                    f"prlimit --pid {process.pid} --nofile={_higher(process)}", "here", "changes"
                ),
                "stop",
            )
        )  # fmt: skip
    if holding or not judged or process.growth:
        advice.append(restart(owner))
    if holding:
        advice.append(
            Advice(
                Text(
                    f"{name} has not called close() on sockets that the kernel has closed: their "
                    "peers closed them, and a reset ended them, so they are not in CLOSE_WAIT any "
                    "more. It was the answer to a keepalive probe, or that of an MPTCP peer a "
                    "minute after closing. Look for a handler that forgets its connection.",
                    f"{name} 没有对内核已关闭的 socket 调用 close()：对端先关闭，随后一个 RST 结"
                    "束了连接，"
                    "所以它们已不在 CLOSE_WAIT 里。RST 来自 keepalive 探测的回应，或 MPTCP 对端关"
                    "闭约"
                    "一分钟之后。查找忘记关闭连接的处理代码。",
                )
            )
        )
    if judged:
        advice.append(
            Advice(
                Text(
                    "If they grow without end, a higher limit only buys time: look for "
                    "connections, files or pipes that are opened for each request and never "
                    "closed, for a pool without a bound, and for calls without a time-out to a "
                    "server that does not answer.",
                    "如果一直增长，调高上限只能拖延时间：查找每个请求都打开却没有关闭的连接、文件"
                    "或管道、没有上限的连接池，以及没有设置超时、对端又一直不应答的请求。",
                )
            )
        )
    advice.append(
        Advice(
            Text("See what its descriptors are:", "看它的 fd 都是什么："),
            Command(
                f"ls -l /proc/{process.pid}/fd | awk 'NR > 1 {{print $NF}}' | sed 's/:.*//' | "
                "sort | uniq -c | sort -rn | head",
                "here",
            ),
            "look",
        )
    )
    if holding:
        advice.append(
            Advice(
                Text("See those that are in no table:", "查看不在任何表里的那些："),
                Command(
                    f"lsof -p {process.pid} | grep -E 'protocol: TCP|identify protocol'", "here"
                ),
                "look",
            )
        )
    return tuple(advice)


def _higher(process: Process) -> str:
    """Return twice the soft limit as prlimit(1) takes it, the hard one raised only if need be."""
    wanted, hard = 2 * (process.fd_limit or 0), process.fd_hard_limit
    return f"{wanted}:" if hard is None or wanted <= hard else f"{wanted}"


def _expressions(thresholds: Thresholds, of: Series) -> tuple[str, str]:
    used, limit = of("sockmon_owner_descriptors"), of("sockmon_owner_descriptors_limit")
    share = f"{used}\n/ {limit}"
    found = of("sockmon_findings", detector=NAME)
    critical = of("sockmon_findings", detector=NAME, severity="critical")
    return (
        (
            f"{share} >= {thresholds.warning_ratio:g}\n"
            f"or ignoring (owner) sum without (detector, severity) ({found}) > 0"
        ),
        (
            f"{share} >= {thresholds.critical_ratio:g}\n"
            f"or ignoring (owner) sum without (detector, severity) ({critical}) > 0"
        ),
    )


_FIGURE = (
    "{{ with $labels.owner }}{{ . }} uses {{ $value | humanizePercentage }} of its descriptors."
    "{{ else }}Findings: {{ $value | humanize }}.{{ end }}"
)

DETECTOR = Detector(
    name=NAME,
    about="a process runs out of file descriptors, or holds sockets that the kernel has closed",
    title=Text("A process runs out of file descriptors", "进程的文件描述符即将耗尽"),
    actor=Text("The application here", "本机应用"),
    does=Does(
        Text("uses up its file descriptors", "快用完文件描述符"),
        Text("use up their file descriptors", "快用完文件描述符"),
    ),
    thresholds=Thresholds,
    find=find,
    fault="has_no_descriptors",
    caused_by=(("same_process", "does_not_close"),),
    levels=ratio_levels("sockmon_owner_descriptors"),
    rule=Rule(
        summary="a process runs out of file descriptors",
        explanation=(
            "At the limit accept(), connect() and open() fail with EMFILE. Something is opened "
            "and never closed, or the limit is too low for the load."
        ),
        warning=_FIGURE,
        critical=_FIGURE,
        expressions=_expressions,
    ),
)
