"""`sockmon rules`: the daemon's diagnoses as Prometheus alerting rules, pure.

For those who would rather have Prometheus judge. Where a plain series tells what the detector
tells, the rule compares it with the configured threshold; elsewhere it takes the detector's word
from sockmon_findings. A warning goes on while there is a critical alert of its name: let
Alertmanager inhibit it, as deploy/prometheus/alertmanager.yml does.

SockmonDown and SockmonPollFailing are here alone: a daemon cannot tell that it is dead or blind.

Sources: Prometheus, docs/configuration/alerting_rules.md (keep_firing_for: since 2.42).
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sockmon.alert.labels import RUNBOOKS, alert_name, runbook_url
from sockmon.alert.lifecycle import FixedWaits, Waits
from sockmon.detect import limits_of
from sockmon.durations import format_duration
from sockmon.model.finding import Severity
from sockmon.model.observation import STALE_AFTER_INTERVALS
from sockmon.rules import recording
from sockmon.rules.annotations import BLIND, DETECTED, DOWN, FAILING, Text
from sockmon.rules.rule_file import Rule, dump
from sockmon.rules.selector import SOCKMON, Selector
from sockmon.settings import Config

_HEADER = """\
# Prometheus alerting rules, as `sockmon rules` prints them from sockmon's configuration.
# Load them with rule_files; they need Prometheus 2.42 or newer.
"""

#: Those judged by series of the whole host, which have no netns: the daemon's alerts say "host".
_HOST_WIDE = frozenset(("orphan_pressure", "tcp_memory_pressure"))

#: Prometheus learns of an end so much later than the daemon: a scrape, an evaluation, and one to
#: spare. Rules keep alerts for so much less, or at every end Alertmanager would take the daemon's
#: alert for resolved, and the rules' copy, muted until then, for news.
_LAG = 45.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """The limits that plain series are compared with; the defaults are the detectors'."""

    close_wait_sockets: int = 10
    time_wait_warning: float = 0.8
    time_wait_critical: float = 0.95
    ports_warning: float = 0.7
    ports_critical: float = 0.9
    ports_exhaustion: float = 600.0
    ports_forecast: float = 0.5  # the share from which that forecast counts
    accept_queue: float = 0.8
    orphans_warning: float = 0.25
    orphans_critical: float = 0.5
    memory_warning: float = 1.0  # of tcp_mem's pressure
    memory_critical: float = 0.9  # of its high
    conntrack_warning: float = 0.75
    conntrack_critical: float = 0.9
    silence: float = 75.0  # this long without a good poll is blindness


def render(
    waits: Mapping[str, Waits],
    thresholds: Thresholds,
    selector: Selector = SOCKMON,
    runbooks: str = RUNBOOKS,
) -> str:
    """Return a rule file.

    waits: of each enabled detector, by name; the others have no rules. selector: which targets are
    sockmon's. runbooks: what comes before an alert's name and .md to make the URL of its runbook.
    """
    alerts = [
        alert
        for detector in waits
        for alert in _detected(detector, waits[detector], thresholds, selector)
    ]
    alerts += _own(thresholds.silence, selector)
    return dump(_HEADER, "sockmon", [alert.rule(runbooks) for alert in alerts])


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
    detector: str, waits: Waits, thresholds: Thresholds, selector: Selector
) -> Iterator[_Alert]:
    warning, critical = _expressions(detector, thresholds, selector)
    expressions: tuple[tuple[Severity, str], ...] = (("warning", warning), ("critical", critical))
    for severity, expression in expressions:
        yield _Alert(
            name=alert_name(detector),
            severity=severity,
            expression=expression,
            waits=FixedWaits(waits.for_, max(waits.keep_firing_for - _LAG, 0.0)),
            text=DETECTED[detector],
            netns="host" if detector in _HOST_WIDE else None,
        )


def _expressions(detector: str, thresholds: Thresholds, selector: Selector) -> tuple[str, str]:
    """Return when to warn, and when it is critical."""
    found = _found(detector, selector)
    warning, critical = _plain_series(thresholds, selector).get(detector, (found, None))
    return warning, critical or _found(detector, selector, severity="critical")


def _found(detector: str, selector: Selector, **labels: str) -> str:
    """Return the detector's word."""
    series = selector.of("sockmon_findings", detector=detector, **labels)
    return f"sum without (detector, severity) ({series}) > 0"


