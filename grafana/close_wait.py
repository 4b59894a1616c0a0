"""CLOSE_WAIT leaks: how old, whose, how fast they grow, and when they will fail."""

from grafana_foundation_sdk.models.dashboard import Dashboard

from grafana import limits
from grafana.board import OF_CLOSE_WAIT, Line, Section, board
from grafana.namespaces import OLDEST, STALE, VERDICT, worst
from grafana.panels import About, figure, lines
from grafana.queries import (
    BY_HOST,
    BY_NETNS,
    HOST_LEGEND,
    HOSTS,
    NETNS,
    NETNS_LEGEND,
    PORT,
    largest,
    or_zero,
    over_time,
    rows,
    verdict,
)
from grafana.scales import rising
from grafana.tables import MOST_ROWS, Column, listing, to_host
from sockmon.detect import close_wait_leak
from sockmon.durations import format_duration

_HERE = f"{HOSTS},{NETNS}"
_PORTS = f"{_HERE},{PORT}"
_STALE = f"sockmon_close_wait_stale_sockets{{{_PORTS}}}"
_UNREAD = f"sockmon_close_wait_unread_bytes{{{_PORTS}}}"
_OLDEST = f"sockmon_close_wait_oldest_seconds{{{_HERE}}}"
_LOOKED = f"max({_OLDEST})"
_DETECTOR = close_wait_leak.DETECTOR
_DEFAULTS = close_wait_leak.Thresholds()
_LEAK = f'{_HERE},detector="{_DETECTOR.name}"'
_FOUND = f"sockmon_findings{{{_LEAK}}}"

#: The detector looks at growth over so long, and so far ahead for the end of descriptors.
_WINDOW = format_duration(_DEFAULTS.growth_window)
_HORIZON = format_duration(_DEFAULTS.critical_fd_exhaustion)
_GROWTH = f"60 * deriv(sockmon_close_wait_stale_sockets{{{_PORTS}}}[{_WINDOW}])"
_AHEAD = (
    f"clamp_min(predict_linear(sockmon_close_wait_stale_sockets{{{_PORTS}}}[{_WINDOW}],"
    f" {_DEFAULTS.critical_fd_exhaustion:g}), 0)"
)
_GROUP = "cluster, instance, netns, direction, port, owner"
_GROUP_LEGEND = f"{HOST_LEGEND} {{{{owner}}}} {{{{direction}}}} {{{{port}}}}"

_FIGURES = [
    figure(
        About(
            "Stale CLOSE_WAIT",
            "Sockets that applications should have closed. The kernel keeps them until their owner "
            "closes them.",
            "short",
            limits.STALE_SOCKETS,
            alert=_DETECTOR.alert,
        ),
        or_zero(f"sum({_STALE})", _LOOKED),
    ),
    figure(
        About(
            "All CLOSE_WAIT",
            "Young ones included: a burst after a deploy is gone within a minute.",
            "short",
            alert=_DETECTOR.alert,
        ),
        f'sum(sockmon_sockets{{{_HERE},protocol="tcp",state="close_wait"}})',
    ),
    figure(
        About(
            "Oldest",
            "Age of the oldest CLOSE_WAIT socket.",
            "s",
            limits.CLOSE_WAIT_AGE,
            alert=_DETECTOR.alert,
        ),
        f"max({_OLDEST})",
    ),
    figure(
        About(
            "Unread bytes",
            "Received and never read, in stale sockets: kernel memory that nobody will use. None "
            "unread: the application has seen the end, and forgot to close.",
            "bytes",
            rising(1),
            alert=_DETECTOR.alert,
        ),
        or_zero(f"sum({_UNREAD})", _LOOKED),
    ),
    figure(
        About(
            "Growth/min",
            f"Stale sockets more a minute, over the last {_WINDOW}. A leak that grows is critical "
            "sooner or later.",
            "short",
            limits.ANY_WARNS,
            alert=_DETECTOR.alert,
        ),
        or_zero(f"sum({_GROWTH})", _LOOKED),
    ),
    figure(
        About(
            "Hosts that leak",
            "Hosts with a finding of the leak.",
            "short",
            limits.ANY_WARNS,
            alert=_DETECTOR.alert,
        ),
        or_zero(f"count(sum by ({BY_HOST}) ({_FOUND}) > 0)", f"count({_FOUND})"),
    ),
    figure(
        About(
            "Namespaces that leak",
            "Network namespaces with a finding of the leak: containers, pods, units. Many at "
            "once: one bad version of what they all run.",
            "short",
            limits.ANY_WARNS,
            alert=_DETECTOR.alert,
        ),
        or_zero(f"count(sum by ({BY_NETNS}) ({_FOUND}) > 0)", f"count({_FOUND})"),
    ),
]

_AGES = lines(
    About(
        "CLOSE_WAIT sockets by age",
        "How many sockets have been in CLOSE_WAIT for longer than this. Healthy ones leave within "
        "seconds. Lines that rise one after the other are a leak: the same sockets, ever older.",
        "short",
        limits.CLOSE_WAIT_AGE,
        alert=_DETECTOR.alert,
    ),
    over_time(
        f'sum by (older_than) (sockmon_aged_sockets{{{_HERE},state="close_wait"}})',
        "over {{older_than}} s",
    ),
)

