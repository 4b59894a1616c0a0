"""The fleet's verdict: how many hosts are unhealthy, and which, worst first."""

from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models.dashboard import Panel

from grafana import limits
from grafana.board import Line, Section
from grafana.namespaces import namespaces, worst
from grafana.panels import About, figure
from grafana.queries import (
    BY_HOST,
    BY_NETNS,
    FLEET,
    ports_used,
    rows,
    share,
    verdict,
)
from grafana.scales import ALERTS, UP, VERDICTS, rising
from grafana.tables import SEVERITY, TO_RUNBOOK, Column, listing, to_host

_VERDICT = f"cluster_instance_job:sockmon_severity:max{{{FLEET}}}"
_HOSTS = f"sum(cluster_job:up:count{{{FLEET}}})"
_ANSWERING = f"sum(cluster_job:up:sum{{{FLEET}}})"
DOWN = f"{_HOSTS} - {_ANSWERING}"
#: A host that is down has the verdict critical as well: it is counted once.
CRITICAL = f"clamp_min(sum({_VERDICT} == bool 2) - ({DOWN}), 0)"
WARNING = f"sum({_VERDICT} == bool 1)"
HEALTHY = f"sum({_VERDICT} == bool 0)"

_FIGURES = Line(
    3,
    [
        figure(
            About("Hosts", "Targets that Prometheus scrapes as sockmon.", "short"),
            _HOSTS,
        ),
        figure(
            About(
                "Down",
                "Hosts whose sockmon does not answer: nothing is known of their sockets. "
                "See them below.",
                "short",
                limits.ANY_GONE,
                alert="SockmonDown",
            ),
            DOWN,
        ),
        figure(
            About(
                "Critical",
                "Hosts with a critical finding, or whose sockmon answers but cannot look. "
                "Begin with the first of the table below.",
                "short",
                limits.ANY_HURTS,
            ),
            CRITICAL,
        ),
        figure(
            About(
                "Warning",
                "Hosts with a warning finding and no critical one: to be looked at in the day.",
                "short",
                limits.ANY_WARNS,
            ),
            WARNING,
        ),
        figure(
            About("Healthy", "Hosts without a finding.", "short", rising()),
            HEALTHY,
        ),
        figure(
            About(
                "Hosts with alerts",
                "Hosts for which a sockmon alert fires, raised by Prometheus's rules or by the "
                "daemon itself.",
                "short",
                limits.ANY_WARNS,
            ),
            f"count(count by ({BY_HOST}) ("
            f'ALERTS{{alertname=~"Sockmon.+",alertstate="firing",{FLEET}}}'
            f' or sockmon_alerts{{state="firing",{FLEET}}})) or vector(0)',
        ),
    ],
)

_HOST = Column(heading="Host", label="instance", link=to_host("Open this host"))
_CLUSTER = Column(heading="Cluster", label="cluster")
_JOB = Column(heading="Job", label="job")

_WORST_HOSTS = listing(
    About(
        "Hosts, worst first",
        "Each host's verdict, findings, and how near its worst namespace is to the kernel's "
        "limits. A host that is down has a verdict (critical) and no figures. Click a host to "
        "look at it alone.",
        "short",
    ),
    [
        _HOST,
        _CLUSTER,
        _JOB,
        Column(heading="Verdict", meanings=VERDICTS),
        Column(heading="Findings", scale=limits.ANY_WARNS),
        Column(heading="Unhealthy namespaces", scale=limits.ANY_WARNS),
        Column(heading="Stale CLOSE_WAIT", scale=limits.STALE_SOCKETS),
        Column(heading="Ephemeral ports", unit="percentunit", scale=limits.PORTS),
        Column(heading="TIME_WAIT buckets", unit="percentunit", scale=limits.TIME_WAIT),
        Column(heading="TCP memory", unit="percentunit", scale=limits.MEMORY_PRESSURE),
    ],
    rows(f"max by ({BY_HOST}) ({_VERDICT})"),
    rows(f"sum by ({BY_HOST}) (sockmon_findings{{{FLEET}}})"),
    rows(f"count by ({BY_HOST}) (sum by ({BY_NETNS}) (sockmon_findings{{{FLEET}}}) > 0)"),
    rows(f"sum by ({BY_HOST}) (sockmon_close_wait_stale_sockets{{{FLEET}}})"),
    rows(f"max by ({BY_HOST}) ({ports_used(FLEET)})"),
    rows(
        f"max by ({BY_HOST}) ("
        + share("sockmon_time_wait_buckets", "sockmon_time_wait_buckets_limit", FLEET)
        + ")"
    ),
    rows(
        f"max by ({BY_HOST}) (sockmon_tcp_memory_bytes{{{FLEET}}} / ignoring (level) "
        f'sockmon_tcp_memory_limit_bytes{{{FLEET},level="pressure"}})'
    ),
)

_ITS_HOST = Column(
    heading="Host", label="instance", link=to_host("Open this namespace", netns=True)
)
_NETNS = Column(heading="Namespace", label="netns")

_WORST_NAMESPACES = namespaces(
    About(
        "Namespaces, worst first",
        "The network namespaces with findings: each host's own, and where poll.namespaces is all "
        "those of its containers, pods and units, by container id, unit or name. Click a host to "
        "look at that namespace alone.",
        "short",
    ),
    [_ITS_HOST, _CLUSTER, _JOB, _NETNS],
    BY_NETNS,
    FLEET,
    worst(f"max by ({BY_NETNS}) ({verdict(FLEET)})"),
)


def _found(severity: str) -> str:
    chosen = f'{FLEET},severity="{severity}"'
    return worst(f"sum by ({BY_NETNS}, detector, severity) (sockmon_findings{{{chosen}}})")


_FINDINGS = listing(
    About(
        "Findings",
        "What sockmon finds on each host now, by network namespace. The alert's name leads to "
        "its runbook, the host to its dashboard.",
        "short",
    ),
    [
        _ITS_HOST,
        _CLUSTER,
        _JOB,
        _NETNS,
        Column(heading="Alert", label="detector", meanings=ALERTS, link=TO_RUNBOOK),
        SEVERITY,
        Column(heading="Findings"),
    ],
    rows(f"{_found('critical')} or {_found('warning')}"),
    empty="nothing wrong",
)

_HOSTS_DOWN = listing(
    About(
        "Hosts down",
        "Targets that do not answer. On the host: systemctl status sockmon; then the network and "
        "the firewall between.",
        "short",
        alert="SockmonDown",
    ),
    [_HOST, _CLUSTER, _JOB, Column(heading="sockmon", meanings=UP)],
    rows(f"max by ({BY_HOST}) (up{{{FLEET}}}) == 0"),
    empty="all hosts answer",
)


def first_screen(now: Builder[Panel]) -> list[Line]:
    """Return the verdicts, and the tables to begin with."""
    return [
        _FIGURES,
        Line(10, [now, _WORST_HOSTS], (7, 17)),
        Line(8, [_FINDINGS, _HOSTS_DOWN], (17, 7)),
    ]


NAMESPACES = Section("Namespaces", [Line(8, [_WORST_NAMESPACES])])
