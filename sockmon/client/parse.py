"""What /api/v1/observation answers -> Snapshot: the part of one poll that the view shows.

A view of this host's kernel reads its own observation the same way, so there is one truth.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar, get_args

from sockmon.client.snapshot import Level, Part, PortEvents, Row, Snapshot, added
from sockmon.language import Text
from sockmon.model.counts import StateCounts
from sockmon.model.direction import Direction
from sockmon.model.finding import (
    PURPOSES,
    UNITS,
    Advice,
    Breakdown,
    Command,
    Deadline,
    Effect,
    Finding,
    FindingKey,
    Quantity,
    Severity,
    Subject,
    Where,
)
from sockmon.model.listeners import fullness
from sockmon.model.moment import Moment, Timed
from sockmon.model.names import HOST, OTHER
from sockmon.model.observation import believed_seconds
from sockmon.model.owner import Owner, Process
from sockmon.model.poll_statistics import COMPONENT
from sockmon.model.states import STATE_SLOTS, TcpState
from sockmon.text import label

T = TypeVar("T")

_YEAR_5000 = 95_617_584_000.0
_COUNT_LIMIT = 1 << 53  # what JSON carries exactly


class InvalidResponseError(Exception):
    """Not an observation of sockmon's."""


def read(document: Any, received: Moment) -> Snapshot:
    """Read an answer; raises InvalidResponseError.

    `received` is one instant on two clocks: monotonic on the reader's, wall on the writer's.
    """
    try:
        return _snapshot(document, received)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise InvalidResponseError(f"not an observation of sockmon's: {error!r}") from error


def _snapshot(document: Any, received: Moment) -> Snapshot:
    def moment(wall: Any) -> Moment:
        at = _finite(wall)
        if not 0 <= at < _YEAR_5000:
            raise ValueError(f"{wall!r} is no time")
        return Moment(received.monotonic - (received.wall - at), at)

    def timed(part: Any, value: Callable[[Any], T]) -> Timed[T] | None:
        return Timed(value(part), moment(part["taken_at"])) if part else None

    interval = _finite(document["interval_seconds"])

    def part(namespace: Mapping[str, Any]) -> Part:
        netns, degraded = str(namespace["netns"]), bool(namespace.get("degraded"))
        ports, diagnosed_at = namespace["ports"], namespace["diagnosed_at"]
        findings = tuple(map(_finding, namespace["findings"] or ()))
        events = namespace.get("connection_events")
        beat = max(interval, _finite(namespace.get("beat_seconds", interval)))
        return Part(
            netns=netns,
            beat=beat,
            believed=believed_seconds(interval, beat),
            degraded=degraded,
            states=timed(namespace["tcp"], _both_families),
            ports=timed(ports, lambda its: tuple(_rows(netns, its, degraded=degraded))),
            owners=timed(namespace.get("owners"), lambda its: tuple(_owners(netns, its))),
            folded=_count(ports["folded"]) if ports else 0,
            findings=Timed(findings, moment(diagnosed_at)) if diagnosed_at else None,
            # The range of ports of a namespace seen from outside is not known.
            levels=tuple(_levels(netns, namespace["limits"], None if degraded else ports)),
            destinations=tuple(_destinations(netns, ports)) if ports else (),
            events=dict(_events(events)) if events else None,
            events_since=_finite(events["since"]) if events else 0.0,
        )

    failures = document["failures"]

    def messages(*, troubles: bool) -> tuple[str, ...]:
        its = (f for f in failures if (f.get("reason") == COMPONENT) == troubles)
        return tuple(dict.fromkeys(str(f["message"]) for f in its))

    return Snapshot(
        at=moment(document["taken_at"]),
        interval=interval,
        polls=_count(document["polls"]),
        failures=messages(troubles=False),
        troubles=messages(troubles=True),
        hints=tuple(map(str, document.get("hints", ()))),
        parts=tuple(map(part, document["namespaces"])),
    )


def _rows(netns: str, ports: Mapping[str, Any], *, degraded: bool) -> Iterable[Row]:
    for group in ports["groups"]:
        cells = str(group["port"]), str(group["direction"]), netns
        yield Row(cells, _counts(group["states"]), degraded)


def _owners(netns: str, owners: Mapping[str, Any]) -> Iterable[Row]:
    for its in owners["owners"]:
        yield Row((str(its["owner"]), netns), _counts(its["states"]))


def _destinations(netns: str, ports: Mapping[str, Any]) -> Iterable[Row]:
    for use in ports["ephemeral"]["busiest"]:
        yield Row((f"{use['destination']}:{use['port']}", netns), _counts(use["states"]))


def _events(events: Mapping[str, Any]) -> Iterable[tuple[tuple[str, str], PortEvents]]:
    for its in events["ports"]:
        port = OTHER if its["port"] is None else str(_count(its["port"]))
        ended = (sum(map(_count, its[name].values())) for name in ("failed", "closed", "aborted"))
        yield (port, str(its["direction"])), PortEvents(_count(its["opened"]), *ended)


