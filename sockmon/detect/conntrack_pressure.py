"""Conntrack pressure: the firewall's table of connections fills, and then drops new ones."""

from collections.abc import Iterator
from dataclasses import dataclass

from sockmon.detect import evidence
from sockmon.detect.detector import (
    Detector,
    DetectorThresholds,
    Level,
    Ratio,
    Rule,
    Series,
    severity,
    threshold,
)
from sockmon.detect.evidence import percent
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

NAME = "conntrack_pressure"


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds(DetectorThresholds):
    """Shares of nf_conntrack_max."""

    warning_ratio: Ratio = threshold(0.75, "of the limit")
    critical_ratio: Ratio = threshold(0.9, "of the limit")


def find(data: DetectorInput, thresholds: Thresholds) -> Iterator[Finding]:
    """Yield a finding when the namespace's conntrack table fills."""
    entries, most = data.limits.conntrack_entries, data.limits.conntrack_limit
    if entries is None or not most:  # 0 means no limit
        return
    key = FindingKey(NAME, data.netns, Subject())
    ratio = entries / most
    judged = severity(data, key, ratio, thresholds.warning_ratio, thresholds.critical_ratio)
    if judged is None:
        return
    yield Finding(
        detector=NAME,
        severity=judged,
        netns=data.netns,
        subject=Subject(),
        value=ratio,
        limit=thresholds.warning_ratio,
        summary=f"the conntrack table is {percent(ratio)} full ({entries} of {most} entries)",
        evidence=_evidence(data, entries, most),
        advice=_advice(most),
    )


def _evidence(data: DetectorInput, entries: int, most: int) -> dict[str, Quantity | Breakdown]:
    found: dict[str, Quantity | Breakdown] = {
        "entries": evidence.count(entries),
        "entries_limit": evidence.count(most),
    }
    sockstat = data.limits.sockstat
    if sockstat is not None:
        found["tcp_sockets_here"] = evidence.sockets(sockstat.in_use + sockstat.time_wait)
    return found


def _advice(most: int) -> tuple[Advice, ...]:
    return (
        Advice(
            "Double the table (an entry takes about 300 bytes), and "
            "net.netfilter.nf_conntrack_buckets with it.",
            # Of the whole host: read-only in other network namespaces.
            Command(f"sysctl -w net.netfilter.nf_conntrack_max={2 * most}", "here", "changes"),
            "stop",
        ),
        Advice(
            f"At {most} entries the firewall drops the first packet of every new connection, in "
            "and out, and the kernel's log says: nf_conntrack: table full, dropping packet."
        ),
        Advice(
            "Many ESTABLISHED entries without a socket: this time-out (5 days unless set) is too "
            "long. A port too busy to be tracked can go without: NOTRACK in the raw table.",
            Command("sysctl net.netfilter.nf_conntrack_tcp_timeout_established"),
        ),
        Advice(
            "Has it begun? See drop, early_drop and insert_failed.", Command("conntrack -S"), "look"
        ),
        Advice(
            "What fills it? Compare with this host's own sockets (ss -s).",
            Command("conntrack -L -p tcp | awk '{print $4}' | sort | uniq -c"),
            "look",
        ),
    )


def _expressions(thresholds: Thresholds, of: Series) -> tuple[str, str]:
    # A limit of 0 means that there is none.
    limit = of("sockmon_conntrack_entries_limit")
    share = f"{of('sockmon_conntrack_entries')}\n/ ({limit} > 0)"
    return f"{share} >= {thresholds.warning_ratio:g}", f"{share} >= {thresholds.critical_ratio:g}"


def _levels(thresholds: Thresholds) -> dict[str, Level]:
    return {"sockmon_conntrack_entries": (thresholds.warning_ratio, thresholds.critical_ratio)}


DETECTOR = Detector(
    name=NAME,
    about="tracked connections approach nf_conntrack_max",
    title="Connection tracking is nearly full",
    actor="This host's settings",
    thresholds=Thresholds,
    find=find,
    levels=_levels,
    rule=Rule(
        summary="connection tracking table near nf_conntrack_max",
        explanation=(
            "When it is full, packets of new connections are dropped. Raise "
            "net.netfilter.nf_conntrack_max, or track less."
        ),
        warning="In use: {{ $value | humanizePercentage }} of the table.",
        critical="In use: {{ $value | humanizePercentage }} of the table.",
        expressions=_expressions,
    ),
)
