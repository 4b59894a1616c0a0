"""TCP memory pressure: what all sockets have queued nears tcp_mem."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from sockmon.detect import evidence
from sockmon.detect.commands import only
from sockmon.detect.detector import (
    Detector,
    DetectorThresholds,
    Level,
    Ratio,
    Rule,
    Series,
    severity,
    threshold,
)
from sockmon.detect.evidence import at_port, percent
from sockmon.language import Text
from sockmon.model.detector_input import DetectorInput
from sockmon.model.finding import Advice, Breakdown, Command, Finding, FindingKey, Quantity, Subject
from sockmon.model.limits import TcpMemoryLimits
from sockmon.model.owner import Group
from sockmon.model.states import TcpState

NAME = "tcp_memory_pressure"

_EVENTS = ("TCPMemoryPressures", "TCPAbortOnMemory", "TCPBacklogDrop")
_SOCKETS_ASKED = 1000
_PLACES_SHOWN = 5
_MIB = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds(DetectorThresholds):
    """A share of tcp_mem's second number (pressure), and one of its third (high)."""

    warning_pressure_ratio: Ratio = threshold(1.0, "of the pressure level in tcp_mem")
    critical_high_ratio: Ratio = threshold(0.9, "of the high level in tcp_mem")


def find(data: DetectorInput, thresholds: Thresholds) -> Iterator[Finding]:
    """Yield a finding when the host's TCP memory is under pressure; a ratio of `high`."""
    sockstat, memory = data.limits.sockstat, data.limits.tcp_memory
    if sockstat is None or memory is None or memory.high <= 0:
        return
    key = FindingKey(NAME, data.netns, Subject())
    ratio = sockstat.memory_bytes / memory.high
    warning = thresholds.warning_pressure_ratio * memory.pressure / memory.high
    judged = severity(data, key, ratio, warning, thresholds.critical_high_ratio)
    if judged is None:
        return
    largest = _largest_queues(data)
    yield Finding(
        detector=NAME,
        severity=judged,
        netns=data.netns,
        subject=Subject(),
        value=ratio,
        limit=warning,
        summary=Text(
            f"TCP takes {_mib(sockstat.memory_bytes)}: {percent(ratio)} of what tcp_mem allows "
            f"({_mib(memory.high)}; pressure from {_mib(memory.pressure)} on)",
            f"TCP 占用 {_mib(sockstat.memory_bytes)}：已达 tcp_mem 上限（{_mib(memory.high)}）的 "
            f"{percent(ratio)}，从 {_mib(memory.pressure)} 起进入压力状态",
        ),
        evidence=_evidence(data, sockstat.memory_bytes, memory, largest),
        advice=_advice(largest, memory),
    )


class _Queues(NamedTuple):
    """What one group has queued, in bytes."""

    group: Group
    owner: str | None
    received: int
    sent: int


def _largest_queues(data: DetectorInput) -> list[_Queues]:
    """Return the groups with most bytes queued, among the sockets with the largest queues."""
    table = data.table
    received, sent = table.receive_queue.astype(np.int64), table.send_queue.astype(np.int64)
    queued = np.where(table.state == TcpState.LISTEN, 0, received + sent)  # theirs are connections
    rows = np.argsort(-queued, kind="stable")[:_SOCKETS_ASKED]
    groups = [
        _Queues(group, data.owner_label(group), int(received[part].sum()), int(sent[part].sum()))
        for group, part in data.groups(rows[queued[rows] > 0])
    ]
    return sorted(groups, key=lambda its: -(its.received + its.sent))[:_PLACES_SHOWN]


def _evidence(
    data: DetectorInput, used: int, memory: TcpMemoryLimits, largest: list[_Queues]
) -> dict[str, Quantity | Breakdown]:
    return {
        "used": evidence.size(used),
        "low": evidence.size(memory.low),
        "pressure": evidence.size(memory.pressure),
        "high": evidence.size(memory.high),
        "largest_queues": tuple(
            (
                at_port(its.group.direction, its.group.port)
                + (f", {its.owner}" if its.owner else ""),
                evidence.size(its.received + its.sent),
            )
            for its in largest
        ),
        "events": evidence.per_second(data.rates, _EVENTS),
    }


