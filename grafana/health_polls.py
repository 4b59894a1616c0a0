"""Whether sockmon looks: how its polls fare, namespace by namespace."""

from grafana import limits
from grafana.board import Line, Section
from grafana.panels import About, figure, lines
from grafana.queries import (
    BY_HOST,
    BY_NETNS,
    HOST_LEGEND,
    HOSTS,
    NETNS,
    NETNS_LEGEND,
    largest,
    over_time,
)

_HERE = f"{HOSTS},{NETNS}"
_LAST = f"sockmon_poll_last_success_timestamp_seconds{{{_HERE}}}"
_AGE = f"time() - {_LAST}"
_READ = f"max by ({BY_NETNS}) (0 * {_LAST})"
_SHOWN = f'sum by ({BY_NETNS}) (sockmon_sockets{{{_HERE},protocol="tcp"}})'

_FAILING_ALERT = "SockmonPollFailing"


def rate(metric: str, by: str, labels: str = HOSTS) -> str:
    """A counter's growth a second, summed by these labels."""
    return f"sum by ({by}) (rate({metric}{{{labels}}}[$__rate_interval]))"


#: For the top of the dashboard.
SIGHT = [
    figure(
        About(
            "Blind",
            "Network namespaces whose TCP sockets sockmon has read, and can no more: it shows "
            "nothing of them rather than what was. Its log says why.",
            "short",
            limits.ANY_HURTS,
            alert=_FAILING_ALERT,
        ),
        # What is overdue by three of its own beats is withdrawn; the time of its last read is not.
        f"sum({_READ} + 1 unless {_SHOWN} or {_READ})",
    ),
    figure(
        About(
            "Failed reads a second",
            "Reads that the kernel refused or that could not be trusted.",
            "cps",
            limits.ANY_RATE,
            alert=_FAILING_ALERT,
        ),
        f"sum(rate(sockmon_poll_errors_total{{{_HERE}}}[$__rate_interval])) or vector(0)",
    ),
]

POLL_TIME = lines(
    About(
        "How long polls take",
        "One whole poll, all namespaces. Longer than the interval, polls are missed; longer "
        "than three, the series end.",
        "s",
        limits.POLL_SECONDS,
        alert=_FAILING_ALERT,
    ),
    *(
        over_time(
            f"histogram_quantile({quantile}, {rate('sockmon_poll_duration_seconds_bucket', 'le')})",
            legend,
        )
        for quantile, legend in ((0.5, "half below"), (0.99, "99 % below"))
    ),
)
_POLLS = [
    lines(
        About(
            "Slowest hosts",
            "Mean time of a poll, by host: many sockets, or a host that is short of processor "
            "time.",
            "s",
            limits.POLL_SECONDS,
        ),
        largest(
            f"{rate('sockmon_poll_duration_seconds_sum', BY_HOST)}"
            f" / {rate('sockmon_poll_duration_seconds_count', BY_HOST)}",
            HOST_LEGEND,
        ),
    ),
    lines(
        About(
            "Failed reads by reason",
            "What could not be read, a second. What fails is withdrawn, never shown as zero.",
            "cps",
            limits.ANY_RATE,
            alert=_FAILING_ALERT,
        ),
        over_time(rate("sockmon_poll_errors_total", "reason", _HERE), "{{reason}}"),
    ),
    lines(
        About(
            "Age of the last good look",
            "How long ago each namespace's TCP sockets were last read in full; those that wait "
            "longest. Quiet ones take turns where poll.cpu_budget does not allow all of them at "
            "every poll; what is overdue is withdrawn, and counted as blind.",
            "s",
            limits.LAST_SUCCESS,
            alert=_FAILING_ALERT,
        ),
        largest(f"max by ({BY_NETNS}) ({_AGE})", NETNS_LEGEND),
    ),
]

_UNSEEN = 'visibility=~"outside|hidden"'
_NAMESPACES = [
    lines(
        About(
            "Namespaces by what is seen",
            "Network namespaces beside the hosts' own. inside: all of it; outside: counted, not "
            "diagnosed; hidden: not to be seen; empty: no sockets. Nothing is drawn where sockmon "
            "looks at its own alone (poll.namespaces: host).",
            "short",
        ),
        over_time(f"sum by (visibility) (sockmon_namespaces{{{HOSTS}}})", "{{visibility}}"),
    ),
    lines(
        About(
            "Not seen in full, by host",
            "Namespaces seen from outside, whose leaks no diagnosis finds, or not at all. sockmon "
            "doctor there says which privilege would show them.",
            "short",
            limits.ANY_WARNS,
        ),
        largest(
            f"sum by ({BY_HOST}) (sockmon_namespaces{{{HOSTS},{_UNSEEN}}})",
            HOST_LEGEND,
        ),
    ),
    lines(
        About(
            "Namespaces folded",
            "Namespaces without series of their own, inside namespace other, for want of a place "
            "among poll.top_namespaces. They are diagnosed and alerted for all the same.",
            "short",
        ),
        largest(
            f"max by ({BY_HOST}) (sockmon_namespaces_aggregated{{{HOSTS}}})",
            HOST_LEGEND,
        ),
    ),
    lines(
        About(
            "Failed reads by namespace",
            "Where reads fail, a second; the most. One namespace alone: something there. "
            "All of a host: a privilege, or its kernel.",
            "cps",
            limits.ANY_RATE,
            alert=_FAILING_ALERT,
        ),
        largest(f"{rate('sockmon_poll_errors_total', BY_NETNS, _HERE)}", NETNS_LEGEND),
    ),
]

LOOKS = Section("Polls", [Line(8, _POLLS)])
SEES = Section("Network namespaces", [Line(8, _NAMESPACES)])
