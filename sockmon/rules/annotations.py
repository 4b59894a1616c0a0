"""What the alerts of the Prometheus rules say: templates that Prometheus fills in, pure.

Summaries name the host, the network namespace unless it is the host's own, and the trouble, and
stay the same as long as an alert fires; figures are in the descriptions. Neither is a label, so
that no figure ever makes an alert another.

Source: Prometheus, docs/configuration/template_reference.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass

#: How each summary begins.
WHERE = (
    "{{ with $labels.instance }}{{ . }}"
    '{{ with $labels.netns }}{{ if ne . "host" }}, netns {{ . }}{{ end }}{{ end }}: {{ end }}'
)
_FOUND = "Findings: {{ $value | humanize }}."
_OF_LIMIT = "{{ $value | humanizePercentage }} of "
_SEE = "On the host, `sockmon doctor` names sockets, owner and advice."


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """An alert in a line, its figure by severity, and a word to the person on call."""

    summary: str
    explanation: str
    warning: str = _FOUND
    critical: str = _FOUND

    def annotations(self, severity: str) -> Mapping[str, str]:
        """Return summary and description."""
        figure = self.critical if severity == "critical" else self.warning
        return {
            "summary": WHERE + self.summary,
            "description": f"{figure} {self.explanation}",
        }


def _detected(
    summary: str, explanation: str, *, warning: str = _FOUND, critical: str = _FOUND
) -> Text:
    return Text(
        summary=summary, explanation=f"{explanation} {_SEE}", warning=warning, critical=critical
    )


_TIME_WAIT = (
    "{{ if lt $value 1.0 }}In use: {{ $value | humanizePercentage }} of the buckets."
    "{{ else }}The buckets run out.{{ end }}"
)
_PORTS = f"The busiest destination holds {_OF_LIMIT}the usable ports."

#: By detector.
DETECTED: Mapping[str, Text] = {
    "close_wait_leak": _detected(
        "an application leaks CLOSE_WAIT sockets",
        "It never closes connections that its peers have closed. The kernel keeps them for ever: "
        "the application must close them before it runs out of file descriptors.",
        warning=(
            "Stale: {{ $value | humanize }} sockets of {{ $labels.owner }}, "
            "{{ $labels.direction }} port {{ $labels.port }}."
        ),
    ),
    "time_wait_pressure": _detected(
        "TIME_WAIT sockets near tcp_max_tw_buckets",
        "Beyond the limit the kernel closes without TIME_WAIT, and late segments may reach a newer "
        "connection. Keep connections alive, or raise net.ipv4.tcp_max_tw_buckets.",
        warning=_TIME_WAIT,
        critical=_TIME_WAIT,
    ),
    "ephemeral_port_pressure": _detected(
        "ephemeral ports towards one destination run out",
        "When they are used up, connect() fails with EADDRNOTAVAIL. Keep connections alive, or "
        "widen net.ipv4.ip_local_port_range.",
        warning=_PORTS,
        critical=f"{{{{ if $value }}}}{_PORTS}{{{{ else }}}}bind() holds every port.{{{{ end }}}}",
    ),
    "fin_wait2_stuck": _detected(
        "sockets are stuck in FIN_WAIT2",
        "An application has shut down its sending side and keeps the socket; its peer does not "
        "close. tcp_fin_timeout does not end what a process still holds.",
    ),
    "connect_stalled": _detected(
        "connects get no answer",
        "SYNs to one destination are sent again and again: it is down, or a firewall on the way "
        "drops them.",
    ),
    "syn_backlog": _detected(
        "a listener's SYN backlog fills up",
        "More handshakes are under way than the listener has room for: a burst, a SYN flood, or "
        "clients that vanish before they answer.",
    ),
    "accept_queue": _detected(
        "a listener's accept queue fills up",
        "The application does not call accept() fast enough; once the queue is full, the kernel "
        "drops what arrives.",
        warning="Waiting: {{ $value | humanize }} connections to port {{ $labels.port }}.",
    ),
    "closing_stalled": _detected(
        "sockets cannot finish closing",
        "Their FIN is not acknowledged (LAST_ACK, FIN_WAIT1, CLOSING): the peers, or the path to "
        "them, have gone.",
    ),
    "dead_peer": _detected(
        "established connections have dead peers",
        "Data goes unanswered on connections that the kernel still believes in: the peers, or the "
        "path to them, have gone.",
    ),
    "orphan_pressure": _detected(
        "orphaned sockets near tcp_max_orphans",
        "Applications have closed sockets whose peers do not answer. Beyond the limit the kernel "
        "resets them.",
        warning=f"In use: {_OF_LIMIT}the limit.",
        critical=f"In use: {_OF_LIMIT}the limit.",
    ),
    "tcp_memory_pressure": _detected(
        "TCP uses more memory than tcp_mem's pressure",
        "The kernel shrinks windows, and beyond `high` it drops. Look for queues that nobody "
        "reads: sockmon_port_receive_queue_bytes.",
        warning=f"In use: {_OF_LIMIT}`pressure`.",
        critical=f"In use: {_OF_LIMIT}`high`.",
    ),
    "conntrack_pressure": _detected(
        "connection tracking table near nf_conntrack_max",
        "When it is full, packets of new connections are dropped. Raise "
        "net.netfilter.nf_conntrack_max, or track less.",
        warning=f"In use: {_OF_LIMIT}the table.",
        critical=f"In use: {_OF_LIMIT}the table.",
    ),
}

#: Of SockmonDown. Where all targets have gone, there is no instance to name.
DOWN = Text(
    summary=(
        "{{ if $labels.instance }}sockmon cannot be scraped"
        "{{ else }}Prometheus has no target that is sockmon's{{ end }}"
    ),
    critical=(
        "{{ if $labels.instance }}Nobody watches this host's sockets."
        "{{ else }}Nobody watches any host's sockets: look at the service discovery.{{ end }}"
    ),
    explanation="On a host: systemctl status sockmon.",
)

#: Of SockmonPollFailing, when some reads fail.
FAILING = Text(
    summary="sockmon cannot read part of what it watches",
    warning="Failed reads within 5 minutes: {{ $value | humanize }}.",
    explanation=(
        "What failed is withdrawn rather than shown as zero; sockmon's log says what and why."
    ),
)

#: Of SockmonPollFailing, when none succeeds.
BLIND = Text(
    summary="sockmon is blind: it cannot read the TCP sockets",
    critical="The last good poll was {{ $value | humanizeDuration }} ago, or never.",
    explanation="No diagnosis of this namespace is made; sockmon's log says why.",
)
