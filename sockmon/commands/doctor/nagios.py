"""`sockmon doctor --format nagios`: one line, as monitoring plugins print it.

https://www.monitoring-plugins.org/doc/guidelines.html, "Performance data":
'label'=value[UOM];[warn];[crit];[min];[max], where U stands for a value that is not known.
"""

from collections.abc import Iterator
from typing import IO, Any, NamedTuple

from sockmon.commands.doctor.doctor import Diagnosed, verdict
from sockmon.detect.registry import ALL, thresholds_of
from sockmon.model.listeners import fullness
from sockmon.model.observation import NamespaceObservation
from sockmon.model.states import TcpState
from sockmon.text import one_line

#: Figures that have a limit, by their metric's name.
_LIMITED = (
    "sockmon_time_wait_buckets",
    "sockmon_orphan_sockets",
    "sockmon_conntrack_entries",
    "sockmon_ephemeral_ports_used_by_busiest_destination",
    "sockmon_accept_queue_connections",
)


class _Level(NamedTuple):
    """A figure and its limit."""

    used: int
    limit: int

    def text(self, ratios: tuple[float | None, float | None]) -> str:
        """Return value;warn;crit;min;max; ratios: shares of the limit that are judged."""
        most = ["" if ratio is None else f"{ratio * self.limit:.0f}" for ratio in ratios]
        return ";".join([f"{self.used}", *most, "0", f"{self.limit}"])


def write(diagnosed: Diagnosed, detect: Any, out: IO[str]) -> None:
    """Print the verdict and the figures; `detect` is the configuration's."""
    text = str(verdict(diagnosed)).replace("|", "/")  # which begins the performance data
    figures = " ".join(f"{label}={value}" for label, value in _figures(diagnosed, detect))
    out.write(f"SOCKMON {diagnosed.status.name} - {text} | {figures}\n")


def write_failure(error: Exception, out: IO[str]) -> None:
    """Print why there is no answer: monitoring shows only what is on standard output."""
    out.write(f"SOCKMON UNKNOWN - {one_line(str(error)).replace('|', '/')}\n")


def _figures(diagnosed: Diagnosed, detect: Any) -> Iterator[tuple[str, str]]:
    """Yield always the same labels, so that graphs have no gaps; levels: the fullest namespace."""
    namespaces = diagnosed.observation.namespaces
    for severity in ("warning", "critical"):
        number = sum(finding.severity == severity for finding in diagnosed.findings)
        yield f"findings_{severity}", f"{number};;;0"
    families = [counts for n in namespaces if n.tcp for counts in n.tcp.value.values()]
    for state in TcpState:
        total = sum(counts[state] for counts in families)
        yield state.label, f"{total};;;0" if families else "U"
    oldest = [n.diagnosis.value.oldest_close_wait for n in namespaces if n.diagnosis]
    yield "close_wait_oldest", f"{max(oldest):.0f}s;;;0" if oldest else "U"
    judged = {
        metric: ratios
        for detector in ALL
        for metric, ratios in detector.levels(thresholds_of(detect)[detector.name]).items()
    }
    found = [level for namespace in namespaces for level in _levels(namespace)]
    for metric in _LIMITED:
        its = [level for name, level in found if name == metric]
        worst = max(its, key=lambda level: fullness(level.used, level.limit), default=None)
        yield metric.removeprefix("sockmon_"), worst.text(judged[metric]) if worst else "U"


def _levels(namespace: NamespaceObservation) -> Iterator[tuple[str, _Level]]:
    limits = namespace.limits.value if namespace.limits else None
    ports = namespace.ports.value if namespace.ports and not namespace.degraded else None
    used: list[tuple[int | None, int | None]] = [(None, None)] * len(_LIMITED)
    if limits:
        if limits.sockstat:
            used[0] = limits.sockstat.time_wait, limits.time_wait_limit
            used[1] = limits.sockstat.orphans, limits.orphan_limit
        used[2] = limits.conntrack_entries, limits.conntrack_limit
    if ports:
        used[3] = ports.ephemeral.used_max, ports.ephemeral.usable
        fullest = max(ports.listen_queues, key=lambda queue: queue.fullness, default=None)
        used[4] = (fullest.length, fullest.limit) if fullest else (0, 0)
    for metric, (now, most) in zip(_LIMITED, used, strict=True):
        if now is not None and most is not None:
            yield metric, _Level(now, most)
