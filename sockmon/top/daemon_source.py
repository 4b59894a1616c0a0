"""Sightings from a running daemon: what its /api/v1 answers."""

from collections.abc import Mapping
from typing import Any

from sockmon.alert.labels import alert_name
from sockmon.client.api import DaemonApi
from sockmon.client.parse import InvalidResponseError, read
from sockmon.client.snapshot import FetchError, Snapshot
from sockmon.language import Text
from sockmon.model.counts import StateCounts
from sockmon.model.finding import Finding, FindingKey
from sockmon.model.moment import Moment
from sockmon.model.states import STATE_SLOTS, TcpState
from sockmon.top.grouping import NETNS, grouped, with_needed_columns
from sockmon.top.scene import By, Grouped, Sighting
from sockmon.top.trend import Sample, Since

_UNITS = Text(
    "By unit and container, which a daemon tells; other has those without one, and TIME_WAIT. To "
    "see processes, run sockmon top on its host without --url.",
    "守护进程只按 unit 和容器统计；没有归属的和 TIME_WAIT 计入“其他”。要看进程，请在那台主机上运行 "
    "sockmon top（不加 --url）。",
)
_BUSIEST = Text(
    "A daemon tells the busiest destinations of its host's own connections, and no other peers. "
    "To see them all, run sockmon top on its host without --url.",
    "守护进程只给出本机连往的最忙目的地址，没有其他对端。要看全部，请在那台主机上运行 sockmon top"
    "（不加 --url）。",
)
_NOT_THERE = (FetchError, LookupError, TypeError, ValueError, AttributeError, OverflowError)

_Identity = tuple[str | None, ...]


class Daemon:
    """A daemon as its HTTP clients see it."""

    def __init__(self, url: str) -> None:
        """Take the address of one; raises ValueError."""
        self._api = DaemonApi(url)
        self.where = self._api.url
        self._was_there = False

    def look(self, by: By) -> Sighting:
        """Ask for the last observation, and for what came before it if we were not there."""
        was_there, self._was_there = self._was_there, False
        document, received = self._api.get("/api/v1/observation")
        try:
            snapshot = read(document, received)
        except InvalidResponseError as error:
            raise FetchError(f"its answer makes no sense to this version: {error}") from error
        past = () if was_there else self._past(snapshot, received)
        self._was_there = True
        since = self._since(snapshot, received)
        return Sighting(snapshot, _grouped(snapshot, by), since=since, past=past)

    def every(self, seconds: float) -> None:
        """Nothing: the daemon has its own interval."""

    def stop(self) -> None:
        """Let a look end by itself: it is bounded, and harms nobody."""

    def close(self) -> None:
        """Hang up."""
        self._api.close()

    def _past(self, snapshot: Snapshot, received: Moment) -> tuple[Sample, ...]:
        """Ask for the polls of the last hour; a daemon without a history has none to tell."""
        if snapshot.netns > 1:
            return ()
        try:
            document, _ = self._api.get("/api/v1/history?range=hour")
            return _samples(document, received, before=snapshot.at.monotonic)
        except _NOT_THERE:
            return ()

    def _since(self, snapshot: Snapshot, received: Moment) -> dict[FindingKey, Since]:
        """Ask when each finding was seen first: what its alert tells."""
        findings = snapshot.findings.value if snapshot.findings else ()
        if not findings:
            return {}
        try:
            document, _ = self._api.get("/api/v1/alerts")
            begun = _begun(document)
        except _NOT_THERE:
            return {}
        return {
            finding.key: Since(received.monotonic - max(0.0, received.wall - begun[identity]))
            for finding in findings
            for identity in _identities(finding)
            if identity in begun
        }


def _grouped(snapshot: Snapshot, by: By) -> Grouped:
    rows = grouped(snapshot, by)
    if rows is not None:
        return rows
    if by == "peer":
        rows = Grouped(by, ("PEER", NETNS), snapshot.destinations, _BUSIEST)
        return with_needed_columns(rows, snapshot)
    owners = snapshot.owners.value if snapshot.owners else ()
    return with_needed_columns(Grouped(by, ("OWNER", NETNS), owners, _UNITS), snapshot)


def _samples(document: Mapping[str, Any], received: Moment, before: float) -> tuple[Sample, ...]:
    series = [document["max"][state.label] for state in TcpState]
    samples: list[Sample] = []
    for wall, *counts in zip(document["times"], *series, strict=True):
        at = received.monotonic - (received.wall - float(wall))
        if at < before:
            samples.append((at, None if None in counts else _states(counts)))
    return tuple(samples)


def _states(counts: list[Any]) -> StateCounts:
    states = [0] * STATE_SLOTS
    for state, count in zip(TcpState, counts, strict=True):
        states[state] = int(count)
    return tuple(states)


def _begun(document: Mapping[str, Any]) -> dict[_Identity, float]:
    """When each alert's condition was first found (Unix), by what identifies it."""
    begun: dict[_Identity, float] = {}
    for alert in document["alerts"]:
        labels = alert["labels"]
        names = ("alertname", "netns", "direction", "port", "path", "owner")
        identity = tuple(labels.get(name) for name in names)
        begun[identity] = min(float(alert["since"]), begun.get(identity, float("inf")))
    return begun


def _identities(finding: Finding) -> tuple[_Identity, ...]:
    """What its alert may be known by: not all alerts have a label for the owner."""
    subject = finding.subject
    port = None if subject.port is None else str(subject.port)
    place = alert_name(finding.detector), finding.netns, subject.direction, port, subject.path
    return (*place, None), (*place, subject.owner)
