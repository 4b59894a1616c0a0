"""Dead peers: connections whose other end no longer answers data, or keepalive probes.

The retransmission timer counts tries without an answer. So does the zero-window probe, which is
what the kernel falls back to when this host's own link is down; a peer that answers probes, however
long its window stays closed, keeps that count at 0 (net/ipv4/tcp_input.c, tcp_ack()). The keepalive
timer counts probes without an answer (net/ipv4/tcp_timer.c, tcp_keepalive_timer()).

Judged by share and by number: 60 of 3,000 mobile clients that vanish are a normal day, 4 of 4
connections to a database are an outage.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sockmon.detect import evidence
from sockmon.detect.commands import Path, only, see
from sockmon.detect.detector import (
    HYSTERESIS,
    PEERS_OR_NETWORK,
    Count,
    Counted,
    Detector,
    DetectorThresholds,
    Ratio,
    Rule,
    severity,
    threshold,
)
from sockmon.detect.evidence import inodes, places
from sockmon.durations import roughly
from sockmon.language import Text
from sockmon.model.ages import find_cookies, unanswered_seconds
from sockmon.model.detector_input import DetectorInput
from sockmon.model.direction import DIRECTIONS
from sockmon.model.distinct import distinct
from sockmon.model.finding import (
    Advice,
    Breakdown,
    Command,
    Finding,
    FindingKey,
    Quantity,
    Severity,
    Subject,
)
from sockmon.model.owner import UNKNOWN, Group
from sockmon.model.states import TcpState

NAME = "dead_peer"

_RETRANSMIT, _KEEPALIVE, _ZERO_WINDOW_PROBE = 1, 2, 4
#: How long nothing came back is said from so many seconds on: the rest is in the tries.
_WORTH_SAYING_SECONDS = 30.0
_OUTAGE_SOCKETS = 3
_PEERS_NAMED = 2
#: What may not fit a packet of the least MTU of IPv6, with its headers.
_LARGE = 1200
_NO_ROWS = np.empty(0, np.intp)


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds(DetectorThresholds):
    """How many of one group may be without an answer, after how many tries."""

    unanswered_retransmits: Count = threshold(5, "a connection counts after this many")
    unanswered_probes: Count = threshold(3, "or after this many unanswered keepalive probes")
    warning_sockets: Count = threshold(5, "in one group")
    critical_sockets: Count = threshold(50, "in one group")
    least_ratio: Ratio = threshold(0.05, "of the group's connections: less is no trouble")
    outage_ratio: Ratio = threshold(0.5, "of the group's connections: critical from 3 on")


def find(data: DetectorInput, thresholds: Thresholds) -> Iterator[Finding]:
    """Yield a finding for each group with enough connections whose peer does not answer.

    And one a direction for peers that are lost with few connections to each of several ports.
    """
    rows = _unanswered(data, thresholds)
    few = []
    for group, part in data.groups(rows):
        found = _find(data, thresholds, group, part, _of_group(data, group, part).size)
        few += [] if found else [part]
        yield from found
    rest = _of_lost_hosts(data, np.concatenate(few)) if few else _NO_ROWS
    for direction in DIRECTIONS:
        part = rest[data.directions.is_inbound[rest] == (direction == "inbound")]
        if part.size:
            owners = {group.owner for group, _ in data.groups(part)}
            group = Group(direction, None, owners.pop() if len(owners) == 1 else UNKNOWN)
            yield from _find(data, thresholds, group, part, _to_peers(data, part).size)


def _find(
    data: DetectorInput,
    thresholds: Thresholds,
    group: Group,
    rows: NDArray[np.intp],
    total: int,
) -> list[Finding]:
    """Judge these rows, of so many open connections."""
    several = group.port is None and group.owner == UNKNOWN
    owner = None if several else data.owner_label(group)
    subject = Subject(group.direction, group.port, owner)
    key = FindingKey(NAME, data.netns, subject)
    judged = _judge(data, thresholds, key, int(rows.size), total)
    if judged is None:
        return []
    holder = evidence.holder(data.owners.get(group))
    answering = _answering(data, key, group, rows)
    return [
        Finding(
            detector=NAME,
            severity=judged,
            netns=data.netns,
            subject=subject,
            value=int(rows.size),
            limit=thresholds.warning_sockets,
            summary=_summary(data, key, group, rows, total, answering),
            evidence=_evidence(data, key, group, rows),
            advice=_advice(data, group, rows, holder, answering),
            group=None if several else group,
            inodes=inodes(data.table, rows),
            rows=rows,
        )
    ]


def _of_lost_hosts(data: DetectorInput, rows: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return those rows whose peer has lost most of its connections, to several ports each.

    Of clients more ports are asked than a browser uses: mobile ones vanish every day.
    """
    lost = [_NO_ROWS]
    port, inbound = data.directions.port, data.directions.is_inbound
    for part in _by_peer(data, rows):
        for its, least in ((part[~inbound[part]], 2), (part[inbound[part]], 3)):
            several = its.size >= _OUTAGE_SOCKETS and distinct(port[its]).size >= least
            if several and 2 * its.size > _to_peers(data, its).size:
                lost.append(its)
    return np.sort(np.concatenate(lost))


