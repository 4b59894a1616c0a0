"""CLOSE_WAIT leak: an application that never closes what its peers have closed."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Annotated, NamedTuple

import numpy as np
from annotated_types import Le
from numpy.typing import NDArray

from sockmon.detect import evidence
from sockmon.detect.commands import only, processes_named, see, stop
from sockmon.detect.confirm import REMEMBERED_SECONDS
from sockmon.detect.detector import (
    Count,
    Detector,
    DetectorThresholds,
    Does,
    Level,
    Ratio,
    Rule,
    Seconds,
    Series,
    ports_joined,
    several_ports,
    severity,
    threshold,
)
from sockmon.detect.evidence import callers, holder, inodes, percent, place, places, who
from sockmon.detect.idle_pool import IdlePools
from sockmon.durations import precisely, roughly
from sockmon.language import Text, joined
from sockmon.model import close_wait
from sockmon.model.connection_events import Histogram
from sockmon.model.detector_input import DetectorInput
from sockmon.model.finding import (
    Advice,
    Breakdown,
    Deadline,
    Finding,
    FindingKey,
    Quantity,
    Severity,
    Subject,
)
from sockmon.model.growth import growing
from sockmon.model.other_end import other_end
from sockmon.model.owner import UNKNOWN, Group, Owner
from sockmon.model.series import SHARED_BY
from sockmon.model.states import TcpState

NAME = "close_wait_leak"

#: An application that closes within this time works.
_SOON_SECONDS = 1.0

_RUN_OUT = Text("descriptors run out", "文件描述符耗尽")

#: Growth is known from this share of the window on.
_SHARE_SEEN = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds(DetectorThresholds):
    """When CLOSE_WAIT sockets are a leak, and when it is critical."""

    stale_after: Seconds = threshold(
        60.0, "stale: in CLOSE_WAIT for this long, and nothing sent for this long"
    )
    warning_sockets: Count = threshold(10, "stale sockets in one group (direction, port, owner)")
    critical_age: Seconds = threshold(
        600.0, "critical if the number grows and the oldest is older than this"
    )
    growth_window: Annotated[Seconds, Le(REMEMBERED_SECONDS)] = threshold(
        300.0, "growth is measured over this window"
    )
    critical_fd_ratio: Ratio = threshold(
        0.8, "critical if this share of the owner's file descriptors is in use"
    )
    critical_fd_exhaustion: Seconds = threshold(
        3600.0, "critical if the forecast says they run out sooner than this"
    )

    def __post_init__(self) -> None:
        """Refuse an age that would be critical before it is stale; raises ValueError."""
        DetectorThresholds.__post_init__(self)
        if self.stale_after <= 0 or self.growth_window <= 0:
            raise ValueError("stale_after and growth_window must be more than nothing")
        if self.stale_after > self.critical_age:
            raise ValueError("stale_after is longer than critical_age")


class _Leak(NamedTuple):
    """Sockets that are judged as one; pool: they may be a client's idle connections."""

    group: Group
    rows: NDArray[np.intp]
    enough: bool
    pool: bool = False


def find(data: DetectorInput, thresholds: Thresholds) -> Iterator[Finding]:
    """Yield a finding for each group with enough stale sockets, and notes about what is none."""
    since = dict(zip(data.aged.rows.tolist(), data.aged.since.tolist(), strict=True))
    stale = close_wait.stale(data.aged, data.table, data.now, thresholds.stale_after)
    found: set[FindingKey] = set()
    leaks = _leaks(IdlePools.of(data), thresholds, data.aged.rows[stale.leaked])
    relays = {
        leak.group.owner for leak in leaks if leak.enough and leak.group.direction == "inbound"
    }
    awaited = [*ports_joined(data.groups(data.aged.rows[stale.answer_due]))]
    leaks += [
        _Leak(group, rows, enough=True)
        for group, rows in awaited
        if _enough(data, thresholds, group, int(rows.size)) and _only_relayed(data, rows, relays)
    ]
    for leak in leaks:
        if leak.enough:
            oldest = data.now - min(since[row] for row in leak.rows.tolist())
            finding = _judge(data, thresholds, leak, oldest)
            found.add(finding.key)
            yield finding
    for group, rows in awaited:
        if rows.size >= thresholds.warning_sockets and _key(data, group) not in found:
            longest = data.now - min(since[row] for row in rows.tolist())
            yield _awaited(data, thresholds, group, rows, longest)


