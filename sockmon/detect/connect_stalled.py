"""Connects that stall: the destination does not answer the SYN."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sockmon.detect import evidence
from sockmon.detect.commands import only, see
from sockmon.detect.detector import (
    HYSTERESIS,
    Count,
    Detector,
    DetectorThresholds,
    Rule,
    severity,
    threshold,
)
from sockmon.detect.evidence import inodes
from sockmon.detect.syn_retries import seconds_to_connect, seconds_to_give_up
from sockmon.durations import roughly
from sockmon.model.detector_input import DetectorInput
from sockmon.model.finding import (
    Advice,
    Breakdown,
    Command,
    Finding,
    FindingKey,
    Quantity,
    Subject,
)
from sockmon.model.limits import PORTS, TcpSettings
from sockmon.model.states import TcpState

NAME = "connect_stalled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds(DetectorThresholds):
    """How many connects to one address and port may be unanswered, after how many retransmits."""

    unanswered_retransmits: Count = threshold(2, "a connect counts after so many SYN retransmits")
    warning_sockets: Count = threshold(5, "to one address and port")
    critical_sockets: Count = threshold(50, "to one address and port")


def find(data: DetectorInput, thresholds: Thresholds) -> Iterator[Finding]:
    """Yield a finding for each destination port; its value is that of its worst destination."""
    table = data.table
    calling = np.flatnonzero(table.state == TcpState.SYN_SENT)
    rows = calling[table.retransmits[calling] >= thresholds.unanswered_retransmits]
    sockets = np.bincount(table.remote_port[rows], minlength=PORTS)
    for port in np.flatnonzero(sockets >= HYSTERESIS * thresholds.warning_sockets).tolist():
        finding = _judge(data, thresholds, port, rows[table.remote_port[rows] == port])
        if finding is not None:
            yield finding


def _judge(
    data: DetectorInput, thresholds: Thresholds, port: int, rows: NDArray[np.intp]
) -> Finding | None:
    subject = Subject("outbound", port)
    key = FindingKey(NAME, data.netns, subject)
    address, worst = data.peers(rows, 1)[0]
    judged = severity(data, key, worst, thresholds.warning_sockets, thresholds.critical_sockets)
    if judged is None:
        return None
    group, held = data.groups(rows)[0]
    tries = int(data.table.retransmits[rows].max())
    return Finding(
        detector=NAME,
        severity=judged,
        netns=data.netns,
        subject=subject,
        value=worst,
        limit=thresholds.warning_sockets,
        summary=(
            f"{address} does not answer at port {port}: {worst} connections wait after up to "
            f"{tries} retransmitted SYNs"
        ),
        evidence=_evidence(data, rows),
        advice=_advice(data.limits.settings, port, str(address)),
        group=group,
        inodes=inodes(data.table, held),
        rows=rows,
    )


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


def _advice(settings: TcpSettings | None, port: int, address: str) -> tuple[Advice, ...]:
    advice = [
        Advice(
            f"Nothing comes back from {address}: the host or the path is down, a firewall drops "
            "the SYN, or the listener there has no room. (A closed port would have refused at "
            "once.)"
        ),
        Advice(
            "Is the destination up, and is its accept queue full (Recv-Q at Send-Q)?",
            Command(f"ss -tln '( sport = :{port} )'", "peer"),
            "look",
        ),
        Advice(
            "Does the destination drop connections?",
            Command("nstat -az TcpExtListenOverflows TcpExtTCPReqQFullDrop", "peer"),
            "look",
        ),
        Advice("Which way do packets go?", Command(f"ip route get {address}"), "look"),
        Advice(
            "How far do SYNs get?",
            Command(f"traceroute -n -T -p {port} {address}"),
            "look",
        ),
        Advice(
            "Is the conntrack table of this host full?",
            Command("dmesg | grep nf_conntrack", "here"),
            "look",
        ),
    ]
    if settings is not None:
        total = seconds_to_connect(settings.syn_retries, settings.syn_linear_timeouts)
        advice.append(
            Advice(
                f"The kernel gives up after {roughly(total)} (net.ipv4.tcp_syn_retries = "
                f"{settings.syn_retries}). An application that cannot wait so long needs a "
                "connect timeout of its own, and should try another address."
            )
        )
    advice.append(see("-tnpo", TcpState.SYN_SENT, filter_=only("outbound", port)))
    return tuple(advice)


DETECTOR = Detector(
    name=NAME,
    about="connections that nobody answers",
    title="Nobody answers",
    actor="The destination, or the network to it",
    state=TcpState.SYN_SENT,
    thresholds=Thresholds,
    find=find,
    rule=Rule(
        summary="connects get no answer",
        explanation=(
            "SYNs to one destination are sent again and again: it is down, or a firewall on the "
            "way drops them."
        ),
    ),
)
