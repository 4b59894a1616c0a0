"""What a detector is: a table of limits with defaults, and a pure function to findings."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields
from typing import Annotated, Any, ClassVar, NamedTuple

import numpy as np
from annotated_types import Ge, Gt, Le
from numpy.typing import NDArray

from sockmon.durations import DurationField
from sockmon.model.detector_input import DetectorInput
from sockmon.model.finding import Finding, FindingKey, Severity, Subject
from sockmon.model.owner import Group

Seconds = Annotated[float, DurationField(), Ge(0.0)]
Ratio = Annotated[float, Gt(0.0), Le(1.0)]
Count = Annotated[int, Ge(1)]

#: A finding ends, or loses its severity, only below this share of the limit that made it.
HYSTERESIS = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorThresholds:
    """What every detector can be told; `for_` holds its alert back, `keep_firing_for` keeps it."""

    __pydantic_config__: ClassVar[dict[str, object]] = {
        "extra": "forbid",
        "strict": True,
        "alias_generator": lambda name: name.rstrip("_"),  # `for` is a word of Python
    }

    enabled: bool = True
    for_: Seconds = 30.0
    keep_firing_for: Seconds = 60.0

    def __post_init__(self) -> None:
        """Refuse a critical limit below its warning; raises ValueError."""
        for field in fields(self):
            warning = getattr(self, field.name.replace("critical_", "warning_"), None)
            critical = getattr(self, field.name)
            if field.name.startswith("critical_") and warning is not None and critical < warning:
                raise ValueError(f"{field.name} {critical:g} is below the warning's {warning:g}")


class Detector(NamedTuple):
    """`name` is its key in the configuration; `alert` the alert that its findings raise.

    needs_whole_table: it judges by sockets at rest too, so it runs only after the whole table was
    read.
    """

    name: str
    alert: str
    limits: type[DetectorThresholds]
    find: Callable[[DetectorInput, Any], Iterable[Finding]]
    needs_whole_table: bool = False


class Judged(NamedTuple):
    """A group of sockets that is many enough; `rows` of the sight's table."""

    group: Group
    rows: NDArray[np.intp]
    subject: Subject
    key: FindingKey
    severity: Severity


def judge_groups(
    sight: DetectorInput, name: str, rows: NDArray[np.intp], warning: float, critical: float
) -> Iterator[Judged]:
    """Yield the (direction, port, cgroup) groups that reach the thresholds."""
    for group, part in sight.groups(rows):
        subject = Subject(group.direction, group.port, sight.owner_label(group))
        key: FindingKey = (name, sight.netns, subject)
        judged = severity(sight, key, part.size, warning, critical)
        if judged is not None:
            yield Judged(group, part, subject, key, judged)


def severity(
    sight: DetectorInput, key: FindingKey, value: float, warning: float, critical: float
) -> Severity | None:
    """Judge a value by its limits, with hysteresis against what it was in the last polls."""
    past = sight.past.get(key)
    was = past.severity if past else None
    if value >= critical * (HYSTERESIS if was == "critical" else 1.0):
        return "critical"
    if value >= warning * (HYSTERESIS if was else 1.0):
        return "warning"
    return None
