"""Observation -> Prometheus metric families, those of families.py."""

import operator
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import astuple, dataclass
from functools import partial

from prometheus_client.core import Metric

from sockmon.export import diagnosis, events, polls
from sockmon.export import families as declared
from sockmon.export.family import Family, Samples, SeriesMemory
from sockmon.model.counts import PortGroup, StateCounts
from sockmon.model.limits import KernelLimits
from sockmon.model.names import HOST, OTHER
from sockmon.model.observation import Observation, Ports
from sockmon.model.owner_sockets import OwnerSockets
from sockmon.model.states import TcpState
from sockmon.text import label

#: UDP has connected sockets and others: the kernel calls them ESTABLISHED and CLOSE.
UDP_STATES = (TcpState.ESTABLISHED, TcpState.CLOSE)

#: Outside of the host's own namespace, the share of a limit from which on a level is shown.
_WORTH = 0.1
_SEVERAL = 2
#: Events that every closed connection is: shown of the host's own namespace only.
_ORDINARY = frozenset({"TW"})

Families = Mapping[int, StateCounts]


@dataclass(frozen=True, slots=True)
class Build:
    """What is running."""

    version: str
    python: str


@dataclass(frozen=True, slots=True)
class Reload:
    """How the last reading of the configuration went; `succeeded_at` in Unix seconds."""

    successful: bool
    succeeded_at: float


def families(
    observation: Observation | None,
    now: float,
    build: Build,
    reload: Reload,
    memory: SeriesMemory | None = None,
    started: float | None = None,
    component_failures: Mapping[str, int] | None = None,
) -> Iterator[Metric]:
    """Yield every family with a sample. `now` in monotonic seconds: what is old is left out.

    memory: of the answers before this one; without it this is the first one. started: see Samples.
    component_failures: how often parts of sockmon have failed, by their names.
    """
    samples = Samples(declared.ALL, memory or SeriesMemory(), now, started)
    if observation is not None:
        for name, add in _PARTS.items():
            samples.contain(f"metrics.{name}", partial(add, samples, observation, now))
    samples.add(declared.BUILD_INFO, (build.version, build.python), 1)
    samples.add(declared.RELOAD_SUCCESSFUL, (), float(reload.successful))
    samples.add(declared.RELOAD_SUCCEEDED_AT, (), reload.succeeded_at)
    for component, count in sorted((component_failures or {}).items()):
        samples.add(declared.COMPONENT_FAILURES, (component,), count)
    return iter(samples)


def _add_names(samples: Samples, observation: Observation, _: float) -> None:
    for namespace in observation.shown:
        if namespace.names is not None:
            names = (label(name) if name else "" for name in astuple(namespace.names))
            samples.add(declared.NAMESPACE_INFO, (namespace.name, *names), 1)


def _add_all_sockets(samples: Samples, observation: Observation, now: float) -> None:
    for its in observation.shown:
        tcp, udp = observation.fresh(its, its.tcp, now), observation.fresh(its, its.udp, now)
        _add_sockets(samples, its.name, tcp or {}, udp or {}, bound=its.lists_bound)
    if observation.folded:
        _add_folded(samples, observation, now)


def _add_all_ports(samples: Samples, observation: Observation, now: float) -> None:
    for namespace in observation.shown:
        ports = observation.fresh(namespace, namespace.ports, now)
        if ports is not None:
            _add_ports(samples, namespace.name, ports)
            limits = observation.fresh(namespace, namespace.limits, now)
            hidden = limits is not None and limits.settings_hidden
            if not (namespace.degraded or hidden):  # else its range of ports is not known
                _add_ephemeral_ports(samples, namespace.name, ports)


def _add_all_udp_ports(samples: Samples, observation: Observation, now: float) -> None:
    for namespace in observation.shown:
        for group in observation.fresh(namespace, namespace.udp_groups, now) or ():
            # Of a pod's lookups of names there is no more to say than how many sockets they take.
            serves = group.key.direction == "inbound" and group.key.port is not None
            if namespace.name == HOST or serves:
                _add_group(samples, namespace.name, "udp", group)


