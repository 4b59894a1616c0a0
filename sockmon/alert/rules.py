"""`sockmon rules`: the daemon's diagnoses as Prometheus alerting rules, pure.

For those who would rather have Prometheus judge. Where a plain series tells what the detector
tells, the rule compares it with the configured threshold; elsewhere it takes the detector's word
from sockmon_findings. A warning goes on while there is a critical alert of its name: let
Alertmanager inhibit it (inhibit_rules: severity critical over warning, equal alertname, instance
and netns).

SockmonDown and SockmonPollFailing are here alone: a daemon cannot tell that it is dead or blind.

Sources: Prometheus, docs/configuration/alerting_rules.md (keep_firing_for: since 2.42).
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from sockmon.alert.labels import alert_name, runbook_url
from sockmon.alert.lifecycle import FixedWaits, Waits
from sockmon.durations import format_duration
from sockmon.model.finding import Severity

_HEADER = """\
# Prometheus alerting rules, as `sockmon rules` prints them from sockmon's configuration.
# Load them with rule_files; they need Prometheus 2.42 or newer.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """The limits that plain series are compared with; the defaults are the detectors'."""

    close_wait_sockets: int = 10
    time_wait_warning: float = 0.8
    time_wait_critical: float = 0.95
    ports_warning: float = 0.7
    ports_critical: float = 0.9
    ports_exhaustion: float = 600.0
    ports_forecast: float = 0.5  # the share from which that forecast counts
    accept_queue: float = 0.8
    orphans_warning: float = 0.25
    orphans_critical: float = 0.5
    memory_warning: float = 1.0  # of tcp_mem's pressure
    memory_critical: float = 0.9  # of its high
    conntrack_warning: float = 0.75
    conntrack_critical: float = 0.9
    silence: float = 75.0  # this long without a good poll is blindness


#: What each alert says: in a line, and to the person on call.
_TEXTS: Mapping[str, tuple[str, str]] = {
    "close_wait_leak": (
        "an application leaks CLOSE_WAIT sockets",
        (
            "It never closes connections that its peers have closed. The kernel keeps them for "
            "ever: the application must close them before it runs out of file descriptors."
        ),
    ),
    "time_wait_pressure": (
        "TIME_WAIT sockets near tcp_max_tw_buckets",
        (
            "Beyond the limit the kernel closes without TIME_WAIT, and late segments may reach "
            "a newer connection. Keep connections alive, or raise net.ipv4.tcp_max_tw_buckets."
        ),
    ),
    "ephemeral_port_pressure": (
        "ephemeral ports towards one destination run out",
        (
            "When they are used up, connect() fails with EADDRNOTAVAIL. Keep connections alive,"
            " or widen net.ipv4.ip_local_port_range."
        ),
    ),
    "fin_wait2_stuck": (
        "sockets are stuck in FIN_WAIT2",
        (
            "An application has shut down its sending side and keeps the socket; its peer does "
            "not close. tcp_fin_timeout does not end what a process still holds."
        ),
    ),
    "connect_stalled": (
        "connects get no answer",
        (
            "SYNs to one destination are sent again and again: it is down, or a firewall on the"
            " way drops them."
        ),
    ),
    "syn_backlog": (
        "a listener's SYN backlog fills up",
        (
            "More handshakes are under way than the listener has room for: a burst, a SYN "
            "flood, or clients that vanish before they answer."
        ),
    ),
    "accept_queue": (
        "a listener's accept queue fills up",
        (
            "The application does not call accept() fast enough; once the queue is full, the "
            "kernel drops what arrives."
        ),
    ),
    "closing_stalled": (
        "sockets cannot finish closing",
        (
            "Their FIN is not acknowledged (LAST_ACK, FIN_WAIT1, CLOSING): the peers, or the "
            "path to them, have gone."
        ),
    ),
    "dead_peer": (
        "established connections have dead peers",
        (
            "Data goes unanswered on connections that the kernel still believes in: the peers, "
            "or the path to them, have gone."
        ),
    ),
    "orphan_pressure": (
        "orphaned sockets near tcp_max_orphans",
        (
            "Applications have closed sockets whose peers do not answer. Beyond the limit the "
            "kernel resets them."
        ),
    ),
    "tcp_memory_pressure": (
        "TCP uses more memory than tcp_mem's pressure",
        (
            "The kernel shrinks windows, and beyond `high` it drops. Look for queues that "
            "nobody reads: sockmon_port_receive_queue_bytes."
        ),
    ),
    "conntrack_pressure": (
        "connection tracking table near nf_conntrack_max",
        (
            "When it is full, packets of new connections are dropped. Raise "
            "net.netfilter.nf_conntrack_max, or track less."
        ),
    ),
}

_SEE = "On the host, `sockmon doctor` names sockets, owner and advice."

_INSTANCE = "{{ with $labels.instance }}{{ . }}: {{ end }}"

Rule = Mapping[str, Any]


def render(waits: Mapping[str, Waits], thresholds: Thresholds, job: str = "sockmon") -> str:
    """Return a rule file.

    waits: of each enabled detector, by name; the others have no rules. job: the name of the scrape
    configuration that has sockmon's targets.
    """
    rules = [
        rule
        for detector in waits
        for rule in _detector_rules(detector, waits[detector], thresholds)
    ]
    rules += _own_rules(job, thresholds.silence)
    groups = {"groups": [{"name": "sockmon", "rules": rules}]}
    return _HEADER + yaml.safe_dump(groups, sort_keys=False, width=100)


