"""What a detector is: all that any part of sockmon needs to know of one diagnosis, in one value."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import numpy as np
from annotated_types import Ge, Gt, Le
from numpy.typing import NDArray

from sockmon.durations import DurationField
from sockmon.language import Text
from sockmon.model.detector_input import DetectorInput
from sockmon.model.finding import Finding, FindingKey, Severity, Subject
from sockmon.model.owner import Group
from sockmon.model.states import TcpState

Seconds = Annotated[float, DurationField(), Ge(0.0)]
Ratio = Annotated[float, Gt(0.0), Le(1.0)]
Count = Annotated[int, Ge(1)]

#: A finding ends, or loses its severity, only below this share of the threshold that made it.
HYSTERESIS = 0.9


def threshold(default: Any, about: str) -> Any:
    """Return a field of thresholds; `about` is its comment in the example configuration."""
    return field(default=default, metadata={"about": about})


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorThresholds:
    """The settings that every detector has."""

    __pydantic_config__: ClassVar[dict[str, object]] = {
        "extra": "forbid",
        "strict": True,
        "alias_generator": lambda name: name.rstrip("_"),  # `for` is a word of Python
    }

    enabled: bool = threshold(default=True, about="look for it")
    for_: Seconds = threshold(30.0, "the finding must last this long before the alert fires")
    keep_firing_for: Seconds = threshold(
        60.0, "keep the alert firing this long after the finding is gone"
    )

    def __post_init__(self) -> None:
        """Refuse a critical threshold below its warning; raises ValueError."""
        for each in fields(self):
            warning = getattr(self, each.name.replace("critical_", "warning_"), None)
            critical = getattr(self, each.name)
            if each.name.startswith("critical_") and warning is not None and critical < warning:
                raise ValueError(f"{each.name} {critical:g} is below the warning's {warning:g}")


PEERS_OR_NETWORK = Text("The peers, or the network to them", "对端，或中间的网络")

#: Builds a series' selector: the metric's name, then label matchers.
Series = Callable[..., str]

FOUND = "Findings: {{ $value | humanize }}."


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A detector's Prometheus rules: texts are templates that Prometheus fills in.

    summary, explanation: a line, and a sentence or two for the person on call. warning, critical:
    the figure at the beginning of the description. expressions: from thresholds, the PromQL of a
    warning and of a critical alert; None, for one or both: the detector's own sockmon_findings.
    host_wide: its series are of the whole host, and have no label netns.
    """

    summary: str
    explanation: str
    warning: str = FOUND
    critical: str = FOUND
    expressions: Callable[[Any, Series], tuple[str | None, str | None]] | None = None
    host_wide: bool = False


