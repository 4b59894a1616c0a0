"""`sockmon rules`: the daemon's diagnoses as Prometheus alerting rules, pure.

For those who would rather have Prometheus judge. Where a plain series tells what the detector
tells, the rule compares it with the configured threshold; elsewhere it takes the detector's word
from sockmon_findings. A warning goes on while there is a critical alert of its name: let
Alertmanager inhibit it, as deploy/prometheus/alertmanager.yml does.

SockmonDown and SockmonPollFailing are only here: a daemon cannot report that it is dead or that
it cannot read.

Sources: Prometheus, docs/configuration/alerting_rules.md (keep_firing_for: since 2.42).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from sockmon.alert.labels import RUNBOOKS, runbook_url
from sockmon.alert.lifecycle import FixedWaits, Waits
from sockmon.detect.detector import Detector, DetectorThresholds
from sockmon.detect.registry import ALL, thresholds_of
from sockmon.durations import format_duration
from sockmon.model.finding import Severity
from sockmon.model.observation import STALE_AFTER_INTERVALS
from sockmon.rules import recording
from sockmon.rules.annotations import BLIND, DOWN, FAILING, Text, detected
from sockmon.rules.rule_file import Rule, dump
from sockmon.rules.selector import SOCKMON, Selector
from sockmon.settings import Config

_HEADER = """\
# Prometheus alerting rules, as `sockmon rules` prints them from sockmon's configuration.
# Load them with rule_files; they need Prometheus 2.42 or newer.
"""

#: Prometheus learns of an end so much later than the daemon: a scrape, an evaluation, and one to
#: spare. Rules keep alerts for so much less, or at every end Alertmanager would take the daemon's
#: alert for resolved, and the rules' copy, muted until then, for news.
_LAG = 45.0


def render(config: Config, selector: Selector = SOCKMON, runbooks: str = RUNBOOKS) -> str:
    """Return the file of the alerting rules as YAML text.

    A detector that is not enabled has no rules. selector: which targets are sockmon's. runbooks:
    what comes before an alert's name and .md in the URL of its runbook.
    """
    thresholds = thresholds_of(config.detect)
    alerts = [
        alert
        for detector in ALL
        if thresholds[detector.name].enabled
        for alert in _detected(detector, thresholds[detector.name], selector)
    ]
    alerts += _own(blind_after(config), selector)
    return dump(_HEADER, "sockmon", [alert.rule(runbooks) for alert in alerts])


def blind_after(config: Config) -> float:
    """Return after how many seconds without a good poll the host's own namespace is blind."""
    return max(STALE_AFTER_INTERVALS * config.poll.interval, 75.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Alert:
    """One rule; `netns` where its series do not tell it."""

    name: str
    severity: Severity
    expression: str
    waits: Waits
    text: Text
    netns: str | None = None

    def rule(self, runbooks: str) -> Rule:
        keep = format_duration(self.waits.keep_firing_for)
        netns = {"netns": self.netns} if self.netns else {}
        return {
            "alert": self.name,
            "expr": self.expression,
            "for": format_duration(self.waits.for_),
            **({"keep_firing_for": keep} if self.waits.keep_firing_for else {}),
            "labels": {"severity": self.severity, "source": "prometheus", **netns},
            "annotations": {
                **self.text.annotations(self.severity),
                "runbook_url": runbook_url(self.name, runbooks),
            },
        }


def _detected(
    detector: Detector, thresholds: DetectorThresholds, selector: Selector
) -> Iterator[_Alert]:
    rule = detector.rule
    warning, critical = (
        rule.expressions(thresholds, selector.of) if rule.expressions else (None, None)
    )
    expressions: tuple[tuple[Severity, str], ...] = (
        ("warning", warning or _found(detector.name, selector)),
        ("critical", critical or _found(detector.name, selector, severity="critical")),
    )
    for severity, expression in expressions:
        yield _Alert(
            name=detector.alert,
            severity=severity,
            expression=expression,
            waits=FixedWaits(thresholds.for_, max(thresholds.keep_firing_for - _LAG, 0.0)),
            text=detected(rule),
            netns="host" if rule.host_wide else None,
        )


def _found(detector: str, selector: Selector, **labels: str) -> str:
    """Return the number of the detector's own findings."""
    series = selector.of("sockmon_findings", detector=detector, **labels)
    return f"sum without (detector, severity) ({series}) > 0"


def _own(silence: float, selector: Selector) -> Iterator[_Alert]:
    """Alerts about sockmon itself."""
    up, errors = selector.of("up"), selector.of("sockmon_poll_errors_total")
    yield _Alert(
        name="SockmonDown",
        severity="critical",
        # absent() has only the labels of the selector: where all targets have gone, no instance.
        expression=f"{up} == 0 or absent({up})",
        waits=FixedWaits(120.0, 0.0),
        text=DOWN,
    )
    yield _Alert(
        name="SockmonPollFailing",
        severity="warning",
        expression=f"sum without (reason) (increase({errors}[5m])) > 0",
        waits=FixedWaits(300.0, 300.0),
        text=FAILING,
    )
    last = selector.of("sockmon_poll_last_success_timestamp_seconds")
    start = selector.of("process_start_time_seconds")
    shown = selector.of("sockmon_sockets", protocol="tcp")
    yield _Alert(
        name="SockmonPollFailing",
        severity="critical",
        # One that has never succeeded has no time of it: then its start counts. A namespace that
        # waits its turn is still shown, for OLDEST_BELIEVED seconds at most.
        expression=(
            "time() - (\n"
            f"  {last}\n"
            f'  or label_replace({start}, "netns", "host", "", "")\n'
            f") > {silence:g}\n"
            f"unless ignoring (protocol, family, state) {shown}"
        ),
        waits=FixedWaits(60.0, 0.0),
        text=BLIND,
    )


#: Braces would be a template's: Prometheus fills in annotations.
_URL = re.compile(r"https?://[!-z|~]+")


def parse_selector(text: str | None) -> Selector:
    """Read --selector; raises ValueError."""
    if text is None:
        return SOCKMON
    try:
        return Selector.parse(text)
    except ValueError as error:
        raise ValueError(f"--selector: {error}") from error


def parse_runbooks(text: str | None) -> str:
    """Read --runbooks: a URL, to which a slash is added; raises ValueError."""
    if text is None:
        return RUNBOOKS
    if not text.isprintable() or not _URL.fullmatch(text):
        raise ValueError(f"--runbooks: {text!r} is no URL such as https://wiki.example/runbooks/")
    return text.rstrip("/") + "/"


def render_recording(selector: Selector = SOCKMON) -> str:
    """Return the file of the recording rules as YAML text."""
    return recording.render(selector)
