"""One pure file per diagnosis. A new one is a file, and its line in ALL."""

from collections.abc import Iterable, Mapping
from dataclasses import field, make_dataclass
from typing import Any

from sockmon.detect import (
    accept_queue,
    close_wait_leak,
    closing_stalled,
    connect_stalled,
    conntrack_pressure,
    dead_peer,
    ephemeral_port_pressure,
    fin_wait2_stuck,
    orphan_pressure,
    syn_backlog,
    tcp_memory_pressure,
    time_wait_pressure,
)
from sockmon.detect.detector import Detector, DetectorThresholds
from sockmon.model.detector_input import DetectorInput
from sockmon.model.finding import Finding
from sockmon.model.limits import KernelLimits

ALL: tuple[Detector, ...] = (
    close_wait_leak.DETECTOR,
    time_wait_pressure.DETECTOR,
    ephemeral_port_pressure.DETECTOR,
    fin_wait2_stuck.DETECTOR,
    connect_stalled.DETECTOR,
    syn_backlog.DETECTOR,
    accept_queue.DETECTOR,
    closing_stalled.DETECTOR,
    dead_peer.DETECTOR,
    orphan_pressure.DETECTOR,
    tcp_memory_pressure.DETECTOR,
    conntrack_pressure.DETECTOR,
)

#: Those that can judge by a part of a table, without the sockets at rest.
OF_PART = tuple(detector for detector in ALL if not detector.needs_whole_table)

#: The configuration's `detect`: one table of limits per detector, by its name.
Detect = make_dataclass(
    "Detect",
    [(d.name, d.limits, field(default_factory=d.limits)) for d in ALL],
    frozen=True,
    slots=True,
    namespace={"__pydantic_config__": {"extra": "forbid", "strict": True}},
)


def limits_of(detect: Any) -> Mapping[str, DetectorThresholds]:
    """Return each detector's limits by its name, from the configuration's `detect`."""
    return {detector.name: getattr(detect, detector.name) for detector in ALL}


#: Of KernelLimits, what a detector cannot judge without; None there means that it did not look.
_NEEDS = {
    "time_wait_pressure": ("sockstat", "time_wait_limit"),
    "orphan_pressure": ("sockstat",),
    "tcp_memory_pressure": ("sockstat",),
    "fin_wait2_stuck": ("settings",),
    "syn_backlog": ("settings",),
}


def blind(limits: KernelLimits) -> frozenset[str]:
    """Name the detectors that could not look, for want of a file that every kernel has."""
    return frozenset(
        name
        for name, needs in _NEEDS.items()
        if any(getattr(limits, need) is None for need in needs)
    )


def diagnose(
    sight: DetectorInput,
    limits: Mapping[str, DetectorThresholds],
    detectors: Iterable[Detector] = ALL,
) -> tuple[Finding, ...]:
    """Let every one of the detectors that is enabled judge."""
    return tuple(
        finding
        for detector in detectors
        if limits[detector.name].enabled
        for finding in detector.find(sight, limits[detector.name])
    )
