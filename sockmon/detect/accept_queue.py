"""Accept queue: connections wait for an application that does not accept them.

The kernel takes one more than the limit (sk_acceptq_is_full()), so a ratio can be above 1.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sockmon.detect import evidence
from sockmon.detect.commands import counters, only, ss
from sockmon.detect.detector import (
    HYSTERESIS,
    Detector,
    DetectorThresholds,
    Ratio,
    Rule,
    Series,
    severity,
    threshold,
)
from sockmon.detect.evidence import inodes, percent, who
from sockmon.model.detector_input import DetectorInput
from sockmon.model.finding import (
    Advice,
    Breakdown,
    Command,
    Finding,
    FindingKey,
    Quantity,
    Severity,
    Subject,
)
from sockmon.model.listeners import ListenQueue
from sockmon.model.owner import Group
from sockmon.model.states import TcpState

NAME = "accept_queue"


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds(DetectorThresholds):
    """Share of a listener's limit. Whatever the queue, it is critical while connections drop."""

    warning_ratio: Ratio = threshold(0.8, "of the queue's limit; dropped connections are critical")


def find(data: DetectorInput, thresholds: Thresholds) -> Iterator[Finding]:
    """Yield a finding for each listening port whose queue is nearly full, or runs over."""
    for queue in data.listen_queues:
        ratio = queue.length / max(queue.limit, 1)
        if ratio >= HYSTERESIS * thresholds.warning_ratio or _runs_over(data, queue.port):
            yield from _judge(data, thresholds, queue, ratio)


def _judge(
    data: DetectorInput, thresholds: Thresholds, queue: ListenQueue, ratio: float
) -> Iterator[Finding]:
    group, rows = _listener(data, queue)
    subject = Subject("inbound", queue.port, data.owner_label(group) if group else None)
    key = FindingKey(NAME, data.netns, subject)
    judged: Severity | None = severity(data, key, ratio, thresholds.warning_ratio, np.inf)
    past = data.past.get(key)
    # Who was dropped tries again after ever longer pauses: in between, a full queue is no better.
    still_full = past is not None and past.severity == "critical" and queue.length > queue.limit
    if still_full or _runs_over(data, queue.port) or (judged and _drops(data, queue.port)):
        judged = "critical"
    if judged is None:
        return
    server = who(data.owners.get(group) if group else None)
    yield Finding(
        detector=NAME,
        severity=judged,
        netns=data.netns,
        subject=subject,
        value=ratio,
        limit=thresholds.warning_ratio,
        summary=(
            f"{queue.length} connections to port {queue.port} wait for {server} to accept them: "
            f"{percent(ratio)} of the queue's {queue.limit}"
            + ("; more are dropped" if judged == "critical" else "")
        ),
        evidence=_evidence(data, queue),
        advice=_advice(data, queue, server),
        group=group,
        inodes=inodes(data.table, rows),
    )


def _runs_over(data: DetectorInput, port: int) -> bool:
    """Whether the queue fills between polls: this port drops, while queues run over.

    A port's drops have other reasons too, and ListenOverflows counts those of all ports.
    """
    overflows = data.rates.events.get("ListenOverflows", 0.0)
    return overflows > 0 and data.rates.drops.get(port, 0.0) > 0


def _drops(data: DetectorInput, port: int) -> bool:
    """Whether a port whose queue is full drops connections; by its own count, where it is known."""
    overflows = data.rates.events.get("ListenOverflows", 0.0)
    return data.rates.drops.get(port, overflows) > 0


def _listener(data: DetectorInput, queue: ListenQueue) -> tuple[Group | None, NDArray[np.intp]]:
    """Find the socket that the queue is of: of several at one port, the fullest."""
    table = data.table
    rows = np.flatnonzero((table.state == TcpState.LISTEN) & (table.local_port == queue.port))
    rows = rows[
        (table.receive_queue[rows] == queue.length) & (table.send_queue[rows] == queue.limit)
    ]
    groups = data.groups(rows)
    return groups[0] if groups else (None, rows)


def _evidence(data: DetectorInput, queue: ListenQueue) -> dict[str, Quantity | Breakdown]:
    found: dict[str, Quantity | Breakdown] = {
        "queue": evidence.count(queue.length),
        "queue_limit": evidence.count(queue.limit),
        "events": evidence.per_second(data.rates, ("ListenOverflows", "ListenDrops")),
    }
    if queue.port in data.rates.drops:
        found["drops"] = Quantity(round(data.rates.drops[queue.port], 2), "per_second")
    if data.limits.settings is not None:
        found["somaxconn"] = evidence.count(data.limits.settings.somaxconn)
    return found


def _advice(data: DetectorInput, queue: ListenQueue, server: str) -> tuple[Advice, ...]:
    settings = data.limits.settings
    if settings is None:
        limit = "The limit is the lesser of listen()'s backlog and net.core.somaxconn."
    elif queue.limit >= settings.somaxconn:
        limit = (
            f"The limit of {queue.limit} is net.core.somaxconn. For short bursts raise it, and the "
            f"backlog that {server} asks for, and restart {server}; for a stuck application it "
            "only makes clients wait longer."
        )
    else:
        limit = (
            f"The limit of {queue.limit} is what {server} asked for with listen(); somaxconn would "
            f"allow {settings.somaxconn}. For short bursts raise it there (nginx: backlog=) and "
            "restart; for a stuck application it only makes clients wait longer."
        )
    return (
        Advice(
            f"{server} must call accept() more often: it is stuck, out of processor time, threads "
            "or file descriptors, or too small for the load. Look at it first."
        ),
        Advice(
            "When the queue is full, the kernel drops the client's SYN or last ACK without a word: "
            "clients see connects that take 1, 3, 7 s, or time out."
        ),
        Advice(limit),
        Advice(
            "See its queue (Recv-Q of Send-Q):",
            Command(ss("-tlnp", filter_=only("inbound", queue.port))),
            "look",
        ),
        counters("Are connections dropped?", "ListenOverflows", "ListenDrops"),
    )


def _expressions(thresholds: Thresholds, of: Series) -> tuple[str, None]:
    queue = of("sockmon_accept_queue_connections")
    limit = of("sockmon_accept_queue_limit")
    return f"{queue}\n>= {thresholds.warning_ratio:g} * {limit}\nand {queue} > 0", None


DETECTOR = Detector(
    name=NAME,
    about="a server does not accept fast enough",
    title="A server accepts too slowly",
    actor="The server here",
    owner_acts=True,
    state=TcpState.LISTEN,
    thresholds=Thresholds,
    find=find,
    rule=Rule(
        summary="a listener's accept queue fills up",
        explanation=(
            "The application does not call accept() fast enough; once the queue is full, the "
            "kernel drops what arrives."
        ),
        warning="Waiting: {{ $value | humanize }} connections to port {{ $labels.port }}.",
        expressions=_expressions,
    ),
)