def stale_groups(
    data: DetectorInput, thresholds: Thresholds
) -> list[tuple[Group, NDArray[np.intp]]]:
    """Return the stale sockets by group, largest first; port None: one of several ports each.

    No port that a client or a server took for one connection is a group.
    """
    stale = close_wait.stale(data.aged, data.table, data.now, thresholds.stale_after)
    pools = IdlePools.of(data)
    leaks = _leaks(pools, thresholds, data.aged.rows[stale.leaked])
    groups: dict[Group, list[NDArray[np.intp]]] = {}
    for leak in leaks:
        group, port = leak.group, leak.group.port
        if leak.pool or (not leak.enough and _pool(pools, thresholds, group, leak.rows)):
            continue
        passing = port is not None and not leak.enough and _passing(data, port, leak.rows)
        groups.setdefault(several_ports(group) if passing else group, []).append(leak.rows)
    joined = [(group, np.concatenate(parts)) for group, parts in groups.items()]
    return sorted(joined, key=lambda item: -item[1].size)


def _leaks(pools: IdlePools, thresholds: Thresholds, rows: NDArray[np.intp]) -> list[_Leak]:
    """Divide the rows by port and owner, and what is too little of a port by owner only."""
    data = pools.data
    leaks, large = list[_Leak](), list[tuple[Group, NDArray[np.intp]]]()
    small = dict[Group, list[tuple[Group, NDArray[np.intp]]]]()
    for group, part in data.groups(rows):
        if _enough(data, thresholds, group, int(part.size)):
            large.append((group, part))
        else:
            small.setdefault(several_ports(group), []).append((group, part))
    for group, part in ports_joined(large):
        # One of several ports has those too on which there is too little for a finding.
        few = small.pop(group, []) if group.port is None else []
        its = np.concatenate([part, *(rows for _, rows in few)])
        pool = _pool(pools, thresholds, group, its)
        leaks.append(_Leak(group, its, enough=True, pool=pool))
    for many, groups in small.items():
        leaked = [pools.left_by(group, part) for group, part in groups]
        lost = np.concatenate(leaked)
        if len(groups) > 1 and _enough(data, thresholds, many, int(lost.size)):
            leaks.append(_Leak(many, lost, enough=True))
        else:
            lost = lost[:0]
        for group, part in groups:
            kept = part[~np.isin(part, lost)]
            leaks += [_Leak(group, kept, enough=False)] * bool(kept.size)
    return leaks


def _only_relayed(data: DetectorInput, rows: NDArray[np.intp], relays: set[int]) -> bool:
    """Whether those who wait for an answer are relays whose own clients have gone.

    A relay that keeps half-closed connections, as docker-proxy does, waits without end.
    """
    ends = other_end(data.table, rows)
    owners = data.owners.numbers(data.table, ends[ends >= 0])
    return 2 * int(np.isin(owners, list(relays - {UNKNOWN})).sum()) > rows.size


def _key(data: DetectorInput, group: Group) -> FindingKey:
    subject = Subject(group.direction, group.port, data.owner_label(group))
    return FindingKey(NAME, data.netns, subject)


def _enough(data: DetectorInput, thresholds: Thresholds, group: Group, sockets: int) -> bool:
    warning = thresholds.warning_sockets
    return severity(data, _key(data, group), sockets, warning, np.inf) is not None


def _pool(pools: IdlePools, thresholds: Thresholds, group: Group, rows: NDArray[np.intp]) -> bool:
    data, key = pools.data, _key(pools.data, group)

    def growth() -> float | None:
        return _growth(data, key, int(rows.size), thresholds.growth_window)

    return pools.may_have(group, rows, data.past.get(key), growth)


def _passing(data: DetectorInput, port: int, rows: NDArray[np.intp]) -> bool:
    """Whether a port was used for a connection or two, as a client's and FTP's data ports are."""
    return rows.size < SHARED_BY and bool(data.unnamed()[port])


