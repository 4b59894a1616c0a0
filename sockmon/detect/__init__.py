"""One pure file per diagnosis. A new one is a file, and its line in ALL."""

from collections.abc import Mapping
from dataclasses import field, make_dataclass
from typing import Any

from sockmon.detect import close_wait_leak
from sockmon.detect.detector import Detector, DetectorLimits
from sockmon.model.finding import Finding
from sockmon.model.sight import Sight

ALL: tuple[Detector, ...] = (close_wait_leak.DETECTOR,)

#: The configuration's `detect`: one table of limits per detector, by its name.
Detect = make_dataclass(
    "Detect",
    [(d.name, d.limits, field(default_factory=d.limits)) for d in ALL],
    frozen=True,
    slots=True,
    namespace={"__pydantic_config__": {"extra": "forbid", "strict": True}},
)


def limits_of(detect: Any) -> Mapping[str, DetectorLimits]:
    """Return each detector's limits by its name, from the configuration's `detect`."""
    return {detector.name: getattr(detect, detector.name) for detector in ALL}


def diagnose(sight: Sight, limits: Mapping[str, DetectorLimits]) -> tuple[Finding, ...]:
    """Let every detector that is enabled judge."""
    return tuple(
        finding
        for detector in ALL
        if limits[detector.name].enabled
        for finding in detector.find(sight, limits[detector.name])
    )
