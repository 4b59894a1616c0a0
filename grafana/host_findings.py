"""One host's findings: whose they are, how many sockets, how fast they grow, since when."""

from grafana import limits
from grafana.panels import About, timeline
from grafana.queries import HOST, NETNS, over_time, rows, share, verdict
from grafana.scales import ALERTS, VERDICTS
from grafana.tables import SEVERITY, TO_RUNBOOK, Column, listing, to_namespace
from sockmon.detect import (
    accept_queue,
    close_wait_leak,
    descriptor_pressure,
    unread_data,
    unsent_data,
)
from sockmon.durations import format_duration

_HERE = f"{HOST},{NETNS}"

NAMESPACE = Column(
    heading="Namespace", label="netns", link=to_namespace("Look at this namespace alone")
)

_WINDOW = format_duration(close_wait_leak.Thresholds().growth_window)
_STALE = f"sockmon_close_wait_stale_sockets{{{_HERE}}}"


def _above(share_: str, series: str, threshold: float) -> str:
    return f"({series}{{{_HERE}}} and {share_} >= {threshold:g})"


#: Detector -> the series that say whose its findings are; one of its value each.
_SUBJECTS = {
    close_wait_leak.NAME: f"({_STALE} >= {close_wait_leak.Thresholds().warning_sockets})",
    accept_queue.NAME: _above(
        share("sockmon_accept_queue_connections", "sockmon_accept_queue_limit", _HERE),
        "sockmon_accept_queue_connections",
        accept_queue.Thresholds().warning_ratio,
    ),
    unread_data.NAME: f"(sockmon_unread_sockets{{{_HERE}}} > 0)",
    unsent_data.NAME: f"(sockmon_unsent_sockets{{{_HERE}}} > 0)",
    descriptor_pressure.NAME: _above(
        share("sockmon_owner_descriptors", "sockmon_owner_descriptors_limit", _HERE),
        "sockmon_owner_descriptors",
        descriptor_pressure.Thresholds().warning_ratio,
    ),
}
_ROW = "netns, detector, severity, owner, direction, port"


def _of(detector: str, series: str) -> str:
    return f'label_replace({series}, "detector", "{detector}", "", "")'


def _found(severity: str) -> str:
    return (
        "sgn(sum by (netns, detector, severity) "
        f'(sockmon_findings{{{_HERE},severity="{severity}"}}) > 0)'
    )


#: 1 for each detector that finds anything in a namespace, with its worst severity.
_WORST = f"({_found('critical')} or on (netns, detector) {_found('warning')})"
_NAMED = "(" + " or ".join(_of(name, series) for name, series in _SUBJECTS.items()) + ")"
_OF_FINDINGS = f"on (netns, detector) group_left (severity) {_WORST}"
_SEEN = (
    f"60 * count_over_time((sum by (netns, detector) (sockmon_findings{{{_HERE}}}) > 0)"
    "[$__range:1m])"
)

FINDINGS = listing(
    About(
        "Findings",
        "What sockmon finds here now; the alert's name leads to its runbook. Severity is the worst "
        "of that kind in the namespace. Sockets: stale, waiting, unread or unsent ones, or "
        f"descriptors. Growth: of stale CLOSE_WAIT sockets, over {_WINDOW}. Seen for: of the range "
        "shown, to the minute. sockmon doctor on the host says what to do.",
        "short",
    ),
    [
        SEVERITY,
        Column(heading="Alert", label="detector", meanings=ALERTS, link=TO_RUNBOOK),
        Column(heading="Owner", label="owner"),
        Column(heading="Port", label="port"),
        Column(heading="Direction", label="direction"),
        NAMESPACE,
        Column(heading="Sockets"),
        Column(heading="Growth/min", scale=limits.ANY_WARNS),
        Column(heading="Seen for", unit="s"),
    ],
    rows(f"sum by ({_ROW}) ({_NAMED} * {_OF_FINDINGS})"),
    rows(
        f"sum by ({_ROW}) ("
        f"{_of(close_wait_leak.NAME, f'60 * deriv({_STALE}[{_WINDOW}])')} * {_OF_FINDINGS})"
    ),
    rows(
        f"sum by ({_ROW}) (0 * {_NAMED} * {_OF_FINDINGS} + on (netns, detector) group_left () "
        f"({_SEEN}) or ({_WORST} unless on (netns, detector) {_NAMED}) "
        f"* on (netns, detector) group_left () ({_SEEN}))"
    ),
    empty="nothing wrong",
)

OVER_TIME = timeline(
    About(
        "Findings over time",
        "Each kind of finding of the range shown, by its worst severity in the chosen namespaces. "
        "A gap: nobody looked.",
        "short",
    ),
    over_time(
        f"max by (detector) ({verdict(_HERE)}) and "
        f"max by (detector) (max_over_time(sockmon_findings{{{_HERE}}}[$__range] @ end())) > 0",
        "{{detector}}",
    ),
    VERDICTS,
    empty="nothing wrong",
)
