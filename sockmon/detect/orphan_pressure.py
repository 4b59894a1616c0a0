"""Orphan pressure: sockets that no process holds any more, and that cannot end."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from sockmon.detect.detector import Detector, DetectorThresholds, Ratio, severity
from sockmon.detect.evidence import per_second, percent
from sockmon.model.detector_input import DetectorInput
from sockmon.model.finding import Finding, FindingKey, Subject
from sockmon.model.states import TcpState

NAME = "orphan_pressure"

_STATES = (TcpState.FIN_WAIT1, TcpState.FIN_WAIT2, TcpState.LAST_ACK, TcpState.CLOSING)
_TIME_WAIT_TIMER = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds(DetectorThresholds):
    """Shares of tcp_max_orphans, a quarter of which is what the kernel begins to punish from."""

    warning_ratio: Ratio = 0.25
    critical_ratio: Ratio = 0.5


def find(sight: DetectorInput, limits: Thresholds) -> Iterator[Finding]:
    """Yield a finding when the host's orphans near their bound."""
    sockstat, most = sight.limits.sockstat, sight.limits.orphan_limit
    if sockstat is None or most is None:
        return
    key: FindingKey = (NAME, sight.netns, Subject())
    ratio = sockstat.orphans / max(most, 1)
    judged = severity(sight, key, ratio, limits.warning_ratio, limits.critical_ratio)
    if judged is None:
        return
    yield Finding(
        detector=NAME,
        severity=judged,
        netns=sight.netns,
        subject=Subject(),
        value=ratio,
        limit=limits.warning_ratio,
        summary=(
            f"{sockstat.orphans} sockets have been closed by their processes and cannot end: "
            f"{percent(ratio)} of tcp_max_orphans ({most})"
        ),
        evidence=_evidence(sight, sockstat.orphans, most),
        advice=(
            (
                "Their data or their FIN is not acknowledged: peers that went away, or that read "
                "slowly. This host's processes have let them go and can do nothing."
            ),
            (
                f"From a quarter of net.ipv4.tcp_max_orphans = {most} on the kernel may reset "
                "them, and counts TCPAbortOnMemory: clients then lose the end of their answers."
            ),
            "See whose they are: ss -tno state fin-wait-1 state last-ack state closing",
            (
                "If the peers are strangers in great number, it may be an attack: limit "
                "connections by source in front of this host."
            ),
            (
                "See how often the kernel tries: sysctl net.ipv4.tcp_orphan_retries (0 means 8; a "
                "smaller number ends them sooner). If the load is wanted, raise tcp_max_orphans "
                "(an orphan can take 64 KiB)."
            ),
        ),
    )


DETECTOR = Detector(NAME, "SockmonOrphanPressure", Thresholds, find)


def _evidence(sight: DetectorInput, orphans: int, most: int) -> dict[str, Any]:
    table = sight.table
    rows = np.flatnonzero(
        np.isin(table.state, _STATES) & (table.inode == 0) & (table.timer != _TIME_WAIT_TIMER)
    )
    counts = {state.label: int((table.state[rows] == state).sum()) for state in _STATES}
    return {
        "orphans": orphans,
        "orphans_limit": most,
        "by_state_here": {label: count for label, count in counts.items() if count},
        "unacknowledged_bytes_here": int(table.send_queue[rows].astype(np.int64).sum()),
        "peers": sight.peers(rows),
        "per_second": per_second(sight.rates, ("TCPAbortOnMemory", "TCPAbortOnTimeout")),
    }
