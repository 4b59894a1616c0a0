"""What the alerts of the Prometheus rules say: templates that Prometheus fills in, pure.

Summaries name the host, the network namespace unless it is the host's own, and the trouble, and
stay the same as long as an alert fires; figures are in the descriptions. Neither is a label, so
that no figure ever makes an alert another.

Source: Prometheus, docs/configuration/template_reference.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from sockmon.detect.detector import Rule

#: How each summary begins.
WHERE = (
    "{{ with $labels.instance }}{{ . }}"
    '{{ with $labels.netns }}{{ if ne . "host" }}, netns {{ . }}{{ end }}{{ end }}: {{ end }}'
)
_SEE = "On the host, `sockmon doctor` names sockets, owner and advice."


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """An alert in a line, its figure by severity, and a word to the person on call."""

    summary: str
    explanation: str
    warning: str = ""
    critical: str = ""

    def annotations(self, severity: str) -> Mapping[str, str]:
        """Return summary and description."""
        figure = self.critical if severity == "critical" else self.warning
        return {
            "summary": WHERE + self.summary,
            "description": f"{figure} {self.explanation}",
        }


def detected(rule: Rule) -> Text:
    """Return what the alerts of a detector's rules say."""
    return Text(
        summary=rule.summary,
        explanation=f"{rule.explanation} {_SEE}",
        warning=rule.warning,
        critical=rule.critical,
    )


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
