"""The messages between the helper and the daemon, as bytes (pure).

A request has 15 bytes of fixed layout, so that the privileged process parses almost nothing. An
answer is JSON: the daemon trusts the helper, but checks the answer's form.
"""

import json
import math
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from enum import IntEnum
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from sockmon.kernel.errors import KernelError, NamespaceError, ProcError
from sockmon.kernel.netns.discovery import Place
from sockmon.model.limits import (
    PORTS,
    KernelLimits,
    PortRange,
    Sockstat,
    TcpMemoryLimits,
    TcpSettings,
    TimeWaitReuse,
)

T = TypeVar("T")
E = TypeVar("E", bound=KernelError)

#: Bytes of the longest answer; the kernel takes messages of twice that by default (SO_SNDBUF).
ANSWER_BYTES = 96 * 1024
#: Bytes of places after which the rest goes to the next page: one more place always fits.
PAGE_BYTES = 48 * 1024

_VERSION = 1
_REQUEST = struct.Struct("!BIBQB")


class MessageError(ValueError):
    """Bytes that are not a message of this version."""


class Ask(IntEnum):
    """The requests; all but LOOK concern what the last LOOK on the same connection found."""

    LOOK = 1  # which namespaces there are, and which have sockets: the first page
    MORE = 2  # the next page
    CGROUP = 3  # of the first process inside
    OPEN = 4  # a sock_diag socket inside, passed with the answer
    LIMITS = 5  # procfs.read_limits() inside


@dataclass(frozen=True, slots=True)
class Request:
    """One request. number: repeated in the answer. netns: an nsfs inode, except for LOOK and MORE.

    settings: with LIMITS, whether to read settings too, or only levels and counters.
    """

    ask: Ask
    number: int = 0
    netns: int = 0
    settings: bool = False

    def encode(self) -> bytes:
        """Return its bytes."""
        return _REQUEST.pack(_VERSION, self.number, self.ask, self.netns, self.settings)


REQUEST_BYTES = _REQUEST.size


def parse_request(data: bytes) -> Request:
    """Parse a request; raises MessageError."""
    if len(data) != _REQUEST.size:
        raise MessageError(f"a request of {len(data)} bytes")
    version, number, ask, netns, settings = _REQUEST.unpack(data)
    if version != _VERSION:
        raise MessageError(f"a request of version {version}")
    if ask not in set(Ask) or settings not in (0, 1):
        raise MessageError("an unknown request")
    return Request(Ask(ask), number, netns, settings == 1)


class Sighting(NamedTuple):
    """A namespace, and whether there are sockets inside; None if that could not be seen."""

    place: Place
    occupied: bool | None


class Page(NamedTuple):
    """Some of what a look has found, and whether there is more."""

    sightings: tuple[Sighting, ...]
    more: bool


class Answer(NamedTuple):
    """An answer. cpu: seconds of CPU time that the request has cost the helper."""

    cpu: float
    error: NamespaceError | None
    body: Mapping[str, Any]


def encode_answer(number: int, cpu: float, body: Mapping[str, Any]) -> bytes:
    """Return an answer's bytes; a body that is too large is replaced by an error."""
    data = json.dumps({"number": number, "cpu": cpu, **body}).encode()
    if len(data) <= ANSWER_BYTES:
        return data
    error = NamespaceError("asking the netns helper", "too_large", "the answer is too large")
    return json.dumps({"number": number, "cpu": cpu, **refused(error)}).encode()


def parse_answer(data: bytes, number: int) -> Answer:
    """Parse the answer to the request of this number; raises MessageError if it is none."""
    try:
        body = json.loads(data)
        error = _error(NamespaceError, body["error"]) if "error" in body else None
        number_in_answer, answer = body["number"], Answer(_seconds(body["cpu"]), error, body)
    except (ValueError, TypeError, KeyError, RecursionError) as mistake:
        raise MessageError(f"not an answer: {mistake!r}") from mistake
    if number_in_answer != number:
        raise MessageError("an answer to another request")
    return answer


def refused(error: KernelError) -> Mapping[str, Any]:
    """Return the body for a failure."""
    return {"error": _words(error)}


def page_body(rest: Iterator[Sighting]) -> Mapping[str, Any]:
    """Take as much of the rest of a look as fits into one answer."""
    rows: list[Any] = []
    size = 0
    for place, occupied in rest:
        row = (str(place.path), place.inode, place.pid, place.directory, place.given, occupied)
        rows.append(row)
        size += len(json.dumps(row))
        if size > PAGE_BYTES:
            return {"places": rows, "more": True}
    return {"places": rows, "more": False}


