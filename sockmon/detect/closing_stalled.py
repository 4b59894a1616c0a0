"""Closing that stalls: the FIN, or data before it, is never acknowledged.

One whose send queue still moves is a slow reader's last answer, and no trouble.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sockmon.detect.detector import Count, Detector, DetectorThresholds, Seconds, judge_groups
from sockmon.detect.evidence import inodes, only, place
from sockmon.durations import roughly
from sockmon.model.detector_input import DetectorInput
from sockmon.model.finding import Finding
from sockmon.model.owner import Group
from sockmon.model.states import TcpState

NAME = "closing_stalled"

_STATES = (TcpState.LAST_ACK, TcpState.FIN_WAIT1, TcpState.CLOSING)
_RETRANSMIT, _ZERO_WINDOW_PROBE = 1, 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds(DetectorThresholds):
    """How many of one group may be closing for so long."""

    stalled_after: Seconds = 60.0
    warning_sockets: Count = 10
    critical_sockets: Count = 100


def find(sight: DetectorInput, limits: Thresholds) -> Iterator[Finding]:
    """Yield a finding for each group with enough sockets that cannot finish closing."""
    aged = sight.aged
    places = aged.of_state(*_STATES)
    old = sight.now - aged.since[places] >= limits.stalled_after
    still = sight.now - aged.sent_at[places] >= limits.stalled_after
    places = places[old & still]
    since = dict(zip(aged.rows[places].tolist(), aged.since[places].tolist(), strict=True))
    most = limits.warning_sockets, limits.critical_sockets
    for group, rows, subject, _, judged in judge_groups(sight, NAME, aged.rows[places], *most):
        oldest = sight.now - min(since[row] for row in rows.tolist())
        evidence = _evidence(sight, rows, oldest)
        yield Finding(
            detector=NAME,
            severity=judged,
            netns=sight.netns,
            subject=subject,
            value=int(rows.size),
            limit=limits.warning_sockets,
            summary=(
                f"{rows.size} connections {place(group)} cannot finish closing: their peers do "
                f"not acknowledge (the oldest for {roughly(oldest)})"
            ),
            evidence=evidence,
            advice=_advice(group, evidence),
            group=group,
            inodes=inodes(sight.table, rows),
        )


DETECTOR = Detector(NAME, "SockmonClosingStalled", Thresholds, find)


def _evidence(sight: DetectorInput, rows: NDArray[np.intp], oldest: float) -> dict[str, Any]:
    table = sight.table
    counts = {state.label: int((table.state[rows] == state).sum()) for state in _STATES}
    return {
        "oldest_seconds": round(oldest, 1),
        "by_state": {label: count for label, count in counts.items() if count},
        "retransmitting": int((table.timer[rows] == _RETRANSMIT).sum()),
        "probing_a_closed_window": int((table.timer[rows] == _ZERO_WINDOW_PROBE).sum()),
        "retransmits_most": int(table.retransmits[rows].max()),
        "still_held_by_a_process": int((table.inode[rows] != 0).sum()),
        "unacknowledged_bytes": int(table.send_queue[rows].astype(np.int64).sum()),
        "peers": sight.peers(rows),
    }


def _advice(group: Group, evidence: dict[str, Any]) -> tuple[str, ...]:
    peer = evidence["peers"][0]["address"]
    if evidence["probing_a_closed_window"] > evidence["retransmitting"]:
        meaning = (
            "The peers are there but do not read: their window is closed, and this host's last "
            "data waits. The peers' application must read, or close."
        )
    else:
        meaning = (
            "The peers, or the path to them, are gone: this host sends its last data and its FIN "
            "again and again, and nothing comes back."
        )
    advice = [
        meaning,
        (
            f"Look at the path: ip route get {peer}; ping {peer}; whether a firewall or a load "
            "balancer forgot these connections, and drops what it does not know."
        ),
        (
            "The kernel ends those that no process holds by itself, after "
            "net.ipv4.tcp_orphan_retries (0 means 8) tries, in minutes. Nothing needs to be "
            "restarted for them."
        ),
    ]
    if evidence["still_held_by_a_process"]:
        advice.append(
            f"{evidence['still_held_by_a_process']} are still held by a process, which has shut "
            "them down and not closed them: those last for net.ipv4.tcp_retries2 tries. It should "
            "close(), or set TCP_USER_TIMEOUT."
        )
    states = " ".join(f"state {state.spelled('ss').lower()}" for state in _STATES)
    advice.append(f"See them: ss -tnpo {states} {only(group.direction, group.port)}")
    return tuple(advice)
