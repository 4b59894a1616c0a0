"""What helper and daemon say to each other comes back as it was, and nothing else is believed."""

import json
import string
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sockmon.kernel.errors import HelperError, KernelError, NamespaceError, ProcError
from sockmon.kernel.netns.discovery import Place
from sockmon.kernel.netns.helper import protocol
from sockmon.kernel.netns.helper.protocol import Ask, MessageError, Page, Request, Sighting
from sockmon.model.limits import (
    KernelLimits,
    PortRange,
    Sockstat,
    TcpMemoryLimits,
    TcpSettings,
    TimeWaitReuse,
)

numbers = st.integers(0, 2**63 - 1)
ports = st.integers(0, 65535)
requests = st.builds(
    Request, st.sampled_from(Ask), st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1)
)
limits = st.builds(
    KernelLimits,
    sockstat=st.none() | st.builds(Sockstat, *[numbers] * 4),
    time_wait_limit=st.none() | numbers,
    orphan_limit=st.none() | numbers,
    tcp_memory=st.none() | st.builds(TcpMemoryLimits, *[numbers] * 3),
    conntrack_entries=st.none() | numbers,
    conntrack_limit=st.none() | numbers,
    conntrack_drops=st.none() | st.dictionaries(st.text(), numbers),
    port_range=st.none()
    | st.builds(PortRange, ports, ports, st.lists(st.tuples(ports, ports)).map(tuple)),
    time_wait_reuse=st.none() | st.builds(TimeWaitReuse, numbers, numbers, st.booleans()),
    settings=st.none()
    | st.builds(TcpSettings, *[numbers] * 5, somaxconn=st.none() | numbers, syncookies=numbers),
    settings_hidden=st.booleans(),
    events=st.none() | st.dictionaries(st.text(string.ascii_letters, min_size=1), numbers),
    datagrams=st.none() | st.dictionaries(st.text(string.ascii_letters, min_size=1), numbers),
)
# As the file system has names: bytes that are no UTF-8 are lone surrogates.
names = st.binary(min_size=1, max_size=255).map(
    lambda name: name.decode("utf-8", "surrogateescape")
)
places = st.builds(
    Place,
    names.map(lambda name: Path("/run/netns", name.replace("/", "_"))),
    st.none() | numbers,
    st.none() | numbers,
    st.none() | numbers,
    st.none() | names,
)
errors = st.builds(ProcError, *[st.text()] * 4)
words = ("operation", "reason", "detail", "hint")


@given(requests)
def test_a_request_comes_back_as_it_was(request: Request) -> None:
    assert protocol.parse_request(request.encode()) == request


@given(st.binary(max_size=2 * protocol.REQUEST_BYTES))
def test_what_is_no_request_is_refused(data: bytes) -> None:
    try:
        request = protocol.parse_request(data)
    except MessageError:
        return
    assert request.encode() == data


def test_a_request_of_another_version_is_refused() -> None:
    data = Request(Ask.LOOK).encode()
    with pytest.raises(MessageError, match="version 9"):
        protocol.parse_request(b"\x09" + data[1:])


@given(limits, st.lists(errors))
def test_limits_come_back_as_they_were(told: KernelLimits, failed: list[ProcError]) -> None:
    data = protocol.encode_answer(7, 0.25, protocol.limits_body(told, failed))
    answer = protocol.parse_answer(data, 7)
    assert (answer.cpu, answer.error) == (0.25, None)
    read, errors_read = protocol.parse_limits(answer.body)
    assert read == told
    assert [said(error) for error in errors_read] == [said(error) for error in failed]


def said(error: KernelError) -> list[str]:
    return [getattr(error, word) for word in words]


@given(st.lists(st.builds(Sighting, places, st.none() | st.booleans())))
def test_places_come_back_as_they_were(seen: list[Sighting]) -> None:
    assert list(pages_of(seen)) == seen


def test_thousands_of_places_come_in_pages() -> None:
    longest = "\udcff" * 255  # no UTF-8, and so the dearest in JSON
    seen = [
        Sighting(Place(Path("/run/netns", longest), n, n, n, longest), occupied=True)
        for n in range(5000)
    ]
    assert list(pages_of(seen)) == seen


def pages_of(seen: list[Sighting]) -> list[Sighting]:
    """What arrives, page by page, each within the bound."""
    rest, page = iter(seen), Page((), more=True)
    arrived: list[Sighting] = []
    while page.more:
        data = protocol.encode_answer(1, 0.0, protocol.page_body(rest))
        assert len(data) <= protocol.ANSWER_BYTES
        answer = protocol.parse_answer(data, 1)
        assert answer.error is None
        page = protocol.parse_page(answer.body)
        arrived += page.sightings
    return arrived


def test_an_answer_that_would_not_fit_is_an_error() -> None:
    """Whoever may change his namespace's settings must not be able to cut off all others."""
    huge = KernelLimits(port_range=PortRange(1, 2, tuple((n, n) for n in range(0, 65536, 2))))
    answer = protocol.parse_answer(
        protocol.encode_answer(1, 0.0, protocol.limits_body(huge, [])), 1
    )
    assert isinstance(answer.error, NamespaceError)
    assert answer.error.reason == "too_large"


@given(st.builds(NamespaceError, *[st.text()] * 4))
def test_a_failure_comes_back_as_it_was(error: NamespaceError) -> None:
    answer = protocol.parse_answer(protocol.encode_answer(3, 0.0, protocol.refused(error)), 3)
    assert answer.error is not None
    assert said(answer.error) == said(error)
    assert not isinstance(answer.error, HelperError)


def encoded(value: object) -> bytes:
    return json.dumps(value).encode()


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)
bodies = st.dictionaries(
    st.sampled_from(["number", "cpu", "error", "places", "more", "cgroup", "limits", "errors"]),
    anything | st.just(1) | st.just(0.5),
)


@given(st.binary() | anything.map(encoded))
def test_what_is_no_answer_is_refused(data: bytes) -> None:
    with pytest.raises(MessageError):
        protocol.parse_answer(data, 1)


@given(bodies)
def test_no_answer_of_a_wrong_shape_gets_further(body: dict[str, Any]) -> None:
    for parse in (protocol.parse_page, protocol.parse_limits, protocol.parse_cgroup):
        try:
            parse(body)
        except MessageError:
            continue
    try:
        protocol.parse_answer(encoded(body), 1)
    except MessageError:
        return
    assert body["number"] == 1


def test_an_answer_nested_without_end_is_refused() -> None:
    with pytest.raises(MessageError):
        protocol.parse_answer(b"[" * protocol.ANSWER_BYTES, 1)


def test_an_answer_to_another_request_is_refused() -> None:
    with pytest.raises(MessageError, match="another request"):
        protocol.parse_answer(protocol.encode_answer(1, 0.0, {}), 2)
