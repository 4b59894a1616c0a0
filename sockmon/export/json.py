"""Observation -> what /api/v1/observation answers: plain dicts, lists, strings and numbers."""

import math
from typing import Any

from sockmon.export.findings import findings
from sockmon.model.counts import PortGroup, StateCounts
from sockmon.model.limits import Limits
from sockmon.model.observation import NamespaceObservation, Observation, Ports, Timed
from sockmon.model.states import TcpState

Json = dict[str, Any]


def observation(observed: Observation) -> Json:
    """Render the whole of it; every part says when it was true (Unix seconds)."""
    return {
        "taken_at": observed.at.wall,
        "interval_seconds": observed.interval,
        "polls": observed.statistics.polls,
        "failures": [
            {"netns": f.netns, "reason": f.reason, "message": f.message} for f in observed.failures
        ],
        "hints": list(observed.hints),
        "namespaces": [
            {**_namespace(namespace), "beat_seconds": max(observed.interval, namespace.beat)}
            for namespace in observed.namespaces
        ],
    }


def _namespace(namespace: NamespaceObservation) -> Json:
    return {
        "netns": namespace.name,
        "degraded": namespace.degraded,
        "tcp": namespace.tcp and _timed(namespace.tcp, _families(namespace.tcp.value)),
        "udp": namespace.udp and _timed(namespace.udp, _families(namespace.udp.value)),
        "ports": namespace.ports and _timed(namespace.ports, _ports(namespace.ports.value)),
        "diagnosed_at": namespace.diagnosis and namespace.diagnosis.at.wall,
        "findings": findings(namespace.diagnosis.value.findings) if namespace.diagnosis else None,
        "limits": namespace.limits and _timed(namespace.limits, _limits(namespace.limits.value)),
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
        "role": group.key.role,
        "port": group.key.port if group.key.port is not None else "other",
        "states": {state.label: count for state, count in group.states.items()},
        "receive_queue_bytes": group.receive_queue,
        "send_queue_bytes": group.send_queue,
    }


def _limits(limits: Limits) -> Json:
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
