"""The fleet: the hosts that are unhealthy, and what is wrong with all of them together."""

from grafana_foundation_sdk.models.dashboard import Dashboard

from grafana import connections, limits
from grafana.board import OF_FLEET, Line, Section, board
from grafana.fleet_hosts import CRITICAL, DOWN, HEALTHY, NAMESPACES, WARNING, first_screen
from grafana.panels import About, lines, logarithmic, of_states, painted, stacked
from grafana.queries import FLEET, largest, over_time
from grafana.scales import GONE, GREEN, ORANGE, RED

_VERDICTS = painted(
    stacked(
        lines(
            About(
                "Hosts by verdict",
                "All hosts by their worst finding. A step that many take together has one cause: "
                "a deploy, a peer, the network.",
                "short",
            ),
            over_time(CRITICAL, "critical"),
            over_time(WARNING, "warning"),
            over_time(DOWN, "down"),
            over_time(HEALTHY, "healthy"),
        )
    ),
    {"critical": RED, "warning": ORANGE, "down": GONE, "healthy": GREEN},
)
_BY_FINDING = lines(
    About(
        "Hosts by finding",
        "How many hosts have a finding of this kind now.",
        "short",
        limits.ANY_WARNS,
    ),
    over_time(
        "sum by (detector, severity) "
        f"(cluster_job_detector_severity:sockmon_findings:count{{{FLEET}}}) > 0",
        "{{detector}} {{severity}}",
    ),
)

_SOCKETS = [
    of_states(
        logarithmic(
            lines(
                About(
                    "TCP sockets by state",
                    "All sockets of all hosts, on a logarithmic scale. CLOSE_WAIT waits for "
                    "applications of these hosts, FIN_WAIT2 for their peers, TIME_WAIT for nobody.",
                    "short",
                ),
                over_time(
                    "sum by (state) "
                    f'(cluster_job_protocol_state:sockmon_sockets:sum{{{FLEET},protocol="tcp"}})',
                    "{{state}}",
                ),
            )
        )
    ),
    lines(
        About(
            "Largest ports",
            "Established connections by the port that they belong to: a listener's own, or the "
            "remote one of connections that hosts made.",
            "short",
        ),
        largest(
            f"sum by (direction, port) (cluster_job_port_direction_state:"
            f'sockmon_port_sockets:sum{{{FLEET},state="established"}})',
            "{{direction}} {{port}}",
        ),
    ),
    lines(
        About(
            "Kernel's TCP events",
            "The kernel's own counters of trouble, the most frequent ones. ListenOverflows: "
            "accept queues are full. TCPTimeouts: peers or paths do not answer.",
            "cps",
        ),
        largest(
            f"sum by (event) (cluster_job_event:sockmon_tcp_events:rate5m{{{FLEET}}})",
            "{{event}}",
        ),
    ),
]

_LEAK = "SockmonCloseWaitLeak"
_CLOSE_WAIT = [
    lines(
        About(
            "Stale CLOSE_WAIT by port",
            "Sockets that an application should have closed, by the service's port. One port on "
            "many hosts is one bug.",
            "short",
            limits.STALE_SOCKETS,
            alert=_LEAK,
        ),
        largest(
            f"sum by (direction, port) "
            f"(cluster_job_port_direction:sockmon_close_wait_stale_sockets:sum{{{FLEET}}})",
            "{{direction}} {{port}}",
        ),
    ),
    lines(
        About(
            "Stale CLOSE_WAIT by owner",
            "The same by the unit, container or process that holds them: it must close them.",
            "short",
            limits.STALE_SOCKETS,
            alert=_LEAK,
        ),
        largest(
            f"sum by (owner) (cluster_job_owner:sockmon_close_wait_stale_sockets:sum{{{FLEET}}})",
            "{{owner}}",
        ),
    ),
    lines(
        About(
            "Oldest CLOSE_WAIT",
            "Age of the fleet's oldest CLOSE_WAIT socket. A line that rises as time goes by is "
            "a socket that nobody will close.",
            "s",
            limits.CLOSE_WAIT_AGE,
            alert=_LEAK,
        ),
        over_time(
            f"cluster_job:sockmon_close_wait_oldest_seconds:max{{{FLEET}}}", "{{cluster}} {{job}}"
        ),
    ),
]

_LIMITS = [
    lines(
        About(
            "Ephemeral ports of the worst host",
            "Share of the local ports in use towards one destination. At 100 % connect() fails "
            "there with EADDRNOTAVAIL.",
            "percentunit",
            limits.PORTS,
            alert="SockmonEphemeralPortPressure",
        ),
        over_time(
            f"cluster_job:sockmon_ephemeral_ports_used:max{{{FLEET}}}", "{{cluster}} {{job}}"
        ),
    ),
    lines(
        About(
            "TIME_WAIT buckets of the worst host",
            "Share of tcp_max_tw_buckets in use. Beyond it the kernel closes without TIME_WAIT.",
            "percentunit",
            limits.TIME_WAIT,
            alert="SockmonTimeWaitPressure",
        ),
        over_time(
            f"cluster_job:sockmon_time_wait_buckets_used:max{{{FLEET}}}", "{{cluster}} {{job}}"
        ),
    ),
    lines(
        About(
            "Listen drops by port",
            "Connections that kernels drop at listeners: the application accepts too slowly, "
            "and its clients wait and try again.",
            "cps",
            limits.ANY_RATE,
            alert="SockmonAcceptQueue",
        ),
        largest(
            f"sum by (port) (cluster_job_port:sockmon_accept_queue_drops:rate5m{{{FLEET}}})",
            "{{port}}",
        ),
    ),
]


def fleet() -> Dashboard:
    """Return the dashboard of all hosts."""
    return board(
        OF_FLEET,
        "All hosts that sockmon watches: the verdicts, the worst hosts first, and the troubles "
        "that many share. It asks mostly recording rules (deploy/prometheus/rules).",
        "now-3h",
        "1m",
        first_screen(_VERDICTS),
        [
            NAMESPACES,
            Section("States and ports", [Line(8, _SOCKETS)]),
            Section("CLOSE_WAIT", [Line(8, _CLOSE_WAIT)]),
            Section("Limits and drops", [Line(8, _LIMITS)]),
            connections.OF_FLEET,
            Section("Hosts by finding", [Line(8, [_BY_FINDING])]),
        ],
    )