def _add_all_owners(samples: Samples, observation: Observation, now: float) -> None:
    for namespace in observation.shown:
        owners = observation.fresh(namespace, namespace.owners, now) or ()
        _add_owners(samples, namespace.name, owners)


def _add_all_limits(samples: Samples, observation: Observation, now: float) -> None:
    for namespace in observation.shown:
        limits = observation.fresh(namespace, namespace.limits, now)
        if limits is not None:
            _add_limits(samples, namespace.name, limits)
            if namespace is observation.namespaces[0]:  # the daemon's own
                _add_host_limits(samples, limits)


def _add_diagnoses(samples: Samples, observation: Observation, now: float) -> None:
    for namespace in observation.shown:
        diagnosed = observation.fresh(namespace, namespace.diagnosis, now)
        if diagnosed is not None:
            diagnosis.add(samples, namespace.name, diagnosed)


def _add_events(samples: Samples, observation: Observation, _: float) -> None:
    if observation.events is not None:
        events.add(samples, observation.events)


def _add_polls(samples: Samples, observation: Observation, _: float) -> None:
    polls.add(samples, observation)


#: Each fails by itself: its families are then left out, in all namespaces.
_PARTS: Mapping[str, Callable[[Samples, Observation, float], None]] = {
    "names": _add_names,
    "sockets": _add_all_sockets,
    "ports": _add_all_ports,
    "udp_ports": _add_all_udp_ports,
    "owners": _add_all_owners,
    "limits": _add_all_limits,
    "diagnoses": _add_diagnoses,
    "events": _add_events,
    "polls": _add_polls,
}


def _add_folded(samples: Samples, observation: Observation, now: float) -> None:
    """Add the namespaces without series of their own as if they were one."""
    tcp = [observation.fresh(n, n.tcp, now) or {} for n in observation.folded]
    udp = [observation.fresh(n, n.udp, now) or {} for n in observation.folded]
    bound = any(namespace.lists_bound for namespace in observation.folded)
    _add_sockets(samples, OTHER, _sum(tcp), _sum(udp), bound=bound)


def _sum(namespaces: Iterable[Families]) -> Families:
    total: dict[int, StateCounts] = {}
    for families in namespaces:
        for family, counts in families.items():
            before = total.get(family, (0,) * len(counts))
            total[family] = tuple(map(operator.add, before, counts))
    return total


def _add_sockets(
    samples: Samples, netns: str, tcp: Families, udp: Families, *, bound: bool
) -> None:
    """Add counts by state. bound: whether the kernel lists TCP sockets that are only bound."""
    tcp_states = [state for state in TcpState if bound or state is not TcpState.CLOSE]
    for protocol, states, families in (("tcp", tcp_states, tcp), ("udp", UDP_STATES, udp)):
        for family, counts in families.items():
            labels = netns, protocol, f"ipv{family}"
            by_state: dict[str, float] = {state.label: counts[state] for state in states}
            samples.add_together(declared.SOCKETS, labels, by_state)


def _add_owners(samples: Samples, netns: str, owners: tuple[OwnerSockets, ...]) -> None:
    if netns != HOST and sum(its.owner is not None for its in owners) < _SEVERAL:
        return  # the namespace's own figures are the owner's
    for its in owners:
        owner = OTHER if its.owner is None else label(its.owner)
        for state, count in its.states.items():
            samples.add(declared.OWNER_SOCKETS, (netns, owner, state.label), count)


def _add_group(samples: Samples, netns: str, protocol: str, group: PortGroup) -> None:
    port = OTHER if group.key.port is None else str(group.key.port)
    labels = netns, protocol, group.key.direction, port
    for state, count in group.states.items():
        samples.add(declared.PORT_SOCKETS, (*labels, state.label), count)
    samples.add(declared.PORT_RECEIVE_QUEUE, labels, group.receive_queue)
    samples.add(declared.PORT_SEND_QUEUE, labels, group.send_queue)


