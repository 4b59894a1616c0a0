"""Observation -> Prometheus metric families, those of families.py."""

import operator
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import astuple, dataclass

from prometheus_client.core import Metric

from sockmon.export import diagnosis, events, polls
from sockmon.export import families as declared
from sockmon.export.family import Family, Samples, SeriesMemory
from sockmon.model.counts import StateCounts
from sockmon.model.limits import KernelLimits
from sockmon.model.moment import T, Timed
from sockmon.model.names import OTHER
from sockmon.model.observation import NamespaceObservation, Observation, Ports
from sockmon.model.states import TcpState
from sockmon.text import label

#: UDP has connected sockets and others: the kernel calls them ESTABLISHED and CLOSE.
UDP_STATES = (TcpState.ESTABLISHED, TcpState.CLOSE)

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
) -> Iterator[Metric]:
    """Yield every family with a sample. `now` in monotonic seconds: what is old is left out.

    memory: of the answers before this one; without it this is the first one. started: see Samples.
    """
    samples = Samples(declared.ALL, memory or SeriesMemory(), now, started)
    if observation is not None:
        for namespace in observation.shown:
            _add_namespace(samples, observation, namespace, now)
        if observation.folded:
            _add_folded(samples, observation, now)
        if observation.events is not None:
            events.add(samples, observation.events)
        polls.add(samples, observation)
    samples.add(declared.BUILD_INFO, (build.version, build.python), 1)
    samples.add(declared.RELOAD_SUCCESSFUL, (), float(reload.successful))
    samples.add(declared.RELOAD_SUCCEEDED_AT, (), reload.succeeded_at)
    return iter(samples)


def _add_namespace(
    samples: Samples, observation: Observation, namespace: NamespaceObservation, now: float
) -> None:
    def fresh(part: Timed[T] | None) -> T | None:
        return observation.fresh(namespace, part, now)

    netns = namespace.name
    if namespace.names is not None:
        names = (label(name) if name else "" for name in astuple(namespace.names))
        samples.add(declared.NAMESPACE_INFO, (netns, *names), 1)
    _add_sockets(samples, netns, fresh(namespace.tcp) or {}, fresh(namespace.udp) or {})
    ports, limits = fresh(namespace.ports), fresh(namespace.limits)
    diagnosed = fresh(namespace.diagnosis)
    if ports is not None:
        _add_ports(samples, netns, ports)
        if not namespace.degraded:  # else its range of ports is not known
            _add_ephemeral_ports(samples, netns, ports)
    for its in fresh(namespace.owners) or ():
        owner = OTHER if its.owner is None else label(its.owner)
        for state, count in its.states.items():
            samples.add(declared.OWNER_SOCKETS, (netns, owner, state.label), count)
    if limits is not None:
        _add_limits(samples, netns, limits)
        if namespace is observation.namespaces[0]:  # the daemon's own
            _add_host_limits(samples, limits)
    if diagnosed is not None:
        diagnosis.add(samples, netns, diagnosed)


def _add_folded(samples: Samples, observation: Observation, now: float) -> None:
    """Add the namespaces without series of their own as if they were one."""
    tcp = [observation.fresh(n, n.tcp, now) or {} for n in observation.folded]
    udp = [observation.fresh(n, n.udp, now) or {} for n in observation.folded]
    _add_sockets(samples, OTHER, _sum(tcp), _sum(udp))


def _sum(namespaces: Iterable[Families]) -> Families:
    total: dict[int, StateCounts] = {}
    for families in namespaces:
        for family, counts in families.items():
            before = total.get(family, (0,) * len(counts))
            total[family] = tuple(map(operator.add, before, counts))
    return total


def _add_sockets(samples: Samples, netns: str, tcp: Families, udp: Families) -> None:
    for protocol, states, families in (("tcp", TcpState, tcp), ("udp", UDP_STATES, udp)):
        for family, counts in families.items():
            for state in states:
                labels = netns, protocol, f"ipv{family}", state.label
                samples.add(declared.SOCKETS, labels, counts[state])


def _add_ports(samples: Samples, netns: str, ports: Ports) -> None:
    for group in ports.groups:
        port = OTHER if group.key.port is None else str(group.key.port)
        labels = netns, "tcp", group.key.direction, port
        for state, count in group.states.items():
            samples.add(declared.PORT_SOCKETS, (*labels, state.label), count)
        samples.add(declared.PORT_RECEIVE_QUEUE, labels, group.receive_queue)
        samples.add(declared.PORT_SEND_QUEUE, labels, group.send_queue)
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
    )
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
            samples.add_level(family, limit, (netns,), value, bound)
        else:
            _add_known(samples, family, (netns,), value)
            _add_known(samples, limit, (netns,), bound)
    for reason, dropped in (limits.conntrack_drops or {}).items():
        samples.add(declared.CONNTRACK_DROPS, (netns, reason), dropped)
    for name, count in (limits.traffic or {}).items():
        family, labels = declared.TCP_TRAFFIC[name]
        samples.add(family, (netns, *labels), count)
    for event, count in (limits.events or {}).items():
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
