"""CLOSE_WAIT leak: an application that never closes what its peers have closed."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Le
from numpy.typing import NDArray

from sockmon.detect import evidence
from sockmon.detect.commands import only, restart, see
from sockmon.detect.confirm import REMEMBERED_SECONDS
from sockmon.detect.detector import (
    Count,
    Detector,
    DetectorThresholds,
    Level,
    Ratio,
    Rule,
    Seconds,
    Series,
    severity,
    threshold,
)
from sockmon.detect.evidence import inodes, percent, place, who
from sockmon.durations import roughly
from sockmon.model import close_wait
from sockmon.model.detector_input import DetectorInput
from sockmon.model.finding import (
    Advice,
    Breakdown,
    Deadline,
    Finding,
    FindingKey,
    Quantity,
    Severity,
    Subject,
)
from sockmon.model.owner import Group, Owner
from sockmon.model.ports import robust_slope
from sockmon.model.states import TcpState

NAME = "close_wait_leak"

_SHARE_SEEN = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds(DetectorThresholds):
    """When CLOSE_WAIT sockets are a leak, and when it is critical."""

    stale_after: Seconds = threshold(
        60.0, "stale: in CLOSE_WAIT for this long, and nothing sent for this long"
    )
    warning_sockets: Count = threshold(10, "stale sockets in one group (direction, port, owner)")
    critical_age: Seconds = threshold(
        600.0, "critical if the number grows and the oldest is older than this"
    )
    growth_window: Annotated[Seconds, Le(REMEMBERED_SECONDS)] = threshold(
        300.0, "growth is measured over this window"
    )
    critical_fd_ratio: Ratio = threshold(
        0.8, "critical if this share of the owner's file descriptors is in use"
    )
    critical_fd_exhaustion: Seconds = threshold(
        3600.0, "critical if the forecast says they run out sooner than this"
    )

    def __post_init__(self) -> None:
        """Refuse an age that would be critical before it is stale; raises ValueError."""
        DetectorThresholds.__post_init__(self)
        if self.stale_after <= 0 or self.growth_window <= 0:
            raise ValueError("stale_after and growth_window must be more than nothing")
        if self.stale_after > self.critical_age:
            raise ValueError("stale_after is longer than critical_age")


def find(data: DetectorInput, thresholds: Thresholds) -> Iterator[Finding]:
    """Yield a finding for each group with enough stale sockets."""
    places = close_wait.stale(data.aged, data.table, data.now, thresholds.stale_after)
    since = dict(
        zip(data.aged.rows[places].tolist(), data.aged.since[places].tolist(), strict=True)
    )
    for group, rows in data.groups(data.aged.rows[places]):
        oldest = data.now - min(since[row] for row in rows.tolist())
        finding = _judge(data, thresholds, group, rows, oldest)
        if finding is not None:
            yield finding


def _judge(
    data: DetectorInput,
    thresholds: Thresholds,
    group: Group,
    rows: NDArray[np.intp],
    oldest: float,
) -> Finding | None:
    owner = data.owners.get(group)
    subject = Subject(group.direction, group.port, data.owner_label(group))
    key = FindingKey(NAME, data.netns, subject)
    sockets = int(rows.size)
    if severity(data, key, sockets, thresholds.warning_sockets, np.inf) is None:
        return None
    growth = _growth(data, key, sockets, thresholds.growth_window)
    use = _descriptors(owner)
    seconds_left = (use[1] - use[0]) / growth if use and growth else None
    reasons = []
    if seconds_left is not None and seconds_left < thresholds.critical_fd_exhaustion:
        reasons.append(f"its descriptors run out in about {roughly(seconds_left)}")
    if use and use[0] >= thresholds.critical_fd_ratio * use[1]:
        reasons.append(f"{percent(use[0] / use[1])} of its descriptors are in use")
    if growth and oldest > thresholds.critical_age:
        reasons.append(f"it still grows, and the oldest is {roughly(oldest)} old")
    judged: Severity = "critical" if reasons else "warning"
    return Finding(
        detector=NAME,
        severity=judged,
        netns=data.netns,
        subject=subject,
        value=sockets,
        limit=thresholds.warning_sockets,
        summary=(
            f"{who(owner)} has not closed {sockets} connections that its peers have closed "
            f"({place(group)}; the oldest {roughly(oldest)} ago)"
        ),
        evidence=_evidence(data, rows, oldest, growth),
        advice=_advice(data, group, rows, owner),
        critical_because="; ".join(reasons) or None,
        deadline=None if seconds_left is None else Deadline("descriptors run out", seconds_left),
        group=group,
        inodes=inodes(data.table, rows),
        rows=rows,
    )


def _growth(data: DetectorInput, key: FindingKey, sockets: int, window: float) -> float | None:
    """Sockets per second over the window; None until a fifth of it has been seen.

    A burst becomes stale within seconds, and would look like growth without end.
    """
    previous = data.past.get(key)
    if previous is None:
        return None
    samples = tuple(s for s in previous.samples if data.now - s[0] <= window)
    if not samples or data.now - samples[0][0] < _SHARE_SEEN * window:
        return None
    return max(0.0, robust_slope((*samples, (data.now, sockets))))


def _descriptors(owner: Owner | None) -> tuple[int, int] | None:
    """Descriptors used and their limit, of the process nearest to its limit."""
    uses = [
        (process.fds, process.fd_limit)
        for process in (owner.processes if owner else ())
        if process.fds is not None and process.fd_limit
    ]
    return max(uses, key=lambda use: use[0] / use[1]) if uses else None


def _evidence(
    data: DetectorInput, rows: NDArray[np.intp], oldest: float, growth: float | None
) -> dict[str, Quantity | Breakdown]:
    found: dict[str, Quantity | Breakdown] = {
        "oldest": evidence.seconds(oldest),
        "unread": evidence.size(close_wait.unread_bytes(data.table, rows).sum()),
        "not_read_to_the_end": evidence.sockets(_not_read(data, rows)),
        "peers": evidence.peers(data, rows),
    }
    buffers = close_wait.unread_buffers(data.table, rows)
    if buffers:
        found["buffers_of_unread_mptcp_data"] = evidence.size(buffers)
    if growth is not None:
        found["growth"] = Quantity(round(growth * 60, 2), "per_minute")
    return found


def _not_read(data: DetectorInput, rows: NDArray[np.intp]) -> int:
    return int((data.table.receive_queue[rows] > 0).sum())


def _advice(
    data: DetectorInput, group: Group, rows: NDArray[np.intp], owner: Owner | None
) -> tuple[Advice, ...]:
    not_read = _not_read(data, rows)
    if not_read:
        bug = (
            f"{not_read} of them were not read to the end of file: look for a handler that is "
            "stuck, or that forgets its connection on an error path."
        )
    else:
        bug = (
            "All were read to the end of file and kept: look for a connection pool or a cache "
            "that never evicts, or a response that is never closed."
        )
    until = "the kernel keeps CLOSE_WAIT until then."
    multipath = int(data.table.multipath[rows].sum())
    if multipath:
        until = (
            f"{multipath} are MPTCP connections, which their peers reset about a minute after "
            "closing them (net.mptcp.close_timeout); from then on no table lists them, but their "
            "descriptors stay in use."
        )
    filter_ = only(group.direction, group.port)
    return (
        restart(owner),
        Advice(f"{who(owner)} must close these sockets: {until} {bug}"),
        see("-tnpo", TcpState.CLOSE_WAIT, filter_=filter_, mptcp=multipath > 0),
    )


def _expressions(thresholds: Thresholds, of: Series) -> tuple[str, None]:
    return f"{of('sockmon_close_wait_stale_sockets')} >= {thresholds.warning_sockets}", None


def _levels(thresholds: Thresholds) -> dict[str, Level]:
    return {
        "sockmon_close_wait_stale_sockets": (thresholds.warning_sockets, None),
        "sockmon_close_wait_oldest_seconds": (thresholds.stale_after, thresholds.critical_age),
    }


DETECTOR = Detector(
    name=NAME,
    about="an application does not close connections that its peers have closed",
    title="An application does not close its connections",
    actor="The application here",
    owner_acts=True,
    state=TcpState.CLOSE_WAIT,
    thresholds=Thresholds,
    find=find,
    fault="does_not_close",
    levels=_levels,
    rule=Rule(
        summary="an application leaks CLOSE_WAIT sockets",
        explanation=(
            "It never closes connections that its peers have closed. The kernel keeps them until "
            "it does: the application must close them before it runs out of file descriptors."
        ),
        warning=(
            "Stale: {{ $value | humanize }} sockets of {{ $labels.owner }}, "
            "{{ $labels.direction }} port {{ $labels.port }}."
        ),
        expressions=_expressions,
    ),
)
