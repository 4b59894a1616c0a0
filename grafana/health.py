"""sockmon's own health: does it run and read the kernel, what does it cost, do alerts arrive."""

from grafana_foundation_sdk.models.dashboard import Dashboard

from grafana import limits
from grafana.board import OF_HEALTH, Line, Section, board
from grafana.health_polls import LOOKS, POLL_TIME, SEES, SIGHT, rate
from grafana.panels import About, figure, lines, timeline
from grafana.queries import (
    BY_HOST,
    BY_NETNS,
    HOST_LEGEND,
    HOSTS,
    NETNS,
    NETNS_LEGEND,
    largest,
    over_time,
    rows,
)
from grafana.scales import UP, YES
from grafana.tables import Column, listing, to_host

_HERE = f"{HOSTS},{NETNS}"
_DOWN_ALERT = "SockmonDown"

_FIGURES = [
    figure(
        About(
            "Down",
            "Hosts whose sockmon does not answer. On the host: systemctl status sockmon.",
            "short",
            limits.ANY_GONE,
            alert=_DOWN_ALERT,
        ),
        f"sum(up{{{HOSTS}}} == bool 0)",
    ),
    *SIGHT,
    figure(
        About(
            "Notifications lost",
            "Receivers that do not take what they are sent, a second: nobody is told of alerts. "
            "sockmon's log names the receiver and the reason.",
            "cps",
            limits.ANY_RATE,
        ),
        f"sum(rate(sockmon_notifications_failed_total{{{HOSTS}}}[$__rate_interval]))",
    ),
    figure(
        About(
            "Bad configurations",
            "Hosts that could not read their configuration again, and go on with the old one: "
            "sockmon check-config names every mistake.",
            "short",
            limits.ANY_WARNS,
        ),
        f"sum(sockmon_config_last_reload_successful{{{HOSTS}}} == bool 0)",
    ),
    figure(
        About("Versions", "How many versions of sockmon run.", "short", limits.MANY_VERSIONS),
        f"count(count by (version) (sockmon_build_info{{{HOSTS}}}))",
    ),
]

_DOWN = timeline(
    About(
        "Hosts that were down",
        "Each host that did not answer at some time of the range shown. Down together: the "
        "network, or Prometheus. Down in turn: a roll-out.",
        "short",
        limits.ANY_HURTS,
        alert=_DOWN_ALERT,
    ),
    over_time(
        f"max by ({BY_HOST}) (up{{{HOSTS}}}) "
        f"and max by ({BY_HOST}) (min_over_time(up{{{HOSTS}}}[$__range]) == 0)",
        HOST_LEGEND,
    ),
    UP,
    empty="none was down",
)
_HOSTS = [
    listing(
        About(
            "Hosts",
            "What runs where, whether its configuration is the one on disk, and since when.",
            "short",
        ),
        [
            Column(heading="Host", label="instance", link=to_host("Open this host")),
            Column(heading="Cluster", label="cluster"),
            Column(heading="Job", label="job"),
            Column(heading="Last reload good", meanings=YES),
            Column(heading="Configuration's age", unit="s"),
            Column(heading="Running for", unit="s"),
        ],
        rows(f"max by ({BY_HOST}) (sockmon_config_last_reload_successful{{{HOSTS}}})"),
        rows(
            f"max by ({BY_HOST}) "
            f"(time() - sockmon_config_last_reload_success_timestamp_seconds{{{HOSTS}}})"
        ),
        rows(f"max by ({BY_HOST}) (time() - process_start_time_seconds{{{HOSTS}}})"),
    ),
    listing(
        About("Running versions", "Hosts by the version of sockmon and of Python.", "short"),
        [
            Column(heading="sockmon", label="version"),
            Column(heading="Python", label="python"),
            Column(heading="Hosts"),
        ],
        rows(f"count by (version, python) (sockmon_build_info{{{HOSTS}}})"),
    ),
]

_COST = [
    lines(
        About(
            "Processor",
            "Processor time by host, as a share of one core: the most expensive ones.",
            "percentunit",
        ),
        largest(f"{rate('process_cpu_seconds_total', BY_HOST)}", HOST_LEGEND),
    ),
    lines(
        About(
            "Resident memory",
            "By host, the largest: some 50 MB, and some 250 bytes more for each socket.",
            "bytes",
        ),
        largest(
            f"max by ({BY_HOST}) (process_resident_memory_bytes{{{HOSTS}}})",
            HOST_LEGEND,
        ),
    ),
    lines(
        About(
            "Samples of a scrape",
            "Series that each host exports, the most. They cost Prometheus memory: ports.top, "
            "ports.top_per_namespace and poll.top_namespaces bound them.",
            "short",
        ),
        largest(f"max by ({BY_HOST}) (scrape_samples_scraped{{{HOSTS}}})", HOST_LEGEND),
    ),
    lines(
        About(
            "Port groups aggregated",
            "Groups of (direction, port) counted in port other, beyond ports.top, or in a "
            "container's beyond ports.top_per_namespace; ports.always_shown exempts ports.",
            "short",
        ),
        largest(
            f"max by ({BY_NETNS}) (sockmon_port_groups_aggregated{{{_HERE}}})",
            NETNS_LEGEND,
        ),
    ),
]

_NOTIFICATIONS = [
    lines(
        About("Notifications sent", "By receiver, a second, failed ones included.", "cps"),
        over_time(rate("sockmon_notifications_total", "receiver"), "{{receiver}}"),
    ),
    lines(
        About(
            "Notifications failed",
            "Which their receiver did not take. They are tried again; look at sockmon's log.",
            "cps",
            limits.ANY_RATE,
        ),
        over_time(rate("sockmon_notifications_failed_total", "receiver"), "{{receiver}}"),
    ),
    lines(
        About(
            "How long scrapes take",
            "By host, the slowest. /metrics is served from the last poll, and waits for none.",
            "s",
        ),
        largest(f"max by ({BY_HOST}) (scrape_duration_seconds{{{HOSTS}}})", HOST_LEGEND),
    ),
]


def health() -> Dashboard:
    """Return the dashboard of sockmon itself."""
    return board(
        OF_HEALTH,
        "sockmon itself: whether it runs and reads the kernel, what it costs, and whether "
        "notifications arrive.",
        "now-6h",
        "1m",
        [
            Line(3, _FIGURES),
            Line(8, [_DOWN, POLL_TIME]),
            Line(8, _HOSTS, (18, 6)),
        ],
        [
            LOOKS,
            SEES,
            Section("Cost", [Line(8, _COST)]),
            Section("Notifications and scrapes", [Line(8, _NOTIFICATIONS)]),
        ],
    )
