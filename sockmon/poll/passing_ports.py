"""Ports that nobody chose, such as FTP's data ports: a finding about one loses it at the end.

A finding's port is a label of its alert. Until then the port tells findings apart: which of them
two polls agree on, and which caused which.
"""

from collections.abc import Iterable
from dataclasses import replace

from sockmon.detect.registry import BY_NAME
from sockmon.model.detector_input import DetectorInput
from sockmon.model.finding import SEVERITIES, Finding, FindingKey
from sockmon.model.series import SHARED_BY


def is_passing(finding: Finding, data: DetectorInput) -> bool:
    """Return whether its port was used for a connection or two."""
    direction, port = finding.subject.direction, finding.subject.port
    if port is None:
        return False
    detector = BY_NAME[finding.detector]
    if direction is not None and detector.needs_events:
        return not data.has_counted(direction, port)
    if detector.of_udp and port in data.udp.held.services(data.now):
        return False
    shared = finding.rows is not None and finding.rows.size >= SHARED_BY
    return not shared and bool(data.unnamed()[port])


def without_passing_ports(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return the findings as they are shown: of several that differ only by such a port the worst.

    Their sentences still name the port.
    """
    findings = tuple(findings)
    renamed = {finding.key: _without_port(finding).key for finding in findings if finding.passing}
    shown: dict[FindingKey, Finding] = {}
    for finding in findings:
        if finding.passing:
            finding = _without_port(finding)  # noqa: PLW2901 - it is shown in place of the other
        if finding.cause in renamed:
            finding = replace(finding, cause=renamed[finding.cause])  # noqa: PLW2901 - as above
        other = shown.get(finding.key)
        if other is None or _badness(finding) > _badness(other):
            shown[finding.key] = finding
    return tuple(shown.values())


def _without_port(finding: Finding) -> Finding:
    return replace(finding, subject=replace(finding.subject, port=None), passing=False)


def _badness(finding: Finding) -> tuple[int, float]:
    return SEVERITIES.index(finding.severity), finding.value
