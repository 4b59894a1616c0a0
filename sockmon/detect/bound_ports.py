"""Local ports that bind() holds: each is lost for all destinations, however few connections."""

from collections.abc import Iterator

import numpy as np

from sockmon.detect import evidence
from sockmon.detect.commands import see
from sockmon.detect.detector import severity
from sockmon.detect.evidence import inodes, of_whom
from sockmon.detect.local_ports import equals, host, widen
from sockmon.language import Text
from sockmon.model.detector_input import DetectorInput
from sockmon.model.finding import Advice, Command, Finding, FindingKey, Subject
from sockmon.model.limits import PortRange
from sockmon.model.ports import BoundBeforeConnect
from sockmon.model.states import TcpState


def find(
    data: DetectorInput, detector: str, warning: float, critical: float, port_range: PortRange
) -> Iterator[Finding]:
    """Yield the findings of this detector; warning, critical: shares of the usable ports."""
    if are_all_bound(data):
        yield _all_bound(data, detector, warning, port_range)
        return
    for bound in data.ephemeral.bound_before_connect[:1]:
        yield from _judge(data, detector, (warning, critical), bound, port_range)


def are_all_bound(data: DetectorInput) -> bool:
    """Whether bind() has left no port, so that shares of the usable ports say nothing."""
    return bool(data.ephemeral.bound) and not data.ephemeral.usable


def _judge(
    data: DetectorInput,
    detector: str,
    ratios: tuple[float, float],
    bound: BoundBeforeConnect,
    port_range: PortRange,
) -> Iterator[Finding]:
    """Judge ports that bind() took before connect(): each is lost for all destinations."""
    key = FindingKey(detector, data.netns, Subject("outbound"))
    usable = max(data.ephemeral.usable, 1)
    ratio = bound.ports / usable
    judged = severity(data, key, ratio, *ratios)
    if judged is None:
        return
    table = data.table
    rows = np.flatnonzero(
        ~data.directions.is_inbound & (table.state != TcpState.CLOSE) & (table.inode != 0)
    )
    rows = rows[equals(table.local[rows], bound.source)]
    groups = data.groups(rows)
    yield Finding(
        detector=detector,
        severity=judged,
        netns=data.netns,
        subject=Subject("outbound"),
        value=ratio,
        limit=ratios[0],
        summary=of_whom(data.owners.get(groups[0][0]) if groups else None)
        + Text(
            f"{bound.ports} of {usable} local ports of {bound.source} are held by bind() before "
            "connect(): each is lost for all destinations",
            f"{bound.source} 的 {usable} 个本地端口中有 {bound.ports} 个被先 bind() 再 connect() "
            "的应用占用："
            "这样的端口对所有目的地址都不能再用",
        ),
        evidence={
            "source": evidence.text(bound.source),
            "held_by_bind_before_connect": evidence.count(bound.ports),
            "usable": evidence.count(usable),
            "range": evidence.text(f"{port_range.low}-{port_range.high}"),
            "by_state": evidence.states_of(data, rows),
            "destinations": evidence.peers(data, rows),
        },
        advice=(
            *widen(data, port_range),
            Advice(
                Text(
                    "An application binds to a source address, and only then connects. bind() to "
                    "port 0 reserves a port for every destination at once; when all are taken, it "
                    "fails with EADDRINUSE, though no destination is near its limit. Set "
                    "IP_BIND_ADDRESS_NO_PORT before bind(): then connect() chooses the port (nginx "
                    "does so for proxy_bind; HAProxy for source).",
                    "应用先 bind() 源地址再 connect()。bind() 端口 0 会一次性为所有目的地址占住一"
                    "个端口；"
                    "全部占完后 bind() 返回 EADDRINUSE，尽管任何一个目的地址都远没到上限。在 "
                    "bind() 之前设置 "
                    "IP_BIND_ADDRESS_NO_PORT，让 connect() 来选端口（nginx 的 proxy_bind、"
                    "HAProxy 的 "
                    "source 就是这样做的）。",
                )
            ),
            see("-tanpo", filter_=f"'src {host(bound.source)}'"),
        ),
        group=groups[0][0] if groups else None,
        inodes=inodes(table, groups[0][1]) if groups else (),
    )


def _all_bound(
    data: DetectorInput, detector: str, warning: float, port_range: PortRange
) -> Finding:
    """No destination is known: bind() has taken the ports of all."""
    ports = data.ephemeral
    assert ports.bound is not None
    return Finding(
        detector=detector,
        severity="critical",
        netns=data.netns,
        subject=Subject("outbound"),
        value=1.0,
        limit=warning,
        summary=Text(
            f"no local port is left for any destination: bind() holds all {ports.bound}",
            f"所有目的地址都没有本地端口可用：{ports.bound} 个端口全部被 bind() 占用",
        ),
        evidence={
            "range": evidence.text(f"{port_range.low}-{port_range.high}"),
            "usable": evidence.count(0),
            "reserved": evidence.count(ports.reserved),
            "held_by_bind": evidence.count(ports.bound),
        },
        advice=(
            *widen(data, port_range),
            Advice(
                Text(
                    "Every connect() fails with EADDRNOTAVAIL, and bind() to port 0 with "
                    "EADDRINUSE. An application that binds to a source address before it connects "
                    "should set IP_BIND_ADDRESS_NO_PORT; one that binds and neither listens nor "
                    "connects leaks.",
                    "每个 connect() 都返回 EADDRNOTAVAIL，bind() 端口 0 返回 EADDRINUSE。先绑定源"
                    "地址再"
                    "连接的应用应当设置 IP_BIND_ADDRESS_NO_PORT；只 bind 却既不监听也不连接的，就"
                    "是泄漏。",
                )
            ),
            Advice(
                Text("See who holds them:", "查看被谁占用："),
                Command(
                    f"ss -tanpo '( sport >= :{port_range.low} and sport <= :{port_range.high} )'"
                ),
                "look",
            ),
        ),
    )