def _detector_rules(detector: str, waits: Waits, thresholds: Thresholds) -> Iterator[Rule]:
    summary, description = _TEXTS[detector]
    warning, critical = _expressions(detector, thresholds)
    expressions: tuple[tuple[Severity, str], ...] = (("warning", warning), ("critical", critical))
    for severity, expression in expressions:
        yield _rule(
            alert_name(detector), severity, expression, waits, summary, f"{description} {_SEE}"
        )


def _expressions(detector: str, thresholds: Thresholds) -> tuple[str, str]:
    """Return when to warn, and when it is critical."""
    findings = "sum without (detector, severity) (sockmon_findings{%s}) > 0"
    any_finding = findings % f'detector="{detector}"'
    critical_finding = findings % f'detector="{detector}",severity="critical"'
    warning, critical = _plain_series(thresholds).get(detector, (any_finding, None))
    return warning, critical or critical_finding


def _plain_series(t: Thresholds) -> Mapping[str, tuple[str, str | None]]:
    """Return what a plain series tells; None where it takes more to be critical."""
    # conntrack's limit of 0 means that there is none; the others' leave nothing to compare with.
    time_wait = "sockmon_time_wait_buckets / (sockmon_time_wait_buckets_limit > 0)"
    overflow = 'increase(sockmon_tcp_events_total{event="TCPTimeWaitOverflow"}[5m])'
    ports = "sockmon_ephemeral_ports_used_max / sockmon_ephemeral_ports"
    exhaustion = "sockmon_ephemeral_ports_exhaustion_seconds"
    queue, queue_limit = "sockmon_listen_queue_sockets", "sockmon_listen_queue_limit"
    orphans = "sockmon_orphan_sockets / (sockmon_orphan_sockets_limit > 0)"
    memory = "sockmon_tcp_memory_bytes / ignoring (level) sockmon_tcp_memory_limit_bytes"
    conntrack = "sockmon_conntrack_entries / (sockmon_conntrack_entries_limit > 0)"
    return {
        "close_wait_leak": (
            f"sockmon_close_wait_stale_sockets >= {t.close_wait_sockets}",
            None,
        ),
        "time_wait_pressure": (
            f"{time_wait} >= {t.time_wait_warning:g}",
            f"{time_wait} >= {t.time_wait_critical:g} or sum without (event) ({overflow}) > 0",
        ),
        "ephemeral_port_pressure": (
            f"{ports} >= {t.ports_warning:g}",
            (
                f"{ports} >= {t.ports_critical:g} or sockmon_ephemeral_ports == 0"
                f" or {exhaustion} < {t.ports_exhaustion:g} and {ports} >= {t.ports_forecast:g}"
            ),
        ),
        "accept_queue": (
            f"{queue} >= {t.accept_queue:g} * {queue_limit} and {queue} > 0",
            None,
        ),
        "orphan_pressure": (
            f"{orphans} >= {t.orphans_warning:g}",
            f"{orphans} >= {t.orphans_critical:g}",
        ),
        "tcp_memory_pressure": (
            f'{memory}{{level="pressure"}} >= {t.memory_warning:g}',
            f'{memory}{{level="high"}} >= {t.memory_critical:g}',
        ),
        "conntrack_pressure": (
            f"{conntrack} >= {t.conntrack_warning:g}",
            f"{conntrack} >= {t.conntrack_critical:g}",
        ),
    }


def _own_rules(job: str, silence: float) -> Iterator[Rule]:
    """Rules about sockmon itself."""
    up = f"up{{job={json.dumps(job)}}}"
    yield _rule(
        "SockmonDown",
        "critical",
        f"{up} == 0 or absent({up})",
        FixedWaits(120.0, 0.0),
        "sockmon cannot be scraped",
        "Nobody watches this host's sockets. Look at: systemctl status sockmon.",
    )
    yield _rule(
        "SockmonPollFailing",
        "warning",
        "sum without (reason) (increase(sockmon_poll_errors_total[5m])) > 0",
        FixedWaits(300.0, 300.0),
        "sockmon cannot read part of what it watches",
        "What failed is withdrawn rather than shown as zero; sockmon's log says what and why.",
    )
    yield _rule(
        "SockmonPollFailing",
        "critical",
        f"time() - sockmon_poll_last_success_timestamp_seconds > {silence:g}",
        FixedWaits(60.0, 0.0),
        "sockmon is blind: it cannot read the TCP sockets",
        "No diagnosis of this namespace is made; sockmon's log says why.",
    )


def _rule(
    name: str, severity: Severity, expression: str, waits: Waits, summary: str, description: str
) -> Rule:
    keep = format_duration(waits.keep_firing_for)
    return {
        "alert": name,
        "expr": expression,
        "for": format_duration(waits.for_),
        **({"keep_firing_for": keep} if waits.keep_firing_for else {}),
        "labels": {"severity": severity, "source": "prometheus"},
        "annotations": {
            "summary": f"{_INSTANCE}{summary}",
            "description": description,
            "runbook_url": runbook_url(name),
        },
    }
