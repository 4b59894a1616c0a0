"""`sockmon rules`: Prometheus rules for a configuration's thresholds and a fleet's labels."""

import re
from typing import Any

from sockmon.alert import recording, rules
from sockmon.alert.labels import RUNBOOKS
from sockmon.alert.selector import SOCKMON, Selector
from sockmon.config import Config
from sockmon.detect import limits_of
from sockmon.model.observation import STALE_AFTER_INTERVALS

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


def render(config: Config, selector: Selector = SOCKMON, runbooks: str = RUNBOOKS) -> str:
    """Return the file of the alerting rules as YAML text."""
    limits: Any = limits_of(config.detect)
    silence = STALE_AFTER_INTERVALS * config.poll.interval
    thresholds = rules.Thresholds(
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
    return rules.render(enabled, thresholds, selector, runbooks)


def render_recording(selector: Selector = SOCKMON) -> str:
    """Return the file of the recording rules as YAML text."""
    return recording.render(selector)
