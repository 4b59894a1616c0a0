"""Accept queue: connections wait for an application that does not accept them.

The kernel takes one more than the limit (sk_acceptq_is_full()), so a ratio can be above 1.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sockmon.detect.detector import HYSTERESIS, Detector, DetectorThresholds, Ratio, severity
from sockmon.detect.evidence import inodes, only, per_second, percent, who
from sockmon.model.detector_input import DetectorInput
from sockmon.model.finding import Finding, FindingKey, Severity, Subject
from sockmon.model.listeners import ListenQueue
from sockmon.model.owner import Group
from sockmon.model.states import TcpState

NAME = "accept_queue"


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds(DetectorThresholds):
    """Share of a listener's limit. Whatever the queue, it is critical while connections drop."""

    warning_ratio: Ratio = 0.8


def find(sight: DetectorInput, limits: Thresholds) -> Iterator[Finding]:
    """Yield a finding for each listening port whose queue is nearly full, or runs over."""
    for queue in sight.listen_queues:
        ratio = queue.length / max(queue.limit, 1)
        if ratio >= HYSTERESIS * limits.warning_ratio or _runs_over(sight, queue.port):
            yield from _judge(sight, limits, queue, ratio)


DETECTOR = Detector(NAME, "SockmonAcceptQueue", Thresholds, find)


def _judge(
    sight: DetectorInput, limits: Thresholds, queue: ListenQueue, ratio: float
) -> Iterator[Finding]:
    group, rows = _listener(sight, queue)
    subject = Subject("inbound", queue.port, sight.owner_label(group) if group else None)
    key: FindingKey = (NAME, sight.netns, subject)
    judged: Severity | None = severity(sight, key, ratio, limits.warning_ratio, np.inf)
    past = sight.past.get(key)
    # Who was dropped tries again after ever longer pauses: in between, a full queue is no better.
    still_full = past is not None and past.severity == "critical" and queue.length > queue.limit
    if still_full or _runs_over(sight, queue.port) or (judged and _drops(sight, queue.port)):
        judged = "critical"
    if judged is None:
        return
    server = who(sight.owners.get(group) if group else None)
    yield Finding(
        detector=NAME,
        severity=judged,
        netns=sight.netns,
        subject=subject,
        value=ratio,
        limit=limits.warning_ratio,
        summary=(
            f"{queue.length} connections to port {queue.port} wait for {server} to accept them: "
            f"{percent(ratio)} of the queue's {queue.limit}"
            + ("; more are dropped" if judged == "critical" else "")
        ),
        evidence=_evidence(sight, queue),
        advice=_advice(sight, queue, server),
        group=group,
        inodes=inodes(sight.table, rows),
    )


def _runs_over(sight: DetectorInput, port: int) -> bool:
    """Whether the queue fills between polls: this port drops, while queues run over.

    A port's drops have other reasons too, and ListenOverflows counts those of all ports.
    """
    overflows = sight.rates.events.get("ListenOverflows", 0.0)
    return overflows > 0 and sight.rates.drops.get(port, 0.0) > 0


def _drops(sight: DetectorInput, port: int) -> bool:
    """Whether a port whose queue is full drops connections; by its own count, where it is known."""
    overflows = sight.rates.events.get("ListenOverflows", 0.0)
    return sight.rates.drops.get(port, overflows) > 0


def _listener(sight: DetectorInput, queue: ListenQueue) -> tuple[Group | None, NDArray[np.intp]]:
    """Find the socket that the queue is of: of several at one port, the fullest."""
    table = sight.table
    rows = np.flatnonzero((table.state == TcpState.LISTEN) & (table.local_port == queue.port))
    rows = rows[
        (table.receive_queue[rows] == queue.length) & (table.send_queue[rows] == queue.limit)
    ]
    groups = sight.groups(rows)
    return groups[0] if groups else (None, rows)


def _evidence(sight: DetectorInput, queue: ListenQueue) -> dict[str, Any]:
    evidence: dict[str, Any] = {
        "queue": queue.length,
        "queue_limit": queue.limit,
        "per_second": per_second(sight.rates, ("ListenOverflows", "ListenDrops")),
    }
    if queue.port in sight.rates.drops:
        evidence["drops_per_second"] = round(sight.rates.drops[queue.port], 2)
    if sight.limits.settings is not None:
        evidence["somaxconn"] = sight.limits.settings.somaxconn
    return evidence


def _advice(sight: DetectorInput, queue: ListenQueue, server: str) -> tuple[str, ...]:
    advice = [
        (
            f"{server} must call accept() more often: it is stuck, out of processor time, threads "
            "or file descriptors, or too small for the load. Look at it first."
        ),
        f"See its queue (Recv-Q of Send-Q): ss -tlnp {_at(queue.port)}",
        (
            "When the queue is full, the kernel drops the client's SYN or last ACK without a word: "
            "clients see connects that take 1, 3, 7 s, or time out."
        ),
    ]
    settings = sight.limits.settings
    if settings is None:
        advice.append("The limit is the lesser of listen()'s backlog and net.core.somaxconn.")
    elif queue.limit >= settings.somaxconn:
        advice.append(
            f"The limit of {queue.limit} is net.core.somaxconn. For short bursts raise it, and the "
            f"backlog that {server} asks for, and restart {server}; for a stuck application it "
            "only makes clients wait longer."
        )
    else:
        advice.append(
            f"The limit of {queue.limit} is what {server} asked for with listen(); somaxconn would "
            f"allow {settings.somaxconn}. For short bursts raise it there (nginx: backlog=) and "
            "restart; for a stuck application it only makes clients wait longer."
        )
    advice.append(
        "See whether connections are dropped: nstat -az TcpExtListenOverflows TcpExtListenDrops"
    )
    return tuple(advice)


def _at(port: int) -> str:
    return only("inbound", port)