def _to_peers(data: DetectorInput, rows: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return the rows of all open connections, of one direction, with the peers of these."""
    table, is_inbound = data.table, data.directions.is_inbound
    open_ = np.isin(table.state, (TcpState.ESTABLISHED, TcpState.CLOSE_WAIT))
    near = np.flatnonzero(
        open_
        & (is_inbound == is_inbound[rows[0]])
        & np.isin(table.remote[:, 0], table.remote[rows, 0])
        & np.isin(table.remote[:, 3], table.remote[rows, 3])
    )
    wanted = {table.remote[row].tobytes() for row in rows.tolist()}
    mine = [table.remote[row].tobytes() in wanted for row in near.tolist()]
    found: NDArray[np.intp] = near[np.array(mine, np.bool_)]
    return found


def _by_peer(data: DetectorInput, rows: NDArray[np.intp]) -> list[NDArray[np.intp]]:
    """Divide the rows by remote address."""
    _, which = np.unique(data.table.remote[rows], axis=0, return_inverse=True)
    which = which.ravel()
    order = np.argsort(which, kind="stable")
    return np.split(rows[order], np.flatnonzero(np.diff(which[order])) + 1)


def _unanswered(data: DetectorInput, thresholds: Thresholds) -> NDArray[np.intp]:
    table = data.table
    least = min(thresholds.unanswered_retransmits, thresholds.unanswered_probes)
    tried = np.flatnonzero(table.retransmits >= least)  # few, if any
    tried = tried[np.isin(table.state[tried], (TcpState.ESTABLISHED, TcpState.CLOSE_WAIT))]
    timer, tries = table.timer[tried], table.retransmits[tried]
    data_unanswered = (
        np.isin(timer, (_RETRANSMIT, _ZERO_WINDOW_PROBE))
        & (table.send_queue[tried] > 0)
        & (tries >= thresholds.unanswered_retransmits)
    )
    probes_unanswered = (timer == _KEEPALIVE) & (tries >= thresholds.unanswered_probes)
    unanswered: NDArray[np.intp] = tried[data_unanswered | probes_unanswered]
    return unanswered


def _judge(
    data: DetectorInput, thresholds: Thresholds, key: FindingKey, dead: int, total: int
) -> Severity | None:
    share = dead / max(total, dead, 1)
    if share >= thresholds.outage_ratio * (HYSTERESIS if key in data.past else 1.0):
        outage = min(_OUTAGE_SOCKETS, thresholds.warning_sockets)
        return severity(data, key, dead, outage, outage)
    if share < thresholds.least_ratio * (HYSTERESIS if key in data.past else 1.0):
        return None
    return severity(data, key, dead, thresholds.warning_sockets, thresholds.critical_sockets)


def _summary(
    data: DetectorInput,
    key: FindingKey,
    group: Group,
    rows: NDArray[np.intp],
    total: int,
    answering: int,
) -> Text:
    timer, tries = data.table.timer[rows], data.table.retransmits[rows]
    probed = timer == _KEEPALIVE
    where, most = places(data, group, rows), max(total, rows.size)
    those = Text(
        f"{rows.size:,} of {most} established connections {where}",
        f"{where.zh} {most} 个 ESTABLISHED 连接中有 {rows.size:,} 个",
    )
    seconds = _unanswered_seconds(data, key, rows)
    lasts = Text("")
    if seconds >= _WORTH_SAYING_SECONDS:
        lasts = Text(f" for {roughly(seconds)}", f"已有 {roughly(seconds)} ")
    alive = Text(
        f", while their peer answers on {answering} others",
        f"，而对端在另外 {answering} 个上有应答",
    )
    if probed.all():
        return (
            Text(
                f"{those} are dead: their peers have not answered up to {tries.max()} keepalive "
                f"probes{lasts}",
                f"{those.zh}已经失效：对端{lasts.zh}没有回应 keepalive 探测"
                f"（最多 {tries.max()} 次）",
            )
            + (alive if answering else Text(""))
            + _named(data, group, rows)
        )
    text = Text(
        f"{those} get no answer{lasts} after up to {tries[~probed].max()} tries",
        f"{those.zh}{lasts.zh}没有应答，最多已重试 {tries[~probed].max()} 次",
    ) + (alive if answering else Text(": their peers seem gone", "：对端可能已经消失"))
    if probed.any():
        number = int(probed.sum())
        text += Text(
            f" ({number:,} of them to keepalive probes)", f"（其中 {number:,} 个是 keepalive 探测）"
        )
    return text + _named(data, group, rows)


def _named(data: DetectorInput, group: Group, rows: NDArray[np.intp]) -> Text:
    """Name the peers, if they are few, and not named yet."""
    peers = [str(address) for address, _ in data.peers(rows, _PEERS_NAMED + 1)]
    if len(peers) > _PEERS_NAMED or (len(peers) == 1 and group.port is None):
        return Text("")
    return Text(f" ({', '.join(peers)})", f"（{'、'.join(peers)}）")


def _unanswered_seconds(data: DetectorInput, key: FindingKey, rows: NDArray[np.intp]) -> float:
    """Return for how long nothing has come back, at least: observed, or by the timeouts passed."""
    previous = data.past.get(key)
    observed = data.now - previous.samples[0][0] if previous else 0.0
    return max(observed, float(unanswered_seconds(data.table, rows).max()))


def _of_group(data: DetectorInput, group: Group, some: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return the rows of all open connections of the group, of which `some` are given."""
    if group.port is None:
        return _to_peers(data, some)
    open_ = np.isin(data.table.state, (TcpState.ESTABLISHED, TcpState.CLOSE_WAIT))
    return data.belonging(np.flatnonzero(open_ & (data.directions.port == group.port)), group, some)


def _evidence(
    data: DetectorInput, key: FindingKey, group: Group, rows: NDArray[np.intp]
) -> dict[str, Quantity | Breakdown]:
    table = data.table
    idle, with_keepalive = _keepalive(data, group, rows)
    seconds = _unanswered_seconds(data, key, rows)
    return {
        "peers": evidence.peers(data, rows),
        "most_retransmits": evidence.count(table.retransmits[rows].max()),
        "retransmitting": evidence.sockets((table.timer[rows] == _RETRANSMIT).sum()),
        "keepalive_unanswered": evidence.sockets((table.timer[rows] == _KEEPALIVE).sum()),
        "probing": evidence.sockets((table.timer[rows] == _ZERO_WINDOW_PROBE).sum()),
        "unacknowledged": evidence.size(table.send_queue[rows].astype(np.int64).sum()),
        **(
            {"unanswered_for": evidence.seconds(seconds)}
            if seconds >= _WORTH_SAYING_SECONDS
            else {}
        ),
        "idle_connections": evidence.sockets(idle),
        "idle_connections_with_keepalive": evidence.sockets(with_keepalive),
        **evidence.ports(data, group, rows),
    }


def _keepalive(data: DetectorInput, group: Group, some: NDArray[np.intp]) -> tuple[int, int]:
    """Return how many of the group's connections are idle, and how many of these have keepalive.

    A busy one shows another timer.
    """
    rows = _of_group(data, group, some)
    idle = data.table.timer[rows[data.table.send_queue[rows] == 0]]
    return int(idle.size), int((idle == _KEEPALIVE).sum())


def _unguarded(data: DetectorInput, _: Thresholds) -> NDArray[np.intp]:
    table = data.table
    return np.flatnonzero(
        (table.state == TcpState.ESTABLISHED) & (table.timer == 0) & (table.inode != 0)
    )


def _answering(data: DetectorInput, key: FindingKey, group: Group, rows: NDArray[np.intp]) -> int:
    """Return on how many other connections of the group the only peer has answered since.

    Large data may be what is lost. Of clients many may share an address (NAT): they say nothing.
    """
    table = data.table
    one = bool((table.remote[rows] == table.remote[rows[0]]).all())
    if group.direction == "inbound" or not one or (table.send_queue[rows] > _LARGE).any():
        return 0
    others = np.setdiff1d(_of_group(data, group, rows), rows)
    others = others[(table.remote[others] == table.remote[rows[0]]).all(axis=1)]
    others = others[
        (table.state[others] == TcpState.ESTABLISHED) & (table.retransmits[others] == 0)
    ]
    at = find_cookies(data.heard.cookie, table.cookie[others])
    since = data.heard.ack_received_ms[at[at >= 0]] / 1000
    return int((since < _unanswered_seconds(data, key, rows)).sum())


def _meaning(sent: Text, holder: Text, peer: str, answering: int) -> Text:
    if answering:
        connections = "connection" if answering == 1 else "connections"
        return Text(
            f"{peer} is alive: it has answered on {answering} other {connections} meanwhile, so "
            "new connections work. A firewall, NAT or load balancer between has forgotten these, "
            f"or the host behind it that had them is gone. {holder} must close them and connect "
            "again. Keepalive more often than the idle timeout between (TCP_KEEPIDLE) prevents it.",
            f"{peer} 活着：期间它在另外 {answering} 个连接上有应答，新连接可用。是中间的防火墙、"
            "NAT 或负载均衡丢掉了这些会话，或者其后承载它们的主机已经消失。"
            f"{holder.zh} 必须关闭它们并重新连接。把 keepalive 空闲时间（TCP_KEEPIDLE）设得小于"
            "中间设备的空闲超时可以预防。",
        )
    return Text(
        f"The kernel sends {sent} again and again, and nothing comes back: the peer has "
        "lost power or its network, or a firewall between has forgotten the connection. "
        f"{holder} does not know, and waits.",
        f"内核反复发送{sent.zh}，没有任何回应：对端断电或断网，或者中间的防火墙丢掉了会话。"
        f"{holder.zh} 并不知道，仍在等待。",
    )


def _advice(
    data: DetectorInput, group: Group, rows: NDArray[np.intp], holder: Text, answering: int
) -> tuple[Advice, ...]:
    path = Path.of(data, rows)
    timer = data.table.timer[rows]
    probing, kept_alive = int((timer == _ZERO_WINDOW_PROBE).sum()), int((timer == _KEEPALIVE).sum())
    sent = Text("the same data, or probes,", "同样的数据或探测包")
    if kept_alive == rows.size:
        sent = Text("keepalive probes", "keepalive 探测")
    advice = [Advice(_meaning(sent, holder, path.peer, answering))]
    if probing:
        advice.append(
            Advice(
                Text(
                    f"{probing} are probing instead of retransmitting: that is also what a link of "
                    "this host that is down looks like. Check the links first.",
                    f"{probing} 个在做零窗口探测而不是重传：本机网卡断开时也是这个样子，先检查链"
                    "路。",
                ),
                Command("ip -br link"),
                "look",
            )
        )
    advice += [
        path.route,
        Advice(
            Text(
                "Does the peer answer at all? Do the peers have an address, a rack or a firewall "
                "in common?",
                "对端还有任何回应吗？这些对端是否在同一地址、同一机架或同一防火墙后面？",
            ),
            path.ping,
            "look",
        ),
    ]
    if (data.table.send_queue[rows] > _LARGE).any():
        advice.append(_about_large_packets(path))
    if kept_alive:
        advice.append(
            Advice(
                Text(
                    "The kernel ends these connections after TCP_KEEPCNT unanswered probes "
                    f"(net.ipv4.tcp_keepalive_probes unless {holder} sets it), TCP_KEEPINTVL "
                    "apart. Smaller values, or TCP_USER_TIMEOUT, end them sooner.",
                    "连续 TCP_KEEPCNT 个探测（间隔 TCP_KEEPINTVL）没有回应，内核就会断开这些连接"
                    f"（{holder.zh} 没有设置时取 net.ipv4.tcp_keepalive_probes）。调小这些值，或"
                    "设置 "
                    "TCP_USER_TIMEOUT，可以更早断开。",
                )
            )
        )
    if kept_alive < rows.size:
        advice.append(
            Advice(
                Text(
                    "The kernel gives up after net.ipv4.tcp_retries2 tries (15 unless set: some 15 "
                    f"minutes). {holder} should set TCP_USER_TIMEOUT, or a write timeout of its "
                    "own. Keepalive does not help while data is unacknowledged.",
                    "内核重传 net.ipv4.tcp_retries2 次后放弃（默认 15 次，约 15 分钟）。"
                    f"{holder.zh} 应当设置 TCP_USER_TIMEOUT 或自己的写超时。有数据未被确认时 "
                    "keepalive "
                    "不起作用。",
                )
            )
        )
    idle, with_keepalive = _keepalive(data, group, rows)
    if idle > with_keepalive:
        advice.append(
            Advice(
                Text(
                    f"Of its {idle} idle connections only {with_keepalive} have keepalive: if the "
                    "peers of the others are gone too, nothing here will notice.",
                    f"{idle} 个空闲连接中只有 {with_keepalive} 个开了 keepalive：其余连接的对端如"
                    "果也"
                    "消失了，本机不会察觉。",
                )
            )
        )
    filter_ = only(group.direction, group.port)
    mptcp = bool(data.table.multipath[rows].any())
    advice.append(see("-tnpoi", TcpState.ESTABLISHED, filter_=filter_, mptcp=mptcp))
    return tuple(advice)


def _about_large_packets(path: Path) -> Advice:
    size = 1452 if ":" in path.peer else 1472  # 1,500 bytes with the headers of IP and ICMP
    return Advice(
        Text(
            "If it does, are only large packets lost (a tunnel with a smaller MTU, and a firewall "
            "that drops the ICMP messages about it)? Does one of 1,500 bytes come back?",
            "如果 ping 得通，是否只有大包丢失（隧道 MTU 较小，而相关 ICMP 消息被防火墙丢弃）？1500 "
            "字节的包能收到回应吗？",
        ),
        Command(f"ping -c 3 -M do -s {size}{path.option('-I')} {path.peer}"),
        "look",
    )


DETECTOR = Detector(
    name=NAME,
    about="ESTABLISHED, but the peer does not answer",
    title=Text("Peers have vanished", "对端已经消失"),
    actor=PEERS_OR_NETWORK,
    state=TcpState.ESTABLISHED,
    thresholds=Thresholds,
    find=find,
    needs_whole_table=True,
    fault="has_vanished",
    caused_by=(("same_peer", "does_not_answer"), ("same_peer", "has_vanished")),
    counted=Counted(
        metric="sockmon_idle_sockets_without_keepalive",
        help="Idle ESTABLISHED sockets without keepalive: nobody would notice their peers' death.",
        rows=_unguarded,
    ),
    rule=Rule(
        summary="established connections have dead peers",
        explanation=(
            "Data goes unanswered on connections that the kernel still believes in: the peers, or "
            "the path to them, have gone."
        ),
    ),
)
