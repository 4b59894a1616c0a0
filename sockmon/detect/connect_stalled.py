"""Connects that stall or all fail: the destination does not answer the SYN.

Either an attempt lives long enough to be retransmitted, or a short connect timeout ends it before:
then attempts are seen at polls, new ones each time, and none becomes a connection.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sockmon.detect import evidence
from sockmon.detect.commands import Path, only, see
from sockmon.detect.detector import (
    HYSTERESIS,
    Count,
    Detector,
    DetectorThresholds,
    Rule,
    Seconds,
    severity,
    threshold,
)
from sockmon.detect.evidence import inodes
from sockmon.detect.syn_retries import seconds_to_connect, seconds_to_give_up
from sockmon.durations import roughly
from sockmon.language import Text
from sockmon.model.connects import Connects, Failing, Place, by_place, connected_to
from sockmon.model.detector_input import DetectorInput
from sockmon.model.direction import Direction
from sockmon.model.finding import (
    Advice,
    Breakdown,
    Command,
    Finding,
    FindingKey,
    Quantity,
    Severity,
    Subject,
    Where,
)
from sockmon.model.limits import NOT_RESENT, SYNS_RESENT
from sockmon.model.other_end import mostly_here
from sockmon.model.owner import UNKNOWN, Group
from sockmon.model.states import TcpState
from sockmon.model.table import IPAddress, address

NAME = "connect_stalled"

_POLLS = 2
#: An attempt that has waited for less, in seconds, may have been answered right after the poll.
_YOUNG = 0.5
#: A port with so many dead destinations, and so many that were reached, is a crawler's.
_CRAWLED = 10
_SEVERAL = 3
_ADDRESSES_NAMED = 2
_DESTINATIONS_SHOWN = 5
#: One connect retransmits so many SYNs in the first seconds.
_LEAST_REFUSED = 3
_THIS_HOST = Text("This host: its firewall or conntrack", "本机：防火墙或 conntrack")
_NO_ROWS = np.empty(0, np.intp)


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds(DetectorThresholds):
    """How many connects to one address and port may be unanswered, after how many retransmits."""

    unanswered_retransmits: Count = threshold(2, "a SYN counts after this many retransmits")
    warning_sockets: Count = threshold(5, "to one destination and port")
    critical_sockets: Count = threshold(50, "to one destination and port")
    failing_for: Seconds = threshold(30.0, "critical if every connect has failed for this long")


@dataclass(frozen=True, slots=True)
class _Called:
    """An address and port that is called, and rows of its attempts that get no answer.

    failing: if no attempt has succeeded for some time. late: others were established just now.
    """

    place: Place
    rows: NDArray[np.intp]
    failing: Failing | None = None
    late: bool = False

    @property
    def address(self) -> IPAddress:
        family, words, _ = self.place
        return address(family, np.frombuffer(words, np.uint32))


def find(data: DetectorInput, thresholds: Thresholds) -> Iterator[Finding]:
    """Yield a finding for each destination port; its value is that of its worst destination.

    And one for destinations at several ports that are called seldom, if none of them all answers.
    """
    connects, tries = _not_disproved(data), data.table.retransmits
    calling = by_place(data.table, np.flatnonzero(data.table.state == TcpState.SYN_SENT))
    dead, astray = _dead(connects, thresholds)
    by_port: dict[int, list[_Called]] = {}
    # A client that waits before it tries again is seen at some polls only.
    pausing = [
        place
        for place in dead - calling.keys()
        if data.now - connects.failing[place].last < connects.failing[place].pause
    ]
    for place in [*calling, *pausing]:
        rows = calling.get(place, _NO_ROWS)
        if place in dead:
            called = _Called(place, rows, connects.failing[place])
        else:
            unanswered = rows[tries[rows] >= thresholds.unanswered_retransmits]
            called = _Called(place, unanswered, None, place in connects.reached)
        if place not in astray and (place in dead or called.rows.size):
            by_port.setdefault(place[2], []).append(called)
    for port in sorted(by_port, key=lambda port: -sum(its.rows.size for its in by_port[port])):
        yield from _judge(data, thresholds, port, by_port[port])
    if astray:
        lost = [
            _Called(place, calling.get(place, _NO_ROWS), connects.failing[place])
            for place in astray
        ]
        attempts = sum(its.attempts for its in _failing(lost))
        yield _finding(data, thresholds, None, lost, "critical", attempts)


def _dead(connects: Connects, thresholds: Thresholds) -> tuple[set[Place], set[Place]]:
    """Return the destinations that no attempt has reached for some time; those of many ports apart.

    Many that are called now and then, at a port where many others answer, are a crawler's.
    """
    by_port: dict[int, list[Place]] = {}
    for place in connects.failing:
        by_port.setdefault(place[2], []).append(place)
    dead, again, few = set[Place](), set[Place](), set[Place]()
    for port, places in by_port.items():
        reached = connects.reached_at(port)
        crawled = min(len(places), reached) >= _CRAWLED
        failing = connects.failing
        its = {
            place
            for place in places
            if _at_once(thresholds, failing[place])
            or (not crawled and _lasts(thresholds, [failing[place]]))
        }
        # Each may be called too seldom for that, but not one of them all has answered.
        if not reached and _lasts(thresholds, [failing[place] for place in places]):
            its.update(places)
        dead |= its
        if reached < _CRAWLED:
            again.update(place for place in places if _again(thresholds, failing[place]))
        if not reached and not its:
            few.update(places)
    several = len({place[2] for place in few}) > 1
    lost = several and _lasts(thresholds, [connects.failing[place] for place in few])
    astray = few if lost else set()
    return dead | again - astray, astray


def _at_once(thresholds: Thresholds, its: Failing) -> bool:
    """Whether several attempts were under way at each of several polls."""
    lasts = its.waited >= _YOUNG or its.last - its.since >= thresholds.failing_for
    return its.polls >= _POLLS and its.least >= thresholds.warning_sockets and lasts


def _lasts(thresholds: Thresholds, failing: Sequence[Failing]) -> bool:
    """Whether there were several attempts over some time, and some waited for an answer."""
    return (
        sum(its.attempts for its in failing) >= thresholds.warning_sockets
        and max(its.polls for its in failing) > _POLLS
        and _seconds(failing) >= thresholds.failing_for
        and max(its.waited for its in failing) >= _YOUNG
    )


def _again(thresholds: Thresholds, its: Failing) -> bool:
    """Whether one caller tries again and again: a replica, a proxy that leaves out what is dead.

    With a long timeout it has few attempts, but is always seen; with a short one it is seldom seen.
    """
    steady = its.attempts > 1 and its.pause <= thresholds.failing_for / 2
    seconds = its.last - its.since
    return (
        (steady or its.attempts >= _SEVERAL)
        and seconds >= 2 * thresholds.failing_for
        and its.waited >= _YOUNG
    )


def _seconds(failing: Sequence[Failing]) -> float:
    return max(its.last for its in failing) - min(its.since for its in failing)


def _failing(called: Iterable[_Called]) -> list[Failing]:
    return [its.failing for its in called if its.failing is not None]


def _not_disproved(data: DetectorInput) -> Connects:
    """Leave out destinations whose attempts have succeeded between two polls.

    A long way, and much to do: attempts are seen at each poll, and no connection. They succeeded if
    connections to the port were established meanwhile, and no connect to it failed; that is known
    where connections are counted between polls.
    """
    if data.events is None:
        return data.connects
    opened, failed = data.events.last_opened, data.events.last_failed
    kept = {}
    for place, its in data.connects.failing.items():
        port: tuple[Direction, int] = ("outbound", place[2])
        if not opened.get(port, -np.inf) > its.since >= failed.get(port, -np.inf):
            kept[place] = its
    return replace(data.connects, failing=kept)


def _judge(
    data: DetectorInput, thresholds: Thresholds, port: int, called: list[_Called]
) -> Iterator[Finding]:
    key = FindingKey(NAME, data.netns, Subject("outbound", port))
    failing = _failing(called)
    enough = HYSTERESIS * thresholds.warning_sockets

    def rank(its: _Called) -> tuple[bool, bool, int]:
        number = int(its.rows.size)
        return its.failing is not None, number >= enough and not its.late, number

    worst = max(called, key=rank)
    value = max(worst.rows.size, thresholds.warning_sockets if failing else 0)
    if _none_answers(data, port, called):
        value = max(value, sum(its.rows.size for its in called))
    judged = severity(data, key, value, thresholds.warning_sockets, thresholds.critical_sockets)
    if judged is None:
        return
    if failing and _seconds(failing) >= thresholds.failing_for:
        often = sum(its.attempts for its in failing) >= thresholds.warning_sockets
        judged = "critical" if often else "warning"
    elif worst.late:
        judged = "warning"
    called.sort(key=lambda its: (its is not worst, -its.rows.size))
    yield _finding(data, thresholds, port, called, judged, value)


def _none_answers(data: DetectorInput, port: int, called: Sequence[_Called]) -> bool:
    """Whether several destinations are called at a port, and nobody is, or was, connected there.

    A crawler, of whose many destinations some are dead, is connected to others.
    """
    return (
        len(called) >= _SEVERAL
        and not data.connects.reached_at(port)
        and not connected_to(data.table, (port,)).size
    )


def _refused_here(data: DetectorInput) -> tuple[int, int] | None:
    """Return how many SYNs this host would not send again, of how many; None: it sends most."""
    refused, tried = (
        data.resent_window.at(name, data.now).connections for name in (NOT_RESENT, SYNS_RESENT)
    )
    return (refused, tried) if refused >= _LEAST_REFUSED and 2 * refused > tried else None


def _finding(
    data: DetectorInput,
    thresholds: Thresholds,
    port: int | None,
    called: list[_Called],
    judged: Severity,
    value: int,
) -> Finding:
    """Return the finding about these destinations, the worst first."""
    rows = np.concatenate([its.rows for its in called])
    # If none is under way just now, it is of the process that it was of before.
    group, held = Group("outbound", port, UNKNOWN), rows
    if rows.size:
        group, held = data.groups(rows)[0]
    return Finding(
        detector=NAME,
        severity=judged,
        netns=data.netns,
        subject=Subject("outbound", port),
        value=value,
        limit=thresholds.warning_sockets,
        summary=_summary(data, port, called),
        evidence=_evidence(data, called, rows) | _counted(data, port),
        advice=_advice(data, port, called, rows),
        actor=None if _refused_here(data) is None else _THIS_HOST,
        group=group if port is not None else group._replace(port=None),
        inodes=inodes(data.table, held),
        rows=rows,
    )


def _summary(data: DetectorInput, port: int | None, called: list[_Called]) -> Text:
    dead = [its for its in called if its.failing is not None]
    if dead:
        return _nothing_answers(port, dead)
    worst = called[0]
    number, tries = worst.rows.size, int(data.table.retransmits[worst.rows].max())
    if port is not None and _none_answers(data, port, called):
        number = sum(its.rows.size for its in called)
        tries = max(int(data.table.retransmits[its.rows].max()) for its in called)
        return Text(
            f"{len(called)} addresses do not answer at port {port}, and none does: {number:,} "
            f"connections wait after up to {tries} retransmitted SYNs",
            f"{len(called)} 个地址的端口 {port} 都没有应答，也没有其他地址应答：{number:,} 个连接在"
            f"等待，SYN 最多已重传 {tries} 次",
        )
    if worst.late:
        return Text(
            f"{worst.address} answers at port {port} late, or not each time: {number:,} "
            f"connections wait after up to {tries} retransmitted SYNs, while others were "
            "established",
            f"{worst.address} 的端口 {port} 应答太慢，或只应答一部分：{number:,} 个连接在等待，SYN "
            f"最多已重传 {tries} 次，同时有其他连接建立",
        )
    return Text(
        f"{worst.address} does not answer at port {port}: {number:,} connections wait after up to "
        f"{tries} retransmitted SYNs",
        f"{worst.address} 的端口 {port} 没有应答：{number:,} 个连接在等待，SYN 最多已重传 "
        f"{tries} 次",
    )


def _nothing_answers(port: int | None, dead: list[_Called]) -> Text:
    ports = len({its.place[2] for its in dead})
    addresses = list(dict.fromkeys(str(its.address) for its in dead))
    more = len(addresses) - _ADDRESSES_NAMED
    named = ", ".join(addresses[:_ADDRESSES_NAMED]) + (f" and {more} more" if more > 0 else "")
    named_zh = "、".join(addresses[:_ADDRESSES_NAMED]) + (
        f" 等 {len(addresses)} 个" if more > 0 else ""
    )
    where = Text(f"{addresses[0]} port {port}", f"{addresses[0]} 的端口 {port} ")
    if port is None:
        several = Text(f"{len(addresses)} addresses", f"{len(addresses)} 个地址")
        if len(addresses) == 1:
            several, named, named_zh = Text(addresses[0], f"{addresses[0]} "), "", ""
        where = Text(f"{ports} ports of {several}", f"{several.zh}的 {ports} 个端口")
    elif len(addresses) > 1:
        where = Text(
            f"{len(addresses)} addresses, port {port}", f"{len(addresses)} 个地址的端口 {port}"
        )
    if len(addresses) > 1:
        where += Text(f" ({named})", f"（{named_zh}）")
    failing = _failing(dead)
    seconds, attempts = _seconds(failing), sum(its.attempts for its in failing)
    number = sum(its.rows.size for its in dead)
    within = Text(f" in {roughly(seconds)}", f"{roughly(seconds)} 内") if seconds else Text("")
    are = "connect is" if number == 1 else "connects are"
    if attempts <= number:  # none of them has ended
        return Text(
            f"nothing answers at {where}: {number:,} {are} under way, none was answered{within}",
            f"{where.zh}没有任何应答：当前 {number:,} 个 connect 在尝试，{within.zh}没有一个得到应"
            "答",
        )
    under_way = Text("")
    if number:
        are = "is" if number == 1 else "are"
        under_way = Text(f"{number:,} {are} under way, ", f"当前 {number:,} 个在尝试，")
    return Text(
        f"nothing answers at {where}: every connect fails; {under_way}{attempts} were seen{within},"
        " none was established",
        f"{where.zh}没有任何应答：每次 connect 都失败；{under_way.zh}{within.zh}共见到 {attempts} "
        "个，没有一个建立",
    )


def _evidence(
    data: DetectorInput, called: list[_Called], rows: NDArray[np.intp]
) -> dict[str, Quantity | Breakdown]:
    table, settings = data.table, data.limits.settings
    found: dict[str, Quantity | Breakdown] = {"waiting": evidence.sockets(rows.size)}
    if rows.size:
        found = {"destinations": evidence.peers(data, rows), **found}
    failing = {str(its.address): its.failing for its in called if its.failing is not None}
    if failing:
        found["attempts_seen"] = tuple(
            (name, evidence.sockets(its.attempts))
            for name, its in list(failing.items())[:_DESTINATIONS_SHOWN]
        )
    answered = [data.connects.reached[its.place] for its in called if its.late]
    if answered:
        found["last_answered"] = evidence.seconds(data.now - max(answered))
    tries = table.retransmits[rows]
    if rows.size:
        found["most_tries"] = evidence.count(tries.max())
        found["fewest_tries"] = evidence.count(tries.min())
    if settings is not None:
        found["syn_retries"] = evidence.count(settings.syn_retries)
        found["syn_linear_timeouts"] = evidence.count(settings.syn_linear_timeouts)
    if settings is not None and rows.size:
        eldest = rows[np.lexsort((table.expires[rows], -tries.astype(np.int16)))[0]]
        found["first_gives_up_in"] = evidence.seconds(
            seconds_to_give_up(
                int(table.retransmits[eldest]),
                int(table.expires[eldest]) / 1000,
                settings.syn_retries,
                settings.syn_linear_timeouts,
            )
        )
    return found


def _counted(data: DetectorInput, port: int | None) -> dict[str, Quantity | Breakdown]:
    """What became of the connects to this port, at all addresses, where that is counted."""
    if data.events is None or port is None:
        return {}
    counts = data.events.ports.get(("outbound", port))
    if counts is None:
        return {}
    return {
        "opened": evidence.count(counts.opened),
        "failed": tuple((why, evidence.count(n)) for why, n in counts.failed.items() if n),
        "counted_for": evidence.seconds(data.events.seconds),
    }


def _advice(
    data: DetectorInput, port: int | None, called: list[_Called], rows: NDArray[np.intp]
) -> tuple[Advice, ...]:
    settings, worst = data.limits.settings, called[0]
    here = _is_here(data, worst)
    where: Where = "namespace" if here else "peer"
    its_port = worst.place[2]
    path = Path.of(data, worst.rows) if worst.rows.size else Path(str(worst.address))
    dropping = bool(data.conntrack_window.polls)
    refused = _refused_here(data)
    advice = [
        # A packet that conntrack drops on its way out counts as refused, too.
        *([] if refused is None or dropping else [_about_this_host(*refused)]),
        *_about_all(called, here=here),
        *([_about_conntrack(dropping=True)] if dropping else []),
        Advice(_meaning(worst, here=here)),
        *([] if here else _about_path(its_port, path)),
        Advice(
            Text(
                "Is the listener's accept queue full (Recv-Q at Send-Q)?",
                "监听端的全连接队列满了吗（Recv-Q 达到 Send-Q）？",
            )
            if here
            else Text(
                "Is the destination up, and is its accept queue full (Recv-Q at Send-Q)?",
                "目的主机正常吗？它的全连接队列满了吗（Recv-Q 达到 Send-Q）？",
            ),
            Command(f"ss -tln '( sport = :{its_port} )'", where),
            "look",
        ),
        Advice(
            Text("Are connections dropped?", "有连接被丢弃吗？")
            if here
            else Text("Does the destination drop connections?", "目的主机在丢弃连接吗？"),
            Command("nstat -az TcpExtListenOverflows TcpExtTCPReqQFullDrop", where),
            "look",
        ),
        *([] if dropping else [_about_conntrack(dropping=False)]),
    ]
    if settings is not None:
        total = seconds_to_connect(settings.syn_retries, settings.syn_linear_timeouts)
        advice.append(
            Advice(
                Text(
                    f"The kernel gives up after {roughly(total)} (net.ipv4.tcp_syn_retries = "
                    f"{settings.syn_retries}). An application that cannot wait so long needs a "
                    "connect timeout of its own, and should try another address.",
                    f"内核 {roughly(total)} 后放弃（net.ipv4.tcp_syn_retries = "
                    f"{settings.syn_retries}）。等不了这么久的应用要自己设置连接超时，并换一个地"
                    "址重试。",
                )
            )
        )
    mptcp = bool(data.table.multipath[rows].any())
    advice.append(see("-tnpo", TcpState.SYN_SENT, filter_=only("outbound", port), mptcp=mptcp))
    return tuple(advice)


def _about_this_host(refused: int, tried: int) -> Advice:
    return Advice(
        Text(
            f"This host itself does not send them: {refused} of {tried} SYNs that were to be sent "
            "again did not leave TCP (TcpExtTCPRetransFail). Most often a rule of its own firewall "
            "drops them (chain OUTPUT); else its sending queue is full (tc -s qdisc).",
            f"这些 SYN 是本机自己没有发出去的：{tried} 个要重传的 SYN 中有 {refused} 个没能从 TCP "
            "发出（TcpExtTCPRetransFail）。多半是本机防火墙规则（OUTPUT 链）丢弃了它们，否则就是发"
            "送队列满了（tc -s qdisc）。",
        ),
        Command("nft list ruleset; iptables -S"),
        "look",
    )


def _about_conntrack(*, dropping: bool) -> Advice:
    if dropping:
        text = Text(
            "conntrack of this host drops packets: if these connects go through SNAT which has no "
            "port left, or the table is full, that is why they fail.",
            "本机的 conntrack 正在丢包：如果这些连接要做 SNAT 而源端口已用完，或 conntrack 表已满，"
            "这就是失败的原因。",
        )
        return Advice(text, Command("conntrack -S"), "look")
    text = Text("Is the conntrack table of this host full?", "本机的 conntrack 表满了吗？")
    return Advice(text, Command("dmesg | grep nf_conntrack", "here"), "look")


def _is_here(data: DetectorInput, called: _Called) -> bool:
    return called.address.is_loopback or mostly_here(data.table, called.rows)


def _meaning(worst: _Called, *, here: bool) -> Text:
    name = worst.address
    if worst.late:
        return Text(
            f"Some SYNs to {name} are answered, others not, or after seconds: the listener there "
            "has too little room (its accept queue overflows), packets are lost on the way, or the "
            "way is very slow.",
            f"发往 {name} 的 SYN 有的得到应答，有的没有，或要等几秒：对方监听队列太小（全连接队列"
            "溢出），途中丢包，或链路很慢。",
        )
    if here:
        return Text(
            f"{name} is an address of this host, and nothing comes back from it: the listener has "
            "no room, or a rule of the firewall here drops the SYN. (A closed port would have "
            "refused at once.)",
            f"{name} 是本机地址，却没有任何回应：监听队列已满，或本机防火墙规则丢弃了 SYN。"
            "（端口没有监听会立即被拒绝。）",
        )
    return Text(
        f"Nothing comes back from {name}: the host or the path is down, a firewall drops the SYN, "
        "or the listener there has no room. (A closed port would have refused at once.)",
        f"{name} 没有任何回应：主机或网络不通，防火墙丢弃了 SYN，或者对方的监听队列已满。"
        "（端口没有监听会立即被拒绝。）",
    )


def _about_all(called: list[_Called], *, here: bool) -> tuple[Advice, ...]:
    """Say what several destinations may have in common."""
    dead = [its for its in called if its.failing is not None] or called
    if here or len({its.address for its in dead}) < _SEVERAL:
        return ()
    text = Text(
        "Several addresses are dead at once: look first at what they have in common, the route and "
        "its gateway, a firewall, or a site.",
        "多个地址同时没有应答：先看它们的共同点，例如路由和网关、防火墙或机房。",
    )
    return (Advice(text, Command("ip route; ip neigh"), "look"),)


def _about_path(port: int, path: Path) -> tuple[Advice, ...]:
    return (
        path.route,
        Advice(
            Text("How far do SYNs get?", "SYN 能走到哪一跳？"),
            Command(f"traceroute -n -T{path.option('-s')} -p {port} {path.peer}"),
            "look",
        ),
    )


DETECTOR = Detector(
    name=NAME,
    about="connection attempts get no answer",
    title=Text("Nobody answers", "连接请求没有应答"),
    actor=Text("The destination, or the network to it", "目的主机，或中间的网络"),
    state=TcpState.SYN_SENT,
    thresholds=Thresholds,
    find=find,
    fault="does_not_answer",
    caused_by=(("destination", "does_not_accept"),),
    rule=Rule(
        summary="connects get no answer",
        explanation=(
            "SYNs to one destination are sent again and again: it is down, or a firewall on the "
            "way drops them."
        ),
    ),
)