def _add_ports(samples: Samples, netns: str, ports: Ports) -> None:
    for group in ports.groups:
        _add_group(samples, netns, "tcp", group)
    for queue in ports.listen_queues:
        samples.add_level(
            declared.ACCEPT_QUEUE_CONNECTIONS,
            declared.ACCEPT_QUEUE_LIMIT,
            (netns, str(queue.port)),
            queue.length,
            queue.limit,
        )
    for its in ports.listening:
        where = netns, "tcp", str(its.port), its.scope
        samples.add(declared.LISTENING, where, float(its.listens))
    for number, drops in sorted(ports.dropped.items()):
        samples.add(declared.ACCEPT_QUEUE_DROPS, (netns, str(number)), drops)
    samples.add(declared.PORT_GROUPS_AGGREGATED, (netns,), ports.folded)


def _add_ephemeral_ports(samples: Samples, netns: str, ports: Ports) -> None:
    ephemeral = ports.ephemeral
    samples.add_level(
        declared.EPHEMERAL_PORTS_USED,
        declared.EPHEMERAL_PORTS_USABLE,
        (netns,),
        ephemeral.used_max,
        ephemeral.usable,
        worth=_WORTH,
    )
    if ephemeral.bound is not None:
        samples.add(declared.EPHEMERAL_PORTS_HELD, (netns,), ephemeral.bound)
    samples.add(declared.EPHEMERAL_PORTS_EXHAUSTION, (netns,), ports.exhaustion_seconds)


def _add_limits(samples: Samples, netns: str, limits: KernelLimits) -> None:
    stat = limits.sockstat
    for family, limit, value, bound in (
        (
            declared.TIME_WAIT_BUCKETS,
            declared.TIME_WAIT_BUCKETS_LIMIT,
            stat.time_wait if stat else None,
            limits.time_wait_limit,
        ),
        (
            declared.CONNTRACK_ENTRIES,
            declared.CONNTRACK_ENTRIES_LIMIT,
            limits.conntrack_entries,
            limits.conntrack_limit,
        ),
    ):
        if value is not None and bound is not None:
            samples.add_level(family, limit, (netns,), value, bound, worth=_WORTH)
        else:
            _add_known(samples, family, (netns,), value)
            _add_known(samples, limit, (netns,), bound)
    for reason, dropped in (limits.conntrack_drops or {}).items():
        samples.add(declared.CONNTRACK_DROPS, (netns, reason), dropped)
    for name, count in (limits.traffic or {}).items():
        family, labels = declared.TCP_TRAFFIC[name]
        samples.add(family, (netns, *labels), count)
    for event, count in (limits.events or {}).items():
        if netns == HOST or event not in _ORDINARY:
            samples.add(declared.TCP_EVENTS, (netns, event), count)


def _add_host_limits(samples: Samples, limits: KernelLimits) -> None:
    """Add what the kernel counts over all namespaces."""
    stat, memory = limits.sockstat, limits.tcp_memory
    _add_known(samples, declared.ORPHAN_SOCKETS, (), stat.orphans if stat else None)
    _add_known(samples, declared.ORPHAN_SOCKETS_LIMIT, (), limits.orphan_limit)
    _add_known(samples, declared.TCP_MEMORY, (), stat.memory_bytes if stat else None)
    if memory is not None:
        samples.add(declared.TCP_MEMORY_LIMIT, ("low",), memory.low)
        samples.add(declared.TCP_MEMORY_LIMIT, ("pressure",), memory.pressure)
        samples.add(declared.TCP_MEMORY_LIMIT, ("high",), memory.high)


def _add_known(
    samples: Samples, family: Family, labels: tuple[str, ...], value: float | None
) -> None:
    if value is not None:
        samples.add(family, labels, value)