#: What can be wrong with an application on this host, or a peer, and can cause what others suffer.
Fault = Literal[
    "does_not_accept",
    "does_not_read",
    "does_not_close",
    "has_no_descriptors",
    "does_not_answer",
    "does_not_take",
    "does_not_end",
    "has_vanished",
]
#: How the sockets of a finding and those of its cause belong together: the cause has the other
#: ends, is of the same process, or of its other side (a relay has two), has the listener that is
#: called, has the same peers, or is about the same sockets.
Link = Literal[
    "other_end", "same_process", "other_side", "destination", "same_peer", "same_sockets"
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """Sockets that a detector counts for a metric by (direction, port), however few they are.

    metric: the family's name; help: a sentence. rows: from one poll's data and thresholds.
    """

    metric: str
    help: str
    rows: Callable[[DetectorInput, Any], NDArray[np.intp]]


#: From which value on a series is orange, and from which red; None: never.
Level = tuple[float | None, float | None]


def _no_levels(_: Any) -> Mapping[str, Level]:
    return {}


def ratio_levels(metric: str) -> Callable[[Any], Mapping[str, Level]]:
    """Return the levels of a metric that is judged by warning_ratio and critical_ratio."""
    return lambda its: {metric: (its.warning_ratio, its.critical_ratio)}


def share(of: Series, metric: str) -> str:
    """Return the PromQL of a metric's share of its limit; a limit of 0 is none."""
    return f"{of(metric)}\n/ ({of(f'{metric}_limit')} > 0)"


def counts(metric: str) -> Callable[[Any, Series], tuple[str, str]]:
    """Return the expressions of a metric judged by warning_sockets and critical_sockets."""
    return lambda its, of: (
        f"{of(metric)} >= {its.warning_sockets}",
        f"{of(metric)} >= {its.critical_sockets}",
    )


class Does(NamedTuple):
    """What owners do wrong, as a clause without its subject: after one name, after several."""

    one: Text
    many: Text


@dataclass(frozen=True, slots=True, kw_only=True)
class Detector:
    """One diagnosis.

    name: its key in the configuration; about: a clause for the example configuration.
    title: what people read above its findings. actor: who must act when no owner is known, or when
    the owner cannot. does: what the owner of the sockets does wrong, if it must act. state: the TCP
    state that it is about, if it is one.
    thresholds: its part of the configuration. needs: fields of KernelLimits without which it cannot
    judge. only_where: fields that not every namespace has: without them there is nothing to judge.
    needs_whole_table: it judges by sockets at rest too, so it runs only after the whole
    table was read. needs_events: without events.enabled there is nothing to judge.
    of_udp: the ports of its findings are UDP's.
    find: a pure function from one poll's data and thresholds to findings.
    fault: what its findings say of an application here, or of a peer. caused_by: faults that can
    cause its findings. counted: its own metric. levels: from thresholds, when a figure on a
    dashboard is orange or red, by the metric's name; a metric that has a limit is a share of it.
    """

    name: str
    about: str
    title: Text
    actor: Text
    thresholds: type[DetectorThresholds]
    find: Callable[[DetectorInput, Any], Iterable[Finding]]
    rule: Rule
    does: Does | None = None
    state: TcpState | None = None
    needs: tuple[str, ...] = ()
    only_where: tuple[str, ...] = ()
    needs_whole_table: bool = False
    needs_events: bool = False
    of_udp: bool = False
    fault: Fault | None = None
    caused_by: tuple[tuple[Link, Fault], ...] = ()
    counted: Counted | None = None
    levels: Callable[[Any], Mapping[str, Level]] = _no_levels

    @property
    def owner_acts(self) -> bool:
        """Whether the owner of the sockets must act, if it is known."""
        return self.does is not None

    @property
    def alert(self) -> str:
        """The name of its alert: of detector a_b it is SockmonAB."""
        return "Sockmon" + "".join(word.capitalize() for word in self.name.split("_"))

    @property
    def metrics(self) -> tuple[str, ...]:
        """The names of the metrics whose figures its findings are about."""
        counted = () if self.counted is None else (self.counted.metric,)
        return (*self.levels(self.thresholds()), *counted)


#: An owner has findings for so many ports of one direction; what it has on more is one finding.
PORTS_APART = 20


def ports_joined(
    groups: Iterable[tuple[Group, NDArray[np.intp]]],
) -> Iterator[tuple[Group, NDArray[np.intp]]]:
    """Join the groups of an owner that are on more than PORTS_APART ports of one direction.

    Any user can open thousands of ports: their trouble is one, and has one alert.
    """
    by_owner: dict[Group, list[tuple[Group, NDArray[np.intp]]]] = {}
    for group, rows in groups:
        by_owner.setdefault(several_ports(group), []).append((group, rows))
    for many, parts in by_owner.items():
        if len(parts) > PORTS_APART:
            yield many, np.sort(np.concatenate([rows for _, rows in parts]))
        else:
            yield from parts


def several_ports(group: Group) -> Group:
    """Return the group of all ports of its direction and owner."""
    return group._replace(port=None, address=None)


class Judged(NamedTuple):
    """A group of sockets that is large enough; `rows` of the table."""

    group: Group
    rows: NDArray[np.intp]
    subject: Subject
    key: FindingKey
    severity: Severity


def judge_groups(
    data: DetectorInput, name: str, rows: NDArray[np.intp], warning: float, critical: float
) -> Iterator[Judged]:
    """Yield the (direction, port, cgroup) groups of the rows that reach the thresholds."""

    def judged(group: Group, part: NDArray[np.intp]) -> Iterator[Judged]:
        subject = Subject(group.direction, group.port, data.owner_label(group))
        key = FindingKey(name, data.netns, subject)
        its = severity(data, key, part.size, warning, critical)
        if its is not None:
            yield Judged(group, part, subject, key, its)

    enough = [(group, part) for group, part in data.groups(rows) for _ in judged(group, part)]
    for group, part in ports_joined(enough):
        yield from judged(group, part)


def severity(
    data: DetectorInput, key: FindingKey, value: float, warning: float, critical: float
) -> Severity | None:
    """Judge a value by its thresholds, with hysteresis against the last polls' severity."""
    previous = data.past.get(key)
    was = previous.severity if previous else None
    if value >= critical * (HYSTERESIS if was == "critical" else 1.0):
        return "critical"
    if value >= warning * (HYSTERESIS if was else 1.0):
        return "warning"
    return None
