"""Thresholds and value mappings: from which value on a figure is orange, or red."""

from collections.abc import Mapping

from grafana_foundation_sdk.models.dashboard import (
    DashboardSpecialValueMapOptions,
    SpecialValueMap,
    SpecialValueMatch,
    Threshold,
    ValueMap,
    ValueMappingResult,
)

from sockmon.detect.registry import ALL
from sockmon.model.finding import Severity
from sockmon.model.states import TcpState

GREEN, ORANGE, RED, BLUE = "green", "orange", "red", "blue"
#: What nothing is known of: neither good nor bad.
GONE = "purple"

#: The hues of the page's dark theme (page/src/style/base.css).
STATE_COLORS: Mapping[TcpState, str] = {
    TcpState.ESTABLISHED: "#5aa5f7",
    TcpState.SYN_SENT: "#35c2b6",
    TcpState.SYN_RECV: "#35c2b6",
    TcpState.FIN_WAIT1: "#d184dd",
    TcpState.FIN_WAIT2: "#e884c4",
    TcpState.TIME_WAIT: "#a994ff",
    TcpState.CLOSE: "#77838f",
    TcpState.CLOSE_WAIT: "#ff9d42",
    TcpState.LAST_ACK: "#cdb04a",
    TcpState.LISTEN: "#8e9aa7",
    TcpState.CLOSING: "#9d86ee",
}

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
    """Red from 0 on, orange from `critical` on, green from `warning` on.

    The first step is green: Grafana gives its colour to what has no value.
    """
    steps = ((GREEN, None), (RED, 0.0), (ORANGE, critical), (GREEN, warning))
    return tuple(Threshold(color=color, value=value) for color, value in steps)


def missing(text: str) -> SpecialValueMap:
    """Show this instead of no value, in a colour that is no verdict."""
    return SpecialValueMap(
        DashboardSpecialValueMapOptions(
            match=SpecialValueMatch.NULL_AND_NAN,
            result=ValueMappingResult(text=text, color="text"),
        )
    )


def texts(**meanings: tuple[str, str]) -> ValueMap:
    """Show values as (text, colour); a number's name begins with an underscore, as in _0."""
    return ValueMap(
        {
            value.removeprefix("_"): ValueMappingResult(text=text, color=color)
            for value, (text, color) in meanings.items()
        }
    )


#: The recorded verdict on a host; -1 where its sockmon does not answer.
VERDICTS = ValueMap(
    {
        str(value): ValueMappingResult(text=text, color=color)
        for value, (text, color) in enumerate(
            (
                ("sockmon down", GONE),
                ("healthy", GREEN),
                ("warning", ORANGE),
                ("critical", RED),
            ),
            start=-1,
        )
    }
)
UP = texts(_0=("down", GONE), _1=("up", GREEN))
YES = texts(_0=("no", RED), _1=("yes", GREEN))
SEVERITIES = texts(**{severity: (severity, color) for severity, color in SEVERITY_COLORS.items()})

#: Detectors by the names of their alerts, which are those of the runbooks.
ALERTS = ValueMap({detector.name: ValueMappingResult(text=detector.alert) for detector in ALL})
