"""One host: its findings, then what its sockets do, and how near it is to the kernel's limits."""

from grafana_foundation_sdk.models.dashboard import Dashboard

from grafana import connections, limits
from grafana.board import OF_HOST, Line, Section, board
from grafana.host_findings import FINDINGS, NAMESPACE, OVER_TIME
from grafana.host_limits import LIMITS, NEAREST
from grafana.namespaces import namespaces
from grafana.panels import About, figure, lines, logarithmic, of_states
from grafana.queries import HOST, NETNS, PORT, largest, or_zero, over_time, rows, verdict
from grafana.scales import VERDICTS
from grafana.tables import MOST_ROWS, SEVERITY, TO_RUNBOOK, Column, listing

_HERE = f"{HOST},{NETNS}"
_PORTS = f"{_HERE},{PORT}"
_TCP_PORTS = f'{_PORTS},protocol="tcp"'
_OLDEST = f"sockmon_close_wait_oldest_seconds{{{_HERE}}}"

_FIGURES = [
    figure(
        About(
            "Verdict",
            "The worst finding of the chosen namespaces. What to do is in its runbook, below; on "
            "the host, sockmon doctor names sockets, owner and advice.",
            "short",
            alert="SockmonDown",
        ),
        f"max({verdict(_HERE)}) or (max(up{{{HOST}}}) == 0) - 1",
        VERDICTS,
    ),
    figure(
        About("TCP sockets", "All TCP sockets of the chosen namespaces.", "short"),
        f'sum(sockmon_sockets{{{_HERE},protocol="tcp"}})',
    ),
    figure(
        About(
            "Stale CLOSE_WAIT",
            "Sockets that an application here should have closed: it must be fixed, or restarted.",
            "short",
            limits.STALE_SOCKETS,
            alert="SockmonCloseWaitLeak",
        ),
        or_zero(f"sum(sockmon_close_wait_stale_sockets{{{_HERE}}})", f"max({_OLDEST})"),
    ),
    figure(
        About(
            "Oldest CLOSE_WAIT",
            "Age of the oldest CLOSE_WAIT socket. A straight line upwards: nobody closes it.",
            "s",
            limits.CLOSE_WAIT_AGE,
            alert="SockmonCloseWaitLeak",
        ),
        f"max({_OLDEST})",
    ),
    *NEAREST,
]

_ALERTS = listing(
    About(
        "Alerts",
        "Alerts of this host that fire or wait to: those of Prometheus's rules and the daemon's "
        "own.",
        "short",
    ),
    [
        Column(heading="Alert", label="alertname", link=TO_RUNBOOK),
        SEVERITY,
        Column(heading="State", label="alertstate"),
        Column(heading="Raised by", label="source"),
        Column(heading="Alerts"),
    ],
    rows(
        "sum by (alertname, severity, alertstate, source) ("
        f'ALERTS{{alertname=~"Sockmon.+",{HOST}}} or '
        f"label_replace(label_replace(sockmon_alerts{{{HOST}}}, "
        '"alertstate", "$1", "state", "(.+)"), "source", "sockmon", "", ""))'
    ),
    empty="nothing wrong",
)

_NAMESPACES = [
    namespaces(
        About(
            "Namespaces, worst first",
            "The chosen network namespaces, by container id, unit or name; host is the host's "
            "own. Click one to look at it alone. No verdict: seen from outside alone, or one of "
            "the many under other, whose troubles are alerts all the same.",
            "short",
        ),
        [NAMESPACE],
        "netns",
        _HERE,
    ),
    lines(
        About(
            "Namespaces by what is seen",
            "Those beside the host's own. inside: all of it; outside: counted, not diagnosed; "
            "hidden: not to be seen; empty: no sockets. Nothing is drawn where sockmon looks at "
            "its own alone (poll.namespaces: host).",
            "short",
        ),
        over_time(f"sum by (visibility) (sockmon_namespaces{{{HOST}}})", "{{visibility}}"),
    ),
]

_STATES = of_states(
    logarithmic(
        lines(
            About(
                "TCP sockets by state",
                "On a logarithmic scale. CLOSE_WAIT waits for an application here, FIN_WAIT2 for "
                "one elsewhere, LAST_ACK and FIN_WAIT1 for the other kernel or the path.",
                "short",
            ),
            over_time(
                f'sum by (state) (sockmon_sockets{{{_HERE},protocol="tcp"}}) and '
                "sum by (state) (max_over_time("
                f'sockmon_sockets{{{_HERE},protocol="tcp"}}[$__range] @ end())) > 0',
                "{{state}}",
            ),
        )
    )
)