def _advice(largest: list[_Queues], memory: TcpMemoryLimits) -> tuple[Advice, ...]:
    advice = [
        Advice(
            Text(
                f"Above {_mib(memory.pressure)} the kernel shrinks every connection's buffers, so "
                f"all slow down; at {_mib(memory.high)} it drops what arrives, refuses what is "
                "sent, and resets orphans (TCPAbortOnMemory).",
                f"超过 {_mib(memory.pressure)} 后，内核缩小每个连接的缓冲区，所有连接都变慢；达到 "
                f"{_mib(memory.high)} 时，收到的包被丢弃，发送被拒绝，孤儿 socket 被 RST"
                "（TCPAbortOnMemory）。",
            )
        )
    ]
    if largest:
        most = largest[0]
        where = at_port(most.group.direction, most.group.port)
        if most.received >= most.sent:
            advice.append(
                Advice(
                    Text(
                        f"Most is unread, at {where}: the application there reads too slowly, or "
                        "not at all. It must read, or close.",
                        f"大部分是未读数据，在{where.zh}：应用读得太慢或根本不读。它必须读取，或"
                        "者关闭连接。",
                    )
                )
            )
        else:
            advice.append(
                Advice(
                    Text(
                        f"Most is unacknowledged, at {where}: slow or vanished peers. That "
                        "application should bound how long it waits for them (TCP_USER_TIMEOUT).",
                        f"大部分是未确认的数据，在{where.zh}：对端太慢或已消失。应用应当限制等待"
                        "时间"
                        "（TCP_USER_TIMEOUT）。",
                    )
                )
            )
        shown = only(most.group.direction, most.group.port)
        advice.append(
            Advice(
                Text(
                    "List the sockets (skmem: r is received, t and w are to be sent):",
                    "列出这些 socket（skmem：r 为接收，t 和 w 为待发送）：",
                ),
                Command(f"ss -tnmpo {shown}"),
                "look",
            )
        )
    else:
        advice.append(
            Advice(
                Text(
                    "No queue in this network namespace holds it: look into the other namespaces "
                    "(containers) of this host.",
                    "不在当前网络命名空间的队列里：查看本机的其他命名空间（容器）。",
                ),
                Command("sockmon doctor --namespaces all", "here"),
                "look",
            )
        )
    advice.append(
        Advice(
            Text(
                "If the load is wanted: raise net.ipv4.tcp_mem (three numbers, in pages: getconf "
                "PAGESIZE), or lower the most that one socket may take: net.ipv4.tcp_rmem, "
                "tcp_wmem.",
                "如果是正常负载：调大 net.ipv4.tcp_mem（三个数，单位是页：getconf PAGESIZE），或"
                "调小单个 "
                "socket 的上限：net.ipv4.tcp_rmem、tcp_wmem。",
            ),
            Command("sysctl net.ipv4.tcp_mem", "here"),
        )
    )
    return tuple(advice)


def _mib(size: int) -> str:
    return f"{size / _MIB:.0f} MiB"


def _expressions(thresholds: Thresholds, of: Series) -> tuple[str, str]:
    memory = f"{of('sockmon_tcp_memory_bytes')}\n/ ignoring (level) "
    limit = "sockmon_tcp_memory_limit_bytes"
    return (
        f"{memory}{of(limit, level='pressure')} >= {thresholds.warning_pressure_ratio:g}",
        f"{memory}{of(limit, level='high')} >= {thresholds.critical_high_ratio:g}",
    )


def _levels(thresholds: Thresholds) -> dict[str, Level]:
    return {"sockmon_tcp_memory_bytes": (thresholds.warning_pressure_ratio, None)}


DETECTOR = Detector(
    name=NAME,
    about="TCP socket memory approaches its limit",
    title=Text("Memory for TCP runs short", "TCP 内存不足"),
    actor=Text("Those whose queues are full", "队列堆积的应用"),
    thresholds=Thresholds,
    find=find,
    needs=("sockstat",),
    only_where=("tcp_memory",),
    needs_whole_table=True,
    levels=_levels,
    rule=Rule(
        summary="TCP uses more memory than tcp_mem's pressure",
        explanation=(
            "The kernel shrinks windows, and beyond `high` it drops. Look for queues that nobody "
            "reads: sockmon_port_receive_queue_bytes."
        ),
        warning="In use: {{ $value | humanizePercentage }} of `pressure`.",
        critical="In use: {{ $value | humanizePercentage }} of `high`.",
        expressions=_expressions,
        host_wide=True,
    ),
)
