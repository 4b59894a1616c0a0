"""Connections that opened, failed and closed between two polls, of hosts that count them."""

from grafana.board import Line, Section
from grafana.panels import About, heat, lines
from grafana.queries import FLEET, HOST, NETNS, PORT, buckets, largest

_PORTS = f"{HOST},{NETNS},{PORT}"
_CLOSES = f"sockmon_close_wait_duration_seconds_bucket{{{HOST},{NETNS}}}"
_BY_PORT = "cluster_job_port_direction"
_PORT_LEGEND = "{{direction}} {{port}}"

_OPENED = About(
    "Connections opened",
    "Connections that were established, by the service's port, those that no poll has seen "
    "included. Nothing is drawn of hosts that do not count them (events.enabled).",
    "cps",
)
_FAILED = About(
    "Connects that failed",
    "Connections that did not come about, by port and reason. refused: nobody listens; timed_out: "
    "nothing answers; no_port: this host has no local port left; abandoned: the application gave "
    "up first.",
    "cps",
    alert="SockmonConnectFailures",
)
_ABORTED = About(
    "Connections aborted",
    "Connections that ended with a reset before either end had closed, by port and by whom; or by "
    "the kernel's timeout. Health checks and clients that leave often end with a reset.",
    "cps",
    alert="SockmonResetBurst",
)
_TIME_TO_CLOSE = About(
    "Time to close",
    "How long applications here take to close after their peer's FIN; each cell is a rate of "
    "closes. Up to 40 ms: Linux delays the acknowledgment of a FIN so long. Above 60 s: such a "
    "socket counts as stale.",
    "s",
    alert="SockmonSlowClose",
)


def _rate(series: str, labels: str) -> str:
    return f"rate({series}{{{labels}}}[$__rate_interval])"


OF_HOST = Section(
    "Connections between polls",
    [
        Line(
            8,
            [
                lines(
                    _OPENED,
                    largest(
                        "sum by (direction, port) "
                        f"({_rate('sockmon_connections_opened_total', _PORTS)})",
                        _PORT_LEGEND,
                    ),
                ),
                lines(
                    _FAILED,
                    largest(
                        "sum by (direction, port, reason) "
                        f"({_rate('sockmon_connection_failures_total', _PORTS)})",
                        f"{_PORT_LEGEND} {{{{reason}}}}",
                    ),
                ),
                lines(
                    About(
                        "Connections closed",
                        "Connections that were closed with a FIN, by port and by whose came "
                        "first; both: the two crossed. Who closes first has the TIME_WAIT.",
                        "cps",
                    ),
                    largest(
                        "sum by (direction, port, first) "
                        f"({_rate('sockmon_connections_closed_total', _PORTS)})",
                        f"{_PORT_LEGEND} first {{{{first}}}}",
                    ),
                ),
            ],
        ),
        Line(
            8,
            [
                lines(
                    _ABORTED,
                    largest(
                        "sum by (direction, port, by) "
                        f"({_rate('sockmon_connections_aborted_total', _PORTS)})",
                        f"{_PORT_LEGEND} by {{{{by}}}}",
                    ),
                ),
                heat(_TIME_TO_CLOSE, buckets(f"sum by (le) (rate({_CLOSES}[$__rate_interval]))")),
            ],
            (8, 16),
        ),
    ],
)

OF_FLEET = Section(
    "Connections between polls",
    [
        Line(
            8,
            [
                lines(
                    _OPENED,
                    largest(
                        f"sum by (direction, port) ({_BY_PORT}:sockmon_connections_opened:rate5m"
                        f"{{{FLEET}}})",
                        _PORT_LEGEND,
                    ),
                ),
                lines(
                    _FAILED,
                    largest(
                        f"sum by (direction, port, reason) "
                        f"({_BY_PORT}_reason:sockmon_connection_failures:rate5m{{{FLEET}}})",
                        f"{_PORT_LEGEND} {{{{reason}}}}",
                    ),
                ),
                lines(
                    _ABORTED,
                    largest(
                        f"sum by (direction, port) ({_BY_PORT}:sockmon_connections_aborted:rate5m"
                        f"{{{FLEET}}})",
                        _PORT_LEGEND,
                    ),
                ),
                heat(
                    _TIME_TO_CLOSE,
                    buckets(
                        "sum by (le) (cluster_job_direction_le:"
                        f"sockmon_close_wait_duration_seconds_bucket:rate5m{{{FLEET}}})"
                    ),
                ),
            ],
        )
    ],
)
