"""Connects that stall: the destination does not answer the SYN."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sockmon.detect.detector import HYSTERESIS, Count, Detector, DetectorThresholds, severity
from sockmon.detect.evidence import inodes, only
from sockmon.detect.syn_retries import seconds_to_connect, seconds_to_give_up
from sockmon.durations import roughly
from sockmon.model.detector_input import DetectorInput
from sockmon.model.finding import Finding, FindingKey, Subject
from sockmon.model.limits import PORTS, TcpSettings
from sockmon.model.states import TcpState

NAME = "connect_stalled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds(DetectorThresholds):
    """How many connects to one address and port may be unanswered, after how many retransmits."""

    unanswered_retransmits: Count = 2
    warning_sockets: Count = 5
    critical_sockets: Count = 50


def find(sight: DetectorInput, limits: Thresholds) -> Iterator[Finding]:
    """Yield a finding for each destination port; its value is that of its worst destination."""
    table = sight.table
    calling = np.flatnonzero(table.state == TcpState.SYN_SENT)
    rows = calling[table.retransmits[calling] >= limits.unanswered_retransmits]
    sockets = np.bincount(table.remote_port[rows], minlength=PORTS)
    for port in np.flatnonzero(sockets >= HYSTERESIS * limits.warning_sockets).tolist():
        finding = _judge(sight, limits, port, rows[table.remote_port[rows] == port])
        if finding is not None:
            yield finding


DETECTOR = Detector(NAME, "SockmonConnectStalled", Thresholds, find)


def _judge(
    sight: DetectorInput, limits: Thresholds, port: int, rows: NDArray[np.intp]
) -> Finding | None:
    subject = Subject("outbound", port)
    key: FindingKey = (NAME, sight.netns, subject)
    destinations = sight.peers(rows)
    worst = int(destinations[0]["sockets"])
    judged = severity(sight, key, worst, limits.warning_sockets, limits.critical_sockets)
    if judged is None:
        return None
    group, held = sight.groups(rows)[0]
    evidence = _evidence(sight, rows, destinations)
    return Finding(
        detector=NAME,
        severity=judged,
        netns=sight.netns,
        subject=subject,
        value=worst,
        limit=limits.warning_sockets,
        summary=(
            f"{destinations[0]['address']} does not answer at port {port}: {worst} connections "
            f"wait after up to {evidence['tries_most']} retransmitted SYNs"
        ),
        evidence=evidence,
        advice=_advice(sight.limits.settings, port, str(destinations[0]["address"])),
        group=group,
        inodes=inodes(sight.table, held),
    )


def _evidence(
    sight: DetectorInput, rows: NDArray[np.intp], destinations: list[dict[str, str | int]]
) -> dict[str, Any]:
    table, settings = sight.table, sight.limits.settings
    tries = table.retransmits[rows]
    evidence: dict[str, Any] = {
        "destinations": destinations,
        "sockets": int(rows.size),
        "tries_most": int(tries.max()),
        "tries_fewest": int(tries.min()),
    }
    if settings is not None:
        eldest = rows[np.lexsort((table.expires[rows], -tries.astype(np.int16)))[0]]
        evidence["syn_retries"] = settings.syn_retries
        evidence["syn_linear_timeouts"] = settings.syn_linear_timeouts
        evidence["first_gives_up_seconds"] = round(
            seconds_to_give_up(
                int(table.retransmits[eldest]),
                int(table.expires[eldest]) / 1000,
                settings.syn_retries,
                settings.syn_linear_timeouts,
            )
        )
    return evidence


def _advice(settings: TcpSettings | None, port: int, address: str) -> tuple[str, ...]:
    advice = [
        (
            f"Nothing comes back from {address}: the host or the path is down, a firewall drops "
            "the SYN, or the listener there has no room. (A closed port would have refused at "
            "once.)"
        ),
        (
            f"Ask the destination itself: is it up; ss -tln '( sport = :{port} )' (Recv-Q at "
            "Send-Q: its accept queue is full); nstat -az TcpExtListenOverflows "
            "TcpExtTCPReqQFullDrop"
        ),
        (
            f"Ask the path: ip route get {address}; traceroute -T -p {port} {address}; here, "
            "whether the conntrack table is full: dmesg"
        ),
    ]
    if settings is not None:
        total = seconds_to_connect(settings.syn_retries, settings.syn_linear_timeouts)
        advice.append(
            f"The kernel gives up after {roughly(total)} (net.ipv4.tcp_syn_retries = "
            f"{settings.syn_retries}). An application that cannot wait so long needs a connect "
            "timeout of its own, and should try another address."
        )
    advice.append(f"See them: ss -tnpo state syn-sent {only('outbound', port)}")
    return tuple(advice)
