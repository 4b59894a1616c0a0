"""A namespace's diagnosis -> Prometheus metric families."""

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily as Gauge
from prometheus_client.core import Metric

from sockmon.detect.registry import ALL
from sockmon.model.ages import AGE_BOUNDS
from sockmon.model.finding import SEVERITIES
from sockmon.model.names import OTHER
from sockmon.model.observation import Diagnosis, Observation


def families(observation: Observation, now: float) -> Iterator[Metric]:
    """Yield what ages and findings there are; every detector is always present."""
    diagnoses = [
        (namespace.name, diagnosis)
        for namespace in observation.shown
        if (diagnosis := observation.fresh(namespace, namespace.diagnosis, now)) is not None
    ]
    yield _ages(diagnoses)
    yield from _close_wait(diagnoses)
    yield from _queues(diagnoses)
    yield _findings(diagnoses)


def _ages(diagnoses: list[tuple[str, Diagnosis]]) -> Metric:
    aged = Gauge(
        "sockmon_aged_sockets",
        "Sockets that have been for more than older_than seconds in a state that a healthy one "
        "leaves soon.",
        labels=["netns", "state", "older_than"],
    )
    for netns, diagnosis in diagnoses:
        for state, counts in diagnosis.ages.items():
            older = sum(counts)
            for bound, count in zip(AGE_BOUNDS, counts, strict=False):
                older -= count
                aged.add_metric([netns, state.label, f"{bound:g}"], older)
    return aged


def _close_wait(diagnoses: list[tuple[str, Diagnosis]]) -> Iterator[Metric]:
    stale = Gauge(
        "sockmon_close_wait_stale_sockets",
        "CLOSE_WAIT sockets that the application should have closed.",
        labels=["netns", "direction", "port", "owner"],
    )
    oldest = Gauge(
        "sockmon_close_wait_oldest_seconds",
        "Age of the oldest CLOSE_WAIT socket; 0 when there is none.",
        labels=["netns"],
    )
    unread = Gauge(
        "sockmon_close_wait_unread_bytes",
        "Bytes received and never read, in stale CLOSE_WAIT sockets.",
        labels=["netns", "direction", "port"],
    )
    port: tuple[str, str]
    for netns, diagnosis in diagnoses:
        oldest.add_metric([netns], diagnosis.oldest_close_wait)
        sockets: dict[tuple[str, str, str], int] = {}
        unread_bytes: dict[tuple[str, str], int] = {}
        for group in diagnosis.stale:
            port = group.direction, str(group.port)
            sockets[*port, group.owner] = sockets.get((*port, group.owner), 0) + group.sockets
            unread_bytes[port] = unread_bytes.get(port, 0) + group.unread_bytes
        for direction, number, owner in diagnosis.mended:
            port = direction, str(number)
            sockets.setdefault((*port, owner), 0)
            unread_bytes.setdefault(port, 0)
        for labels, count in sockets.items():
            stale.add_metric([netns, *labels], count)
        for port, count in unread_bytes.items():
            unread.add_metric([netns, *port], count)
    yield from (stale, oldest, unread)


def _queues(diagnoses: list[tuple[str, Diagnosis]]) -> Iterator[Metric]:
    labels = ["netns", "direction", "port"]
    families = {
        "unread": Gauge(
            "sockmon_unread_sockets",
            "ESTABLISHED sockets that nobody has read from for a minute though data waits.",
            labels=labels,
        ),
        "unsent": Gauge(
            "sockmon_unsent_sockets",
            "ESTABLISHED sockets whose peers have taken nothing for a minute: closed windows.",
            labels=labels,
        ),
        "idle_without_keepalive": Gauge(
            "sockmon_idle_sockets_without_keepalive",
            "Idle ESTABLISHED sockets without keepalive: nobody would notice their peers' death.",
            labels=labels,
        ),
    }
    for netns, diagnosis in diagnoses:
        for name, family in families.items():
            for group in getattr(diagnosis, name):
                port = OTHER if group.port is None else str(group.port)
                family.add_metric([netns, group.direction, port], group.sockets)
    yield from families.values()


def _findings(diagnoses: list[tuple[str, Diagnosis]]) -> Metric:
    findings = Gauge(
        "sockmon_findings",
        "Findings of the last poll, by detector; none where one could not look.",
        labels=["netns", "detector", "severity"],
    )
    for netns, diagnosis in diagnoses:
        for detector in ALL:
            for severity in SEVERITIES:
                count = sum(
                    (found.detector, found.severity) == (detector.name, severity)
                    for found in diagnosis.findings
                )
                if count or detector.name not in diagnosis.unavailable:
                    findings.add_metric([netns, detector.name, severity], count)
    return findings
