"""Unsent data: the peers' windows are closed, because their applications do not read.

The kernel probes a closed window (timer 4) and counts probes without an answer; at 0 the peer
acknowledges each of them, so neither it nor the network is dead (net/ipv4/tcp_timer.c,
tcp_probe_timer(); net/ipv4/tcp_input.c, tcp_ack_probe()).

Judged by number, and where this host has made the connections, by share: 4 of 4 to a message broker
are an outage. One or two are only noted: a log server that hangs looks like a backup whose receiver
has paused. Of accepted connections a few are no news: a stopped download, a terminal at ^S.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sockmon.detect import evidence
from sockmon.detect.commands import only, see, ss
from sockmon.detect.detector import (
    Count,
    Counted,
    Detector,
    DetectorThresholds,
    Judged,
    Rule,
    Seconds,
    counts,
    severity,
    threshold,
)
from sockmon.detect.evidence import inodes, places, who
from sockmon.detect.lasting import LastingGroup, judge_lasting
from sockmon.durations import roughly
from sockmon.language import Text
from sockmon.model.detector_input import DetectorInput
from sockmon.model.direction import Direction
from sockmon.model.finding import (
    Advice,
    Breakdown,
    Command,
    Finding,
    FindingKey,
    Quantity,
    Subject,
)
from sockmon.model.other_end import other_end
from sockmon.model.owner import Group
from sockmon.model.queues import unsent
from sockmon.model.states import TcpState

NAME = "unsent_data"

_OUTAGE_SOCKETS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds(DetectorThresholds):
    """How many connections of one group may hold data that the peer does not take, how long."""

    stalled_after: Seconds = threshold(60.0, "the peer has taken nothing for this long")
    warning_sockets: Count = threshold(10, "in one group")
    critical_sockets: Count = threshold(100, "in one group")
    few_stalled_after: Seconds = threshold(
        120.0, "as long for few outbound connections, if they are at least half of the group's"
    )


class _Stalled(NamedTuple):
    """A group whose peers do not read. total: of few, how many the group has in all."""

    its: LastingGroup
    total: int | None = None
    is_note: bool = False


def find(data: DetectorInput, thresholds: Thresholds) -> Iterator[Finding]:
    """Yield a finding for each group with enough connections whose peers do not read."""
    queues, table = data.queues, data.table
    stalled = unsent(queues, table, data.now, thresholds.stalled_after)
    rows, since = queues.rows[stalled], queues.unsent_since[stalled]
    most = thresholds.warning_sockets, thresholds.critical_sockets
    many = [_Stalled(its) for its in judge_lasting(data, NAME, rows, since, *most)]
    is_seen = np.zeros(len(table), np.bool_)
    for each in many:
        is_seen[each.its.rows] = True
    few = unsent(queues, table, data.now, thresholds.few_stalled_after)
    few = few[~is_seen[queues.rows[few]]]
    for each in (*many, *_few(data, thresholds, few)):
        its, group, part = each.its, each.its.group, each.its.rows
        waiting = int(table.send_queue[part].astype(np.int64).sum())
        readers = _readers_here(data, part)
        found = its.finding(
            _summary(data, its, each.total, readers),
            _evidence(data, part, its.longest, waiting) | evidence.ports(data, group, part),
            _advice(data, group, part, evidence.holder(data.owners.get(group))),
            ((readers, inodes(table, _there(data, part))),) if readers else (),
        )
        yield replace(found, note=each.is_note)


def _few(
    data: DetectorInput, thresholds: Thresholds, places: NDArray[np.intp]
) -> Iterator[_Stalled]:
    """Yield the groups of few outbound connections that are at least half of all of their group."""
    queues, least = data.queues, min(_OUTAGE_SOCKETS, thresholds.warning_sockets)
    rows = queues.rows[places]
    began = dict(zip(rows.tolist(), queues.unsent_since[places].tolist(), strict=True))
    open_ = np.flatnonzero(data.table.state == TcpState.ESTABLISHED)
    for group, part in data.groups(rows[~data.directions.is_inbound[rows]]):
        total = int(data.belonging(open_, group, part).size)
        if 2 * part.size < total:
            continue
        subject = Subject(group.direction, group.port, data.owner_label(group))
        key = FindingKey(NAME, data.netns, subject)
        judged = severity(data, key, part.size, _OUTAGE_SOCKETS, np.inf)
        its = Judged(group, part, subject, key, judged or "warning")
        yield _Stalled(LastingGroup.of(data, its, began, least), total, is_note=judged is None)


def _summary(
    data: DetectorInput, its: LastingGroup, total: int | None, readers: Group | None
) -> Text:
    rows, group, longest = its.rows, its.group, roughly(its.longest)
    holder, where = who(data.owners.get(group)), places(data, group, rows)
    waiting = evidence.waiting(data.table, rows, data.table.send_queue)
    number = f"{rows.size:,}" if total is None else f"{rows.size} of {total}"
    of_all = f"{rows.size:,} 个" if total is None else f"{total} 个中有 {rows.size} 个"
    peers, does, ago = "peers", "do not read: their windows are", "the longest for "
    if rows.size == 1:
        peers, does, ago = "peer", "does not read: its window is", "for "
    text = Text(
        f"the {peers} of {number} connections {where} {does} closed ({ago}{longest}), and "
        f"{waiting} of {holder} wait",
        f"{where.zh} {of_all}连接，对端已有 {longest} 不读数据：接收窗口关闭，"
        f"{holder.zh} 积压 {waiting.zh} 发不出去",
    )
    if readers:
        they = who(data.owners.get(readers))
        text += Text(f"; the peers are {they} on this host", f"；对端是本机的 {they.zh}")
    return text


def _rows(data: DetectorInput, thresholds: Thresholds) -> NDArray[np.intp]:
    return data.queues.rows[unsent(data.queues, data.table, data.now, thresholds.stalled_after)]


def _readers_here(data: DetectorInput, rows: NDArray[np.intp]) -> Group | None:
    """Return the group of most of the other ends, if they are here and do not read."""
    ends = _there(data, rows)
    ends = ends[data.table.receive_queue[ends] > 0]
    if 2 * ends.size < rows.size:
        return None
    return data.groups(ends)[0][0]


def _there(data: DetectorInput, rows: NDArray[np.intp]) -> NDArray[np.intp]:
    ends = other_end(data.table, rows)
    return ends[ends >= 0]


def _evidence(
    data: DetectorInput, rows: NDArray[np.intp], longest: float, unsent: int
) -> dict[str, Quantity | Breakdown]:
    found: dict[str, Quantity | Breakdown] = {
        "longest": evidence.seconds(longest),
        "unsent": evidence.size(unsent),
        "peers": evidence.peers(data, rows),
    }
    here = _there(data, rows)
    if here.size:
        found["other_ends_on_this_host"] = evidence.sockets(here.size)
    return found


def _advice(
    data: DetectorInput, group: Group, rows: NDArray[np.intp], holder: Text
) -> tuple[Advice, ...]:
    other: Direction = "outbound" if group.direction == "inbound" else "inbound"
    there = ss("-tnpm", TcpState.ESTABLISHED, filter_=only(other, group.port))
    is_here = _there(data, rows).size > 0
    return (
        Advice(
            Text(
                "The peers are alive: they acknowledge each probe. Their applications do not read, "
                "so this is no fault of the network. They must read, or close.",
                "对端活着：每个探测都有确认。是对端的应用不读，不是网络问题。它们必须读取，或者关闭连接。",
            )
        ),
        Advice(
            Text("Look at a peer: its Recv-Q is full.", "到一个对端上查看：它的 Recv-Q 是满的。"),
            Command(there, "namespace" if is_here else "peer"),
            "look",
        ),
        Advice(
            Text(
                f"{holder} should bound how much it keeps for a slow reader and how long it waits "
                "for one (a write time-out, a limit for output buffers, TCP_USER_TIMEOUT), and "
                "then close.",
                f"{holder.zh} 应当限制为慢读者缓存的数据量和等待时间（写超时、输出缓冲上限、"
                "TCP_USER_TIMEOUT），超过就关闭。",
            )
        ),
        see(
            "-tnpom",
            TcpState.ESTABLISHED,
            filter_=only(group.direction, group.port),
            mptcp=bool(data.table.multipath[rows].any()),
        ),
    )


DETECTOR = Detector(
    name=NAME,
    about="peers do not read, and their windows are closed",
    title=Text("Peers do not read", "对端不读取数据"),
    actor=Text("The peers' applications", "对端的应用"),
    state=TcpState.ESTABLISHED,
    thresholds=Thresholds,
    find=find,
    needs_whole_table=True,
    fault="does_not_take",
    caused_by=(("other_end", "does_not_read"), ("other_end", "does_not_close")),
    counted=Counted(
        metric="sockmon_unsent_sockets",
        help="ESTABLISHED sockets whose peers took nothing for stalled_after: closed windows.",
        rows=_rows,
    ),
    rule=Rule(
        summary="peers do not read, and their windows are closed",
        explanation=(
            "Data waits in the send queues of connections whose peers acknowledge probes and take "
            "nothing: their applications do not read."
        ),
        critical=(
            "Not taken: {{ $value | humanize }} connections, {{ $labels.direction }} port "
            "{{ $labels.port }}."
        ),
        expressions=lambda its, of: (None, counts("sockmon_unsent_sockets")(its, of)[1]),
    ),
)