def _both_families(tcp: Mapping[str, Any]) -> StateCounts:
    """A kernel without IPv6 has but one."""
    return added(_counts(tcp[family]) for family in ("ipv4", "ipv6") if family in tcp)


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


def _levels(
    netns: str, limits: Mapping[str, Any] | None, ports: Mapping[str, Any] | None
) -> Iterable[Level]:
    """What has a limit, as far as it is known."""
    if limits:
        # Orphans are counted over all namespaces.
        names = {
            "time_wait_buckets": Text("time wait buckets", "TIME_WAIT 表"),
            **({"orphan_sockets": Text("orphan sockets", "孤儿 socket")} if netns == HOST else {}),
            "conntrack_entries": Text("conntrack entries", "conntrack 条目"),
        }
        for name, title in names.items():
            used, limit = limits[name], limits[f"{name}_limit"]
            if used is not None and limit:
                yield Level(title, _count(used), _count(limit), netns)
    if ports:
        ephemeral = ports["ephemeral"]
        used = max((_count(use["used"]) for use in ephemeral["busiest"]), default=0)
        title = Text("ephemeral ports", "本地端口")
        yield Level(title, used, _count(ephemeral["usable"]), netns)
        queues = [
            Level(
                Text(f"accept queue of {queue['port']}", f"{queue['port']} 端口全连接队列"),
                _count(queue["queue"]),
                _count(queue["limit"]),
                netns,
            )
            for queue in ports["listeners"]
        ]
        if queues:
            # The kernel takes one connection more than the limit says: 0 of 0 is not full.
            yield max(queues, key=lambda queue: fullness(queue.used, queue.limit))


def _finding(found: Mapping[str, Any]) -> Finding:
    subject = found["subject"]
    people = [_process(owner) for owner in found["owners"]]
    owner = subject["owner"]
    # Its alert names it, also where an address tells services on one port apart. A finding about a
    # destination has an owner, and is not of one.
    alert = found.get("alert")
    named = None if alert is None else alert.get("owner")
    name = None if owner is None else label(str(named or owner["unit"] or owner["name"]))
    deadline, cause = found["deadline"], found["cause"]
    zh = found.get("zh") or {}
    texts = zh.get("advice") or [None] * len(found["advice"])
    return Finding(
        detector=str(found["detector"]),
        severity=_one_of(get_args(Severity), found["severity"]),
        netns=str(found["netns"]),
        subject=_subject({**subject, "owner": name if alert is None else named}),
        value=_finite(found["value"]),
        limit=_finite(found["limit"]),
        summary=_text(found["summary"], zh.get("summary")),
        evidence={str(name): _evidence(value) for name, value in found["evidence"].items()},
        advice=tuple(map(_advice, found["advice"], texts)),
        owner=None if name is None else Owner(name, owner["unit"], tuple(people)),
        critical_because=None
        if found["critical_because"] is None
        else _text(found["critical_because"], zh.get("critical_because")),
        deadline=deadline
        and Deadline(_text(deadline["what"], zh.get("deadline")), _finite(deadline["seconds"])),
        cause=cause
        and FindingKey(str(cause["detector"]), str(cause["netns"]), _subject(cause["subject"])),
    )


def _subject(subject: Mapping[str, Any]) -> Subject:
    direction, port, owner = subject["direction"], subject["port"], subject["owner"]
    path = subject["path"]
    return Subject(
        None if direction is None else _one_of(get_args(Direction), direction),
        None if port is None else _count(port),
        None if owner is None else str(owner),
        None if path is None else str(path),
    )


def _evidence(value: Mapping[str, Any]) -> Quantity | Breakdown:
    if "parts" in value:
        return tuple((str(part["name"]), _quantity(part)) for part in value["parts"])
    return _quantity(value)


def _quantity(part: Mapping[str, Any]) -> Quantity:
    value, unit = part["value"], _one_of(UNITS, part["unit"])
    return Quantity(str(value) if unit == "text" else _number(value), unit)


def _number(value: Any) -> float:
    """Return an int as an int: it is shown without a point."""
    return value if isinstance(value, int) and _finite(value) == value else _finite(value)


def _text(en: Any, zh: Any) -> Text:
    """A daemon of an earlier version knows no Chinese."""
    return Text(str(en), None if zh is None else str(zh))


def _advice(advice: Mapping[str, Any], zh: Any) -> Advice:
    command = advice["command"]
    return Advice(
        _text(advice["text"], zh),
        command
        and Command(
            str(command["line"]),  # already with what enters its namespace
            _one_of(get_args(Where), command["where"]),
            _one_of(get_args(Effect), command["effect"]),
        ),
        _one_of(PURPOSES, advice["purpose"]),
    )


def _one_of(values: tuple[Any, ...], value: Any) -> Any:
    if value not in values:
        raise ValueError(f"{value!r} is none of {values}")
    return value


def _process(owner: Mapping[str, Any]) -> Process:
    fds, limit = owner["fds"], owner["fd_limit"]
    return Process(
        _count(owner["pid"]),
        str(owner["name"]),
        None if fds is None else _count(fds),
        None if limit is None else _count(limit),
        unit=None if owner["unit"] is None else str(owner["unit"]),
    )
