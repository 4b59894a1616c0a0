"""Thresholds and value mappings: from which value on a figure is orange, or red."""

from collections.abc import Mapping

from grafana_foundation_sdk.models.dashboard import Threshold, ValueMap, ValueMappingResult

from sockmon.detect.registry import ALL
from sockmon.model.finding import Severity

GREEN, ORANGE, RED, BLUE = "green", "orange", "red", "blue"

#: Colours from the lowest value on. One colour alone: no value is better or worse than another.
Scale = tuple[Threshold, ...]

NEUTRAL: Scale = (Threshold(color=BLUE),)

SEVERITY_COLORS: Mapping[Severity, str] = {"warning": ORANGE, "critical": RED}


def rising(warning: float | None = None, critical: float | None = None) -> Scale:
    """Green, orange from `warning` on, red from `critical` on."""
    steps = (
        Threshold(color=color, value=float(value))
        for color, value in ((ORANGE, warning), (RED, critical))
        if value is not None
    )
    return (Threshold(color=GREEN), *steps)


def falling(warning: float | None, critical: float | None) -> Scale:
    """Red below `critical`, orange below `warning`, green from there on."""
    steps = ((RED, None), (ORANGE, critical), (GREEN, warning))
    return tuple(Threshold(color=color, value=value) for color, value in steps)


def texts(**meanings: tuple[str, str]) -> ValueMap:
    """Show values as (text, colour); a number's name begins with an underscore, as in _0."""
    return ValueMap(
        {
            value.removeprefix("_"): ValueMappingResult(text=text, color=color)
            for value, (text, color) in meanings.items()
        }
    )


#: The recorded verdict on a host.
VERDICTS = texts(_0=("well", GREEN), _1=("warning", ORANGE), _2=("critical", RED))
UP = texts(_0=("down", RED), _1=("up", GREEN))
YES = texts(_0=("no", RED), _1=("yes", GREEN))
SEVERITIES = texts(**{severity: (severity, color) for severity, color in SEVERITY_COLORS.items()})

#: Detectors by the names of their alerts, which are those of the runbooks.
ALERTS = ValueMap({detector.name: ValueMappingResult(text=detector.alert) for detector in ALL})
