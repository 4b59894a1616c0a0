"""Observation -> Prometheus metric families. Names and labels are those users rely on.

No address, cookie, inode, PID or text that a process chose is ever a label.
"""

import operator
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from prometheus_client.core import CounterMetricFamily as Counter
from prometheus_client.core import GaugeMetricFamily as Gauge
from prometheus_client.core import Metric

from sockmon.export import diagnosis, polls
from sockmon.model.counts import PortGroup, StateCounts
from sockmon.model.limits import KernelLimits
from sockmon.model.moment import Timed
from sockmon.model.names import OTHER
from sockmon.model.observation import NamespaceObservation, Observation, Ports
from sockmon.model.states import TcpState

#: UDP has connected sockets and others: the kernel calls them ESTABLISHED and CLOSE.
UDP_STATES = (TcpState.ESTABLISHED, TcpState.CLOSE)


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
    observation: Observation | None, now: float, build: Build, reload: Reload
) -> Iterator[Metric]:
    """Yield every family with a sample. `now` in monotonic seconds: what is old is left out."""
    return (family for family in _families(observation, now, build, reload) if family.samples)


def _families(
    observation: Observation | None, now: float, build: Build, reload: Reload
) -> Iterator[Metric]:
    if observation is not None:
        yield from _sockets(observation, now)
        yield from _ports(observation, now)
        yield from _limits(observation, now)
        yield from diagnosis.families(observation, now)
        yield from polls.families(observation)
    info = Gauge("sockmon_build_info", "What is running.", labels=["version", "python"])
    info.add_metric([build.version, build.python], 1)
    yield info
    yield Gauge(
        "sockmon_config_last_reload_successful",
        "Whether the last reading of the configuration succeeded.",
        float(reload.successful),
    )
    yield Gauge(
        "sockmon_config_last_reload_success_timestamp_seconds",
        "When the configuration in use was read.",
        reload.succeeded_at,
    )


def _sockets(observation: Observation, now: float) -> Iterator[Metric]:
    sockets = Gauge(
        "sockmon_sockets",
        "Sockets by protocol, address family and state; a v4-mapped socket is ipv4.",
        labels=["netns", "protocol", "family", "state"],
    )

    def add(
        netns: str, protocol: str, states: Iterable[TcpState], counts: StateCounts, f: int
    ) -> None:
        for state in states:
            sockets.add_metric([netns, protocol, f"ipv{f}", state.label], counts[state])

    for namespace in (*observation.shown, *_folded(observation, now)):
        for family, counts in (observation.fresh(namespace, namespace.tcp, now) or {}).items():
            add(namespace.name, "tcp", TcpState, counts, family)
        for family, counts in (observation.fresh(namespace, namespace.udp, now) or {}).items():
            add(namespace.name, "udp", UDP_STATES, counts, family)
    yield sockets


def _folded(observation: Observation, now: float) -> Iterator[NamespaceObservation]:
    """Yield the namespaces that are not shown as if they were one, if there are any."""
    if observation.folded:
        tcp = [observation.fresh(n, n.tcp, now) or {} for n in observation.folded]
        udp = [observation.fresh(n, n.udp, now) or {} for n in observation.folded]
        yield NamespaceObservation(
            OTHER, Timed(_sum(tcp), observation.at), Timed(_sum(udp), observation.at)
        )


def _sum(namespaces: Iterable[Mapping[int, StateCounts]]) -> Mapping[int, StateCounts]:
    total: dict[int, StateCounts] = {}
    for families in namespaces:
        for family, counts in families.items():
            before = total.get(family, (0,) * len(counts))
            total[family] = tuple(map(operator.add, before, counts))
    return total


def _port_label(group: PortGroup) -> str:
    return OTHER if group.key.port is None else str(group.key.port)


