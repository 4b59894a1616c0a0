"""Connections counted by the server's port. Pure, and of bounded size."""

import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sockmon.durations import precisely
from sockmon.model.segments import port_of
from sockmon.trace.bulk import BULK_HOWS, Verdicts
from sockmon.trace.connection import SERVER, Connection
from sockmon.trace.verdict import SIDES, Verdict

#: Ports that are counted by themselves; those that come later are counted together.
MOST_PORTS = 1000
SHOWN_PORTS = 20
OTHER = -1
_STEPS = 50  # to a factor of ten: quantiles are accurate to 5 %


@dataclass(slots=True)
class PortSummary:
    """Connections to one port. delays: from the first FIN to the second, by logarithm."""

    connections: int = 0
    firsts: Counter[str] = field(default_factory=Counter)
    segments: Counter[int] = field(default_factory=Counter)
    hows: Counter[str] = field(default_factory=Counter)
    delays: Counter[int] = field(default_factory=Counter)

    def add(self, verdict: Verdict) -> None:
        """Count one connection."""
        self.connections += 1
        self.hows[verdict.how] += 1
        if verdict.how in {"closed", "closing"}:
            self.firsts[verdict.first or ""] += 1
            self.segments[verdict.segments or 0] += 1
        if verdict.close_delay is not None:
            self.delays[round(_STEPS * math.log10(max(1, verdict.close_delay)))] += 1

    def delay(self, quantile: float) -> int | None:
        """Return the delay, in nanoseconds, that this share of connections did not exceed."""
        left = quantile * self.delays.total()
        for step in sorted(self.delays):
            left -= self.delays[step]
            if left <= 0:
                return round(10 ** (step / _STEPS))
        return None


def _counted(*columns: NDArray[np.int64]) -> Iterator[tuple[list[int], int]]:
    """Return how often each combination of numbers below 1024 (the first may be larger) occurs."""
    joined = columns[0]
    for column in columns[1:]:
        joined = joined << 10 | column
    kinds, counts = np.unique(joined, return_counts=True)
    shifts = range(10 * (len(columns) - 1), -1, -10)
    for kind, count in zip(kinds.tolist(), counts.tolist(), strict=True):
        first, *others = (kind >> shift for shift in shifts)
        yield [first, *(number & 1023 for number in others)], count


class Summary:
    """Counts connections as they end."""

    def __init__(self) -> None:
        self.connections = 0
        self.ports: dict[int, PortSummary] = {}

    def add(self, connection: Connection, verdict: Verdict) -> None:
        """Count one connection."""
        self.connections += 1
        self._of(port_of(connection.names[SERVER])).add(verdict)

    def add_many(self, verdicts: Verdicts) -> None:
        """Count connections that were judged together."""
        self.connections += len(verdicts.server)
        kinds = (verdicts.how, verdicts.first, verdicts.segments)
        for (port, how, first, segments), count in _counted(verdicts.server, *kinds):
            counts = self._of(port)
            counts.connections += count
            counts.hows[BULK_HOWS[how]] += count
            if how == 0:
                counts.firsts[SIDES[first]] += count
                counts.segments[segments] += count
        closed = verdicts.how == 0
        steps = np.rint(_STEPS * np.log10(np.maximum(verdicts.delay[closed], 1))).astype(np.int64)
        for (port, step), count in _counted(verdicts.server[closed], steps):
            self._of(port).delays[step] += count

    def _of(self, port: int) -> PortSummary:
        if port not in self.ports:
            if len(self.ports) >= MOST_PORTS:
                port = OTHER
            self.ports.setdefault(port, PortSummary())
        return self.ports[port]

    def lines(self) -> list[str]:
        """Return a table of the ports with most connections; none if there is nothing."""
        ranked = sorted(self.ports.items(), key=lambda item: (-item[1].connections, item[0]))
        if not ranked:
            return []
        table = [_HEADINGS, *(_cells(port, counts) for port, counts in ranked[:SHOWN_PORTS])]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = [
            "  ".join(f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True))
            for row in table
        ]
        if len(ranked) > SHOWN_PORTS:
            lines.append(f"... and {len(ranked) - SHOWN_PORTS:,} more ports")
        return lines


#: Heading and what is below it.
_COLUMNS: tuple[tuple[str, Callable[[PortSummary], int]], ...] = (
    ("CONNECTIONS", lambda port: port.connections),
    ("client first", lambda port: port.firsts["client"]),
    ("server first", lambda port: port.firsts["server"]),
    ("both", lambda port: port.firsts["both"]),
    ("3 seg", lambda port: port.segments[3]),
    ("4 seg", lambda port: port.segments[4]),
    ("reset", lambda port: port.hows["reset"]),
    ("refused", lambda port: port.hows["refused"]),
    ("no answer", lambda port: port.hows["no_answer"] + port.hows["no_ack"]),
    ("open", lambda port: port.hows["open"] + port.hows["half_closed"]),
)
_HEADINGS = ("PORT", *(name for name, _ in _COLUMNS), "2nd FIN after p50", "p99")


def _cells(port: int, counts: PortSummary) -> tuple[str, ...]:
    delays = (counts.delay(0.5), counts.delay(0.99))
    return (
        "other" if port == OTHER else str(port),
        *(str(count(counts)) for _, count in _COLUMNS),
        *("-" if delay is None else precisely(delay) for delay in delays),
    )
