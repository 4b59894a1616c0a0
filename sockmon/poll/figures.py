"""Figures of a diagnosis that metrics show, whether there is a finding or not."""

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from sockmon.detect.detector import DetectorThresholds
from sockmon.detect.registry import ALL, stale_groups
from sockmon.model import close_wait
from sockmon.model.descriptors import Descriptors
from sockmon.model.detector_input import DetectorInput
from sockmon.model.direction import Direction
from sockmon.model.finding import Finding
from sockmon.model.observation import OwnerDescriptors, PortSockets, StaleGroup
from sockmon.model.owner import Owner, Process
from sockmon.model.series import SHARED_BY

_STALE_GROUPS_SHOWN = 50
_PORTS_SHOWN = 20
_UDP_PORTS_NAMED = 100
_OWNERS_SHOWN = 50
#: Owners over this share of their descriptors have series, whatever the findings.
_DESCRIPTORS_SHOWN_FROM = 0.5


def counted(
    data: DetectorInput, thresholds: Mapping[str, DetectorThresholds]
) -> Mapping[str, tuple[PortSockets, ...]]:
    """Count by (direction, port) what detectors count, by the metric's name."""
    return {
        its.metric: _by_port(data, its.rows(data, thresholds[detector.name]))
        for detector in ALL
        if (its := detector.counted) is not None
    }


def dropped_datagrams(data: DetectorInput, named: dict[int, bool]) -> Mapping[int | None, int]:
    """Return dropped datagrams by local port; None: of ports that nobody chose, or too many.

    named: of each port that has dropped, whether it has a figure of its own; added to here. A port
    never moves between the two, or a counter would fall.
    """
    port_range = data.limits.port_range
    low, high = (port_range.low, port_range.high) if port_range else (0, -1)
    services = data.udp.held.services(data.now)
    found: dict[int | None, int] = {}
    for port, dropped in data.udp.since_first.items():
        if port not in named:
            chosen = port in services or not low <= port <= high
            named[port] = chosen and sum(named.values()) < _UDP_PORTS_NAMED
        key = port if named[port] else None
        found[key] = found.get(key, 0) + dropped
    return found


def descriptors_shown(
    followed: Iterable[Descriptors], findings: Iterable[Finding]
) -> tuple[OwnerDescriptors, ...]:
    """Return the use of those owners' descriptors that findings name, or that is over half."""
    shown: dict[str, tuple[float, OwnerDescriptors]] = {}

    def add(owner: str, process: Process, least: float) -> None:
        if process.fds is not None and process.fd_limit:
            ratio = process.fds / process.fd_limit
            if ratio >= least and (owner not in shown or shown[owner][0] < ratio):
                shown[owner] = ratio, OwnerDescriptors(owner, process.fds, process.fd_limit)

    named = [finding.owner for finding in findings if finding.owner and not finding.note]
    for owner in named:
        for process in owner.processes:
            add(owner.label, process, 0.0)
    for use in followed:
        add(Owner.of((use.process,)).label, use.process, _DESCRIPTORS_SHOWN_FROM)
    largest = sorted(shown.values(), key=lambda item: -item[0])[:_OWNERS_SHOWN]
    return tuple(owner for _, owner in largest)


def _by_port(data: DetectorInput, rows: NDArray[np.intp]) -> tuple[PortSockets, ...]:
    """Return the largest (direction, port) groups of the rows, and the rest in one a direction.

    No port that was used for a connection or two, as a client's or FTP's data port, is a group.
    """
    codes = data.directions.port[rows].astype(np.intp) * 2 + data.directions.is_inbound[rows]
    counts = np.bincount(codes)
    codes = np.flatnonzero(counts)
    counts = counts[codes]
    nameless = (counts < SHARED_BY) & data.unnamed()[codes // 2]
    order = np.argsort(np.where(nameless, 0, -counts), kind="stable")[:_PORTS_SHOWN]
    order = order[~nameless[order]]
    shown = [
        PortSockets(
            "inbound" if codes[at] % 2 else "outbound", int(codes[at]) // 2, int(counts[at])
        )
        for at in order.tolist()
    ]
    counts[order] = 0
    inbound = codes % 2 == 1
    rest: tuple[tuple[Direction, int], ...] = (
        ("inbound", int(counts[inbound].sum())),
        ("outbound", int(counts[~inbound].sum())),
    )
    return (*shown, *(PortSockets(way, None, n) for way, n in rest if n))


def stale_shown(
    data: DetectorInput, thresholds: Mapping[str, DetectorThresholds]
) -> Iterable[StaleGroup]:
    """Yield the largest groups of stale CLOSE_WAIT sockets."""
    for group, rows in stale_groups(data, thresholds)[:_STALE_GROUPS_SHOWN]:
        yield StaleGroup(
            group.direction,
            group.port,
            data.owner_label(group) or "unknown",
            int(rows.size),
            int(close_wait.unread_bytes(data.table, rows).sum()),
        )