def _plain_series(t: Thresholds, selector: Selector) -> Mapping[str, tuple[str, str | None]]:
    """Return what a plain series tells; None where it takes more to be critical."""
    of = selector.of
    stale = of("sockmon_close_wait_stale_sockets")
    # conntrack's limit of 0 means that there is none; the others' leave nothing to compare with.
    time_wait = _share(of("sockmon_time_wait_buckets"), of("sockmon_time_wait_buckets_limit"))
    overflows = _found("time_wait_pressure", selector, severity="critical")
    usable = of("sockmon_ephemeral_ports_usable")
    ports = _share(of("sockmon_ephemeral_ports_used_by_busiest_destination"), usable)
    exhaustion = of("sockmon_ephemeral_ports_exhaustion_seconds")
    queue, queue_limit = of("sockmon_accept_queue_connections"), of("sockmon_accept_queue_limit")
    orphans = _share(of("sockmon_orphan_sockets"), of("sockmon_orphan_sockets_limit"))
    memory = f"{of('sockmon_tcp_memory_bytes')}\n/ ignoring (level) "
    memory_limit = "sockmon_tcp_memory_limit_bytes"
    conntrack = _share(of("sockmon_conntrack_entries"), of("sockmon_conntrack_entries_limit"))
    return {
        "close_wait_leak": (f"{stale} >= {t.close_wait_sockets}", None),
        "time_wait_pressure": (
            f"{time_wait} >= {t.time_wait_warning:g}",
            # Overflow is critical whatever the share. The detector's word is no less than 1.
            f"{time_wait} >= {t.time_wait_critical:g}\nor {overflows}",
        ),
        "ephemeral_port_pressure": (
            f"{ports} >= {t.ports_warning:g}",
            (
                f"{ports} >= {t.ports_critical:g}\n"
                f"or {usable} == 0\n"
                f"or {ports} >= {t.ports_forecast:g}\n"
                f"and {exhaustion} < {t.ports_exhaustion:g}"
            ),
        ),
        "accept_queue": (
            f"{queue}\n>= {t.accept_queue:g} * {queue_limit}\nand {queue} > 0",
            None,
        ),
        "orphan_pressure": (
            f"{orphans} >= {t.orphans_warning:g}",
            f"{orphans} >= {t.orphans_critical:g}",
        ),
        "tcp_memory_pressure": (
            f"{memory}{of(memory_limit, level='pressure')} >= {t.memory_warning:g}",
            f"{memory}{of(memory_limit, level='high')} >= {t.memory_critical:g}",
        ),
        "conntrack_pressure": (
            f"{conntrack} >= {t.conntrack_warning:g}",
            f"{conntrack} >= {t.conntrack_critical:g}",
        ),
    }


def _share(used: str, limit: str) -> str:
    """Return a ratio that is not there where the limit is 0."""
    return f"{used}\n/ ({limit} > 0)"


def _own(silence: float, selector: Selector) -> Iterator[_Alert]:
    """Alerts about sockmon itself."""
    up, errors = selector.of("up"), selector.of("sockmon_poll_errors_total")
    yield _Alert(
        name="SockmonDown",
        severity="critical",
        # absent() bears only what the selector says: where all targets have gone, no instance.
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
        # waits its turn is still shown; what is overdue by three of its own beats is withdrawn.
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


def render_config(config: Config, selector: Selector = SOCKMON, runbooks: str = RUNBOOKS) -> str:
    """Return the file of the alerting rules as YAML text."""
    limits: Any = limits_of(config.detect)
    silence = STALE_AFTER_INTERVALS * config.poll.interval
    thresholds = Thresholds(
        close_wait_sockets=limits["close_wait_leak"].warning_sockets,
        time_wait_warning=limits["time_wait_pressure"].warning_ratio,
        time_wait_critical=limits["time_wait_pressure"].critical_ratio,
        ports_warning=limits["ephemeral_port_pressure"].warning_ratio,
        ports_critical=limits["ephemeral_port_pressure"].critical_ratio,
        ports_exhaustion=limits["ephemeral_port_pressure"].critical_exhaustion,
        ports_forecast=limits["ephemeral_port_pressure"].forecast_ratio,
        accept_queue=limits["accept_queue"].warning_ratio,
        orphans_warning=limits["orphan_pressure"].warning_ratio,
        orphans_critical=limits["orphan_pressure"].critical_ratio,
        memory_warning=limits["tcp_memory_pressure"].warning_pressure_ratio,
        memory_critical=limits["tcp_memory_pressure"].critical_high_ratio,
        conntrack_warning=limits["conntrack_pressure"].warning_ratio,
        conntrack_critical=limits["conntrack_pressure"].critical_ratio,
        silence=max(silence, 75.0),
    )
    enabled = {name: found for name, found in limits.items() if found.enabled}
    return render(enabled, thresholds, selector, runbooks)


def render_recording(selector: Selector = SOCKMON) -> str:
    """Return the file of the recording rules as YAML text."""
    return recording.render(selector)
