"""TIME_WAIT pressure: as many as the kernel keeps. Far below that bound they are harmless."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from sockmon.detect.detector import Detector, DetectorThresholds, Ratio, severity
from sockmon.detect.evidence import only, per_second, percent
from sockmon.model.detector_input import DetectorInput
from sockmon.model.direction import Direction
from sockmon.model.finding import Finding, FindingKey, Subject
from sockmon.model.states import TcpState

NAME = "time_wait_pressure"

_EVENTS = ("TW", "TWRecycled", "TCPTimeWaitOverflow")
_PLACES_SHOWN = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds(DetectorThresholds):
    """Shares of tcp_max_tw_buckets."""

    warning_ratio: Ratio = 0.8
    critical_ratio: Ratio = 0.95


def find(sight: DetectorInput, limits: Thresholds) -> Iterator[Finding]:
    """Yield a finding when the namespace's time-wait buckets run out."""
    sockstat, most = sight.limits.sockstat, sight.limits.time_wait_limit
    if sockstat is None or most is None or most < 0:  # the kernel takes -1 for 4 billion
        return
    key: FindingKey = (NAME, sight.netns, Subject())
    ratio = sockstat.time_wait / max(most, 1)
    judged = severity(sight, key, ratio, limits.warning_ratio, limits.critical_ratio)
    overflow = sight.rates.events.get("TCPTimeWaitOverflow", 0.0)
    if overflow > 0:
        judged = "critical"
    if judged is None:
        return
    evidence = _evidence(sight, sockstat.time_wait, most)
    yield Finding(
        detector=NAME,
        severity=judged,
        netns=sight.netns,
        subject=Subject(),
        value=ratio,
        limit=limits.warning_ratio,
        summary=(
            f"{percent(ratio)} of the time-wait buckets are in use ({sockstat.time_wait} of {most})"
            + (f"; {overflow:.1f} a second find none" if overflow > 0 else "")
        ),
        evidence=evidence,
        advice=_advice(sight, evidence, most),
    )


DETECTOR = Detector(NAME, "SockmonTimeWaitPressure", Thresholds, find, needs_whole_table=True)


def _evidence(sight: DetectorInput, buckets: int, most: int) -> dict[str, Any]:
    rows = np.flatnonzero(sight.table.state == TcpState.TIME_WAIT)
    # One number a (direction, port): twice the port, and one more for a listener's.
    places = sight.directions.port[rows].astype(np.intp) * 2 + sight.directions.is_inbound[rows]
    counts = np.bincount(places)
    top = np.argsort(-counts, kind="stable")[:_PLACES_SHOWN].tolist()
    listener = int(sight.directions.is_inbound[rows].sum())
    evidence: dict[str, Any] = {
        "buckets": buckets,
        "buckets_limit": most,
        "by_direction": {"inbound": listener, "outbound": int(rows.size) - listener},
        "top": [
            {"direction": _direction(at), "port": at // 2, "sockets": int(counts[at])}
            for at in top
            if counts[at]
        ],
        "per_second": per_second(sight.rates, _EVENTS),
    }
    if sight.limits.time_wait_reuse is not None:
        evidence["tw_reuse"] = sight.limits.time_wait_reuse.mode
    return evidence


def _direction(place: int) -> Direction:
    return "inbound" if place % 2 else "outbound"


def _advice(sight: DetectorInput, evidence: dict[str, Any], most: int) -> tuple[str, ...]:
    advice = [
        (
            f"Past net.ipv4.tcp_max_tw_buckets = {most} the kernel closes without TIME_WAIT: "
            "nothing is refused, but a late segment may be taken for one of the next connection."
        ),
    ]
    for direction, sockets in sorted(evidence["by_direction"].items(), key=lambda item: -item[1]):
        first = next((at for at in evidence["top"] if at["direction"] == direction), None)
        if first is not None:
            advice.append(_whose(direction, sockets, first["port"]))
    advice.append(
        f"If the load is wanted: sysctl net.ipv4.tcp_max_tw_buckets={2 * max(most, 1)} (a bucket "
        "takes about 300 bytes). TIME_WAIT always lasts 60 s; no setting changes that."
    )
    reuse = sight.limits.time_wait_reuse
    if reuse is not None and evidence["by_direction"]["outbound"]:
        advice.append(
            f"net.ipv4.tcp_tw_reuse is {reuse.mode} here (0 never, 1 always, 2 on loopback alone): "
            "it lets connections that this host makes take over a bucket, never accepted ones."
        )
    if evidence["top"]:
        most_of = evidence["top"][0]
        shown = only(most_of["direction"], most_of["port"])
        advice.append(f"See them: ss -tan state time-wait {shown}")
    return tuple(advice)


def _whose(direction: Direction, sockets: int, port: int) -> str:
    if direction == "inbound":
        return (
            f"{sockets} are of listeners, most of port {port}: this host closes first. Let the "
            "server keep connections open longer (keep-alive), or let its clients close."
        )
    return (
        f"{sockets} are of connections that this host made, most to port {port}, and closed "
        "first: let those clients keep connections and use them again (a pool, keep-alive)."
    )