def _judge(data: DetectorInput, thresholds: Thresholds, leak: _Leak, oldest: float) -> Finding:
    group, rows = leak.group, leak.rows
    owner, key, sockets = data.owners.get(group), _key(data, group), int(rows.size)
    growth = _growth(data, key, sockets, thresholds.growth_window)
    fullest = _fullest(owner)
    seconds_left = _seconds_left(fullest)
    reasons = []
    if seconds_left is not None and seconds_left < thresholds.critical_fd_exhaustion:
        left = roughly(seconds_left)
        reasons.append(Text(f"its descriptors run out in about {left}", f"fd 约 {left} 后耗尽"))
    if fullest and fullest[0] >= thresholds.critical_fd_ratio * fullest[1]:
        used = percent(fullest[0] / fullest[1])
        reasons.append(Text(f"{used} of its descriptors are in use", f"fd 已使用 {used}"))
    if growth and oldest > thresholds.critical_age:
        reasons.append(
            Text(
                f"it still grows, and the oldest is {roughly(oldest)} old",
                f"数量仍在增长，最久的已有 {roughly(oldest)}",
            )
        )
    judged: Severity = "critical" if reasons else "warning"
    where, name = places(data, group, rows), who(owner)
    return Finding(
        detector=NAME,
        severity=judged,
        netns=data.netns,
        subject=key.subject,
        value=sockets,
        limit=thresholds.warning_sockets,
        summary=(
            Text(
                f"{name} keeps {sockets:,} connections that its peers have closed ({where}; the "
                f"oldest {roughly(oldest)} ago): a pool at rest, no harm unless it grows. Make its "
                "idle timeout shorter than the servers'",
                f"{name.zh} 保留着 {sockets:,} 个对端已关闭的连接（{where.zh}连接，最早的在 "
                f"{roughly(oldest)} 前关闭）：这是空闲的连接池，数量不增长就无害。把连接池的空闲"
                "超时"
                "设得比服务端短即可",
            )
            if leak.pool
            else Text(
                f"{name} has not closed {sockets:,} connections that its peers have closed "
                f"({where}; the oldest {roughly(oldest)} ago)",
                f"{name.zh} 有 {sockets:,} 个连接在对端关闭后没有 close()（{where.zh}连接，最早的在"
                f" {roughly(oldest)} 前关闭）",
            )
        ),
        evidence=_evidence(data, group, rows, oldest, growth) | evidence.ports(data, group, rows),
        advice=_advice(
            *(data, group, rows, owner),
            is_urgent=growth != 0 or bool(reasons),
            stale_after=thresholds.stale_after,
        ),
        critical_because=joined(reasons, "; ", "；") if reasons else None,
        deadline=None if seconds_left is None else Deadline(_RUN_OUT, seconds_left),
        note=leak.pool,
        group=group,
        inodes=inodes(data.table, rows),
        rows=rows,
        others=callers(data, rows),
    )


def _awaited(
    data: DetectorInput,
    thresholds: Thresholds,
    group: Group,
    rows: NDArray[np.intp],
    longest: float,
) -> Finding:
    """Note a half-close in use: the other ends, on this host, wait for an answer."""
    name, where = who(data.owners.get(group)), place(group)
    return Finding(
        detector=NAME,
        severity="warning",
        netns=data.netns,
        subject=_key(data, group).subject,
        value=int(rows.size),
        limit=thresholds.warning_sockets,
        summary=Text(
            f"{rows.size:,} clients on this host have sent all they want to send and wait for "
            f"{name} to answer ({where}; the longest for {roughly(longest)}): no leak",
            f"本机有 {rows.size:,} 个客户端已发完请求（半关闭），正在等 {name.zh} 应答（{where.zh}"
            "连接，"
            f"最久的等了 {roughly(longest)}）：不是泄漏",
        ),
        evidence={},
        advice=(),
        note=True,
        group=group,
        inodes=inodes(data.table, rows),
        others=callers(data, rows),
    )


def _growth(data: DetectorInput, key: FindingKey, sockets: int, window: float) -> float | None:
    """Sockets per second over the window; None until a fifth of it has been seen.

    A burst becomes stale within seconds, and would look like growth without end. What has levelled
    off in the last minute grows no more.
    """
    previous = data.past.get(key)
    if previous is None:
        return None
    return growing((*previous.samples, (data.now, sockets)), data.now, window, _SHARE_SEEN * window)


