"""FIN_WAIT2 with an owner: this side has ended its half, and the peer never ends the other.

tcp_fin_timeout ends only those that no process holds. They have no inode: as time-wait sockets, or
as orphans where tcp_fin_timeout is over 60 s. One that still receives data is a half-close in use.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sockmon.detect.detector import Count, Detector, DetectorThresholds, judge_groups
from sockmon.detect.evidence import inodes, only, place, who
from sockmon.durations import roughly
from sockmon.model.detector_input import DetectorInput
from sockmon.model.direction import Direction
from sockmon.model.finding import Finding
from sockmon.model.owner import Group
from sockmon.model.states import TcpState

NAME = "fin_wait2_stuck"


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds(DetectorThresholds):
    """How many of one group may outlive tcp_fin_timeout."""

    warning_sockets: Count = 10
    critical_sockets: Count = 100


def find(sight: DetectorInput, limits: Thresholds) -> Iterator[Finding]:
    """Yield a finding for each group with enough FIN_WAIT2 that outlived tcp_fin_timeout."""
    if sight.limits.settings is None:
        return
    timeout = sight.limits.settings.fin_timeout
    aged = sight.aged
    places = aged.of_state(TcpState.FIN_WAIT2)
    held = sight.table.inode[aged.rows[places]] != 0
    old = sight.now - aged.since[places] > timeout
    silent = sight.now - aged.received_at[places] > timeout
    places = places[held & old & silent]
    since = dict(zip(aged.rows[places].tolist(), aged.since[places].tolist(), strict=True))
    most = limits.warning_sockets, limits.critical_sockets
    for group, rows, subject, _, judged in judge_groups(sight, NAME, aged.rows[places], *most):
        oldest = sight.now - min(since[row] for row in rows.tolist())
        holder = who(sight.owners.get(group))
        yield Finding(
            detector=NAME,
            severity=judged,
            netns=sight.netns,
            subject=subject,
            value=int(rows.size),
            limit=limits.warning_sockets,
            summary=(
                f"{rows.size} connections that {holder} has ended are kept open by their peers "
                f"({place(group)}; the oldest for {roughly(oldest)})"
            ),
            evidence=_evidence(sight, rows, oldest, timeout),
            advice=_advice(group, holder, timeout),
            group=group,
            inodes=inodes(sight.table, rows),
        )


DETECTOR = Detector(NAME, "SockmonFinWait2Stuck", Thresholds, find)


def _evidence(
    sight: DetectorInput, rows: NDArray[np.intp], oldest: float, timeout: int
) -> dict[str, Any]:
    return {
        "oldest_seconds": round(oldest, 1),
        "fin_timeout_seconds": timeout,
        "unread_bytes": int(sight.table.receive_queue[rows].astype(np.int64).sum()),
        "peers": sight.peers(rows),
    }


def _advice(group: Group, holder: str, timeout: int) -> tuple[str, ...]:
    other_end: Direction = "outbound" if group.direction == "inbound" else "inbound"
    return (
        (
            f"{holder} has shut down its sending side and waits; the peers have acknowledged that "
            "and do not close. There they are in CLOSE_WAIT: the peers' application must close "
            "them."
        ),
        f"Look at a peer, there: ss -tnpo state close-wait {only(other_end, group.port)}",
        (
            f"{holder} should wait for the end only so long, and then close(): from then on the "
            f"kernel drops them after net.ipv4.tcp_fin_timeout = {timeout} s. While a process "
            "holds them, that setting does nothing."
        ),
        f"See them: ss -tnpo state fin-wait-2 {only(group.direction, group.port)}",
    )
