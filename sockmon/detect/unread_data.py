"""Unread data: an application has accepted connections and does not read what came in on them.

The receive queue of an ESTABLISHED socket holds data and has not become shorter for long. In
CLOSE_WAIT the same is a leak; before accept() it is the accept queue that is not emptied.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sockmon.detect import evidence
from sockmon.detect.accepting import others_served, serving_others
from sockmon.detect.commands import only, restart, see, stop
from sockmon.detect.detector import (
    Count,
    Counted,
    Detector,
    DetectorThresholds,
    Does,
    Rule,
    Seconds,
    counts,
    threshold,
)
from sockmon.detect.evidence import callers, holder, places, who
from sockmon.detect.lasting import judge_lasting
from sockmon.durations import roughly
from sockmon.language import Text
from sockmon.model.detector_input import DetectorInput
from sockmon.model.finding import Advice, Finding, Quantity
from sockmon.model.owner import Group, Owner
from sockmon.model.queues import unread
from sockmon.model.states import TcpState
from sockmon.model.table import SocketTable

NAME = "unread_data"


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds(DetectorThresholds):
    """How many connections of one group may hold unread data for how long."""

    stalled_after: Seconds = threshold(60.0, "nothing was read from a connection for this long")
    warning_sockets: Count = threshold(10, "in one group")
    critical_sockets: Count = threshold(100, "in one group")


def find(data: DetectorInput, thresholds: Thresholds) -> Iterator[Finding]:
    """Yield a finding for each group with enough connections that nobody reads."""
    queues, table = data.queues, data.table
    stalled = unread(queues, table, data.now, thresholds.stalled_after)
    rows, since = queues.rows[stalled], queues.unread_since[stalled]
    most = thresholds.warning_sockets, thresholds.critical_sockets
    for its in judge_lasting(data, NAME, rows, since, *most):
        group, part, owner = its.group, its.rows, data.owners.get(its.group)
        waiting = evidence.waiting(table, part, table.receive_queue)
        end = stop(data.owners, owner, table.inode[part])
        serving = serving_others(data, group, part) if end == restart(owner) else 0
        yield its.finding(
            _summary(
                *(who(owner), places(data, group, part), int(part.size), its.longest, waiting),
                serving=serving,
            ),
            {
                "longest": evidence.seconds(its.longest),
                **_unread(table, part),
                "connections_of_the_group": evidence.sockets(_of_group(data, group, part).size),
                **evidence.ports(data, group, part),
                "peers": evidence.peers(data, part),
            },
            _advice(group, owner, end, mptcp=bool(table.multipath[part].any()), serving=serving),
            callers(data, part),
        )


def _summary(
    name: Text, where: Text, sockets: int, longest: float, waiting: Text, *, serving: int
) -> Text:
    text = Text(
        f"{name} has not read from {sockets} connections {where} for {roughly(longest)}: "
        f"{waiting} wait",
        f"{name.zh} 已有 {roughly(longest)} 没有读取 {where.zh} {sockets} 个连接："
        f"积压 {waiting.zh}",
    )
    return text + others_served(serving) if serving else text


def _unread(table: SocketTable, rows: NDArray[np.intp]) -> dict[str, Quantity]:
    """Return the bytes, and of MPTCP connections the memory that holds them."""
    multipath = table.multipath[rows]
    sizes = table.receive_queue[rows].astype(np.int64)
    found = {"unread": evidence.size(sizes[~multipath].sum())}
    if multipath.any():
        found["buffers_of_unread_mptcp_data"] = evidence.size(sizes[multipath].sum())
    return found


def _rows(data: DetectorInput, thresholds: Thresholds) -> NDArray[np.intp]:
    return data.queues.rows[unread(data.queues, data.table, data.now, thresholds.stalled_after)]


def _of_group(data: DetectorInput, group: Group, some: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return the rows of all established connections of the group, of which `some` are given."""
    is_open = np.flatnonzero(data.table.state == TcpState.ESTABLISHED)
    return data.belonging(is_open, group, some)


def _advice(
    group: Group, owner: Owner | None, end: Advice, *, mptcp: bool, serving: int
) -> tuple[Advice, ...]:
    filter_, name = only(group.direction, group.port), holder(owner)
    first, last = (end,), tuple[Advice, ...]()
    if serving:
        first, last = (_alive(name, serving),), (replace(end, purpose="fix"),)
    return (
        *first,
        Advice(
            Text(
                f"{name} has these connections and does not read: its workers are stuck (a "
                "deadlock, a full thread pool, a call without a time-out), or it waits for "
                "something else: a slow consumer behind it, or a rate limit of its own (curl "
                "--limit-rate), which is no trouble. A stack trace of it says which (gdb, jstack, "
                "py-spy, a goroutine dump).",
                f"{name.zh} 持有这些连接却不读：工作线程卡住（死锁、线程池满、调用没有超时），或"
                "在等别的东西，"
                "例如后面的慢消费者；也可能是它自己限速（curl --limit-rate），那就没有问题。抓一份"
                "线程栈就能区分（gdb、jstack、py-spy、goroutine dump）。",
            )
        ),
        *last,
        see("-tnpom", TcpState.ESTABLISHED, filter_=filter_, mptcp=mptcp),
    )


def _alive(name: Text, serving: int) -> Advice:
    return Advice(
        Text(
            f"Do not restart {name} before you have looked: it is alive, and has just sent data on "
            f"{serving} others of these connections, which a restart ends. Either it holds these "
            "back on purpose (a broker at its memory or disk limit, flow control), which its log "
            "says, or only some of its threads are stuck.",
            f"先查看，不要急于重启 {name.zh}：它还活着，刚刚在另外 {serving} 个这样的连接上发送过"
            "数据，重启会中断它们。要么它有意不读这些连接（例如 broker 达到内存或磁盘上限、流控），"
            "日志里会写明；要么只是部分线程卡住。",
        ),
        purpose="stop",
    )


DETECTOR = Detector(
    name=NAME,
    about="an application does not read what came in on its connections",
    title=Text("An application does not read", "应用不读取数据"),
    actor=Text("The application here", "本机应用"),
    does=Does(
        Text("does not read what it is sent", "没有读取收到的数据"),
        Text("do not read what they are sent", "没有读取收到的数据"),
    ),
    state=TcpState.ESTABLISHED,
    thresholds=Thresholds,
    find=find,
    needs_whole_table=True,
    fault="does_not_read",
    caused_by=(("same_process", "does_not_accept"), ("other_side", "does_not_take")),
    counted=Counted(
        metric="sockmon_unread_sockets",
        help="ESTABLISHED sockets that nobody has read from for stalled_after though data waits.",
        rows=_rows,
    ),
    rule=Rule(
        summary="an application does not read from its connections",
        explanation=(
            "Data waits in the receive queues of established connections, and the queues have not "
            "become shorter for a while: the application is stuck."
        ),
        warning=(
            "Not read: {{ $value | humanize }} connections, {{ $labels.direction }} port "
            "{{ $labels.port }}."
        ),
        critical=(
            "Not read: {{ $value | humanize }} connections, {{ $labels.direction }} port "
            "{{ $labels.port }}."
        ),
        expressions=counts("sockmon_unread_sockets"),
    ),
)
