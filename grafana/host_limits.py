"""How near one host is to what the kernel allows: ports, TIME_WAIT, orphans, memory, conntrack."""

from grafana import limits
from grafana.board import Line, Section
from grafana.panels import About, figure, lines, painted
from grafana.queries import HOST, NETNS, largest, over_time, ports_used, share, smallest
from grafana.scales import GREEN, ORANGE, RED

_HERE = f"{HOST},{NETNS}"

_PORTS_USED = ports_used(_HERE)
_BUCKETS_USED = share("sockmon_time_wait_buckets", "sockmon_time_wait_buckets_limit", _HERE)
_TRACKED = share("sockmon_conntrack_entries", "sockmon_conntrack_entries_limit", _HERE)
_RUN_OUT = f"sockmon_ephemeral_ports_exhaustion_seconds{{{_HERE}}} < Inf"

_PORTS_ALERT = "SockmonEphemeralPortPressure"
_TIME_WAIT_ALERT = "SockmonTimeWaitPressure"
_NO_PORTS = "At 100 % connect() fails there with EADDRNOTAVAIL."
_WORST = "The worst namespaces."
#: Where a namespace has three lines.
_FEW = 4

#: For the top of the dashboard.
NEAREST = [
    figure(
        About(
            "Ephemeral ports",
            f"Local ports in use towards the busiest destination. {_NO_PORTS}",
            "percentunit",
            limits.PORTS,
            alert=_PORTS_ALERT,
        ),
        f"max({_PORTS_USED})",
    ),
    figure(
        About(
            "Accept queue",
            "The fullest accept queue. Full, the kernel drops what arrives.",
            "percentunit",
            limits.ACCEPT_QUEUE,
            alert="SockmonAcceptQueue",
        ),
        "max("
        + share("sockmon_accept_queue_connections", "sockmon_accept_queue_limit", _HERE)
        + ")",
    ),
]

_FORECAST = figure(
    About(
        "Ports run out in",
        "Forecast for the destination whose ports run out first, while their use grows.",
        "s",
        limits.PORTS_RUN_OUT,
        alert=_PORTS_ALERT,
    ),
    f"min({_RUN_OUT})",
    empty="not in sight",
)

_PORTS = [
    lines(
        About(
            "Ephemeral ports in use",
            f"Share of the usable ports, towards the busiest destination. {_NO_PORTS} {_WORST}",
            "percentunit",
            limits.PORTS,
            alert=_PORTS_ALERT,
        ),
        largest(_PORTS_USED, "{{netns}}"),
    ).axis_soft_max(1),
    lines(
        About(
            "Ephemeral ports by namespace",
            "Usable: the range less reserved and bound ones. Bound: held by bind(), lost for "
            "every destination. More: net.ipv4.ip_local_port_range of that namespace; better: "
            "keep connections alive. The namespaces with the fewest, and with the most.",
            "short",
            alert=_PORTS_ALERT,
        ),
        smallest(f"sockmon_ephemeral_ports_usable{{{_HERE}}}", "usable {{netns}}", _FEW),
        largest(
            f"sockmon_ephemeral_ports_used_by_busiest_destination{{{_HERE}}}",
            "used {{netns}}",
            _FEW,
        ),
        largest(f"sockmon_ephemeral_ports_held_by_bind{{{_HERE}}}", "bound {{netns}}", _FEW),
    ),
    _FORECAST,
]

_TIME_WAIT = [
    lines(
        About(
            "TIME_WAIT buckets in use",
            "Share of tcp_max_tw_buckets. Beyond it the kernel closes without TIME_WAIT, and late "
            f"segments may reach a newer connection. {_WORST}",
            "percentunit",
            limits.TIME_WAIT,
            alert=_TIME_WAIT_ALERT,
        ),
        largest(_BUCKETS_USED, "{{netns}}"),
    ).axis_soft_max(1),
    lines(
        About(
            "Orphans",
            "Share of tcp_max_orphans on the whole host: sockets that no process holds, whose "
            "peers do not answer. From a quarter on the kernel may end them early.",
            "percentunit",
            limits.ORPHANS,
            alert="SockmonOrphanPressure",
        ),
        over_time(share("sockmon_orphan_sockets", "sockmon_orphan_sockets_limit", HOST), "orphans"),
    ).axis_soft_max(1),
    painted(
        lines(
            About(
                "TCP memory",
                "Buffers of all TCP sockets of the host, against tcp_mem. Above pressure the "
                "kernel shrinks windows, above high it drops. Look for queues that nobody reads.",
                "bytes",
                alert="SockmonTcpMemoryPressure",
            ),
            over_time(f"sockmon_tcp_memory_bytes{{{HOST}}}", "in use"),
            over_time(f"sockmon_tcp_memory_limit_bytes{{{HOST}}}", "{{level}}"),
        ),
        {"low": GREEN, "pressure": ORANGE, "high": RED},
    ),
    lines(
        About(
            "Connection tracking",
            "Share of nf_conntrack_max. Full, packets of new connections are dropped. Nothing is "
            f"drawn where connections are not tracked. {_WORST}",
            "percentunit",
            limits.CONNTRACK,
            alert="SockmonConntrackPressure",
        ),
        largest(
            _TRACKED,
            "{{netns}}",
        ),
    ).axis_soft_max(1),
]

LIMITS = Section("Limits", [Line(8, _PORTS, (10, 10, 4)), Line(8, _TIME_WAIT)])
