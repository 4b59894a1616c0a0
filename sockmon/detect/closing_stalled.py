"""Closing that stalls: the FIN, or data before it, is never acknowledged.

A socket whose send queue still moves sends its last answer to a slow reader, and is no trouble.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sockmon.detect import evidence
from sockmon.detect.commands import Path, only, see
from sockmon.detect.detector import (
    PEERS_OR_NETWORK,
    Count,
    Detector,
    DetectorThresholds,
    Rule,
    Seconds,
    threshold,
)
from sockmon.detect.evidence import places
from sockmon.detect.lasting import judge_lasting
from sockmon.durations import roughly
from sockmon.language import Text
from sockmon.model.ages import CLOSING_STATES
from sockmon.model.detector_input import DetectorInput
from sockmon.model.finding import Advice, Breakdown, Finding, Quantity
from sockmon.model.owner import Group

NAME = "closing_stalled"

_RETRANSMIT, _ZERO_WINDOW_PROBE = 1, 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds(DetectorThresholds):
    """How many of one group may be closing for so long."""

    stalled_after: Seconds = threshold(60.0, "in one of these states for this long")
    warning_sockets: Count = threshold(10, "in one group")
    critical_sockets: Count = threshold(100, "in one group")


def find(data: DetectorInput, thresholds: Thresholds) -> Iterator[Finding]:
    """Yield a finding for each group with enough sockets that cannot finish closing."""
    aged = data.aged
    places = aged.of_state(*CLOSING_STATES)
    old = data.now - aged.since[places] >= thresholds.stalled_after
    still = data.now - aged.sent_at[places] >= thresholds.stalled_after
    places = places[old & still]
    most = thresholds.warning_sockets, thresholds.critical_sockets
    for its in judge_lasting(data, NAME, aged.rows[places], aged.since[places], *most):
        group, rows, oldest = its.group, its.rows, its.longest
        yield its.finding(
            _summary(data, group, rows, oldest, unread=_is_unread(data, rows)),
            _evidence(data, rows, oldest) | evidence.ports(data, group, rows),
            _advice(data, group, rows),
        )


def _summary(
    data: DetectorInput, group: Group, rows: NDArray[np.intp], oldest: float, *, unread: bool
) -> Text:
    why = Text("do not acknowledge", "没有确认 FIN")
    if unread:
        why = Text("do not read, so their windows are closed", "不读数据，接收窗口已关闭")
    where, longest = places(data, group, rows), roughly(oldest)
    return Text(
        f"{rows.size:,} connections {where} cannot finish closing: their peers {why} (the oldest "
        f"for {longest})",
        f"{where.zh} {rows.size:,} 个连接无法完成关闭：对端{why.zh}（最久的已有 {longest}）",
    )


def _evidence(
    data: DetectorInput, rows: NDArray[np.intp], oldest: float
) -> dict[str, Quantity | Breakdown]:
    table = data.table
    return {
        "oldest": evidence.seconds(oldest),
        "by_state": evidence.states_of(data, rows),
        "retransmitting": evidence.sockets((table.timer[rows] == _RETRANSMIT).sum()),
        "probing_a_closed_window": evidence.sockets(_probing(data, rows)),
        "most_retransmits": evidence.count(table.retransmits[rows].max()),
        "still_held_by_a_process": evidence.sockets(_held(data, rows)),
        "unacknowledged": evidence.size(table.send_queue[rows].astype(np.int64).sum()),
        "peers": evidence.peers(data, rows),
    }


def _probing(data: DetectorInput, rows: NDArray[np.intp]) -> int:
    return int((data.table.timer[rows] == _ZERO_WINDOW_PROBE).sum())


def _is_unread(data: DetectorInput, rows: NDArray[np.intp]) -> bool:
    """Whether most of the peers acknowledge probes of a closed window."""
    table = data.table
    probed = (table.timer[rows] == _ZERO_WINDOW_PROBE) & (table.retransmits[rows] == 0)
    return 2 * int(probed.sum()) > rows.size


def _held(data: DetectorInput, rows: NDArray[np.intp]) -> int:
    return int((data.table.inode[rows] != 0).sum())


def _advice(data: DetectorInput, group: Group, rows: NDArray[np.intp]) -> tuple[Advice, ...]:
    path = Path.of(data, rows)
    if _is_unread(data, rows):
        meaning = Text(
            "The peers are alive and acknowledge each probe, but do not read: their windows are "
            "closed, and this host's last data waits. The peers' application must read, or close.",
            "对端活着，每个零窗口探测都有确认，但应用不读：接收窗口关闭，本机最后的数据发不出去。"
            "对端的应用"
            "必须读取，或者关闭连接。",
        )
    else:
        meaning = Text(
            "The peers, or the path to them, are gone: this host sends its last data and its FIN "
            "again and again, and nothing comes back.",
            "对端或中间网络已经不通：本机反复重传最后的数据和 FIN，没有任何回应。",
        )
    advice = [
        Advice(meaning),
        path.route,
        Advice(
            Text(
                "Does the peer answer? Did a firewall or a load balancer forget these connections, "
                "and drops what it does not know?",
                "对端还有回应吗？会不会是防火墙或负载均衡已经丢掉了会话，把不认识的包直接丢弃？",
            ),
            path.ping,
            "look",
        ),
        Advice(
            Text(
                "The kernel ends those that no process holds by itself, after "
                "net.ipv4.tcp_orphan_retries (0 means 8) tries, in minutes. No restart is needed "
                "for them.",
                "没有进程持有的那些（孤儿 socket），内核重传 net.ipv4.tcp_orphan_retries 次（0 表"
                "示 8 次）"
                "后会自行结束，几分钟内消失，不需要重启。",
            )
        ),
    ]
    held = _held(data, rows)
    if held:
        advice.append(
            Advice(
                Text(
                    f"{held} are still held by a process, which has shut them down and not closed "
                    "them: those last for net.ipv4.tcp_retries2 tries. It should close(), or set "
                    "TCP_USER_TIMEOUT.",
                    f"有 {held} 个仍被进程持有（只 shutdown 没有 close）：要等 "
                    "net.ipv4.tcp_retries2 次"
                    "重传。应用应当 close()，或设置 TCP_USER_TIMEOUT。",
                )
            )
        )
    filter_ = only(group.direction, group.port)
    mptcp = bool(data.table.multipath[rows].any())
    advice.append(see("-tnpo", *CLOSING_STATES, filter_=filter_, mptcp=mptcp))
    return tuple(advice)


DETECTOR = Detector(
    name=NAME,
    about="LAST_ACK, FIN_WAIT1, CLOSING: our FIN is not acknowledged",
    title=Text("Connections cannot finish closing", "连接无法完成关闭"),
    actor=PEERS_OR_NETWORK,
    thresholds=Thresholds,
    find=find,
    caused_by=(("other_end", "does_not_read"), ("other_end", "does_not_close")),
    rule=Rule(
        summary="sockets cannot finish closing",
        explanation=(
            "Their FIN is not acknowledged (LAST_ACK, FIN_WAIT1, CLOSING): the peers, or the path "
            "to them, have gone."
        ),
    ),
)
