"""Connects that stall or all fail: the destination does not answer the SYN.

Either an attempt lives long enough to be retransmitted, or a short connect timeout ends it before:
then attempts are seen at every poll, new ones each time, and none becomes a connection.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from sockmon.detect import evidence
from sockmon.detect.commands import WHICH_WAY, only, see
from sockmon.detect.detector import (
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
from sockmon.model.connects import Failing, Place, place_of
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
    Where,
)
from sockmon.model.limits import PORTS
from sockmon.model.other_end import mostly_here
from sockmon.model.states import TcpState
from sockmon.model.table import IPAddress

NAME = "connect_stalled"

_POLLS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds(DetectorThresholds):
    """How many connects to one address and port may be unanswered, after how many retransmits."""

    unanswered_retransmits: Count = threshold(2, "a SYN counts after this many retransmits")
    warning_sockets: Count = threshold(5, "to one destination and port")
    critical_sockets: Count = threshold(50, "to one destination and port")
    failing_for: Seconds = threshold(30.0, "critical if every connect has failed for this long")


def find(data: DetectorInput, thresholds: Thresholds) -> Iterator[Finding]:
    """Yield a finding for each destination port; its value is that of its worst destination."""
    table = data.table
    calling = np.flatnonzero(table.state == TcpState.SYN_SENT)
    unanswered = table.retransmits[calling] >= thresholds.unanswered_retransmits
    failing = _all_fail(data, thresholds, calling)
    rows = calling[unanswered | failing]
    sockets = np.bincount(table.remote_port[rows], minlength=PORTS)
    ports = np.flatnonzero(sockets)
    for port in ports[np.argsort(-sockets[ports], kind="stable")].tolist():
        finding = _judge(data, thresholds, port, rows[table.remote_port[rows] == port])
        if finding is not None:
            yield finding


def _all_fail(
    data: DetectorInput, thresholds: Thresholds, calling: NDArray[np.intp]
) -> NDArray[np.bool_]:
    """Mask over the rows: those to a destination that no attempt has reached for some time."""
    dead = {
        place
        for place, its in data.connects.failing.items()
        if its.attempts >= thresholds.warning_sockets
        and (
            (its.polls >= _POLLS and its.least >= thresholds.warning_sockets)
            or (its.polls > _POLLS and its.last - its.since >= thresholds.failing_for)
        )
        and not _none_failed(data, place, its)
    }
    if not dead:
        return np.zeros(calling.size, np.bool_)
    return np.array([place_of(data.table, row) in dead for row in calling.tolist()], np.bool_)


def _none_failed(data: DetectorInput, place: Place, failing: Failing) -> bool:
    """Whether connections to the port were established meanwhile, and no connect failed.

    So the attempts that were seen have succeeded, between two polls: a long way, and much to do.
    Whether that is so is known where connections are counted between polls.
    """
    if data.events is None:
        return False
    where: tuple[Direction, int] = ("outbound", place[2])
    opened = data.events.last_opened.get(where, -np.inf)
    failed = data.events.last_failed.get(where, -np.inf)
    return bool(opened > failing.since >= failed)


def _judge(
    data: DetectorInput, thresholds: Thresholds, port: int, rows: NDArray[np.intp]
) -> Finding | None:
    subject = Subject("outbound", port)
    key = FindingKey(NAME, data.netns, subject)
    address, worst = data.peers(rows, 1)[0]
    place = next(p for p in map(partial(place_of, data.table), rows.tolist()) if _is(p, address))
    failing = data.connects.failing.get(place)
    all_fail = failing is not None and bool(_all_fail(data, thresholds, rows).any())
    value = max(worst, thresholds.warning_sockets if all_fail else 0)
    judged = severity(data, key, value, thresholds.warning_sockets, thresholds.critical_sockets)
    if judged is None:
        return None
    seconds = failing.last - failing.since if failing else 0.0
    if all_fail and seconds >= thresholds.failing_for:
        judged = "critical"
    group, held = data.groups(rows)[0]
    tries = int(data.table.retransmits[rows].max())
    summary = Text(
        f"{address} does not answer at port {port}: {worst} connections wait after up to {tries} "
        "retransmitted SYNs",
        f"{address} 的端口 {port} 没有应答：{worst} 个连接在等待，SYN 最多已重传 {tries} 次",
    )
    if failing is not None and all_fail:
        within = roughly(seconds)
        summary = Text(
            f"nothing answers at {address} port {port}: every connect fails; {worst} are under "
            f"way, {failing.attempts} were seen{f' in {within}' if seconds else ''}, none was "
            "established",
            f"{address} 的端口 {port} 没有任何应答：每次 connect 都失败；当前 {worst} 个在尝试，"
            f"{f'{within} 内' if seconds else ''}共见到 {failing.attempts} 个，没有一个建立",
        )
    return Finding(
        detector=NAME,
        severity=judged,
        netns=data.netns,
        subject=subject,
        value=value,
        limit=thresholds.warning_sockets,
        summary=summary,
        evidence=_evidence(data, rows) | _counted(data, port),
        advice=_advice(data, port, str(address), rows),
        group=group,
        inodes=inodes(data.table, held),
        rows=rows,
    )


def _is(place: Place, address: IPAddress) -> bool:
    return place[1][: len(address.packed)] == address.packed


def _evidence(data: DetectorInput, rows: NDArray[np.intp]) -> dict[str, Quantity | Breakdown]:
    table, settings = data.table, data.limits.settings
    tries = table.retransmits[rows]
    found: dict[str, Quantity | Breakdown] = {
        "destinations": evidence.peers(data, rows),
        "waiting": evidence.sockets(rows.size),
        "most_tries": evidence.count(tries.max()),
        "fewest_tries": evidence.count(tries.min()),
    }
    if settings is not None:
        eldest = rows[np.lexsort((table.expires[rows], -tries.astype(np.int16)))[0]]
        found["syn_retries"] = evidence.count(settings.syn_retries)
        found["syn_linear_timeouts"] = evidence.count(settings.syn_linear_timeouts)
        found["first_gives_up_in"] = evidence.seconds(
            seconds_to_give_up(
                int(table.retransmits[eldest]),
                int(table.expires[eldest]) / 1000,
                settings.syn_retries,
                settings.syn_linear_timeouts,
            )
        )
    return found


def _counted(data: DetectorInput, port: int) -> dict[str, Quantity | Breakdown]:
    """What became of the connects to this port, at all addresses, where that is counted."""
    counts = data.events.ports.get(("outbound", port)) if data.events else None
    if counts is None or data.events is None:
        return {}
    return {
        "opened": evidence.count(counts.opened),
        "failed": tuple((why, evidence.count(n)) for why, n in counts.failed.items() if n),
        "counted_for": evidence.seconds(data.events.seconds),
    }


def _advice(
    data: DetectorInput, port: int, address: str, rows: NDArray[np.intp]
) -> tuple[Advice, ...]:
    settings = data.limits.settings
    here = mostly_here(data.table, rows)
    where: Where = "namespace" if here else "peer"
    advice = [
        Advice(
            Text(
                f"{address} is an address of this host, and nothing comes back from it: the "
                "listener has no room, or a rule of the firewall here drops the SYN. (A closed "
                "port would have refused at once.)",
                f"{address} 是本机地址，却没有任何回应：监听队列已满，或本机防火墙规则丢弃了 SYN。"
                "（端口没有监听会立即被拒绝。）",
            )
            if here
            else Text(
                f"Nothing comes back from {address}: the host or the path is down, a firewall "
                "drops the SYN, or the listener there has no room. (A closed port would have "
                "refused at once.)",
                f"{address} 没有任何回应：主机或网络不通，防火墙丢弃了 SYN，或者对方的监听队列已"
                "满。"
                "（端口没有监听会立即被拒绝。）",
            )
        ),
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
            Command(f"ss -tln '( sport = :{port} )'", where),
            "look",
        ),
        Advice(
            Text("Are connections dropped?", "有连接被丢弃吗？")
            if here
            else Text("Does the destination drop connections?", "目的主机在丢弃连接吗？"),
            Command("nstat -az TcpExtListenOverflows TcpExtTCPReqQFullDrop", where),
            "look",
        ),
        *([] if here else _about_path(port, address)),
        Advice(
            Text("Is the conntrack table of this host full?", "本机的 conntrack 表满了吗？"),
            Command("dmesg | grep nf_conntrack", "here"),
            "look",
        ),
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


def _about_path(port: int, address: str) -> tuple[Advice, ...]:
    return (
        Advice(WHICH_WAY, Command(f"ip route get {address}"), "look"),
        Advice(
            Text("How far do SYNs get?", "SYN 能走到哪一跳？"),
            Command(f"traceroute -n -T -p {port} {address}"),
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
