"""`sockmon rules --recording`: a fleet in few series, as Prometheus recording rules, pure.

Hosts are summed by cluster and job, and their namespaces with them: the number of series does not
grow with the number of hosts or containers, but for the one verdict on each host. A cluster is
known by the label of that name, if targets have it. Hosts that do not answer are only in `up` and
in their verdict: Prometheus ends the series of a target that fails.

Sources: Prometheus, docs/practices/rules.md (level:metric:operations).
"""

from collections.abc import Iterator

from sockmon.rules.rule_file import Rule, dump
from sockmon.rules.selector import Selector

#: Containers are owners, and each has an id of its own: only those that leak most are recorded.
_OWNERS = 100

_HEADER = """\
# Prometheus recording rules, as `sockmon rules --recording` prints them: a fleet in few series.
# Load them with rule_files; they need Prometheus 2.26 or newer.
"""


def render(selector: Selector) -> str:
    """Return a rule file over the targets selected."""
    return dump(_HEADER, "sockmon.rules", _rules(selector))


def _rules(selector: Selector) -> Iterator[Rule]:
    of, up = selector.of, selector.of("up")
    yield _rule("cluster_job:up:count", f"count by (cluster, job) ({up})")
    yield _rule("cluster_job:up:sum", f"sum by (cluster, job) ({up})")
    yield from _sockets(selector)
    yield _rule(
        "cluster_job_event:sockmon_tcp_events:rate5m",
        f"sum by (cluster, event, job) (rate({of('sockmon_tcp_events_total')}[5m]))",
    )
    yield _rule(
        "cluster_job_port:sockmon_accept_queue_drops:rate5m",
        f"sum by (cluster, job, port) (rate({of('sockmon_accept_queue_drops_total')}[5m]))",
    )
    yield from _events(selector)
    yield from _limits(selector)
    yield from _verdicts(selector)


def _sockets(selector: Selector) -> Iterator[Rule]:
    of = selector.of
    stale = of("sockmon_close_wait_stale_sockets")
    by_port = of("sockmon_port_sockets", protocol="tcp")
    yield _rule(
        "cluster_job_protocol_state:sockmon_sockets:sum",
        f"sum by (cluster, job, protocol, state) ({of('sockmon_sockets')})",
    )
    yield _rule(
        "cluster_job_port_direction_state:sockmon_port_sockets:sum",
        f"sum by (cluster, job, port, direction, state) ({by_port})",
    )
    yield _rule(
        "cluster_job_port_direction:sockmon_close_wait_stale_sockets:sum",
        f"sum by (cluster, job, port, direction) ({stale})",
    )
    yield _rule(
        "cluster_job_owner:sockmon_close_wait_stale_sockets:sum",
        f"topk by (cluster, job) ({_OWNERS}, sum by (cluster, job, owner) ({stale}))",
    )
    yield _rule(
        "cluster_job:sockmon_close_wait_oldest_seconds:max",
        f"max by (cluster, job) ({of('sockmon_close_wait_oldest_seconds')})",
    )


def _events(selector: Selector) -> Iterator[Rule]:
    """Connections between polls, of hosts that count them."""
    of = selector.of
    by_port = "cluster, job, port, direction"
    for what in ("opened", "aborted"):
        yield _rule(
            f"cluster_job_port_direction:sockmon_connections_{what}:rate5m",
            f"sum by ({by_port}) (rate({of(f'sockmon_connections_{what}_total')}[5m]))",
        )
    yield _rule(
        "cluster_job_port_direction_reason:sockmon_connection_failures:rate5m",
        f"sum by ({by_port}, reason) (rate({of('sockmon_connection_failures_total')}[5m]))",
    )
    times = of("sockmon_close_wait_duration_seconds_bucket")
    yield _rule(
        "cluster_job_direction_le:sockmon_close_wait_duration_seconds_bucket:rate5m",
        f"sum by (cluster, job, direction, le) (rate({times}[5m]))",
    )


def _limits(selector: Selector) -> Iterator[Rule]:
    """Shares of the worst namespace of all hosts, 0 to 1: each has limits of its own."""
    of = selector.of
    ports, used = (
        of("sockmon_ephemeral_ports_usable"),
        of("sockmon_ephemeral_ports_used_by_busiest_destination"),
    )
    # Where bind() holds every port none is left: a share of 1.
    yield _rule(
        "cluster_job:sockmon_ephemeral_ports_used:max",
        f"max by (cluster, job) (\n  {used}\n  / ({ports} > 0)\n  or ({ports} == 0) + 1\n)",
    )
    # A limit of 0 keeps no TIME_WAIT at all: there is no share of it.
    buckets, limit = of("sockmon_time_wait_buckets"), of("sockmon_time_wait_buckets_limit")
    yield _rule(
        "cluster_job:sockmon_time_wait_buckets_used:max",
        f"max by (cluster, job) (\n  {buckets}\n  / ({limit} > 0)\n)",
    )


def _verdicts(selector: Selector) -> Iterator[Rule]:
    up, findings = selector.of("up"), selector.of("sockmon_findings")
    warning = selector.of("sockmon_findings", severity="warning")
    critical = selector.of("sockmon_findings", severity="critical")
    yield _rule(
        "cluster_job_detector_severity:sockmon_findings:count",
        "sum by (cluster, detector, job, severity) (\n"
        f"  (sum without (netns) ({findings})) > bool 0\n"
        ")",
    )
    # A host that is down, or up and blind, is not well: nothing is known of it, or of no more than
    # its containers.
    own = selector.of("sockmon_findings", netns="host")
    unknown = f"    {up} == 0\n    or {up}\n    unless ignoring (detector, netns, severity) {own}\n"
    yield _rule(
        "cluster_instance_job:sockmon_severity:max",
        "max by (cluster, instance, job) (\n"
        f"  sgn({warning})\n"
        f"  or 2 * sgn({critical})\n"
        f"  or 2 + 0 * (\n{unknown}  )\n"
        ")",
    )


def _rule(record: str, expression: str) -> Rule:
    return {"record": record, "expr": expression}
