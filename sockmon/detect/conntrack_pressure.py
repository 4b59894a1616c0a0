"""Conntrack pressure: the firewall's table of connections fills, and then drops new ones."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sockmon.detect.detector import Detector, DetectorThresholds, Ratio, severity
from sockmon.detect.evidence import percent
from sockmon.model.detector_input import DetectorInput
from sockmon.model.finding import Finding, FindingKey, Subject

NAME = "conntrack_pressure"


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds(DetectorThresholds):
    """Shares of nf_conntrack_max."""

    warning_ratio: Ratio = 0.75
    critical_ratio: Ratio = 0.9


def find(sight: DetectorInput, limits: Thresholds) -> Iterator[Finding]:
    """Yield a finding when the namespace's conntrack table fills."""
    entries, most = sight.limits.conntrack_entries, sight.limits.conntrack_limit
    if entries is None or not most:  # 0 means no limit
        return
    key: FindingKey = (NAME, sight.netns, Subject())
    ratio = entries / most
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
        summary=f"the conntrack table is {percent(ratio)} full ({entries} of {most} entries)",
        evidence=_evidence(sight, entries, most),
        advice=(
            (
                f"At {most} entries the firewall drops the first packet of every new connection, "
                "in and out, and the kernel's log says: nf_conntrack: table full, dropping packet."
            ),
            "See whether it has begun: conntrack -S (drop, early_drop, insert_failed); dmesg",
            (
                "See what fills it: conntrack -L -p tcp | awk '{print $4}' | sort | uniq -c; "
                "compare with this host's own sockets: ss -s"
            ),
            (
                f"First aid: sysctl net.netfilter.nf_conntrack_max={2 * most} (an entry takes "
                "about 300 bytes), and net.netfilter.nf_conntrack_buckets with it."
            ),
            (
                "Many ESTABLISHED entries without a socket: sysctl net.netfilter."
                "nf_conntrack_tcp_timeout_established (5 days unless set) is too long. A port too "
                "busy to be tracked can go without: NOTRACK in the raw table."
            ),
        ),
    )


DETECTOR = Detector(NAME, "SockmonConntrackPressure", Thresholds, find)


def _evidence(sight: DetectorInput, entries: int, most: int) -> dict[str, Any]:
    evidence: dict[str, Any] = {"entries": entries, "entries_limit": most}
    sockstat = sight.limits.sockstat
    if sockstat is not None:
        evidence["tcp_sockets_here"] = sockstat.in_use + sockstat.time_wait
    return evidence
