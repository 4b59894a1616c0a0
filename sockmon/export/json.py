"""Observation and alerts -> what /api/v1/observation and /api/v1/alerts answer."""

import math
from collections.abc import Iterable, Mapping
from functools import partial

from sockmon.alert.lifecycle import Alert, State
from sockmon.export import events
from sockmon.export.findings import findings
from sockmon.export.messages import alerts as alert_messages
from sockmon.export.messages import observation as messages
from sockmon.export.optional import optional
from sockmon.model.counts import PortGroup, StateCounts
from sockmon.model.limits import KernelLimits, TcpMemoryLimits
from sockmon.model.moment import Timed
from sockmon.model.names import OTHER
from sockmon.model.observation import (
    ContainerNames,
    NamespaceObservation,
    Observation,
    OtherNamespaces,
    Ports,
)
from sockmon.model.owner_sockets import OwnerSockets
from sockmon.model.states import TcpState


def observation(observed: Observation, netns: str | None = None) -> messages.ObservationAnswer:
    """Render all of it, or one of its namespaces; every part says when it was true."""
    return {
        **poll(observed),
        "failures": failures(observed),
        "namespaces": [
            namespace(each, observed)
            for each in observed.namespaces
            if netns is None or each.name == netns
        ],
    }


def poll(observed: Observation) -> messages.Poll:
    """Render what a poll has one of, however many namespaces there are."""
    return {
        "taken_at": observed.at.wall,
        "interval_seconds": observed.interval,
        "polls": observed.statistics.polls,
        "hints": list(observed.hints),
        "neighbours": optional(observed.neighbours, neighbours),
    }


def neighbours(others: OtherNamespaces) -> messages.OtherNamespaces:
    """Render how many other namespaces there are."""
    return {
        "inside": others.inside,
        "outside": others.outside,
        "empty": others.empty,
        "hidden": others.hidden,
    }


def failures(observed: Observation, netns: str | None = None) -> list[messages.Failure]:
    """Render what could not be read in this poll, anywhere or in one namespace."""
    return [
        {"netns": f.netns, "reason": f.reason, "message": f.message}
        for f in observed.failures
        if netns is None or f.netns == netns
    ]


def alerts(known: Iterable[Alert]) -> list[alert_messages.Alert]:
    """Render alerts."""
    return [
        {
            "state": _state(alert),
            "since": alert.since.wall,
            "firing_since": None if alert.fired is None else alert.fired.wall,
            "resolved_at": alert.entered.wall if alert.state is State.RESOLVED else None,
            "labels": dict(alert.labels),
            "annotations": dict(alert.annotations),
        }
        for alert in known
    ]


def _state(alert: Alert) -> alert_messages.AlertState:
    if alert.firing:
        return "firing"
    return "resolved" if alert.state is State.RESOLVED else "pending"


def namespace(one: NamespaceObservation, observed: Observation) -> messages.PolledNamespace:
    """Render one of the poll's namespaces."""
    return {
        "netns": one.name,
        "names": optional(one.names, _names),
        "degraded": one.degraded,
        "looked_at": (one.looked_at or observed.at).wall,
        "beat_seconds": max(observed.interval, one.beat),
        "tcp": optional(one.tcp, partial(_families, bound=one.lists_bound)),
        "udp": optional(one.udp, _families),
        "ports": optional(one.ports, _ports),
        "owners": optional(one.owners, _owners),
        "diagnosed_at": one.diagnosis.at.wall if one.diagnosis else None,
        "findings": findings(one.diagnosis.value.findings) if one.diagnosis else None,
        "limits": optional(one.limits, _limits),
        "connection_events": optional(
            observed.events, lambda counted: events.rendered(counted, one.name)
        ),
    }


def _families(
    families: Timed[Mapping[int, StateCounts]], *, bound: bool = True
) -> messages.Families:
    """Render counts by family. bound: whether the kernel lists what is in CLOSE."""
    states = [state for state in TcpState if bound or state is not TcpState.CLOSE]
    rendered: messages.Families = {"taken_at": families.at.wall}
    if 4 in families.value:
        rendered["ipv4"] = {state.label: families.value[4][state] for state in states}
    if 6 in families.value:
        rendered["ipv6"] = {state.label: families.value[6][state] for state in states}
    return rendered


def _ports(part: Timed[Ports]) -> messages.Ports:
    ports, ephemeral = part.value, part.value.ephemeral
    finite = math.isfinite(ports.exhaustion_seconds)
    return {
        "taken_at": part.at.wall,
        "groups": [_group(group) for group in ports.groups],
        "folded": ports.folded,
        "listeners": [
            {
                "port": queue.port,
                "queue": queue.length,
                "limit": queue.limit,
                "drops": ports.listen_drops.get(queue.port, 0),
            }
            for queue in ports.listen_queues
        ],
        "ephemeral": {
            "usable": ephemeral.usable,
            "reserved": ephemeral.reserved,
            "bound": ephemeral.bound,
            "exhaustion_seconds": ports.exhaustion_seconds if finite else None,
            "busiest": [
                {
                    "source": str(use.destination.source),
                    "destination": str(use.destination.address),
                    "port": use.destination.port,
                    "used": use.used,
                    "states": {state.label: n for state, n in use.states.items()},
                }
                for use in ephemeral.busiest
            ],
        },
    }


def _names(names: ContainerNames) -> messages.ContainerNames:
    return {"pod": names.pod, "namespace": names.namespace, "container": names.container}


def _owners(part: Timed[tuple[OwnerSockets, ...]]) -> messages.Owners:
    return {
        "taken_at": part.at.wall,
        "owners": [
            {
                "owner": OTHER if its.owner is None else its.owner,
                "states": {state.label: n for state, n in its.states.items()},
            }
            for its in part.value
        ],
    }


def _group(group: PortGroup) -> messages.Group:
    return {
        "direction": group.key.direction,
        "port": group.key.port if group.key.port is not None else "other",
        "states": {state.label: count for state, count in group.states.items()},
        "receive_queue_bytes": group.receive_queue,
        "send_queue_bytes": group.send_queue,
    }


def _limits(part: Timed[KernelLimits]) -> messages.Limits:
    limits = part.value
    stat, ports = limits.sockstat, limits.port_range
    return {
        "taken_at": part.at.wall,
        "time_wait_buckets": stat.time_wait if stat else None,
        "time_wait_buckets_limit": limits.time_wait_limit,
        "orphan_sockets": stat.orphans if stat else None,
        "orphan_sockets_limit": limits.orphan_limit,
        "tcp_memory_bytes": stat.memory_bytes if stat else None,
        "tcp_memory_limit_bytes": optional(limits.tcp_memory, _memory),
        "conntrack_entries": limits.conntrack_entries,
        "conntrack_entries_limit": limits.conntrack_limit,
        "port_range": (ports.low, ports.high) if ports else None,
        "tcp_events": optional(limits.events, dict),
        "tcp_traffic": optional(limits.traffic, dict),
    }


def _memory(memory: TcpMemoryLimits) -> messages.TcpMemoryLimit:
    return {"low": memory.low, "pressure": memory.pressure, "high": memory.high}