_MORE_STATES = [
    of_states(
        lines(
            About(
                "Over a minute in a transient state",
                "Sockets that have been for over a minute in a state that a healthy one leaves "
                "soon. A line that rises as time goes by: nothing moves on.",
                "short",
            ),
            over_time(
                f'sum by (state) (sockmon_aged_sockets{{{_HERE},older_than="60"}})',
                "{{state}}",
            ),
        )
    ),
    lines(
        About(
            "UDP sockets",
            "Connected (established) and others (close). Many that stay are a leak, too.",
            "short",
        ),
        over_time(
            f'sum by (family, state) (sockmon_sockets{{{_HERE},protocol="udp"}})',
            "{{family}} {{state}}",
        ),
    ),
]


_SHOWN_STATES = ("established", "time_wait", "close_wait")
_LARGEST_PORTS = (
    f"topk({MOST_ROWS}, sum by (netns, direction, port) (sockmon_port_sockets{{{_TCP_PORTS}}}))"
)

_PORT_TABLE = listing(
    About(
        "Ports",
        "Sockets by the port they belong to: a listener's own, or the remote one of connections "
        f"made here; the largest {MOST_ROWS}. Receive: bytes not read yet by the application "
        "here; send: not acknowledged yet by the peer.",
        "short",
    ),
    [
        Column(heading="Port", label="port"),
        Column(heading="Direction", label="direction"),
        NAMESPACE,
        Column(heading="All"),
        Column(heading="ESTABLISHED"),
        Column(heading="TIME_WAIT"),
        Column(heading="CLOSE_WAIT", scale=limits.STALE_SOCKETS),
        Column(heading="Receive queue", unit="bytes"),
        Column(heading="Send queue", unit="bytes"),
    ],
    rows(_LARGEST_PORTS),
    *(
        rows(f"sum by (netns, direction, port) ({series}) and {_LARGEST_PORTS}")
        for series in (
            *(f'sockmon_port_sockets{{{_TCP_PORTS},state="{state}"}}' for state in _SHOWN_STATES),
            f"sockmon_port_receive_queue_bytes{{{_TCP_PORTS}}}",
            f"sockmon_port_send_queue_bytes{{{_TCP_PORTS}}}",
        )
    ),
)

_PORTS_OVER_TIME = lines(
    About(
        "Largest ports",
        "All sockets of the ports that have most. The rest is under port other.",
        "short",
    ),
    largest(
        f"sum by (direction, port) (sockmon_port_sockets{{{_TCP_PORTS}}})",
        "{{direction}} {{port}}",
    ),
)

_LISTENERS = [
    lines(
        About(
            "Accept queues",
            "How full each listener's accept queue is. Full, the kernel drops what arrives: the "
            "application must call accept() more often.",
            "percentunit",
            limits.ACCEPT_QUEUE,
            alert="SockmonAcceptQueue",
        ),
        largest(
            f"sockmon_accept_queue_connections{{{_PORTS}}}"
            f" / (sockmon_accept_queue_limit{{{_PORTS}}} > 0)",
            "{{netns}} {{port}}",
        ),
    ),
    lines(
        About(
            "Listen drops",
            "Connections that the kernel drops at these listeners; their clients wait 1, 3, 7 s, "
            "or give up.",
            "cps",
            limits.ANY_RATE,
            alert="SockmonAcceptQueue",
        ),
        largest(
            f"rate(sockmon_accept_queue_drops_total{{{_PORTS}}}[$__rate_interval])",
            "{{netns}} {{port}}",
        ),
    ),
    lines(
        About(
            "Kernel's TCP events",
            "The kernel's own counters of trouble, the most frequent ones: nstat -az TcpExtNAME "
            "shows each on the host.",
            "cps",
        ),
        largest(
            f"sum by (event) (rate(sockmon_tcp_events_total{{{_HERE}}}[$__rate_interval]))",
            "{{event}}",
        ),
    ),
]


def host() -> Dashboard:
    """Return the dashboard of one host."""
    return board(
        OF_HOST,
        "One host: its findings and what to do about them, its network namespaces, its sockets "
        "by state and port, and how near it is to the kernel's limits.",
        "now-1h",
        "30s",
        [
            Line(3, _FIGURES),
            Line(5, [FINDINGS, OVER_TIME], (14, 10)),
            Line(10, [_STATES, _PORT_TABLE], (12, 12)),
        ],
        [
            Section("Alerts, and ports over time", [Line(8, [_ALERTS, _PORTS_OVER_TIME])]),
            LIMITS,
            Section("Listeners", [Line(8, _LISTENERS)]),
            connections.OF_HOST,
            Section("Network namespaces", [Line(8, _NAMESPACES, (17, 7))]),
            Section("Transient states, and UDP", [Line(8, _MORE_STATES)]),
        ],
    )
