"""Orphan pressure: sockets that no process holds any more, and that cannot end."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from sockmon.detect import evidence
from sockmon.detect.commands import see
from sockmon.detect.detector import (
    PEERS_OR_NETWORK,
    Detector,
    DetectorThresholds,
    Ratio,
    Rule,
    Series,
    ratio_levels,
    severity,
    share,
    threshold,
)
from sockmon.detect.evidence import percent
from sockmon.language import Text
from sockmon.model.detector_input import DetectorInput
from sockmon.model.finding import Advice, Breakdown, Command, Finding, FindingKey, Quantity, Subject
from sockmon.model.states import TcpState

NAME = "orphan_pressure"

_STATES = (TcpState.FIN_WAIT1, TcpState.FIN_WAIT2, TcpState.LAST_ACK, TcpState.CLOSING)
_TIME_WAIT_TIMER = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds(DetectorThresholds):
    """Shares of tcp_max_orphans, a quarter of which is what the kernel begins to punish from."""

    warning_ratio: Ratio = threshold(
        0.25, "of tcp_max_orphans; above it the kernel may reset orphans"
    )
    critical_ratio: Ratio = threshold(0.5, "of tcp_max_orphans")


def find(data: DetectorInput, thresholds: Thresholds) -> Iterator[Finding]:
    """Yield a finding when the host's orphans near their bound."""
    sockstat, most = data.limits.sockstat, data.limits.orphan_limit
    if sockstat is None or most is None:
        return
    key = FindingKey(NAME, data.netns, Subject())
    ratio = sockstat.orphans / max(most, 1)
    judged = severity(data, key, ratio, thresholds.warning_ratio, thresholds.critical_ratio)
    if judged is None:
        return
    yield Finding(
        detector=NAME,
        severity=judged,
        netns=data.netns,
        subject=Subject(),
        value=ratio,
        limit=thresholds.warning_ratio,
        summary=Text(
            f"{sockstat.orphans} sockets have been closed by their processes and cannot end: "
            f"{percent(ratio)} of tcp_max_orphans ({most})",
            f"{sockstat.orphans} 个 socket 已被进程关闭却无法结束（孤儿 socket）：已达 "
            f"tcp_max_orphans（{most}）的 {percent(ratio)}",
        ),
        evidence=_evidence(data, sockstat.orphans, most),
        advice=_advice(most),
    )


def _evidence(data: DetectorInput, orphans: int, most: int) -> dict[str, Quantity | Breakdown]:
    table = data.table
    rows = np.flatnonzero(
        np.isin(table.state, _STATES) & (table.inode == 0) & (table.timer != _TIME_WAIT_TIMER)
    )
    return {
        "orphans": evidence.sockets(orphans),
        "orphans_limit": evidence.sockets(most),
        "by_state_here": evidence.states_of(data, rows),
        "unacknowledged_here": evidence.size(table.send_queue[rows].astype(np.int64).sum()),
        "peers": evidence.peers(data, rows),
        "events": evidence.per_second(data.rates, ("TCPAbortOnMemory", "TCPAbortOnTimeout")),
    }


def _advice(most: int) -> tuple[Advice, ...]:
    return (
        Advice(
            Text(
                "If the peers are strangers in great number, it may be an attack: limit "
                "connections by source in front of this host.",
                "如果对端是大量陌生地址，可能是攻击：在本机前面按来源限制连接数。",
            ),
            purpose="stop",
        ),
        Advice(
            Text(
                "Their data or their FIN is not acknowledged: peers that went away, or that read "
                "slowly. This host's processes have closed them and can do nothing.",
                "它们的数据或 FIN 没有得到确认：对端已经离开，或者读得太慢。本机进程已经关闭了它"
                "们，无能为力。",
            )
        ),
        Advice(
            Text(
                f"From a quarter of net.ipv4.tcp_max_orphans = {most} on, the kernel may reset "
                "them, and counts TCPAbortOnMemory: clients then lose the end of their answers. If "
                "the load is wanted, raise it (an orphan can take 64 KiB).",
                f"达到 net.ipv4.tcp_max_orphans = {most} 的四分之一后，内核可能直接 RST 它们，并"
                "计入 "
                "TCPAbortOnMemory：客户端会丢失响应的末尾。如果负载正常，调大这个值（每个孤儿最多"
                "占 64 KiB）。",
            )
        ),
        Advice(
            Text(
                "How often does the kernel try? 0 means 8; a smaller number ends them sooner.",
                "内核重试几次？0 表示 8 次；调小可以更早结束。",
            ),
            Command("sysctl net.ipv4.tcp_orphan_retries"),
            "look",
        ),
        see("-tno", TcpState.FIN_WAIT1, TcpState.LAST_ACK, TcpState.CLOSING),
    )


def _expressions(thresholds: Thresholds, of: Series) -> tuple[str, str]:
    used = share(of, "sockmon_orphan_sockets")
    return f"{used} >= {thresholds.warning_ratio:g}", f"{used} >= {thresholds.critical_ratio:g}"


DETECTOR = Detector(
    name=NAME,
    about="closed sockets that no process holds",
    title=Text("Sockets without a process pile up", "孤儿 socket 堆积"),
    actor=PEERS_OR_NETWORK,
    thresholds=Thresholds,
    find=find,
    needs=("sockstat",),
    only_where=("orphan_limit",),
    levels=ratio_levels("sockmon_orphan_sockets"),
    rule=Rule(
        summary="orphaned sockets near tcp_max_orphans",
        explanation=(
            "Applications have closed sockets whose peers do not answer. Beyond the limit the "
            "kernel resets them."
        ),
        warning="In use: {{ $value | humanizePercentage }} of the limit.",
        critical="In use: {{ $value | humanizePercentage }} of the limit.",
        expressions=_expressions,
        host_wide=True,
    ),
)