def _fullest(owner: Owner | None) -> tuple[int, int, float | None] | None:
    """Descriptors used, their limit and growth, of the process nearest to its limit."""
    uses = [
        (process.fds, process.fd_limit, process.growth)
        for process in (owner.processes if owner else ())
        if process.fds is not None and process.fd_limit
    ]
    return max(uses, key=lambda use: use[0] / use[1]) if uses else None


def _seconds_left(fullest: tuple[int, int, float | None] | None) -> float | None:
    """Seconds until that process has no descriptor left, by its own growth."""
    if fullest is None or not fullest[2]:
        return None
    return max(0.0, fullest[1] - fullest[0]) / fullest[2]


def _closed(data: DetectorInput, group: Group) -> Histogram | None:
    """How long others of its port took to close in the last minutes, where that is counted."""
    if data.events is None or group.port is None:
        return None
    counts = data.events.ports.get((group.direction, group.port))
    return None if counts is None else counts.histogram("close_wait")


def _evidence(
    data: DetectorInput,
    group: Group,
    rows: NDArray[np.intp],
    oldest: float,
    growth: float | None,
) -> dict[str, Quantity | Breakdown]:
    found: dict[str, Quantity | Breakdown] = {
        "oldest": evidence.seconds(oldest),
        "unread": evidence.size(close_wait.unread_bytes(data.table, rows).sum()),
        "not_read_to_the_end": evidence.sockets(_not_read(data, rows)),
        "peers": evidence.peers(data, rows),
    }
    shared = data.owners.shared(data.table.inode[rows])
    if shared:
        found["held_by_several_processes"] = evidence.sockets(shared)
    buffers = close_wait.unread_buffers(data.table, rows)
    if buffers:
        found["buffers_of_unread_mptcp_data"] = evidence.size(buffers)
    if growth is not None:
        found["growth"] = Quantity(round(growth * 60, 2), "per_minute")
    closed = _closed(data, group)
    if closed is not None:
        found["others_closed_lately"] = evidence.count(closed.count)
    return found


def _not_read(data: DetectorInput, rows: NDArray[np.intp]) -> int:
    return int((data.table.receive_queue[rows] > 0).sum())


