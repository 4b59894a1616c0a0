"""What history keeps of one poll of one namespace: a row of numbers, NaN where nothing is known.

float32 is exact for counts up to 16 million, and no plot shows more digits.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from sockmon.model.counts import GroupKey
from sockmon.model.finding import SEVERITIES
from sockmon.model.moment import Timed
from sockmon.model.observation import NamespaceObservation, Observation
from sockmon.model.states import TcpState

T = TypeVar("T")

#: float32, one value a column: those of SERIES, then those of GROUP_SERIES for each slot.
Reading: TypeAlias = NDArray[np.float32]

_LIMITS = (
    "time_wait_buckets",
    "orphan_sockets",
    "tcp_memory_bytes",
    "time_wait_buckets_limit",
    "orphan_sockets_limit",
    "tcp_memory_limit_bytes",
    "conntrack_entries",
    "conntrack_entries_limit",
)
_PORTS = (
    "ephemeral_ports_usable",
    "ephemeral_ports_used_by_busiest_destination",
    "ephemeral_ports_exhaustion_seconds",
    "accept_queue_fullness",
)
_DIAGNOSIS = (
    "close_wait_stale_sockets",
    "close_wait_oldest_seconds",
    *(f"findings_{severity}" for severity in SEVERITIES),
)

#: TCP sockets by state, both families together, and what else a namespace has one of. Named as
#: the metrics are; accept_queue_fullness is that of the fullest accept queue, 0 to 1.
SERIES = (*(state.label for state in TcpState), *_LIMITS, *_PORTS, *_DIAGNOSIS)
#: What is kept of a (direction, port) group; the accept queue of a listener's only.
GROUP_SERIES = ("sockets", "established", "time_wait", "close_wait", "accept_queue")
#: So many groups are kept at a time.
SLOTS = 16
WIDTH = len(SERIES) + SLOTS * len(GROUP_SERIES)

_GROUP_STATES = (TcpState.ESTABLISHED, TcpState.TIME_WAIT, TcpState.CLOSE_WAIT)


@dataclass(frozen=True, slots=True)
class Watched:
    """Where a group is kept, and since when (monotonic seconds): rows before that are another's."""

    slot: int
    since: float

    @property
    def columns(self) -> slice:
        """Where its GROUP_SERIES stand in a reading."""
        begin = len(SERIES) + self.slot * len(GROUP_SERIES)
        return slice(begin, begin + len(GROUP_SERIES))


def reading(
    namespace: NamespaceObservation,
    observation: Observation,
    watched: Mapping[GroupKey, Watched],
    width: int = WIDTH,
) -> Reading:
    """Return the row of one poll, with so many values: a part that it could not read is NaN.

    A part that is read less often than the namespace is polled counts until its turn is past.
    """
    since = observation.at.monotonic
    if namespace.beat > observation.interval:
        since -= namespace.beat + observation.interval
    row = np.full(width, np.nan, np.float32)
    row[: len(SERIES)] = [
        *_states(namespace, since),
        *_limits(namespace, since),
        *_ports(namespace, since),
        *_diagnosis(namespace, since),
    ]
    for its, values in _groups(namespace, since, watched):
        row[its.columns] = values
    row.setflags(write=False)
    return row


def _of(since: float, part: Timed[T] | None) -> T | None:
    return part.value if part is not None and part.at.monotonic >= since else None


def _states(namespace: NamespaceObservation, since: float) -> list[float]:
    families = _of(since, namespace.tcp)
    if families is None:
        return [math.nan] * len(TcpState)
    return [sum(counts[state] for counts in families.values()) for state in TcpState]


def _limits(namespace: NamespaceObservation, since: float) -> Iterable[float]:
    limits = _of(since, namespace.limits)
    if limits is None:
        return [math.nan] * len(_LIMITS)
    stat, memory = limits.sockstat, limits.tcp_memory
    known = (
        *((stat.time_wait, stat.orphans, stat.memory_bytes) if stat else (None, None, None)),
        limits.time_wait_limit,
        limits.orphan_limit,
        memory.high if memory else None,
        limits.conntrack_entries,
        limits.conntrack_limit,
    )
    return [math.nan if value is None else value for value in known]


def _ports(namespace: NamespaceObservation, since: float) -> list[float]:
    ports = _of(since, namespace.ports)
    if ports is None:
        return [math.nan] * len(_PORTS)
    return [
        ports.ephemeral.usable,
        ports.ephemeral.used_max,
        ports.exhaustion_seconds,
        max((queue.fullness for queue in ports.listen_queues), default=0.0),
    ]


def _diagnosis(namespace: NamespaceObservation, since: float) -> list[float]:
    diagnosis = _of(since, namespace.diagnosis)
    if diagnosis is None:
        return [math.nan] * len(_DIAGNOSIS)
    severities = [finding.severity for finding in diagnosis.findings]
    return [
        sum(group.sockets for group in diagnosis.stale),
        diagnosis.oldest_close_wait,
        *(severities.count(severity) for severity in SEVERITIES),
    ]


def _groups(
    namespace: NamespaceObservation, since: float, watched: Mapping[GroupKey, Watched]
) -> Iterator[tuple[Watched, list[float]]]:
    """Yield the values of each group that is watched."""
    ports = _of(since, namespace.ports)
    if ports is None:
        return
    queues = {queue.port: queue.length for queue in ports.listen_queues}
    for group in ports.groups:
        its, port = watched.get(group.key), group.key.port
        if its is None or port is None:
            continue
        yield (
            its,
            [
                sum(group.states.values()),
                *(group.states.get(state, 0) for state in _GROUP_STATES),
                queues.get(port, math.nan) if group.key.direction == "inbound" else math.nan,
            ],
        )
