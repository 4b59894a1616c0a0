"""TCP memory pressure: what all sockets have queued nears tcp_mem."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from sockmon.detect.detector import Detector, DetectorThresholds, Ratio, severity
from sockmon.detect.evidence import only, per_second, percent
from sockmon.model.detector_input import DetectorInput
from sockmon.model.finding import Finding, FindingKey, Subject
from sockmon.model.limits import TcpMemoryLimits
from sockmon.model.states import TcpState

NAME = "tcp_memory_pressure"

_EVENTS = ("TCPMemoryPressures", "TCPAbortOnMemory", "TCPBacklogDrop")
_SOCKETS_ASKED = 1000
_PLACES_SHOWN = 5
_MIB = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds(DetectorThresholds):
    """A share of tcp_mem's second number (pressure), and one of its third (high)."""

    warning_pressure_ratio: Ratio = 1.0
    critical_high_ratio: Ratio = 0.9


def find(sight: DetectorInput, limits: Thresholds) -> Iterator[Finding]:
    """Yield a finding when the host's TCP memory is under pressure; a ratio of `high`."""
    sockstat, memory = sight.limits.sockstat, sight.limits.tcp_memory
    if sockstat is None or memory is None or memory.high <= 0:
        return
    key: FindingKey = (NAME, sight.netns, Subject())
    ratio = sockstat.memory_bytes / memory.high
    warning = limits.warning_pressure_ratio * memory.pressure / memory.high
    judged = severity(sight, key, ratio, warning, limits.critical_high_ratio)
    if judged is None:
        return
    evidence = _evidence(sight, sockstat.memory_bytes, memory)
    yield Finding(
        detector=NAME,
        severity=judged,
        netns=sight.netns,
        subject=Subject(),
        value=ratio,
        limit=warning,
        summary=(
            f"TCP takes {_mib(sockstat.memory_bytes)}: {percent(ratio)} of what tcp_mem allows "
            f"({_mib(memory.high)}; pressure from {_mib(memory.pressure)} on)"
        ),
        evidence=evidence,
        advice=_advice(evidence, memory),
    )


DETECTOR = Detector(NAME, "SockmonTcpMemoryPressure", Thresholds, find, needs_whole_table=True)


def _evidence(sight: DetectorInput, used: int, memory: TcpMemoryLimits) -> dict[str, Any]:
    return {
        "memory_bytes": used,
        "low_bytes": memory.low,
        "pressure_bytes": memory.pressure,
        "high_bytes": memory.high,
        "largest_queues": _largest_queues(sight),
        "per_second": per_second(sight.rates, _EVENTS),
    }


def _largest_queues(sight: DetectorInput) -> list[dict[str, Any]]:
    """Say who has most bytes queued, by the sockets with the largest queues."""
    table = sight.table
    received, sent = table.receive_queue.astype(np.int64), table.send_queue.astype(np.int64)
    queued = np.where(table.state == TcpState.LISTEN, 0, received + sent)  # theirs are connections
    rows = np.argsort(-queued, kind="stable")[:_SOCKETS_ASKED]
    places: list[dict[str, Any]] = [
        {
            "direction": group.direction,
            "port": group.port,
            "owner": sight.owner_label(group),
            "sockets": int(part.size),
            "receive_queue_bytes": int(received[part].sum()),
            "send_queue_bytes": int(sent[part].sum()),
        }
        for group, part in sight.groups(rows[queued[rows] > 0])
    ]
    places.sort(key=lambda at: -(at["receive_queue_bytes"] + at["send_queue_bytes"]))
    return places[:_PLACES_SHOWN]


def _advice(evidence: dict[str, Any], memory: TcpMemoryLimits) -> tuple[str, ...]:
    advice = [
        (
            f"Above {_mib(memory.pressure)} the kernel shrinks every connection's buffers, so all "
            f"slow down; at {_mib(memory.high)} it drops what arrives, refuses what is "
            "sent, and resets orphans (TCPAbortOnMemory)."
        )
    ]
    if evidence["largest_queues"]:
        most = evidence["largest_queues"][0]
        shown = only(most["direction"], most["port"])
        if most["receive_queue_bytes"] >= most["send_queue_bytes"]:
            advice.append(
                f"Most is unread, at {most['direction']} port {most['port']}: the application "
                "there reads too slowly, or no more. It must read, or close."
            )
        else:
            advice.append(
                f"Most is unacknowledged, at {most['direction']} port {most['port']}: slow or "
                "vanished peers. That application should bound how long it waits for them "
                "(TCP_USER_TIMEOUT)."
            )
        advice.append(f"See them: ss -tnmpo {shown} (skmem: r is received, t and w are to be sent)")
    else:
        advice.append(
            "No queue in this network namespace holds it: look into the other namespaces "
            "(containers) of this host, nsenter -t PID -n ss -tnmpo"
        )
    advice.append(
        "If the load is wanted: raise net.ipv4.tcp_mem (three numbers, in pages: getconf "
        "PAGESIZE), or lower the most that one socket may take: net.ipv4.tcp_rmem, tcp_wmem."
    )
    return tuple(advice)


def _mib(size: int) -> str:
    return f"{size / _MIB:.0f} MiB"