def _ports(observation: Observation, now: float) -> Iterator[Metric]:
    by_group = ["netns", "protocol", "direction", "port"]
    by_port = ["netns", "port"]
    sockets = Gauge(
        "sockmon_port_sockets",
        "TCP sockets by the port they belong to: a listener's own, or the remote one.",
        labels=[*by_group, "state"],
    )
    receive = Gauge(
        "sockmon_port_receive_queue_bytes",
        "Bytes that applications have not read yet.",
        labels=by_group,
    )
    send = Gauge(
        "sockmon_port_send_queue_bytes",
        "Bytes that peers have not acknowledged yet.",
        labels=by_group,
    )
    length = Gauge(
        "sockmon_accept_queue_connections",
        "Connections waiting for accept(), at the port's fullest listener.",
        labels=by_port,
    )
    limit = Gauge(
        "sockmon_accept_queue_limit",
        "Connections that the same listener's accept queue may hold.",
        labels=by_port,
    )
    drops = Counter(
        "sockmon_accept_queue_drops",
        "Connections that the kernel dropped at the port's listeners.",
        labels=by_port,
    )
    usable = Gauge(
        "sockmon_ephemeral_ports_usable",
        "Ports that connect() can choose from: the range less reserved and bound ones.",
        labels=["netns"],
    )
    used = Gauge(
        "sockmon_ephemeral_ports_used_by_busiest_destination",
        "Of them in use, at most, by one source, destination and destination port.",
        labels=["netns"],
    )
    bound = Gauge(
        "sockmon_ephemeral_ports_held_by_bind",
        "Ports of the range held by bind(), lost for every destination.",
        labels=["netns"],
    )
    exhaustion = Gauge(
        "sockmon_ephemeral_ports_exhaustion_seconds",
        "Forecast until a destination has no port left; +Inf when use is not growing.",
        labels=["netns"],
    )
    folded = Gauge(
        "sockmon_port_groups_aggregated",
        'Groups of (direction, port) inside port="other".',
        labels=["netns"],
    )
    for namespace in observation.shown:
        ports: Ports | None = observation.fresh(namespace, namespace.ports, now)
        if ports is None:
            continue
        netns = namespace.name
        for group in ports.groups:
            labels = [netns, "tcp", group.key.direction, _port_label(group)]
            for state, count in group.states.items():
                sockets.add_metric([*labels, state.label], count)
            receive.add_metric(labels, group.receive_queue)
            send.add_metric(labels, group.send_queue)
        for queue in ports.listen_queues:
            length.add_metric([netns, str(queue.port)], queue.length)
            limit.add_metric([netns, str(queue.port)], queue.limit)
        for port, count in sorted(ports.listen_drops.items()):
            drops.add_metric([netns, str(port)], count)
        folded.add_metric([netns], ports.folded)
        if namespace.degraded:
            continue  # its range of ports is not known
        usable.add_metric([netns], ports.ephemeral.usable)
        used.add_metric([netns], ports.ephemeral.used_max)
        bound.add_metric([netns], ports.ephemeral.bound)
        exhaustion.add_metric([netns], ports.exhaustion_seconds)
    yield from (sockets, receive, send, length, limit, drops)
    yield from (usable, used, bound, exhaustion, folded)


def _limits(observation: Observation, now: float) -> Iterator[Metric]:
    def gauge(name: str, help_text: str, *labels: str) -> Gauge:
        return Gauge(name, help_text, labels=labels)

    buckets = gauge("sockmon_time_wait_buckets", "TIME_WAIT sockets, by sockstat.", "netns")
    bucket_limit = gauge("sockmon_time_wait_buckets_limit", "tcp_max_tw_buckets.", "netns")
    entries = gauge("sockmon_conntrack_entries", "Tracked connections.", "netns")
    entry_limit = gauge("sockmon_conntrack_entries_limit", "nf_conntrack_max.", "netns")
    orphans = gauge("sockmon_orphan_sockets", "Sockets that no process holds any more.")
    orphan_limit = gauge("sockmon_orphan_sockets_limit", "tcp_max_orphans.")
    memory = gauge("sockmon_tcp_memory_bytes", "Memory that TCP sockets use, on the whole host.")
    memory_limit = gauge("sockmon_tcp_memory_limit_bytes", "tcp_mem.", "level")
    events = Counter(
        "sockmon_tcp_events",
        "The kernel's TcpExt counters, by their own names.",
        labels=["netns", "event"],
    )

    def add(family: Gauge, labels: list[str], value: float | None) -> None:
        if value is not None:
            family.add_metric(labels, value)

    for namespace in observation.shown:
        limits: KernelLimits | None = observation.fresh(namespace, namespace.limits, now)
        if limits is None:
            continue
        netns = [namespace.name]
        stat = limits.sockstat
        add(buckets, netns, stat.time_wait if stat else None)
        add(bucket_limit, netns, limits.time_wait_limit)
        add(entries, netns, limits.conntrack_entries)
        add(entry_limit, netns, limits.conntrack_limit)
        for event, count in (limits.events or {}).items():
            events.add_metric([*netns, event], count)
        if namespace is observation.namespaces[0]:  # the host's own: these count all namespaces
            add(orphans, [], stat.orphans if stat else None)
            add(orphan_limit, [], limits.orphan_limit)
            add(memory, [], stat.memory_bytes if stat else None)
            if limits.tcp_memory is not None:
                for level in ("low", "pressure", "high"):
                    add(memory_limit, [level], getattr(limits.tcp_memory, level))
    yield from (buckets, bucket_limit, orphans, orphan_limit, memory, memory_limit)
    yield from (entries, entry_limit, events)
