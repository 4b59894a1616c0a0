"""All detectors. A new one is a file, and its line in ALL."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import field, make_dataclass, replace
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sockmon.detect import (
    accept_queue,
    close_wait_leak,
    closing_stalled,
    connect_failures,
    connect_stalled,
    conntrack_pressure,
    dead_peer,
    descriptor_pressure,
    ephemeral_port_pressure,
    fin_wait2_stuck,
    orphan_pressure,
    reset_burst,
    slow_close,
    syn_backlog,
    tcp_memory_pressure,
    time_wait_pressure,
    udp_drops,
    unread_data,
    unsent_data,
)
from sockmon.detect.detector import Detector, DetectorThresholds, Level
from sockmon.language import Text
from sockmon.model.detector_input import DetectorInput
from sockmon.model.finding import SEVERITIES, Finding, Severity, Subject
from sockmon.model.limits import KernelLimits
from sockmon.model.owner import Group

ALL: tuple[Detector, ...] = (
    close_wait_leak.DETECTOR,
    time_wait_pressure.DETECTOR,
    ephemeral_port_pressure.DETECTOR,
    fin_wait2_stuck.DETECTOR,
    connect_stalled.DETECTOR,
    syn_backlog.DETECTOR,
    accept_queue.DETECTOR,
    unread_data.DETECTOR,
    unsent_data.DETECTOR,
    udp_drops.DETECTOR,
    closing_stalled.DETECTOR,
    dead_peer.DETECTOR,
    descriptor_pressure.DETECTOR,
    orphan_pressure.DETECTOR,
    tcp_memory_pressure.DETECTOR,
    conntrack_pressure.DETECTOR,
    connect_failures.DETECTOR,
    slow_close.DETECTOR,
    reset_burst.DETECTOR,
)

#: Those that can judge part of a table, without the sockets at rest.
OF_PART = tuple(detector for detector in ALL if not detector.needs_whole_table)

BY_NAME: Mapping[str, Detector] = {detector.name: detector for detector in ALL}

#: A detector's findings in one namespace and poll; one more finding says how many were left out.
MOST_FINDINGS = 40
MORE = Text("the largest are shown, the others are not", "只显示最大的，其余不显示")

#: The configuration's `detect`: one table of thresholds per detector, by its name.
Detect = make_dataclass(
    "Detect",
    [(d.name, d.thresholds, field(default_factory=d.thresholds)) for d in ALL],
    frozen=True,
    slots=True,
    namespace={"__pydantic_config__": {"extra": "forbid", "strict": True}},
)


def thresholds_of(detect: Any) -> Mapping[str, DetectorThresholds]:
    """Return each detector's thresholds by its name, from the configuration's `detect`."""
    return {detector.name: getattr(detect, detector.name) for detector in ALL}


def stale_after(thresholds: Mapping[str, DetectorThresholds]) -> float:
    """Return after how many seconds in CLOSE_WAIT a socket is stale, on /metrics and the page."""
    return _of_leaks(thresholds).stale_after


def stale_groups(
    data: DetectorInput, thresholds: Mapping[str, DetectorThresholds]
) -> list[tuple[Group, NDArray[np.intp]]]:
    """Return the stale sockets in CLOSE_WAIT by group, the largest first."""
    return close_wait_leak.stale_groups(data, _of_leaks(thresholds))


def _of_leaks(thresholds: Mapping[str, DetectorThresholds]) -> close_wait_leak.Thresholds:
    leak = thresholds[close_wait_leak.NAME]
    assert isinstance(leak, close_wait_leak.Thresholds)
    return leak


def level(metric: str) -> Level:
    """Return from which value on a metric is a warning, or critical, by default thresholds."""
    levels = [detector.levels(detector.thresholds()) for detector in ALL]
    return next(its[metric] for its in levels if metric in its)


def unavailable(limits: KernelLimits) -> frozenset[str]:
    """Name the detectors that could not judge, because a file that every kernel has was missing."""
    return frozenset(d.name for d in ALL if _any_missing(limits, d.needs))


#: The detectors that judge only what was counted between polls.
OF_EVENTS = frozenset(detector.name for detector in ALL if detector.needs_events)


def inapplicable(limits: KernelLimits, *, has_events: bool) -> frozenset[str]:
    """Name the detectors that have nothing to judge in this namespace."""
    return frozenset(
        d.name
        for d in ALL
        if _any_missing(limits, d.only_where) or (d.needs_events and not has_events)
    )


def _any_missing(limits: KernelLimits, names: Iterable[str]) -> bool:
    return any(getattr(limits, name) is None for name in names)


Failed = Callable[[Detector, Exception], None]


def _raised(_: Detector, error: Exception) -> None:
    raise error


def diagnose(
    data: DetectorInput,
    thresholds: Mapping[str, DetectorThresholds],
    detectors: Iterable[Detector] = ALL,
    failed: Failed = _raised,
) -> tuple[Finding, ...]:
    """Run each of the detectors that is enabled.

    failed: called with a detector that has raised, which then has found nothing.
    """
    found: list[Finding] = []
    for detector in detectors:
        its = thresholds[detector.name]
        if its.enabled:
            try:
                found += bounded(detector.find(data, its))
            except Exception as error:  # noqa: BLE001 - a mistake of ours, in one detector of many
                failed(detector, error)
    return tuple(found)


def bounded(findings: Iterable[Finding]) -> list[Finding]:
    """Return the first MOST_FINDINGS, and one more that says so if there are others.

    Each costs CPU time, an alert, and room in the state: their number must not be for any user of
    the host to choose. Detectors yield the largest groups first.
    """
    kept = list(islice(findings, MOST_FINDINGS + 1))
    if len(kept) > MOST_FINDINGS:
        last = kept.pop()
        kept.append(
            replace(
                last,
                severity=worst_of(kept),
                subject=Subject(),
                value=MOST_FINDINGS,
                limit=MOST_FINDINGS,
                summary=Text(
                    f"there are more than {MOST_FINDINGS} findings of this kind: {MORE}",
                    f"这类问题超过 {MOST_FINDINGS} 个：{MORE.zh}",
                ),
                evidence={},
                advice=(),
                owner=None,
                critical_because=None,
                deadline=None,
                note=False,
                group=None,
                inodes=(),
                others=(),
                rows=None,
            )
        )
    return kept


def worst_of(findings: Iterable[Finding]) -> Severity:
    """Return the worst severity of some findings."""
    return max((finding.severity for finding in findings), key=SEVERITIES.index)
