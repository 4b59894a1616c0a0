"""Ephemeral port pressure: towards one destination no port is left, and connect() fails.

A forecast under `critical_exhaustion` counts only from `forecast_ratio` of the ports on. Every
start is a straight line: connections of which each leaves a TIME_WAIT behind grow for 60 s, at a
rate that would exhaust the range, and then no more. From half the range on the line is news: what
levels off below has not been heard of, and what goes on is told before the last port is gone.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sockmon.detect import evidence
from sockmon.detect.commands import see
from sockmon.detect.detector import (
    HYSTERESIS,
    Detector,
    DetectorThresholds,
    Ratio,
    Rule,
    Seconds,
    Series,
    severity,
    threshold,
)
from sockmon.detect.evidence import inodes, percent
from sockmon.durations import roughly
from sockmon.model.detector_input import DetectorInput
from sockmon.model.finding import (
    Advice,
    Breakdown,
    Command,
    Deadline,
    Finding,
    FindingKey,
    Quantity,
    Severity,
    Subject,
)
from sockmon.model.limits import PortRange
from sockmon.model.ports import Destination, PortUse
from sockmon.model.states import TcpState
from sockmon.model.table import Column, IPAddress

NAME = "ephemeral_port_pressure"

_WIDEST = "1024 65535"


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds(DetectorThresholds):
    """Shares of the usable ports that one destination may take, and what the forecast must say."""

    warning_ratio: Ratio = threshold(0.7, "of the usable ports, towards one destination")
    critical_ratio: Ratio = threshold(0.9, "of the usable ports, towards one destination")
    critical_exhaustion: Seconds = threshold(600.0, "critical: the forecast is sooner than this")
    forecast_ratio: Ratio = threshold(0.5, "the forecast counts from this share of the ports on")


def find(data: DetectorInput, thresholds: Thresholds) -> Iterator[Finding]:
    """Yield a finding for each destination port whose worst destination runs out of ports.

    For each, since two destinations may take turns at being the worst of all.
    """
    if data.limits.port_range is None:
        return
    if data.ephemeral.bound and not data.ephemeral.usable:
        yield _all_bound(data, thresholds, data.limits.port_range)
    judged: set[int] = set()
    for use in data.ephemeral.busiest:
        if use.destination.port not in judged:
            judged.add(use.destination.port)
            yield from _judge(data, thresholds, use)


def _judge(data: DetectorInput, thresholds: Thresholds, use: PortUse) -> Iterator[Finding]:
    subject = Subject("outbound", use.destination.port)
    key = FindingKey(NAME, data.netns, subject)
    ratio = use.used / max(data.ephemeral.usable, 1)
    judged = severity(data, key, ratio, thresholds.warning_ratio, thresholds.critical_ratio)
    if judged != "critical" and _runs_out_soon(data, thresholds, key, use):
        judged = "critical"
    if judged is not None:
        yield _finding(data, thresholds, use, ratio, judged)


def _runs_out_soon(
    data: DetectorInput, thresholds: Thresholds, key: FindingKey, use: PortUse
) -> bool:
    if use is not data.ephemeral.busiest[0]:
        return False  # the forecast is that of the soonest, which is hardly this one
    past = data.past.get(key)
    slack = HYSTERESIS if past is not None and past.severity == "critical" else 1.0
    enough = use.used >= thresholds.forecast_ratio * data.ephemeral.usable * slack
    return enough and data.exhaustion_seconds * slack < thresholds.critical_exhaustion


def _finding(
    data: DetectorInput, thresholds: Thresholds, use: PortUse, ratio: float, judged: Severity
) -> Finding:
    to = use.destination
    rows = _holders(data, to)
    held = rows[data.table.inode[rows] != 0]
    groups = data.groups(held)
    seconds_left = _seconds_left(data, use)
    return Finding(
        detector=NAME,
        severity=judged,
        netns=data.netns,
        subject=Subject("outbound", to.port),
        value=ratio,
        limit=thresholds.warning_ratio,
        summary=(
            f"connections from {to.source} to {_endpoint(to.address, to.port)} use "
            f"{percent(ratio)} of the local ports ({use.used} of {data.ephemeral.usable})"
            + (f", all in about {roughly(seconds_left)}" if seconds_left else "")
        ),
        evidence=_evidence(data, use),
        advice=_advice(data, use),
        deadline=(None if seconds_left is None else Deadline("local ports run out", seconds_left)),
        group=groups[0][0] if groups else None,
        inodes=inodes(data.table, groups[0][1]) if groups else (),
    )


def _all_bound(data: DetectorInput, thresholds: Thresholds, port_range: PortRange) -> Finding:
    """No destination can be told: bind() has taken the ports of all."""
    ports = data.ephemeral
    return Finding(
        detector=NAME,
        severity="critical",
        netns=data.netns,
        subject=Subject("outbound"),
        value=1.0,
        limit=thresholds.warning_ratio,
        summary=f"no local port is left for any destination: bind() holds all {ports.bound}",
        evidence={
            "range": evidence.text(f"{port_range.low}-{port_range.high}"),
            "usable": evidence.count(0),
            "reserved": evidence.count(ports.reserved),
            "held_by_bind": evidence.count(ports.bound),
        },
        advice=(
            Advice(
                f"net.ipv4.ip_local_port_range is {port_range.low} {port_range.high}, less "
                f"{ports.reserved} reserved: widen it.",
                Command(f"sysctl -w net.ipv4.ip_local_port_range='{_WIDEST}'", effect="changes"),
                "stop",
            ),
            Advice(
                "Every connect() fails with EADDRNOTAVAIL, and bind() to port 0 with EADDRINUSE. "
                "An application that binds to a source address before it connects should set "
                "IP_BIND_ADDRESS_NO_PORT; one that binds and neither listens nor connects leaks."
            ),
            Advice(
                "See who holds them:",
                Command(
                    f"ss -tanpo '( sport >= :{port_range.low} and sport <= :{port_range.high} )'"
                ),
                "look",
            ),
        ),
    )


def _seconds_left(data: DetectorInput, use: PortUse) -> float | None:
    """Return the forecast, which is that of the soonest: as a rule, of the busiest destination."""
    finite = data.exhaustion_seconds < math.inf
    return data.exhaustion_seconds if finite and use is data.ephemeral.busiest[0] else None


def _evidence(data: DetectorInput, use: PortUse) -> dict[str, Quantity | Breakdown]:
    ports, limits = data.ephemeral, data.limits
    found: dict[str, Quantity | Breakdown] = {
        "source": evidence.text(use.destination.source),
        "destination": evidence.text(use.destination.address),
        "destination_port": Quantity(use.destination.port, "port"),
        "used": evidence.count(use.used),
        "usable": evidence.count(ports.usable),
        "reserved": evidence.count(ports.reserved),
        "held_by_bind": evidence.count(ports.bound),
        "by_state": evidence.by_state(use.states),
    }
    if limits.port_range is not None:
        found["range"] = evidence.text(f"{limits.port_range.low}-{limits.port_range.high}")
    if limits.time_wait_reuse is not None:
        found["tcp_tw_reuse"] = evidence.count(limits.time_wait_reuse.mode)
    return found


def _advice(data: DetectorInput, use: PortUse) -> tuple[Advice, ...]:
    to, ports, port_range = use.destination, data.ephemeral, data.limits.port_range
    assert port_range is not None
    advice = [
        Advice(
            f"net.ipv4.ip_local_port_range is {port_range.low} {port_range.high}, less "
            f"{ports.reserved} reserved and {ports.bound} held by bind(). More: widen it (put "
            "ports that are listened on into ip_local_reserved_ports first), or add a source or a "
            "destination address.",
            Command(f"sysctl -w net.ipv4.ip_local_port_range='{_WIDEST}'", effect="changes"),
            "stop",
        ),
        Advice(
            f"When all {ports.usable} are in use, connect() to {_endpoint(to.address, to.port)} "
            "fails with EADDRNOTAVAIL. Other destinations still work."
        ),
        Advice(_remedy(max(use.states, key=lambda state: use.states[state]), to.port)),
    ]
    if use.states.get(TcpState.TIME_WAIT):
        advice += map(Advice, _about_reuse(data))
    filter_ = f"'src {_host(to.source)} and dst {_endpoint(to.address, to.port)}'"
    advice.append(see("-tanpo", filter_=filter_))
    return tuple(advice)


def _remedy(state: TcpState, port: int) -> str:
    if state is TcpState.TIME_WAIT:
        return (
            "Most are in TIME_WAIT: clients on this host open a connection for each request and "
            "close it first. Let them keep connections and use them again (a pool; in nginx, "
            "keepalive in the upstream block)."
        )
    if state is TcpState.CLOSE_WAIT:
        return (
            "Most are in CLOSE_WAIT: the application here does not close what its peer has closed."
        )
    if state is TcpState.SYN_SENT:
        return f"Most are in SYN_SENT: nobody answers at port {port} there. Look at that host."
    if state is TcpState.ESTABLISHED:
        return (
            "Most are ESTABLISHED: so many are open at once. Bound the application's pool; if "
            "answers have become slow, look at the destination."
        )
    return f"Most are in {state.name}: the destination does not end its side. Look there."


def _about_reuse(data: DetectorInput) -> list[str]:
    reuse = data.limits.time_wait_reuse
    if reuse is None:
        return []
    if not reuse.timestamps:
        return ["net.ipv4.tcp_timestamps is off, so no port in TIME_WAIT can be taken over."]
    if reuse.mode == 1:
        return [
            (
                "net.ipv4.tcp_tw_reuse is 1: ports older than "
                f"{reuse.delay_ms} ms in TIME_WAIT are taken over, and are not counted here."
            )
        ]
    return [
        (
            f"net.ipv4.tcp_tw_reuse is {reuse.mode} "
            f"({'loopback only' if reuse.mode else 'never'}): with 1, connect() takes over ports "
            f"that have been in TIME_WAIT for {reuse.delay_ms} ms. It serves the connections this "
            "host makes, and is safe with timestamps at both ends."
        )
    ]


def _holders(data: DetectorInput, to: Destination) -> NDArray[np.intp]:
    table = data.table
    rows = np.flatnonzero((table.remote_port == to.port) & ~data.directions.is_inbound)
    rows = rows[table.family[rows] == to.address.version]
    there = _equals(table.remote[rows], to.address) & _equals(table.local[rows], to.source)
    held: NDArray[np.intp] = rows[there]
    return held


def _equals(words: Column, address: IPAddress) -> NDArray[np.bool_]:
    wanted = np.frombuffer(address.packed, np.uint32)
    equal: NDArray[np.bool_] = (words[:, : wanted.size] == wanted).all(axis=1)
    return equal


def _host(address: IPAddress) -> str:
    return f"[{address}]" if address.version == 6 else str(address)


def _endpoint(address: IPAddress, port: int) -> str:
    return f"{_host(address)}:{port}"


def _expressions(thresholds: Thresholds, of: Series) -> tuple[str, str]:
    usable = of("sockmon_ephemeral_ports_usable")
    share = f"{of('sockmon_ephemeral_ports_used_by_busiest_destination')}\n/ ({usable} > 0)"
    exhaustion = of("sockmon_ephemeral_ports_exhaustion_seconds")
    return (
        f"{share} >= {thresholds.warning_ratio:g}",
        (
            f"{share} >= {thresholds.critical_ratio:g}\n"
            f"or {usable} == 0\n"
            f"or {share} >= {thresholds.forecast_ratio:g}\n"
            f"and {exhaustion} < {thresholds.critical_exhaustion:g}"
        ),
    )


_FIGURE = "The busiest destination holds {{ $value | humanizePercentage }} of the usable ports."

DETECTOR = Detector(
    name=NAME,
    about="the local ports towards one destination run out",
    title="Local ports run out towards one destination",
    actor="The application here that connects",
    owner_acts=True,
    thresholds=Thresholds,
    find=find,
    needs_whole_table=True,
    rule=Rule(
        summary="ephemeral ports towards one destination run out",
        explanation=(
            "When they are used up, connect() fails with EADDRNOTAVAIL. Keep connections alive, or "
            "widen net.ipv4.ip_local_port_range."
        ),
        warning=_FIGURE,
        critical=f"{{{{ if $value }}}}{_FIGURE}{{{{ else }}}}bind() holds every port.{{{{ end }}}}",
        expressions=_expressions,
    ),
)
