"""One host: its findings, then what its sockets do, and how near it is to the kernel's limits."""

from grafana_foundation_sdk.models.dashboard import Dashboard

from grafana import limits
from grafana.board import OF_HOST, Line, Section, board
from grafana.host_limits import LIMITS, SHARES
from grafana.namespaces import namespaces
from grafana.panels import TOP, About, figure, lines, logarithmic
from grafana.queries import HOST, NETNS, PORT, latest, or_zero, over_time, rows, verdict
from grafana.scales import ALERTS, UP, VERDICTS
from grafana.tables import MOST_ROWS, SEVERITY, TO_RUNBOOK, Column, listing, to_namespace

_HERE = f"{HOST},{NETNS}"
_PORTS = f"{_HERE},{PORT}"
_TCP_PORTS = f'{_PORTS},protocol="tcp"'

_NAMESPACE = Column(
    heading="Namespace", label="netns", link=to_namespace("Look at this namespace alone")
)

_FIGURES = [
    figure(
        About(
            "sockmon",
            "Whether this host's sockmon answers. When it does not, all else here is of the past.",
            "short",
            limits.ANY_HURTS,
            alert="SockmonDown",
        ),
        latest(f"max(up{{{HOST}}})", "sockmon"),
        UP,
    ),
    figure(
        About(
            "Verdict",
            "The worst finding of the chosen namespaces. What to do is in its runbook, below; on "
            "the host, sockmon doctor names sockets, owner and advice.",
            "short",
        ),
        latest(f"max({verdict(_HERE)})", "verdict"),
        VERDICTS,
    ),
    figure(
        About("TCP sockets", "All TCP sockets of the chosen namespaces.", "short"),
        latest(f'sum(sockmon_sockets{{{_HERE},protocol="tcp"}})', "sockets"),
    ),
    figure(
        About(
            "Stale CLOSE_WAIT",
            "Sockets that an application here should have closed: it must be mended, or restarted.",
            "short",
            limits.STALE_SOCKETS,
            alert="SockmonCloseWaitLeak",
        ),
        latest(
            or_zero(
                f"sum(sockmon_close_wait_stale_sockets{{{_HERE}}})",
                f"max(sockmon_close_wait_oldest_seconds{{{_HERE}}})",
            ),
            "sockets",
        ),
    ),
    *SHARES,
]

_FINDINGS = listing(
    About(
        "Findings",
        "What sockmon finds here now. The alert's name leads to its runbook.",
        "short",
    ),
    [
        Column(heading="Alert", label="detector", meanings=ALERTS, link=TO_RUNBOOK),
        SEVERITY,
        _NAMESPACE,
        Column(heading="Findings"),
    ],
    rows(f"sum by (netns, detector, severity) (sockmon_findings{{{_HERE}}}) > 0"),
)

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
        [_NAMESPACE],
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

_STATES = [
    logarithmic(
        lines(
            About(
                "TCP sockets by state",
                "On a logarithmic scale. CLOSE_WAIT waits for an application here, FIN_WAIT2 for "
                "one elsewhere, LAST_ACK and FIN_WAIT1 for the other kernel or the path.",
                "short",
            ),
            over_time(f'sum by (state) (sockmon_sockets{{{_HERE},protocol="tcp"}})', "{{state}}"),
        )
    ),
    lines(
        About(
            "Over a minute in a transient state",
            "Sockets that have been for over a minute in a state that a healthy one leaves soon. "
            "A line that rises as time goes by: nothing moves on.",
            "short",
        ),
        over_time(
            f'sum by (state) (sockmon_aged_sockets{{{_HERE},older_than="60"}})',
            "{{state}}",
        ),
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
        _NAMESPACE,
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
    over_time(
        f"topk({TOP}, sum by (direction, port) (sockmon_port_sockets{{{_TCP_PORTS}}}))",
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
        over_time(
            f"topk({TOP}, sockmon_accept_queue_connections{{{_PORTS}}}"
            f" / (sockmon_accept_queue_limit{{{_PORTS}}} > 0))",
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
        over_time(
            f"topk({TOP}, rate(sockmon_accept_queue_drops_total{{{_PORTS}}}[$__rate_interval]))",
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
        over_time(
            f"topk({TOP}, sum by (event) "
            f"(rate(sockmon_tcp_events_total{{{_HERE}}}[$__rate_interval])))",
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
            Section("Now", [Line(4, _FIGURES), Line(7, [_FINDINGS, _ALERTS])]),
            Section("Namespaces", [Line(8, _NAMESPACES, (17, 7))]),
            Section("States", [Line(8, _STATES)]),
            Section("By port", [Line(9, [_PORT_TABLE, _PORTS_OVER_TIME], (14, 10))]),
            Section("Listeners", [Line(8, _LISTENERS)]),
            LIMITS,
        ],
    )
