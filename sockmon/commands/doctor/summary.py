"""What is well, in figures, so that the reader sees that somebody looked."""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from sockmon.durations import roughly
from sockmon.model.names import HOST
from sockmon.model.observation import NamespaceObservation
from sockmon.model.states import TcpState

T = TypeVar("T")

#: Fewer sockets in CLOSE_WAIT are never worth a word in the verdict.
_WORTH_SAYING = 5
Measure = Callable[[NamespaceObservation], tuple[float, str] | None]


def vital_signs(namespaces: Iterable[NamespaceObservation]) -> Iterator[str]:
    """Tell of all namespaces together: sums, and what is nearest to its limit, and where."""
    seen = [namespace for namespace in namespaces if namespace.tcp is not None]
    if seen:
        yield _sockets(seen)
    for measure in (_time_wait, _ephemeral, _accept_queue):
        found = [(*told, n.name) for n in seen if (told := measure(n)) is not None]
        if found:
            _, text, netns = max(found, key=lambda it: it[0])
            yield text + _at(netns)


def mostly_close_wait(namespaces: Iterable[NamespaceObservation]) -> str | None:
    """Say so if at least half of the sockets are in CLOSE_WAIT: no verdict may hide that."""
    families = [counts for n in namespaces if n.tcp for counts in n.tcp.value.values()]
    total = sum(map(sum, families))
    waiting = sum(counts[TcpState.CLOSE_WAIT] for counts in families)
    if waiting < _WORTH_SAYING or 2 * waiting < total:
        return None
    return f"{waiting:,} of {total:,} TCP sockets are in CLOSE_WAIT"


def _sockets(seen: list[NamespaceObservation]) -> str:
    families = [counts for n in seen if n.tcp for counts in n.tcp.value.values()]
    total = sum(map(sum, families))
    waiting = sum(counts[TcpState.CLOSE_WAIT] for counts in families)
    where = f" in {len(seen)} network namespaces" if len(seen) > 1 else ""
    text = f"{total:,} TCP sockets{where}, {waiting:,} of them in CLOSE_WAIT"
    if not waiting:
        return text
    oldest = [(n.diagnosis.value.oldest_close_wait, n.name) for n in seen if n.diagnosis]
    age, netns = max(oldest, default=(0.0, HOST))
    if any(n.degraded for n in seen) and not age:
        return f"{text}, how old is not known"
    return f"{text}, the oldest for {roughly(age)}{_at(netns)}"


def _at(netns: str) -> str:
    return "" if netns == HOST else f", netns {netns}"


def _time_wait(namespace: NamespaceObservation) -> tuple[float, str] | None:
    limits = namespace.limits.value if namespace.limits else None
    if not (limits and limits.sockstat and limits.time_wait_limit):
        return None
    used, most = limits.sockstat.time_wait, limits.time_wait_limit
    return used / most, f"{used:,} of {most:,} time-wait buckets"


def _ephemeral(namespace: NamespaceObservation) -> tuple[float, str] | None:
    if namespace.ports is None or namespace.degraded:
        return None
    ports = namespace.ports.value.ephemeral
    text = f"{ports.used_max:,} of {ports.usable:,} ephemeral ports towards the busiest destination"
    return ports.used_max / max(1, ports.usable), text


def _accept_queue(namespace: NamespaceObservation) -> tuple[float, str] | None:
    queues = namespace.ports.value.listen_queues if namespace.ports else ()
    if not queues:
        return None
    fullest = max(queues, key=lambda queue: queue.length / (queue.limit + 1))
    text = (
        f"{fullest.length:,} of {fullest.limit:,} connections in the fullest accept queue "
        f"(port {fullest.port})"
    )
    return fullest.length / (fullest.limit + 1), text
