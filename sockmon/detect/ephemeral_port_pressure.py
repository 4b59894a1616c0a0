"""Ephemeral port pressure: towards one destination no port is left, and connect() fails.

A forecast under `critical_exhaustion` counts only from `forecast_ratio` of the ports on. Every
start is a straight line: connections of which each leaves a TIME_WAIT behind grow for 60 s, at a
rate that would exhaust the range, and then no more. From half the range on the line is news: what
levels off below has not been heard of, and what goes on is told before the last port is gone.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sockmon.detect.detector import (
    HYSTERESIS,
    Detector,
    DetectorThresholds,
    Ratio,
    Seconds,
    severity,
)
from sockmon.detect.evidence import inodes, percent
from sockmon.durations import roughly
from sockmon.model.detector_input import DetectorInput
from sockmon.model.finding import Finding, FindingKey, Severity, Subject
from sockmon.model.limits import PortRange
from sockmon.model.ports import Destination, PortUse
from sockmon.model.states import TcpState
from sockmon.model.table import Column, IPAddress

NAME = "ephemeral_port_pressure"


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds(DetectorThresholds):
    """Shares of the usable ports that one destination may take, and what the forecast must say."""

    warning_ratio: Ratio = 0.7
    critical_ratio: Ratio = 0.9
    critical_exhaustion: Seconds = 600.0
    forecast_ratio: Ratio = 0.5


def find(sight: DetectorInput, limits: Thresholds) -> Iterator[Finding]:
    """Yield a finding for each destination port whose worst destination runs out of ports.

    For each, since two destinations may take turns at being the worst of all.
    """
    if sight.limits.port_range is None:
        return
    if sight.ephemeral.bound and not sight.ephemeral.usable:
        yield _all_bound(sight, limits, sight.limits.port_range)
    judged: set[int] = set()
    for use in sight.ephemeral.busiest:
        if use.destination.port not in judged:
            judged.add(use.destination.port)
            yield from _judge(sight, limits, use)


DETECTOR = Detector(NAME, "SockmonEphemeralPortPressure", Thresholds, find, needs_whole_table=True)


def _judge(sight: DetectorInput, limits: Thresholds, use: PortUse) -> Iterator[Finding]:
    subject = Subject("outbound", use.destination.port)
    key: FindingKey = (NAME, sight.netns, subject)
    ratio = use.used / max(sight.ephemeral.usable, 1)
    judged = severity(sight, key, ratio, limits.warning_ratio, limits.critical_ratio)
    if judged != "critical" and _runs_out_soon(sight, limits, key, use):
        judged = "critical"
    if judged is not None:
        yield _finding(sight, limits, use, ratio, judged)


def _runs_out_soon(sight: DetectorInput, limits: Thresholds, key: FindingKey, use: PortUse) -> bool:
    if use is not sight.ephemeral.busiest[0]:
        return False  # the forecast is that of the soonest, which is hardly this one
    past = sight.past.get(key)
    slack = HYSTERESIS if past is not None and past.severity == "critical" else 1.0
    enough = use.used >= limits.forecast_ratio * sight.ephemeral.usable * slack
    return enough and sight.exhaustion_seconds * slack < limits.critical_exhaustion


def _finding(
    sight: DetectorInput, limits: Thresholds, use: PortUse, ratio: float, judged: Severity
) -> Finding:
    to = use.destination
    rows = _holders(sight, to)
    held = rows[sight.table.inode[rows] != 0]
    groups = sight.groups(held)
    return Finding(
        detector=NAME,
        severity=judged,
        netns=sight.netns,
        subject=Subject("outbound", to.port),
        value=ratio,
        limit=limits.warning_ratio,
        summary=(
            f"connections from {to.source} to {_endpoint(to.address, to.port)} use "
            f"{percent(ratio)} of the local ports ({use.used} of {sight.ephemeral.usable})"
            + (f", all in about {roughly(sight.exhaustion_seconds)}" if _forecast(sight) else "")
        ),
        evidence=_evidence(sight, use),
        advice=_advice(sight, use),
        group=groups[0][0] if groups else None,
        inodes=inodes(sight.table, groups[0][1]) if groups else (),
    )


def _all_bound(sight: DetectorInput, limits: Thresholds, port_range: PortRange) -> Finding:
    """No destination can be told: bind() has taken the ports of all."""
    ports = sight.ephemeral
    return Finding(
        detector=NAME,
        severity="critical",
        netns=sight.netns,
        subject=Subject("outbound"),
        value=1.0,
        limit=limits.warning_ratio,
        summary=f"no local port is left for any destination: bind() holds all {ports.bound}",
        evidence={
            "range": f"{port_range.low}-{port_range.high}",
            "usable": 0,
            "reserved": ports.reserved,
            "bound": ports.bound,
        },
        advice=(
            "Every connect() fails with EADDRNOTAVAIL, and bind() to port 0 with EADDRINUSE.",
            (
                "An application that binds to a source address before it connects should set "
                "IP_BIND_ADDRESS_NO_PORT; one that binds and neither listens nor connects leaks."
            ),
            (
                f"net.ipv4.ip_local_port_range is {port_range.low} {port_range.high}, less "
                f"{ports.reserved} reserved: widen it."
            ),
            f"See who: ss -tanpo '( sport >= :{port_range.low} and sport <= :{port_range.high} )'",
        ),
    )


def _forecast(sight: DetectorInput) -> bool:
    return 0 < sight.exhaustion_seconds < math.inf


def _evidence(sight: DetectorInput, use: PortUse) -> dict[str, Any]:
    ports, limits = sight.ephemeral, sight.limits
    evidence: dict[str, Any] = {
        "source": str(use.destination.source),
        "destination": str(use.destination.address),
        "destination_port": use.destination.port,
        "used": use.used,
        "usable": ports.usable,
        "reserved": ports.reserved,
        "bound": ports.bound,
        "by_state": {
            state.label: count for state, count in sorted(use.states.items(), key=_by_count)
        },
    }
    if limits.port_range is not None:
        evidence["range"] = f"{limits.port_range.low}-{limits.port_range.high}"
    if limits.time_wait_reuse is not None:
        evidence["tw_reuse"] = limits.time_wait_reuse.mode
    if sight.exhaustion_seconds < math.inf:
        evidence["exhaustion_seconds"] = round(sight.exhaustion_seconds)
    return evidence


def _by_count(item: tuple[TcpState, int]) -> int:
    return -item[1]


def _advice(sight: DetectorInput, use: PortUse) -> tuple[str, ...]:
    to, ports, port_range = use.destination, sight.ephemeral, sight.limits.port_range
    assert port_range is not None
    advice = [
        (
            f"When all {ports.usable} are in use, connect() to {_endpoint(to.address, to.port)} "
            "fails with EADDRNOTAVAIL. Other destinations still work."
        ),
        _remedy(max(use.states, key=lambda state: use.states[state]), to.port),
    ]
    if use.states.get(TcpState.TIME_WAIT):
        advice += _about_reuse(sight)
    advice.append(
        f"net.ipv4.ip_local_port_range is {port_range.low} {port_range.high}, less "
        f"{ports.reserved} reserved and {ports.bound} held by bind(). More: widen it (put ports "
        "that are listened on into ip_local_reserved_ports first), or add a source or a "
        "destination address."
    )
    advice.append(
        f"See them: ss -tanpo 'src {_host(to.source)} and dst {_endpoint(to.address, to.port)}'"
    )
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
    return f"Most are in {state.spelled('ss')}: the destination does not end its side. Look there."


def _about_reuse(sight: DetectorInput) -> list[str]:
    reuse = sight.limits.time_wait_reuse
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
            f"({'loopback alone' if reuse.mode else 'never'}): with 1, connect() takes over ports "
            f"that have been in TIME_WAIT for {reuse.delay_ms} ms. It serves the connections this "
            "host makes, and is safe with timestamps at both ends."
        )
    ]


def _holders(sight: DetectorInput, to: Destination) -> NDArray[np.intp]:
    table = sight.table
    rows = np.flatnonzero((table.remote_port == to.port) & ~sight.directions.is_inbound)
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