def _advice(
    data: DetectorInput,
    group: Group,
    rows: NDArray[np.intp],
    owner: Owner | None,
    *,
    is_urgent: bool,
    stale_after: float,
) -> tuple[Advice, ...]:
    not_read = _not_read(data, rows)
    unread = close_wait.unread_bytes(data.table, rows)
    if not_read and group.direction == "outbound" and not unread.any():
        bug = Text(
            "Nothing is unread but the end of file: they were idle when their peers closed them. "
            "Look for clients or pools that are made anew and never closed, for a pool that does "
            "not test its idle connections, or for a response that is never closed.",
            "除 EOF 外没有未读数据：对端关闭时这些连接处于空闲。查找反复新建却从不关闭的客户端对"
            "象或连接池、不检查空闲连接的连接池，或没有关闭的 response。",
        )
    elif not_read:
        bug = Text(
            f"{not_read:,} of them were not read to the end of file: look for a handler that is "
            "stuck, or that forgets its connection on an error path.",
            f"其中 {not_read:,} 个没有读到 EOF：查找卡住的处理线程，或在异常分支里忘记关闭连接的代"
            "码。",
        )
    else:
        bug = Text(
            "All were read to the end of file and kept: look for a connection pool or a cache "
            "that never evicts, or a response that is never closed.",
            "全部都已读到 EOF 却没有关闭：查找从不淘汰连接的连接池或缓存，或没有关闭的 response。",
        )
    closed = _closed(data, group)
    if data.events is not None and closed is not None and closed.count:
        lately, many = roughly(data.events.seconds), f"{closed.count:,}"
        half = closed.quantile_bound(0.5)
        soon = Text("", "")
        if half <= _SOON_SECONDS:
            within = precisely(round(half * 1e9))
            soon = Text(f", half of them within {within}", f"，半数在 {within} 内")
        bug += Text(
            f" In the last {lately}, {many} others of this port were closed after their peers had"
            f"{soon}: the bug is on one path of the code, not on all.",
            f"最近 {lately} 内，该端口另有 {many} 个连接在对端关闭后正常关闭{soon.zh}："
            "问题只在某一条代码路径上。",
        )
        late = closed.above(stale_after)
        if late:
            bug += Text(
                f" {late:,} of those took more than {roughly(stale_after)}: some of these may be "
                "closed as well, late.",
                f"其中 {late:,} 个超过 {roughly(stale_after)} 才关闭：剩下的也可能只是关得晚。",
            )
    until = Text(
        "the kernel keeps CLOSE_WAIT until then.", "CLOSE_WAIT 没有超时，内核不会替应用回收。"
    )
    multipath = int(data.table.multipath[rows].sum())
    if multipath:
        until = Text(
            f"{multipath} are MPTCP connections, which their peers reset about a minute after "
            "closing them (net.mptcp.close_timeout); from then on no table lists them, but their "
            "descriptors stay in use.",
            f"其中 {multipath} 个是 MPTCP 连接，对端关闭约一分钟后会发 RST"
            "（net.mptcp.close_timeout）；之后任何表里都看不到它们，但 fd 仍被占用。",
        )
    filter_ = only(group.direction, group.port)
    shared = data.owners.shared(data.table.inode[rows])
    if shared:
        bug += Text(
            f" {shared} are held by several processes, such as a parent and its children: the "
            "kernel keeps a socket until all of them have closed it.",
            f"有 {shared} 个由多个进程共同持有（例如父进程和子进程）：要全部进程都关闭，内核才会"
            "释放。",
        )
    name = holder(owner)
    end = stop(data.owners, owner, data.table.inode[rows])
    first, last = (end,), tuple[Advice, ...]()
    if not is_urgent and owner is not None and (owner.unit or owner.processes):
        first, last = (_no_hurry(owner),), (replace(end, purpose="fix"),)
    return (
        *first,
        Advice(
            Text(
                f"{name} must close these sockets: {until} {bug}",
                f"{name.zh} 必须自己 close() 这些 socket：{until.zh}{bug.zh}",
            )
        ),
        *last,
        see("-tnpo", TcpState.CLOSE_WAIT, filter_=filter_, mptcp=multipath > 0),
    )


def _no_hurry(owner: Owner) -> Advice:
    name = who(owner) if owner.unit else processes_named(owner.processes, owner.more)
    return Advice(
        Text(
            "The number does not grow: there is time. Take a stack trace first (gdb, jstack, "
            f"py-spy, a goroutine dump), which shows the bug. Restart {name} only after that.",
            "数量没有增长，不必着急。先抓线程栈（gdb、jstack、py-spy、goroutine dump）查根因，"
            f"然后再重启 {name.zh}。",
        ),
        purpose="stop",
    )


def _expressions(thresholds: Thresholds, of: Series) -> tuple[str, None]:
    return f"{of('sockmon_close_wait_stale_sockets')} >= {thresholds.warning_sockets}", None


def _levels(thresholds: Thresholds) -> dict[str, Level]:
    return {
        "sockmon_close_wait_stale_sockets": (thresholds.warning_sockets, None),
        "sockmon_close_wait_oldest_seconds": (thresholds.stale_after, thresholds.critical_age),
    }


DETECTOR = Detector(
    name=NAME,
    about="an application does not close connections that its peers have closed",
    title=Text("An application does not close its connections", "应用没有关闭连接"),
    actor=Text("The application here", "本机应用"),
    does=Does(Text("leaks connections", "没有关闭连接"), Text("leak connections", "没有关闭连接")),
    state=TcpState.CLOSE_WAIT,
    thresholds=Thresholds,
    find=find,
    fault="does_not_close",
    # A relay that has passed on the end of what its clients sent, and waits for the other side's.
    caused_by=(("other_side", "does_not_end"),),
    levels=_levels,
    rule=Rule(
        summary="an application leaks CLOSE_WAIT sockets",
        explanation=(
            "It never closes connections that its peers have closed. The kernel keeps them until "
            "it does: the application must close them before it runs out of file descriptors."
        ),
        warning=(
            "Stale: {{ $value | humanize }} sockets of {{ $labels.owner }}, "
            "{{ $labels.direction }} port {{ $labels.port }}."
        ),
        expressions=_expressions,
    ),
)
