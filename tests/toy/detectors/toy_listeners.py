"""A diagnosis that only the tests have: too many sockets listen."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from sockmon.detect.detector import (
    Count,
    Counted,
    Detector,
    DetectorThresholds,
    Rule,
    Seconds,
    Series,
    threshold,
)
from sockmon.language import Text
from sockmon.model.detector_input import DetectorInput
from sockmon.model.finding import Advice, Command, Finding, Quantity, Subject
from sockmon.model.states import TcpState

NAME = "toy_listeners"


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds(DetectorThresholds):
    """How many may listen."""

    patience: Seconds = threshold(300.0, "a toy is patient for so long")
    warning_toys: Count = threshold(7, "sockets that listen")


def _rows(data: DetectorInput, _: Thresholds) -> np.ndarray:
    return np.flatnonzero(data.table.state == TcpState.LISTEN)


def find(data: DetectorInput, thresholds: Thresholds) -> Iterator[Finding]:
    """Yield a finding if as many sockets listen."""
    toys = int(_rows(data, thresholds).size)
    if toys >= thresholds.warning_toys:
        yield Finding(
            detector=NAME,
            severity="warning",
            netns=data.netns,
            subject=Subject(),
            value=toys,
            limit=thresholds.warning_toys,
            summary=Text(f"{toys} toys listen"),
            evidence={"toys_seen": Quantity(toys, "sockets")},
            advice=(Advice(Text("Put the toys away."), Command("ss -tln --toys"), "stop"),),
        )


def _expressions(thresholds: Thresholds, of: Series) -> tuple[str, None]:
    return f"{of('sockmon_toys')} >= {thresholds.warning_toys}", None


DETECTOR = Detector(
    name=NAME,
    about="too many toys listen",
    title=Text("Toys are everywhere"),
    actor=Text("The children"),
    thresholds=Thresholds,
    find=find,
    rule=Rule(
        summary="toys are everywhere",
        explanation="Somebody plays, and nobody tidies up.",
        expressions=_expressions,
    ),
    counted=Counted(metric="sockmon_toys", help="Toys that listen.", rows=_rows),
)
