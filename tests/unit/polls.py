"""Observations made by hand, for what looks at many polls one after the other."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from sockmon.history.snapshot import HistorySnapshot, Range, Row
from sockmon.history.store import History
from sockmon.model.counts import GroupKey, PortGroup
from sockmon.model.finding import Finding
from sockmon.model.limits import DEFAULT_PORT_RANGE, KernelLimits, Sockstat
from sockmon.model.listeners import ListenQueue
from sockmon.model.moment import Moment, Timed
from sockmon.model.observation import (
    Diagnosis,
    NamespaceObservation,
    Observation,
    Ports,
    StaleGroup,
)
from sockmon.model.ports import EphemeralPorts
from sockmon.model.states import STATE_SLOTS, TcpState

WALL = 1_700_000_000.0


def at(seconds: float) -> Moment:
    """So many seconds after some moment."""
    return Moment(1000.0 + seconds, WALL + seconds)


def poll(
    moment: Moment,
    *namespaces: NamespaceObservation,
    interval: float = 5.0,
) -> Observation:
    """One poll of these namespaces."""
    return Observation(moment, interval, namespaces)


def saw(
    moment: Moment,
    established: int = 0,
    groups: Mapping[int, int] | None = None,
    *,
    name: str = "host",
) -> NamespaceObservation:
    """A namespace of which only TCP is known: so many sockets, and so many by listener's port.

    As in a true observation, the largest groups come first.
    """
    by_family = {4: counts(established), 6: counts(0)}
    namespace = NamespaceObservation(name, tcp=Timed(by_family, moment))
    if groups is None:
        return namespace
    ranked = sorted(groups.items(), key=lambda item: -item[1])
    return replace(namespace, ports=Timed(ports([group(port, n) for port, n in ranked]), moment))


def counts(established: int) -> tuple[int, ...]:
    """Sockets by state."""
    return tuple(established * (state == TcpState.ESTABLISHED) for state in range(STATE_SLOTS))


def group(port: int, sockets: int) -> PortGroup:
    """A listener's group, all of it in CLOSE_WAIT."""
    return PortGroup(GroupKey("inbound", port), {TcpState.CLOSE_WAIT: sockets}, 0, 0)


def ports(
    groups: Iterable[PortGroup] = (),
    queues: Iterable[ListenQueue] = (),
    exhaustion_seconds: float = float("inf"),
) -> Ports:
    """What belongs to ports."""
    ephemeral = EphemeralPorts(28_000, 0, 2, ())
    return Ports(tuple(groups), 0, tuple(queues), {}, ephemeral, exhaustion_seconds)


def everything(moment: Moment, findings: Iterable[Finding] = ()) -> NamespaceObservation:
    """A namespace of which all is known."""
    stale = StaleGroup("inbound", 80, "nginx.service", 7, 0)
    return replace(
        saw(moment, established=3),
        ports=Timed(
            ports(
                [group(80, 9), PortGroup(GroupKey("outbound", 443), {}, 0, 0)],
                [ListenQueue(80, 64, 128), ListenQueue(81, 0, 0)],
                exhaustion_seconds=90.5,
            ),
            moment,
        ),
        limits=Timed(
            KernelLimits(
                sockstat=Sockstat(12, 5, 2, 40_960),
                time_wait_limit=16_384,
                port_range=DEFAULT_PORT_RANGE,
            ),
            moment,
        ),
        diagnosis=Timed(Diagnosis(tuple(findings), {}, (stale, stale), 63.25), moment),
    )


def past_of(history: History) -> HistorySnapshot:
    """All that it has kept."""
    past = history.past()
    assert past is not None
    return past


def rows_of(history: History, span: Range, name: str = "host") -> tuple[Row, ...]:
    """The rows of one range."""
    return past_of(history).namespaces[name].rows[span]
