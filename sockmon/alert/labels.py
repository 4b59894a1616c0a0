"""What an alert is called, and what identifies and describes it.

Labels identify, annotations describe (Prometheus's alerting rules): no value that changes from
poll to poll is ever a label.
"""

from collections.abc import Mapping
from types import MappingProxyType

from sockmon.detect.finding_text import description
from sockmon.model.finding import Finding
from sockmon.text import one_line

#: Where the runbook of each alert is found, as RUNBOOKS + alert name + ".md".
RUNBOOKS = "https://github.com/sockmon/sockmon/blob/main/docs/runbooks/"

#: Labels that sockmon itself sets, and that no configuration may.
IDENTITY = ("alertname", "severity", "netns", "direction", "port", "path", "owner", "source")

#: The daemon's alerts; those of Prometheus's rules say "prometheus".
SOURCE = "sockmon"

_OWN_NETNS = "host"  # the daemon's own namespace
_LABEL_LIMIT = 256
_ANNOTATION_LIMIT = 4096


def alert_name(detector: str) -> str:
    """Of detector a_b it is SockmonAB."""
    return "Sockmon" + "".join(word.capitalize() for word in detector.split("_"))


def runbook_url(name: str, prefix: str = RUNBOOKS) -> str:
    """Where the alert of this name is explained."""
    return f"{prefix}{name}.md"


def labels_of(finding: Finding, extra: Mapping[str, str]) -> Mapping[str, str]:
    """Return an alert's labels, sorted by name; what the finding has no part of is left out."""
    subject = finding.subject
    identity = {
        "alertname": alert_name(finding.detector),
        "severity": finding.severity,
        "netns": finding.netns,
        "direction": subject.direction,
        "port": None if subject.port is None else str(subject.port),
        "path": subject.path,
        "owner": subject.owner,
        "source": SOURCE,
    }
    present = {name: value for name, value in identity.items() if value}
    named = {name: _one_line(value) for name, value in {**extra, **present}.items()}
    return MappingProxyType(dict(sorted(named.items())))


def annotations_of(finding: Finding) -> Mapping[str, str]:
    """Return what people on the host read; elsewhere the host is named too."""
    return MappingProxyType(
        {
            "summary": _text(finding.summary),
            "description": _text(description(finding)),
            "runbook_url": runbook_url(alert_name(finding.detector)),
        }
    )


def annotations_elsewhere(
    annotations: Mapping[str, str], labels: Mapping[str, str]
) -> Mapping[str, str]:
    """Return what the person on call reads: the summary says where, as that of the rules."""
    instance, summary = labels.get("instance"), annotations.get("summary", "")
    if not instance:
        return annotations
    netns = labels.get("netns", _OWN_NETNS)
    where = instance if netns == _OWN_NETNS else f"{instance}, netns {netns}"
    return {**annotations, "summary": _cut(f"{where}: {summary}", _ANNOTATION_LIMIT)}


def _one_line(text: str) -> str:
    """A label value that every receiver takes and no terminal obeys."""
    return _cut(one_line(text), _LABEL_LIMIT)


def _text(text: str) -> str:
    """Valid Unicode: a lone surrogate (a byte that was no UTF-8) is written as its escape."""
    return _cut(text.encode(errors="backslashreplace").decode(), _ANNOTATION_LIMIT)


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 3] + "..."