def parse_page(body: Mapping[str, Any]) -> Page:
    """Parse the body {"places": [...], "more": ...}; raises MessageError."""
    try:
        return Page(tuple(_sighting(*row) for row in body["places"]), _flag(body["more"]))
    except (ValueError, TypeError, KeyError) as mistake:
        raise MessageError(f"not a page of places: {mistake!r}") from mistake


def limits_body(limits: KernelLimits, errors: Sequence[KernelError]) -> Mapping[str, Any]:
    """Return the body for what procfs.read_limits() has read."""
    return {"limits": asdict(limits), "errors": [_words(error) for error in errors]}


def parse_limits(body: Mapping[str, Any]) -> tuple[KernelLimits, list[ProcError]]:
    """Parse the body of limits_body(); raises MessageError."""
    try:
        return _limits(body["limits"]), [_error(ProcError, words) for words in body["errors"]]
    except (ValueError, TypeError, KeyError, AttributeError) as mistake:
        raise MessageError(f"not limits: {mistake!r}") from mistake


def parse_cgroup(body: Mapping[str, Any]) -> str:
    """Parse the body {"cgroup": "/..."}; raises MessageError."""
    try:
        return _text(body["cgroup"])
    except (ValueError, KeyError) as mistake:
        raise MessageError(f"not a cgroup: {mistake!r}") from mistake


def _words(error: KernelError) -> tuple[str, str, str, str]:
    return error.operation, error.reason, error.detail, error.hint


def _error(kind: type[E], words: Any) -> E:
    operation, reason, detail, hint = map(_text, words)
    return kind(operation, reason, detail, hint)


def _sighting(
    path: Any, inode: Any, pid: Any, directory: Any, given: Any, occupied: Any
) -> Sighting:
    place = Place(
        Path(_text(path)),
        _optional(_whole, inode),
        _optional(_whole, pid),
        _optional(_whole, directory),
        _optional(_text, given),
    )
    return Sighting(place, _optional(_flag, occupied))


def _limits(value: Any) -> KernelLimits:
    return KernelLimits(
        sockstat=_optional(_numbers(Sockstat), value["sockstat"]),
        time_wait_limit=_optional(_whole, value["time_wait_limit"]),
        orphan_limit=_optional(_whole, value["orphan_limit"]),
        tcp_memory=_optional(_numbers(TcpMemoryLimits), value["tcp_memory"]),
        conntrack_entries=_optional(_whole, value["conntrack_entries"]),
        conntrack_limit=_optional(_whole, value["conntrack_limit"]),
        conntrack_drops=_optional(_events, value["conntrack_drops"]),
        port_range=_optional(_port_range, value["port_range"]),
        time_wait_reuse=_optional(_time_wait_reuse, value["time_wait_reuse"]),
        settings=_optional(_tcp_settings, value["settings"]),
        events=_optional(_events, value["events"]),
        traffic=_optional(_events, value["traffic"]),
        datagrams=_optional(_events, value["datagrams"]),
        settings_hidden=_flag(value["settings_hidden"]),
    )


def _tcp_settings(value: Any) -> TcpSettings:
    somaxconn = _optional(_whole, value["somaxconn"])
    return replace(_numbers(TcpSettings)({**value, "somaxconn": 0}), somaxconn=somaxconn)


def _port_range(value: Any) -> PortRange:
    reserved = tuple((_port(first), _port(last)) for first, last in value["reserved"])
    return PortRange(_port(value["low"]), _port(value["high"]), reserved)


def _time_wait_reuse(value: Any) -> TimeWaitReuse:
    mode, delay = _whole(value["mode"]), _whole(value["delay_ms"])
    return TimeWaitReuse(mode, delay, _flag(value["timestamps"]))


def _events(value: Any) -> Mapping[str, int]:
    return {_text(name): _whole(count) for name, count in value.items()}


def _numbers(kind: Callable[..., T]) -> Callable[[Any], T]:
    """Return what makes one of a dataclass whose fields are all numbers."""

    def make(value: Any) -> T:
        return kind(**{name: _whole(number) for name, number in value.items()})

    return make


def _optional(parse: Callable[[Any], T], value: Any) -> T | None:
    return None if value is None else parse(value)


def _port(value: Any) -> int:
    if not 0 <= _whole(value) < PORTS:
        raise ValueError(f"not a port: {value}")
    return _whole(value)


def _whole(value: Any) -> int:
    if type(value) is not int:
        raise ValueError(f"not a whole number: {value!r}")
    return value


def _seconds(value: Any) -> float:
    if type(value) is not float or not 0 <= value < math.inf:
        raise ValueError(f"not a time: {value!r}")
    return value


def _flag(value: Any) -> bool:
    if type(value) is not bool:
        raise ValueError(f"neither true nor false: {value!r}")
    return value


def _text(value: Any) -> str:
    if type(value) is not str:
        raise ValueError(f"not a text: {value!r}")
    return value