_AGES_OVER_TIME = lines(
    About(
        "Oldest by namespace",
        "Age of the oldest CLOSE_WAIT socket of each host and network namespace; the oldest. A "
        "straight line upwards is a socket that nobody will close.",
        "s",
        limits.CLOSE_WAIT_AGE,
        alert=_DETECTOR.alert,
    ),
    largest(f"max by ({BY_NETNS}) ({_OLDEST})", NETNS_LEGEND),
)

_HOST = Column(heading="Host", label="instance", link=to_host("Open this namespace", netns=True))
_CLUSTER = Column(heading="Cluster", label="cluster")
_NETNS = Column(heading="Namespace", label="netns")
_LARGEST = f"topk({MOST_ROWS}, sum by ({_GROUP}) ({_STALE}))"

_LEAKS = listing(
    About(
        "Leaks, largest first",
        f"Who holds stale sockets, how fast they grow, and how many there will be in {_HORIZON} "
        "at this rate: compare that with the owner's limit of descriptors (often 1024), which "
        "sockmon doctor shows on the host.",
        "short",
        alert=_DETECTOR.alert,
    ),
    [
        Column(heading="Owner", label="owner"),
        Column(heading="Direction", label="direction"),
        Column(heading="Port", label="port"),
        _HOST,
        _CLUSTER,
        _NETNS,
        Column(heading="Stale", scale=limits.STALE_SOCKETS),
        Column(heading="Growth/min", scale=limits.ANY_WARNS),
        Column(heading=f"In {_HORIZON}"),
    ],
    rows(_LARGEST),
    rows(f"sum by ({_GROUP}) ({_GROWTH}) and {_LARGEST}"),
    rows(f"sum by ({_GROUP}) ({_AHEAD}) and {_LARGEST}"),
    empty="nothing leaks",
)

_LEAKING = worst(f"sum by ({BY_NETNS}) ({_STALE})")

_NAMESPACES = listing(
    About(
        "Namespaces that leak, worst first",
        "Network namespaces with stale sockets. Verdict: whether the leak is a finding there, and "
        "whether it is critical: growing and old, or its owner runs out of file descriptors.",
        "short",
        alert=_DETECTOR.alert,
    ),
    [_HOST, _CLUSTER, Column(heading="Job", label="job"), _NETNS, VERDICT, STALE, OLDEST],
    rows(f"max by ({BY_NETNS}) ({verdict(_LEAK)}) and {_LEAKING}"),
    rows(_LEAKING),
    rows(f"max by ({BY_NETNS}) ({_OLDEST}) and {_LEAKING}"),
    empty="nothing leaks",
)

_WHOSE = [
    lines(
        About(
            "Stale by owner",
            "By the unit, container or process that must close them.",
            "short",
            limits.STALE_SOCKETS,
            alert=_DETECTOR.alert,
        ),
        largest(f"sum by (owner) ({_STALE})", "{{owner}}"),
    ),
    lines(
        About(
            "Stale by port",
            "Inbound: connections that clients made to this port; outbound: connections that this "
            "host made to that port, so look at the client's code.",
            "short",
            limits.STALE_SOCKETS,
            alert=_DETECTOR.alert,
        ),
        largest(f"sum by (direction, port) ({_STALE})", "{{direction}} {{port}}"),
    ),
    lines(
        About(
            "Unread bytes by port",
            "What stale sockets have received and nobody reads.",
            "bytes",
            alert=_DETECTOR.alert,
        ),
        largest(f"sum by (direction, port) ({_UNREAD})", "{{direction}} {{port}}"),
    ),
]

_HOW_LONG = [
    lines(
        About(
            "Growth by leak (sockets/min)",
            f"Stale sockets more a minute, over the last {_WINDOW}. Below zero the owner closes "
            "some, or was restarted.",
            "short",
            limits.ANY_WARNS,
            alert=_DETECTOR.alert,
        ),
        largest(f"sum by ({_GROUP}) ({_GROWTH})", _GROUP_LEGEND),
    ),
    lines(
        About(
            f"Stale sockets in {_HORIZON}",
            f"How many each leak will hold in {_HORIZON}, at the rate of the last {_WINDOW}. Each "
            "takes a descriptor of its owner: when they are used up, accept(), connect() and "
            "open() fail with EMFILE.",
            "short",
            limits.STALE_SOCKETS,
            alert=_DETECTOR.alert,
        ),
        largest(f"sum by ({_GROUP}) ({_AHEAD})", _GROUP_LEGEND),
    ),
]


def close_wait() -> Dashboard:
    """Return the dashboard of CLOSE_WAIT leaks."""
    return board(
        OF_CLOSE_WAIT,
        "Connections that peers have closed and applications have not: how old they are, who "
        "must close them, and when they will fail.",
        "now-6h",
        "1m",
        [
            Line(3, _FIGURES, (4, 4, 4, 3, 3, 3, 3)),
            Line(9, [_LEAKS, _AGES], (14, 10)),
            Line(7, [_NAMESPACES, _AGES_OVER_TIME], (14, 10)),
        ],
        [
            Section("Whose", [Line(8, _WHOSE)]),
            Section("Forecast", [Line(8, _HOW_LONG)]),
        ],
    )
