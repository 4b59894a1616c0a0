"""Observation -> what /api/v1/observation answers: plain dicts, lists, strings and numbers."""

import math
from dataclasses import asdict
from typing import Any

from sockmon.export.findings import findings
from sockmon.model.counts import PortGroup, StateCounts
from sockmon.model.limits import KernelLimits
from sockmon.model.moment import Timed
from sockmon.model.observation import NamespaceObservation, Observation, Ports
from sockmon.model.states import TcpState

Json = dict[str, Any]


def observation(observed: Observation, netns: str | None = None) -> Json:
    """Render the whole of it, or of its namespaces one; every part says when it was true (Unix)."""
    return {
        **poll(observed),
        "failures": failures(observed),
        "namespaces": [
            namespace(each, observed)
            for each in observed.namespaces
            if netns is None or each.name == netns
        ],
    }


def poll(observed: Observation) -> Json:
    """Render what a poll has one of, however many namespaces there are."""
    neighbours = observed.neighbours
    return {
        "taken_at": observed.at.wall,
        "interval_seconds": observed.interval,
        "polls": observed.statistics.polls,
        "hints": list(observed.hints),
        "neighbours": neighbours and asdict(neighbours),
    }


def failures(observed: Observation, netns: str | None = None) -> list[Json]:
    """Render what could not be read in this poll, anywhere or in one namespace."""
    return [
        {"netns": f.netns, "reason": f.reason, "message": f.message}
        for f in observed.failures
        if netns is None or f.netns == netns
    ]


def namespace(one: NamespaceObservation, observed: Observation) -> Json:
    """Render one of the poll's namespaces."""
    return {
        "netns": one.name,
        "degraded": one.degraded,
        "looked_at": (one.looked_at or observed.at).wall,
        "beat_seconds": max(observed.interval, one.beat),
        "tcp": one.tcp and _timed(one.tcp, _families(one.tcp.value)),
        "udp": one.udp and _timed(one.udp, _families(one.udp.value)),
        "ports": one.ports and _timed(one.ports, _ports(one.ports.value)),
        "diagnosed_at": one.diagnosis and one.diagnosis.at.wall,
        "findings": findings(one.diagnosis.value.findings) if one.diagnosis else None,
        "limits": one.limits and _timed(one.limits, _limits(one.limits.value)),
    }


def _timed(part: Timed[Any], value: Json) -> Json:
    return {"taken_at": part.at.wall, **value}


def _families(families: Any) -> Json:
    return {f"ipv{family}": _states(counts) for family, counts in families.items()}


def _states(counts: StateCounts) -> Json:
    return {state.label: counts[state] for state in TcpState}


def _ports(ports: Ports) -> Json:
    ephemeral = ports.ephemeral
    finite = math.isfinite(ports.exhaustion_seconds)
    return {
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


def _group(group: PortGroup) -> Json:
    return {
        "direction": group.key.direction,
        "port": group.key.port if group.key.port is not None else "other",
        "states": {state.label: count for state, count in group.states.items()},
        "receive_queue_bytes": group.receive_queue,
        "send_queue_bytes": group.send_queue,
    }


def _limits(limits: KernelLimits) -> Json:
    stat, memory, ports = limits.sockstat, limits.tcp_memory, limits.port_range
    return {
        "time_wait_buckets": stat and stat.time_wait,
        "time_wait_buckets_limit": limits.time_wait_limit,
        "orphan_sockets": stat and stat.orphans,
        "orphan_sockets_limit": limits.orphan_limit,
        "tcp_memory_bytes": stat and stat.memory_bytes,
        "tcp_memory_limit_bytes": memory
        and {"low": memory.low, "pressure": memory.pressure, "high": memory.high},
        "conntrack_entries": limits.conntrack_entries,
        "conntrack_entries_limit": limits.conntrack_limit,
        "port_range": ports and [ports.low, ports.high],
        "tcp_events": dict(limits.events) if limits.events is not None else None,
    }
