"""CLOSE_WAIT leak: an application that never closes what its peers have closed."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from annotated_types import Le
from numpy.typing import NDArray

from sockmon.detect.confirm import REMEMBERED_SECONDS
from sockmon.detect.detector import Count, Detector, DetectorThresholds, Ratio, Seconds, severity
from sockmon.detect.evidence import first_aid, inodes, only, percent, place, who
from sockmon.detect.finding_text import REASON
from sockmon.durations import roughly
from sockmon.model import close_wait
from sockmon.model.detector_input import DetectorInput
from sockmon.model.finding import Finding, FindingKey, Severity, Subject
from sockmon.model.owner import Group, Owner
from sockmon.model.ports import robust_slope

NAME = "close_wait_leak"

_SHARE_SEEN = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds(DetectorThresholds):
    """When CLOSE_WAIT sockets are a leak, and when it is critical."""

    stale_after: Seconds = 60.0
    warning_sockets: Count = 10
    critical_age: Seconds = 600.0
    growth_window: Annotated[Seconds, Le(REMEMBERED_SECONDS)] = 300.0
    critical_fd_ratio: Ratio = 0.8
    critical_fd_exhaustion: Seconds = 3600.0

    def __post_init__(self) -> None:
        """Refuse an age that would be critical before it is stale; raises ValueError."""
        DetectorThresholds.__post_init__(self)
        if self.stale_after <= 0 or self.growth_window <= 0:
            raise ValueError("stale_after and growth_window must be more than nothing")
        if self.stale_after > self.critical_age:
            raise ValueError("stale_after is longer than critical_age")


def find(sight: DetectorInput, limits: Thresholds) -> Iterator[Finding]:
    """Yield a finding for each group with enough stale sockets."""
    places = close_wait.stale(sight.aged, sight.now, limits.stale_after)
    since = dict(
        zip(sight.aged.rows[places].tolist(), sight.aged.since[places].tolist(), strict=True)
    )
    for group, rows in sight.groups(sight.aged.rows[places]):
        oldest = sight.now - min(since[row] for row in rows.tolist())
        finding = _judge(sight, limits, group, rows, oldest)
        if finding is not None:
            yield finding


DETECTOR = Detector(NAME, "SockmonCloseWaitLeak", Thresholds, find)


def _judge(
    sight: DetectorInput, limits: Thresholds, group: Group, rows: NDArray[np.intp], oldest: float
) -> Finding | None:
    owner = sight.owners.get(group)
    subject = Subject(group.direction, group.port, sight.owner_label(group))
    key: FindingKey = (NAME, sight.netns, subject)
    count = int(rows.size)
    if severity(sight, key, count, limits.warning_sockets, np.inf) is None:
        return None
    growth = _growth(sight, key, count, limits.growth_window)
    use = _descriptors(owner)
    seconds_left = (use[1] - use[0]) / growth if use and growth else None
    reasons = []
    if seconds_left is not None and seconds_left < limits.critical_fd_exhaustion:
        reasons.append(f"its descriptors run out in about {roughly(seconds_left)}")
    if use and use[0] >= limits.critical_fd_ratio * use[1]:
        reasons.append(f"{percent(use[0] / use[1])} of its descriptors are in use")
    if growth and oldest > limits.critical_age:
        reasons.append(f"it still grows, and the oldest is {roughly(oldest)} old")
    judged: Severity = "critical" if reasons else "warning"
    evidence = _evidence(sight, rows, oldest, growth, seconds_left)
    if reasons:
        evidence[REASON] = "; ".join(reasons)
    return Finding(
        detector=NAME,
        severity=judged,
        netns=sight.netns,
        subject=subject,
        value=count,
        limit=limits.warning_sockets,
        summary=(
            f"{who(owner)} has not closed {count} connections that its peers have closed "
            f"({place(group)}; the oldest {roughly(oldest)} ago)"
        ),
        evidence=evidence,
        advice=_advice(group, owner, evidence, seconds_left),
        group=group,
        inodes=inodes(sight.table, rows),
    )


def _growth(sight: DetectorInput, key: FindingKey, count: int, window: float) -> float | None:
    """Sockets per second over the window; None until a fifth of it has been seen.

    A burst becomes stale within seconds, and would look like growth without end.
    """
    past = sight.past.get(key)
    if past is None:
        return None
    samples = tuple(s for s in past.samples if sight.now - s[0] <= window)
    if not samples or sight.now - samples[0][0] < _SHARE_SEEN * window:
        return None
    return max(0.0, robust_slope((*samples, (sight.now, count))))


def _descriptors(owner: Owner | None) -> tuple[int, int] | None:
    """Descriptors used and their limit, of the process nearest to its limit."""
    uses = [
        (process.fds, process.fd_limit)
        for process in (owner.processes if owner else ())
        if process.fds is not None and process.fd_limit
    ]
    return max(uses, key=lambda use: use[0] / use[1]) if uses else None


def _evidence(
    sight: DetectorInput,
    rows: NDArray[np.intp],
    oldest: float,
    growth: float | None,
    seconds_left: float | None,
) -> dict[str, Any]:
    evidence: dict[str, Any] = {
        "oldest_seconds": round(oldest, 1),
        "unread_bytes": int(close_wait.unread_bytes(sight.table, rows).sum()),
        "never_read_to_the_end": int((sight.table.receive_queue[rows] > 0).sum()),
        "peers": sight.peers(rows),
    }
    if growth is not None:
        evidence["growth_per_minute"] = round(growth * 60, 2)
    if seconds_left is not None:
        evidence["fd_exhaustion_seconds"] = round(seconds_left)
    return evidence


def _advice(
    group: Group, owner: Owner | None, evidence: dict[str, Any], seconds_left: float | None
) -> tuple[str, ...]:
    advice = [
        f"{who(owner)} must close these sockets: the kernel keeps CLOSE_WAIT for ever.",
    ]
    if evidence["never_read_to_the_end"]:
        advice.append(
            f"{evidence['never_read_to_the_end']} of them were never read to the end: look for a "
            "handler that is stuck, or that forgets its connection on an error path."
        )
    else:
        advice.append(
            "All were read to the end of file and kept: look for a connection pool or a cache "
            "that never evicts, or a response that is never closed."
        )
    if seconds_left is not None:
        advice.append(
            f"At this rate it is out of file descriptors in about {roughly(seconds_left)}: plan a "
            "restart before that."
        )
    advice.append(f"See them: ss -tnpo state close-wait {only(group.direction, group.port)}")
    advice.append(first_aid(owner))
    return tuple(advice)
