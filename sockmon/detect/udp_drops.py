"""UDP drops: datagrams arrive faster than their application reads them, or it does not read at all.

The kernel drops a datagram when the socket's receive buffer is full, and tells nobody
(net/core/sock.c, sock_queue_rcv_skb_reason(); counted in sk_drops).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sockmon.detect import evidence
from sockmon.detect.commands import restart
from sockmon.detect.detector import (
    Count,
    Detector,
    DetectorThresholds,
    Does,
    Rule,
    Seconds,
    severity,
    threshold,
)
from sockmon.detect.evidence import holder, inodes, shown_size, who
from sockmon.durations import roughly
from sockmon.language import Text
from sockmon.model.detector_input import DetectorInput
from sockmon.model.finding import (
    Advice,
    Breakdown,
    Command,
    Finding,
    FindingKey,
    Quantity,
    Subject,
)
from sockmon.model.owner import Group, Owner
from sockmon.model.table import SocketTable

NAME = "udp_drops"

#: Polls that must see drops, if the last one does.
_POLLS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds(DetectorThresholds):
    """How many datagrams may be dropped at one port, and how long a queue may stand still."""

    warning_datagrams: Count = threshold(10, "dropped at one port in the last 5 minutes")
    critical_datagrams: Count = threshold(1000, "dropped at one port in the last 5 minutes")
    stalled_after: Seconds = threshold(
        10.0, "nothing was read for this long, and drops are counted"
    )


def find(data: DetectorInput, thresholds: Thresholds) -> Iterator[Finding]:
    """Yield a finding for each local port that drops datagrams."""
    table = data.udp_table
    if table is None:
        return
    queues, window = data.udp.queues, data.udp.window
    watched = data.now - (data.now if window.began is None else window.began)
    still = queues.rows[data.now - queues.since >= min(thresholds.stalled_after, watched)]
    still = still[table.drops[still] > 0] if watched and data.udp.has_overflowed() else still[:0]
    dropped = dict.fromkeys(sorted(set(table.local_port[still].tolist())), 0)
    for _, ports in window.polls:
        for port, datagrams in ports.items():
            dropped[port] = dropped.get(port, 0) + datagrams
    for port in sorted(dropped, key=lambda port: -dropped[port]):
        finding = _judge(data, thresholds, table, port, still[table.local_port[still] == port])
        if finding is not None:
            yield finding


def _judge(
    data: DetectorInput,
    thresholds: Thresholds,
    table: SocketTable,
    port: int,
    still: NDArray[np.intp],
) -> Finding | None:
    recent = data.udp.window.at(port, data.now)
    goes_on = recent.polls >= _POLLS and data.udp.window.latest(port, data.now) > 0
    often = recent.connections >= thresholds.warning_datagrams and (recent.recur or goes_on)
    if not (often or still.size):
        return None
    rows = still if still.size else np.flatnonzero((table.local_port == port) & (table.drops > 0))
    if not rows.size:  # what has dropped them is closed
        return None
    # A port can have several sockets, of several services: at other addresses, or SO_REUSEPORT.
    worst = rows[[np.argmax(table.drops[rows])]]
    group = Group("inbound", port, int(data.owners.numbers(table, worst)[0]))
    rows = rows[data.owners.numbers(table, rows) == group.owner]
    owner = data.owners.get(group)
    subject = Subject("inbound", port, data.owner_label(group))
    # A queue that nobody reads is trouble however little was dropped.
    value = max(recent.connections, thresholds.warning_datagrams)
    judged = severity(
        data,
        FindingKey(NAME, data.netns, subject),
        value,
        thresholds.warning_datagrams,
        thresholds.critical_datagrams,
    )
    assert judged is not None
    unread = int(table.receive_queue[rows].astype(np.int64).sum())
    total, name = int(table.drops[rows].sum()), who(owner)
    # A queue that is full at each poll may be read from in between, too slowly.
    of_port = np.flatnonzero(table.local_port == port)
    shared = int((data.owners.numbers(table, of_port) == group.owner).sum())
    some, some_zh = "", ""
    if still.size and rows.size < shared:
        some = f"{rows.size:,} of {shared} sockets of "
        some_zh = f"的 {shared} 个 socket 中的 {rows.size:,} 个"
    lately = thresholds.stalled_after
    slow = bool(still.size) and goes_on and data.udp.is_read(data.now, lately)
    if slow:
        summary = Text(
            f"{name} does not read {some}UDP port {port}, or too slowly: its queue is full "
            f"({shown_size(unread)}), and {total:,} datagrams were dropped",
            f"{name.zh} 不读 UDP 端口 {port}{some_zh}，或读得太慢：接收队列已满"
            f"（{shown_size(unread)}），已丢弃 {total:,} 个数据报",
        )
    elif still.size:
        summary = Text(
            f"{name} does not read {some}UDP port {port}: {shown_size(unread)} wait, and "
            f"{total:,} datagrams were dropped",
            f"{name.zh} 不读 UDP 端口 {port}{some_zh}：积压 {shown_size(unread)}，已丢弃 "
            f"{total:,} 个数据报",
        )
    else:
        summary = Text(
            f"UDP port {port} of {name} dropped {recent.connections:,} datagrams in the last "
            f"{roughly(recent.seconds)}",
            f"{name.zh} 的 UDP 端口 {port} 最近 {roughly(recent.seconds)} 内丢弃了 "
            f"{recent.connections:,} 个数据报",
        )
    return Finding(
        detector=NAME,
        severity=judged,
        netns=data.netns,
        subject=subject,
        value=value,
        limit=thresholds.warning_datagrams,
        summary=summary,
        evidence=_evidence(unread, total, recent.connections, recent.polls),
        advice=_advice(port, owner, is_still=bool(still.size) and not slow, is_slow=slow),
        group=group,
        inodes=inodes(table, rows),
    )


def _evidence(unread: int, total: int, recent: int, polls: int) -> dict[str, Quantity | Breakdown]:
    return {
        "unread": evidence.size(unread),
        "dropped_in_the_window": evidence.count(recent),
        "polls_with_drops": evidence.count(polls),
        "dropped_since_the_socket_was_made": evidence.count(total),
    }


def _advice(port: int, owner: Owner | None, *, is_still: bool, is_slow: bool) -> tuple[Advice, ...]:
    """is_still: nobody reads it; is_slow: it is not known whether anybody does."""
    name = holder(owner)
    doubt = Advice(
        Text(
            f"Does {name} read at all? Look twice at what it does, some seconds apart (top, a "
            "stack trace): if it only waits, it is stuck. This counts what is read, and dropped:",
            f"{name.zh} 到底读不读？隔几秒看两次它在做什么（top、线程栈）：一直在等待就是"
            "卡住了。这里统计读走的和丢弃的总数：",
        ),
        Command("nstat UdpInDatagrams UdpRcvbufErrors Udp6InDatagrams Udp6RcvbufErrors"),
        "look",
    )
    stuck = (
        restart(owner),
        Advice(
            Text(
                f"{name} does not read this socket: it is stuck, or has forgotten it. A stack "
                "trace of it says which.",
                f"{name.zh} 不读这个 socket：进程卡住，或忘记了它。抓一份线程栈就能区分。",
            )
        ),
    )
    slow = (
        Advice(
            Text(
                "Datagrams come faster than they are read, perhaps in bursts. Read in larger "
                "batches (recvmmsg) or with more threads (SO_REUSEPORT); for bursts, ask for a "
                "larger buffer (SO_RCVBUF, up to net.core.rmem_max).",
                "数据报到达比读取快，可能是突发。批量读取（recvmmsg）或增加线程（SO_REUSEPORT）；突发则调大"
                "接收缓冲区（SO_RCVBUF，上限 net.core.rmem_max）。",
            ),
            Command("sysctl net.core.rmem_max net.core.rmem_default"),
        ),
    )
    return (
        *((doubt,) if is_slow else ()),
        *(stuck if is_still else slow),
        Advice(
            Text(
                "See the queue (r), its limit (rb) and the drops (d) in skmem:",
                "查看 skmem 里的队列（r）、上限（rb）和丢弃数（d）：",
            ),
            Command(f"ss -unlpm '( sport = :{port} )'"),
            "look",
        ),
        Advice(
            Text("How many in all?", "总共丢了多少？"),
            Command("nstat -az UdpRcvbufErrors UdpInErrors"),
            "look",
        ),
    )


DETECTOR = Detector(
    name=NAME,
    about="datagrams are dropped because nobody reads them in time",
    title=Text("Datagrams are dropped", "UDP 数据报被丢弃"),
    actor=Text("The application here", "本机应用"),
    does=Does(
        Text("loses datagrams", "正在丢失 UDP 数据报"),
        Text("lose datagrams", "正在丢失 UDP 数据报"),
    ),
    thresholds=Thresholds,
    find=find,
    of_udp=True,
    rule=Rule(
        summary="UDP datagrams are dropped",
        explanation=(
            "The receive buffer of a UDP socket is full when datagrams arrive: the application "
            "does not read, or not fast enough."
        ),
    ),
)
