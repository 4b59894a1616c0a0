"""FIN_WAIT2 with an owner: this side has ended its half, and the peer never ends the other.

tcp_fin_timeout ends only those that no process holds. They have no inode: as time-wait sockets, or
as orphans where tcp_fin_timeout is over 60 s. One that still receives data is a half-close in use;
so is one whose other end, on this host, has read the request and is held: its answer may take any
time.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sockmon.detect import evidence
from sockmon.detect.commands import LOOK_AT_PEER, only, see, ss
from sockmon.detect.detector import (
    Count,
    Detector,
    DetectorThresholds,
    Rule,
    threshold,
)
from sockmon.detect.evidence import who
from sockmon.detect.lasting import judge_lasting
from sockmon.durations import roughly
from sockmon.language import Text
from sockmon.model import close_wait
from sockmon.model.detector_input import DetectorInput
from sockmon.model.direction import Direction
from sockmon.model.finding import Advice, Breakdown, Command, Finding, Quantity
from sockmon.model.other_end import mostly_here
from sockmon.model.owner import Group
from sockmon.model.states import TcpState

NAME = "fin_wait2_stuck"


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds(DetectorThresholds):
    """How many of one group may outlive tcp_fin_timeout."""

    warning_sockets: Count = threshold(10, "in one group, older than tcp_fin_timeout")
    critical_sockets: Count = threshold(100, "in one group")


def find(data: DetectorInput, thresholds: Thresholds) -> Iterator[Finding]:
    """Yield a finding for each group with enough FIN_WAIT2 that outlived tcp_fin_timeout."""
    if data.limits.settings is None:
        return
    timeout = data.limits.settings.fin_timeout
    aged = data.aged
    places = aged.of_state(TcpState.FIN_WAIT2)
    held = data.table.inode[aged.rows[places]] != 0
    old = data.now - aged.since[places] > timeout
    silent = data.now - aged.received_at[places] > timeout
    places = places[held & old & silent]
    if not places.size:
        return
    due = close_wait.answers_due(aged, data.table, close_wait.held(aged, data.table))
    places = places[~np.isin(aged.rows[places], due.clients)]
    most = thresholds.warning_sockets, thresholds.critical_sockets
    for its in judge_lasting(data, NAME, aged.rows[places], aged.since[places], *most):
        group, rows, oldest = its.group, its.rows, its.longest
        holder, where = who(data.owners.get(group)), evidence.places(data, group, rows)
        yield its.finding(
            Text(
                f"{rows.size:,} connections that {holder} has ended are kept open by their peers "
                f"({where}; the oldest for {roughly(oldest)})",
                f"{holder.zh} 已结束的 {rows.size:,} 个连接，对端一直没有关闭（{where.zh}连接，最久"
                "的已有 "
                f"{roughly(oldest)}）",
            ),
            _evidence(data, rows, oldest, timeout) | evidence.ports(data, group, rows),
            _advice(data, group, rows, evidence.holder(data.owners.get(group)), timeout),
        )


def _evidence(
    data: DetectorInput, rows: NDArray[np.intp], oldest: float, timeout: int
) -> dict[str, Quantity | Breakdown]:
    return {
        "oldest": evidence.seconds(oldest),
        "tcp_fin_timeout": evidence.seconds(timeout),
        "unread": evidence.size(data.table.receive_queue[rows].astype(np.int64).sum()),
        "peers": evidence.peers(data, rows),
    }


def _advice(
    data: DetectorInput, group: Group, rows: NDArray[np.intp], holder: Text, timeout: int
) -> tuple[Advice, ...]:
    other: Direction = "outbound" if group.direction == "inbound" else "inbound"
    there = ss("-tnpo", TcpState.CLOSE_WAIT, filter_=only(other, group.port))
    here = mostly_here(data.table, rows)
    mptcp = bool(data.table.multipath[rows].any())
    return (
        Advice(
            Text(
                f"{holder} has shut down its sending side and waits. The peers have acknowledged "
                f"that and do not close: {'on this host' if here else 'there'} they are in "
                "CLOSE_WAIT. The peers' application must close them.",
                f"{holder.zh} 已 shutdown 发送方向，正在等待。对端确认了 FIN 却没有关闭："
                f"{'在本机上' if here else '在对端'}它们处于 CLOSE_WAIT。必须由对端的应用 "
                "close()。",
            )
        ),
        Advice(
            Text("Look at the other ends, on this host:", "查看本机上的另一端：")
            if here
            else LOOK_AT_PEER,
            Command(there, "namespace" if here else "peer"),
            "look",
        ),
        Advice(
            Text(
                f"{holder} should wait for the end only so long, and then close(): from then on "
                f"the kernel drops them after net.ipv4.tcp_fin_timeout = {timeout} s. While a "
                "process holds them, that setting does nothing.",
                f"{holder.zh} 应当只等一段时间就 close()：close() 之后内核在 "
                f"net.ipv4.tcp_fin_timeout = {timeout} 秒后回收。进程还持有 socket 时，这个参数不"
                "起作用。",
            )
        ),
        see(
            "-tnpo",
            TcpState.FIN_WAIT2,
            filter_=only(group.direction, group.port),
            mptcp=mptcp,
        ),
    )


DETECTOR = Detector(
    name=NAME,
    about="peers never close; a process still holds the sockets",
    title=Text("Peers never close their side", "对端一直不关闭连接"),
    actor=Text("The peers", "对端"),
    state=TcpState.FIN_WAIT2,
    thresholds=Thresholds,
    find=find,
    needs=("settings",),
    fault="does_not_end",
    caused_by=(("other_end", "does_not_close"), ("other_end", "does_not_accept")),
    rule=Rule(
        summary="sockets are stuck in FIN_WAIT2",
        explanation=(
            "An application has shut down its sending side and keeps the socket; its peer does "
            "not close. tcp_fin_timeout does not end what a process still holds."
        ),
    ),
)
