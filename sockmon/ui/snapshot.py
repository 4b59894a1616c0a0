"""What /api/v1/observation answers -> Snapshot: the part of one poll that the view shows.

A view of this host's kernel reads its own observation the same way, so there is one truth.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, get_args

from sockmon.export.findings import worst_first
from sockmon.kernel.owners import label
from sockmon.model.counts import StateCounts
from sockmon.model.finding import Finding, Owner, Process, Severity, Subject
from sockmon.model.observation import Moment, Timed
from sockmon.model.roles import Role
from sockmon.model.states import STATE_SLOTS, TcpState

T = TypeVar("T")

_YEAR_5000 = 95_617_584_000.0
_COUNT_LIMIT = 1 << 53  # what JSON carries exactly


class LookError(Exception):
    """Why a look brought nothing, in one line."""


class ForeignError(Exception):
    """Not an observation of sockmon's."""


@dataclass(frozen=True, slots=True)
class Row:
    """Sockets that have something in common: `cells` names it, one text a column."""

    cells: tuple[str, ...]
    states: StateCounts

    @property
    def total(self) -> int:
        """Sockets in any state."""
        return sum(self.states)


@dataclass(frozen=True, slots=True)
class Level:
    """How much of a limit is used."""

    name: str
    used: int
    limit: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One poll. `at`, and the moment of each part, are on the clocks of whoever reads it.

    A part is None until it has succeeded once. `destinations` are the busiest of this host's own
    connections; `netns` how many namespaces were polled; `folded` groups are inside port `other`.
    """

    at: Moment
    interval: float
    polls: int
    netns: int
    failures: tuple[str, ...]
    states: Timed[StateCounts] | None
    ports: Timed[tuple[Row, ...]] | None
    folded: int
    findings: Timed[tuple[Finding, ...]] | None
    levels: tuple[Level, ...]
    destinations: tuple[Row, ...]


def read(document: Any, received: Moment) -> Snapshot:
    """Read an answer; raises ForeignError.

    `received` is one instant on two clocks: monotonic on the reader's, wall on the writer's.
    """
    try:
        return _snapshot(document, received)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise ForeignError(f"not an observation of sockmon's: {error!r}") from error


def _snapshot(document: Any, received: Moment) -> Snapshot:
    def moment(wall: Any) -> Moment:
        at = _finite(wall)
        if not 0 <= at < _YEAR_5000:
            raise ValueError(f"{wall!r} is no time")
        return Moment(received.monotonic - (received.wall - at), at)

    def timed(value: T, taken: list[Any]) -> Timed[T] | None:
        return Timed(value, moment(max(taken))) if taken else None

    namespaces: list[Mapping[str, Any]] = list(document["namespaces"])
    tcp = [ns["tcp"] for ns in namespaces if ns["tcp"]]
    named_ports = [(str(ns["netns"]), ns["ports"]) for ns in namespaces if ns["ports"]]
    ports = [part for _, part in named_ports]
    findings = [_finding(found) for ns in namespaces for found in ns["findings"] or ()]
    return Snapshot(
        at=moment(document["taken_at"]),
        interval=_finite(document["interval_seconds"]),
        polls=_count(document["polls"]),
        netns=len(namespaces),
        failures=tuple(dict.fromkeys(str(f["message"]) for f in document["failures"])),
        states=timed(_sum(map(_both_families, tcp)), [part["taken_at"] for part in tcp]),
        ports=timed(
            tuple(_rows(named_ports, tell_netns=len(namespaces) > 1)),
            [part["taken_at"] for part in ports],
        ),
        folded=sum(_count(part["folded"]) for part in ports),
        findings=timed(
            tuple(worst_first(findings)),
            [ns["diagnosed_at"] for ns in namespaces if ns["diagnosed_at"]],
        ),
        levels=tuple(level for ns in namespaces for level in _levels(ns)),
        destinations=tuple(
            Row((f"{use['destination']}:{use['port']}",), _counts(use["states"]))
            for part in ports
            for use in part["ephemeral"]["busiest"]
        ),
    )


def _rows(
    named_ports: Iterable[tuple[str, Mapping[str, Any]]], *, tell_netns: bool
) -> Iterable[Row]:
    for netns, ports in named_ports:
        for group in ports["groups"]:
            cells = str(group["port"]), str(group["role"])
            yield Row((*cells, netns) if tell_netns else cells, _counts(group["states"]))


def _both_families(tcp: Mapping[str, Any]) -> StateCounts:
    """A kernel without IPv6 has but one."""
    return _sum(_counts(tcp[family]) for family in ("ipv4", "ipv6") if family in tcp)


def _counts(states: Mapping[str, Any]) -> StateCounts:
    counts = [0] * STATE_SLOTS
    for state, count in states.items():
        counts[TcpState[state.upper()]] = _count(count)
    return tuple(counts)


def _count(number: Any) -> int:
    if not 0 <= number < _COUNT_LIMIT:
        raise ValueError(f"{number!r} counts nothing")
    return int(number)


def _finite(number: Any) -> float:
    if not math.isfinite(number):
        raise ValueError(f"{number!r} is no number")
    return float(number)


def _sum(counts: Iterable[StateCounts]) -> StateCounts:
    return tuple(map(sum, zip((0,) * STATE_SLOTS, *counts, strict=True)))


def _levels(namespace: Mapping[str, Any]) -> Iterable[Level]:
    """What has a limit, as far as it is known."""
    limits, ports = namespace["limits"], namespace["ports"]
    if limits:
        for name in ("time_wait_buckets", "orphan_sockets", "conntrack_entries"):
            used, limit = limits[name], limits[f"{name}_limit"]
            if used is not None and limit:
                yield Level(name.replace("_", " "), _count(used), _count(limit))
    if ports:
        ephemeral = ports["ephemeral"]
        used = max((_count(use["used"]) for use in ephemeral["busiest"]), default=0)
        yield Level("ephemeral ports", used, _count(ephemeral["usable"]))
        queues = [
            Level(
                f"accept queue of {queue['port']}", _count(queue["queue"]), _count(queue["limit"])
            )
            for queue in ports["listeners"]
        ]
        if queues:
            # The kernel takes one connection more than the limit says: 0 of 0 is not full.
            yield max(queues, key=lambda queue: queue.used / (queue.limit + 1))


def _finding(found: Mapping[str, Any]) -> Finding:
    subject = found["subject"]
    people = [_process(owner) for owner in found["evidence"].get("owners", ())]
    owner = subject["owner"]
    # As the alert's label has it: the unit before the process.
    name = None if owner is None else label(str(owner["unit"] or owner["name"]))
    if found["severity"] not in get_args(Severity):
        raise ValueError(f"{found['severity']!r} is no severity")
    if subject["role"] not in (None, *get_args(Role)):
        raise ValueError(f"{subject['role']!r} is no role")
    return Finding(
        detector=str(found["detector"]),
        severity=found["severity"],
        netns=str(found["netns"]),
        subject=Subject(
            subject["role"], None if subject["port"] is None else _count(subject["port"]), name
        ),
        value=_finite(found["value"]),
        limit=_finite(found["limit"]),
        summary=str(found["summary"]),
        evidence={str(k): v for k, v in found["evidence"].items() if k != "owners"},
        advice=tuple(str(sentence) for sentence in found["advice"]),
        owner=None if name is None else Owner(name, owner["unit"], tuple(people)),
    )


def _process(owner: Mapping[str, Any]) -> Process:
    fds, limit = owner["fds"], owner["fd_limit"]
    return Process(
        _count(owner["pid"]),
        str(owner["name"]),
        None if fds is None else _count(fds),
        None if limit is None else _count(limit),
    )
